"""``metrics_delta_summary.json``: PtychoPINN minus each other published arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES, OTHERS, SUBJECT
from fly64_assets.study import hub_layout as layout
from fly64_assets.study.model import BOTH, SPLITS

if TYPE_CHECKING:
    from fly64_assets.ptychography.scoring.statistics import Statistic


def _difference(subject: float | None, other: float | None) -> float | None:
    return None if subject is None or other is None else subject - other


def _deltas(value_of: Callable[[str, str, str], float | None]) -> dict[str, Any]:
    return {
        f"vs_{other}": {
            metric: {
                column: _difference(
                    value_of(SUBJECT, metric, column), value_of(other, metric, column)
                )
                for column in COLUMNS
            }
            for metric in HEADLINES
        }
        for other in OTHERS
    }


def intervals(
    statistics: Mapping[str, Iterable[Statistic]], *, confidence: float
) -> dict[str, Any]:
    """Return the intervals of the deltas of the means and of each split."""
    found: dict[str, Any] = {}
    for split, rows in statistics.items():
        others: dict[str, Any] = {f"vs_{other}": {m: {} for m in HEADLINES} for other in OTHERS}
        for row in rows:
            if row.reference in OTHERS and row.metric in HEADLINES:
                others[f"vs_{row.reference}"][row.metric][row.component] = {
                    "mean": row.mean,
                    "low": row.low,
                    "high": row.high,
                    "settled": row.settled,
                    "covers": row.covers,
                }
        found[split] = others
    return {
        "confidence": confidence,
        "source": layout.STATISTICS,
        "of_means": found[BOTH],
        "by_split": {split: found[split] for split in SPLITS},
    }


def metrics_delta_summary(
    summary: Mapping[str, Any],
    *,
    summary_sha256: str,
    generated_at: str,
    intervals: Mapping[str, Any],
) -> dict[str, Any]:
    """Deltas of the means over the splits, and of each split by itself.

    Args:
        summary: the condition's metrics summary; a delta of a score that is not defined is None.
        summary_sha256: of the file that ``summary`` was read from.
        generated_at: UTC, ``YYYY-MM-DDTHH:MM:SSZ``.
        intervals: see `intervals`.
    """
    aggregates = summary["aggregate_metrics"]
    by_split = {job["split"]: job["metrics"] for job in summary["jobs"]}

    def mean(model: str, metric: str, column: str) -> float | None:
        found: float | None = aggregates.get(model, {}).get(metric, {}).get(f"mean_{column}")
        return found

    def of_split(split: str) -> Callable[[str, str, str], float | None]:
        scores = by_split.get(split, {})
        return lambda model, metric, column: scores.get(model, {}).get(metric, {}).get(column)

    return {
        "generated_at": generated_at,
        "source_metrics": layout.METRICS_SUMMARY,
        "source_metrics_sha256": summary_sha256,
        "deltas": _deltas(mean),
        "deltas_by_split": {split: _deltas(of_split(split)) for split in SPLITS},
        "intervals": dict(intervals),
    }
