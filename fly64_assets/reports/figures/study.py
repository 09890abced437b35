"""Plots of a whole study, as a paper could print them: SVG, PDF and PNG, the same bytes each time.

An arm has one colour and one marker in all of them, told apart without colour too; a view has a
line style and a filling of the markers. Points carry their interval, and those of several curves at
one place stand side by side, so that no bar hides another. What does not belong here: numbers
(``study_metrics``) and which of them stand against what (``relations.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.reports.figures import style
from fly64_assets.reports.pyplot import pyplot
from fly64_assets.reports.study_tables import interval_name
from fly64_assets.study.relations import (
    BY_DOSE,
    BY_OVERLAP,
    BY_PHOTONS,
    COMPONENTS,
    SHOWN_SPLIT,
    Relation,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("-", "--", ":", "-.")
"""Of the views, in order."""
FILLINGS: tuple[dict[str, str], ...] = (
    {"fillstyle": "full"},
    {"markerfacecolor": "white"},
    {"fillstyle": "left", "markerfacecoloralt": "white"},
    {"fillstyle": "bottom", "markerfacecoloralt": "white"},
)
"""Of the markers of the views, in order: a view of one point has no line to be known by."""
UNITS = {"rad": " (rad)", "fraction of Nyquist": " (fraction of Nyquist)"}
"""Unit of a metric -> what an axis adds to its title."""
UNREACHED = {"frc50": "1: never below the threshold"}
"""Metric whose highest value is a limit of what is measured -> what is written at that limit."""
WIDTH_IN = 7.2
"""Of every plot: two columns of a journal's page."""
ROW_IN, AROUND_IN = 2.15, 1.05
"""Height of a row of panels, and of legend and axis name together."""
PANEL_PT, DIGIT_PT, COMMA_PT, APART_NUMBERS_PT = 205.0, 5.1, 2.6, 3.0
"""Width of one of two panels side by side, of what numbers on its axis are made of, and the least
between two of them."""
MOST_COLUMNS = 5
"""Of the legend."""
X_MARGIN, SHARE_MARGIN = 1.3, 0.06
"""Of a logarithmic axis to either side: as a factor, or as a part of it if that is more."""
APART_PT = 2.0
"""Between points that are set side by side: wider than a bar's cap reaches, ..."""
GAP_SHARE = 0.6
"""... which all together take at most this part of the way to a curve's next point."""
POWERS_OF_TEN = 2.0
"""Decades of an axis from which on powers of ten alone are numbers enough."""
STEPS = ((1.2, (1, 3)), (0.6, (1, 2, 5)))
"""Decades of a shorter axis from which on these multiples of powers of ten are its numbers."""
WRITTEN_OUT = 1e6
"""Number from which on powers of ten are written as such."""


