"""Rules of metrics and delta summary: every number follows from the tables, to the double."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES, OTHERS, SUBJECT
from fly64_assets.rules import statistics
from fly64_assets.rules.check import Check
from fly64_assets.rules.files import Files, equals, metadata
from fly64_assets.rules.score_tables import TABLE, Scores, dose_and_view, stated_scores
from fly64_assets.rules.values import agree
from fly64_assets.study import hub_layout as layout
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.model import BOTH, SPLITS

SUMMARY, DELTAS = "metrics_summary.json", "metrics_delta_summary.json"
COUNTED = ("dataset_counts", "phase_c_metadata_compliance")
"""Keys of the summary that do not come from the tables."""


def _tables(files: Files) -> dict[str, Scores]:
    return {split: stated_scores(files.other(split, "comparison")) for split in SPLITS}


def _means(tables: Iterable[Scores], model: str, metric: str) -> dict[str, float | None]:
    """Mean over both halves and, of what is better higher, the best; None where one is blank."""
    found: dict[str, float | None] = {}
    for component in COLUMNS:
        values = [table[model][metric][component] for table in tables]
        known = [value for value in values if value is not None]
        whole = len(known) == len(values)
        found[f"mean_{component}"] = sum(known) / len(known) if whole else None
        if metric == "ms_ssim":
            found[f"best_{component}"] = max(known) if whole else None
    return found


def _aggregates(files: Files) -> dict[str, dict[str, dict[str, float | None]]]:
    tables = list(_tables(files).values())
    return {
        model: {metric: _means(tables, model, metric) for metric in HEADLINES}
        for model in files.study.arms
    }


def _recomputed_summary(files: Files) -> Iterable[RuleOutcome]:
    manifest = files.other("comparison_manifest").json("comparison_manifest.json")
    tables, (dose, view) = _tables(files), dose_and_view(files)
    expected = {
        **{name: manifest[name] for name in ("n_jobs", "n_success", "n_failed")},
        "jobs": [
            {
                "dose": dose,
                "view": view,
                "split": split,
                "metrics_csv": layout.comparison_file(dose, view, split, TABLE),
                "metrics": tables[split],
            }
            for split in SPLITS
        ],
        "aggregate_metrics": _aggregates(files),
    }
    found = {name: value for name, value in files.json(SUMMARY).items() if name not in COUNTED}
    yield from agree(SUMMARY, "as manifest and tables give it", expected, found)
    yield equals(f"{SUMMARY} n_failed", "no job failed", 0, found.get("n_failed"))


def _summary_counts(files: Files) -> Iterable[RuleOutcome]:
    (dose, _), counts, compliance = dose_and_view(files), {}, {}
    for split in SPLITS:
        dataset, view = files.other(split, "dataset"), files.other(split, "overlap_view")
        whole, kept = dataset.product.files[0], view.product.files[0]
        counts[split] = {
            "n_images_total": len(dataset.arrays(whole, "scan_index")["scan_index"]),
            "n_images_kept": len(view.arrays(kept, "scan_index")["scan_index"]),
            "n_centres": len(view.arrays(kept, "centre_index")["centre_index"]),
        }
        canonical = metadata(dataset, whole)["transformations"][0]["tool"] in ("simulate", "import")
        compliance[split] = {
            "npz_path": layout.phase_c_npz(dose, split),
            "has_metadata": True,
            "has_canonical_transform": canonical,
            "compliant": canonical,
        }
    expected = dict(zip(COUNTED, (counts, {f"dose_{dose}": compliance}), strict=True))
    stated = files.json(SUMMARY)
    found = {name: stated[name] for name in COUNTED if name in stated}
    yield from agree(SUMMARY, "as the datasets give it", expected, found)


def _deltas(value_of: Callable[[str, str, str], float | None]) -> dict[str, Any]:
    """Return PtychoPINN minus each other; ``value_of(model, metric, component)``."""

    def delta(other: str, metric: str, component: str) -> float | None:
        mine, its = (value_of(model, metric, component) for model in (SUBJECT, other))
        return None if mine is None or its is None else mine - its

    return {
        f"vs_{other}": {
            metric: {component: delta(other, metric, component) for component in COLUMNS}
            for metric in HEADLINES
        }
        for other in OTHERS
    }


def _score(table: Scores, model: str, metric: str, component: str) -> float | None:
    return table[model][metric][component]


def _recomputed_deltas(files: Files) -> Iterable[RuleOutcome]:
    means = _aggregates(files)
    expected = {
        "deltas": _deltas(lambda model, metric, name: means[model][metric][f"mean_{name}"]),
        "deltas_by_split": {
            split: _deltas(partial(_score, table)) for split, table in _tables(files).items()
        },
    }
    stated = files.json(DELTAS)
    found = {name: stated[name] for name in expected if name in stated}
    yield from agree(DELTAS, "as the tables give it", expected, found)
    more = ("generated_at", "source_metrics", "source_metrics_sha256", "intervals")
    yield equals(DELTAS, "its keys", sorted([*expected, *more]), sorted(stated))


def _source_hash(files: Files) -> Iterable[RuleOutcome]:
    stored = files.json(DELTAS)
    source, found = layout.METRICS_SUMMARY, stored["source_metrics"]
    yield equals(f"{DELTAS} source_metrics", "the summary's place in the hub", source, found)
    yield equals(
        f"{DELTAS} source_metrics_sha256",
        "of the summary there is now",
        sha256_of(files.other("metrics_summary").path(SUMMARY)),
        stored["source_metrics_sha256"],
    )


def _delta_intervals(files: Files) -> Iterable[RuleOutcome]:
    """Ask of the delta file to quote the published differences of the headline metrics."""
    rows = statistics.rows_of(files.other("comparison_statistics"))

    def quoted(*where: str) -> dict[str, Any]:
        row = rows[where]
        return {
            **{name: float(row[name]) if row[name] else None for name in ("mean", "low", "high")},
            "settled": {"yes": True, "no": False}.get(row["settled"]),
            "covers": row["covers"],
        }

    def of(split: str) -> dict[str, Any]:
        return {
            f"vs_{other}": {
                metric: {name: quoted(split, SUBJECT, other, metric, name) for name in COLUMNS}
                for metric in HEADLINES
            }
            for other in OTHERS
        }

    expected = {
        "confidence": files.study.statistics.confidence,
        "source": layout.STATISTICS,
        "of_means": of(BOTH),
        "by_split": {split: of(split) for split in SPLITS},
    }
    found = files.json(DELTAS)["intervals"]
    yield from agree(f"{DELTAS} intervals", f"as in {statistics.FILE}", expected, found)


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
    Check(
        "intervals",
        _delta_intervals,
        "The intervals of the delta file are those of comparison_statistics.csv.",
    ),
)
