"""What the values themselves settle: amplitude or intensity, counts, zero frequency, power, range.

Each decision comes with its reason. Where the data do not settle it, the question names the option
that answers it, and the likelier answer is gone on with. A stated answer is always followed.

The forward model is ``amplitude = abs(F(probe * patch))`` with the orthonormal FFT, and
``counts = (amplitude * intensity_scale)**2``: what divides the amplitudes multiplies the scale and
divides the probe. The object, a transmission, is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fly64_assets.ptychography.data001.dataset_rules import (
    HIGHEST_AMPLITUDE,
    HIGHEST_TYPICAL_AMPLITUDE,
    PATCH_PADDING_PX,
)
from fly64_assets.ptychography.forward import extract_patches, far_field, transmitted_power
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog
from fly64_assets.ptychography.importing.frames import (
    Amplitudes,
    Frames,
    Mask,
    Statistics,
    whole_counts,
)
from fly64_assets.ptychography.importing.source import Source

LIKENESS = 0.5
"""Least correlation of the mean amplitude with the empty beam's that speaks for a place of the zero
frequency; the other place must not reach `CLEARLY` times as much."""
CLEARLY = 0.6
PROBE_TOLERANCE = 0.1
"""Relative, of the amplitude: a probe further off is in other units than the diffraction."""
PRECISION = 1e-6
"""Relative change of the probe that the rounding of complex64 alone explains."""
SQUARES, MULTIPLES, SMALLEST = "squares", "multiples of the smallest", "squares of the smallest"
METADATA = "metadata"
"""Hypotheses of what gives whole counts."""
WHOLE_INTENSITIES = "the intensities are whole counts"
WHOLE_SQUARES = "the squares are whole counts"


@dataclass(frozen=True)
class Values:
    """What the numbers of ``diffraction`` are.

    Attributes:
        intensity: whether they are intensities.
        kind_reason, scale_reason: how that is known.
        scale: counts = (amplitude * scale)**2, amplitude being the values or their square roots.
        counted: whether ``scale`` is known rather than asked for.
        bare_counts: whether the squares of the amplitudes are counts and nobody stated so.
    """

    intensity: bool
    kind_reason: str
    scale: float
    scale_reason: str
    counted: bool
    bare_counts: bool


def decide_values(
    log: ChangeLog, name: str, frames: Frames, mask: Mask, found: Statistics, stated: float | None
) -> Values:
    """Settle kind and scale of the values.

    Args:
        log: asked.
        name: of the array.
        frames, mask, found: the values.
        stated: intensity_scale of the file's metadata, ``None`` unless these are DATA-001's.
    """
    hypotheses = {
        SQUARES: (1.0, 2),
        SMALLEST: (1 / found.smallest, 2),
        MULTIPLES: (1 / found.smallest, 1),
    }
    if stated is not None:
        hypotheses[METADATA] = (stated, 2)
    whole = {METADATA: False} | whole_counts(frames, mask, hypotheses)
    intensity, kind_reason = _kind(log, name, found, whole, described=stated is not None)
    scale, scale_reason, counted = _scale(log, name, found, whole, stated, intensity=intensity)
    bare_counts = scale_reason in (WHOLE_INTENSITIES, WHOLE_SQUARES)
    return Values(intensity, kind_reason, scale, scale_reason, counted, bare_counts)


def _kind(
    log: ChangeLog, name: str, found: Statistics, whole: Mapping[str, bool], *, described: bool
) -> tuple[bool, str]:
    """Decide whether the values are intensities, and why."""
    if log.answers.values:
        return log.answers.values == "intensity", STATED
    likely = "intensity"
    if found.whole:
        told = f"holds whole numbers up to {found.largest:g}"
    elif whole[METADATA]:
        return False, "(value * intensity_scale of its metadata)**2 are whole counts"
    elif whole[MULTIPLES]:
        told = f"holds multiples of {found.smallest:g}, as scaled intensities do"
    elif whole[SQUARES] or whole[SMALLEST]:
        return False, "their squares are whole counts, they themselves are not"
    elif described:
        return False, "its metadata says DATA-001, which holds amplitude"
    else:
        told, likely = "neither the values nor their squares are whole counts", "amplitude"
    log.ask(name, "values", {"values": likely}, told=told)
    return likely == "intensity", ""


def _scale(
    log: ChangeLog,
    name: str,
    found: Statistics,
    whole: Mapping[str, bool],
    stated: float | None,
    *,
    intensity: bool,
) -> tuple[float, str, bool]:
    """Decide the scale, its reason, and whether it is known rather than asked for."""

    def ask(told: str, formula: str = "") -> None:
        log.ask(name, "intensity_scale", {"intensity_scale": "S"}, told=told, formula=formula)

    if log.answers.intensity_scale:
        return log.answers.intensity_scale, STATED, True
    if intensity:
        if found.whole:
            return 1.0, WHOLE_INTENSITIES, True
        if whole[MULTIPLES]:
            reason = "all intensities are whole multiples of the smallest, one count"
            return 1 / math.sqrt(found.smallest), reason, True
        ask("how many counts are these intensities", " S, with counts = intensity * S**2")
        return 1.0, "", False
    squares = whole[SQUARES] and not found.whole
    if stated is not None and whole[METADATA]:
        if doubtful := squares and stated != 1:
            told = f"whole counts come from intensity_scale {stated:g} of the metadata and from 1 "
            ask(f"{told}alike: which one")
        return stated, "of its metadata", not doubtful
    if squares:
        return 1.0, WHOLE_SQUARES, True
    if whole[SMALLEST] and not whole[MULTIPLES]:
        reason = "all squares are whole multiples of the smallest, one count"
        return 1 / found.smallest, reason, True
    if stated is not None:
        return stated, "of its metadata", True
    ask("how many counts are these amplitudes", " S, with counts = (amplitude * S)**2")
    return 1.0, "", False


def zero_frequency(
    log: ChangeLog, name: str, mean_intensity: np.ndarray, probe: np.ndarray, *, described: bool
) -> tuple[bool, str]:
    """Tell whether the zero frequency lies in the corner, by likeness to the empty beam's pattern.

    Args:
        log: asked where neither place is clearly the likelier.
        name: of the array.
        mean_intensity: (N, N), over frames.
        probe: (N, N) complex.
        described: whether the file's metadata says that it is DATA-001.
    """
    if log.answers.zero_frequency:
        return log.answers.zero_frequency == "corner", STATED
    beam = far_field(np.ones((1, *probe.shape)), probe)[0].astype(np.float64)
    pattern = np.sqrt(mean_intensity)
    centre, corner = _correlation(beam, pattern), _correlation(beam, np.fft.fftshift(pattern))
    likeness = f"likeness to the probe's pattern {centre:.2f} at the centre, {corner:.2f} in corner"
    if centre >= LIKENESS and corner <= CLEARLY * centre:
        return False, likeness
    if corner >= LIKENESS and centre <= CLEARLY * corner:
        return True, likeness
    if described:
        return False, "its metadata says DATA-001, which has it at the centre"
    likelier = "corner" if corner > centre else "centre"
    log.ask(name, "zero_frequency", {"zero_frequency": likelier}, told=likeness)
    return corner > centre, likeness


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, 0 where either is constant."""
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norm if norm else 0.0


