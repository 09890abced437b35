"""From a foreign file to everything that a DATA-001 file holds, every step of it recorded.

The steps stand in the order in which they are recorded. Nothing is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001_rules import VIEW_KEYS
from fly64_assets.ptychography.importing.answers import STATED, Answers, Change, ChangeLog, Progress
from fly64_assets.ptychography.importing.arrays import (
    cast_and_record,
    named_keys,
    per_frame,
    plane_of,
    read_metadata,
    require_key,
)
from fly64_assets.ptychography.importing.evidence import (
    AXES_CLEARLY,
    AXES_CONTRADICT,
    SAMPLED_FRAMES,
    Values,
    axes_residuals,
    likelier_exchanged,
    probe_factor,
    zero_frequency,
)
from fly64_assets.ptychography.importing.frames import Amplitudes, Frames, Statistics, statistics
from fly64_assets.ptychography.importing.positions import Positions
from fly64_assets.ptychography.importing.source import Source, sha256_of_file
from fly64_assets.ptychography.importing.units import Units

CONTAINER = "NPZ"


@dataclass
class Conversion:
    """A dataset ready to be written.

    Attributes:
        source: the foreign file; it must stay open until the frames are written.
        frames: diffraction on its way to amplitude.
        object, probe: complex64.
        per_frame: coordinates and ``scan_index``, final dtypes.
        patches: frames of ``Y``, or ``None``.
        extra: the keys of an overlap view.
        metadata: of the file where they are DATA-001's, else ``None``.
        source_metadata: text of metadata that were made anew.
        intensity_scale: of the new file.
        position_errors: px, where start positions differ from the positions.
        changes: everything that was changed.
        residuals: forward residual as stored and with x and y swapped, where it could be computed.
        inputs: name -> sha256 of every file that went in.
        answers: what was stated.
    """

    source: Source
    frames: Amplitudes
    object: np.ndarray
    probe: np.ndarray
    per_frame: dict[str, np.ndarray]
    patches: Frames | None
    extra: dict[str, np.ndarray]
    metadata: dict[str, Any] | None
    source_metadata: str | None
    intensity_scale: float
    position_errors: float | None
    changes: list[Change]
    residuals: tuple[float, float] | None
    inputs: dict[str, str] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)


class _Preparation:
    """The steps, and what they have in common."""

    def __init__(self, source: Source, answers: Answers, progress: Progress) -> None:
        self.source, self.answers, self.progress = source, answers, progress
        self.log = ChangeLog()
        self.inputs = {source.path.name: sha256_of_file(source.path)}
        if source.container != CONTAINER:
            reason = f"a DATA-001 file is {CONTAINER}"
            self.log.add("file", "container", source.container, CONTAINER, reason)
        self.names = named_keys(source, answers, self.log)
        self.metadata, self.source_metadata = read_metadata(source, self.names, self.log)

    def run(self) -> Conversion:
        probe, inputs = self._plane("probeGuess")
        assert probe is not None
        self.inputs |= inputs
        object_, inputs = self._plane("objectGuess")
        self.inputs |= inputs
        self._require_side(probe)
        probe = cast_and_record(self.source, "probeGuess", probe, self.log)
        frames = self._frames("diffraction", len(probe))
        patches = self._frames("Y", len(probe)) if "Y" in self.names else None
        positions = Positions(self.source, self.answers, self.log)
        positions.read(self.names, len(frames))
        index, extra = self._per_frame(len(frames))
        found = statistics(frames, self.progress)
        kept = self._drop_broken(frames, patches, positions, found, extra)
        if len(kept) < len(index):
            index = index[kept]
            found = statistics(frames, self.progress)
        values = self._values(frames, found)
        amplitudes = self._amplitudes(frames, found, values, probe)
        positions.to_pixels(None if object_ is None else object_.shape)
        object_ = self._canvas(object_, positions, len(probe))
        object_ = cast_and_record(self.source, "objectGuess", object_, self.log)
        self._order_inside(positions, object_.shape, len(probe))
        chosen, measured = amplitudes.sample(SAMPLED_FRAMES)
        residuals = self._axes(chosen, measured, values, positions, object_, probe)
        places = positions.positions_px[chosen]
        factor = probe_factor(self.source.path, measured, places, object_, probe)
        mean = found.total / (len(frames) * frames.side**2)
        if values.intensity:
            mean = float(measured.mean())
        units = Units(values, amplitudes, mean, factor, self.metadata)
        probe, scale = units.apply(probe, self.log)
        if frames.stored.dtype != np.float32:
            reason = "every value kept to its precision"
            self.log.add("diffraction", "cast", str(frames.stored.dtype), "float32", reason)
        positions.complete_start()
        if patches is not None and patches.stored.dtype != np.complex64:
            reason = "every value kept to its precision"
            self.log.add("Y", "cast", str(patches.stored.dtype), "complex64", reason)
        self.log.refuse_unneeded(self.answers)
        return Conversion(
            self.source,
            amplitudes,
            object_,
            probe,
            {**positions.values, "scan_index": index},
            patches,
            extra,
            self.metadata,
            self.source_metadata,
            scale,
            positions.position_errors,
            self.log.changes,
            residuals,
            self.inputs,
            self.answers,
        )

    def _plane(self, key: str) -> tuple[np.ndarray | None, dict[str, str]]:
        return plane_of(key, self.source, self.names, self.answers, self.log)

    def _require_side(self, probe: np.ndarray) -> None:
        if probe.shape[0] != probe.shape[1] or probe.shape[0] % 2:
            problem = f"shape is {probe.shape}, DATA-001 wants (N, N) with N even; crop it first"
            raise InputError(self.source.path, "probeGuess", problem)
        if not np.abs(probe).any():
            problem = "is zero everywhere: what is the probe? say --probe FILE"
            raise InputError(self.source.path, "probeGuess", problem)
        if self.metadata and self.metadata["physics"]["N"] != len(probe):
            stated = self.metadata["physics"]["N"]
            problem = f"physics.N is {stated}, the probe is {probe.shape}: which is right? "
            raise InputError(self.source.path, "_metadata", f"{problem}say --probe FILE")

    def _frames(self, key: str, side: int) -> Frames:
        name = require_key(self.source, self.names, key)
        if self.source.is_pickled(name):
            problem = "is pickled (an object array), which is never loaded"
            raise InputError(self.source.path, name, problem)
        stored = self.source.array(name)
        wanted = "c" if key == "Y" else "uif"
        if stored.dtype.kind not in wanted:
            kind = "complex patches" if key == "Y" else "real amplitudes or intensities"
            raise InputError(self.source.path, name, f"is {stored.dtype}, {kind} are wanted")
        last = self._frames_last(name, stored.shape, side)
        if last:
            count = stored.shape[-1]
            after = [count, side, side]
            self.log.add(key, "reordered", list(stored.shape), after, "frames first")
        return Frames(stored, last=last)

    def _frames_last(self, name: str, shape: tuple[int, ...], side: int) -> bool:
        first = len(shape) == 3 and shape[1:] == (side, side) and shape[0] > 0
        last = len(shape) == 3 and shape[:2] == (side, side) and shape[2] > 0
        if not first and not last:
            problem = f"shape is {shape}; with the {side} x {side} probe (n, {side}, {side}) or "
            problem += f"({side}, {side}, n) is wanted"
            raise InputError(self.source.path, name, problem)
        asked = self.answers.frames
        if asked and not (last if asked == "last" else first):
            problem = f"shape is {shape}: with N = {side} the frames cannot be {asked}"
            raise InputError(self.source.path, name, problem)
        if first and last and asked is None:
            if self.metadata is not None:
                return False  # its metadata says DATA-001: frames first
            problem = f"shape is {shape}: which axis counts the frames? say --frames first or last"
            raise InputError(self.source.path, name, problem)
        return asked == "last" if asked else last and not first

    def _per_frame(self, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """``scan_index``, and the keys of a view, which index frames."""
        if "scan_index" in self.names:
            values = per_frame(self.source, self.names["scan_index"], "scan_index", count, self.log)
            index = cast_and_record(self.source, "scan_index", values, self.log)
        else:
            index = np.arange(count, dtype=np.int64)
            after = f"0 to {count - 1}"
            self.log.add("scan_index", "made", None, after, "the file has none")
        extra = {}
        for key in VIEW_KEYS:
            if key in self.names:
                values = self.source.array(self.names[key])[...]
                extra[key] = cast_and_record(self.source, key, values, self.log)
        return index, extra

    def _drop_broken(
        self,
        frames: Frames,
        patches: Frames | None,
        positions: Positions,
        found: Statistics,
        extra: dict[str, np.ndarray],
    ) -> np.ndarray:
        """Numbers of the frames that are finite; the others go if that was stated."""
        broken = np.union1d(found.broken, positions.broken()).astype(np.intp)
        kept = np.setdiff1d(np.arange(len(frames)), broken)
        if not len(broken):
            return kept
        self.log.need("nan")
        if self.answers.nan is None:
            key = self.names["diffraction"] if found.broken else "xcoords, ycoords"
            problem = f"{len(broken)} of {len(frames)} frames, the first {broken[0]}, hold values "
            problem += "that are not finite: leave these frames out? say --nan drop-frames"
            raise InputError(self.source.path, key, problem)
        if not len(kept) or extra:
            problem = "no frame is finite" if not len(kept) else "a view's groups need all frames"
            raise InputError(self.source.path, "diffraction", problem)
        for stack in (frames, patches):
            if stack is not None:
                stack.keep(kept)
        positions.keep(kept)
        dropped = [int(number) for number in broken]
        self.log.add("diffraction", "frames dropped", dropped, f"{len(kept)} left", STATED)
        return kept

    def _values(self, frames: Frames, found: Statistics) -> Values:
        name = self.names["diffraction"]
        if found.negative:
            problem = f"{found.negative} values are negative: neither amplitude nor intensity; "
            raise InputError(self.source.path, name, f"{problem}mend masks or background first")
        if found.largest == 0:
            raise InputError(self.source.path, name, "is zero everywhere")
        values = Values(self.source.path, name, self.answers)
        values.decide(frames, found, self.metadata, self.progress)
        return values

    def _amplitudes(
        self, frames: Frames, found: Statistics, values: Values, probe: np.ndarray
    ) -> Amplitudes:
        mean_intensity = (found.sums if values.intensity else found.squares) / len(frames)
        if values.intensity:
            reason = values.kind_reason
            self.log.add("diffraction", "square root", "intensity", "amplitude", reason)
        if self.answers.zero_frequency:
            corner, reason = self.answers.zero_frequency == "corner", STATED
        else:
            corner, reason = zero_frequency(
                self.source.path,
                self.names["diffraction"],
                mean_intensity,
                probe,
                self.metadata is not None,
            )
        if corner:
            self.log.add("diffraction", "zero frequency moved", "corner", "centre", reason)
        largest = found.largest**0.5 if values.intensity else found.largest
        return Amplitudes(frames, values.intensity, corner, largest=largest)

    def _canvas(self, object_: np.ndarray | None, positions: Positions, side: int) -> np.ndarray:
        """The object, padded to even sides; ones where it was asked for."""
        if object_ is None:
            reach = positions.positions_px.max(axis=0) + side / 2
            if not positions.named:
                reach = np.full(2, reach.max())
            height, width = (max(side + 2, 2 * int(np.ceil(end / 2))) for end in reach)
            before = self.names.get("objectGuess")
            self.log.add("objectGuess", "replaced by ones", before, [height, width], STATED)
            return np.ones((height, width), np.complex64)
        odd = [length % 2 for length in object_.shape]
        if any(odd):
            before = list(object_.shape)
            object_ = np.pad(object_, [(0, odd[0]), (0, odd[1])], mode="edge")
            reason = "even sides: the last row or column repeated at the far side"
            self.log.add("objectGuess", "padded", before, list(object_.shape), reason)
        if min(object_.shape) <= side:
            problem = f"canvas is {object_.shape}, no larger than N = {side}: which canvas? "
            problem += "say --object FILE or --object ones"
            raise InputError(self.source.path, "objectGuess", problem)
        if not object_.any():
            problem = "is zero everywhere: which canvas? say --object FILE or --object ones"
            raise InputError(self.source.path, "objectGuess", problem)
        return object_

    def _order_inside(self, positions: Positions, canvas: tuple[int, int], side: int) -> None:
        """Every patch inside; of two unnamed orders the one that fits, if only one does."""
        if not positions.named:
            fits = [positions.inside(canvas, side), positions.inside(canvas[::-1], side)]
            if fits == [False, True]:
                positions.swap("only so the patches lie inside the canvas")
            positions.named = fits[0] != fits[1]
        positions.require_inside(canvas, side)

    def _axes(
        self,
        chosen: np.ndarray,
        measured: np.ndarray,
        values: Values,
        positions: Positions,
        object_: np.ndarray,
        probe: np.ndarray,
    ) -> tuple[float, float] | None:
        """Residuals as stored and swapped; decides an unnamed order, questions a named one."""
        places = positions.positions_px[chosen]
        factor = probe_factor(self.source.path, measured, places, object_, probe)
        found = axes_residuals(measured, places, object_, probe * factor)
        if self.answers.axes:
            return found
        question = "say --axes xy (x is the column, as the names say) or --axes yx (exchange)"
        told = "no frame can be compared" if found is None else _residual_words(found)
        if not positions.named:
            if found is None or max(found) * AXES_CLEARLY < min(found):
                problem = f"which column is x? {told}; {question}"
                raise InputError(self.source.path, "positions", problem)
            if found[1] < found[0]:
                positions.swap(told)
                found = found[::-1]
            return found
        if found is not None and found[1] < AXES_CONTRADICT * found[0]:
            problem = f"are x and y exchanged? {told}; {question}"
            raise InputError(self.source.path, "xcoords, ycoords", problem)
        simulated = self.metadata and self.metadata["transformations"][0]["tool"] == "simulate"
        if simulated and likelier_exchanged(
            measured, places, object_, probe * factor, values.scale
        ):
            problem = f"are x and y exchanged? the counts are likelier so; {question}"
            raise InputError(self.source.path, "xcoords, ycoords", problem)
        return found


def _residual_words(found: tuple[float, float]) -> str:
    return f"forward residual {found[0]:.3f} as stored, {found[1]:.3f} with x and y exchanged"


def prepare(source: Source, answers: Answers, progress: Progress) -> Conversion:
    """Decide and record every step from ``source`` to DATA-001; reads, writes nothing.

    Args:
        source: from `source.open_source`, open.
        answers: what a person stated.
        progress: called after each block of frames.

    Raises:
        InputError: the file is damaged or what it holds cannot become DATA-001; or there is a
            question that nobody answered, and the error is that question; or an answer to a
            question that the file does not raise.
    """
    return _Preparation(source, answers, progress).run()
