"""Stacks of patterns, read and converted in blocks: order, values, place of the zero frequency.

Statistics for decisions are gathered here; the decisions are in ``evidence.py`` and ``damage.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fly64_assets.ptychography.importing.casts import cast
from fly64_assets.ptychography.importing.change_log import Progress
from fly64_assets.ptychography.importing.source import StoredArray

BLOCK_BYTES = 1 << 23
FLOAT64_BYTES = 8
COUNT_TOLERANCE = 1e-3
INFORMATIVE = 0.1
"""A count whose rounding is coarser than this cannot show that it is whole."""
FEWEST_INFORMATIVE = 20
HALF = 0.5
FEW = 3
"""Different negative numbers that are marks; more are values."""
TELLING = 30
"""Lit pixels of a frame from which on no other equals it by chance."""
SAME = 1e-7
"""Relative difference of a mark that has been through float32 or a square root."""


class Frames:
    """A stack of frames of a file, frames first whatever the file's order.

    Attributes:
        stored: (n, N, N) or, with ``last``, (N, N, n).
        last: whether the last axis counts the frames.
        index: which of the file's frames are kept, ascending.
    """

    def __init__(self, stored: StoredArray, progress: Progress, *, last: bool) -> None:
        self.stored, self.last, self._progress = stored, last, progress
        self._count = stored.shape[-1 if last else 0]
        self.index = np.arange(self._count)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def side(self) -> int:
        """N, px."""
        return self.stored.shape[1]

    def _read(self, start: int, stop: int) -> np.ndarray:
        if not self.last:
            return self.stored.part(slice(start, stop))
        return np.moveaxis(self.stored.part(slice(start, stop), axis=-1), -1, 0)

    def blocks(self, doing: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the kept frames in order: their numbers, and (b, N, N), 8 MiB as float64."""
        step, done = max(1, BLOCK_BYTES // (self.side**2 * FLOAT64_BYTES)), 0
        for start in range(0, self._count, step):
            stop = min(start + step, self._count)
            kept = self.index[(self.index >= start) & (self.index < stop)] - start
            if len(kept):
                block = self._read(start, stop)
                numbers = np.arange(done, done := done + len(kept))
                yield numbers, block if len(kept) == len(block) else block[kept]
                self._progress(doing, done, len(self))

    def take(self, chosen: np.ndarray) -> np.ndarray:
        """Read (len(chosen), N, N), single frames by their number among the kept ones."""
        return np.concatenate([self._read(at, at + 1) for at in self.index[chosen]])


@dataclass
class Mask:
    """Which values of a stack count nothing.

    Attributes:
        pixels: (N, N) bool, in every frame.
        values: these numbers, wherever they stand.
        negative, infinite: whether values below 0, and those that are not finite, count nothing.
    """

    pixels: np.ndarray
    values: tuple[float, ...] = ()
    negative: bool = False
    infinite: bool = False

    def of(self, block: np.ndarray) -> np.ndarray:
        """Mark the values of a block, (b, N, N) bool."""
        masked = np.broadcast_to(self.pixels, block.shape).copy()
        if self.infinite and block.dtype.kind == "f":
            masked |= ~np.isfinite(block)
        if self.negative:
            masked |= block < 0
        for value in self.values:
            masked |= np.abs(block - value) <= SAME * value
        return masked

    def __bool__(self) -> bool:
        return bool(self.pixels.any() or self.values or self.negative or self.infinite)


class Statistics:
    """Of the file's values as they are, without those that are masked or in broken frames.

    Attributes:
        broken, lost, empty: frames with a value that is not finite at a pixel that is not masked,
            with more than half of them so, and without light, by their number among the frames.
        repeated: frame -> earlier one that is equal.
        infinite, masked: numbers of values.
        negative, negatives: number of values below 0, and which, as far as these are few.
        largest, smallest: of the positive values; 0 and infinity where there are none.
        whole: whether every value is a whole number.
        total: sum of the values.
        sums, squares, low, high: (N, N), over frames.
        touched: (N, N) bool: masked in some frame.
        marks: how often each value of `marks_of` stands there.
        below_marks: the largest other value.
    """

    def __init__(self, frames: Frames, mask: Mask) -> None:
        """Pass over all frames once."""
        shape = (frames.side, frames.side)
        self.broken: list[int] = []
        self.lost: list[int] = []
        self.empty: list[int] = []
        self.repeated: dict[int, int] = {}
        self.negatives: set[float] = set()
        self.marks: dict[float, int] = {}
        self.infinite = self.masked = self.negative = 0
        self.largest = self.total = self.below_marks = 0.0
        self.smallest, self.whole = np.inf, True
        self.sums, self.squares, self.high = np.zeros((3, *shape))
        self.low, self.touched = np.full(shape, np.inf), np.zeros(shape, bool)
        marks, seen = marks_of(frames.stored.dtype), dict[bytes, int]()
        for numbers, block in frames.blocks("reading"):
            values = block.astype(np.float64)
            infinite = ~np.isfinite(values)
            lost = infinite.mean(axis=(1, 2)) > HALF
            self.infinite += int(infinite.sum())
            self.lost += numbers[lost].tolist()
            self.broken += numbers[(infinite & ~mask.pixels).any(axis=(1, 2))].tolist()
            if mask:
                masked = mask.of(values)
                self.masked += int(masked.sum())
                self.touched |= masked.any(axis=0)
                values[masked] = 0
            sound = np.isfinite(values).all(axis=(1, 2)) & ~lost
            lit = (values != 0).sum(axis=(1, 2))
            self.empty += numbers[sound & (lit == 0)].tolist()
            for at in np.flatnonzero(sound & (lit >= TELLING)):
                digest = hashlib.blake2b(block[at].tobytes(), digest_size=8).digest()
                number = int(numbers[at])
                if (first := seen.setdefault(digest, number)) != number:
                    self.repeated[number] = first
            if (sound & (lit > 0)).any():
                self._add(values[sound & (lit > 0)], marks)

    def _add(self, values: np.ndarray, marks: tuple[float, ...]) -> None:
        negative, rest = values[values < 0], values[values > 0]
        self.negative += len(negative)
        if len(self.negatives) <= FEW:
            self.negatives |= set(np.unique(negative)[: FEW + 1].tolist())
        self.largest = max(self.largest, float(rest.max(initial=0)))
        self.smallest = min(self.smallest, float(rest.min(initial=np.inf)))
        self.whole &= bool((values == np.rint(values)).all())
        self.total += float(values.sum())
        self.sums += values.sum(axis=0)
        self.squares += np.square(values).sum(axis=0)
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))
        for mark in marks:
            if rest.max(initial=0) >= mark * (1 - SAME):
                same = np.abs(rest - mark) <= SAME * mark
                if count := int(same.sum()):
                    self.marks[mark] = self.marks.get(mark, 0) + count
                    rest = rest[~same]
        self.below_marks = max(self.below_marks, float(rest.max(initial=0)))

    def counts(self) -> np.ndarray:
        """Bound the counts of each pixel over all frames from below, (N, N)."""
        unit = self.smallest
        return np.minimum(self.sums / unit, self.squares / unit**2)


