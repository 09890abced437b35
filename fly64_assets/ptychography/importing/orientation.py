"""Do positions belong to patterns? Turned, mirrored, conjugated and late scans are compared.

The forward model of object and probe says what a pattern should look like at a position. Two ways
to read a file are compared by ``T = sum(|y - b|^2 - |y - a|^2) / sum(|a - b|^2)`` over the sampled
patterns y, with a and b what the two ways expect: 1 where the first is right, -1 where the second
is, near 0 where neither is. Its standard error over frames says whether the data can tell.

What no data can tell: object, probe and positions all turned by 180 degrees, object and probe
conjugated, give the same patterns. So do conjugated object and probe, and patterns turned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fly64_assets.ptychography.data001.dataset_rules import PATCH_PADDING_PX
from fly64_assets.ptychography.forward import PatchCutter, far_field
from fly64_assets.ptychography.importing.change_log import Progress
from fly64_assets.ptychography.importing.frames import turned
from fly64_assets.ptychography.importing.positions import Way
from fly64_assets.ptychography.importing.questions import PATTERN_TURNS
from fly64_assets.ptychography.physics_checks import STANDARD_ERRORS

LONGEST_LAG = 3
FIRST_FRAMES = 16
SAMPLED_PIXELS = 1 << 20
MOST_FRAMES = 256
BETTER = 0.3
"""T from which on a way is held to be right against another."""
NOT_BETTER = 0.3
"""T against shuffled positions up to which the positions are held to say nothing."""
RIGHT = 0.8
"""T against shuffled positions that the right ones reach, but for a poor object."""
RUNNERS_UP = 6
ALIKE = 1e-6
"""Power of the difference of two ways, as a part of the patterns', that is none."""
SHUFFLE_SEED = 0
FINE = 36.0
"""Mean counts from which on the mean of their square root is known by its series."""

Sample = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""(m,) numbers of frames, their (m, N, N) amplitudes in the units of the probe, (m, N, N) bool."""


@dataclass(frozen=True)
class Finding:
    """What the comparison says.

    Attributes:
        way: the one to take: the file's own, or a better one.
        residual: sum(abs(model - measured)) / sum(measured) of the file's own way.
        others: what was tried -> residual, the best first.
        better: the way that stands out before the file's own, ``None`` where none does.
        clear: whether that one stands out before every other kind of way as well.
        unrelated: whether shuffled positions fit as well, though the object would tell.
        silent: whether the data cannot tell anything.
    """

    way: Way
    residual: float
    others: dict[str, float]
    better: Way | None
    clear: bool
    unrelated: bool
    silent: bool


def rivals(own: Way) -> Iterator[Way]:
    """Yield other ways to read a file: one thing wrong each."""
    flips, abouts = ("none", "x", "y", "xy"), ("canvas", "scan")
    for axes, flip, about in itertools.product(("xy", "yx"), flips, abouts):
        way = replace(own, axes=axes, flip=flip, about=about)
        if way != own and (flip, about) != ("none", "scan"):
            yield way
    yield from (replace(own, turn=turn) for turn in PATTERN_TURNS[1:])
    yield from (replace(own, conjugate=what) for what in ("object", "probe"))
    for lag in range(1, LONGEST_LAG + 1):
        yield from (replace(own, lag=lag), replace(own, lag=-lag))


def in_words(way: Way, own: Way) -> str:
    """Say how a way differs from the file's own."""
    where = " about the middle of the scan" if way.about == "scan" else ""
    mirrored = f"positions mirrored in {' and '.join(way.flip)}{where}"
    frames = f"{abs(way.lag)} frame{'s' * (abs(way.lag) != 1)}"
    told = {
        "x and y exchanged": way.axes != own.axes,
        "not mirrored" if way.flip == "none" else mirrored: (
            (way.flip, way.about) != (own.flip, own.about)
        ),
        f"patterns turned ({way.turn})": way.turn != own.turn,
        f"the {way.conjugate} conjugated": way.conjugate != own.conjugate,
        f"positions {frames} {'later' if way.lag > 0 else 'earlier'}": way.lag != own.lag,
        f"counted from the {way.origin}": way.origin != own.origin,
    }
    return ", ".join(words for words, differs in told.items() if differs) or "as stored"


