"""Rules of phase D: a view is what was asked for, made of its dataset's frames, and says so."""

from __future__ import annotations

from collections.abc import Iterable

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check
from fly64_assets.rules.datasets import data001, near
from fly64_assets.rules.files import Files, equals, same_settings
from fly64_assets.rules.provenance import recorded_settings


def _feasibility(files: Files) -> Iterable[RuleOutcome]:
    from fly64_assets.rules import view_arrays

    view, rules = files.dataset(), files.study.overlap
    for key, what, least, found in (
        ("full_groups", "groups", rules.min_groups, len(view.extra["full_groups"])),
        ("diffraction", "images", rules.min_images, len(view)),
    ):
        yield RuleOutcome(key, f"enough {what}", f">= {least}", found, found >= least)
    yield from view_arrays.full_groups(files)
    yield from view_arrays.training_groups(files)
    yield from view_arrays.overlaps(files)


def _counts(files: Files) -> Iterable[RuleOutcome]:
    """Numbers of the metrics file against the arrays, and the arrays against the dataset's."""
    import numpy as np

    from fly64_assets.rules import view_arrays

    source = files.other(files.split, "dataset")
    view, whole, file = files.dataset(), source.dataset(), f"{files.split}_metrics.json"
    stated = files.json(file)
    counted = {
        "n_images_total": len(whole),
        "n_images_kept": len(view),
        "n_unique_images": len(np.unique(view.positions_px, axis=0)),
        "n_centres": len(view.extra["centre_index"]),
        "n_groups_effective": len(view.extra["training_groups"]),
    }
    for name, number in counted.items():
        yield equals(f"{file} {name}", "as counted in the arrays", number, stated[name])
    paths = {source.product.files[0]: source, files.product.files[0]: files}
    yield from files.once("frames", paths, lambda: list(view_arrays.frames(files, source)))
    photons = files.once(
        "photons", {files.product.files[0]: files}, lambda: view_arrays.photons(files)
    )
    extent = np.ptp(whole.positions_px, axis=0)
    rule = "as counted in the frames"
    yield near(f"{file} total_photons", rule, photons, stated["total_photons"])
    dense = photons / float(extent[0] * extent[1])
    yield near(f"{file} photons_per_px2", rule, dense, stated["photons_per_px2"])


def _effective_settings(files: Files) -> Iterable[RuleOutcome]:
    yield from recorded_settings(files)
    study, file = files.study, f"{files.split}_metrics.json"
    view, overlap = study.views[str(files.condition.view)], study.overlap
    definition = "given in the study file"
    if overlap.probe_diameter_px == "auto":
        definition = (
            "diameter of the disc, centred on the probe's centre of mass, that holds "
            f"{overlap.probe_power_fraction:g} of the probe's power"
        )
    expected = {
        "metrics_version": 1,
        "gridsize": study.gridsize,
        "neighbor_count": overlap.neighbor_count,
        "n_groups": overlap.n_groups,
        "n_groups_ignored": study.gridsize == 1,
        "target_overlap": view.target_overlap,
        "image_fraction": view.image_fraction,
        # Whose number is held against the probe where the dataset is checked.
        "probe_diameter_px": files.dataset().metadata["physics"]["probe_diameter_px"],
        "probe_diameter_definition": definition,
        "seeds": study.seeds.model_dump(include={"grouping", "subsampling"}),
    }
    yield from same_settings(file, expected, files.json(file))


CHECKS = (
    Check("data001", data001, "Every rule of DATA-001, and the true patches."),
    Check(
        "feasibility",
        _feasibility,
        "Enough groups and images, groups of nearest, and the target overlap reached, recomputed.",
    ),
    Check(
        "counts",
        _counts,
        "Images, groups and photons are those of the arrays, every frame is the dataset's.",
    ),
    Check(
        "effective_settings",
        _effective_settings,
        "Settings, K, gridsize and seeds as recorded are the study's.",
    ),
)
