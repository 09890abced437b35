"""Plots of a study: numbers on a logarithmic axis that can be read, whatever its range."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fly64_assets.study_pictures import _logarithmic

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
