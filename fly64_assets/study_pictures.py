"""Plots of a whole study, as a paper could print them: vector and PNG, the same bytes each time.

An arm has one colour and one marker in all of them, told apart without colour too; a view has a
line style. Points carry their interval. What does not belong here: numbers (``study_metrics``).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fly64_assets.ptychography.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#56B4E9", "v"))
"""Colour (Okabe and Ito's palette for colour-blind readers) and marker of the arms, in order."""
LINES = ("-", "--", ":", "-.")
"""Of the views, in order."""
TITLES = {"ms_ssim": "MS-SSIM", "mae": "MAE", "frc50": "FRC50 (fraction of Nyquist)"}
UNITS = {("mae", "phase"): " (rad)"}
PNG_DPI = 150
X_MARGIN = 1.3
"""Of a logarithmic axis, as a factor to either side."""
POWERS_OF_TEN = 2.0
"""Decades of an axis from which on powers of ten alone are numbers enough."""
STEPS = ((1.2, (1, 3)), (0.6, (1, 2, 5)))
"""Decades of a shorter axis from which on these multiples of powers of ten are its numbers."""


def axes_style() -> dict[str, Any]:
    """Of every plot of a study; a context for `matplotlib.rc_context`."""
    return {
        "svg.hashsalt": "fly64",  # element names are hashes; without a salt of the time
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }


def _logarithmic(axis: Axes, values: pd.Series) -> None:
    """A logarithmic x axis about ``values``, with as many numbers on it as have room.

    Left alone, matplotlib numbers every minor tick of less than a decade, one over the other.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    # A single dose has no extent of its own, and an empty log axis draws nothing.
    low, high = values.min() / X_MARGIN, values.max() * X_MARGIN
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.xaxis.set_minor_formatter(NullFormatter())
    decades = math.log10(high / low)
    if decades >= POWERS_OF_TEN:
        return
    steps = next((steps for least, steps in STEPS if decades >= least), None)
    axis.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20) if steps else MaxNLocator(3))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))


def _curves(axis: Axes, rows: pd.DataFrame, x: str) -> None:
    """One line an arm and view, with a bar for each point's interval."""
    models, views = list(rows["model"].unique()), list(rows["view"].unique())
    for m, model in enumerate(models):
        for v, view in enumerate(views):
            chosen = rows[(rows["model"] == model) & (rows["view"] == view)].sort_values(x)
            if chosen.empty:
                continue
            colour, marker = STYLES[m % len(STYLES)]
            below, above = chosen["mean"] - chosen["low"], chosen["high"] - chosen["mean"]
            bars = None if below.isna().any() else [below.clip(lower=0), above.clip(lower=0)]
            axis.errorbar(
                chosen[x],
                chosen["mean"],
                yerr=bars,
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=LINES[v % len(LINES)],
                linewidth=1.2,
                capsize=2,
                label=f"{model}, {view}",
            )


def _scores(table: pd.DataFrame, metric: str, component: str, split: str) -> pd.DataFrame:
    """Scores of one kind; ends of intervals are drawn as far as the metric can reach."""
    rows = table[
        (table["metric"] == metric)
        & (table["component"] == component)
        & (table["split"] == split)
        & table["reference"].isna()
    ]
    possible = METRICS[metric]
    ends = {end: rows[end].clip(possible.minimum, possible.maximum) for end in ("low", "high")}
    return rows.assign(**ends)


def _grid(
    table: pd.DataFrame, metrics: tuple[str, ...], x: str, label: str, *, logarithmic: bool
) -> Figure:
    """Rows: metrics; columns: phase and amplitude; the test half."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(metrics),
        2,
        figsize=(7.2, 1.0 + 2.3 * len(metrics)),
        layout="constrained",
        squeeze=False,
        sharex=True,
    )
    for row, metric in zip(axes, metrics, strict=True):
        for axis, component in zip(row, ("phase", "amplitude"), strict=True):
            _curves(axis, _scores(table, metric, component, "test"), x)
            axis.set_ylabel(f"{TITLES[metric]}{UNITS.get((metric, component), '')}")
            axis.set_title(component, fontsize=9)
            if logarithmic:
                _logarithmic(axis, table[x])
    for axis in axes[-1]:
        axis.set_xlabel(label)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_all(folder: Path, table: pd.DataFrame) -> None:
    """Write the three plots, each as SVG and PNG.

    Args:
        folder: where.
        table: ``study_metrics``.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context(axes_style()):
        figures = {
            "quality_by_dose": _grid(
                table,
                ("ms_ssim", "mae", "frc50"),
                "dose",
                "photons per exposure",
                logarithmic=True,
            ),
            "quality_by_photons": _grid(
                table,
                ("ms_ssim",),
                "photons_per_px2",
                "photons per px² of the scanned area",
                logarithmic=True,
            ),
            "quality_by_overlap": _overlap(table),
        }
        for name, figure in figures.items():
            # Without the time, equal data are equal bytes.
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=PNG_DPI, metadata={"Software": None})
            plt.close(figure)


def _overlap(table: pd.DataFrame) -> Figure:
    """MS-SSIM of the phase against the overlap that views reached, a panel a dose."""
    import matplotlib.pyplot as plt

    doses = sorted(table["dose"].unique())
    figure, axes = plt.subplots(
        1,
        len(doses),
        figsize=(1.2 + 1.7 * max(len(doses), 2), 3.0),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for axis, dose in zip(axes[0], doses, strict=True):
        rows = _scores(table[table["dose"] == dose], "ms_ssim", "phase", "test")
        _curves(axis, rows.assign(view="test half"), "reached_overlap")
        axis.set_title(f"{dose:,d} photons", fontsize=9)
        axis.set_xlabel("overlap")
    axes[0][0].set_ylabel("MS-SSIM, phase")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure
