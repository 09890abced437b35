"""Amplitudes and probe in one unit, the amplitudes in DATA-001's range.

The forward model is ``amplitude = abs(F(probe * patch))`` with the orthonormal FFT, and
``counts = (amplitude * intensity_scale)**2``: what divides the amplitudes multiplies the scale and
divides the probe. The object, a transmission, is left as it is.
"""

from __future__ import annotations

import numpy as np

from fly64_assets.ptychography.data001.dataset_rules import (
    HIGHEST_AMPLITUDE,
    HIGHEST_TYPICAL_AMPLITUDE,
)
from fly64_assets.ptychography.importing.change_log import ChangeLog
from fly64_assets.ptychography.importing.evidence import PROBE_TOLERANCE, Values
from fly64_assets.ptychography.importing.frames import Amplitudes

PRECISION = 1e-6
"""Relative change of the probe that the rounding of complex64 alone explains."""


def apply_units(
    values: Values,
    amplitudes: Amplitudes,
    mean: float,
    factor: float,
    known: float | None,
    probe: np.ndarray,
    log: ChangeLog,
) -> tuple[np.ndarray, float]:
    """Set the amplitudes' divisor, and scale the probe with them.

    A probe whose power does not fit the data, object as given, is multiplied to fit. Amplitudes
    that are out of range, or bare square roots of counts, are divided: by the intensity_scale that
    the file's metadata state, else such that the probe has unit power, as simulated data have.

    Args:
        values: what the file's numbers are.
        amplitudes: to be normalised.
        mean: of the amplitudes.
        factor: from `evidence.probe_factor`.
        known: the intensity_scale of the file's metadata where they are DATA-001's.
        probe: (N, N) complex64.
        log: of every change.

    Returns:
        (N, N) complex64 probe in the units of the amplitudes, and the new intensity_scale.
    """
    power = float(np.square(np.abs(probe.astype(np.complex128))).sum())
    largest = amplitudes.largest

    def in_range(divisor: float) -> bool:
        typical, highest = HIGHEST_TYPICAL_AMPLITUDE * divisor, HIGHEST_AMPLITUDE * divisor
        return mean < typical and largest < highest

    # The first that brings the amplitudes into range; 1 only where they are normalised already.
    wanted = [known if values.bare_counts else 1.0, factor * power**0.5]
    divisor = next((one for one in wanted if one is not None and in_range(one)), largest)
    amplitudes.divisor = divisor
    if divisor != 1:
        before, after = f"up to {largest:.6g}", f"up to {largest / divisor:.6g}"
        to = "the metadata's intensity_scale" if divisor == known else "unit power of the probe"
        log.add("diffraction", f"divided by {divisor!r}", before, after, f"normalised to {to}")
    multiplier = factor / divisor
    if abs(multiplier - 1) > (PROBE_TOLERANCE if factor != 1 else PRECISION):
        reasons = ["divided with the diffraction"] if divisor != 1 else []
        if factor != 1:
            reasons.append("its power did not fit amplitude = abs(F(probe * patch))")
        before, after = f"power {power:.6g}", f"power {power * multiplier**2:.6g}"
        log.add("probeGuess", f"multiplied by {multiplier!r}", before, after, "; ".join(reasons))
        probe = (probe.astype(np.complex128) * multiplier).astype(np.complex64)
    scale = values.scale * divisor
    if scale != known:
        reason = f"{values.scale_reason}: {values.scale:.9g}"
        reason += f"; times {divisor:.9g}" if divisor != 1 else ""
        log.add("intensity_scale", "set", known, scale, reason)
    return probe, scale
