"""Checks of phases C to G in a hub: the rules of their products, and what only a hub has.

That are the manifests of phases C to F, written with the reports, and networks beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import iterative, networks
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.of_products import HubFiles, register, register_as
from fly64_assets.rules.hub.reading import Hub, per_split
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import log_file, product

SETTINGS = ("effective_settings", "provenance")
register(
    "c_datasets",
    *("data001", "mean_dose", "poisson_noise", "axis_order", "split_separation", *SETTINGS),
)
register("d_views", "data001", "feasibility", "counts", *SETTINGS)
register("e_models", "bundle", "loss", "trained_on", "counts", "trainings", *SETTINGS)
register("f_reconstructions", "reconstruction", "loss", *SETTINGS)
register_as(
    "scores",
    "analysis/dose_{dose}/{view}/{{train,test}}",
    [product(split, "comparison") for split in SPLITS],
    *("reconstructions", *SETTINGS),
)
for _group, _file, _name, _checks in (
    (
        "manifest",
        contract.MANIFEST,
        "comparison_manifest",
        ("completeness", "invariant", "input_identity", "counts", "scores"),
    ),
    ("statistics", contract.STATISTICS, "comparison_statistics", ("scores", "intervals")),
    ("summary", contract.SUMMARY, "metrics_summary", ("recomputed", "counts")),
    (
        "deltas",
        contract.DELTAS,
        "metrics_delta_summary",
        ("recomputed", "source_hash", "intervals"),
    ),
):
    register_as(_group, _file, [product(_name)], *_checks)
PHASE_D = "data/phase_d/dose_{dose}/{view}"
PHASE_E = "data/phase_e/dose_{dose}/{view}"


def files_of(hub: Hub, *key: str) -> HubFiles:
    """Return a product's files in a hub."""
    return HubFiles(hub, product(*key))


def view_metrics(hub: Hub, split: str) -> str:
    """Return the path of a view's metrics."""
    return files_of(hub, split, "overlap_view").place(f"{split}_metrics.json")


@check("phase_c.run_manifest", contract.RUN_MANIFEST, "it names the dose and its two datasets")
def run_manifest(hub: Hub) -> Iterator[Finding]:
    expected = {f"dose_{hub.dose}": {"dose": hub.dose, **per_split(hub.dataset)}}
    yield from compare(contract.RUN_MANIFEST, expected, hub.json(contract.RUN_MANIFEST))


@check("phase_d.metrics_bundle", f"{PHASE_D}/metrics_bundle.json", "it holds both splits' metrics")
def metrics_bundle(hub: Hub) -> Iterator[Finding]:
    path = f"{hub.named(PHASE_D)}/metrics_bundle.json"
    metrics = per_split(lambda split: hub.json(view_metrics(hub, split)))
    version = metrics["train"].get("metrics_version")
    expected = {"metrics_version": version, "dose": hub.dose, "view": hub.view, **metrics}
    yield from compare(path, expected, hub.json(path))


@check("phase_e.weights_differ", PHASE_E, "no two networks have the same weights")
def weights_differ(hub: Hub) -> Iterator[Finding]:
    from fly64_assets.rules.weights import weights_of

    first: dict[str, str] = {}
    for network in networks(hub):
        files = files_of(hub, *network.model_key)
        owner = first.setdefault(weights_of(files).sha256, network.name)
        if owner != network.name:
            path = files.place("model.keras")
            yield Finding(path, "model.weights.h5", f"holds {owner}'s weights")


@check(
    "phase_e.training_manifest",
    contract.TRAINING_MANIFEST,
    "a job per network with the bundle's numbers, size and hash, nothing skipped",
)
def training_manifest(hub: Hub) -> Iterator[Finding]:
    jobs = []
    for network in networks(hub):
        files = files_of(hub, *network.model_key)
        bundle, archive = files.json("bundle.json"), files.place("model.keras")
        jobs.append(
            {
                "model": network.name,
                "dose": hub.dose,
                "view": hub.view,
                "gridsize": bundle.get("gridsize"),
                "backend": "tensorflow",
                "result": {
                    "status": "success",
                    "final_loss": bundle.get("final_loss"),
                    "epochs_completed": bundle.get("epochs_completed"),
                    "bundle_path": archive,
                    "bundle_sha256": hub.sha256(archive),
                    "bundle_size_bytes": hub.files[archive].st_size,
                    "history": files.place("history.csv"),
                },
            }
        )
    expected = {"jobs": jobs, "skipped_views": [], "skipped_count": 0}
    yield from compare(contract.TRAINING_MANIFEST, expected, hub.json(contract.TRAINING_MANIFEST))


@check(
    "phase_f.manifest",
    contract.RECONSTRUCTION_MANIFEST,
    "both splits ran and succeeded, each with its log",
)
def reconstruction_manifest(hub: Hub) -> Iterator[Finding]:
    jobs, results = [], []
    for arm in iterative(hub):
        for split in SPLITS:
            files = files_of(hub, *arm.key(split))
            here = {"dose": hub.dose, "view": hub.view, "split": split}
            log = f"cli/{log_file(files.product)}"
            results.append({**here, "returncode": 0, "log_path": log})
            algorithm = str(files.arrays(arm.file, "algorithm")["algorithm"])
            source, solved = hub.overlap_view(split), files.place(arm.file)
            jobs.append({**here, "algorithm": algorithm, "input": source, "output": solved})
    expected = {"total_jobs": len(jobs), "jobs": jobs, "execution_results": results}
    found = hub.json(contract.RECONSTRUCTION_MANIFEST)
    yield from compare(contract.RECONSTRUCTION_MANIFEST, expected, found)
