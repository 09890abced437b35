"""Whether intervals of differences hold what they are of: two arms judged on many fields of errors.

As the study does it: maps of two arms on one area, put together anew from the same blocks, and the
difference of the scores of each resample. The true difference is the mean over all the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fly64_assets.ptychography.scoring.block_bootstrap import BlockResampling
from fly64_assets.ptychography.scoring.statistics import _maps, _scores

SHAPE = (64, 160)
FIELDS, RESAMPLES = 200, 200
CONFIDENCE = 0.95
RAW = gaussian_filter(np.random.default_rng(2026).normal(size=SHAPE), 3, mode="wrap")
TRUTH = RAW / np.ptp(RAW)
"""Contrast of 1, agreeing over about 9 px."""


def _errors(generator: np.random.Generator) -> np.ndarray:
    """(h, w) errors that agree over about 6 px, of unit spread."""
    smooth = gaussian_filter(generator.normal(size=SHAPE), 2, mode="wrap")
    return smooth / smooth.std()


def _arms(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arms that err alike in part, the second a tenth more: MS-SSIM of .94 and .93."""
    generator = np.random.default_rng([seed, 3])
    common, one, other = (_errors(generator) for _ in range(3))
    return TRUTH + 0.03 * (common + 0.5 * one), TRUTH + 0.033 * (common + 0.5 * other)


@dataclass(frozen=True)
class Judged:
    """What each field says of the differences of the two arms: whole area, and ends by metric."""

    values: dict[str, np.ndarray]
    ends: dict[str, np.ndarray]

    def coverage(self, metric: str) -> float:
        low, high = self.ends[metric].T
        truth = self.values[metric].mean()
        return float(np.mean((low <= truth) & (truth <= high)))

    def width(self, metric: str) -> float:
        """Of the middle interval, in spreads of the difference over the fields."""
        low, high = self.ends[metric].T
        return float(np.median(high - low) / self.values[metric].std())


BlocksOf = Callable[[int], tuple[BlockResampling, BlockResampling]]


def judge_fields(blocks_of: BlocksOf, fields: int) -> Judged:
    """Args: ``blocks_of``: the number of a field -> the blocks of either arm."""
    values: dict[str, list[float]] = {"ms_ssim": [], "mae": []}
    ends: dict[str, list[tuple[float, float]]] = {"ms_ssim": [], "mae": []}
    for seed in range(fields):
        scored = []
        for image, blocks in zip(_arms(seed), blocks_of(seed), strict=True):
            maps = _maps(TRUTH, image, data_range=1.0, sigma_px=1.0)
            whole = {name: [np.array([one.mean]) for one in given] for name, given in maps.items()}
            redrawn = {name: [blocks.means(one) for one in given] for name, given in maps.items()}
            scored.append((_scores(whole, 1.0), _scores(redrawn, 1.0), blocks))
        (one, drawn, blocks), (other, also_drawn, _) = scored
        for metric in values:
            values[metric].append(float((one[metric] - other[metric])[0]))
            ends[metric].append(blocks.interval(drawn[metric] - also_drawn[metric], CONFIDENCE))
    return Judged(
        {metric: np.array(found) for metric, found in values.items()},
        {metric: np.array(found) for metric, found in ends.items()},
    )


def _paired(block_px: int) -> BlocksOf:
    def blocks_of(seed: int) -> tuple[BlockResampling, BlockResampling]:
        blocks = BlockResampling(SHAPE, block_px, RESAMPLES, seed)
        return blocks, blocks

    return blocks_of


def _unpaired(seed: int) -> tuple[BlockResampling, BlockResampling]:
    one, other = (BlockResampling(SHAPE, 20, RESAMPLES, [seed, arm]) for arm in (0, 1))
    return one, other


@pytest.fixture(scope="module")
def judged() -> Judged:
    return judge_fields(_paired(20), FIELDS)


def test_the_arms_differ_by_what_chance_cannot_hide(judged):
    """Else an interval about zero would hold the truth without knowing anything."""
    assert judged.values["ms_ssim"].mean() > 0.005
    assert judged.values["mae"].mean() < -0.002


@pytest.mark.parametrize(
    ("metric", "least", "most"), [("ms_ssim", 0.77, 0.92), ("mae", 0.91, 0.985)]
)
def test_intervals_of_differences_hold_the_truth_as_often_as_is_told(judged, metric, least, most):
    """As often as docs/statistics.md says: MS-SSIM less often than the 95 % of its name.

    Its coarse scales agree over more than a block.
    """
    assert least <= judged.coverage(metric) <= most


def test_differences_in_unlike_blocks_would_be_far_too_unsure(judged):
    """Why all arms are drawn in the same blocks."""
    unpaired = judge_fields(_unpaired, 40)
    assert unpaired.coverage("ms_ssim") == unpaired.coverage("mae") == 1
    assert unpaired.width("ms_ssim") > 2 * judged.width("ms_ssim")
    assert unpaired.width("mae") > 1.25 * judged.width("mae")


def test_small_blocks_would_be_far_too_sure():
    small = judge_fields(_paired(4), 60)
    assert small.coverage("ms_ssim") < 0.6
    assert small.coverage("mae") < 0.88
