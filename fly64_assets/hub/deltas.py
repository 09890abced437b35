"""``metrics_delta_summary.json``: PtychoPINN minus each other arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fly64_assets.hub import layout
from fly64_assets.study import MODELS, SPLITS

SUBJECT, *OTHERS = MODELS
METRICS = ("ms_ssim", "mae")


def _difference(subject: float | None, other: float | None) -> float | None:
    return None if subject is None or other is None else subject - other


def _deltas(value_of: Callable[[str, str, str], float | None]) -> dict[str, Any]:
    return {
        f"vs_{other}": {
            metric: {
                column: _difference(
                    value_of(SUBJECT, metric, column), value_of(other, metric, column)
                )
                for column in ("amplitude", "phase")
            }
            for metric in METRICS
        }
        for other in OTHERS
    }


def metrics_delta_summary(
    summary: Mapping[str, Any], *, summary_sha256: str, generated_at: str
) -> dict[str, Any]:
    """Deltas of the means over the splits, and of each split by itself.

    Args:
        summary: the condition's metrics summary.
        summary_sha256: of the file that ``summary`` was read from.
        generated_at: UTC, ``YYYY-MM-DDTHH:MM:SSZ``.
    """
    aggregates = summary["aggregate_metrics"]
    by_split = {job["split"]: job["metrics"] for job in summary["jobs"]}

    def mean(model: str, metric: str, column: str) -> float | None:
        return aggregates.get(model, {}).get(metric, {}).get(f"mean_{column}")

    def of_split(split: str) -> Callable[[str, str, str], float | None]:
        scores = by_split.get(split, {})
        return lambda model, metric, column: scores.get(model, {}).get(metric, {}).get(column)

    return {
        "generated_at": generated_at,
        "source_metrics": layout.METRICS_SUMMARY,
        "source_metrics_sha256": summary_sha256,
        "deltas": _deltas(mean),
        "deltas_by_split": {split: _deltas(of_split(split)) for split in SPLITS},
    }
