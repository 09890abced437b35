"""Phase D: overlap views of a scan: group centres, full groups, training groups.

Geometry only: positions in, indices out. Everything near goes through a k-d tree, so that time
grows about linearly with the number of positions. Discs are in ``discs.py``, what is recorded of a
view in ``view_metrics.py``; both can be imported from here. Diffraction does not belong here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from fly64_assets.errors import InfeasibleView, InputError
from fly64_assets.ptychography.discs import diameter_definition, disc_overlap, probe_diameter
from fly64_assets.ptychography.view_metrics import (
    group_based_average,
    group_to_group_average,
    image_based_average,
    overlap_metrics,
)

if TYPE_CHECKING:
    from fly64_assets.study.model import OverlapSettings, Seeds, ViewSettings

__all__ = [
    "View",
    "diameter_definition",
    "disc_overlap",
    "group_based_average",
    "group_to_group_average",
    "image_based_average",
    "nearest_centre_overlap",
    "overlap_metrics",
    "probe_diameter",
    "select_view",
    "thin",
]

SOURCE = "overlap view"
BISECTION_STEPS = 40
SPACING_RESOLUTION = 1e-3
"""Of D / sqrt(n), where bisection ends: far below the distance of neighbouring positions."""


@dataclass(frozen=True, eq=False)
class View:
    """The part of a split that one view uses. All indices are int64.

    Attributes:
        image_index: (n_images,) ascending indices into the split's full scan.
        centre_index: (n_centres,) group centres, ascending, as indices of the view's own images
            (into ``image_index``).
        full_groups: (n_centres, K + 1) images of each centre's group, the centre first, then its K
            nearest neighbours by distance; indices of the view's own images.
        training_groups: (n_groups_effective, C) images that enter the network together; indices of
            the view's own images.
        target_overlap: what the view aims at, ``None`` for an image fraction.
        image_fraction: the part of the images kept, ``None`` for a target.
        reached_overlap: mean disc overlap of each centre with its nearest other centre.
        thinning_spacing_px: least distance of two centres; ``None`` for an image fraction.
        n_groups_effective: number of training groups.
    """

    image_index: np.ndarray
    centre_index: np.ndarray
    full_groups: np.ndarray
    training_groups: np.ndarray
    target_overlap: float | None
    image_fraction: float | None
    reached_overlap: float
    thinning_spacing_px: float | None
    n_groups_effective: int

    @property
    def centre_index_in_split(self) -> np.ndarray:
        """(n_centres,) the centres as indices into the split's full scan."""
        return self.image_index[self.centre_index]


def _infeasible(key: str, problem: str) -> InfeasibleView:
    return InfeasibleView(SOURCE, key, problem)


def thin(positions_px: np.ndarray, spacing_px: float, order: np.ndarray) -> np.ndarray:
    """Poisson-disk thinning: in ``order``, keep what is not nearer than the spacing to a kept one.

    Args:
        positions_px: (n, 2).
        spacing_px: least distance of two kept positions; 0 keeps one of each set of equal ones.
        order: (n,) permutation of the positions.

    Returns:
        Ascending int64 indices.
    """
    return _thin(positions_px, cKDTree(positions_px), spacing_px, order.tolist())


def _thin(
    positions_px: np.ndarray, tree: cKDTree, spacing_px: float, order: list[int]
) -> np.ndarray:
    free = bytearray(b"\1") * len(order)
    # The tree's radius is inclusive, the spacing is allowed: step just below it.
    radius = math.nextafter(spacing_px, 0.0)
    kept = []
    for index in order:
        if free[index]:
            kept.append(index)
            for near in tree.query_ball_point(positions_px[index], radius):
                free[near] = 0
    return np.sort(np.array(kept, np.int64))


def nearest_centre_overlap(centres_px: np.ndarray, diameter_px: float) -> float:
    """Mean disc overlap of each centre with its nearest other; what a view's target is about.

    Args:
        centres_px: (n_centres, 2) positions.
        diameter_px: D.

    Returns:
        0 to 1; 0 for a single centre.
    """
    if len(centres_px) < 2:
        return 0.0
    distance = cKDTree(centres_px).query(centres_px, k=2)[0][:, 1]
    return float(disc_overlap(distance, diameter_px).mean())


