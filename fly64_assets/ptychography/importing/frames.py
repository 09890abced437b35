"""Stacks of patterns, read and converted in blocks: order, values, place of the zero frequency.

Statistics for decisions are gathered here; the decisions are in ``evidence.py`` and ``damage.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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

    def __init__(self, stored: StoredArray, *, last: bool) -> None:
        self.stored, self.last = stored, last
        self._count = stored.shape[-1 if last else 0]
        self.index = np.arange(self._count)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def side(self) -> int:
        return self.stored.shape[1]

    def keep(self, index: np.ndarray) -> None:
        """Keep these of the file's frames only."""
        self.index = index

    def _read(self, start: int, stop: int) -> np.ndarray:
        if not self.last:
            return self.stored[start:stop]
        return np.moveaxis(self.stored[..., start:stop], -1, 0)

    def blocks(self) -> Iterator[np.ndarray]:
        """The kept frames in order, (b, N, N) in the file's dtype; 8 MiB as float64."""
        step = max(1, BLOCK_BYTES // (self.side**2 * FLOAT64_BYTES))
        for start in range(0, self._count, step):
            stop = min(start + step, self._count)
            kept = self.index[(self.index >= start) & (self.index < stop)] - start
            if len(kept):
                block = self._read(start, stop)
                yield block if len(kept) == len(block) else block[kept]

    def numbered_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same, with the numbers among the kept ones."""
        done = 0
        for block in self.blocks():
            yield np.arange(done, done + len(block)), block
            done += len(block)

    def take(self, chosen: np.ndarray) -> np.ndarray:
        """(len(chosen), N, N), single frames by their number among the kept ones."""
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
        """(b, N, N) bool."""
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


@dataclass
class Statistics:
    """Of the file's values as they are, without those that are masked or in broken frames.

    Attributes:
        broken, lost, empty: frames with a value that is not finite at a pixel that is not masked,
            with more than half of them so, and without light, by their number among the frames.
        repeated: frame -> earlier one that is equal.
        infinite: number of values that are not finite.
        negative, negatives: number of values below 0, and which, as far as these are few.
        largest, smallest: of the positive values; 0 and infinity where there are none.
        whole: whether every value is a whole number.
        total: sum of the values.
        masked: number of masked values.
        sums, squares: (N, N), over frames, of the values and of their squares.
        low, high: (N, N), over frames.
        touched: (N, N) bool: masked in some frame.
        marks: how often each value of `marks_of` stands there.
        below_marks: the largest other value.
    """

    side: int
    broken: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    repeated: dict[int, int] = field(default_factory=dict)
    infinite: int = 0
    negative: int = 0
    negatives: set[float] = field(default_factory=set)
    largest: float = 0.0
    smallest: float = np.inf
    whole: bool = True
    total: float = 0.0
    masked: int = 0
    marks: dict[float, int] = field(default_factory=dict)
    below_marks: float = 0.0

    def __post_init__(self) -> None:
        shape = (self.side, self.side)
        self.sums, self.squares = np.zeros(shape), np.zeros(shape)
        self.low, self.high = np.full(shape, np.inf), np.zeros(shape)
        self.touched = np.zeros(shape, bool)

    def counts(self) -> np.ndarray:
        """(N, N): at least how many counts a pixel holds over all frames, whatever the values."""
        unit = self.smallest
        return np.minimum(self.sums / unit, self.squares / unit**2)


def statistics(frames: Frames, mask: Mask, progress: Progress) -> Statistics:
    """One pass over all frames."""
    found, seen = Statistics(frames.side), {}
    marks = marks_of(frames.stored.dtype)
    for numbers, block in frames.numbered_blocks():
        values = block.astype(np.float64)
        infinite = ~np.isfinite(values)
        found.infinite += int(infinite.sum())
        found.lost += numbers[infinite.mean(axis=(1, 2)) > HALF].tolist()
        found.broken += numbers[(infinite & ~mask.pixels).any(axis=(1, 2))].tolist()
        if mask:
            masked = mask.of(values)
            found.masked += int(masked.sum())
            found.touched |= masked.any(axis=0)
            values[masked] = 0
        sound = np.isfinite(values).all(axis=(1, 2)) & ~(infinite.mean(axis=(1, 2)) > HALF)
        lit = (values != 0).sum(axis=(1, 2))
        found.empty += numbers[sound & (lit == 0)].tolist()
        for at in np.flatnonzero(sound & (lit >= TELLING)):
            digest = hashlib.blake2b(np.ascontiguousarray(block[at]), digest_size=8).digest()
            if seen.setdefault(digest, numbers[at]) != numbers[at]:
                found.repeated[int(numbers[at])] = int(seen[digest])
        _add_values(found, values[sound & (lit > 0)], marks)
        progress("reading", int(numbers[-1]) + 1, len(frames))
    return found


def _add_values(found: Statistics, values: np.ndarray, marks: tuple[float, ...]) -> None:
    if not len(values):
        return
    if values.min() < 0:
        negative = values[values < 0]
        found.negative += len(negative)
        if len(found.negatives) <= FEW:
            found.negatives |= {float(value) for value in np.unique(negative)[: FEW + 1]}
    positive = values[values > 0]
    found.largest = max(found.largest, float(positive.max(initial=0)))
    found.smallest = min(found.smallest, float(positive.min(initial=np.inf)))
    found.whole &= bool((values == np.rint(values)).all())
    found.total += float(values.sum())
    found.sums += values.sum(axis=0)
    found.squares += np.square(values).sum(axis=0)
    found.low = np.minimum(found.low, values.min(axis=0))
    found.high = np.maximum(found.high, values.max(axis=0))
    rest = positive
    for mark in marks:
        if rest.max(initial=0) >= mark * (1 - SAME):
            same = np.abs(rest - mark) <= SAME * mark
            if count := int(same.sum()):
                found.marks[mark] = found.marks.get(mark, 0) + count
                rest = rest[~same]
    found.below_marks = max(found.below_marks, float(rest.max(initial=0)))


def marks_of(dtype: np.dtype) -> tuple[float, ...]:
    """Values that detectors' files hold where nothing was counted, and their square roots."""
    whole = {float(2**bits - 1 - less) for bits in (16, 31, 32) for less in (0, 1)}
    if dtype.kind in "iu":
        return tuple(sorted(whole | {float(np.iinfo(dtype).max)}, reverse=True))
    roots = {mark**0.5 for mark in whole}
    return tuple(sorted(whole | roots | {float(np.finfo(np.float32).max)}, reverse=True))


def whole_counts(
    frames: Frames,
    mask: Mask | None,
    hypotheses: Mapping[str, tuple[float, int]],
    progress: Progress,
) -> dict[str, bool]:
    """Which hypotheses turn the positive values into whole numbers of counts.

    Args:
        frames: finite, not negative, but for what is masked.
        mask: of values that count nothing.
        hypotheses: name -> (scale, power): counts = (value * scale)**power.

    Returns:
        Name -> whether all counts are whole to within the rounding of the file's dtype. Counts so
        high that the rounding hides whether they are whole do not count as evidence.
    """
    dtype = frames.stored.dtype
    precision = np.finfo(np.float32).eps
    if dtype.kind == "f":
        precision = max(precision, np.finfo(dtype).eps)
    worst = dict.fromkeys(hypotheses, 0.0)
    seen = dict.fromkeys(hypotheses, 0)
    done = 0
    for block in frames.blocks():
        lit = block > 0
        if mask:
            lit &= ~mask.of(block.astype(np.float64))
        values = block[lit].astype(np.float64)
        for name, (scale, power) in hypotheses.items():
            if worst[name] > 1:
                continue
            counts = (values * scale) ** power
            allowed = COUNT_TOLERANCE + 8 * float(precision) * counts
            informative = allowed < INFORMATIVE
            counts, allowed = counts[informative], allowed[informative]
            seen[name] += len(counts)
            off = np.abs(counts - np.rint(counts)) / allowed
            worst[name] = max(worst[name], float(off.max(initial=0)))
        done += len(block)
        progress("looking for whole counts", done, len(frames))
    return {name: worst[name] <= 1 and seen[name] >= FEWEST_INFORMATIVE for name in hypotheses}


Fill = Callable[[np.ndarray], np.ndarray]
"""Numbers of frames -> (b, N, N) amplitude, normalised, that stands in for what is masked."""


@dataclass
class Amplitudes:
    """Frames on their way to DATA-001 amplitude.

    Attributes:
        frames: of the file.
        intensity: whether the file holds intensities.
        corner: whether the file has the zero frequency at pixel (0, 0).
        turn: one of `questions.PATTERN_TURNS`.
        divisor: of the amplitudes.
        largest: largest amplitude before the division.
        mask: of the file's values.
        fill: what stands in for them; zero where there is none.
    """

    frames: Frames
    intensity: bool = False
    corner: bool = False
    turn: str = "none"
    divisor: float = 1.0
    largest: float = 0.0
    mask: Mask | None = None
    fill: Fill | None = None

    def __len__(self) -> int:
        return len(self.frames)

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
        """At most ``count`` evenly spread frames: their numbers, amplitudes and mask."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return chosen, *self.convert(self.frames.take(chosen))

    def write(self, path: Path, source: Path, progress: Progress) -> np.ndarray:
        """All frames as float32 into a file that is then mapped, read only.

        Raises:
            InputError: a value does not survive the cast.
            OSError: the file cannot be written.
        """
        with path.open("wb") as file:
            for numbers, block in self.frames.numbered_blocks():
                values, masked = self.convert(block)
                if masked is not None and self.fill:
                    values = np.where(masked, self.fill(numbers), values)
                limit = max(self.largest / self.divisor, float(values.max()))
                file.write(cast(source, "diffraction", values, np.float32, largest=limit).tobytes())
                progress("converting", int(numbers[-1]) + 1, len(self))
        side = self.frames.side
        return np.memmap(path, np.float32, "r", shape=(len(self), side, side))


def turned(patterns: np.ndarray, turn: str, *, back: bool = False) -> np.ndarray:
    """(n, N, N) patterns with rows and columns exchanged, then mirrored; ``back`` undoes that.

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
    patterns = np.flip(patterns, axes)
    if turn.endswith("0"):  # pixel N/2 keeps its place, as pixel 0 does in the other order
        patterns = np.roll(patterns, 1, axes)
    return patterns.swapaxes(1, 2) if "t" in turn and back else patterns


def write_patches(frames: Frames, path: Path, source: Path) -> np.ndarray:
    """``Y`` as complex64 into a file that is then mapped, read only."""
    with path.open("wb") as file:
        for block in frames.blocks():
            file.write(cast(source, "Y", block, np.complex64).tobytes())
    return np.memmap(path, np.complex64, "r", shape=(len(frames), frames.side, frames.side))
