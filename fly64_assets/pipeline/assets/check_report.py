"""The state of every asset check of a condition, as a table for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from dagster import MetadataValue

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.check_states import rows_of, tally
from fly64_assets.pipeline.process import utc_now
from fly64_assets.study.hashing import digest


@phase_asset(
    "check_report",
    "Every asset check of the condition with its status, severity, time (UTC) and reason, "
    "passed or not; made again when a check changes its mind.",
    "markdown",
)
def make_check_report(run: PhaseRun) -> Outcome:
    from fly64_assets.reports.condition.check_report import check_report_context
    from fly64_assets.reports.condition.rendering import render

    upstream = run.planner.inputs_of(run.product, run.condition)
    rows = [row for item, at in upstream for row in rows_of(run.planner, item, at)]
    content = {
        "generated_at": utc_now(),
        "dose": run.settings["dose"],
        "view": run.settings["view"],
        "counts": tally(rows),
        "checks": [asdict(row) for row in rows],
    }
    run.write_json("check_report.json", content)
    text = render("check_report.md", check_report_context(content))
    run.write_text("check_report.md", text)
    timeless = [{**asdict(row), "time": "", "reason": ""} for row in rows]
    shown = {**content["counts"], "report": MetadataValue.md(text)}
    return Outcome(digest(timeless), shown)
