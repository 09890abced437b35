"""What the values themselves settle: amplitude or intensity, counts, zero frequency, axes.

Each decision comes with its reason. Where the data do not settle it, the refusal is the question,
and names the option that answers it. A stated answer is always followed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import Dataset
from fly64_assets.ptychography.data001_rules import PATCH_PADDING_PX
from fly64_assets.ptychography.forward import extract_patches, far_field, transmitted_power
from fly64_assets.ptychography.importing.answers import STATED, Answers, Progress
from fly64_assets.ptychography.importing.frames import Frames, Statistics, whole_counts
from fly64_assets.ptychography.physics_checks import STANDARD_ERRORS, axis_order, axis_residuals

LIKENESS = 0.5
"""Least correlation of the mean amplitude with the empty beam's that speaks for a place of the zero
frequency; the other place must not reach `CLEARLY` times as much."""
CLEARLY = 0.6
AXES_CLEARLY = 0.9
"""An order of unnamed axes is taken where its residual is below this part of the other's."""
AXES_CONTRADICT = 0.98
"""An order that the file names is questioned where the other's residual is below this part."""
SAMPLED_FRAMES = 256
PROBE_TOLERANCE = 0.1
"""Relative, of the amplitude: a probe further off is in other units than the diffraction."""


class Values:
    """What the numbers of ``diffraction`` are.

    Attributes:
        intensity: whether they are intensities.
        scale: counts = (amplitude * scale)**2, amplitude being the values or their square roots.
        kind_reason, scale_reason: how that is known.
        bare_counts: whether the squares of the amplitudes are counts and nobody stated so.
    """

    def __init__(self, source: Path, name: str, answers: Answers) -> None:
        self._source, self._name, self._answers = source, name, answers
        self.intensity, self.kind_reason = False, ""
        self.scale, self.scale_reason = 1.0, ""
        self.bare_counts = False

    def decide(
        self,
        frames: Frames,
        found: Statistics,
        metadata: Mapping[str, Any] | None,
        progress: Progress,
    ) -> None:
        """Settle both; ``metadata`` is the file's own where it is that of a DATA-001 file.

        Raises:
            InputError: with the question, where the values leave a choice.
        """
        stated = float(metadata["physics"]["intensity_scale"]) if metadata else None
        hypotheses = {
            "squares": (1.0, 2),
            "squares of the smallest": (1 / found.smallest, 2),
            "multiples of the smallest": (1 / found.smallest, 1),
        }
        if stated is not None:
            hypotheses["metadata"] = (stated, 2)
        whole = whole_counts(frames, hypotheses, progress)
        self._decide_kind(found, whole, metadata is not None)
        self._decide_scale(found, whole, stated)

    def _ask(self, question: str) -> InputError:
        return InputError(self._source, self._name, question)

    def _decide_kind(self, found: Statistics, whole: Mapping[str, bool], described: bool) -> None:
        question = "amplitude or intensity? say --values amplitude or --values intensity"
        if self._answers.values:
            self.intensity, self.kind_reason = self._answers.values == "intensity", STATED
        elif found.whole:
            highest = f"{found.largest:g}"
            raise self._ask(f"holds whole numbers up to {highest}: {question}")
        elif whole.get("metadata"):
            self.kind_reason = "(value * intensity_scale of its metadata)**2 are whole counts"
        elif whole["multiples of the smallest"]:
            step = f"{found.smallest:g}"
            raise self._ask(f"holds multiples of {step}, as scaled intensities do: {question}")
        elif whole["squares"] or whole["squares of the smallest"]:
            self.kind_reason = "their squares are whole counts, they themselves are not"
        elif described:
            self.kind_reason = "its metadata says DATA-001, which holds amplitude"
        else:
            raise self._ask(f"neither the values nor their squares are whole counts: {question}")

    def _decide_scale(
        self, found: Statistics, whole: Mapping[str, bool], stated: float | None
    ) -> None:
        if self._answers.intensity_scale:
            self.scale, self.scale_reason = self._answers.intensity_scale, STATED
        elif self.intensity:
            self._intensity_scale(found, whole)
        elif whole.get("metadata"):
            if whole["squares"] and stated != 1 and not found.whole:
                raise self._ask(
                    f"whole counts come from intensity_scale {stated:g} of the metadata and from 1 "
                    "alike: which one? say --intensity-scale"
                )
            self.scale, self.scale_reason = stated, "of its metadata"
        elif whole["squares"] and not found.whole:
            self.bare_counts, self.scale_reason = True, "the squares are whole counts"
        elif whole["squares of the smallest"] and not whole["multiples of the smallest"]:
            self.scale = 1 / found.smallest
            self.scale_reason = "all squares are whole multiples of the smallest, one count"
        elif stated is not None:
            self.scale, self.scale_reason = stated, "of its metadata"
        else:
            raise self._ask(
                "how many counts are these amplitudes? say --intensity-scale S, with "
                "counts = (amplitude * S)**2"
            )

    def _intensity_scale(self, found: Statistics, whole: Mapping[str, bool]) -> None:
        if found.whole:
            self.bare_counts, self.scale_reason = True, "the intensities are whole counts"
        elif whole["multiples of the smallest"]:
            self.scale = 1 / math.sqrt(found.smallest)
            self.scale_reason = "all intensities are whole multiples of the smallest, one count"
        else:
            raise self._ask(
                "how many counts are these intensities? say --intensity-scale S, with "
                "counts = intensity * S**2"
            )


