"""Groups, held-out blocks and draws: against brute force, and their promises as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.solvers.grouping import (
    draw_targets,
    hold_out,
    nearest_groups,
    split_positions,
)


def positions(count: int, seed: int, *, grid: bool = False) -> np.ndarray:
    drawn = np.random.default_rng([seed]).uniform(30, 60, (count, 2))
    return np.round(drawn / 4) * 4 if grid else drawn


@given(st.lists(st.floats(-500, 500), min_size=2, max_size=20))
def test_a_position_is_its_pixel_and_a_rest_of_at_most_half_a_pixel(values):
    given_px = np.array(values[: len(values) // 2 * 2]).reshape(-1, 2)
    pixel, rest = split_positions(given_px)
    assert pixel.dtype == np.int32
    assert np.all((rest >= -0.5) & (rest <= 0.5))
    np.testing.assert_allclose(pixel + rest.astype(np.float64), given_px, atol=1e-4)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_a_group_is_an_image_and_its_nearest_others(count, group_size, seed, grid):
    """On the grid many images share a position and many distances are equal."""
    where = positions(count, seed, grid=grid)
    if count < group_size:
        with pytest.raises(ValueError, match=f"{count} images.*C = {group_size}"):
            nearest_groups(where, group_size)
        return
    groups = nearest_groups(where, group_size)
    assert groups.shape == (count, group_size)
    np.testing.assert_array_equal(groups[:, 0], np.arange(count))
    for image, group in enumerate(groups):
        assert len(set(group)) == group_size
        distance = np.linalg.norm(where - where[image], axis=1)
        expected = np.sort(np.delete(distance, image))[: group_size - 1]
        np.testing.assert_allclose(np.sort(distance[group[1:]]), expected, atol=1e-9)
    np.testing.assert_array_equal(groups, nearest_groups(where, group_size))


@settings(max_examples=30)
@given(st.integers(20, 80), st.integers(1, 4), st.floats(0.05, 0.4), st.integers(0, 99))
def test_what_is_held_out_shares_no_image_with_what_is_fitted(count, group_size, fraction, seed):
    where = positions(count, seed)
    groups = nearest_groups(where, group_size)
    held_out = hold_out(where, groups, fraction)
    assert len(held_out.validation) == max(1, round(fraction * count))
    fitted = set(groups[held_out.fit].ravel())
    assert fitted and fitted.isdisjoint(groups[held_out.validation].ravel())
    dropped = np.setdiff1d(np.arange(count), np.union1d(held_out.fit, held_out.validation))
    for group in groups[dropped]:
        assert not fitted.issuperset(group) or set(group) & set(groups[held_out.validation].ravel())


def test_the_held_out_block_lies_at_the_end_of_the_longer_side():
    where = np.random.default_rng([1]).uniform(0, (10, 50), (100, 2))
    held_out = hold_out(where, np.arange(100)[:, None], 0.1)
    assert len(held_out.fit) == 90
    assert where[held_out.validation, 1].min() > where[held_out.fit, 1].max()


def test_groups_that_all_share_an_image_leave_none_to_fit():
    with pytest.raises(ValueError, match="leave none to fit"):
        hold_out(positions(4, 1), np.array([[0, 1], [0, 2], [0, 3]]), 0.1)


@settings(max_examples=30)
@given(st.integers(4, 60), st.integers(1, 10), st.integers(1, 12), st.floats(0, 20))
def test_targets_are_near_unseen_and_distinct_while_they_last(count, wanted, near, reach):
    where = positions(count, count)
    images = np.arange(0, count, 2)
    seen = nearest_groups(where, 3)[:, :3]
    drawn = draw_targets(
        where,
        where,
        seen,
        images,
        wanted,
        neighbours=near,
        reach_px=reach,
        generator=np.random.default_rng([7]),
    )
    assert drawn.shape == (count, wanted)
    for row in range(count):
        distance = np.linalg.norm(where - where[row], axis=1)
        unseen = np.setdiff1d(images, seen[row])
        usable = np.sort(distance[unseen[distance[unseen] <= reach]])[:near]
        if len(usable) == 0:  # nothing else in reach: the seen patterns, in turn
            np.testing.assert_array_equal(drawn[row], seen[row][np.arange(wanted) % 3])
            continue
        assert np.isin(drawn[row], unseen).all()
        assert np.all(distance[drawn[row]] <= usable[-1])
        assert len(set(drawn[row])) == min(wanted, len(usable))


def test_draws_repeat_with_their_generator_and_differ_with_another():
    where, own = positions(50, 3), np.arange(50)

    def draw(seed: int) -> np.ndarray:
        generator = np.random.default_rng([seed])
        near = {"neighbours": 10, "reach_px": 20.0}
        return draw_targets(where, where, own[:, None], own, 3, **near, generator=generator)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert np.any(draw(1) != draw(2))


def test_a_sparse_views_clusters_are_never_joined():
    """Clusters 22.8 px apart, reach D/3 = 11.7 px: by rank alone they would be."""
    random = np.random.default_rng([5])
    centres = np.array([[0.0, 0.0], [0.0, 22.8], [22.8, 0.0], [22.8, 22.8]])
    where = np.repeat(centres, 8, axis=0) + random.uniform(-3, 3, (32, 2))
    cluster = np.arange(32) // 8
    arguments = {"neighbours": 24, "reach_px": 35 / 3}
    own = np.arange(32)
    targets = draw_targets(where, where, own[:, None], own, 9, **arguments, generator=random)
    assert np.all(cluster[targets] == cluster[:, None])
