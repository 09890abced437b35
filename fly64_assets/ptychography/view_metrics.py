"""What is recorded of an overlap view: sizes, spacings, photons and the three overlap metrics.

Definitions: contract, section 3; always over full groups, one per centre. Selecting a view belongs
to ``overlap.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from fly64_assets.ptychography.discs import diameter_definition, disc_overlap

if TYPE_CHECKING:
    from fly64_assets.ptychography.overlap import View
    from fly64_assets.study.model import OverlapSettings, Seeds

METRICS_VERSION = 1
GROUPS_PER_CHUNK = 1024
PAIRS_PER_CHUNK = 1 << 21


def group_based_average(groups_px: np.ndarray, diameter_px: float) -> float:
    """Metric 1: per member, mean overlap with the other members of its group; averaged.

    Args:
        groups_px: (n_groups, members, 2) positions of full groups; at least two members.
        diameter_px: D.
    """
    n_groups, members = groups_px.shape[:2]
    first, second = np.triu_indices(members, 1)
    total = 0.0
    for start in range(0, n_groups, GROUPS_PER_CHUNK):
        chunk = groups_px[start : start + GROUPS_PER_CHUNK]
        distance = np.linalg.norm(chunk[:, first] - chunk[:, second], axis=2)
        total += float(disc_overlap(distance, diameter_px).sum())
    return total / (n_groups * len(first))


def image_based_average(unique_px: np.ndarray, neighbours: int, diameter_px: float) -> float | None:
    """Metric 2: per image, mean overlap with its K nearest others; averaged.

    Args:
        unique_px: (n, 2) positions without exact duplicates.
        neighbours: K; fewer where there are not so many others.
        diameter_px: D.

    Returns:
        ``None`` for a single image.
    """
    near = min(neighbours, len(unique_px) - 1)
    if near < 1:
        return None
    distance = cKDTree(unique_px).query(unique_px, k=near + 1)[0][:, 1:]
    return float(disc_overlap(distance, diameter_px).mean())


def group_to_group_average(masses_px: np.ndarray, diameter_px: float) -> float:
    """Metric 3: per group, mean overlap with all other groups nearer than D (0 if none); averaged.

    Args:
        masses_px: (n_groups, 2) centre of mass of each full group.
        diameter_px: D.
    """
    tree = cKDTree(masses_px)
    count = len(masses_px)
    expected = tree.query_ball_point(masses_px, diameter_px, return_length=True)
    bounds = np.searchsorted(np.cumsum(expected), np.arange(0, expected.sum(), PAIRS_PER_CHUNK))
    bounds = np.unique(np.append(bounds, count))
    total = 0.0
    for start, stop in zip(np.append(0, bounds), bounds, strict=False):
        if start == stop:
            continue
        chunk = cKDTree(masses_px[start:stop])
        pairs = chunk.sparse_distance_matrix(tree, diameter_px, output_type="ndarray")
        pairs = pairs[(pairs["i"] + start != pairs["j"]) & (pairs["v"] < diameter_px)]
        overlaps = np.bincount(pairs["i"], disc_overlap(pairs["v"], diameter_px), stop - start)
        numbers = np.bincount(pairs["i"], minlength=stop - start)
        total += float((overlaps / np.maximum(numbers, 1)).sum())
    return total / count


def overlap_metrics(
    view: View,
    positions_px: np.ndarray,
    *,
    overlap: OverlapSettings,
    gridsize: int,
    diameter_px: float,
    seeds: Seeds,
    total_photons: float,
) -> dict[str, Any]:
    """Everything that is recorded of one split of a view (contract, section 3), as JSON values.

    Args:
        view: of `select_view`.
        positions_px: (n, 2) float64, the split's full scan that the view was selected from.
        overlap: as for `select_view`.
        gridsize: as for `select_view`; metric 1 is recorded for gridsize 2 only, else null.
        diameter_px: D, as for `select_view`.
        seeds: recorded.
        total_photons: detected in the view's images.
    """
    positions_px = np.asarray(positions_px, np.float64)
    images_px = positions_px[view.image_index]
    groups_px = images_px[view.full_groups]
    centres_px = images_px[view.centre_index]
    unique_px = np.unique(images_px, axis=0)
    neighbours = view.full_groups.shape[1] - 1
    gaps = cKDTree(centres_px).query(centres_px, k=2)[0][:, 1]
    area = float(np.prod(np.ptp(positions_px, axis=0)))
    return {
        "metrics_version": METRICS_VERSION,
        "gridsize": gridsize,
        "neighbor_count": neighbours,
        "target_overlap": view.target_overlap,
        "image_fraction": view.image_fraction,
        "reached_overlap": view.reached_overlap,
        "thinning_spacing_px": view.thinning_spacing_px,
        "n_groups": overlap.n_groups,
        "n_groups_ignored": gridsize == 1,
        "n_groups_effective": view.n_groups_effective,
        "probe_diameter_px": float(diameter_px),
        "probe_diameter_definition": diameter_definition(overlap),
        "seeds": {"grouping": seeds.grouping, "subsampling": seeds.subsampling},
        "n_images_total": len(positions_px),
        "n_images_kept": len(images_px),
        "n_unique_images": len(unique_px),
        "n_centres": len(centres_px),
        "centre_spacing_px": {"min": float(gaps.min()), "mean": float(gaps.mean())},
        "total_photons": float(total_photons),
        "photons_per_px2": float(total_photons) / area if area > 0 else None,
        "photons_per_px2_definition": (
            "photons detected in the view's images over the area of the bounding box of the "
            "split's full scan; a dense view has several times those of a sparse one"
        ),
        "metric_1_group_based_avg": (
            group_based_average(groups_px, diameter_px) if gridsize == 2 else None
        ),
        "metric_2_image_based_avg": image_based_average(unique_px, neighbours, diameter_px),
        "metric_3_group_to_group_avg": group_to_group_average(groups_px.mean(axis=1), diameter_px),
    }
