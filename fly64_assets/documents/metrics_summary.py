"""``metrics_summary.json``: scores of both splits and their aggregates, parsed from the CSVs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fly64_assets.ptychography.scoring.comparison import RECORDED, ScoreRow
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES
from fly64_assets.study import hub_layout as layout
from fly64_assets.study.model import SPLITS

COUNTS = ("n_images_total", "n_images_kept", "n_centres")


def _scores(rows: Sequence[ScoreRow]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return model -> metric -> {amplitude, phase} or {value}; None for what is not defined."""
    scores: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in rows:
        scores.setdefault(row.model, {})[row.metric] = (
            {"value": row.value}
            if row.metric in RECORDED
            else {"amplitude": row.amplitude, "phase": row.phase}
        )
    return scores


def _aggregate(
    jobs: Sequence[Mapping[str, Any]], model: str, metric: str
) -> dict[str, float | None]:
    """Mean over the splits, and for a metric that is better higher also the best of them.

    None where one of them is not defined.
    """
    aggregate: dict[str, float | None] = {}
    for column in COLUMNS:
        values = [job["metrics"][model][metric][column] for job in jobs]
        defined = None not in values
        aggregate[f"mean_{column}"] = sum(values) / len(values) if defined else None
        if METRICS[metric].direction == "higher":
            aggregate[f"best_{column}"] = max(values) if defined else None
    return aggregate


def metrics_summary(
    manifest: Mapping[str, Any],
    tables: Mapping[str, Sequence[ScoreRow]],
    view_metrics: Mapping[str, Mapping[str, Any]],
    compliance: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the summary of one condition.

    Args:
        manifest: the condition's comparison manifest, without failures.
        tables: split -> rows of its comparison_metrics.csv, of the same models in one order.
        view_metrics: split -> its overlap metrics.
        compliance: split -> {npz_path, has_metadata, has_canonical_transform, compliant, error?}.

    Raises:
        ValueError: a job failed; a summary of failed jobs is never written.
    """
    if manifest["n_failed"]:
        raise ValueError(f"{manifest['n_failed']} of {manifest['n_jobs']} comparisons failed")
    dose, view = manifest["filters"]["dose"], manifest["filters"]["view"]
    jobs = [
        {
            "dose": dose,
            "view": view,
            "split": split,
            "metrics_csv": layout.comparison_file(dose, view, split, "comparison_metrics.csv"),
            "metrics": _scores(tables[split]),
        }
        for split in SPLITS
    ]
    return {
        "n_jobs": manifest["n_jobs"],
        "n_success": manifest["n_success"],
        "n_failed": manifest["n_failed"],
        "jobs": jobs,
        "dataset_counts": {
            split: {name: view_metrics[split][name] for name in COUNTS} for split in SPLITS
        },
        "aggregate_metrics": {
            model: {metric: _aggregate(jobs, model, metric) for metric in HEADLINES}
            for model in jobs[0]["metrics"]
        },
        "phase_c_metadata_compliance": {
            f"dose_{dose}": {split: dict(compliance[split]) for split in SPLITS}
        },
    }
