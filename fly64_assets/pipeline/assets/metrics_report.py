"""Phase G, reports: what the condition's manifest, summary and deltas say, as texts for people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dagster import MetadataValue

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS


@phase_asset(
    "metrics_report",
    "Scores, deltas, counts and photons of the condition as Markdown and text; every number "
    "is one of the condition's files, each table says which direction is better, and none "
    "names a better model that is not settled.",
    "markdown",
)
def make_reports(run: PhaseRun) -> Outcome:
    from fly64_assets.ptychography.scoring.statistics import read_statistics
    from fly64_assets.reports.condition import texts as reports

    manifest, summary, deltas = (
        run.input(name).json(f"{name}.json")
        for name in ("comparison_manifest", "metrics_summary", "metrics_delta_summary")
    )
    views = {
        split: run.input(split, "overlap_view").json(f"{split}_metrics.json") for split in SPLITS
    }
    statistics = read_statistics(
        run.input("comparison_statistics").path("comparison_statistics.csv")
    )
    sources = reports.Sources(manifest, summary, deltas, statistics, views)
    texts = _texts(sources)
    for name, text in texts.items():
        run.write_text(name, text)
    timeless = _texts(replace(sources, summary=reports.without_times(summary)))
    shown: dict[str, Any] = {
        "digest": MetadataValue.md(texts["metrics_digest.md"]),
        **{name: manifest[name] for name in ("n_jobs", "n_executed", "n_success", "n_failed")},
    }
    return Outcome(digest(timeless), shown)


def _texts(sources: Any) -> dict[str, str]:
    from fly64_assets.reports.condition.rendering import render
    from fly64_assets.reports.condition.texts import contexts

    return {name: render(name, context) for name, context in contexts(sources).items()}
