"""What the values themselves settle: amplitude or intensity, counts, zero frequency, power.

Each decision comes with its reason. Where the data do not settle it, the question names the option
that answers it, and the likelier answer is gone on with. A stated answer is always followed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset_rules import PATCH_PADDING_PX
from fly64_assets.ptychography.forward import extract_patches, far_field, transmitted_power
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog, Progress
from fly64_assets.ptychography.importing.frames import Frames, Mask, Statistics, whole_counts
from fly64_assets.ptychography.importing.questions import Answers

LIKENESS = 0.5
"""Least correlation of the mean amplitude with the empty beam's that speaks for a place of the zero
frequency; the other place must not reach `CLEARLY` times as much."""
CLEARLY = 0.6
PROBE_TOLERANCE = 0.1
"""Relative, of the amplitude: a probe further off is in other units than the diffraction."""


class Values:
    """What the numbers of ``diffraction`` are.

    Attributes:
        intensity: whether they are intensities.
        scale: counts = (amplitude * scale)**2, amplitude being the values or their square roots.
        kind_reason, scale_reason: how that is known.
        bare_counts: whether the squares of the amplitudes are counts and nobody stated so.
        counted: whether ``scale`` is known rather than asked for.
    """

    def __init__(self, name: str, answers: Answers, log: ChangeLog) -> None:
        self._name, self._answers, self._log = name, answers, log
        self.intensity, self.kind_reason = False, ""
        self.scale, self.scale_reason = 1.0, ""
        self.bare_counts, self.counted = False, True

    def decide(
        self,
        frames: Frames,
        mask: Mask,
        found: Statistics,
        metadata: Mapping[str, Any] | None,
        progress: Progress,
    ) -> None:
        """Settle both; ``metadata`` is the file's own where it is that of a DATA-001 file."""
        stated = float(metadata["physics"]["intensity_scale"]) if metadata else None
        hypotheses = {
            "squares": (1.0, 2),
            "squares of the smallest": (1 / found.smallest, 2),
            "multiples of the smallest": (1 / found.smallest, 1),
        }
        if stated is not None:
            hypotheses["metadata"] = (stated, 2)
        whole = whole_counts(frames, mask, hypotheses, progress)
        self._decide_kind(found, whole, metadata is not None)
        self._decide_scale(found, whole, stated)

    def _ask_kind(self, evidence: str, likely: str) -> None:
        self._log.ask(self._name, "values", {"values": likely}, told=evidence)
        self.intensity = likely == "intensity"

    def _ask_scale(self, told: str, formula: str = "") -> None:
        formula = formula and f" S, with counts = {formula}"
        suggested = {"intensity_scale": "S"}
        self._log.ask(self._name, "intensity_scale", suggested, told=told, formula=formula)
        self.counted = False

    def _decide_kind(self, found: Statistics, whole: Mapping[str, bool], described: bool) -> None:
        if self._answers.values:
            self.intensity, self.kind_reason = self._answers.values == "intensity", STATED
        elif found.whole:
            self._ask_kind(f"holds whole numbers up to {found.largest:g}", "intensity")
        elif whole.get("metadata"):
            self.kind_reason = "(value * intensity_scale of its metadata)**2 are whole counts"
        elif whole["multiples of the smallest"]:
            step = f"{found.smallest:g}"
            self._ask_kind(f"holds multiples of {step}, as scaled intensities do", "intensity")
        elif whole["squares"] or whole["squares of the smallest"]:
            self.kind_reason = "their squares are whole counts, they themselves are not"
        elif described:
            self.kind_reason = "its metadata says DATA-001, which holds amplitude"
        else:
            self._ask_kind("neither the values nor their squares are whole counts", "amplitude")

    def _decide_scale(
        self, found: Statistics, whole: Mapping[str, bool], stated: float | None
    ) -> None:
        if self._answers.intensity_scale:
            self.scale, self.scale_reason = self._answers.intensity_scale, STATED
        elif self.intensity:
            self._intensity_scale(found, whole)
        elif whole.get("metadata"):
            if whole["squares"] and stated != 1 and not found.whole:
                self._ask_scale(
                    f"whole counts come from intensity_scale {stated:g} of the metadata and from 1 "
                    "alike: which one"
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
            self._ask_scale("how many counts are these amplitudes", "(amplitude * S)**2")

    def _intensity_scale(self, found: Statistics, whole: Mapping[str, bool]) -> None:
        if found.whole:
            self.bare_counts, self.scale_reason = True, "the intensities are whole counts"
        elif whole["multiples of the smallest"]:
            self.scale = 1 / math.sqrt(found.smallest)
            self.scale_reason = "all intensities are whole multiples of the smallest, one count"
        else:
            self._ask_scale("how many counts are these intensities", "intensity * S**2")


def zero_frequency(
    name: str, mean_intensity: np.ndarray, probe: np.ndarray, described: bool, log: ChangeLog
) -> tuple[bool, str]:
    """Whether the zero frequency lies in the corner, by likeness to the empty beam's pattern.

    Args:
        mean_intensity: (N, N), over frames.
        probe: (N, N) complex.
        described: whether the file's metadata says that it is DATA-001.
        log: asked where neither place is clearly the likelier.
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
    likelier = "corner" if corner > centre else "centre"
    log.ask(name, "zero_frequency", {"zero_frequency": likelier}, told=likeness)
    return corner > centre, likeness


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, 0 where either is constant."""
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norm if norm else 0.0


def probe_factor(
    source: Path,
    amplitudes: np.ndarray,
    masked: np.ndarray | None,
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
    if masked is None:
        model = float(transmitted_power(patches, probe).sum())
    else:
        model = float(np.square(far_field(patches, probe)[~masked], dtype=np.float64).sum())
    if model == 0:
        problem = "no light passes where it was scanned: which canvas? say --object FILE or ones"
        raise InputError(source, "objectGuess", problem)
    factor = math.sqrt(float(np.square(amplitudes).sum()) / model)
    return 1.0 if abs(factor - 1) <= PROBE_TOLERANCE else factor
