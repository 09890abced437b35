"""How sure each score and each difference of scores is: intervals over space and training seeds.

Every score that is a function of means over pixels (MAE, MSE, PSNR, SSIM, MS-SSIM) is computed anew
from the same blocks of all arms' maps (``block_bootstrap.py``), and with several trainings of a
network one of them is drawn each time. FRC is one number of the whole area: its interval comes from
repeated trainings alone, and where there are none it has none. The mean over the halves of the scan
has its interval from the same resamples. What does not belong here: the score itself
(``comparison.py``), and where trainings come from.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

from fly64_assets.errors import InputError
from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.alignment import align
from fly64_assets.ptychography.scoring.block_bootstrap import (
    BlockResampling,
    GridMap,
    on_grid,
    whole,
)
from fly64_assets.ptychography.scoring.comparison import STRICT_SUFFIX, Area, data_ranges, phases
from fly64_assets.ptychography.scoring.metrics import COMPONENTS, METRICS
from fly64_assets.study.model import BOTH, ScoringSettings, StatisticsSettings

Covers = Literal["space", "space and training seed", "training seed", "nothing"]
SPACE: Covers = "space"
SPACE_AND_SEED: Covers = "space and training seed"
SEED: Covers = "training seed"
NOTHING: Covers = "nothing"
GLOBAL = "frc50"
"""The metric that is no function of means over pixels."""
NAMES = (
    *(name for name in METRICS if name != GLOBAL),
    *(name + STRICT_SUFFIX for name, definition in METRICS.items() if definition.strict),
    GLOBAL,
)
"""Rows of `scoring.ROW_NAMES` that have statistics, in their order."""
Values = dict[tuple[str, str], float]
Draws = dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Statistic:
    """One score of an arm, or the difference of two arms' scores, with its interval.

    Attributes:
        model: the arm.
        reference: the arm that is subtracted; empty for a score.
        metric: a row of the score table.
        component: ``amplitude`` or ``phase``.
        value: the score in the table, or the difference of two: of the first training; None, as
            is all that follows from it, where the truth has no contrast and the metric needs it.
        mean: over the trainings of a network; equal to ``value`` where there is one.
        low, high: the ends of the interval; None where nothing is covered.
        settled: of a difference: whether the interval leaves zero out, so that the sign is known.
        covers: what the interval accounts for.
        replicates: trainings of ``model``; of a difference, the more of the two arms.
    """

    model: str
    reference: str
    metric: str
    component: str
    value: float | None
    mean: float | None
    low: float | None
    high: float | None
    settled: bool | None
    covers: Covers
    replicates: int


COLUMNS = ("split", *(field.name for field in fields(Statistic)))


@dataclass(frozen=True, eq=False)
class _Training:
    """One training's scores on one area: of the whole of it, and of each resample."""

    values: Values
    draws: Draws


def judge(
    reconstructions: Mapping[str, Sequence[np.ndarray]],
    truth: np.ndarray,
    area: Area,
    scoring: ScoringSettings,
    settings: StatisticsSettings,
    *,
    seed: int,
) -> Judged:
    """Scores of every training of every arm on one area, of the whole of it and of each resample.

    Args:
        reconstructions: per arm its reconstructions, (H, W) complex on the truth's canvas; the
            first is the one in the score table, the others differ from it by the training seed.
        truth: (H, W) complex.
        area: that scores are taken on.
        scoring: smoothing, FRC threshold and registration bound of the score table.
        settings: block size, number of resamples and confidence.
        seed: of the resampling.

    Raises:
        DegenerateReconstruction: a reconstruction is empty, constant or not finite in the area.
        ValueError: the area is too small for the blocks.
    """
    blocks = BlockResampling(area.shape, settings.block_px, settings.resamples, seed)
    trainings = {
        arm: [_training(image, truth, area, scoring, blocks) for image in images]
        for arm, images in reconstructions.items()
    }
    # One training is drawn for each resample; arms are trained independently of each other.
    generator = np.random.default_rng([seed, 1])
    drawn = {
        arm: generator.integers(len(made), size=settings.resamples)
        for arm, made in trainings.items()
    }
    return Judged(trainings, drawn, blocks, settings.confidence)


def with_mean(
    halves: Mapping[str, Judged], pairs: Sequence[tuple[str, str]]
) -> dict[str, list[Statistic]]:
    """Statistics of each split, then of the mean over all of them, by split.

    Args:
        halves: by split.
        pairs: (arm, reference) of the differences.
    """
    judged = {**halves, BOTH: mean_of(list(halves.values()))}
    return {split: each.statistics(pairs) for split, each in judged.items()}


