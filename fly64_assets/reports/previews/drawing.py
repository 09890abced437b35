"""How the UI's pictures look: figures off screen, images with colour bars, curves.

The same figure gives the same bytes. Figures are made without ``pyplot``, which would keep them.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.reports.figures import style
from fly64_assets.reports.pyplot import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(
    title: str, rows: int, columns: int, size: tuple[float, float], **more: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its (rows, columns) axes; ``size`` in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **more)
    figure.suptitle(title, fontsize=10)
    return figure, axes


def image(
    axis: Axes,
    values: np.ndarray,
    title: str,
    label: str,
    *,
    colours: str,
    origin: tuple[float, float] = (0.0, 0.0),
    **more: Any,
) -> None:
    """Draw an image with its colour bar and axes in px, y downwards.

    Args:
        values: (h, w) real.
        label: of the colour bar, with the unit.
        origin: (y, x) of pixel 0 in canvas px.
        more: as of ``imshow``.
    """
    height, width = values.shape
    y, x = origin
    extent = (x - 0.5, x + width - 0.5, y + height - 0.5, y - 0.5)
    drawn = axis.imshow(values, cmap=colours, extent=extent, interpolation="nearest", **more)
    axis.set_title(title)
    axis.set_xlabel("x (px)")
    axis.set_ylabel("y (px)")
    axis.figure.colorbar(drawn, ax=axis, label=label, shrink=0.85)


def limits(values: np.ndarray, share: float = 0.002) -> dict[str, float]:
    """``vmin`` and ``vmax`` that leave out a share of the pixels at either end."""
    low, high = np.quantile(values[np.isfinite(values)], (share, 1 - share))
    varies = not np.isclose(low, high, rtol=1e-5, atol=1e-6)  # more than by rounding
    return {"vmin": float(low), "vmax": float(high if varies else low + 1)}


def without_global_phase(object_: np.ndarray) -> np.ndarray:
    """(h, w) phase in rad about its mean direction: a reconstruction's own zero means nothing."""
    mean = object_.astype(np.complex128).mean()
    turned = object_ * (np.conj(mean) / abs(mean) if abs(mean) > 0 else 1.0)
    return np.angle(turned)


def phase_and_amplitude(
    axes: Sequence[Axes], object_: np.ndarray, origin: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Draw the two panels of a complex image, each with its colour bar."""
    phase, amplitude = without_global_phase(object_), np.abs(object_)
    for axis, values, title, label, colours in (
        (axes[0], phase, "phase, mean removed", "rad", style.PHASE_MAP),
        (axes[1], amplitude, "amplitude", "dimensionless", style.AMPLITUDE_MAP),
    ):
        image(axis, values, title, label, colours=colours, origin=origin, **limits(values))


def png(draw: Callable[[], Figure]) -> bytes:
    """Return what ``draw`` makes as a PNG of its full size, without time and program."""
    # What it says of fonts and caches of this machine would enter the step's log.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    written = io.BytesIO()
    with pyplot().rc_context(style.PREVIEW):
        draw().savefig(written, dpi=style.DPI, format="png", metadata=style.NO_PROGRAM)
    return written.getvalue()
