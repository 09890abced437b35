"""Phase G, reports: what the condition's manifest, summary and deltas say, as texts for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster import AssetsDefinition, MetadataValue

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, build_phase_asset
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import digest
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import Key, product

REPORT = product("metrics_report")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def make_reports(run: PhaseRun) -> Mapping[Key, Outcome]:
    from fly64_assets.ptychography.scoring.statistics import read_statistics
    from fly64_assets.reports.condition import texts as reports

    manifest, summary, deltas = (
        _read(run.input(name).path(f"{name}.json"))
        for name in ("comparison_manifest", "metrics_summary", "metrics_delta_summary")
    )
    views = {
        split: _read(run.input(split, "overlap_view").path(f"{split}_metrics.json"))
        for split in SPLITS
    }
    statistics = read_statistics(
        run.input("comparison_statistics").path("comparison_statistics.csv")
    )
    sources = reports.Sources(manifest, summary, deltas, statistics, views)
    texts = _texts(sources)
    for name, text in texts.items():
        (run.staging / name).write_text(text, encoding="utf-8", newline="\n")
    timeless = _texts(replace(sources, summary=reports.without_times(summary)))
    shown: dict[str, Any] = {
        "digest": MetadataValue.md(texts["metrics_digest.md"]),
        **{name: manifest[name] for name in ("n_jobs", "n_executed", "n_success", "n_failed")},
    }
    return {REPORT.key: Outcome(digest(timeless), shown)}


def _texts(sources: Any) -> dict[str, str]:
    from fly64_assets.reports.condition.rendering import render
    from fly64_assets.reports.condition.texts import contexts

    return {name: render(name, context) for name, context in contexts(sources).items()}


def build(context: StudyContext) -> list[AssetsDefinition]:
    return [
        build_phase_asset(
            context,
            (REPORT,),
            make_reports,
            descriptions={
                REPORT.key: "Scores, deltas, counts and photons of the condition as Markdown and "
                "text; every number is one of the condition's files, each table says which "
                "direction is better, and none names a better model that is not settled."
            },
            kinds={"markdown"},
        )
    ]
