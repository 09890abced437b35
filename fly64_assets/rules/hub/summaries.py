"""Checks of the comparison manifest, the metrics summary and the deltas, against the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Broken, Finding, check, compare
from fly64_assets.rules.hub.datasets import data001_problems
from fly64_assets.rules.hub.models import bundle_file
from fly64_assets.rules.hub.reading import Hub, per_split
from fly64_assets.rules.hub.scores import metric_rows, score_table
from fly64_assets.rules.hub.views import counts
from fly64_assets.study.model import MODELS, SPLITS

MANIFEST_KEYS = (
    *("n_jobs", "filters", "jobs", "execution_results"),
    *("n_executed", "n_success", "n_failed"),
)
SUMMARY_KEYS = (
    *("n_jobs", "n_success", "n_failed", "jobs", "dataset_counts", "aggregate_metrics"),
    "phase_c_metadata_compliance",
)
DELTA_KEYS = (
    *("generated_at", "source_metrics", "source_metrics_sha256", "deltas", "deltas_by_split"),
    "intervals",
)


def _key_findings(path: str, found: Any, keys: tuple[str, ...]) -> Iterator[Finding]:
    there = list(found) if isinstance(found, dict) else []
    for key in keys:
        if key not in there:
            yield Finding(path, key, "is missing")
    for key in there:
        if key not in keys:
            yield Finding(path, key, "is no key of this file")


@check("manifest.keys", contract.MANIFEST, "it has the keys of the contract and no other")
def manifest_keys(hub: Hub) -> Iterator[Finding]:
    yield from _key_findings(contract.MANIFEST, hub.json(contract.MANIFEST), MANIFEST_KEYS)


@check(
    "manifest.order",
    contract.MANIFEST,
    "both splits are in it: dose ascending, dense before sparse, train before test",
)
def manifest_order(hub: Hub) -> Iterator[Finding]:
    wanted = [(hub.dose, hub.view, split) for split in SPLITS]
    found = hub.json(contract.MANIFEST)
    for key in ("jobs", "execution_results"):
        names = [(job.get("dose"), job.get("view"), job.get("split")) for job in found[key]]
        if names != wanted:
            yield Finding(contract.MANIFEST, key, f"are {names}, expected {wanted}")


@check("manifest.jobs", contract.MANIFEST, "each job names its files and says what was done")
def manifest_jobs(hub: Hub) -> Iterator[Finding]:
    for number, job in enumerate(hub.json(contract.MANIFEST)["jobs"]):
        expected = {
            "phase_c_npz": hub.dataset(job.get("split")),
            "pinn_checkpoint": bundle_file(hub, "PtychoPINN", "model.keras"),
            "baseline_checkpoint": bundle_file(hub, "Baseline", "model.keras"),
            "phase_f_manifest": contract.RECONSTRUCTION_MANIFEST,
            "skip_registration": False,
            "register_ptychi_only": False,
        }
        named = {key: job.get(key) for key in ("dose", "view", "split")}
        sigma = job.get("ms_ssim_sigma")
        key = f"jobs[{number}]"
        yield from compare(
            contract.MANIFEST, {**named, **expected, "ms_ssim_sigma": sigma}, job, key=key
        )
        if not isinstance(sigma, float) or not sigma >= 0:
            yield Finding(contract.MANIFEST, f"{key}.ms_ssim_sigma", f"is {sigma!r}")
    sigmas = {job.get("ms_ssim_sigma") for job in hub.json(contract.MANIFEST)["jobs"]}
    if len(sigmas) > 1:
        yield Finding(contract.MANIFEST, "ms_ssim_sigma", f"differs between the splits: {sigmas}")


@check(
    "manifest.invariant",
    contract.MANIFEST,
    "n_success + n_failed = n_executed, and all count what is listed",
)
def manifest_invariant(hub: Hub) -> Iterator[Finding]:
    found = hub.json(contract.MANIFEST)
    results = found["execution_results"]
    failed = sum(result.get("returncode") != 0 for result in results)
    expected = {
        "n_jobs": len(found["jobs"]),
        "n_executed": len(results),
        "n_success": len(results) - failed,
        "n_failed": failed,
    }
    for key, value in expected.items():
        yield from compare(contract.MANIFEST, value, found.get(key), key=key)


@check("manifest.no_failure", contract.MANIFEST, "every comparison ran and succeeded, with its log")
def manifest_no_failure(hub: Hub) -> Iterator[Finding]:
    for number, result in enumerate(hub.json(contract.MANIFEST)["execution_results"]):
        named = {key: result.get(key) for key in ("dose", "view", "split")}
        expected = {
            **named,
            "returncode": 0,
            "log_path": hub.comparison(result.get("split"), "comparison.log"),
        }
        yield from compare(contract.MANIFEST, expected, result, key=f"execution_results[{number}]")


@check("summary.keys", contract.SUMMARY, "it has the keys of the contract and no other")
def summary_keys(hub: Hub) -> Iterator[Finding]:
    yield from _key_findings(contract.SUMMARY, hub.json(contract.SUMMARY), SUMMARY_KEYS)


@check("summary.counts", contract.SUMMARY, "the manifest's counts stand in it, and nothing failed")
def summary_counts(hub: Hub) -> Iterator[Finding]:
    found, manifest = hub.json(contract.SUMMARY), hub.json(contract.MANIFEST)
    for key in ("n_jobs", "n_success", "n_failed"):
        yield from compare(contract.SUMMARY, manifest[key], found.get(key), key=key)
    if found.get("n_failed") != 0:
        yield Finding(contract.SUMMARY, "n_failed", "a summary is refused while any job failed")


def scores_of(hub: Hub, split: str) -> dict[str, dict[str, dict[str, float | None]]]:
    """model -> metric -> the columns that apply of a split's table, which must be complete."""
    by_model: dict[str, dict[str, dict[str, float | None]]] = {model: {} for model in arms(hub)}
    table = score_table(hub, split)
    for model in by_model:
        for metric in metric_rows(hub):
            if (model, metric) not in table:
                path = hub.comparison(split, "comparison_metrics.csv")
                raise Broken(path, f"{model} {metric}", "is missing")
            by_model[model][metric] = table[model, metric]
    return by_model


