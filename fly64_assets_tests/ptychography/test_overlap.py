"""Overlap views: disc geometry against shapely, views and metrics against all-pairs oracles."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely import Point

from fly64_assets.errors import InfeasibleView, InputError
from fly64_assets.ptychography import view_metrics
from fly64_assets.ptychography.overlap import (
    View,
    _combination,
    disc_overlap,
    group_based_average,
    group_to_group_average,
    image_based_average,
    nearest_centre_overlap,
    overlap_metrics,
    probe_diameter,
    select_view,
    thin,
)
from fly64_assets.ptychography.simulation import scan_positions, split_halves
from fly64_assets.study.model import OverlapSettings, Seeds, ViewSettings

SEEDS = Seeds(simulation=42, grouping=123, subsampling=456)
OVERLAP = OverlapSettings(
    neighbor_count=7,
    n_groups=512,
    probe_diameter_px="auto",
    probe_power_fraction=0.9,
    overlap_tolerance=0.02,
    min_groups=8,
    min_images=8,
)
D = 35.0


def scan(count: int = 10_304, seed: int = 42) -> np.ndarray:
    """The test half of a fly64-like scan."""
    positions = scan_positions(count, (232, 232), 64, margin_px=1.5, seed=seed)
    return positions[split_halves(positions, guard_px=0).test_index]


def select(positions: np.ndarray, *, gridsize: int = 2, diameter=D, seeds=SEEDS, **changes) -> View:
    target, fraction = changes.pop("target", None), changes.pop("fraction", None)
    view = ViewSettings(target_overlap=target, image_fraction=fraction)
    overlap = OVERLAP.model_copy(update=changes)
    return select_view(
        positions, view, overlap, gridsize=gridsize, diameter_px=diameter, seeds=seeds
    )


def distances(positions: np.ndarray) -> np.ndarray:
    return np.hypot(*np.moveaxis(positions[:, None] - positions[None], -1, 0))


# Discs


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.2, 0.5, 0.77, 0.99, 1.0, 1.5])
def test_disc_overlap_is_the_area_that_shapely_intersects(ratio: float) -> None:
    diameter = 35.0
    first, second = (Point(x, 0).buffer(diameter / 2, quad_segs=2000) for x in (0, ratio * 35))
    area = first.intersection(second).area / first.area
    assert disc_overlap(ratio * diameter, diameter) == pytest.approx(area, abs=1e-5)


def test_disc_overlap_where_it_is_known() -> None:
    overlap = disc_overlap(np.array([[0, 17.5], [35, 400]]), 35)
    assert overlap.shape == (2, 2)
    assert overlap[0, 0] == 1
    assert overlap[0, 1] == pytest.approx(0.391, abs=5e-4)
    assert overlap[1, 0] == overlap[1, 1] == 0
    assert (np.diff(disc_overlap(np.linspace(0, 35, 200), 35)) < 0).all()


@pytest.mark.parametrize("centre", [(31.5, 31.5), (32.0, 32.0), (28.3, 36.9)])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_probe_diameter_of_a_gaussian_probe(centre: tuple[float, float], fraction: float) -> None:
    """Power exp(-r^2 / 2 s^2) holds a fraction f within r = s sqrt(-2 ln(1 - f))."""
    y, x = np.indices((64, 64))
    power = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * 6.0**2))
    probe = np.sqrt(power) * np.exp(1j * 0.3 * y)
    expected = 2 * 6.0 * np.sqrt(-2 * np.log(1 - fraction))
    assert probe_diameter(probe, fraction) == pytest.approx(expected, abs=0.06)


def test_probe_diameter_refuses_no_light() -> None:
    with pytest.raises(InputError, match="no power"):
        probe_diameter(np.zeros((8, 8), np.complex64), 0.9)


# Views


@pytest.mark.parametrize(("target", "centres", "images"), [(0.7, 159, 1270), (0.2, 24, 190)])
def test_the_studys_views(target: float, centres: int, images: int) -> None:
    view = select(scan(), target=target)
    assert len(view.centre_index) == pytest.approx(centres, rel=0.05)
    assert len(view.image_index) == pytest.approx(images, rel=0.05)
    assert view.training_groups.shape == (512, 4)
    assert abs(view.reached_overlap - target) <= 0.02


def _check_view(view: View, positions: np.ndarray, pool: np.ndarray, neighbours: int) -> None:
    """What holds for every view; ``pool`` are the positions that groups may use."""
    images, groups = view.image_index, view.full_groups
    assert (np.diff(images) > 0).all()
    assert groups.shape[1] == neighbours + 1
    np.testing.assert_array_equal(np.unique(groups), np.arange(len(images)))
    np.testing.assert_array_equal(groups[:, 0], view.centre_index)
    assert (np.diff(view.centre_index) > 0).all()
    in_split = images[groups]
    assert np.isin(in_split, pool).all()
    between = distances(positions)
    for group in in_split:
        assert len(set(group)) == len(group)
        others = pool[pool != group[0]]
        nearest = np.sort(between[group[0], others])[:neighbours]
        np.testing.assert_allclose(between[group[0], group[1:]], nearest, rtol=1e-12)
    centres = positions[view.centre_index_in_split]
    apart = distances(centres) + np.diag(np.full(len(centres), np.inf))
    oracle = np.mean(disc_overlap(apart.min(axis=1), D))
    assert view.reached_overlap == pytest.approx(oracle, abs=1e-12)
    for array in (images, groups, view.centre_index, view.training_groups):
        assert array.dtype == np.int64


def _check_training_groups(view: View, group_size: int, n_groups: int) -> None:
    members = [set(group) for group in view.full_groups.tolist()]
    assert view.training_groups.shape == (n_groups, group_size)
    assert view.n_groups_effective == n_groups
    for group in view.training_groups.tolist():
        assert len(set(group)) == group_size
        assert any(set(group) <= full for full in members)


scans = st.builds(
    lambda count, seed, width: np.random.default_rng(seed).uniform(0, (60, width), (count, 2)),
    st.integers(60, 300),
    st.integers(0, 2**32 - 1),
    st.floats(40, 200),
)


@given(scans, st.floats(0.05, 0.8), st.integers(4, 9))
@settings(max_examples=30, deadline=None)
def test_any_view_with_a_target(positions: np.ndarray, target: float, neighbours: int) -> None:
    changes = {"target": target, "neighbor_count": neighbours, "min_groups": 2}
    try:
        view = select(positions, **changes)
    except InfeasibleView:
        assume(False)
    _check_view(view, positions, np.arange(len(positions)), neighbours)
    assert abs(view.reached_overlap - target) <= OVERLAP.overlap_tolerance
    n_groups = len(view.centre_index) if neighbours == 4 else 512
    _check_training_groups(view, 4, n_groups)
    again = select(positions.copy(), **changes)
    for name, value in vars(view).items():
        np.testing.assert_array_equal(value, getattr(again, name))


@given(scans, st.floats(0.3, 1.0))
@settings(max_examples=20, deadline=None)
def test_any_view_with_an_image_fraction(positions: np.ndarray, fraction: float) -> None:
    view = select(positions, fraction=fraction)
    assert len(view.image_index) == round(fraction * len(positions))
    assert len(view.centre_index) == len(view.image_index)
    _check_view(view, positions, view.image_index, 7)
    _check_training_groups(view, 4, 512)
    assert view.target_overlap is None
    assert view.thinning_spacing_px is None


@given(scans, st.floats(0.5, 30), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_thinning_is_apart_maximal_and_greedy(
    positions: np.ndarray, spacing: float, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(positions))
    kept = thin(positions, spacing, order)
    between = distances(positions)
    chosen: list[int] = []
    for index in order:
        if all(between[index, other] >= spacing for other in chosen):
            chosen.append(index)
    np.testing.assert_array_equal(kept, np.sort(chosen))


def test_seeds_decide_what_they_are_named_after() -> None:
    positions = scan()
    base = select(positions, target=0.7)
    grouped = select(positions, target=0.7, seeds=SEEDS.model_copy(update={"grouping": 1}))
    thinned = select(positions, target=0.7, seeds=SEEDS.model_copy(update={"subsampling": 1}))
    simulated = select(positions, target=0.7, seeds=SEEDS.model_copy(update={"simulation": 1}))
    np.testing.assert_array_equal(base.full_groups, grouped.full_groups)
    assert (base.training_groups != grouped.training_groups).any()
    assert not np.array_equal(base.image_index, thinned.image_index)
    np.testing.assert_array_equal(base.training_groups, simulated.training_groups)


def _groups_per_centre(view: View) -> list[set[frozenset[int]]]:
    """Which combinations each centre gave, where full groups do not share two members or more."""
    drawn: list[set[frozenset[int]]] = [set() for _ in view.full_groups]
    full = [set(group) for group in view.full_groups.tolist()]
    for group in map(frozenset, view.training_groups.tolist()):
        (owner,) = [index for index, members in enumerate(full) if group <= members]
        drawn[owner].add(group)
    return drawn


@pytest.mark.parametrize("n_groups", [3, 24, 50, 512])
def test_groups_are_spread_evenly_and_distinct(n_groups: int) -> None:
    view = select(scan(), target=0.2, n_groups=n_groups)
    drawn = _groups_per_centre(view)
    numbers = [len(combinations) for combinations in drawn]
    assert sum(numbers) == n_groups, "no combination twice: 70 per centre are enough"
    assert max(numbers) - min(numbers) <= 1


def test_combinations_repeat_only_when_all_are_used() -> None:
    view = select(scan(), target=0.2, n_groups=24 * 71, min_groups=2)
    count = len(view.full_groups)
    drawn = _groups_per_centre(view)
    assert [len(combinations) for combinations in drawn] == [70] * count
    assert len(view.training_groups) == 24 * 71


@pytest.mark.parametrize(("size", "chosen"), [(8, 4), (5, 4), (6, 1), (4, 4)])
def test_combinations_are_numbered_without_gap(size: int, chosen: int) -> None:
    expected = [list(c) for c in itertools.combinations(range(size), chosen)]
    assert [_combination(rank, size, chosen) for rank in range(len(expected))] == expected


def test_k_equal_to_c_gives_one_group_per_centre() -> None:
    view = select(scan(), target=0.7, neighbor_count=4)
    np.testing.assert_array_equal(view.training_groups, view.full_groups[:, :4])


def test_gridsize_1_takes_every_image_once() -> None:
    view = select(scan(), target=0.7, gridsize=1, n_groups=3)
    np.testing.assert_array_equal(view.training_groups[:, 0], np.arange(len(view.image_index)))
    assert view.training_groups.shape == (len(view.image_index), 1)
    two = select(scan(), target=0.7, n_groups=3)
    np.testing.assert_array_equal(view.full_groups, two.full_groups)


def test_equal_positions_are_told_apart() -> None:
    positions = np.repeat(np.random.default_rng(0).uniform(0, 100, (30, 2)), 12, axis=0)
    view = select(positions, target=0.2, min_groups=2)
    _check_view(view, positions, np.arange(len(positions)), 7)
    view = select(positions, fraction=1.0)
    _check_view(view, positions, np.arange(len(positions)), 7)


# Refusals


def test_k_below_c_is_refused() -> None:
    with pytest.raises(InputError, match="K = 3 is smaller than C = 4 .OVERSAMPLING-001"):
        select(scan(), target=0.7, neighbor_count=3)
    assert select(scan(), target=0.7, neighbor_count=3, gridsize=1).full_groups.shape[1] == 4


@pytest.mark.parametrize(
    ("count", "changes", "key", "numbers"),
    [
        (7, {"target": 0.5}, "neighbor_count", "split has 7, a full group is K + 1 = 8"),
        (0, {"target": 0.5}, "neighbor_count", "split has 0"),
        (40, {"fraction": 0.1}, "neighbor_count", "of 40 images, 0.1 keeps 4"),
        (20, {"target": 0.9}, "target_overlap", "0.9 is out of reach: 20 positions"),
        (300, {"target": 0.2, "min_groups": 40}, "min_groups", "groups from 300 positions"),
        (300, {"target": 0.2, "min_images": 301}, "min_images", "the least is 301"),
        (20, {"fraction": 0.5, "min_images": 11}, "min_images", "view has 10 images"),
    ],
)
def test_infeasible_views_are_refused_with_numbers(
    count: int, changes: dict, key: str, numbers: str
) -> None:
    positions = np.random.default_rng(1).uniform(0, (80, 160), (count, 2))
    with pytest.raises(InfeasibleView, match="overlap view") as caught:
        select(positions, **changes)
    assert caught.value.key == key
    assert numbers in caught.value.problem


# Metrics

clouds = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 40), st.just(2)), elements=st.integers(0, 120).map(float)
)


@given(clouds)
@settings(max_examples=40, deadline=None)
def test_metric_3_is_the_mean_over_near_groups(masses: np.ndarray) -> None:
    between = distances(masses)
    per_group = []
    for index, row in enumerate(between):
        near = [d for other, d in enumerate(row) if other != index and d < D]
        per_group.append(np.mean(disc_overlap(np.array(near), D)) if near else 0.0)
    assert group_to_group_average(masses, D) == pytest.approx(np.mean(per_group), abs=1e-12)


def test_metric_3_does_not_depend_on_its_chunks(monkeypatch) -> None:
    masses = np.random.default_rng(0).uniform(0, 150, (500, 2))
    whole = group_to_group_average(masses, D)
    for pairs in (1, 1000, 7777):
        monkeypatch.setattr(view_metrics, "PAIRS_PER_CHUNK", pairs)
        assert group_to_group_average(masses, D) == pytest.approx(whole, rel=1e-12)


@given(clouds, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_metric_2_is_the_mean_over_the_nearest(images: np.ndarray, neighbours: int) -> None:
    unique = np.unique(images, axis=0)
    between = np.sort(distances(unique), axis=1)[:, 1 : neighbours + 1]
    found = image_based_average(unique, neighbours, D)
    if len(unique) == 1:
        assert found is None
    else:
        per_image = disc_overlap(between, D).mean(axis=1)
        assert found == pytest.approx(per_image.mean(), abs=1e-12)


@given(st.integers(1, 9), st.integers(2, 8), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_metric_1_is_the_mean_within_groups(n_groups: int, members: int, seed: int) -> None:
    groups = np.random.default_rng(seed).uniform(0, 50, (n_groups, members, 2))
    per_member = [
        np.mean([disc_overlap(np.hypot(*(member - other)), D) for other in np.delete(group, i, 0)])
        for group in groups
        for i, member in enumerate(group)
    ]
    assert group_based_average(groups, D) == pytest.approx(np.mean(per_member), abs=1e-12)


def test_metric_1_does_not_depend_on_its_chunks(monkeypatch) -> None:
    groups = np.random.default_rng(0).uniform(0, 50, (50, 8, 2))
    whole = group_based_average(groups, D)
    monkeypatch.setattr(view_metrics, "GROUPS_PER_CHUNK", 7)
    assert group_based_average(groups, D) == pytest.approx(whole, rel=1e-12)


def record(view: View, positions: np.ndarray, **changes) -> dict:
    arguments = {
        "overlap": OVERLAP,
        "gridsize": 2,
        "diameter_px": D,
        "seeds": SEEDS,
        "total_photons": 1e6,
    } | changes
    return overlap_metrics(view, positions, **arguments)


def test_what_is_recorded_of_a_view() -> None:
    positions = scan()
    view = select(positions, target=0.7)
    metrics = record(view, positions)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    centres = positions[view.centre_index_in_split]
    apart = (distances(centres) + np.diag(np.full(len(centres), np.inf))).min(axis=1)
    groups = positions[view.image_index][view.full_groups]
    height, width = np.ptp(positions, axis=0)
    assert metrics["centre_spacing_px"] == pytest.approx({"min": apart.min(), "mean": apart.mean()})
    assert metrics["photons_per_px2"] == pytest.approx(1e6 / (height * width))
    assert metrics["metric_1_group_based_avg"] == group_based_average(groups, D)
    assert metrics["metric_3_group_to_group_avg"] == group_to_group_average(groups.mean(axis=1), D)
    assert metrics["reached_overlap"] == nearest_centre_overlap(centres, D)
    expected = {
        "metrics_version": 1,
        "gridsize": 2,
        "neighbor_count": 7,
        "target_overlap": 0.7,
        "image_fraction": None,
        "n_groups": 512,
        "n_groups_ignored": False,
        "n_groups_effective": 512,
        "probe_diameter_px": D,
        "seeds": {"grouping": 123, "subsampling": 456},
        "n_images_total": len(positions),
        "n_images_kept": len(view.image_index),
        "n_unique_images": len(view.image_index),
        "n_centres": len(view.centre_index),
        "total_photons": 1e6,
    }
    assert {key: metrics[key] for key in expected} == expected
    assert "0.9 of the probe's power" in metrics["probe_diameter_definition"]
    given_diameter = OVERLAP.model_copy(update={"probe_diameter_px": 35.0})
    definition = record(view, positions, overlap=given_diameter)["probe_diameter_definition"]
    assert definition == "given in the study file"


def test_the_views_are_what_metrics_tell_apart() -> None:
    """Groups stay tight in both views; nearest centres do not; metric 3 of a dense one is 0.25."""
    positions = scan()
    dense = record(select(positions, target=0.7), positions)
    sparse = record(select(positions, target=0.2), positions)
    assert dense["metric_1_group_based_avg"] == pytest.approx(0.92, abs=0.02)
    assert sparse["metric_1_group_based_avg"] == pytest.approx(0.92, abs=0.02)
    assert dense["metric_3_group_to_group_avg"] == pytest.approx(0.25, abs=0.02)
    assert sparse["centre_spacing_px"]["mean"] > 2.5 * dense["centre_spacing_px"]["mean"]


def test_metrics_at_gridsize_1_and_with_duplicates() -> None:
    positions = np.repeat(np.random.default_rng(0).uniform(0, 100, (40, 2)), 3, axis=0)
    view = select(positions, fraction=1.0, gridsize=1)
    metrics = record(view, positions, gridsize=1)
    assert metrics["metric_1_group_based_avg"] is None
    assert metrics["n_groups_ignored"]
    assert (metrics["n_images_kept"], metrics["n_unique_images"]) == (120, 40)
    assert metrics["image_fraction"] == 1.0
    assert metrics["target_overlap"] is None
    unique = np.unique(positions, axis=0)
    assert metrics["metric_2_image_based_avg"] == image_based_average(unique, 7, D)


def test_a_scan_along_a_line_has_no_area() -> None:
    positions = np.stack([np.zeros(200), np.linspace(0, 300, 200)], axis=1)
    metrics = record(select(positions, target=0.2), positions)
    assert metrics["photons_per_px2"] is None