def zero_frequency(
    source: Path, name: str, mean_intensity: np.ndarray, probe: np.ndarray, described: bool
) -> tuple[bool, str]:
    """Whether the zero frequency lies in the corner, by likeness to the empty beam's pattern.

    Args:
        mean_intensity: (N, N), over frames.
        probe: (N, N) complex.
        described: whether the file's metadata says that it is DATA-001.

    Raises:
        InputError: neither place is clearly the likelier.
    """
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
    question = "say --zero-frequency centre or --zero-frequency corner"
    raise InputError(source, name, f"where is the zero frequency? {likeness}; {question}")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, 0 where either is constant."""
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norm if norm else 0.0


def probe_factor(
    source: Path,
    amplitudes: np.ndarray,
    positions_px: np.ndarray,
    object_: np.ndarray,
    probe: np.ndarray,
) -> float:
    """By what the probe must be multiplied so that the model has as much power as the data.

    1 where it already has, to within `PROBE_TOLERANCE`.

    Raises:
        InputError: the model has no power at all.
    """
    patches = extract_patches(object_, positions_px, len(probe), padding_px=PATCH_PADDING_PX)
    model = float(transmitted_power(patches, probe).sum())
    if model == 0:
        problem = "no light passes where it was scanned: which canvas? say --object FILE or ones"
        raise InputError(source, "objectGuess", problem)
    factor = math.sqrt(float(np.square(amplitudes).sum()) / model)
    return 1.0 if abs(factor - 1) <= PROBE_TOLERANCE else factor


def axes_residuals(
    amplitudes: np.ndarray, positions_px: np.ndarray, object_: np.ndarray, probe: np.ndarray
) -> tuple[float, float] | None:
    """Forward residual with the axes as given and swapped; ``None`` where no frame can be swapped.

    Args:
        amplitudes: (n, N, N) in the units of ``probe``.
        positions_px: (n, 2), y then x.
    """
    try:
        return axis_residuals(amplitudes, positions_px, object_, probe, padding_px=PATCH_PADDING_PX)
    except InputError:
        return None


def likelier_exchanged(
    amplitudes: np.ndarray,
    positions_px: np.ndarray,
    object_: np.ndarray,
    probe: np.ndarray,
    scale: float,
) -> bool:
    """Whether Poisson counts speak for exchanged axes, by more than 5 standard errors.

    For simulated data, whose counts are Poisson's: it tells where photons are too few for the
    residual to.

    Args:
        amplitudes: (n, N, N) in the units of ``probe``.
        positions_px: (n, 2), y then x.
        scale: counts = (amplitudes * scale)**2.
    """
    y, x = np.ascontiguousarray(positions_px.T)
    dataset = Dataset(
        diffraction=amplitudes,
        object_guess=object_,
        probe_guess=probe,
        xcoords=x,
        ycoords=y,
        xcoords_start=x,
        ycoords_start=y,
        scan_index=np.arange(len(x)),
        patches=None,
        metadata={"physics": {"intensity_scale": scale}},
    )
    try:
        order = axis_order(dataset, padding_px=PATCH_PADDING_PX)
    except InputError:
        return False  # no two frames stay inside the canvas with the axes exchanged
    return order.mean_difference < -STANDARD_ERRORS * order.standard_error
