"""Amplitudes and probe in one unit, the amplitudes in DATA-001's range.

The forward model is ``amplitude = abs(F(probe * patch))`` with the orthonormal FFT, and
``counts = (amplitude * intensity_scale)**2``: what divides the amplitudes multiplies the scale and
divides the probe. The object, a transmission, is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fly64_assets.ptychography.data001_rules import HIGHEST_AMPLITUDE, HIGHEST_TYPICAL_AMPLITUDE
from fly64_assets.ptychography.importing.answers import ChangeLog
from fly64_assets.ptychography.importing.evidence import (
    PROBE_TOLERANCE,
    SAMPLED_FRAMES,
    Values,
    probe_factor,
)
from fly64_assets.ptychography.importing.frames import Amplitudes, Statistics
from fly64_assets.ptychography.importing.positions import Positions
from fly64_assets.ptychography.importing.source import Source

PRECISION = 1e-6
"""Relative change of the probe that the rounding of complex64 alone explains."""


def bring_to_one_unit(
    source: Source,
    amplitudes: Amplitudes,
    found: Statistics,
    values: Values,
    positions: Positions,
    object_: np.ndarray,
    probe: np.ndarray,
    metadata: Mapping[str, Any] | None,
    log: ChangeLog,
) -> tuple[np.ndarray, float]:
    """Set the amplitudes' divisor; scale the probe to fit them.

    A probe whose power does not fit the data, object as given, is multiplied to fit. Amplitudes
    that are out of range, or bare square roots of counts, are divided: by the intensity_scale that
    the file's metadata state, else such that the probe has unit power, as simulated data have.

    Returns:
        The probe in its own precision, and the new intensity_scale.

    Raises:
        InputError: no light passes the object where it was scanned.
    """
    chosen, measured = amplitudes.sample(SAMPLED_FRAMES)
    places = positions.positions_px[chosen]
    factor = probe_factor(source.path, measured, places, object_, probe)
    wide = probe.astype(np.complex128)
    power = float(np.square(np.abs(wide)).sum())
    known = float(metadata["physics"]["intensity_scale"]) if metadata else None
    mean = float(measured.mean()) if values.intensity else found.total / _pixels(amplitudes)
    divisor = _divisor(values, mean, amplitudes.largest, factor * power**0.5, known)
    amplitudes.divisor = divisor
    if divisor != 1:
        before = f"up to {amplitudes.largest:.6g}"
        after = f"up to {amplitudes.largest / divisor:.6g}"
        why = "the metadata's intensity_scale" if divisor == known else "unit power of the probe"
        log.add("diffraction", f"divided by {divisor!r}", before, after, f"normalised to {why}")
    multiplier = factor / divisor
    tolerance = PROBE_TOLERANCE if factor != 1 else PRECISION
    if abs(multiplier - 1) > tolerance:
        probe = (wide * multiplier).astype(probe.dtype)
        reasons = ["divided with the diffraction"] if divisor != 1 else []
        if factor != 1:
            reasons.append("its power did not fit amplitude = abs(F(probe * patch))")
        before, after = f"power {power:.6g}", f"power {power * multiplier**2:.6g}"
        log.add("probeGuess", f"multiplied by {multiplier!r}", before, after, "; ".join(reasons))
    scale = values.scale * divisor
    if scale != known:
        reason = f"{values.scale_reason}: {values.scale:.9g}"
        if divisor != 1:
            reason += f"; times {divisor:.9g}"
        log.add("intensity_scale", "set", known, scale, reason)
    return probe, scale


def _pixels(amplitudes: Amplitudes) -> int:
    return len(amplitudes) * amplitudes.frames.side**2


def _divisor(
    values: Values, mean: float, largest: float, amplitude_of_probe: float, known: float | None
) -> float:
    """What to divide amplitudes by; 1 where they are normalised already."""

    def in_range(divisor: float) -> bool:
        typical, highest = HIGHEST_TYPICAL_AMPLITUDE * divisor, HIGHEST_AMPLITUDE * divisor
        return mean < typical and largest < highest

    if in_range(1.0) and not values.bare_counts:
        return 1.0
    if values.bare_counts and known is not None and in_range(known):
        return known
    return amplitude_of_probe if in_range(amplitude_of_probe) else largest