def mean_of(halves: Sequence[Judged]) -> Judged:
    """Return what can be said of the mean over the halves of the scan, from their own resamples.

    Blocks of the halves are drawn independently of each other. A training is drawn once for all of
    them: it is one network that reconstructs both, so what its seed does to one half it may do to
    the other, and to draw it twice would make the mean look surer than it is.
    """
    first = halves[0]
    trainings = {
        arm: [_mean(parts) for parts in zip(*(half.trainings[arm] for half in halves), strict=True)]
        for arm in first.trainings
    }
    # The levels of the half with the fewest blocks: that there are more in all is not made use of.
    fewest = min((half.blocks for half in halves), key=lambda blocks: blocks.blocks)
    return Judged(trainings, first.drawn, fewest, first.confidence)


def _mean(parts: Sequence[_Training]) -> _Training:
    """One training's scores, each the mean over the halves; so in the resamples, one by one."""
    return _Training(
        {
            key: float(np.mean([part.values[key] for part in parts]))
            for key in parts[0].values
            if all(key in part.values for part in parts)
        },
        {
            key: np.mean([part.draws[key] for part in parts], axis=0)
            for key in parts[0].draws
            if all(key in part.draws for part in parts)
        },
    )


def _keys() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        for component in COMPONENTS:
            yield name, component


def _training(
    image: np.ndarray,
    truth: np.ndarray,
    area: Area,
    scoring: ScoringSettings,
    blocks: BlockResampling,
) -> _Training:
    aligned = align(image, truth, area.slices, max_shift_px=scoring.max_shift_px)
    inside = truth[area.slices].astype(np.complex128)
    ranges = data_ranges(inside)
    values: Values = {}
    draws: Draws = {}
    for suffix, scored in (("", aligned.object), (STRICT_SUFFIX, aligned.strict)):
        scored = scored.astype(np.complex128)
        pairs = {"amplitude": (np.abs(inside), np.abs(scored)), "phase": phases(inside, scored)}
        for component, pair in pairs.items():
            span = ranges[component]
            maps = _maps(*pair, data_range=span, sigma_px=scoring.ms_ssim_sigma_px)
            means = {
                name: [np.array([map_.mean]) for map_ in given] for name, given in maps.items()
            }
            redrawn = {name: [blocks.means(m) for m in given] for name, given in maps.items()}
            for name, value in _scores(means, span).items():
                values[name + suffix, component] = float(value[0])
            for name, resampled in _scores(redrawn, span).items():
                draws[name + suffix, component] = resampled
            if not suffix and span is not None:
                values[GLOBAL, component] = metrics.frc(*pair, scoring.frc_threshold).frc50
    return _Training(values, draws)


def _maps(
    truth: np.ndarray, image: np.ndarray, *, data_range: float | None, sigma_px: float
) -> dict[str, list[GridMap]]:
    """Return the maps whose means make the scores, on the area's pixels."""
    shape, error = truth.shape, truth - image
    errors = {"mae": [whole(np.abs(error))], "mse": [whole(error**2)]}
    if data_range is None:
        return errors
    terms = metrics.ms_ssim_maps(truth, image, data_range=data_range, sigma_px=sigma_px)
    return errors | {
        "ssim": [on_grid(metrics.ssim_map(truth, image, data_range=data_range), shape)],
        "ms_ssim": [on_grid(term, shape, scale) for scale, term in enumerate(terms)],
    }


def _scores(
    means: Mapping[str, Sequence[np.ndarray]], data_range: float | None
) -> dict[str, np.ndarray]:
    """Scores from the means of maps, elementwise; see ``metrics.py`` for each."""
    if data_range is None:
        return {name: means[name][0] for name in ("mae", "mse")}
    terms = np.stack(means["ms_ssim"])
    weights = metrics.ms_ssim_weights(len(terms))[:, None]
    (mse,) = means["mse"]
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(data_range**2 / mse)
    return {
        "mae": means["mae"][0],
        "mse": mse,
        "psnr": psnr,
        "ssim": np.minimum(means["ssim"][0], 1.0),
        "ms_ssim": np.prod(np.clip(terms, 0.0, 1.0) ** weights, axis=0),
    }