def _logarithmic(axis: Axes, values: pd.Series) -> None:
    """Make a logarithmic x axis about ``values``, with as many numbers as have room.

    Left alone, matplotlib numbers every minor tick of less than a decade, one over the other.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    # A single dose has no extent of its own, and an empty log axis draws nothing.
    low, high = values.min(), values.max()
    margin = max(X_MARGIN, (high / low) ** SHARE_MARGIN)
    low, high = low / margin, high * margin
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.xaxis.set_minor_formatter(NullFormatter())
    decades = math.log10(high / low)
    if decades < POWERS_OF_TEN:
        steps = next((steps for least, steps in STEPS if decades >= least), None)
        locator = LogLocator(subs=steps, numticks=20) if steps else MaxNLocator(3)
        axis.xaxis.set_major_locator(locator)
    if decades < POWERS_OF_TEN or high < WRITTEN_OUT:
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))


def labelled(values: Sequence[float], low: float, high: float) -> list[str]:
    """Return what a tick at each value of a logarithmic axis from ``low`` to ``high`` says.

    Args:
        values: ascending.

    Returns:
        The value, or nothing where it would come too near to the number before it.
    """
    labels, end = [], -math.inf
    for value in values:
        text = f"{value:,.7g}"
        place = PANEL_PT * math.log(value / low) / math.log(high / low)
        commas = text.count(",")
        half = (DIGIT_PT * (len(text) - commas) + COMMA_PT * commas) / 2
        fits = place - half >= end
        labels.append(text if fits else "")
        end = place + half + APART_NUMBERS_PT if fits else end
    return labels


def _measured(axis: Axes, values: pd.Series) -> None:
    """Make a logarithmic x axis with a tick, and a number where it has room, at every value."""
    _logarithmic(axis, values)
    places = sorted(values.unique())
    axis.set_xticks(places, labelled(places, *axis.get_xlim()))
    axis.set_xticks([], minor=True)


def _linear(axis: Axes, values: pd.Series) -> None:
    """Make a linear x axis about ``values`` with a few numbers on it."""
    from matplotlib.ticker import MaxNLocator

    low, high = values.min(), values.max()
    margin = 0.15 * (high - low) or 0.1
    axis.set_xlim(low - margin, high + margin)
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def step_apart(places: list[np.ndarray], curves: int, width: float) -> float:
    """How far apart points of ``curves`` curves at one place are drawn.

    Args:
        places: of each curve's points, ascending, as fractions of the axis, (n,).
        curves: that share places.
        width: of the axis, in points.

    Returns:
        A fraction of the axis.
    """
    import numpy as np

    gaps = [float(np.diff(place).min()) for place in places if len(place) > 1]
    room = GAP_SHARE * min(gaps, default=1.0) / max(curves - 1, 1)
    return min(APART_PT / width, room)


@dataclass(frozen=True)
class _Drawn:
    """What one figure shows, and how its curves are told apart.

    Attributes:
        rows: of ``study_metrics``: the scores of the shown half.
        relation: see `Relation`.
        curves: columns that name a curve.
        apart: those of them whose curves have points at the same places.
        confidence: of the intervals, a fraction.
    """

    rows: pd.DataFrame
    relation: Relation
    curves: tuple[str, ...]
    apart: tuple[str, ...]
    confidence: float

    @property
    def arms(self) -> list[str]:
        return list(self.rows["model"].unique())

    @property
    def views(self) -> list[str]:
        """That differ in style; none where views are the points of a curve."""
        return list(self.rows["view"].unique()) if "view" in self.curves else []

    def scores(self, metric: str, component: str) -> pd.DataFrame:
        """Of one kind; ends of intervals are drawn as far as the metric can reach."""
        of = (self.rows["metric"] == metric) & (self.rows["component"] == component)
        rows, possible = self.rows[of], METRICS[metric]
        ends = {end: rows[end].clip(possible.minimum, possible.maximum) for end in ("low", "high")}
        return rows.assign(**ends)

    def arm_style(self, arm: str) -> dict[str, Any]:
        colour, marker = style.arm(self.arms.index(arm))
        return {"color": colour, "marker": marker, "markersize": 3.5}

    def view_style(self, view: str) -> dict[str, Any]:
        place = self.views.index(view) if self.views else 0
        return {"linestyle": LINES[place % len(LINES)], **FILLINGS[place % len(FILLINGS)]}


def _curves(axis: Axes, drawn: _Drawn, rows: pd.DataFrame) -> None:
    """Draw a line a curve, with a bar for each point's interval, into axes with limits."""
    import numpy as np

    x, logarithmic = drawn.relation.x, axis.get_xscale() == "log"
    low, high = np.log10(axis.get_xlim()) if logarithmic else axis.get_xlim()
    lines = [curve.sort_values(x) for _, curve in rows.groupby([*drawn.curves], sort=False)]
    # Places are fractions of the axis.
    at = [np.asarray(curve[x], float) for curve in lines]
    at = [((np.log10(one) if logarithmic else one) - low) / (high - low) for one in at]
    neighbours = list(dict.fromkeys(tuple(curve.iloc[0][[*drawn.apart]]) for curve in lines))
    width = axis.bbox.width * 72 / axis.figure.dpi  # about: before layout
    step = step_apart(at, len(neighbours), width)
    for curve, place in zip(lines, at, strict=True):
        first = curve.iloc[0]
        rank = neighbours.index(tuple(first[[*drawn.apart]])) - (len(neighbours) - 1) / 2
        moved = low + (high - low) * (place + step * rank)
        below, above = curve["mean"] - curve["low"], curve["high"] - curve["mean"]
        axis.errorbar(
            10**moved if logarithmic else moved,
            curve["mean"],
            # A point without an interval has no bar; the others of its curve keep theirs.
            yerr=[below.clip(lower=0), above.clip(lower=0)],
            linewidth=1.0,
            elinewidth=0.9,
            capsize=1.5,
            **drawn.arm_style(first["model"]),
            **drawn.view_style(first["view"]),
        )


