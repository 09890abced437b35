"""Manifests of phases C to F of a condition: datasets, views, training, reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fly64_assets.study import hub_layout as layout
from fly64_assets.study.arms import Iterative
from fly64_assets.study.model import SPLITS

BACKEND = "tensorflow"


@dataclass(frozen=True)
class TrainedBundle:
    """A network as its manifest entry names it; paths relative to the hub.

    Attributes:
        stated: the content of ``bundle.json``.
        history: path of ``history.csv``.
    """

    stated: Mapping[str, Any]
    bundle_path: str
    bundle_sha256: str
    bundle_size_bytes: int
    history: str


def run_manifest(dose: int) -> dict[str, Any]:
    """``data/phase_c/run_manifest.json``: where the dose's two datasets lie."""
    paths = {split: layout.phase_c_npz(dose, split) for split in SPLITS}
    return {f"dose_{dose}": {"dose": dose, **paths}}


def metrics_bundle(dose: int, view: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """``metrics_bundle.json``: the overlap metrics of both splits in one file."""
    versions = {metrics[split]["metrics_version"] for split in SPLITS}
    if len(versions) != 1:
        raise ValueError(f"the splits' overlap metrics are of versions {sorted(versions)}")
    return {
        "metrics_version": versions.pop(),
        "dose": dose,
        "view": view,
        **{split: dict(metrics[split]) for split in SPLITS},
    }


def training_manifest(dose: int, view: str, bundles: Mapping[str, TrainedBundle]) -> dict[str, Any]:
    """``data/phase_e/training_manifest.json``: what was trained, and the bundles that came of it.

    An infeasible view is refused before anything runs, so none is ever skipped.
    """
    jobs = [
        {
            "model": model,
            "dose": dose,
            "view": view,
            "gridsize": bundle.stated["gridsize"],
            "backend": BACKEND,
            "result": {
                "status": "success",
                "final_loss": bundle.stated["final_loss"],
                "epochs_completed": bundle.stated["epochs_completed"],
                "bundle_path": bundle.bundle_path,
                "bundle_sha256": bundle.bundle_sha256,
                "bundle_size_bytes": bundle.bundle_size_bytes,
                "history": bundle.history,
            },
        }
        for model, bundle in bundles.items()
    ]
    return {"jobs": jobs, "skipped_views": [], "skipped_count": 0}


def reconstruction_manifest(
    dose: int, view: str, algorithms: Mapping[Iterative, Mapping[str, str]]
) -> dict[str, Any]:
    """``data/phase_f/reconstruction_manifest.json``: the jobs of iterative solvers.

    A failed one has no hub.

    Args:
        algorithms: solver -> split -> name of the algorithm that its file states.
    """
    jobs = [
        {
            "dose": dose,
            "view": view,
            "split": split,
            "algorithm": algorithms[arm][split],
            "input": layout.phase_d_npz(dose, view, split),
            "output": layout.reconstruction(dose, view, *arm.key(split)),
        }
        for arm in algorithms
        for split in SPLITS
    ]
    results = [
        {
            "dose": dose,
            "view": view,
            "split": split,
            "returncode": 0,
            "log_path": layout.step_log(*arm.key(split)),
        }
        for arm in algorithms
        for split in SPLITS
    ]
    return {"total_jobs": len(jobs), "jobs": jobs, "execution_results": results}