def probe_factor(
    source: Source,
    amplitudes: np.ndarray,
    masked: np.ndarray | None,
    positions_px: np.ndarray,
    object_: np.ndarray,
    probe: np.ndarray,
) -> float:
    """Find what multiplies the probe so that the model has as much power as the data.

    1 where it already has, to within `PROBE_TOLERANCE`.

    Raises:
        InputError: the model has no power at all.
    """
    patches = extract_patches(object_, positions_px, len(probe), padding_px=PATCH_PADDING_PX)
    if masked is None:
        model = float(transmitted_power(patches, probe).sum())
    else:
        model = float(np.square(far_field(patches, probe)[~masked], dtype=np.float64).sum())
    if model == 0:
        problem = "no light passes where it was scanned: which canvas? say --object FILE or ones"
        raise source.error("objectGuess", problem)
    factor = math.sqrt(float(np.square(amplitudes).sum()) / model)
    return 1.0 if abs(factor - 1) <= PROBE_TOLERANCE else factor


def normalise(
    log: ChangeLog,
    values: Values,
    amplitudes: Amplitudes,
    mean: float,
    factor: float,
    known: float | None,
    probe: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Set the amplitudes' divisor, and scale the probe with them.

    A probe whose power does not fit the data, object as given, is multiplied to fit. Amplitudes
    that are out of range, or bare square roots of counts, are divided: by the intensity_scale that
    the file's metadata state, else such that the probe has unit power, as simulated data have.

    Args:
        log: of every change.
        values: what the file's numbers are.
        amplitudes: to be normalised.
        mean: of the amplitudes.
        factor: from `probe_factor`.
        known: the intensity_scale of the file's metadata where they are DATA-001's.
        probe: (N, N) complex64.

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
