"""The state of every asset check of a condition, as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from dagster import AssetsDefinition, MetadataValue

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, build_phase_asset, write_json
from fly64_assets.pipeline.check_states import rows_of, tally
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import digest
from fly64_assets.pipeline.process import utc_now
from fly64_assets.study.products import Key, product

PRODUCT = product("check_report")


def make_check_report(run: PhaseRun) -> Mapping[Key, Outcome]:
    from fly64_assets.reports.condition.check_report import check_report_context
    from fly64_assets.reports.condition.rendering import render

    upstream = run.planner.inputs_of(PRODUCT, run.condition)
    rows = [row for item, at in upstream for row in rows_of(run.planner, item, at)]
    content = {
        "generated_at": utc_now(),
        "dose": run.settings["dose"],
        "view": run.settings["view"],
        "counts": tally(rows),
        "checks": [asdict(row) for row in rows],
    }
    write_json(run.staging / "check_report.json", content)
    text = render("check_report.md", check_report_context(content))
    (run.staging / "check_report.md").write_text(text, encoding="utf-8", newline="\n")
    timeless = [{**asdict(row), "time": "", "reason": ""} for row in rows]
    shown = {**content["counts"], "report": MetadataValue.md(text)}
    return {PRODUCT.key: Outcome(digest(timeless), shown)}


def build(context: StudyContext) -> list[AssetsDefinition]:
    description = (
        "Every asset check of the condition with its status, severity, time (UTC) and reason, "
        "passed or not; made again when a check changes its mind."
    )
    return [
        build_phase_asset(
            context,
            (PRODUCT,),
            make_check_report,
            descriptions={PRODUCT.key: description},
            kinds={"markdown"},
        )
    ]
