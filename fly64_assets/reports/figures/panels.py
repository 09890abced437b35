"""What several pictures draw alike: an image without axes, lines of arms, FRC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fly64_assets.reports.figures import style
from fly64_assets.study.relations import COMPONENTS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Curve = Mapping[str, Sequence[float]]
"""Columns of a CSV file of numbers; NaN where it is blank."""
MARK_EVERY = 4
"""Points of an FRC curve that carry a marker: enough to tell arms apart without colour."""


def bare_image(
    axis: Axes,
    values: np.ndarray,
    title: str,
    colours: str,
    limits: tuple[float | None, float | None] = (None, None),
    **more: Any,
) -> AxesImage:
    """Draw an image without ticks.

    Args:
        values: (h, w) real, row 0 at the top.
        limits: of the scale; those of the values where None.
        more: as of ``imshow``.
    """
    low, high = limits
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=9)
    return axis.imshow(values, cmap=colours, vmin=low, vmax=high, **more)


def lines(axis: Axes, x: Sequence[float], series: Curve, *, first: int = 0, **more: Any) -> None:
    """Draw one line a series; ``first`` is the number of the first one's style."""
    for number, (name, values) in enumerate(series.items(), start=first):
        colour, marker = style.arm(number)
        look = {"color": colour, "marker": marker, "linewidth": 1.2, **more}
        axis.plot(x, values, label=name, **look)


def frc(axes: Sequence[Axes], curves: Mapping[str, Curve], threshold: float) -> None:
    """Draw the Fourier ring correlation of every arm, an axis a component, and the threshold.

    Args:
        axes: for phase and amplitude.
        curves: columns of ``<arm>_frc_curve.csv`` by arm, in the study's order.
        threshold: at which the resolution is read off.
    """
    for axis, component in zip(axes, COMPONENTS, strict=True):
        for number, (model, curve) in enumerate(curves.items()):
            shown = {model: curve[component]}
            lines(axis, curve["frequency_nyquist"], shown, first=number, markersize=3,
                  markevery=MARK_EVERY)  # fmt: skip
        axis.axhline(threshold, linestyle=":", linewidth=1, color="black")
        axis.set_title(component, fontsize=9)
        axis.set_xlabel("frequency (fraction of Nyquist)")
        axis.set_xlim(0, 1)
    axes[0].set_ylabel("FRC")
