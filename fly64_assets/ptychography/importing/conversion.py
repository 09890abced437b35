"""From a foreign file to everything that a DATA-001 file holds, every step of it recorded.

The steps stand in the order in which they are recorded. A question does not end them: they go on
with what it suggests, so that all questions come at once. Nothing is written here.
"""

from __future__ import annotations

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset_rules import PATCH_PADDING_PX, VIEW_KEYS
from fly64_assets.ptychography.forward import PatchCutter, far_field
from fly64_assets.ptychography.importing.arrays import (
    POSITIONS,
    ask_for_key,
    cast_and_record,
    named_keys,
    per_frame,
    plane_of,
    read_metadata,
    refuse_pickled,
    squeezed,
)
from fly64_assets.ptychography.importing.change_log import (
    STATED,
    ChangeLog,
    OpenQuestions,
    Progress,
)
from fly64_assets.ptychography.importing.damage import Damage
from fly64_assets.ptychography.importing.evidence import Values, zero_frequency
from fly64_assets.ptychography.importing.frames import (
    Amplitudes,
    Fill,
    Frames,
    Mask,
    Statistics,
    statistics,
)
from fly64_assets.ptychography.importing.placing import (
    Placing,
    empty_canvas,
    even_canvas,
    stated_way,
)
from fly64_assets.ptychography.importing.positions import Positions
from fly64_assets.ptychography.importing.questions import Answers
from fly64_assets.ptychography.importing.source import Source
from fly64_assets.ptychography.importing.units import apply_units
from fly64_assets.study.hashing import sha256_of

CONTAINER = "NPZ"


