"""Plots of a study: numbers that can be read, bars that hide no other, words, bytes."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fly64_assets.reports.figures.study import (
    APART_PT,
    GAP_SHARE,
    _logarithmic,
    _measured,
    figures,
    save,
    step_apart,
    without_interval,
)
from fly64_assets.reports.figures.style import PRINT
from fly64_assets.study.relations import FORMATS, RELATIONS
from fly64_assets_tests.study_rows import study_rows

WIDTH = 3.3
"""Of a panel, in inches, about: two stand side by side on a page."""


@pytest.mark.parametrize(
    "values",
    [
        [1000],
        [3000],
        [1000, 2000],
        [2000, 8000],
        [1000, 10_000],
        [500, 30_000],
        [1e4, 1e5, 1e6],
        [12.3, 61.5],
        [0.02, 0.3],
        [100, 1e7],
    ],
)
def test_numbers_of_a_logarithmic_axis_keep_apart(values):
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(values, range(len(values)))
    _logarithmic(axis, pd.Series(values))
    figure.canvas.draw()
    low, high = axis.get_xlim()
    labels = [
        label
        for which in ("major", "minor")
        for tick, label in zip(
            axis.xaxis.get_ticklocs(minor=which == "minor"),
            axis.xaxis.get_ticklabels(which=which),
            strict=True,
        )
        if low <= tick <= high and label.get_text()
    ]
    assert len(labels) >= 2 or high / low < 5
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    assert boxes, "an axis without numbers"
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize(
    "doses",
    [[1000], [1000, 10_000], [500, 1000, 2000, 10_000, 100_000], [1000, 1100, 1200, 1300, 90_000]],
)
def test_measured_doses_are_numbered_where_there_is_room(doses):
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context(PRINT):
        axis = figure.subplots()
        _measured(axis, pd.Series(doses))
        figure.canvas.draw()
    assert list(axis.get_xticks()) == doses and not len(axis.get_xticks(minor=True))
    labels = [label for label in axis.get_xticklabels() if label.get_text()]
    assert labels[0].get_text() == f"{doses[0]:,d}"
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_points_at_one_place_stand_apart_and_near_to_it():
    width = 200.0
    assert step_apart([np.array([0.1, 0.9])] * 6, 6, width) == pytest.approx(APART_PT / width)
    # Where doses lie close to each other, points of one stay nearer to it than to the next.
    step = step_apart([np.array([0.1, 0.12, 0.9])] * 6, 6, width)
    assert 5 * step == pytest.approx(GAP_SHARE * 0.02)
    assert step_apart([np.array([0.5])], 1, width) > 0


@pytest.fixture(scope="module")
def drawn():
    """The plots by name, each laid out."""
    with matplotlib.rc_context({**PRINT, "backend": "agg"}):
        found = figures(study_rows(), 0.95)
        for figure in found.values():
            figure.canvas.draw()
        yield found
        for figure in found.values():
            plt.close(figure)


def _bars(axis) -> list[np.ndarray]:
    """Of each curve, the bars that are drawn: (n, 2, 2), x and y of both ends."""
    whole = [
        [one for one in found.get_segments() if len(one) == 2 and np.isfinite(one).all()]
        for found in axis.collections
    ]
    return [np.array(found).reshape(-1, 2, 2) for found in whole]


def test_no_bar_stands_on_another(drawn):
    for figure in drawn.values():
        for axis in figure.axes:
            ends = np.concatenate([bars[:, 0] for bars in _bars(axis) if len(bars)])
            at = np.sort(axis.transData.transform(ends)[:, 0]) * 72 / figure.dpi
            # Views whose photons are the same by chance may; here they are not.
            assert np.diff(at).min() > 1.0, axis.get_title()


def test_points_keep_their_order_of_doses(drawn):
    for axis in drawn["quality_by_dose"].axes:
        places = [[bars[:, 0, 0].min(), bars[:, 0, 0].max()] for bars in _bars(axis) if len(bars)]
        assert all(500 / 1.4 < low < 500 * 1.4 for low, _ in places)
        assert all(100_000 / 1.4 < high < 100_000 * 1.4 for _, high in places)


@pytest.mark.long
@pytest.mark.parametrize("doses", [(1000,), (1000, 10_000), (500, 1000, 2000, 10_000, 100_000)])
def test_plots_fit_on_a_page_and_so_does_what_is_in_them(doses):
    with matplotlib.rc_context({**PRINT, "backend": "agg"}):
        for figure in figures(study_rows(doses), 0.95).values():
            figure.canvas.draw()
            width, height = figure.get_size_inches()
            assert width <= 7.2 and height < 9
            inside = figure.get_tightbbox()
            assert inside.x0 > -0.02 and inside.x1 < width + 0.02
            assert inside.y0 > -0.02 and inside.y1 < height + 0.02
            plt.close(figure)


def test_a_point_without_an_interval_leaves_the_others_theirs():
    rows = study_rows((1000, 2000, 10_000))
    first = (rows["model"] == "PtychoPINN") & (rows["dose"] == 2000) & (rows["metric"] == "mae")
    rows.loc[first, ["low", "high"]] = np.nan
    with matplotlib.rc_context({**PRINT, "backend": "agg"}):
        figure = figures(rows, 0.95)["quality_by_dose"]
        mae = next(axis for axis in figure.axes if axis.get_ylabel() == "MAE (rad)")
        assert [len(bars) for bars in _bars(mae)] == [2, 3, 3, 2, 3, 3]
        assert set(without_interval(rows)) == {"MAE of PtychoPINN", "FRC50 of PtyChi"}
        plt.close("all")


def _words(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_plots_say_what_is_in_them(drawn):
    for name, figure in drawn.items():
        words = _words(figure)
        assert words.count("Test half") == words.count("95 % interval") == 1
        assert ("never below the threshold" in words) == (name == "quality_by_dose")
        assert ("No interval: FRC50 of PtyChi" in words) == (name == "quality_by_dose")
        assert all(component in words for component in ("phase", "amplitude"))
        relation = next(one for one in RELATIONS if one.name == name)
        assert relation.label in words
    overlap = [axis.get_ylabel() for axis in drawn["quality_by_overlap"].axes]
    assert {"MS-SSIM, phase", "MS-SSIM, amplitude"} <= set(overlap)
    assert "never below the threshold" not in _words_of_low_doses()


def _words_of_low_doses() -> str:
    figure = figures(study_rows((500, 1000)), 0.95)["quality_by_dose"]
    plt.close("all")
    return _words(figure)


@pytest.mark.long
def test_equal_data_are_equal_bytes_in_every_form(tmp_path):
    rows = study_rows((1000, 10_000))
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        with matplotlib.rc_context({**PRINT, "backend": "agg"}):
            save(tmp_path / folder, "plot", figures(rows, 0.95)["quality_by_overlap"])
            plt.close("all")
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == sorted(f"plot.{kind}" for kind in FORMATS[1:])
    for name in files:
        content = (tmp_path / "first" / name).read_bytes()
        assert content == (tmp_path / "second" / name).read_bytes(), name
        if name.endswith(".pdf"):
            assert b"CreationDate" not in content
            assert b"/FontFile2" in content and b"/Type3" not in content, "TrueType, embedded"
        if name.endswith(".png"):
            with Image.open(tmp_path / "first" / name) as picture:
                assert picture.width == round(7.2 * 300)
                assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
