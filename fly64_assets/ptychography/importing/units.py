"""Amplitudes and probe in one unit, the amplitudes in DATA-001's range.

The forward model is ``amplitude = abs(F(probe * patch))`` with the orthonormal FFT, and
``counts = (amplitude * intensity_scale)**2``: what divides the amplitudes multiplies the scale and
divides the probe. The object, a transmission, is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fly64_assets.ptychography.data001.dataset_rules import (
    HIGHEST_AMPLITUDE,
    HIGHEST_TYPICAL_AMPLITUDE,
)
from fly64_assets.ptychography.importing.answers import ChangeLog
from fly64_assets.ptychography.importing.evidence import PROBE_TOLERANCE, Values
from fly64_assets.ptychography.importing.frames import Amplitudes

PRECISION = 1e-6
"""Relative change of the probe that the rounding of complex64 alone explains."""


class Units:
    """How amplitudes and probe are scaled.

    A probe whose power does not fit the data, object as given, is multiplied to fit. Amplitudes
    that are out of range, or bare square roots of counts, are divided: by the intensity_scale that
    the file's metadata state, else such that the probe has unit power, as simulated data have.

    Args:
        values: what the file's numbers are.
        amplitudes: to be normalised.
        mean: of the amplitudes.
        factor: from `evidence.probe_factor`.
        metadata: of the file where they are DATA-001's.
    """

    def __init__(
        self,
        values: Values,
        amplitudes: Amplitudes,
        mean: float,
        factor: float,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        self._values, self._amplitudes, self._mean, self._factor = values, amplitudes, mean, factor
        self._known = float(metadata["physics"]["intensity_scale"]) if metadata else None

    def apply(self, probe: np.ndarray, log: ChangeLog) -> tuple[np.ndarray, float]:
        """Set the amplitudes' divisor.

        Returns:
            (N, N) complex64 probe in the units of the amplitudes, and the new intensity_scale.
        """
        power = float(np.square(np.abs(probe.astype(np.complex128))).sum())
        divisor = self._divisor(self._factor * power**0.5)
        self._amplitudes.divisor = divisor
        if divisor != 1:
            largest = self._amplitudes.largest
            before, after = f"up to {largest:.6g}", f"up to {largest / divisor:.6g}"
            stated = divisor == self._known
            to = "the metadata's intensity_scale" if stated else "unit power of the probe"
            log.add("diffraction", f"divided by {divisor!r}", before, after, f"normalised to {to}")
        probe = self._scaled(probe, power, divisor, log)
        scale = self._values.scale * divisor
        if scale != self._known:
            reason = f"{self._values.scale_reason}: {self._values.scale:.9g}"
            if divisor != 1:
                reason += f"; times {divisor:.9g}"
            log.add("intensity_scale", "set", self._known, scale, reason)
        return probe, scale

    def _scaled(
        self, probe: np.ndarray, power: float, divisor: float, log: ChangeLog
    ) -> np.ndarray:
        multiplier = self._factor / divisor
        tolerance = PROBE_TOLERANCE if self._factor != 1 else PRECISION
        if abs(multiplier - 1) <= tolerance:
            return probe
        reasons = ["divided with the diffraction"] if divisor != 1 else []
        if self._factor != 1:
            reasons.append("its power did not fit amplitude = abs(F(probe * patch))")
        before, after = f"power {power:.6g}", f"power {power * multiplier**2:.6g}"
        log.add("probeGuess", f"multiplied by {multiplier!r}", before, after, "; ".join(reasons))
        return (probe.astype(np.complex128) * multiplier).astype(np.complex64)

    def _divisor(self, amplitude_of_probe: float) -> float:
        """What to divide amplitudes by; 1 where they are normalised already."""
        if self._in_range(1.0) and not self._values.bare_counts:
            return 1.0
        known = self._known
        if self._values.bare_counts and known is not None and self._in_range(known):
            return known
        if self._in_range(amplitude_of_probe):
            return amplitude_of_probe
        return self._amplitudes.largest

    def _in_range(self, divisor: float) -> bool:
        typical, highest = HIGHEST_TYPICAL_AMPLITUDE * divisor, HIGHEST_AMPLITUDE * divisor
        return self._mean < typical and self._amplitudes.largest < highest