class Conversion:
    """A dataset that is made ready to be written, step by step.

    Attributes:
        source: the foreign file; it must stay open until the frames are written.
        answers: what was stated.
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
        finding: what the comparison of orientations says, ``None`` where there was none.
        inputs: name -> sha256 of every file that went in.
    """

    def __init__(self, source: Source, answers: Answers, progress: Progress) -> None:
        self.source, self.answers, self.progress = source, answers, progress
        self.log = ChangeLog(source.path, answers)
        self.changes = self.log.changes
        self.inputs = {source.path.name: sha256_of(source.path)}

    def prepare(self) -> None:
        """Decide and record every step from the source to DATA-001; reads, writes nothing.

        Raises:
            InputError: the file is damaged or what it holds cannot become DATA-001; or an answer to
                a question that the file does not raise; or `OpenQuestions`: every question that
                nobody answered.
        """
        try:
            self._run()
        except OpenQuestions:
            raise
        except InputError as error:
            self.log.refuse_open(error)
            raise

    def _run(self) -> None:
        if self.source.container != CONTAINER:
            reason = f"a DATA-001 file is {CONTAINER}"
            self.log.add("file", "container", self.source.container, CONTAINER, reason)
        self.names = named_keys(self.source, self.answers, self.log)
        self.metadata, self.source_metadata = read_metadata(self.source, self.names, self.log)
        probe = self._plane("probeGuess")
        object_ = self._plane("objectGuess")
        if probe is not None:
            self._require_side(probe)
            probe = cast_and_record(self.source, "probeGuess", probe, self.log)
        frames = self._frames("diffraction", None if probe is None else len(probe))
        positions = Positions(self.source, self.answers, self.log)
        if frames is None:
            self.log.refuse_open()
        count, side = len(frames), frames.side
        patches = self._frames("Y", side) if "Y" in self.names else None
        placed = self._positions(positions, count)
        index, extra = self._per_frame(count)
        damage = Damage(self.source, self.answers, self.log)
        mask, found = damage.look(frames, self.progress)
        self.inputs |= damage.inputs
        bad = damage.bad_frames(frames, found, mask, positions.pairs if placed else None)
        if len(bad) or self.answers.lag:
            index = self._leave_out(bad, frames, patches, positions, index, extra)
            found = statistics(frames, mask, self.progress)
        values = self._values(frames, mask, found)
        way = stated_way(positions, self.answers, side, self.log) if placed else None
        if probe is None or way is None:
            self.log.refuse_open()
        amplitudes = self._amplitudes(frames, mask, found, values, probe)
        object_, probe = self._conjugated(object_, probe)
        if object_ is None:
            ordered = positions.named or self.answers.axes is not None
            object_, way = empty_canvas(self.source, positions, way, side, ordered=ordered)
            canvas, before = object_.shape, self.names.get("objectGuess")
            self.log.add("objectGuess", "replaced by ones", before, list(canvas), STATED)
        else:
            canvas = object_.shape
            object_ = even_canvas(self.source, object_, side, self.log)
        object_ = cast_and_record(self.source, "objectGuess", object_, self.log)
        placing = Placing(
            self.source,
            self.answers,
            self.log,
            self.progress,
            amplitudes=amplitudes,
            values=values,
            positions=positions,
            canvas=canvas,
            object_=object_,
            probe=probe,
        )
        way, finding, factor = placing.decide(way)
        mean = placing.mean if values.intensity else found.total / (count * side**2)
        reason = "" if finding is None else f"forward residual {finding.residual:.3f} so"
        coordinates = positions.values(way, canvas, reason)
        known = float(self.metadata["physics"]["intensity_scale"]) if self.metadata else None
        probe, scale = apply_units(values, amplitudes, mean, factor, known, probe, self.log)
        self._record_casts(frames, patches)
        if mask:
            amplitudes.fill = self._fill(coordinates, object_, probe, scale)
            share = found.masked / (len(frames) * side**2)
            filled = "what the model expects there, in whole counts"
            before = f"{found.masked} values, {100 * share:.3g} % of all"
            self.log.add("diffraction", "masked values replaced", before, filled, "no counts")
        self.log.refuse_open()
        self.log.refuse_unneeded()
        self.frames, self.object, self.probe = amplitudes, object_, probe
        self.per_frame = {**coordinates, "scan_index": index}
        self.patches, self.extra, self.intensity_scale = patches, extra, scale
        self.position_errors, self.finding = positions.position_errors, finding

    def _plane(self, key: str) -> np.ndarray | None:
        plane, inputs = plane_of(key, self.source, self.names, self.answers, self.log)
        self.inputs |= inputs
        return plane

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

    def _frames(self, key: str, side: int | None) -> Frames | None:
        name = ask_for_key(self.source, self.names, key, self.log)
        if name is None:
            return None
        refuse_pickled(self.source, name)
        stored = squeezed(key, self.source.array(name), 3, self.log)
        wanted = "c" if key == "Y" else "uif"
        if stored.dtype.kind not in wanted:
            kind = "complex patches" if key == "Y" else "real amplitudes or intensities"
            raise InputError(self.source.path, name, f"is {stored.dtype}, {kind} are wanted")
        last = self._frames_last(name, stored.shape, side)
        if last:
            count, side = stored.shape[-1], stored.shape[0]
            after = [count, side, side]
            self.log.add(key, "reordered", list(stored.shape), after, "frames first")
        return Frames(stored, last=last)

    def _frames_last(self, name: str, shape: tuple[int, ...], side: int | None) -> bool:
        if side is None and len(shape) == 3:  # no probe to go by
            side = shape[1]
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
            self.log.ask(name, "frames", {"frames": "first"}, shape=shape)
        return asked == "last" if asked else last and not first

    def _positions(self, positions: Positions, count: int) -> bool:
        """Whether there are any."""
        pair = {"xcoords", "ycoords"}
        if not pair <= set(self.names) and POSITIONS not in self.names:
            for key in sorted(pair & set(self.names)):
                other = (pair - {key}).pop()
                ask_for_key(self.source, self.names, other, self.log)
                return False
            ask_for_key(
                self.source,
                self.names,
                POSITIONS,
                self.log,
                otherwise="--key xcoords=NAME --key ycoords=NAME",
            )
        return positions.read(self.names, count)

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
                values = self.source.array(self.names[key]).whole()
                extra[key] = cast_and_record(self.source, key, values, self.log)
        return index, extra

    def _leave_out(
        self,
        bad: np.ndarray,
        frames: Frames,
        patches: Frames | None,
        positions: Positions,
        index: np.ndarray,
        extra: dict[str, np.ndarray],
    ) -> np.ndarray:
        """Frames and positions that belong together and are sound; their ``scan_index``."""
        count, lag = len(frames), self.answers.lag or 0
        kept = np.setdiff1d(np.arange(count), bad)
        partners = kept + lag
        there = (partners >= 0) & (partners < count)
        kept, partners = kept[there], partners[there]
        if not len(kept) or extra:
            problem = "no frame is sound" if not len(kept) else "a view's groups need all frames"
            raise InputError(self.source.path, "diffraction", problem)
        frames.keep(kept)
        if patches is not None:
            patches.keep(partners)  # a true patch belongs to a place
        positions.keep(partners)
        if len(bad):
            dropped = [int(number) for number in bad]
            left = f"{count - len(bad)} left"
            self.log.add("diffraction", "frames dropped", dropped, left, STATED)
        if lag:
            after = f"frame i at position i + {lag}; {len(kept)} left"
            self.log.add("diffraction", "out of step", "frame i at position i", after, STATED)
        return index[kept]

    def _values(self, frames: Frames, mask: Mask, found: Statistics) -> Values:
        name = self.names["diffraction"]
        if found.negative:
            problem = f"{found.negative} values are negative: neither amplitude nor intensity; "
            raise InputError(self.source.path, name, f"{problem}mend masks or background first")
        if found.largest == 0:
            raise InputError(self.source.path, name, "is zero everywhere")
        values = Values(name, self.answers, self.log)
        values.decide(frames, mask, found, self.metadata, self.progress)
        return values

    def _amplitudes(
        self, frames: Frames, mask: Mask, found: Statistics, values: Values, probe: np.ndarray
    ) -> Amplitudes:
        mean_intensity = (found.sums if values.intensity else found.squares) / len(frames)
        if values.intensity:
            reason = values.kind_reason
            self.log.add("diffraction", "square root", "intensity", "amplitude", reason)
        if self.answers.zero_frequency:
            corner, reason = self.answers.zero_frequency == "corner", STATED
        else:
            name, described = self.names["diffraction"], self.metadata is not None
            corner, reason = zero_frequency(name, mean_intensity, probe, described, self.log)
        if corner:
            self.log.add("diffraction", "zero frequency moved", "corner", "centre", reason)
        turn = self.answers.flip_frames or "none"
        if turn != "none":
            self.log.add("diffraction", "patterns turned", "none", turn, STATED)
        largest = found.largest**0.5 if values.intensity else found.largest
        return Amplitudes(frames, values.intensity, corner, turn, largest=largest, mask=mask)

    def _conjugated(
        self, object_: np.ndarray | None, probe: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Object and probe with the sign of phase that was stated to be theirs."""
        what = self.answers.conjugate or "none"
        for key, name in (("objectGuess", "object"), ("probeGuess", "probe")):
            if what in (name, "both"):
                self.log.add(key, "conjugated", "phase", "minus the phase", STATED)
        if what in ("object", "both") and object_ is not None:
            object_ = np.conj(object_)
        return object_, np.conj(probe) if what in ("probe", "both") else probe

    def _record_casts(self, frames: Frames, patches: Frames | None) -> None:
        reason = "every value kept to its precision"
        for key, stack, wanted in (
            ("diffraction", frames, np.float32),
            ("Y", patches, np.complex64),
        ):
            if stack is not None and stack.stored.dtype != wanted:
                self.log.add(key, "cast", str(stack.stored.dtype), np.dtype(wanted).name, reason)

    @staticmethod
    def _fill(
        coordinates: dict[str, np.ndarray], object_: np.ndarray, probe: np.ndarray, scale: float
    ) -> Fill:
        """What stands in for masked values: the expected counts, whole as counts are."""
        places = np.stack([coordinates["ycoords"], coordinates["xcoords"]], axis=1)
        cutter = PatchCutter(object_, len(probe), padding_px=PATCH_PADDING_PX)

        def expected(numbers: np.ndarray) -> np.ndarray:
            model = far_field(cutter.at(places[numbers]), probe).astype(np.float64)
            return np.sqrt(np.rint(np.square(model * scale))) / scale

        return expected