def marks_of(dtype: np.dtype) -> tuple[float, ...]:
    """List the values that stand in detectors' files for no count, and their square roots."""
    whole = {float(2**bits - 1 - less) for bits in (16, 31, 32) for less in (0, 1)}
    if dtype.kind in "iu":
        return tuple(sorted(whole | {float(np.iinfo(dtype).max)}, reverse=True))
    roots = {mark**0.5 for mark in whole}
    return tuple(sorted(whole | roots | {float(np.finfo(np.float32).max)}, reverse=True))


def whole_counts(
    frames: Frames, mask: Mask, hypotheses: Mapping[str, tuple[float, int]]
) -> dict[str, bool]:
    """Tell which hypotheses turn the positive values into whole numbers of counts.

    Args:
        frames: finite, not negative, but for what is masked.
        mask: of values that count nothing.
        hypotheses: name -> (scale, power): counts = (value * scale)**power.

    Returns:
        Name -> whether all counts are whole to within the rounding of the file's dtype. Counts so
        high that the rounding hides whether they are whole do not count as evidence.
    """
    dtype = frames.stored.dtype
    precision = float(np.finfo(np.float32).eps)
    if dtype.kind == "f":
        precision = max(precision, float(np.finfo(dtype).eps))
    worst, seen = dict.fromkeys(hypotheses, 0.0), dict.fromkeys(hypotheses, 0)
    for _, block in frames.blocks("looking for whole counts"):
        lit = block > 0
        if mask:
            lit &= ~mask.of(block.astype(np.float64))
        values = block[lit].astype(np.float64)
        for name, (scale, power) in hypotheses.items():
            if worst[name] > 1:
                continue
            counts = (values * scale) ** power
            allowed = COUNT_TOLERANCE + 8 * precision * counts
            informative = allowed < INFORMATIVE
            counts, allowed = counts[informative], allowed[informative]
            seen[name] += len(counts)
            off = np.abs(counts - np.rint(counts)) / allowed
            worst[name] = max(worst[name], float(off.max(initial=0)))
    return {name: worst[name] <= 1 and seen[name] >= FEWEST_INFORMATIVE for name in hypotheses}


