"""Stacks of patterns, read and converted in blocks: order, values, place of the zero frequency.

Statistics for decisions are gathered here; the decisions are in ``evidence.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fly64_assets.ptychography.importing.answers import Progress
from fly64_assets.ptychography.importing.casts import cast
from fly64_assets.ptychography.importing.source import StoredArray

BLOCK_BYTES = 1 << 23
FLOAT64_BYTES = 8
COUNT_TOLERANCE = 1e-3
INFORMATIVE = 0.1
"""A count whose rounding is coarser than this cannot show that it is whole."""
FEWEST_INFORMATIVE = 20


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

    def take(self, chosen: np.ndarray) -> np.ndarray:
        """(len(chosen), N, N), single frames by their number among the kept ones."""
        return np.concatenate([self._read(at, at + 1) for at in self.index[chosen]])


@dataclass
class Statistics:
    """Of the file's values as they are, over the frames looked at.

    Attributes:
        broken: frames with a value that is not finite, by their number among the frames.
        negative: number of values below 0.
        largest, smallest: of the positive values; 0 and infinity where there are none.
        whole: whether every value is a whole number.
        total: sum of the values.
        sums, squares: (N, N), over frames, of the values and of their squares.
    """

    broken: list[int]
    negative: int
    largest: float
    smallest: float
    whole: bool
    total: float
    sums: np.ndarray
    squares: np.ndarray


def statistics(frames: Frames, progress: Progress) -> Statistics:
    """One pass over all frames; frames that are not finite count as ``broken`` only."""
    side = frames.side
    found = Statistics(
        [], 0, 0.0, np.inf, True, 0.0, np.zeros((side, side)), np.zeros((side, side))
    )
    done = 0
    for block in frames.blocks():
        values = block.astype(np.float64)
        finite = np.isfinite(values).all(axis=(1, 2))
        found.broken += [done + int(at) for at in np.flatnonzero(~finite)]
        values = values[finite]
        positive = values[values > 0]
        found.negative += int((values < 0).sum())
        found.largest = max(found.largest, float(positive.max(initial=0)))
        found.smallest = min(found.smallest, float(positive.min(initial=np.inf)))
        found.whole &= bool((values == np.rint(values)).all())
        found.total += float(values.sum())
        found.sums += values.sum(axis=0)
        found.squares += np.square(values).sum(axis=0)
        done += len(block)
        progress("reading", done, len(frames))
    return found


def whole_counts(
    frames: Frames, hypotheses: Mapping[str, tuple[float, int]], progress: Progress
) -> dict[str, bool]:
    """Which hypotheses turn the positive values into whole numbers of counts.

    Args:
        frames: finite, not negative.
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
        values = block[block > 0].astype(np.float64)
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


@dataclass
class Amplitudes:
    """Frames on their way to DATA-001 amplitude.

    Attributes:
        frames: of the file.
        intensity: whether the file holds intensities.
        corner: whether the file has the zero frequency at pixel (0, 0).
        divisor: of the amplitudes.
        largest: largest amplitude before the division.
    """

    frames: Frames
    intensity: bool = False
    corner: bool = False
    divisor: float = 1.0
    largest: float = 0.0

    def __len__(self) -> int:
        return len(self.frames)

    def convert(self, block: np.ndarray) -> np.ndarray:
        """(b, N, N) of the file -> float64 amplitude, normalised."""
        values = block.astype(np.float64)
        if self.intensity:
            values = np.sqrt(values)
        if self.corner:
            values = np.fft.fftshift(values, axes=(1, 2))
        return values if self.divisor == 1 else values / self.divisor

    def sample(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """At most ``count`` evenly spread frames: their numbers and their amplitudes."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return chosen, self.convert(self.frames.take(chosen))

    def write(self, path: Path, source: Path, progress: Progress) -> np.ndarray:
        """All frames as float32 into a file that is then mapped, read only.

        Raises:
            InputError: a value does not survive the cast.
            OSError: the file cannot be written.
        """
        done = 0
        with path.open("wb") as file:
            for block in self.frames.blocks():
                values = self.convert(block)
                limit = self.largest / self.divisor
                file.write(cast(source, "diffraction", values, np.float32, largest=limit).tobytes())
                done += len(block)
                progress("converting", done, len(self))
        side = self.frames.side
        return np.memmap(path, np.float32, "r", shape=(len(self), side, side))


def write_patches(frames: Frames, path: Path, source: Path) -> np.ndarray:
    """``Y`` as complex64 into a file that is then mapped, read only."""
    with path.open("wb") as file:
        for block in frames.blocks():
            file.write(cast(source, "Y", block, np.complex64).tobytes())
    return np.memmap(path, np.complex64, "r", shape=(len(frames), frames.side, frames.side))
