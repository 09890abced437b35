"""Checks of phases C and D: DATA-001, and that a view is what was asked for."""

from __future__ import annotations

from collections.abc import Iterable

from dagster import AssetChecksDefinition

from fly64_assets.catalogue import Product, product
from fly64_assets.checks.phase_check import CheckRun, Judge, build_check
from fly64_assets.context import StudyContext
from fly64_assets.ptychography.rules import RuleOutcome
from fly64_assets.study import SPLITS


def _data001(file: str) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        from fly64_assets.ptychography.data001 import check_data001

        return check_data001(run.path(file))

    return judge


def _feasibility(item: Product) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        import numpy as np
        from scipy.spatial import cKDTree

        from fly64_assets.ptychography.data001 import read_dataset
        from fly64_assets.ptychography.overlap import disc_overlap

        dataset = read_dataset(run.path(f"{item.split}.npz"))
        rules = run.study.overlap
        view = run.study.views[str(run.condition.view)]
        centres = np.asarray(dataset.extra["centre_index"])
        groups = np.asarray(dataset.extra["full_groups"])
        n_images = len(dataset.xcoords)
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
            n_images,
            n_images >= rules.min_images,
        )
        yield RuleOutcome(
            "full_groups",
            "a centre and its K nearest",
            f"{rules.neighbor_count + 1} distinct members",
            groups.shape[1],
            groups.shape[1] == rules.neighbor_count + 1
            and all(len(set(group)) == len(group) for group in groups.tolist()),
        )
        if view.target_overlap is not None:
            diameter = dataset.metadata["physics"]["probe_diameter_px"]
            px = dataset.positions_px[centres]
            nearest = cKDTree(px).query(px, k=2)[0][:, 1]
            reached = float(disc_overlap(nearest, diameter).mean())
            yield RuleOutcome(
                "centre_index",
                "mean disc overlap with the nearest other centre",
                f"{view.target_overlap} within {rules.overlap_tolerance}",
                round(reached, 4),
                abs(reached - view.target_overlap) <= rules.overlap_tolerance,
            )

    return judge


def build(context: StudyContext) -> list[AssetChecksDefinition]:
    checks = []
    for split in SPLITS:
        dataset, view = product(split, "dataset"), product(split, "overlap_view")
        checks += [
            build_check(
                context,
                item,
                "data001",
                _data001(file),
                description="Every rule of DATA-001: keys, dtypes, shapes, ranges, metadata.",
            )
            for item, file in ((dataset, f"patched_{split}.npz"), (view, f"{split}.npz"))
        ]
        checks.append(
            build_check(
                context,
                view,
                "feasibility",
                _feasibility(view),
                description="Enough groups and images, and the target overlap reached, recomputed.",
            )
        )
    return checks