def _unreached(axis: Axes, metric: str, rows: pd.DataFrame) -> None:
    """Say at the highest value of a metric what it stands for, where points are there."""
    highest = METRICS[metric].maximum
    if metric in UNREACHED and (rows["mean"] >= highest).any():
        axis.axhline(highest, color="black", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        axis.annotate(
            UNREACHED[metric],
            (0.02, highest),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=7,
        )
        axis.margins(y=0.12)


def without_interval(rows: pd.DataFrame) -> list[str]:
    """Metrics and arms of which some point has no interval: ``FRC50 of PtyChi``."""
    bare = rows[rows["mean"].notna() & (rows["low"].isna() | rows["high"].isna())]
    return [
        f"{METRICS[metric].title} of {', '.join(of_metric['model'].unique())}"
        for metric, of_metric in bare.groupby("metric", sort=False)
    ]


def _legend(figure: Figure, drawn: _Drawn) -> None:
    """Arms, then views; above them once what every panel has in common."""
    from matplotlib.lines import Line2D

    arms = [Line2D([], [], **drawn.arm_style(arm), label=arm) for arm in drawn.arms]
    views = [
        Line2D(
            *([], []),
            **{"color": "black", "marker": "o", "markersize": 3.5, **drawn.view_style(view)},
            label=f"{view} view",
        )
        for view in drawn.views
    ]
    handles = [*arms, *views]
    interval = interval_name(drawn.confidence)
    note = (
        f"{SHOWN_SPLIT.capitalize()} half, mean and {interval}; points that share a place are "
        "drawn side by side."
    )
    missing = "; ".join(without_interval(drawn.rows))
    legend = figure.legend(
        handles=handles,
        title=f"{note}\nNo interval: {missing}." if missing else note,
        handlelength=2.8,
        loc="outside upper center",
        ncols=min(len(handles), MOST_COLUMNS),
        frameon=False,
    )
    legend.get_title().set_multialignment("center")


def _ylabel(metric: str, component: str) -> str:
    definition = METRICS[metric]
    return f"{definition.title}{UNITS.get(definition.units[component], '')}"


def _empty_panels(rows: int, columns: int, **shared: str) -> tuple[Figure, np.ndarray]:
    """Return a figure of the common width and its (rows, columns) axes, which share x."""
    size = WIDTH_IN, AROUND_IN + ROW_IN * rows
    return pyplot().subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, sharex=True, **shared
    )


def _grid(drawn: _Drawn) -> Figure:
    """Rows: metrics; columns: phase and amplitude."""
    metrics, x = drawn.relation.metrics, drawn.relation.x
    figure, axes = _empty_panels(len(metrics), len(COMPONENTS))
    for row, metric in zip(axes, metrics, strict=True):
        for axis, component in zip(row, COMPONENTS, strict=True):
            rows = drawn.scores(metric, component)
            # Doses are chosen, and few; photons are what came of them.
            (_measured if x == BY_DOSE.x else _logarithmic)(axis, drawn.rows[x])
            _curves(axis, drawn, rows)
            _unreached(axis, metric, rows)
            axis.set_ylabel(_ylabel(metric, component))
    for axis, component in zip(axes[0], COMPONENTS, strict=True):
        axis.set_title(component)
    for axis in axes[-1]:
        axis.set_xlabel(drawn.relation.label)
    _legend(figure, drawn)
    return figure


def _panels(drawn: _Drawn) -> Figure:
    """Rows: phase and amplitude; columns: doses."""
    (metric,), x = drawn.relation.metrics, drawn.relation.x
    doses = sorted(drawn.rows["dose"].unique())
    figure, axes = _empty_panels(len(COMPONENTS), len(doses), sharey="row")
    for row, component in zip(axes, COMPONENTS, strict=True):
        rows = drawn.scores(metric, component)
        for axis, dose in zip(row, doses, strict=True):
            _linear(axis, drawn.rows[x])
            _curves(axis, drawn, rows[rows["dose"] == dose])
        row[0].set_ylabel(f"{_ylabel(metric, component)}, {component}")
    for axis, dose in zip(axes[0], doses, strict=True):
        axis.set_title(f"{dose:,d} photons")
    figure.supxlabel(drawn.relation.label, fontsize=8)
    _legend(figure, drawn)
    return figure


def figures(table: pd.DataFrame, confidence: float) -> dict[str, Figure]:
    """Every plot by its name, to be closed by the caller.

    Args:
        table: ``study_metrics``.
        confidence: of its intervals, a fraction.
    """
    rows = table[(table["split"] == SHOWN_SPLIT) & table["reference"].isna()]

    def drawn(relation: Relation, curves: tuple[str, ...], apart: tuple[str, ...]) -> _Drawn:
        of_it = rows[rows["metric"].isin(relation.metrics)]
        return _Drawn(of_it, relation, curves, apart, confidence)

    each = ("model", "view")
    return {
        BY_DOSE.name: _grid(drawn(BY_DOSE, each, each)),
        # A view of other overlap has other photons: only arms come to stand at one place.
        BY_PHOTONS.name: _grid(drawn(BY_PHOTONS, each, ("model",))),
        BY_OVERLAP.name: _panels(drawn(BY_OVERLAP, ("model",), ("model",))),
    }


def save(folder: Path, name: str, figure: Figure) -> None:
    """Write a plot as SVG, PDF and PNG; without the time, equal data are equal bytes."""
    figure.savefig(folder / f"{name}.svg", metadata=style.NO_TIME)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    figure.savefig(folder / f"{name}.png", dpi=style.PRINT_DPI, metadata=style.NO_PROGRAM)


def draw_all(folder: Path, table: pd.DataFrame, confidence: float) -> None:
    """Write every plot as SVG, PDF and PNG.

    Args:
        folder: where.
        table: ``study_metrics``.
        confidence: of its intervals, a fraction.
    """
    plt = pyplot()
    with plt.rc_context(style.PRINT):
        for name, figure in figures(table, confidence).items():
            save(folder, name, figure)
            plt.close(figure)
