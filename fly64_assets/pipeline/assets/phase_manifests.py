"""What phases C to F delivered, as the hub's manifests say it. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fly64_assets.documents import phase_manifests
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.study.arms import ITERATIVE, NETWORKS, Iterative, Network
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS


def _model(run: PhaseRun, network: Network) -> phase_manifests.TrainedBundle:
    given = run.input(*network.model_key)
    return phase_manifests.TrainedBundle(
        stated=given.json("bundle.json"),
        bundle_path=given.relative("model.keras"),
        bundle_sha256=given.sha256("model.keras"),
        bundle_size_bytes=given.path("model.keras").stat().st_size,
        history=given.relative("history.csv"),
    )


def _algorithm(run: PhaseRun, arm: Iterative, split: str) -> str:
    from fly64_assets.ptychography.data001.npz import read_npz

    path = run.input(*arm.key(split)).path(arm.file)
    return str(read_npz(path, ["algorithm"])["algorithm"])


@phase_asset(
    "phase_manifests",
    "Manifests of phases C to F: which datasets, views, bundles (with sha256 and size) and "
    "iterative reconstructions the condition consists of, paths relative to its hub.",
    "json",
)
def make_manifests(run: PhaseRun) -> Outcome:
    dose, view = run.settings["dose"], run.settings["view"]
    solved = [arm for arm in ITERATIVE if "/".join(arm.key(SPLITS[0])) in run.inputs]
    metrics = {
        split: run.input(split, "overlap_view").json(f"{split}_metrics.json") for split in SPLITS
    }
    contents: dict[str, Mapping[str, Any]] = {
        "run_manifest.json": phase_manifests.run_manifest(dose),
        "metrics_bundle.json": phase_manifests.metrics_bundle(dose, view, metrics),
        "training_manifest.json": phase_manifests.training_manifest(
            dose,
            view,
            {
                network.name: _model(run, network)
                for network in NETWORKS
                if "/".join(network.model_key) in run.inputs
            },
        ),
        "reconstruction_manifest.json": phase_manifests.reconstruction_manifest(
            dose,
            view,
            {arm: {split: _algorithm(run, arm, split) for split in SPLITS} for arm in solved},
        ),
    }
    for name, content in contents.items():
        run.write_json(name, content)
    return Outcome(digest(contents), {"manifests": len(contents)})
