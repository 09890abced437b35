"""The probe seen as a disc: its diameter and the overlap of two equal discs.

Scan positions and groups belong to ``overlap.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.errors import InputError

if TYPE_CHECKING:
    from fly64_assets.study.model import OverlapSettings

SUBPIXELS = 5


def disc_overlap(distance_px: np.ndarray | float, diameter_px: float) -> np.ndarray:
    """Return the common area of two equal discs over that of one (contract, section 3).

    With R = D/2: ``(2 R^2 acos(d / 2R) - (d / 2) sqrt(4 R^2 - d^2)) / (pi R^2)``; 1 at distance 0,
    0 from D on.

    Args:
        distance_px: any shape, of the centres, >= 0.
        diameter_px: D.

    Returns:
        float64 of the same shape, 0 to 1.
    """
    ratio = np.minimum(np.asarray(distance_px, np.float64) / diameter_px, 1.0)
    return 2 / np.pi * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio * ratio))


def probe_diameter(probe: np.ndarray, power_fraction: float) -> float:
    """Diameter of the disc about the probe's centre of mass that holds a fraction of its power.

    A pixel's power is spread evenly over its area, on `SUBPIXELS` x `SUBPIXELS` points: counted at
    its centre, the many pixels that are equally far from a centre on the grid would make steps of
    half a pixel. The power within a radius is interpolated linearly between the points' radii.

    Args:
        probe: (N, N) complex.
        power_fraction: 0 to 1.

    Returns:
        px.

    Raises:
        InputError: the probe has no power.
    """
    power = np.square(np.abs(probe), dtype=np.float64)
    total = power.sum()
    if not total > 0:
        raise InputError("probe", "probeGuess", "has no power to take a diameter from")
    rows, columns = np.indices(power.shape, np.float64)
    y, x = (rows * power).sum() / total, (columns * power).sum() / total
    parts = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    points_y = (np.arange(power.shape[0])[:, None] + parts).ravel() - y
    points_x = (np.arange(power.shape[1])[:, None] + parts).ravel() - x
    radii, place = np.unique(np.hypot(points_y[:, None], points_x), return_inverse=True)
    spread = np.repeat(np.repeat(power, SUBPIXELS, axis=0), SUBPIXELS, axis=1)
    within = np.cumsum(np.bincount(place.ravel(), spread.ravel()))
    radius = np.interp(power_fraction, np.append(0.0, within / within[-1]), np.append(0.0, radii))
    return float(2 * radius)


def diameter_definition(overlap: OverlapSettings) -> str:
    """In words, where the overlap discs' diameter comes from; recorded beside it."""
    if overlap.probe_diameter_px == "auto":
        return (
            "diameter of the disc, centred on the probe's centre of mass, that holds "
            f"{overlap.probe_power_fraction:g} of the probe's power"
        )
    return "given in the study file"
