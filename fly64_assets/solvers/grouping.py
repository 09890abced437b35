"""Which patterns enter a network together, and which groups a loss or a validation may join.

Index arithmetic on scan positions, numpy and scipy only. What does not belong here: which images a
view holds (that is the overlap view's business), tensors, networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree


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


@dataclass(frozen=True, eq=False)
class LossNeighbours:
    """For each of some groups, the others that a loss may merge with it.

    Attributes:
        candidates: (m, K) row numbers, nearest first; -1 where there are fewer than K.
    """

    candidates: np.ndarray

    def draw(self, merged: int, generator: np.random.Generator) -> np.ndarray:
        """(m, merged) int64: each row number, then ``merged - 1`` of its candidates.

        Candidates are distinct as long as they last and then repeat; a group without any is merged
        with itself, which changes nothing.
        """
        rows, limit = self.candidates.shape
        own = np.arange(rows)[:, None]
        if merged == 1 or limit == 0:
            return np.repeat(own, merged, axis=1)
        available = np.count_nonzero(self.candidates >= 0, axis=1)[:, None]
        keys = generator.random((rows, limit))
        keys[self.candidates < 0] = np.inf  # sorted behind every candidate there is
        shuffled = np.take_along_axis(self.candidates, np.argsort(keys, axis=1), axis=1)
        turn = np.arange(merged - 1)[None, :] % np.maximum(available, 1)
        drawn = np.take_along_axis(shuffled, turn, axis=1)
        return np.concatenate([own, np.where(drawn < 0, own, drawn)], axis=1)


def loss_neighbours(centres_px: np.ndarray, count: int, reach_px: float) -> LossNeighbours:
    """The ``count`` nearest others within ``reach_px``.

    The reach keeps a loss from joining what is hardly illuminated together: in a sparse view the
    nearest others by rank lie in the next cluster.

    Args:
        centres_px: (m, 2) float64, px.
        count: K, how many at most.
        reach_px: px, how far at most.
    """
    count = min(count, len(centres_px) - 1)
    if count == 0:
        return LossNeighbours(np.empty((len(centres_px), 0), np.int64))
    nearest = nearest_groups(centres_px, count + 1)[:, 1:]
    distance = np.linalg.norm(centres_px[nearest] - centres_px[:, None], axis=2)
    return LossNeighbours(np.where(distance <= reach_px, nearest, -1))


def draw_targets(positions_px, centres_px, excluded, images, count, neighbours, reach_px, generator):
    tree = cKDTree(positions_px[images])
    asked = min(len(images), neighbours + excluded.shape[1])
    distance, near = tree.query(centres_px, k=asked)
    distance, near = distance.reshape(len(centres_px), -1), images[near.reshape(len(centres_px), -1)]
    bad = (near[:, :, None] == excluded[:, None, :]).any(axis=2) | (distance > reach_px)
    rank = np.cumsum(~bad, axis=1)
    bad |= rank > neighbours
    keys = generator.random(near.shape)
    keys[bad] = np.inf
    order = np.argsort(keys, axis=1)
    available = np.count_nonzero(~bad, axis=1)[:, None]
    turn = np.arange(count)[None] % np.maximum(available, 1)
    drawn = np.take_along_axis(np.take_along_axis(near, order, axis=1), turn, axis=1)
    # With nothing else in reach the inputs must explain themselves.
    own = excluded[:, np.arange(count) % excluded.shape[1]]
    return np.where(available > 0, drawn, own)