def _thin_to_overlap(
    positions_px: np.ndarray, target: float, diameter_px: float, order: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Centres, their overlap and the spacing that comes nearest to the target.

    Overlap falls with the spacing, in small steps that need not be monotonic, from that of the
    whole scan at 0 to none at D. Of all spacings that
    bisection has tried the best wins.
    """
    tree, sequence = cKDTree(positions_px), order.tolist()
    seen: list[tuple[float, float, np.ndarray]] = []

    def evaluate(spacing: float) -> float:
        centres = _thin(positions_px, tree, spacing, sequence)
        reached = nearest_centre_overlap(positions_px[centres], diameter_px)
        seen.append((reached, spacing, centres))
        return reached

    low, high = 0.0, diameter_px
    if evaluate(high) < target:
        for _ in range(BISECTION_STEPS):
            middle = (low + high) / 2
            reached = evaluate(middle)
            if reached == target:
                break
            low, high = (middle, high) if reached > target else (low, middle)
            if high - low < SPACING_RESOLUTION * diameter_px / math.sqrt(len(positions_px)):
                break
    reached, spacing, centres = min(seen, key=lambda item: abs(item[0] - target))
    return centres, reached, spacing


def _full_groups(positions_px: np.ndarray, centres: np.ndarray, neighbours: int) -> np.ndarray:
    """(n_centres, K + 1): each centre, then its K nearest others by distance."""
    tree = cKDTree(positions_px)
    near = tree.query(positions_px[centres], k=neighbours + 1)[1].reshape(len(centres), -1)
    own = near == centres[:, None]
    # Among equal positions the tree may put the centre later, or not among the nearest at all.
    own[~own.any(axis=1), -1] = True
    others = near[~own].reshape(len(centres), neighbours)
    return np.column_stack([centres, others]).astype(np.int64)


def _combination(rank: int, size: int, chosen: int) -> list[int]:
    """Return the ``rank``-th subset of ``chosen`` out of ``size``, in lexicographic order."""
    members, candidate = [], 0
    while chosen:
        with_candidate = math.comb(size - candidate - 1, chosen - 1)
        if rank < with_candidate:
            members.append(candidate)
            chosen -= 1
        else:
            rank -= with_candidate
        candidate += 1
    return members


def _training_groups(
    full_groups: np.ndarray, group_size: int, n_groups: int, seed: int
) -> np.ndarray:
    """(n_groups, C) distinct members of full groups, spread evenly over centres.

    With K = C there is nothing to choose from: one group per centre, the centre and its nearest.
    Otherwise every centre gives the same number of groups, the remainder goes to centres drawn
    without replacement, and a centre repeats a combination only once all have been used.
    """
    n_centres, members = full_groups.shape
    if members - 1 <= group_size:
        return full_groups[:, :group_size].copy()
    generator = np.random.default_rng(seed)
    shares = np.full(n_centres, n_groups // n_centres)
    shares[generator.permutation(n_centres)[: n_groups % n_centres]] += 1
    combinations = math.comb(members, group_size)
    groups = np.empty((n_groups, group_size), np.int64)
    row = 0
    for centre in np.flatnonzero(shares):
        left = int(shares[centre])
        while left:
            drawn = generator.choice(combinations, min(left, combinations), replace=False)
            for rank in drawn.tolist():
                groups[row] = full_groups[centre, _combination(rank, members, group_size)]
                row += 1
            left -= len(drawn)
    return groups


def select_view(
    positions_px: np.ndarray,
    view: ViewSettings,
    overlap: OverlapSettings,
    *,
    gridsize: int,
    diameter_px: float,
    seeds: Seeds,
) -> View:
    """Choose a view's centres, images and training groups; the same input gives the same view.

    With a target overlap, centres are a Poisson-disk thinning of the split over a permutation from
    the subsampling seed, at the spacing whose mean disc overlap of nearest centres comes nearest to
    the target. With an image fraction, a random subset of that size is kept and every image of it
    is a centre. Training groups come from the grouping seed; at gridsize 1 each image is one group
    and ``n_groups`` is ignored.

    Args:
        positions_px: (n, 2) float64, the split's full scan, y then x.
        view: target overlap or image fraction.
        overlap: K, n_groups, tolerance and the least numbers of groups and images.
        gridsize: 1 or 2; C = gridsize squared.
        diameter_px: D of the overlap discs.
        seeds: subsampling and grouping.

    Raises:
        InfeasibleView: the scan cannot deliver the view; with the numbers.
        InputError: K < C at gridsize > 1 (OVERSAMPLING-001).
    """
    positions_px = np.asarray(positions_px, np.float64)
    neighbours, group_size = overlap.neighbor_count, gridsize**2
    if gridsize > 1 and neighbours < group_size:
        problem = f"K = {neighbours} is smaller than C = {group_size} (OVERSAMPLING-001)"
        raise InputError(SOURCE, "neighbor_count", problem)
    generator = np.random.default_rng(seeds.subsampling)
    count, spacing = len(positions_px), None
    if view.image_fraction is not None:
        kept = np.sort(generator.permutation(count)[: round(view.image_fraction * count)])
        _require_members(len(kept), neighbours, f"of {count} images, {view.image_fraction:g} keeps")
        chosen = positions_px[kept]
        centres = np.arange(len(kept), dtype=np.int64)
        reached = nearest_centre_overlap(chosen, diameter_px)
        groups = kept[_full_groups(chosen, centres, neighbours)]
    else:
        _require_members(count, neighbours, "the split has")
        order = generator.permutation(count)
        target = view.target_overlap
        assert target is not None  # a view gives one of the two
        centres, reached, spacing = _thin_to_overlap(positions_px, target, diameter_px, order)
        if abs(reached - target) > overlap.overlap_tolerance:
            raise _infeasible(
                "target_overlap",
                f"{target:g} is out of reach: {count} positions with discs of {diameter_px:.4g} px "
                f"come to {reached:.4f} at best ({len(centres)} centres, {spacing:.3g} px apart), "
                f"tolerance {overlap.overlap_tolerance:g}",
            )
        groups = _full_groups(positions_px, centres, neighbours)
    images = np.unique(groups)
    for key, unit, number, least in (
        ("min_groups", "groups", len(groups), overlap.min_groups),
        ("min_images", "images", len(images), overlap.min_images),
    ):
        if number < least:
            problem = f"the view has {number} {unit} from {count} positions, the least is {least}"
            raise _infeasible(key, problem)
    own = np.searchsorted(images, groups).astype(np.int64)
    if gridsize == 1:
        training = np.arange(len(images), dtype=np.int64)[:, None]
    else:
        training = _training_groups(own, group_size, overlap.n_groups, seeds.grouping)
    return View(
        image_index=images.astype(np.int64),
        centre_index=own[:, 0].copy(),
        full_groups=own,
        training_groups=training,
        target_overlap=view.target_overlap,
        image_fraction=view.image_fraction,
        reached_overlap=reached,
        thinning_spacing_px=spacing,
        n_groups_effective=len(training),
    )


def _require_members(count: int, neighbours: int, what: str) -> None:
    if count < neighbours + 1:
        problem = f"{what} {count}, a full group is K + 1 = {neighbours + 1}"
        raise _infeasible("neighbor_count", problem)
