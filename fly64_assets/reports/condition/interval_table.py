"""The intervals of scores and deltas as tables for people, for every report that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES
from fly64_assets.reports.condition.rendering import Table
from fly64_assets.study.model import BOTH, SPLITS

if TYPE_CHECKING:
    from fly64_assets.ptychography.scoring.statistics import Statistic

    Statistics = Mapping[str, Sequence[Statistic]]
    """Rows of ``comparison_statistics.csv`` by split; under `BOTH` those of the mean over them."""

MEAN = "mean of train and test"
HEADER = ("over", "minus", "metric", "mean", "low", "high", "sign settled", "covers")


def how_sure(delta_summary: Mapping[str, Any], statistics: Statistics) -> dict[str, Any]:
    """Return what the macro ``how_sure`` in ``_tables.j2`` shows."""
    return {
        "confidence": f"{100 * delta_summary['intervals']['confidence']:g} %",
        "scores": score_interval_table(statistics),
        "deltas": interval_table(delta_summary),
    }


def interval_table(delta_summary: Mapping[str, Any]) -> Table:
    """One row for each delta, of the means and of each split: mean, ends, whether it is settled."""
    intervals = delta_summary["intervals"]
    rows = [
        (
            over,
            other.removeprefix("vs_"),
            f"{numbers.LABELS[metric]} {component}",
            *(numbers.delta(found[end], metric) for end in ("mean", "low", "high")),
            numbers.yes_no(found["settled"]),
            found["covers"],
        )
        for over, others in {MEAN: intervals["of_means"], **intervals["by_split"]}.items()
        for other, metrics in others.items()
        for metric, components in metrics.items()
        for component, found in components.items()
    ]
    return Table(HEADER, rows, words=("minus", "metric", "sign settled", "covers"))


def score_interval_table(statistics: Statistics) -> Table:
    """One row for each arm, of the mean over the splits and of each: scores with their ends."""
    columns = [(metric, component) for metric in HEADLINES for component in COLUMNS]
    rows = []
    for split, over in ((BOTH, MEAN), *((split, split) for split in SPLITS)):
        for model, found in _scores_by_model(statistics[split]).items():
            cells = (
                numbers.score_within(row.mean, row.low, row.high, row.metric)
                for row in (found[column] for column in columns)
            )
            covers = next(found[key].covers for key in columns if found[key].mean is not None)
            rows.append((over, model, *cells, covers))
    header = ("over", "model", *(f"{numbers.LABELS[metric]} {name}" for metric, name in columns))
    return Table((*header, "covers"), rows, words=("model", "covers"))


def _scores_by_model(rows: Iterable[Statistic]) -> dict[str, dict[tuple[str, str], Statistic]]:
    by_model: dict[str, dict[tuple[str, str], Statistic]] = {}
    for row in rows:
        if not row.reference:
            by_model.setdefault(row.model, {})[row.metric, row.component] = row
    return by_model