@check(
    "summary.scores", contract.SUMMARY, "its jobs hold the numbers of the tables, train before test"
)
def summary_scores(hub: Hub) -> Iterator[Finding]:
    expected = [
        {
            "dose": hub.dose,
            "view": hub.view,
            "split": split,
            "metrics_csv": hub.comparison(split, "comparison_metrics.csv"),
            "metrics": scores_of(hub, split),
        }
        for split in SPLITS
    ]
    yield from compare(contract.SUMMARY, expected, hub.json(contract.SUMMARY)["jobs"], key="jobs")


def aggregates(hub: Hub) -> dict[str, Any]:
    """Means over both splits of MS-SSIM and MAE, and the best of MS-SSIM, from the tables.

    None where one of them is blank.
    """
    tables = [scores_of(hub, split) for split in SPLITS]

    def of(model: str, metric: str) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for component in contract.COMPONENTS:
            values = [table[model][metric][component] for table in tables]
            known = [value for value in values if value is not None]
            whole = len(known) == len(values)
            found[f"mean_{component}"] = sum(known) / len(known) if whole else None
            if metric == "ms_ssim":
                found[f"best_{component}"] = max(known) if whole else None
        return found

    return {m: {metric: of(m, metric) for metric in ("ms_ssim", "mae")} for m in arms(hub)}


@check(
    "summary.aggregates", contract.SUMMARY, "means and bests are those of the tables, to the double"
)
def summary_aggregates(hub: Hub) -> Iterator[Finding]:
    found = hub.json(contract.SUMMARY)["aggregate_metrics"]
    yield from compare(contract.SUMMARY, aggregates(hub), found, key="aggregate_metrics")


