"""Checks of metrics and delta summary: every number follows from the CSVs, by another route.

The CSVs are parsed and averaged here with the standard library, not with the code that wrote the
summaries.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.store.common_checks import equals, flattened, json_file
from fly64_assets.rules.store.dataset_checks import dataset_file, read
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.model import MODELS, SPLITS

SUBJECT, *OTHERS = MODELS
TOLERANCE = 1e-9
"""Of recomputed numbers: far below the CSV's six decimals, above the order of a sum."""
Scores = dict[str, dict[str, dict[str, float | None]]]
RECORDED = ("registration_", "computation_time_s")
"""How the metrics begin that stand in the column ``value``."""


def _table(path: Path) -> Scores:
    """model -> metric -> column -> number, None where it is blank, of the columns that apply."""
    scores: Scores = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            recorded = row["metric"].startswith(RECORDED)
            columns = ("value",) if recorded else ("amplitude", "phase")
            numbers = {name: float(row[name]) if row[name] else None for name in columns}
            scores.setdefault(row["model"], {})[row["metric"]] = numbers
    return scores


def _tables(run: CheckRun) -> dict[str, Scores]:
    return {
        split: _table(run.other(split, "comparison").path("comparison_metrics.csv"))
        for split in SPLITS
    }


def _compare(
    where: str, expected: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[RuleOutcome]:
    """One row for what agrees, one for each number that does not."""
    wanted, actual = flattened(expected), flattened(found)
    wrong = [
        name
        for name in sorted({*wanted, *actual})
        if not _same(wanted.get(name, "nothing"), actual.get(name, "nothing"))
    ]
    told = f"{len(wanted)} values" if not wrong else f"{len(wrong)} differ"
    yield RuleOutcome(where, "as recomputed", f"{len(wanted)} values", told, not wrong)
    for name in wrong:
        pair = wanted.get(name, "nothing"), actual.get(name, "nothing")
        yield RuleOutcome(f"{where}.{name}", "as recomputed", *pair, False)


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return math.isclose(one, other, abs_tol=TOLERANCE) if numbers else one == other


def _recomputed_summary(run: CheckRun) -> Iterable[RuleOutcome]:
    summary, tables = json_file(run.path("metrics_summary.json")), _tables(run)
    manifest = json_file(run.other("comparison_manifest").path("comparison_manifest.json"))
    for name in ("n_jobs", "n_success", "n_failed"):
        yield equals(name, "as in the manifest", manifest[name], summary[name])
    named = [(job["dose"], job["view"], job["split"]) for job in summary["jobs"]]
    here = [(run.condition.dose, run.condition.view, split) for split in SPLITS]
    yield equals("jobs", "train before test, of this condition", here, named)
    for job in summary["jobs"]:
        yield from _compare(f"{job['split']} metrics", tables[job["split"]], job["metrics"])
    aggregates: dict[str, Any] = {}
    for model in run.study.arms:
        aggregates[model] = {"ms_ssim": {}, "mae": {}}
        for metric, column in _headline():
            values = [tables[split][model][metric][column] for split in SPLITS]
            aggregates[model][metric][f"mean_{column}"] = _mean(values)
            if metric == "ms_ssim":
                best = None if None in values else max(values)
                aggregates[model][metric][f"best_{column}"] = best
    yield from _compare("aggregate_metrics", aggregates, summary["aggregate_metrics"])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _headline() -> Iterator[tuple[str, str]]:
    for metric in ("ms_ssim", "mae"):
        for column in ("amplitude", "phase"):
            yield metric, column


def _summary_counts(run: CheckRun) -> Iterable[RuleOutcome]:
    summary = json_file(run.path("metrics_summary.json"))
    stated = summary["phase_c_metadata_compliance"]
    yield equals("compliance", "of this dose", [f"dose_{run.condition.dose}"], list(stated))
    for split in SPLITS:
        view, dataset = run.other(split, "overlap_view"), run.other(split, "dataset")
        whole, kept = read(dataset), read(view)
        counted = {
            "n_images_total": len(whole),
            "n_images_kept": len(kept),
            "n_centres": len(kept.extra["centre_index"]),
        }
        yield from _compare(f"{split} counts", counted, summary["dataset_counts"][split])
        canonical = whole.metadata["transformations"][0]["tool"] in ("simulate", "import")
        folder = dataset.product.folder_of(dataset.condition)
        compliance = {
            "npz_path": f"{folder}/{dataset_file(dataset)}",
            "has_metadata": True,
            "has_canonical_transform": canonical,
            "compliant": canonical,
        }
        found = next(iter(stated.values()))[split]
        yield from _compare(f"{split} compliance", compliance, found)


def _recomputed_deltas(run: CheckRun) -> Iterable[RuleOutcome]:
    stored, tables = json_file(run.path("metrics_delta_summary.json")), _tables(run)
    yield from _compare("deltas", _deltas(tables, SPLITS), stored["deltas"])
    by_split = {split: _deltas(tables, (split,)) for split in SPLITS}
    yield from _compare("deltas_by_split", by_split, stored["deltas_by_split"])


def _deltas(tables: Mapping[str, Scores], splits: Iterable[str]) -> dict[str, Any]:
    """PtychoPINN minus each other, of the means over some splits."""
    splits = list(splits)
    deltas: dict[str, Any] = {f"vs_{other}": {"ms_ssim": {}, "mae": {}} for other in OTHERS}
    for other in OTHERS:
        for metric, column in _headline():
            mine, its = (
                _mean([tables[split][model][metric][column] for split in splits])
                for model in (SUBJECT, other)
            )
            delta = None if mine is None or its is None else mine - its
            deltas[f"vs_{other}"][metric][column] = delta
    return deltas


def _source_hash(run: CheckRun) -> Iterable[RuleOutcome]:
    stored = json_file(run.path("metrics_delta_summary.json"))
    source = "analysis/metrics_summary.json"
    yield equals(
        "source_metrics", "the summary's place in the hub", source, stored["source_metrics"]
    )
    found = sha256_of(run.other("metrics_summary").path("metrics_summary.json"))
    yield equals(
        "source_metrics_sha256",
        "of the summary there is now",
        found,
        stored["source_metrics_sha256"],
    )


SUMMARY_CHECKS = (
    Check(
        "recomputed",
        _recomputed_summary,
        "Scores and aggregates follow from the CSVs of both splits.",
    ),
    Check("counts", _summary_counts, "Image counts and compliance follow from the datasets."),
)
DELTA_CHECKS = (
    Check("recomputed", _recomputed_deltas, "Every delta follows from the CSVs of both splits."),
    Check(
        "source_hash", _source_hash, "The deltas come from the metrics summary that is there now."
    ),
)
