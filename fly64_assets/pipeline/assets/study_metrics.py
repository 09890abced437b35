"""The study's table: every score of every fresh condition with its interval, one a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS


def _rows(run: PhaseRun, condition: str) -> Iterator[dict[str, Any]]:
    from fly64_assets.ptychography.scoring.comparison import STRICT_SUFFIX
    from fly64_assets.ptychography.scoring.metrics import METRICS
    from fly64_assets.ptychography.scoring.statistics import read_statistics

    at = Condition.from_partition_key(condition)
    source = run.gathered_from(condition, "comparison_statistics")
    found = read_statistics(source.path("comparison_statistics.csv"))
    for split in SPLITS:
        view = run.gathered_from(condition, split, "overlap_view")
        measured = view.json(f"{split}_metrics.json")
        for row in found[split]:
            metric = METRICS[row.metric.removesuffix(STRICT_SUFFIX)]
            yield {
                "study": run.settings["study"],
                "dose": at.dose,
                "view": at.view,
                "split": split,
                "model": row.model,
                "reference": row.reference,
                "metric": row.metric,
                "component": row.component,
                "unit": metric.units[row.component],
                "better": metric.direction,
                "value": row.value,
                "mean": row.mean,
                "low": row.low,
                "high": row.high,
                "settled": row.settled,
                "covers": row.covers,
                "replicates": row.replicates,
                "n_images": measured["n_images_kept"],
                "reached_overlap": measured["reached_overlap"],
                "total_photons": measured["total_photons"],
                "photons_per_px2": measured["photons_per_px2"],
            }


@phase_asset(
    "study_metrics",
    "Tidy table (CSV and Parquet) of every score and difference of every condition that is "
    "fresh: value, mean, ends of the interval, what it covers, photons, overlap. Made again "
    "whenever a condition is.",
    "pandas",
    "csv",
)
def make_study_metrics(run: PhaseRun) -> Outcome:
    import pandas as pd

    conditions = list(run.settings["gathered"])
    rows = [row for condition in conditions for row in _rows(run, condition)]
    numbers = dict.fromkeys(("value", "mean", "low", "high"), "float64")
    table = pd.DataFrame(rows).astype({"settled": "boolean", **numbers})
    text = table.to_csv(index=False, lineterminator="\n")
    run.write_text("study_metrics.csv", text)
    table.to_parquet(run.staging / "study_metrics.parquet", engine="pyarrow", index=False)
    run.log(f"{len(table)} rows of {len(conditions)} conditions: {', '.join(conditions)}")
    shown = {"rows": len(table), "conditions": len(conditions)}
    return Outcome(digest(text), shown)
