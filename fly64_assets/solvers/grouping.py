"""Which patterns enter a network together, and which groups a loss or a validation may join.

Index arithmetic on scan positions, numpy and scipy only. What does not belong here: which images a
view holds (that is the overlap view's business), tensors, networks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

TURNS = np.array(list(itertools.product((0.0, 1.0), repeat=3)), np.float32)
"""(8, 3) float32: the ways to turn and mirror a square, see ``networks.Turn``."""


def split_positions(positions_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions as a pixel and what is left, so that the object can stay on its pixel grid.

    Args:
        positions_px: (n, 2) float64, px, y then x.

    Returns:
        (n, 2) int32, the nearest pixel (halves upwards), and (n, 2) float32 in [-0.5, 0.5).
    """
    pixel = np.floor(positions_px + 0.5)
    return pixel.astype(np.int32), (positions_px - pixel).astype(np.float32)


def nearest_groups(positions_px: np.ndarray, group_size: int) -> np.ndarray:
    """Every image with its ``group_size - 1`` nearest others, itself first.

    Args:
        positions_px: (n, 2) float64, px.
        group_size: C, 1 <= C <= n.

    Returns:
        (n, C) int64. Equal distances go by lower index, so that the choice is reproducible.

    Raises:
        ValueError: there are fewer than C images.
    """
    count = len(positions_px)
    if count < group_size:
        raise ValueError(
            f"{count} images cannot make groups of C = {group_size}; at least {group_size} needed"
        )
    if group_size == 1:
        return np.arange(count)[:, None]
    # A few more than needed: ties at the edge of the neighbourhood are then settled here.
    asked = min(count, group_size + 4)
    distances, neighbours = cKDTree(positions_px).query(positions_px, k=asked)
    own = np.arange(count)[:, None]
    distances = np.where(neighbours == own, -1.0, distances)
    missing = ~(neighbours == own).any(axis=1)  # hidden behind many images at the same position
    neighbours[missing, -1], distances[missing, -1] = np.flatnonzero(missing), -1.0
    order = np.lexsort((neighbours, np.round(distances, 9)), axis=1)
    return np.take_along_axis(neighbours, order, axis=1)[:, :group_size].astype(np.int64)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Groups to fit and groups to validate on, as row numbers; they share no image."""

    fit: np.ndarray
    validation: np.ndarray


def hold_out(positions_px: np.ndarray, groups: np.ndarray, fraction: float) -> HeldOut:
    """Set aside the groups at the far end of the scan's longer side.

    A block and not a random draw: neighbouring patterns show the same object, so a random draw
    would validate on what was fitted. Groups that share an image with the block are in neither.

    Args:
        positions_px: (n, 2) float64, px.
        groups: (m, C) image indices.
        fraction: of the groups to validate on, in (0, 1); at least one group.

    Raises:
        ValueError: no group would be left to fit.
    """
    centres = positions_px[groups].mean(axis=1)
    axis = int(np.argmax(np.ptp(centres, axis=0)))
    count = max(1, round(fraction * len(groups)))
    order = np.argsort(centres[:, axis], kind="stable")
    validation = np.sort(order[len(groups) - count :])
    shared = np.isin(groups, groups[validation]).any(axis=1)
    fit = np.flatnonzero(~shared)
    if len(fit) == 0:
        raise ValueError(
            f"{len(groups)} groups leave none to fit beside {count} for validation "
            f"(validation_fraction = {fraction})"
        )
    return HeldOut(fit, validation)


def _draw_available(
    candidates: np.ndarray,
    usable: np.ndarray,
    fallback: np.ndarray,
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """``count`` of each row's usable candidates: distinct while they last, then repeated in turn.

    Args:
        candidates, usable: (m, k) indices, and which of them may be drawn.
        fallback: (m, f) indices for rows with nothing usable, taken in turn.
        count: how many to draw.
        generator: consumed by m * k numbers, whatever is usable.

    Returns:
        (m, count) int64.
    """
    turn = np.arange(count)
    instead = fallback[:, turn % fallback.shape[1]]
    if candidates.shape[1] == 0:
        return instead
    keys = generator.random(candidates.shape)
    keys[~usable] = np.inf  # sorted behind everything that may be drawn
    shuffled = np.take_along_axis(candidates, np.argsort(keys, axis=1), axis=1)
    available = np.count_nonzero(usable, axis=1)[:, None]
    drawn = np.take_along_axis(shuffled, turn % np.maximum(available, 1), axis=1)
    return np.where(available > 0, drawn, instead)


def _nearest(
    points_px: np.ndarray, centres_px: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices, (m, min(count, points)) each, nearest first."""
    count = min(count, len(points_px))
    shape = (len(centres_px), count)
    distances, indices = cKDTree(points_px).query(centres_px, k=count)
    return np.reshape(distances, shape), np.reshape(indices, shape)


def draw_targets(
    positions_px: np.ndarray,
    centres_px: np.ndarray,
    seen: np.ndarray,
    images: np.ndarray,
    count: int,
    *,
    neighbours: int,
    reach_px: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Which patterns a prediction has to explain: near ones that the network did not see.

    The noise of a pattern that was not seen cannot be fitted, so that a loss over such patterns has
    its least expectation at the best estimate of the object and not at the noise (Lehtinen et al.,
    ICML 2018). Where nothing unseen is in reach, the seen patterns are taken.

    Args:
        positions_px: (n, 2) float64, px, of all images.
        centres_px: (m, 2) float64, px, around which to look.
        seen: (m, s) image indices that the network sees.
        images: (i,) image indices to draw from.
        count: E, patterns to draw.
        neighbours: how many of the nearest unseen images may be drawn.
        reach_px: px, how far they may lie.
        generator: draws.

    Returns:
        (m, E) int64 image indices.
    """
    distances, rank = _nearest(positions_px[images], centres_px, neighbours + seen.shape[1])
    near = images[rank]
    usable = (distances <= reach_px) & ~(near[:, :, None] == seen[:, None, :]).any(axis=2)
    usable &= np.cumsum(usable, axis=1) <= neighbours
    return _draw_available(near, usable, seen, count, generator)
