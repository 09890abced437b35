"""What the reports of a finished condition share: the files they read, and how these are named.

Which report shows what is in ``reports.py`` and ``digest.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.ptychography.scoring.names import COLUMNS, SUBJECT
from fly64_assets.study.conditions import Condition

if TYPE_CHECKING:
    from fly64_assets.reports.condition.interval_table import Statistics

Context = dict[str, Any]
MS_SSIM_SANITY = 0.80
"""A mean MS-SSIM below this is called LOW: the model did not reconstruct the object."""
HEADLINE_SPLIT, HEADLINE = "test", "phase"
SHORT = {"amplitude": "amp", "phase": "phase"}


@dataclass(frozen=True)
class Sources:
    """The contents of the files that every number comes from.

    Attributes:
        manifest: comparison_manifest.json.
        summary: metrics_summary.json.
        deltas: metrics_delta_summary.json.
        statistics: comparison_statistics.csv.
        views: split -> {split}_metrics.json of phase D.
    """

    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    deltas: Mapping[str, Any]
    statistics: Statistics
    views: Mapping[str, Mapping[str, Any]]

    @property
    def condition(self) -> Condition:
        filters = self.manifest["filters"]
        return Condition(filters["dose"], filters["view"])

    @property
    def models(self) -> tuple[str, ...]:
        """The arms that were compared, the published first."""
        return tuple(self.summary["aggregate_metrics"])

    def aggregate(self, model: str, metric: str, name: str) -> float | None:
        """``name`` is ``mean_phase``, ``best_amplitude``, ...; None where it is missing."""
        return self.summary["aggregate_metrics"].get(model, {}).get(metric, {}).get(name)

    def score(self, split: str, model: str, metric: str, column: str) -> float | None:
        """One number of a split's table; None where it is missing."""
        for job in self.summary["jobs"]:
            if job["split"] == split:
                return job["metrics"].get(model, {}).get(metric, {}).get(column)
        return None

    def delta(self, split: str | None, other: str, metric: str, component: str) -> float | None:
        """PtychoPINN minus another model, on one split or (None) of the means."""
        table = self.deltas["deltas"] if split is None else self.deltas["deltas_by_split"][split]
        return table[f"vs_{other}"][metric][component]

    def interval(
        self, split: str | None, other: str, metric: str, component: str
    ) -> Mapping[str, Any] | None:
        """Of that delta; None where there is none."""
        intervals = self.deltas["intervals"]
        table = intervals["of_means"] if split is None else intervals["by_split"][split]
        return table[f"vs_{other}"][metric].get(component)


def shown_scores(sources: Sources, model: str, metric: str, names: Iterable[str]) -> list[str]:
    """Return a model's aggregates of a metric as text; names as in `Sources.aggregate`."""
    return [
        numbers.score(sources.aggregate(model, metric, name), "aggregate", metric) for name in names
    ]


def sanity_status(sources: Sources, model: str) -> str:
    """OK, LOW with what is low, or MISSING: the mean MS-SSIM against `MS_SSIM_SANITY`.

    A component in which the truth has no contrast is left out.
    """
    found = {c: sources.aggregate(model, "ms_ssim", f"mean_{c}") for c in COLUMNS}
    means = {c: value for c, value in found.items() if value is not None}
    if not means:
        return "MISSING"
    metric = METRICS["ms_ssim"]
    low = [SHORT[c] for c, value in means.items() if metric.is_better(MS_SSIM_SANITY, value)]
    return f"LOW ({','.join(low)})" if low else "OK"


def title_of(metric: str) -> str:
    return METRICS[metric].title


def with_unit(metric: str, component: str) -> str:
    """``phase (rad)``; the bare component where the metric has no unit."""
    unit = METRICS[metric].units[component]
    return component if unit == "1" else f"{component} ({unit})"


def direction_of(metric: str) -> str:
    """Which sign of a delta favours PtychoPINN, from the metric's own direction."""
    direction = METRICS[metric].direction
    sign = "positive" if direction == "higher" else "negative"
    return f"{direction} is better, a {sign} delta favours {SUBJECT}"