Fill = Callable[[np.ndarray], np.ndarray]
"""Numbers of frames -> (b, N, N) amplitude, normalised, that stands in for what is masked."""


@dataclass
class Amplitudes:
    """Frames on their way to DATA-001 amplitude.

    Attributes:
        frames: of the file.
        mask: of the file's values.
        intensity: whether the file holds intensities.
        corner: whether the file has the zero frequency at pixel (0, 0).
        turn: one of `questions.PATTERN_TURNS`.
        largest: largest amplitude before the division.
        divisor: of the amplitudes.
        fill: what stands in for masked values; zero where there is none.
    """

    frames: Frames
    mask: Mask
    intensity: bool
    corner: bool
    turn: str
    largest: float
    divisor: float = 1.0
    fill: Fill | None = None

    def convert(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(b, N, N) of the file -> float64 amplitude, 0 where masked, and (b, N, N) bool mask."""
        values = block.astype(np.float64)
        masked = self.mask.of(values) if self.mask else None
        if masked is not None:
            values[masked] = 0
        if self.intensity:
            values = np.sqrt(values)
        values = self._placed(values)
        values = values if self.divisor == 1 else values / self.divisor
        return values, None if masked is None else self._placed(masked)

    def _placed(self, values: np.ndarray) -> np.ndarray:
        if self.corner:
            values = np.fft.fftshift(values, axes=(1, 2))
        return turned(values, self.turn)

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Take at most ``count`` evenly spread frames: their numbers, amplitudes and mask."""
        last = len(self.frames) - 1
        chosen = np.unique(np.linspace(0, last, min(count, last + 1)).round().astype(int))
        return chosen, *self.convert(self.frames.take(chosen))

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all frames as float32.

        Raises:
            InputError: a value does not survive the cast.
        """
        path = self.frames.stored.path
        for numbers, block in self.frames.blocks("converting"):
            values, masked = self.convert(block)
            if masked is not None and self.fill:
                values = np.where(masked, self.fill(numbers), values)
            limit = max(self.largest / self.divisor, float(values.max()))
            yield cast(path, "diffraction", values, np.dtype(np.float32), largest=limit)


def patch_blocks(frames: Frames) -> Iterator[np.ndarray]:
    """Yield ``Y`` as complex64."""
    for _, block in frames.blocks("converting"):
        yield cast(frames.stored.path, "Y", block, np.dtype(np.complex64))


def mapped(path: Path, blocks: Iterable[np.ndarray], side: int) -> np.ndarray:
    """Write blocks of frames into a file that is then mapped, (n, N, N), read only.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        for block in blocks:
            file.write(block.tobytes())
    return np.memmap(path, block.dtype, "r").reshape(-1, side, side)


def turned(patterns: np.ndarray, turn: str, *, back: bool = False) -> np.ndarray:
    """Exchange rows and columns of (n, N, N) patterns, then mirror them; ``back`` undoes that.

    Args:
        patterns: frames first.
        turn: one of `questions.PATTERN_TURNS`.
        back: apply the inverse.
    """
    axes = [axis for axis, name in ((1, "y"), (2, "x")) if name in turn]
    if turn == "none":
        return patterns
    if "t" in turn and not back:
        patterns = patterns.swapaxes(1, 2)
    patterns = np.flip(patterns, tuple(axes))
    if turn.endswith("0"):  # pixel N/2 keeps its place, as pixel 0 does in the other order
        patterns = np.roll(patterns, 1, axes)
    return patterns.swapaxes(1, 2) if "t" in turn and back else patterns