@dataclass(frozen=True, eq=False)
class Judged:
    """All trainings of all arms with their resamples, and what can be said of them.

    Attributes:
        trainings: by arm.
        drawn: per arm (resamples,) which training is drawn for each resample.
        blocks: that the area was put together from.
        confidence: of the intervals, 0 to 1.
    """

    trainings: Mapping[str, Sequence[_Training]]
    drawn: Mapping[str, np.ndarray]
    blocks: BlockResampling
    confidence: float

    def statistics(self, pairs: Iterable[tuple[str, str]]) -> list[Statistic]:
        """Intervals of every score of every arm, then of every (arm, reference) difference."""
        found = [self.score(arm, key) for arm in self.trainings for key in _keys()]
        return found + [self.difference(*pair, key) for pair in pairs for key in _keys()]

    def _values(self, arm: str, key: tuple[str, str]) -> np.ndarray:
        """One a training."""
        return np.array([training.values[key] for training in self.trainings[arm]])

    def _redrawn(self, arm: str, key: tuple[str, str]) -> np.ndarray:
        """(resamples,) the score in each resample, of the training drawn for it."""
        made = np.stack([training.draws[key] for training in self.trainings[arm]])
        return made[self.drawn[arm], np.arange(made.shape[1])]

    def _defined(self, arm: str, key: tuple[str, str]) -> bool:
        return key in self.trainings[arm][0].values

    def score(self, arm: str, key: tuple[str, str]) -> Statistic:
        if not self._defined(arm, key):
            return _undefined(arm, "", key, len(self.trainings[arm]))
        values = self._values(arm, key)
        ends: tuple[float, float] | tuple[None, None]
        if key[0] == GLOBAL:
            ends = _seed_interval([values], self.confidence)
        else:
            ends = self.blocks.interval(self._redrawn(arm, key), self.confidence)
        mean, covers = float(values.mean()), _covers(key, len(values))
        low, high = ends
        return Statistic(
            arm, "", *key, float(values[0]), mean, low, high, None, covers, len(values)
        )

    def difference(self, arm: str, reference: str, key: tuple[str, str]) -> Statistic:
        if not self._defined(arm, key):
            trainings = max(len(self.trainings[name]) for name in (arm, reference))
            return _undefined(arm, reference, key, trainings)
        values, others = self._values(arm, key), self._values(reference, key)
        if key[0] == GLOBAL:
            low, high = _seed_interval([values, -others], self.confidence)
        else:
            apart = _apart(self._redrawn(arm, key), self._redrawn(reference, key))
            low, high = self.blocks.interval(apart, self.confidence)
        settled = None if low is None or high is None else not low <= 0 <= high
        trainings = max(len(values), len(others))
        value = float(_apart(values[:1], others[:1])[0])
        mean = float(_apart(values.mean(keepdims=True), others.mean(keepdims=True))[0])
        covers = _covers(key, trainings)
        return Statistic(arm, reference, *key, value, mean, low, high, settled, covers, trainings)


def _undefined(arm: str, reference: str, key: tuple[str, str], trainings: int) -> Statistic:
    return Statistic(arm, reference, *key, None, None, None, None, None, NOTHING, trainings)


def _apart(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Differences; of equal scores 0, infinite ones among them."""
    with np.errstate(invalid="ignore"):
        return np.where(values == others, 0.0, values - others)


def _covers(key: tuple[str, str], trainings: int) -> Covers:
    if key[0] == GLOBAL:
        return SEED if trainings > 1 else NOTHING
    return SPACE_AND_SEED if trainings > 1 else SPACE


def _seed_interval(
    arms: Sequence[np.ndarray], confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """Student's interval of a sum of means over trainings (Welch, Biometrika 34, 28, 1947).

    An arm that was made once adds its value and no uncertainty; where all were, there is nothing to
    tell an interval from.
    """
    varied = [values for values in arms if len(values) > 1]
    if not varied:
        return None, None
    parts = [(values.var(ddof=1) / len(values), len(values) - 1) for values in varied]
    variance = sum(part for part, _ in parts)
    mean = float(sum(values.mean() for values in arms))
    if variance == 0:
        return mean, mean
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    reach = stats.t.ppf((1 + confidence) / 2, freedom) * math.sqrt(variance)
    return mean - float(reach), mean + float(reach)


def to_csv(found: Mapping[str, Iterable[Statistic]]) -> str:
    """Statistics by split as CSV: six decimals, ``yes`` or ``no``, blank where nothing applies.

    Raises:
        ValueError: a number is NaN.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for split, rows in found.items():
        for row in rows:
            writer.writerow([split, *(_cell(getattr(row, name)) for name in COLUMNS[1:])])
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("a statistic is NaN")
        text = f"{value:.6f}"
        return "0.000000" if text == "-0.000000" else text
    return str(value)


def read_statistics(path: Path) -> dict[str, list[Statistic]]:
    """Read what `to_csv` wrote, by split.

    Raises:
        InputError: the file is missing, has other columns, or a cell is not what its column holds.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(path, "", f"cannot be read: {reason}") from None
    if tuple(header) != COLUMNS:
        raise InputError(path, "header", f"{','.join(header)}, expected {','.join(COLUMNS)}")
    found: dict[str, list[Statistic]] = {}
    for number, cells in enumerate(lines, start=2):
        try:
            split, *values = cells
            model, reference, metric, component, value, mean, low, high, settled, covers, n = values
            row = Statistic(
                model,
                reference,
                metric,
                component,
                float(value) if value else None,
                float(mean) if mean else None,
                float(low) if low else None,
                float(high) if high else None,
                {"yes": True, "no": False, "": None}[settled],
                covers,  # type: ignore[arg-type]
                int(n),
            )
        except (ValueError, KeyError) as error:
            raise InputError(path, f"line {number}", f"is no row of statistics: {error}") from None
        found.setdefault(split, []).append(row)
    return found