class Comparison:
    """Sampled patterns and what each way expects of them.

    Args:
        sample: of the patterns.
        pairs: (n, 2) coordinates of all frames, as in the file.
        canvas: (H, W) of the object in the file.
        object_, probe: complex; the object may be padded.
        scale: counts = (measured * scale)**2, ``None`` where that is open.
    """

    def __init__(
        self,
        sample: Sample,
        pairs: np.ndarray,
        canvas: tuple[int, int],
        object_: np.ndarray,
        probe: np.ndarray,
        scale: float | None,
    ) -> None:
        self._chosen, self._measured, self._masked = sample
        self._pairs, self._canvas, self._scale = pairs, canvas, scale
        self._probe, self._sides = probe, np.asarray(object_.shape)
        self._cutters = [
            PatchCutter(plane, len(probe), padding_px=PATCH_PADDING_PX)
            for plane in (object_, np.conj(object_))
        ]

    def __len__(self) -> int:
        return len(self._chosen)

    def fits(self, way: Way) -> bool:
        """Tell whether every patch lies inside the canvas."""
        return not outside(way.place(self._pairs, self._canvas), self._sides, len(self._probe))

    def model(self, way: Way, count: int, *, shuffled: bool = False) -> np.ndarray:
        """Expect (count, N, N) amplitude of evenly spread patterns of the sample."""
        sampled = self._sampled(count)
        numbers = np.clip(self._chosen[sampled] + way.lag, 0, len(self._pairs) - 1)
        places = way.place(self._pairs, self._canvas)[numbers]
        if shuffled:
            places = np.random.default_rng(SHUFFLE_SEED).permutation(places)
        cutter = self._cutters[way.conjugate in ("object", "both")]
        probe = np.conj(self._probe) if way.conjugate in ("probe", "both") else self._probe
        model = turned(far_field(cutter.at(places), probe), way.turn, back=True)
        if self._masked is not None:
            model = np.where(self._masked[sampled], np.float32(0), model)
        return model

    def _sampled(self, count: int) -> np.ndarray:
        return np.linspace(0, len(self) - 1, count).round().astype(int)

    def residual(self, model: np.ndarray) -> float:
        """Sum abs(model - measured) / measured."""
        measured = self._measured[self._sampled(len(model))]
        return float(np.abs(model - measured).sum() / measured.sum())

    def errors(self, model: np.ndarray) -> np.ndarray:
        """Sum the squares of the differences frame by frame, (count,)."""
        measured = self._measured[self._sampled(len(model))]
        return np.square(self._mean(model) - measured).sum(axis=(1, 2))

    def _mean(self, model: np.ndarray) -> np.ndarray:
        """Return the mean amplitude that counts of this expectation show, in the same units."""
        if self._scale is None:
            return model
        return mean_root(np.square(model, dtype=np.float64) * self._scale**2) / self._scale

    def preference(self, one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
        """T of the first model against the second, and its standard error; 0, inf where alike."""
        apart = float(np.square(self._mean(one) - self._mean(other)).sum())
        power = float(np.square(one, dtype=np.float64).sum())
        if apart <= ALIKE * power or len(one) < 2:
            return 0.0, np.inf
        gain = self.errors(other) - self.errors(one)
        return float(gain.sum()) / apart, float(gain.std(ddof=1)) * len(gain) ** 0.5 / apart


def compare(comparison: Comparison, own: Way, others: list[Way], progress: Progress) -> Finding:
    """Hold the file's own way against others: first few frames, then all that are sampled.

    Args:
        comparison: of the sampled patterns.
        own: every patch must fit.
        others: those whose patches leave the canvas are left out.
        progress: called after each way.
    """
    ways = [own, *(way for way in others if comparison.fits(way))]
    total = len(comparison)
    for count in dict.fromkeys((min(FIRST_FRAMES, total), total)):
        finding = _compare(comparison, ways, count, progress)
        if finding.way == own and finding.clear:
            break
    return finding


def _compare(comparison: Comparison, ways: list[Way], count: int, progress: Progress) -> Finding:
    own = ways[0]
    stored = comparison.model(own, count)
    against, error = comparison.preference(stored, comparison.model(own, count, shuffled=True))
    silent = not np.isfinite(error) or STANDARD_ERRORS * error > 1
    errors, residuals = {}, {}
    for number, way in enumerate(ways, 1):
        model = comparison.model(way, count)
        errors[way] = float(comparison.errors(model).sum())
        residuals[way] = comparison.residual(model)
        progress(f"comparing {len(ways)} orientations:", number * count, len(ways) * count)
    best = min(errors, key=errors.__getitem__)
    better, clear = None, against - STANDARD_ERRORS * error > BETTER
    if best != own:
        model = comparison.model(best, count)
        gain, doubt = comparison.preference(model, stored)
        if gain > BETTER and gain > STANDARD_ERRORS * doubt:
            better = best
            kinds = sorted((way for way in ways if not _akin(way, best)), key=errors.__getitem__)
            models = [comparison.model(way, count) for way in kinds[:RUNNERS_UP]]
            models.append(comparison.model(best, count, shuffled=True))
            margins = [comparison.preference(model, other) for other in models]
            clear = all(gain > BETTER or not np.isfinite(doubt) for gain, doubt in margins)
    unrelated = against < NOT_BETTER and against + STANDARD_ERRORS * error < RIGHT
    named = {
        in_words(way, own): residuals[way] for way in sorted(residuals, key=residuals.__getitem__)
    }
    residual = named.pop("as stored")
    return Finding(better or own, residual, named, better, clear, unrelated, silent)


def _akin(one: Way, other: Way) -> bool:
    """Whether two ways differ in where they mirror or how late they are, not in what they do."""
    one, other = (
        replace(way, about="canvas", lag=int(np.sign(way.lag)), turn=way.turn.rstrip("0"))
        for way in (one, other)
    )
    return one == other


def outside(places: np.ndarray, sides: np.ndarray, side: int) -> int:
    """Count the patches that leave a canvas of these sides."""
    inside = (places >= side / 2) & (places <= sides - side / 2)
    return int((~inside.all(axis=1)).sum())


def sample_size(side: int) -> int:
    """Frames to compare, fewer where they are large."""
    return int(np.clip(SAMPLED_PIXELS // side**2, FIRST_FRAMES, MOST_FRAMES))


def mean_root(mean: np.ndarray) -> np.ndarray:
    """Return the mean of the square root of Poisson counts of this mean."""
    roots = np.sqrt(mean)
    few = MEAN_ROOTS[np.minimum(roots * STEPS + 0.5, len(MEAN_ROOTS) - 1).astype(np.int32)]
    return np.where(mean < FINE, few, roots - 0.125 / np.maximum(roots, 1))


def _mean_roots(roots: np.ndarray) -> np.ndarray:
    counts = np.arange(1, 4 * int(FINE))
    rates = np.square(roots)[:, None]
    probabilities = np.exp(-rates) * np.cumprod(rates / counts, axis=1)
    return probabilities @ np.sqrt(counts)


STEPS = 400
MEAN_ROOTS = _mean_roots(np.arange(int(STEPS * FINE**0.5) + 1) / STEPS)
