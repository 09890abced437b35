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
    PAIR,
    POSITIONS,
    ask_for_key,
    cast_and_record,
    named_keys,
    open_numbers,
    per_frame,
    read_plane,
    record_cast,
    squeezed,
)
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog, OpenQuestions
from fly64_assets.ptychography.importing.damage import bad_frames, find_mask
from fly64_assets.ptychography.importing.evidence import decide_values, normalise, zero_frequency
from fly64_assets.ptychography.importing.file_metadata import read_metadata
from fly64_assets.ptychography.importing.frames import (
    Amplitudes,
    Fill,
    Frames,
    Statistics,
)
from fly64_assets.ptychography.importing.orientation import Finding
from fly64_assets.ptychography.importing.placing import (
    Placing,
    empty_canvas,
    even_canvas,
    stated_way,
)
from fly64_assets.ptychography.importing.positions import Positions, coordinates, read_positions

CONTAINER = "NPZ"
REAL = "real amplitudes or intensities"


class Conversion:
    """A dataset that is made ready to be written, step by step.

    Attributes:
        log: of the file, which must stay open until the frames are written.
        amplitudes: diffraction on its way to amplitude.
        object, probe: complex64.
        per_frame: coordinates and ``scan_index``, final dtypes.
        patches: frames of ``Y``, or ``None``.
        extra: the keys of an overlap view.
        metadata: of the file where they are DATA-001's, else ``None``.
        source_metadata: text of metadata that were made anew.
        intensity_scale: of the new file.
        position_errors: px, where start positions differ from the positions.
        finding: what the comparison of orientations says.
    """

    amplitudes: Amplitudes
    object: np.ndarray
    probe: np.ndarray
    per_frame: dict[str, np.ndarray]
    patches: Frames | None
    extra: dict[str, np.ndarray]
    intensity_scale: float
    position_errors: float | None
    finding: Finding | None

    def __init__(self, log: ChangeLog) -> None:
        """Decide and record every step from the source to DATA-001; reads, writes nothing.

        Raises:
            InputError: the file is damaged or what it holds cannot become DATA-001; or an answer to
                a question that the file does not raise; or `OpenQuestions`: every question that
                nobody answered.
        """
        self.log = log
        try:
            self._run()
        except OpenQuestions:
            raise
        except InputError as error:
            log.refuse_open(error)
            raise

    def _run(self) -> None:
        log, answers = self.log, self.log.answers
        if log.source.container != CONTAINER:
            reason = f"a DATA-001 file is {CONTAINER}"
            log.add("file", "container", log.source.container, CONTAINER, reason)
        self.names = named_keys(log)
        self.metadata, self.source_metadata = read_metadata(log, self.names)
        physics = self.metadata["physics"] if self.metadata else {}
        known = float(physics["intensity_scale"]) if physics else None
        probe = read_plane(log, self.names, "probeGuess")
        object_ = read_plane(log, self.names, "objectGuess")
        if probe is not None:
            self._require_probe(probe, physics.get("N"))
            probe = cast_and_record(log, "probeGuess", probe)
        frames = self._frames("diffraction", None if probe is None else len(probe))
        if frames is None:
            raise log.open_questions()
        count, side, name = len(frames), frames.side, self.names["diffraction"]
        self.patches = self._frames("Y", side) if "Y" in self.names else None
        positions = read_positions(log, self.names, count) if self._has_positions() else None
        self._index_frames(count)
        mask, found = find_mask(log, frames)
        bad = bad_frames(log, frames, found, mask, None if positions is None else positions.pairs)
        if len(bad) or answers.lag:
            self._leave_out(bad, answers.lag or 0, frames, positions)
            found = Statistics(frames, mask)
        if found.negative:
            problem = f"{found.negative} values are negative: neither amplitude nor intensity; "
            raise log.source.error(name, f"{problem}mend masks or background first")
        if found.largest == 0:
            raise log.source.error(name, "is zero everywhere")
        values = decide_values(log, name, frames, mask, found, known)
        way = None if positions is None else stated_way(log, positions, side)
        if probe is None or positions is None or way is None:
            raise log.open_questions()
        if values.intensity:
            log.add("diffraction", "square root", "intensity", "amplitude", values.kind_reason)
        mean_intensity = (found.sums if values.intensity else found.squares) / len(frames)
        corner, reason = zero_frequency(log, name, mean_intensity, probe, described=bool(physics))
        if corner:
            log.add("diffraction", "zero frequency moved", "corner", "centre", reason)
        turn = answers.flip_frames or "none"
        if turn != "none":
            log.add("diffraction", "patterns turned", "none", turn, STATED)
        largest = found.largest**0.5 if values.intensity else found.largest
        amplitudes = Amplitudes(frames, mask, values.intensity, corner, turn, largest)
        object_, probe = self._conjugated(object_, probe)
        if object_ is None:
            object_, way = empty_canvas(log, positions, way, side)
            canvas, before = object_.shape, self.names.get("objectGuess")
            log.add("objectGuess", "replaced by ones", before, list(canvas), STATED)
        else:
            canvas = object_.shape
            object_ = even_canvas(log, object_, side)
        object_ = cast_and_record(log, "objectGuess", object_)
        placing = Placing(log, positions, canvas, object_, probe, amplitudes, values)
        way, self.finding, factor = placing.decide(way)
        reason = "" if self.finding is None else f"forward residual {self.finding.residual:.3f} so"
        places, self.position_errors = coordinates(log, positions, way, canvas, reason)
        mean = placing.mean if values.intensity else found.total / (count * side**2)
        probe, scale = normalise(log, values, amplitudes, mean, factor, known, probe)
        record_cast(log, "diffraction", frames.stored.dtype)
        if self.patches is not None:
            record_cast(log, "Y", self.patches.stored.dtype)
        if mask:
            amplitudes.fill = _fill(places, object_, probe, scale)
            share = found.masked / (len(frames) * side**2)
            filled = "what the model expects there, in whole counts"
            before = f"{found.masked} values, {100 * share:.3g} % of all"
            log.add("diffraction", "masked values replaced", before, filled, "no counts")
        log.refuse_open()
        log.refuse_unneeded()
        self.amplitudes, self.object, self.probe = amplitudes, object_, probe
        self.per_frame, self.intensity_scale = {**places, "scan_index": self._index}, scale

    def _require_probe(self, probe: np.ndarray, stated: int | None) -> None:
        source = self.log.source
        if probe.shape[0] != probe.shape[1] or probe.shape[0] % 2:
            problem = f"shape is {probe.shape}, DATA-001 wants (N, N) with N even; crop it first"
            raise source.error("probeGuess", problem)
        if not np.abs(probe).any():
            problem = "is zero everywhere: what is the probe? say --probe FILE"
            raise source.error("probeGuess", problem)
        if stated and stated != len(probe):
            problem = f"physics.N is {stated}, the probe is {probe.shape}: which is right? "
            raise source.error("_metadata", f"{problem}say --probe FILE")

    def _frames(self, key: str, side: int | None) -> Frames | None:
        log = self.log
        name = ask_for_key(log, self.names, key)
        if name is None:
            return None
        kinds = (
            ("c", "complex patches") if key == "Y" else ("uif", "real amplitudes or intensities")
        )
        stored = open_numbers(log.source, name, kinds[0], f"{kinds[1]} are wanted")
        stored = squeezed(key, stored, 3, log)
        last = self._frames_last(name, stored.shape, side)
        if last:
            after = [stored.shape[-1], *stored.shape[:-1]]
            log.add(key, "reordered", list(stored.shape), after, "frames first")
        return Frames(stored, log.progress, last=last)

    def _frames_last(self, name: str, shape: tuple[int, ...], side: int | None) -> bool:
        log, asked = self.log, self.log.answers.frames
        if side is None and len(shape) == 3:  # no probe to go by
            side = shape[1]
        first = len(shape) == 3 and shape[1:] == (side, side) and shape[0] > 0
        last = len(shape) == 3 and shape[:2] == (side, side) and shape[2] > 0
        if not first and not last:
            problem = f"shape is {shape}; with the {side} x {side} probe (n, {side}, {side}) or "
            raise log.source.error(name, f"{problem}({side}, {side}, n) is wanted")
        if asked and not (last if asked == "last" else first):
            problem = f"shape is {shape}: with N = {side} the frames cannot be {asked}"
            raise log.source.error(name, problem)
        if first and last and asked is None and self.metadata is None:  # DATA-001 has them first
            log.ask(name, "frames", {"frames": "first"}, shape=shape)
        return asked == "last" if asked else last and not first

    def _has_positions(self) -> bool:
        """Whether there are any; asks for what is missing."""
        there = [key for key in PAIR if key in self.names]
        if len(there) == 1 and POSITIONS not in self.names:
            ask_for_key(self.log, self.names, next(key for key in PAIR if key not in there))
            return False
        if not there:
            otherwise = "--key xcoords=NAME --key ycoords=NAME"
            return bool(ask_for_key(self.log, self.names, POSITIONS, otherwise=otherwise))
        return True

    def _index_frames(self, count: int) -> None:
        """Take ``scan_index``, and the keys of a view, which index frames."""
        log, names = self.log, self.names
        if "scan_index" in names:
            self._index = per_frame(log, names["scan_index"], "scan_index", count)
        else:
            self._index = np.arange(count, dtype=np.int64)
            log.add("scan_index", "made", None, f"0 to {count - 1}", "the file has none")
        self.extra = {
            key: cast_and_record(log, key, log.source.array(names[key]).whole())
            for key in VIEW_KEYS
            if key in names
        }

    def _leave_out(
        self, bad: np.ndarray, lag: int, frames: Frames, positions: Positions | None
    ) -> None:
        """Keep frames and positions that belong together and are sound."""
        log, count = self.log, len(frames)
        kept = np.setdiff1d(np.arange(count), bad)
        kept = kept[(kept + lag >= 0) & (kept + lag < count)]
        if not len(kept) or self.extra:
            problem = "no frame is sound" if not len(kept) else "a view's groups need all frames"
            raise log.source.error("diffraction", problem)
        frames.index, self._index = kept, self._index[kept]
        if self.patches is not None:
            self.patches.index = kept + lag  # a true patch belongs to a place
        if positions is not None:
            positions.keep(kept + lag)
        if len(bad):
            left = f"{count - len(bad)} left"
            log.add("diffraction", "frames dropped", bad.tolist(), left, STATED)
        if lag:
            after = f"frame i at position i + {lag}; {len(kept)} left"
            log.add("diffraction", "out of step", "frame i at position i", after, STATED)

    def _conjugated(
        self, object_: np.ndarray | None, probe: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Object and probe with the sign of phase that was stated to be theirs."""
        what = self.log.answers.conjugate or "none"
        for key, name in (("objectGuess", "object"), ("probeGuess", "probe")):
            if what in (name, "both"):
                self.log.add(key, "conjugated", "phase", "minus the phase", STATED)
        if what in ("object", "both") and object_ is not None:
            object_ = np.conj(object_)
        return object_, np.conj(probe) if what in ("probe", "both") else probe


def _fill(
    places: dict[str, np.ndarray], object_: np.ndarray, probe: np.ndarray, scale: float
) -> Fill:
    """Return what stands in for masked values: the expected counts, whole as counts are."""
    positions = np.stack([places["ycoords"], places["xcoords"]], axis=1)
    cutter = PatchCutter(object_, len(probe), padding_px=PATCH_PADDING_PX)

    def expected(numbers: np.ndarray) -> np.ndarray:
        model = far_field(cutter.at(positions[numbers]), probe).astype(np.float64)
        return np.sqrt(np.rint(np.square(model * scale))) / scale

    return expected
