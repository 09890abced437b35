"""Discs, groups and areas, derived from the contract's formulas alone (sections 3 and 4).

Numbers in, numbers out; what a hub states about them does not belong here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

SUBPIXELS = 5
"""Points per pixel side that its power is spread on, for the diameter of the probe."""


def disc_overlap(distance_px: np.ndarray, diameter_px: float) -> np.ndarray:
    """(2 R^2 acos(d / 2R) - (d / 2) sqrt(4 R^2 - d^2)) / (pi R^2), R = D / 2; 0 from D on."""
    distance = np.minimum(np.asarray(distance_px, np.float64), diameter_px)
    radius = diameter_px / 2
    segment = 2 * radius**2 * np.arccos(distance / (2 * radius))
    chord = distance / 2 * np.sqrt(4 * radius**2 - distance**2)
    return (segment - chord) / (math.pi * radius**2)


def nearest_overlap(points_px: np.ndarray, diameter_px: float) -> float:
    """Return the mean disc overlap of each point with its nearest other."""
    return float(disc_overlap(spacings(points_px), diameter_px).mean())


def spacings(points_px: np.ndarray) -> np.ndarray:
    """Return the (n,) distance of each of (n, 2) points to its nearest other, px."""
    distance: np.ndarray = cKDTree(points_px).query(points_px, k=2)[0][:, 1]
    return distance


def metric_1(groups_px: np.ndarray, diameter_px: float) -> float:
    """Average, per member of (groups, members, 2), the mean overlap to the others of its group."""
    offsets = groups_px[:, :, None, :] - groups_px[:, None, :, :]
    overlap = disc_overlap(np.sqrt((offsets**2).sum(axis=3)), diameter_px)
    members = groups_px.shape[1]
    others = overlap.sum(axis=2) - np.einsum("gii->gi", overlap)
    return float((others / (members - 1)).mean())


def metric_2(images_px: np.ndarray, neighbours: int, diameter_px: float) -> float:
    """Average, per image (each position once), the mean overlap to its K nearest others."""
    unique = np.unique(images_px, axis=0)
    near = min(neighbours, len(unique) - 1)
    distance = cKDTree(unique).query(unique, k=near + 1)[0]
    return float(disc_overlap(distance[:, 1:], diameter_px).mean())


def metric_3(groups_px: np.ndarray, diameter_px: float) -> float:
    """Average, per group, the mean overlap of its centre of mass to all others nearer than D."""
    masses = groups_px.mean(axis=1)
    total = 0.0
    for number, mass in enumerate(masses):
        distance = np.sqrt(((masses - mass) ** 2).sum(axis=1))
        near = distance < diameter_px
        near[number] = False
        if near.any():
            total += float(disc_overlap(distance[near], diameter_px).mean())
    return total / len(masses)


def probe_diameter(probe: np.ndarray, power_fraction: float) -> float:
    """Return the diameter, px, of the centred disc that holds a fraction of the power."""
    power = np.abs(probe.astype(np.complex128)) ** 2
    if not power.sum() > 0:
        raise ValueError("a probe without power has no diameter")
    side_y, side_x = power.shape
    y0 = float(np.arange(side_y) @ power.sum(axis=1) / power.sum())
    x0 = float(np.arange(side_x) @ power.sum(axis=0) / power.sum())
    inside = (np.arange(SUBPIXELS) - (SUBPIXELS - 1) / 2) / SUBPIXELS
    y = (np.arange(side_y)[:, None] + inside).reshape(-1) - y0
    x = (np.arange(side_x)[:, None] + inside).reshape(-1) - x0
    radius = np.sqrt(y[:, None] ** 2 + x[None, :] ** 2).reshape(-1)
    spread = np.kron(power, np.ones((SUBPIXELS, SUBPIXELS))).reshape(-1)
    order = np.argsort(radius, kind="stable")
    held = np.cumsum(spread[order])
    held /= held[-1]
    radius = radius[order]
    # Of points at one radius the last one holds the power of all.
    last = np.append(radius[1:] != radius[:-1], True)
    return 2 * float(np.interp(power_fraction, [0, *held[last]], [0, *radius[last]]))


def scoring_area(
    centres_px: np.ndarray, split: str, line_y_px: float, diameter_px: float
) -> list[int]:
    """Return [y0, y1, x0, x1], ends open: the centres' box less D/2 along the split line."""
    low, high = centres_px.min(axis=0).astype(float), centres_px.max(axis=0).astype(float)
    if split == "train":
        high[0] = min(high[0], line_y_px - diameter_px / 2)
    else:
        low[0] = max(low[0], line_y_px + diameter_px / 2)
    y0, x0 = math.ceil(low[0]), math.ceil(low[1])
    y1, x1 = math.floor(high[0]) + 1, math.floor(high[1]) + 1
    return [y0, y1, x0, x1]