@check(
    "summary.dataset_counts",
    contract.SUMMARY,
    "numbers of images and centres are those of the arrays",
)
def dataset_counts(hub: Hub) -> Iterator[Finding]:
    names = ("n_images_total", "n_images_kept", "n_centres")
    expected = per_split(lambda split: {name: counts(hub, split)[name] for name in names})
    found = hub.json(contract.SUMMARY)["dataset_counts"]
    yield from compare(contract.SUMMARY, expected, found, key="dataset_counts")


@check(
    "summary.compliance",
    contract.SUMMARY,
    "compliance is that of the datasets: metadata, canonical, no error",
)
def compliance(hub: Hub) -> Iterator[Finding]:
    def judged(split: str) -> dict[str, Any]:
        path = hub.dataset(split)
        records = hub.metadata(path).get("transformations")
        first = records[0].get("tool") if isinstance(records, list) and records else None
        canonical = first in ("simulate", "import")
        readable = not any(finding.key == "file" for finding in data001_problems(hub, path))
        return {
            "npz_path": path,
            "has_metadata": True,
            "has_canonical_transform": canonical,
            "compliant": canonical and readable,
        }

    expected = {f"dose_{hub.dose}": per_split(judged)}
    found = hub.json(contract.SUMMARY)["phase_c_metadata_compliance"]
    yield from compare(contract.SUMMARY, expected, found, key="phase_c_metadata_compliance")


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def deltas_from(value: Callable[[str, str, str], float | None]) -> dict[str, Any]:
    """PtychoPINN minus each other model; ``value(model, metric, component)``."""
    subject, *others = MODELS
    return {
        f"vs_{other}": {
            metric: {
                component: _difference(
                    value(subject, metric, component), value(other, metric, component)
                )
                for component in contract.COMPONENTS
            }
            for metric in ("ms_ssim", "mae")
        }
        for other in others
    }


def mean_deltas(hub: Hub) -> dict[str, Any]:
    means = aggregates(hub)
    return deltas_from(lambda model, metric, name: means[model][metric][f"mean_{name}"])


def split_deltas(hub: Hub, split: str) -> dict[str, Any]:
    table = scores_of(hub, split)
    return deltas_from(lambda model, metric, name: table[model][metric][name])


@check("deltas.keys", contract.DELTAS, "it has the keys of the contract and no other")
def delta_keys(hub: Hub) -> Iterator[Finding]:
    yield from _key_findings(contract.DELTAS, hub.json(contract.DELTAS), DELTA_KEYS)


@check(
    "deltas.source", contract.DELTAS, "its source is this hub's metrics summary: name and sha256"
)
def delta_source(hub: Hub) -> Iterator[Finding]:
    found = hub.json(contract.DELTAS)
    expected = {
        "source_metrics": contract.SUMMARY,
        "source_metrics_sha256": hub.sha256(contract.SUMMARY),
    }
    for key, value in expected.items():
        yield from compare(contract.DELTAS, value, found.get(key), key=key)


@check(
    "deltas.recomputed",
    contract.DELTAS,
    "deltas are PtychoPINN minus the other of the tables' means, to the double",
)
def deltas_recomputed(hub: Hub) -> Iterator[Finding]:
    found = hub.json(contract.DELTAS)["deltas"]
    yield from compare(contract.DELTAS, mean_deltas(hub), found, key="deltas")


@check("deltas.by_split", contract.DELTAS, "deltas by split are differences of that split's table")
def deltas_by_split(hub: Hub) -> Iterator[Finding]:
    expected = per_split(lambda split: split_deltas(hub, split))
    found = hub.json(contract.DELTAS)["deltas_by_split"]
    yield from compare(contract.DELTAS, expected, found, key="deltas_by_split")
