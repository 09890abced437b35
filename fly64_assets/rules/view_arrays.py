"""Rules of phase D about arrays: groups of nearest, their overlaps, and whose frames a view has.

Discs, groups and areas come from ``geometry.py``, which shares no line with what selects a view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules import geometry
from fly64_assets.rules.datasets import near
from fly64_assets.rules.files import Files, equals, flattened

PER_FRAME = (
    *("scan_index", "xcoords", "ycoords", "xcoords_start", "ycoords_start"),
    *("diffraction", "Y"),
)
DISTANCE_TOLERANCE_PX = 1e-9
BLOCK_FRAMES = 256


def full_groups(files: Files) -> Iterator[RuleOutcome]:
    """Ask that a full group is a centre and its K nearest in the full scan."""
    view = files.dataset()
    groups, centres = view.extra["full_groups"], view.extra["centre_index"]
    own = scan = view.positions_px
    if not files.study.views[str(files.condition.view)].image_fraction:
        scan = files.other(files.split, "dataset").dataset().positions_px
    wanted = (len(centres), files.study.overlap.neighbor_count + 1)
    yield equals("full_groups", "a centre and its K nearest", wanted, groups.shape)
    first = bool((groups[:, 0] == centres).all()) and len(np.unique(centres)) == len(centres)
    yield equals("centre_index", "the first of each group, each once", True, first)
    again = int((np.diff(np.sort(groups, axis=1), axis=1) == 0).any(axis=1).sum())
    yield equals("full_groups", "groups that name an image twice", 0, again)
    nearest = cKDTree(scan).query(own[groups[:, 0]], k=groups.shape[1])[0]
    distance = np.linalg.norm(own[groups] - own[groups[:, :1]], axis=2)
    apart = np.abs(np.sort(distance, axis=1) - nearest).max(axis=1)
    far = int((apart > DISTANCE_TOLERANCE_PX).sum())
    yield equals("full_groups", "groups that are not the nearest of their centre", 0, far)
    union = len(np.unique(groups))
    yield equals("full_groups", "their union is the view", len(view), union)


def training_groups(files: Files) -> Iterator[RuleOutcome]:
    """Ask that a training group is C distinct members of one full group, evenly spread."""
    view, rules, size = files.dataset(), files.study.overlap, files.study.group_size
    groups = view.extra["training_groups"]
    if size == 1:
        each = sorted(groups.ravel().tolist()) == list(range(len(view)))
        yield equals("training_groups", "every image once", True, each)
        return
    whole = view.extra["full_groups"].tolist()
    drawn = rules.neighbor_count > size
    wanted = (rules.n_groups if drawn else len(whole), size)
    yield equals("training_groups", "n_groups of C = gridsize^2 members", wanted, groups.shape)
    holders: dict[int, set[int]] = {}
    for number, members in enumerate(whole):
        for member in members:
            holders.setdefault(member, set()).add(number)
    possible = [
        set.intersection(*(holders.get(member, set()) for member in group))
        for group in groups.tolist()
    ]
    odd = sum(
        len(set(group)) < len(group) or not centres
        for group, centres in zip(groups.tolist(), possible, strict=True)
    )
    yield equals("training_groups", "groups that are no part of one full group", 0, odd)
    if drawn:
        spread = _spread(possible, len(whole))
        yield equals("training_groups", "spread evenly over the centres", "all", spread)


def _spread(possible: list[set[int]], n_centres: int) -> str:
    """Name a centre that has not the same number of groups as every other, or one more.

    Args:
        possible: per training group the centres that it may have been drawn for.
        n_centres: number of full groups.
    """
    least = len(possible) // n_centres
    may = Counter(centre for centres in possible for centre in centres)
    must = Counter(next(iter(centres)) for centres in possible if len(centres) == 1)
    for centre in range(n_centres):
        if may[centre] < least or must[centre] > least + 1:
            return f"centre {centre} has {must[centre]} to {may[centre]} of {len(possible)}"
    return "all"


def _measured(files: Files) -> dict[str, Any]:
    """Overlaps and spacings of a view from its coordinates and groups."""
    view, study = files.dataset(), files.study
    own, width = view.positions_px, float(view.metadata["physics"]["probe_diameter_px"])
    groups, centres = own[view.extra["full_groups"]], own[view.extra["centre_index"]]
    gaps = geometry.spacings(centres)
    return {
        "reached_overlap": geometry.nearest_overlap(centres, width),
        "centre_spacing_px.min": float(gaps.min()),
        "centre_spacing_px.mean": float(gaps.mean()),
        "metric_1_group_based_avg": (
            geometry.metric_1(groups, width) if study.gridsize == 2 else None
        ),
        "metric_2_image_based_avg": geometry.metric_2(own, study.overlap.neighbor_count, width),
        "metric_3_group_to_group_avg": geometry.metric_3(groups, width),
    }


def overlaps(files: Files) -> Iterator[RuleOutcome]:
    """Hold the stated overlaps and spacings against the coordinates."""
    file, rules = f"{files.split}_metrics.json", files.study.overlap
    stated = files.json(file)
    what = f"overlap, gridsize {files.study.gridsize}, K = {rules.neighbor_count}"
    found = files.once(what, {files.product.files[0]: files}, lambda: _measured(files))
    flat = flattened(stated)
    for name, number in found.items():
        key = f"{file} {name}"
        if number is None:
            yield equals(key, "for gridsize 2 alone", None, flat[name])
        else:
            yield near(key, "as recomputed from the coordinates", number, flat[name])
    reached, smallest = found["reached_overlap"], found["centre_spacing_px.min"]
    spacing = stated["thinning_spacing_px"]
    target = files.study.views[str(files.condition.view)].target_overlap
    if spacing is not None:
        yield RuleOutcome(
            f"{file} thinning_spacing_px",
            "centres are so far apart",
            f"{smallest / 2:.6g} to {smallest:.6g}",
            spacing,
            smallest / 2 < spacing <= smallest,
        )
    if target is not None:
        yield RuleOutcome(
            "centre_index",
            "mean disc overlap with the nearest other centre",
            f"{target} within {rules.overlap_tolerance}",
            round(reached, 4),
            abs(reached - target) <= rules.overlap_tolerance,
        )


def frames(files: Files, source: Files) -> Iterator[RuleOutcome]:
    """Ask that every frame of the view is one of the dataset's, to the bit, each once."""
    view, whole = files.dataset(), source.dataset()
    order = np.argsort(whole.scan_index, kind="stable")
    place = np.searchsorted(whole.scan_index[order], view.scan_index)
    rows = order[np.minimum(place, len(whole) - 1)]
    yield equals("scan_index", "frames that stand twice", 0, len(rows) - len(np.unique(rows)))
    ours, theirs = view.arrays(), whole.arrays()
    for key in PER_FRAME:
        alike = 0
        for start in range(0, len(rows), BLOCK_FRAMES):
            part = slice(start, start + BLOCK_FRAMES)
            same = theirs[key][rows[part]] == ours[key][part]
            alike += int(same.reshape(len(same), -1).all(axis=1).sum())
        yield equals(key, "frames as they are in the dataset", len(view), alike)
    for key in ("objectGuess", "probeGuess"):
        same = bool(np.array_equal(ours[key], theirs[key]))
        yield equals(key, "that of the dataset", True, same)


def photons(files: Files) -> float:
    """Count the photons in all frames."""
    view = files.dataset()
    total = 0.0
    for start in range(0, len(view), BLOCK_FRAMES):
        flat = view.diffraction[start : start + BLOCK_FRAMES].astype(np.float64).ravel()
        total += float(flat @ flat)
    return total * view.intensity_scale**2
