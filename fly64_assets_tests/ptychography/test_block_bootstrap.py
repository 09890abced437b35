"""Blocks: what is drawn, that it is paired, and that intervals cover what they say they do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.block_bootstrap import (
    SMALLEST_NUMBER,
    BlockResampling,
    GridMap,
    number_of_blocks,
    on_grid,
    whole,
)


def plain_means(map_: GridMap, blocks: BlockResampling) -> np.ndarray:
    """Block by block and pixel by pixel, as the definition says it."""
    height, width = blocks.shape
    means = []
    for origins in blocks._origins:
        total, count = 0.0, 0
        for origin in origins:
            rows = (origin // width + np.arange(blocks.block_px)) % height
            columns = (origin % width + np.arange(blocks.block_px)) % width
            total += map_.values[np.ix_(rows, columns)].sum()
            count += map_.present[np.ix_(rows, columns)].sum()
        means.append(total / count)
    return np.array(means)


@given(
    shape=st.tuples(st.integers(30, 50), st.integers(30, 60)),
    block=st.integers(3, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_means_are_those_of_blocks_drawn_one_by_one(shape, block, seed):
    generator = np.random.default_rng(seed)
    blocks = BlockResampling(shape, block, 20, seed)
    map_ = whole(generator.normal(size=shape))
    assert np.allclose(blocks.means(map_), plain_means(map_, blocks), atol=1e-12)
    inner = generator.normal(size=(shape[0] - 10, shape[1] - 10))
    part = on_grid(inner, shape)
    assert np.allclose(blocks.means(part), plain_means(part, blocks), atol=1e-12)


@pytest.mark.parametrize("shape", [(63, 160), (44, 45), (65, 165)])
def test_a_map_on_the_grid_keeps_its_mean_at_every_scale(shape):
    generator = np.random.default_rng(1)
    truth, image = gaussian_filter(generator.normal(size=(2, *shape)), (0, 2, 2))
    maps = metrics.ms_ssim_maps(truth, image, data_range=1.0)
    assert len(maps) > 2
    for scale, values in enumerate(maps):
        laid = on_grid(values, shape, scale)
        assert laid.mean == pytest.approx(values.mean(), abs=1e-12)
        assert laid.present.sum() == values.size * 4**scale


def test_a_constant_map_has_one_mean_whatever_is_drawn():
    blocks = BlockResampling((40, 50), 8, 200, 3)
    assert np.allclose(blocks.means(whole(np.full((40, 50), 2.5))), 2.5, atol=1e-12)


def test_equal_maps_differ_by_nothing_in_any_resample():
    """The pairing: what two arms have in common leaves their difference."""
    generator = np.random.default_rng(5)
    common = generator.normal(size=(40, 60))
    blocks = BlockResampling((40, 60), 8, 300, 5)
    difference = blocks.means(whole(common + 0.1)) - blocks.means(whole(common))
    assert np.allclose(difference, 0.1, atol=1e-12)
    assert blocks.means(whole(common)).std() > 0.01


def test_the_same_seed_draws_the_same_blocks():
    values = whole(np.random.default_rng(0).normal(size=(40, 60)))
    one, same, other = (
        BlockResampling((40, 60), 10, 100, seed).means(values) for seed in (7, 7, 8)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_shift_around_the_area_changes_no_distribution():
    """Circular blocks: no pixel is drawn more often for lying in the middle."""
    values = np.zeros((40, 60))
    values[0, 0] = 1.0
    corner = BlockResampling((40, 60), 10, 4000, 1).means(whole(values)).mean()
    middle = BlockResampling((40, 60), 10, 4000, 1).means(whole(np.roll(values, (20, 30)))).mean()
    assert corner == pytest.approx(1 / 2400, rel=0.1)
    assert middle == pytest.approx(1 / 2400, rel=0.1)


def test_where_no_block_has_a_value_nothing_is_said():
    present = np.zeros((40, 60), dtype=bool)
    present[0, 0] = True
    means = BlockResampling((40, 60), 5, 500, 1).means(GridMap(present * 3.0, present))
    assert np.isnan(means).any()
    assert np.allclose(means[~np.isnan(means)], 3.0)


@pytest.mark.parametrize(("shape", "block"), [((15, 100), 16), ((20, 20), 14)])
def test_an_area_of_too_few_blocks_is_refused(shape, block):
    assert block > min(shape) or number_of_blocks(shape, block) < SMALLEST_NUMBER
    with pytest.raises(ValueError, match=f"blocks of {block} px on an area of {shape[0]}"):
        BlockResampling(shape, block, 100, 0)


def _coverage(block_px: int, fields: int) -> float:
    """Share of 95 % intervals that hold the true mean of a field whose errors agree over 9 px."""
    held = 0
    for seed in range(fields):
        noise = np.random.default_rng(seed).normal(size=(64, 160))
        field = np.abs(gaussian_filter(noise, 3, mode="wrap"))
        blocks = BlockResampling(field.shape, block_px, 400, seed)
        means = blocks.means(whole(field))
        low, high = blocks.interval(means, 0.95)
        held += low <= EXPECTED <= high
    return held / fields


EXPECTED = float(
    np.mean(
        [
            np.abs(
                gaussian_filter(
                    np.random.default_rng([9, s]).normal(size=(64, 160)), 3, mode="wrap"
                )
            )
            for s in range(400)
        ]
    )
)


def test_intervals_cover_the_truth_where_errors_agree_over_less_than_a_block():
    assert 0.84 <= _coverage(20, 200) <= 0.99


def test_few_blocks_reach_further_than_their_percentiles():
    blocks = BlockResampling((40, 60), 20, 100, 0)
    values = np.random.default_rng(0).normal(size=10**6)
    low, high = blocks.interval(values, 0.95)
    assert (low, high) == pytest.approx((-2.82, 2.82), abs=0.05)  # t(5) times sqrt(6 / 5)


def test_single_pixels_would_be_far_too_sure():
    """Why blocks: neighbours are not independent."""
    assert _coverage(1, 30) < 0.5
