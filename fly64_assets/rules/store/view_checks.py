"""Checks of phase D: a view is what was asked for, made of its dataset's frames, and says so."""

from __future__ import annotations

from collections.abc import Iterable

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.store.common_checks import (
    equals,
    json_file,
    recorded_settings,
    same_settings,
)
from fly64_assets.rules.store.dataset_checks import data001, read

FRAMES_COMPARED = 32
OVERLAP_ROUNDING = 1e-9
PHOTON_TOLERANCE = 1e-9


def _feasibility(run: CheckRun) -> Iterable[RuleOutcome]:
    import numpy as np
    from scipy.spatial import cKDTree

    from fly64_assets.ptychography.discs import disc_overlap

    dataset, rules = read(run), run.study.overlap
    view = run.study.views[str(run.condition.view)]
    centres = np.asarray(dataset.extra["centre_index"])
    groups = np.asarray(dataset.extra["full_groups"])
    yield RuleOutcome(
        "full_groups",
        "enough groups",
        f">= {rules.min_groups}",
        len(groups),
        len(groups) >= rules.min_groups,
    )
    yield RuleOutcome(
        "diffraction",
        "enough images",
        f">= {rules.min_images}",
        len(dataset),
        len(dataset) >= rules.min_images,
    )
    yield RuleOutcome(
        "full_groups",
        "a centre and its K nearest",
        f"{rules.neighbor_count + 1} distinct members",
        groups.shape[1],
        groups.shape[1] == rules.neighbor_count + 1
        and all(len(set(group)) == len(group) for group in groups.tolist()),
    )
    px = dataset.positions_px[centres]
    nearest = cKDTree(px).query(px, k=2)[0][:, 1]
    reached = float(disc_overlap(nearest, dataset.metadata["physics"]["probe_diameter_px"]).mean())
    stated = json_file(run.path(f"{run.split}_metrics.json"))["reached_overlap"]
    yield RuleOutcome(
        "reached_overlap",
        "as recomputed from the coordinates",
        f"{reached:.6f}",
        f"{stated:.6f}",
        abs(reached - stated) <= OVERLAP_ROUNDING,
    )
    if view.target_overlap is not None:
        yield RuleOutcome(
            "centre_index",
            "mean disc overlap with the nearest other centre",
            f"{view.target_overlap} within {rules.overlap_tolerance}",
            round(reached, 4),
            abs(reached - view.target_overlap) <= rules.overlap_tolerance,
        )


def _counts(run: CheckRun) -> Iterable[RuleOutcome]:
    """Numbers of the metrics file against the arrays, and the arrays against the dataset's."""
    import numpy as np

    view, whole = read(run), read(run.other(run.split, "dataset"))
    stated = json_file(run.path(f"{run.split}_metrics.json"))
    groups = view.extra["training_groups"]
    counted = {
        "n_images_total": len(whole),
        "n_images_kept": len(view),
        "n_unique_images": len(np.unique(view.positions_px, axis=0)),
        "n_centres": len(view.extra["centre_index"]),
        "n_groups_effective": len(groups),
    }
    for name, number in counted.items():
        yield equals(name, "as counted in the arrays", number, stated[name])
    grouped = run.study.gridsize > 1 and run.study.overlap.neighbor_count > run.study.group_size
    if grouped:
        wanted = run.study.overlap.n_groups
        yield equals("training_groups", "n_groups of the study", wanted, len(groups))
    used = np.unique(view.extra["full_groups"])
    yield equals(
        "full_groups",
        "their union is the view",
        len(view),
        int(np.isin(np.arange(len(view)), used).sum()),
    )
    rows = np.searchsorted(whole.scan_index, view.scan_index)
    rows = np.minimum(rows, len(whole) - 1)
    known = whole.scan_index[rows] == view.scan_index
    placed = known & (whole.positions_px[rows] == view.positions_px).all(axis=1)
    yield equals(
        "scan_index", "frames of the dataset, at their positions", len(view), int(placed.sum())
    )
    sample = np.linspace(0, len(view) - 1, min(FRAMES_COMPARED, len(view))).astype(int)
    alike = sum(
        np.array_equal(view.diffraction[row], whole.diffraction[rows[row]]) for row in sample
    )
    yield equals("diffraction", "as in the dataset, evenly spread frames", len(sample), alike)
    squares = float(np.square(view.diffraction, dtype=np.float64).sum())
    photons = squares * view.intensity_scale**2
    yield RuleOutcome(
        "total_photons",
        "as counted in the frames",
        f"{photons:.1f}",
        f"{stated['total_photons']:.1f}",
        abs(stated["total_photons"] - photons) <= PHOTON_TOLERANCE * photons,
    )


def _effective_settings(run: CheckRun) -> Iterable[RuleOutcome]:
    yield from recorded_settings(run)
    study, stored = run.study, read(run)
    view = study.views[str(run.condition.view)]
    expected = {
        "view": view.model_dump(),
        "overlap": study.overlap.model_dump(),
        "gridsize": study.gridsize,
        "seeds": study.seeds.model_dump(),
        "split": run.split,
    }
    last = stored.metadata["transformations"][-1]
    yield from same_settings("overlap_view", expected, last["parameters"])
    stated = json_file(run.path(f"{run.split}_metrics.json"))
    seeds = study.seeds.model_dump(include={"grouping", "subsampling"})
    measured = {
        "gridsize": study.gridsize,
        "neighbor_count": study.overlap.neighbor_count,
        "n_groups": study.overlap.n_groups,
        "target_overlap": view.target_overlap,
        "image_fraction": view.image_fraction,
        "probe_diameter_px": stored.metadata["physics"]["probe_diameter_px"],
        "seeds": seeds,
    }
    yield from same_settings("metrics", measured, stated)
    members = stored.extra["training_groups"].shape[1]
    yield equals("training_groups", "C = gridsize^2 members", study.group_size, members)


CHECKS = (
    Check("data001", data001, "Every rule of DATA-001: keys, dtypes, shapes, ranges, metadata."),
    Check(
        "feasibility",
        _feasibility,
        "Enough groups and images, and the target overlap reached, recomputed.",
    ),
    Check(
        "counts",
        _counts,
        "Recorded numbers are those of the arrays; every frame is the dataset's.",
    ),
    Check(
        "effective_settings",
        _effective_settings,
        "K, gridsize, seeds and targets as recorded are the study's.",
    ),
)
