"""Arrays as small PNG pictures inside a page, one pixel a pixel, on scales that a page shares."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fly64_assets.reports.figures import style

COLOURS = 256
BAR_STOPS = 17
"""Colours that a colour bar is drawn through; between two of them it is linear."""
LEAST_SPAN_RAD = 1e-5
"""Of a phase that is more than rounding."""
DARK, LIGHT = "#000000", "#ffffff"


@dataclass(frozen=True)
class Scale:
    """What colours mean, the same in every picture of a kind.

    Attributes:
        name: identifier, also of the bar's style.
        label: what is shown, for people.
        unit: of the values; empty where dimensionless.
        low, high: ends; a value beyond has the end's colour.
        colours: name of a matplotlib colour map.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    colours: str

    @property
    def ticks(self) -> list[str]:
        """Texts at the low end, in the middle and at the high end of the bar."""
        unit = f" {self.unit}" if self.unit else ""
        return [f"{v:.2f}{unit}" for v in (self.low, (self.low + self.high) / 2, self.high)]

    @property
    def gradient(self) -> str:
        """The bar as a CSS gradient from left to right."""
        stops = ", ".join(self.colour(at) for at in np.linspace(0, 1, BAR_STOPS))
        return f"linear-gradient(to right, {stops})"

    def colour(self, at: float) -> str:
        """``#rrggbb`` at a fraction of the scale."""
        return "#" + bytes(_palette(self.colours)[round((COLOURS - 1) * at)]).hex()

    def fraction(self, value: float) -> float:
        """Where a value lies on the scale, 0 to 1."""
        return float(np.clip((value - self.low) / ((self.high - self.low) or 1.0), 0, 1))


def _palette(colours: str) -> np.ndarray:
    """(256, 3) uint8 of a colour map."""
    import matplotlib

    return (matplotlib.colormaps[colours](np.arange(COLOURS))[:, :3] * 255).round().astype(np.uint8)


def shared_scales(truths: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, Scale]:
    """Return the scales of a page, from every truth on it.

    Args:
        truths: (phase in rad, amplitude) of each, (H, W).

    Returns:
        ``phase``, ``amplitude``, ``phase_error`` (rad) and ``amplitude_error``.
    """
    pairs = list(truths)
    low = min((float(phase.min()) for phase, _ in pairs), default=-1.0)
    high = max((float(phase.max()) for phase, _ in pairs), default=1.0)
    if high - low < LEAST_SPAN_RAD:
        low, high = style.ERRORS["phase"]
    share = style.AMPLITUDE_QUANTILE
    brightest = max((float(np.quantile(a, share)) for _, a in pairs), default=1.0)
    scales = (
        Scale("phase", "phase", "rad", low, high, style.PHASE_MAP),
        Scale("amplitude", "amplitude", "", 0.0, brightest, style.AMPLITUDE_MAP),
        *(
            Scale(f"{name}_error", f"{name} error", style.UNITS[name], *limits, style.ERROR_MAP)
            for name, limits in style.ERRORS.items()
        ),
    )
    return {scale.name: scale for scale in scales}


def data_uri(values: np.ndarray, scale: Scale) -> str:
    """Return a picture for an ``img``'s ``src``: equal values, equal bytes.

    Args:
        values: (H, W) finite real, row 0 at the top.
        scale: see `Scale`.
    """
    from PIL import Image

    span = (scale.high - scale.low) or 1.0
    levels = np.clip((values - scale.low) / span, 0, 1) * (COLOURS - 1)
    image = Image.fromarray(levels.round().astype(np.uint8)).convert("P")
    image.putpalette(_palette(scale.colours).tobytes())
    written = io.BytesIO()
    image.save(written, "png", compress_level=9)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def ink(background: str) -> str:
    """Black or white, whichever reads better on ``#rrggbb``; one always has a contrast of 4.5."""
    parts = [int(background[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))  # relative, as WCAG 2 defines it
    return DARK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else LIGHT
