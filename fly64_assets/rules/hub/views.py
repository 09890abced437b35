"""Checks of phase D: what a view is, recomputed from coordinates, groups and diffraction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from fly64_assets.rules.hub import geometry
from fly64_assets.rules.hub.checks import Broken, Finding, check, close, compare
from fly64_assets.rules.hub.crate_graph import compare_inputs, compare_records, consumed_as_it_is
from fly64_assets.rules.hub.datasets import counts_in, data001_problems, physics, positions
from fly64_assets.rules.hub.reading import Hub, per_split
from fly64_assets.study.model import SPLITS

FOLDER = "data/phase_d/dose_{dose}/{view}"
METRICS = FOLDER + "/{{train,test}}_metrics.json"
PER_FRAME = (
    *("diffraction", "Y", "xcoords", "ycoords", "xcoords_start", "ycoords_start"),
    "scan_index",
)
RELATIVE = 1e-9
"""Of recomputed floats: sums in another order differ by far less, a digit that anybody reads by
more."""


def metrics_path(hub: Hub, split: str) -> str:
    return hub.overlap_view(split).removesuffix(".npz") + "_metrics.json"


def parameters(hub: Hub, split: str) -> dict[str, Any]:
    """What the overlap_view record of a view says it was made with."""
    path = hub.overlap_view(split)
    try:
        record = hub.metadata(path)["transformations"][-1]
        if record["tool"] != "overlap_view":
            raise Broken(path, "_metadata", f"ends with {record['tool']!r}, not with overlap_view")
        found = record["parameters"]
        return {"K": found["overlap"]["neighbor_count"], **found}
    except (KeyError, IndexError, TypeError) as error:
        raise Broken(path, "_metadata", f"lacks {error}") from None


def _indices(hub: Hub, split: str) -> Mapping[str, np.ndarray]:
    """``centre_index``, ``full_groups`` and ``training_groups`` of a view, each in range."""
    path = hub.overlap_view(split)
    names = ("centre_index", "full_groups", "training_groups")
    found = hub.arrays(path, *names)
    count = len(positions(hub, path))
    for name in names:
        if found[name].min(initial=0) < 0 or found[name].max(initial=0) >= count:
            raise Broken(path, name, f"points beyond the {count} images")
    if found["full_groups"].ndim != 2 or found["training_groups"].ndim != 2:
        raise Broken(path, "full_groups", "is no table of groups")
    return found


def _rows_in_scan(hub: Hub, split: str) -> np.ndarray:
    """Row of each of the view's images in phase C's file."""
    whole = hub.arrays(hub.dataset(split), "scan_index")["scan_index"]
    own = hub.arrays(hub.overlap_view(split), "scan_index")["scan_index"]
    order = np.argsort(whole, kind="stable")
    place = np.minimum(np.searchsorted(whole[order], own), len(whole) - 1)
    rows = order[place]
    if (whole[rows] != own).any():
        raise Broken(hub.overlap_view(split), "scan_index", "names positions that phase C has not")
    return rows


@check("phase_d.data001", FOLDER, "both views keep every rule of DATA-001 and hold Y")
def data001(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        yield from data001_problems(hub, hub.overlap_view(split))


@check("phase_d.subset", FOLDER, "a view's images are phase C's, bit by bit, each once")
def subset(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        paths = [hub.dataset(split), hub.overlap_view(split)]
        yield from hub.once("subset", paths, lambda split=split: list(_subset(hub, split)))


def _subset(hub: Hub, split: str) -> Iterator[Finding]:
    whole, own = hub.dataset(split), hub.overlap_view(split)
    rows = _rows_in_scan(hub, split)
    if len(np.unique(rows)) != len(rows):
        yield Finding(own, "scan_index", "names an image twice")
    for key in PER_FRAME:
        theirs, ours = hub.mapped(whole, key), hub.mapped(own, key)
        wanted = (len(rows), *theirs.shape[1:])
        if ours.shape != wanted or len(theirs) <= rows.max():
            yield Finding(own, key, f"is {ours.shape}, phase C's is {theirs.shape}")
            continue
        for start in range(0, len(rows), 256):
            part = slice(start, start + 256)
            if not np.array_equal(theirs[rows[part]], ours[part]):
                yield Finding(own, key, f"differs from phase C in frames {start} to {start + 255}")
                break
    for key in ("objectGuess", "probeGuess"):
        if not np.array_equal(hub.mapped(whole, key), hub.mapped(own, key)):
            yield Finding(own, key, "is not that of phase C")


@check("phase_d.provenance", FOLDER, "a view's metadata are phase C's, with one record more")
def provenance(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        before, after = hub.metadata(hub.dataset(split)), hub.metadata(hub.overlap_view(split))
        path, asset = hub.overlap_view(split), f"{split}/overlap_view"
        label = f"{split}/dataset/patched_{split}.npz"
        exactly = consumed_as_it_is(hub, asset, label)
        for key in ("schema_version", "physics", "specimen", *(["creation"] if exactly else [])):
            yield from compare(path, before.get(key), after.get(key), key=f"_metadata {key}")
        *earlier, last = after["transformations"]
        key = "_metadata transformations"
        yield from compare_records(path, key, before["transformations"], earlier, exactly=exactly)
        paths = {label: hub.dataset(split)}
        yield from compare_inputs(hub, asset, path, f"{key}[-1].inputs", last["inputs"], paths)
        found = parameters(hub, split).get("split")
        yield from compare(path, split, found, key=f"{key}[-1].parameters.split")


@check("phase_d.same_settings", FOLDER, "train and test were selected with the same settings")
def same_settings(hub: Hub) -> Iterator[Finding]:
    train, test = (
        {key: value for key, value in parameters(hub, split).items() if key != "split"}
        for split in SPLITS
    )
    yield from compare(
        hub.overlap_view("test"), train, test, key="_metadata transformations[-1].parameters"
    )
    seeds = parameters(hub, "train").get("seeds", {})
    if seeds.get("simulation") != physics(hub, hub.dataset("train"))["seed"]:
        yield Finding(
            hub.overlap_view("train"), "_metadata seeds.simulation", "is not that of phase C"
        )


@check("phase_d.full_groups", FOLDER, "a full group is a centre and its K nearest in the full scan")
def full_groups(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, stated = hub.overlap_view(split), parameters(hub, split)
        found, own = _indices(hub, split), positions(hub, path)
        groups, centres = found["full_groups"], found["centre_index"]
        scan = own if stated["view"].get("image_fraction") else positions(hub, hub.dataset(split))
        if groups.shape != (len(centres), stated["K"] + 1):
            yield Finding(
                path,
                "full_groups",
                f"is {groups.shape}, expected {(len(centres), stated['K'] + 1)}",
            )
            continue
        if (groups[:, 0] != centres).any() or len(np.unique(centres)) != len(centres):
            yield Finding(path, "centre_index", "is not the first of each group, each once")
        if (np.diff(np.sort(groups, axis=1), axis=1) == 0).any():
            yield Finding(path, "full_groups", "a group names an image twice")
        nearest = cKDTree(scan).query(own[groups[:, 0]], k=groups.shape[1])[0]
        distance = np.linalg.norm(own[groups] - own[groups[:, :1]], axis=2)
        wrong = np.abs(np.sort(distance, axis=1) - nearest).max(axis=1) > 1e-9
        if wrong.any():
            group = int(np.flatnonzero(wrong)[0])
            yield Finding(path, "full_groups", f"group {group} is not the nearest of its centre")
        if len(np.unique(groups)) != len(own):
            yield Finding(path, "diffraction", "the images are not the union of the full groups")


@check(
    "phase_d.training_groups", FOLDER, "a training group is C distinct members of one full group"
)
def training_groups(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, stated = hub.overlap_view(split), parameters(hub, split)
        found = _indices(hub, split)
        groups, size = found["training_groups"], int(stated["gridsize"]) ** 2
        if size == 1:
            if sorted(groups.ravel().tolist()) != list(range(len(positions(hub, path)))):
                yield Finding(path, "training_groups", "gridsize 1: not every image once")
            continue
        whole = [set(group) for group in found["full_groups"].tolist()]
        holders: dict[int, set[int]] = {}
        for number, members in enumerate(whole):
            for member in members:
                holders.setdefault(member, set()).add(number)
        expected = stated["overlap"]["n_groups"] if stated["K"] > size else len(whole)
        if groups.shape != (expected, size):
            yield Finding(
                path, "training_groups", f"is {groups.shape}, expected {(expected, size)}"
            )
        possible = [
            set.intersection(*(holders.get(member, set()) for member in group))
            for group in groups.tolist()
        ]
        for number, group in enumerate(groups.tolist()):
            if len(set(group)) != len(group) or not possible[number]:
                reason = f"group {number} is no part of one full group"
                yield Finding(path, "training_groups", reason)
                break
        if stated["K"] > size:
            yield from _spread(path, possible, len(whole))


def _spread(path: str, possible: list[set[int]], n_centres: int) -> Iterator[Finding]:
    """An even spread gives every centre the same number of groups, or one more.

    Args:
        path: of the view.
        possible: per training group the centres that it may have been drawn for.
        n_centres: number of full groups.
    """
    least = len(possible) // n_centres
    may = Counter(centre for centres in possible for centre in centres)
    must = Counter(next(iter(centres)) for centres in possible if len(centres) == 1)
    for centre in range(n_centres):
        if may[centre] < least or must[centre] > least + 1:
            yield Finding(
                path,
                "training_groups",
                f"are not spread evenly: centre {centre} has {must[centre]} to {may[centre]}, "
                f"{len(possible)} groups over {n_centres} centres",
            )
            return


@check(
    "phase_d.target_reached",
    FOLDER,
    "the overlap of nearest centres is the view's within the study's 0.02",
)
def target_reached(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        stated = hub.json(metrics_path(hub, split))
        target = stated.get("target_overlap")
        if target is None:
            continue
        path = hub.overlap_view(split)
        centres = positions(hub, path)[_indices(hub, split)["centre_index"]]
        reached = geometry.nearest_overlap(centres, _diameter(hub, split))
        tolerance = parameters(hub, split)["overlap"]["overlap_tolerance"]
        if not abs(reached - target) <= tolerance:
            yield Finding(path, "centre_index", f"overlap {reached:.4f}, the view's is {target}")


def view_files(hub: Hub, split: str) -> dict[str, str]:
    """Label -> path of the files of a view, as what is made from it records them."""
    path = hub.overlap_view(split)
    return {
        f"{split}/overlap_view/{split}.npz": path,
        f"{split}/overlap_view/{split}_metrics.json": metrics_path(hub, split),
    }


def compare_lineage(
    hub: Hub, split: str, asset: str, file: str, records: Any, tool: str, paths: dict[str, str]
) -> Iterator[Finding]:
    """Findings where what was made from a view does not carry its provenance and one record more.

    Args:
        hub: the hub.
        split: of the view.
        asset: that ``file`` is of, as the crate names it.
        file: where the transformations stand.
        records: the transformations.
        tool: of the last one.
        paths: what else was consumed, label -> path.
    """
    key = "transformations"
    if not isinstance(records, list) or not records or not isinstance(records[-1], dict):
        yield Finding(file, key, "are missing")
        return
    *earlier, last = records
    exactly = consumed_as_it_is(hub, asset, f"{split}/overlap_view/{split}.npz")
    before = hub.metadata(hub.overlap_view(split))["transformations"]
    yield from compare_records(file, key, before, earlier, exactly=exactly)
    yield from compare(file, tool, last.get("tool"), key=f"{key}[-1].tool")
    inputs = {**view_files(hub, split), **paths}
    yield from compare_inputs(hub, asset, file, f"{key}[-1].inputs", last.get("inputs"), inputs)


def _diameter(hub: Hub, split: str) -> float:
    return float(physics(hub, hub.dataset(split))["probe_diameter_px"])


@check("phase_d.diameter", METRICS, "D is given, or that of the disc with its part of the power")
def diameter(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        stated = parameters(hub, split)["overlap"]
        wanted = stated["probe_diameter_px"]
        text = "given in the study file"
        if wanted == "auto":
            fraction = stated["probe_power_fraction"]
            wanted = _measured_diameter(hub, hub.dataset(split), fraction)
            text = (
                "diameter of the disc, centred on the probe's centre of mass, that holds "
                f"{fraction:g} of the probe's power"
            )
        metrics = hub.json(metrics_path(hub, split))
        for path, key, value in (
            (hub.dataset(split), "_metadata probe_diameter_px", _diameter(hub, split)),
            (metrics_path(hub, split), "probe_diameter_px", metrics.get("probe_diameter_px")),
        ):
            if not close(wanted, value, RELATIVE):
                yield Finding(path, key, f"is {value!r}, the probe's is {wanted!r}")
        if metrics.get("probe_diameter_definition") != text:
            yield Finding(metrics_path(hub, split), "probe_diameter_definition", f"is not {text!r}")


def _measured_diameter(hub: Hub, path: str, fraction: float) -> float:
    def measure() -> float:
        probe = hub.arrays(path, "probeGuess")["probeGuess"]
        if not np.abs(probe).sum() > 0:
            raise Broken(path, "probeGuess", "has no power")
        return geometry.probe_diameter(probe, fraction)

    return hub.once("diameter", [path], measure, fraction)


def overlap_numbers(hub: Hub, split: str) -> dict[str, float | None]:
    """Overlaps and spacings of a view, recomputed from its coordinates and groups."""

    def measure() -> dict[str, Any]:
        path = hub.overlap_view(split)
        found, own, width = _indices(hub, split), positions(hub, path), _diameter(hub, split)
        groups, centres = own[found["full_groups"]], own[found["centre_index"]]
        gaps = geometry.spacings(centres)
        stated = parameters(hub, split)
        return {
            "reached_overlap": geometry.nearest_overlap(centres, width),
            "centre_spacing_px": {"min": float(gaps.min()), "mean": float(gaps.mean())},
            "metric_1_group_based_avg": (
                geometry.metric_1(groups, width) if stated["gridsize"] == 2 else None
            ),
            "metric_2_image_based_avg": geometry.metric_2(own, stated["K"], width),
            "metric_3_group_to_group_avg": geometry.metric_3(groups, width),
        }

    return hub.once("overlap", [hub.overlap_view(split)], measure)


@check(
    "phase_d.overlap_recomputed",
    METRICS,
    "overlaps, metrics 1 to 3 and spacings are those of the coordinates",
)
def overlap_recomputed(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = metrics_path(hub, split)
        stated = hub.json(path)
        for key, value in overlap_numbers(hub, split).items():
            yield from compare(path, value, stated.get(key), relative=RELATIVE, key=key)
        spacing = stated.get("thinning_spacing_px")
        smallest = stated.get("centre_spacing_px", {}).get("min", 0)
        if spacing is not None and not (
            isinstance(spacing, float) and 0 <= spacing <= smallest and spacing > 0.5 * smallest
        ):
            yield Finding(
                path, "thinning_spacing_px", f"is {spacing!r}, centres are {smallest!r} apart"
            )


def counts(hub: Hub, split: str) -> dict[str, int]:
    """Numbers of images, centres and groups, from the arrays."""
    path = hub.overlap_view(split)
    found, own = _indices(hub, split), positions(hub, path)
    return {
        "n_images_total": len(positions(hub, hub.dataset(split))),
        "n_images_kept": len(own),
        "n_unique_images": len(np.unique(own, axis=0)),
        "n_centres": len(found["centre_index"]),
        "n_groups_effective": len(found["training_groups"]),
    }


@check("phase_d.counts", METRICS, "numbers of images, centres and groups are those of the arrays")
def counts_match(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = metrics_path(hub, split)
        stated = hub.json(path)
        for key, value in counts(hub, split).items():
            yield from compare(path, value, stated.get(key), key=key)


@check(
    "phase_d.photons", METRICS, "total photons and photons per px^2 are those of the diffraction"
)
def photons(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = metrics_path(hub, split)
        stated = hub.json(path)
        total = counts_in(hub, hub.overlap_view(split))
        extent = np.ptp(positions(hub, hub.dataset(split)), axis=0)
        expected = {"total_photons": total, "photons_per_px2": total / float(extent[0] * extent[1])}
        for key, value in expected.items():
            yield from compare(path, value, stated.get(key), relative=RELATIVE, key=key)


@check("phase_d.settings", METRICS, "the settings recorded are those that the view was made with")
def settings(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, stated = metrics_path(hub, split), parameters(hub, split)
        metrics, choice = hub.json(path), stated["view"]
        expected = {
            "metrics_version": 1,
            "gridsize": stated["gridsize"],
            "neighbor_count": stated["K"],
            "target_overlap": choice.get("target_overlap"),
            "image_fraction": choice.get("image_fraction"),
            "n_groups": stated["overlap"]["n_groups"],
            "n_groups_ignored": stated["gridsize"] == 1,
            "seeds": {key: stated["seeds"][key] for key in ("grouping", "subsampling")},
        }
        for key, value in expected.items():
            yield from compare(path, value, metrics.get(key), key=key)
        if stated["K"] < stated["gridsize"] ** 2 and stated["gridsize"] > 1:
            yield Finding(path, "neighbor_count", "is smaller than C (OVERSAMPLING-001)")


@check("phase_d.metrics_bundle", FOLDER + "/metrics_bundle.json", "it holds both splits' metrics")
def metrics_bundle(hub: Hub) -> Iterator[Finding]:
    path = FOLDER.format(dose=hub.dose, view=hub.view) + "/metrics_bundle.json"
    metrics = per_split(lambda split: hub.json(metrics_path(hub, split)))
    expected = {
        "metrics_version": metrics["train"].get("metrics_version"),
        "dose": hub.dose,
        "view": hub.view,
        **metrics,
    }
    yield from compare(path, expected, hub.json(path))
