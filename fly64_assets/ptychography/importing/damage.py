"""Values that are no photons, and frames that were never written: found, named, masked, dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.importing.change_log import ChangeLog, Progress
from fly64_assets.ptychography.importing.frames import FEW, Frames, Mask, Statistics, statistics
from fly64_assets.ptychography.importing.questions import Answers, is_file
from fly64_assets.ptychography.importing.source import Source, open_source
from fly64_assets.study.hashing import sha256_of

MASKS = (
    "mask",
    "pixel_mask",
    "entry_1/instrument_1/detector_1/mask",
    "entry_1/data_1/mask",
    "entry_1/image_1/mask",
    "entry/instrument/detector/pixel_mask",
    "entry/instrument/detector/detectorSpecific/pixel_mask",
)
"""Where a file says which pixels count nothing: 0 is good (CXI, NeXus)."""
INVERSE = "not:"
FOUND, NONE = "found", "none"
LIT = 1e4
"""Counts, over all frames, on both sides of a pixel that has none: no beam is so dark between."""
WIDEST_GAP = 8
STUCK_FRAMES = 32
STUCK_SHARE = 0.05
FAR_ABOVE = 30.0
"""Mean counts of a frame from which on an empty one, or two equal ones, do not come by chance."""
HALF = 0.5


class Damage:
    """What is masked in a stack of frames, and which frames are left out."""

    def __init__(self, source: Source, answers: Answers, log: ChangeLog) -> None:
        self._source, self._answers, self._log = source, answers, log
        self.inputs: dict[str, str] = {}

    def look(self, frames: Frames, progress: Progress) -> tuple[Mask, Statistics]:
        """The mask, as stated or as a question suggests, and what the frames hold beside it.

        Raises:
            InputError: a mask that was stated is none, marks most pixels, or is of no use.
        """
        stated = self._answers.mask
        mask = Mask(self._stated_pixels(frames.side), infinite=NONE not in stated)
        if NONE in stated:
            return mask, statistics(frames, mask, progress)
        unused = [] if stated else self._masks_of_the_file(frames.side)
        for name in unused:
            mask.pixels |= self._read(self._source, name)
        found = statistics(frames, mask, progress)
        if named := self._values(found, mask, frames):
            found = statistics(frames, mask, progress)
        pixels = self._pixels(found, mask, frames)
        usual = len(set(found.broken) - set(found.lost)) > HALF * len(frames)
        mask.infinite = bool(found.broken) and (FOUND in stated or usual)
        if mask.infinite:
            named.append(f"{found.infinite} that are not finite")
        named += pixels
        self._ask(named, unused)
        return mask, statistics(frames, mask, progress) if pixels else found

    def _ask(self, named: list[str], unused: list[str]) -> None:
        if FOUND in self._answers.mask:
            if not named:
                problem = f"{FOUND} was stated, but every value may be a count: leave it out"
                raise InputError("--mask", "", problem)
            return
        suggested = [*unused, *([FOUND] if named else [])]
        if not suggested:
            return
        told = f"values that are no photons: {', '.join(named)}" if named else ""
        if unused:
            told += ("; " if told else "") + f"{' and '.join(unused)} marks bad pixels"
        options = " ".join(f"--mask {name}" for name in suggested)
        masks = {"mask": (*self._answers.mask, *suggested)}
        self._log.ask("diffraction", "mask", masks, told=told, options=options)

    def _values(self, found: Statistics, mask: Mask, frames: Frames) -> list[str]:
        """Numbers that stand for no counts, into the mask; in words."""
        named, dtype = [], frames.stored.dtype
        for mark, count in found.marks.items():
            # The largest count of a good file may be such a number by chance: once, and not alone.
            limit = dtype.kind in "iu" and mark == float(np.iinfo(dtype).max)
            if limit or mark > 2 * found.below_marks or count > FEW:
                mask.values += (mark,)
                named.append(f"{count} of {mark:.10g}")
        if found.negative and len(found.negatives) <= FEW:
            mask.negative = True
            which = ", ".join(f"{value:g}" for value in sorted(found.negatives))
            named.append(f"{found.negative} of {which}")
        return named

    def _pixels(self, found: Statistics, mask: Mask, frames: Frames) -> list[str]:
        """Pixels that count nothing in any frame, into the mask; in words."""
        if not found.largest:
            return []
        named, good = [], ~mask.pixels
        stuck = (found.low == found.high) & (found.high > 0) & good
        if len(frames) < STUCK_FRAMES or stuck.mean() > STUCK_SHARE:
            stuck[:] = False
        elif stuck.any():
            named.append(f"{int(stuck.sum())} pixels that never change")
        dark = (found.high == 0) & _enclosed(found.counts() >= LIT) & good & ~found.touched
        if dark.any():
            named.append(f"{int(dark.sum())} dark pixels between lit ones")
        mask.pixels |= stuck | dark
        return named

    def _stated_pixels(self, side: int) -> np.ndarray:
        """(N, N) bool, of the masks that answers name."""
        stated = self._answers.mask
        if NONE in stated and len(stated) > 1:
            raise InputError("--mask", NONE, "was stated beside other masks: leave one out")
        pixels = np.zeros((side, side), bool)
        for name in (name for name in stated if name not in (FOUND, NONE)):
            plain = name.removeprefix(INVERSE)
            if is_file(plain):
                with open_source(plain) as other:
                    held = [one for one in MASKS if other.exists(one)] or list(other.names[:1])
                    marked = self._read(other, *held[:1], inverse=name != plain)
                self.inputs[Path(plain).name] = sha256_of(plain)
            else:
                marked = self._read(self._source, name.removeprefix(INVERSE), inverse=name != plain)
            if marked.shape != pixels.shape:
                problem = f"shape is {marked.shape}, the patterns are {side} x {side}"
                raise InputError(self._source.path, plain, problem)
            if marked.mean() > HALF:
                other_way = plain if name != plain else INVERSE + plain
                problem = f"marks {100 * marked.mean():.0f} % of the pixels: are these the good "
                raise InputError(self._source.path, plain, f"{problem}ones? say --mask {other_way}")
            pixels |= marked
            reason = f"--mask {Path(plain).name if is_file(plain) else name}"
            self._log.add("diffraction", "pixels masked", None, int(marked.sum()), reason)
        return pixels

    @staticmethod
    def _read(source: Source, name: str = "mask", *, inverse: bool = False) -> np.ndarray:
        inverse ^= name.startswith(INVERSE)
        stored = source.array(name.removeprefix(INVERSE).strip("/")).squeezed(2)
        if len(stored.shape) != 2 or stored.dtype.kind not in "biuf":
            problem = f"is {stored.dtype} {stored.shape}; one mask (N, N) for all frames is wanted"
            raise InputError(source.path, name, problem)
        values = stored.whole()
        return values == 0 if inverse else values != 0

    def _masks_of_the_file(self, side: int) -> list[str]:
        """Masks that lie in the file, fit and mark something."""
        held: list[str] = []
        for name in MASKS:
            if not self._source.exists(name) or any(self._source.same(name, one) for one in held):
                continue
            try:
                marked = self._read(self._source, name)
            except InputError:
                continue  # whatever it is, no mask of these patterns
            if marked.shape == (side, side) and marked.any():
                held.append(name if marked.mean() <= HALF else INVERSE + name)
        return [name for name in held if self._read(self._source, name).any()]

    def bad_frames(
        self, frames: Frames, found: Statistics, mask: Mask, pairs: np.ndarray | None
    ) -> np.ndarray:
        """Numbers of the frames to leave out: not finite, empty, or an earlier one once more.

        Args:
            pairs: (n, 2) positions in whatever unit, ``None`` where they are not known.
        """
        adrift = [] if pairs is None else np.flatnonzero(~np.isfinite(pairs).all(axis=1)).tolist()
        broken = sorted({*(found.lost if mask.infinite else found.broken), *adrift})
        kinds = {"hold values that are not finite": broken}
        lit = len(frames) - len(found.empty) - len(found.lost)
        if found.largest and float(found.counts().sum()) >= FAR_ABOVE * lit:
            kinds["hold no light"] = found.empty
            kinds["equal an earlier one that was taken elsewhere"] = [
                number
                for number, first in found.repeated.items()
                if pairs is None or not np.array_equal(pairs[number], pairs[first])
            ]
        kinds = {kind: sorted(set(numbers)) for kind, numbers in kinds.items() if numbers}
        bad = sorted({number for numbers in kinds.values() for number in numbers})
        if not bad:
            return np.zeros(0, np.intp)
        self._log.need("bad_frames")
        told = ", ".join(
            f"{len(numbers)} of {len(frames)} frames, the first {numbers[0]}, {kind}"
            for kind, numbers in kinds.items()
        )
        choice = self._answers.bad_frames
        if choice == "keep" and broken:
            problem = f"keep was stated, but {told}: only drop, or --mask {FOUND}, can be"
            raise InputError("--bad-frames", "", problem)
        if choice is None:
            otherwise = "" if broken else ", or --bad-frames keep"
            if found.broken and not adrift:
                otherwise = f", or --mask {FOUND} to mask what is not finite"
            key = "xcoords, ycoords" if adrift and not found.broken else "diffraction"
            suggested = {"bad_frames": "drop"}
            self._log.ask(key, "bad_frames", suggested, told=told, otherwise=otherwise)
        return np.asarray([] if choice == "keep" else bad, np.intp)


def _enclosed(lit: np.ndarray) -> np.ndarray:
    """(N, N) bool: lit within `WIDEST_GAP` on both sides, along the row or along the column."""
    enclosed = np.zeros_like(lit)
    for axis in (0, 1):
        near = []
        for sign in (1, -1):
            one = np.zeros_like(lit)
            for step in range(1, WIDEST_GAP + 1):
                moved = np.roll(lit, sign * step, axis)
                edge = slice(0, step) if sign > 0 else slice(-step, None)
                moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = False
                one |= moved
            near.append(one)
        enclosed |= near[0] & near[1]
    return enclosed
