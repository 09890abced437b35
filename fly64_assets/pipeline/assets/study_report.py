"""The study report: one HTML file that holds a whole study, finished or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fly64_assets.documents.files import read_columns, read_rows
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.check_states import rows_of
from fly64_assets.pipeline.freshness import Planner
from fly64_assets.pipeline.records import Record
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import PRODUCTS, Product, product

if TYPE_CHECKING:
    from fly64_assets.reports.study.inputs import CheckLine, ConditionData, Made, Split

FILE = "study_report.html"


def scored_products(study: Mapping[str, Any]) -> list[Product]:
    """Return what leads to a condition's scores in a study, in the catalogue's order."""
    arms = (None, *study["arms"])
    return [item for item in PRODUCTS if item.stage == "score" and item.arm in arms]


def _made(record: Record) -> Made:
    from fly64_assets.reports.study.inputs import BUDGET, Made

    made = record.provenance
    return Made(
        made.asset,
        made.partition or "study",
        made.generated_at,
        made.data_version,
        made.git_commit or "unknown",
        made.versions,
        [(file.path, file.sha256, file.bytes) for file in made.files.values()],
        {name: getattr(made, name) for name in BUDGET},
        {name: value for name, value in record.figures.items() if name not in BUDGET},
    )


def _checks(planner: Planner, record: Record) -> list[CheckLine]:
    from fly64_assets.reports.study.inputs import CheckLine

    return [
        CheckLine(row.asset, row.check, row.partition, row.blocking, row.status, row.reason)
        for row in rows_of(planner, record.product, record.condition)
    ]


def _split(run: PhaseRun, condition: str, split: str) -> Split:
    from fly64_assets.documents import formatting as numbers
    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.ptychography.scoring.comparison import read_csv
    from fly64_assets.reports.study.inputs import TRUTH, Split

    arms = run.settings["study"]["arms"]
    given = run.gathered_from(condition, split, "comparison")
    curves = {arm: given.path(f"{arm}_frc_curve.csv") for arm in arms}
    seconds = {
        row.model: numbers.score(row.value, "brief", row.metric)
        for row in read_csv(given.path("comparison_metrics.csv"))
        if row.metric == "computation_time_s"
    }
    return Split(
        read_npz(given.path("reconstructions_aligned.npz"), (TRUTH, *arms)),
        {arm: read_columns(path) for arm, path in curves.items() if path.is_file()},
        seconds,
    )


def _condition(run: PhaseRun, key: str, standing: Mapping[str, str]) -> ConditionData:
    from fly64_assets.reports.condition.costs import costs_of
    from fly64_assets.reports.study.inputs import FINISHED, ConditionData

    at, finished = Condition.from_partition_key(key), standing["state"] == FINISHED
    items = [item for item in scored_products(run.settings["study"]) if item.per != "study"]
    found = (run.planner.record(item, at.restricted_to(item.per)) for item in items)
    records = [record for record in found if record is not None]
    return ConditionData(
        at.dose or 0,
        at.view or "",
        standing["state"],
        standing["reason"],
        {split: _split(run, key, split) for split in SPLITS} if finished else {},
        [line for record in records for line in _checks(run.planner, record)],
        [_made(record) for record in records] if finished else [],
        costs_of(run.settings["study"]["arms"], partial(run.gathered_from, key))
        if finished
        else [],
    )


@phase_asset(
    "study_report",
    "One self-contained HTML file about the whole study: the matrix, the answer, every "
    "condition's pictures (phase in rad, amplitude), scores with intervals, costs, checks, "
    "times and provenance; conditions that are missing, stale or failed with the reason.",
    "html",
    "matplotlib",
)
def make_study_report(run: PhaseRun) -> Outcome:
    from fly64_assets.reports.study.content import PLOTS, report_content
    from fly64_assets.reports.study.page import render_page

    study, standings = dict(run.settings["study"]), run.settings["conditions"]
    sha256 = digest(study)
    # A page that travels names no folder of this machine; the hash is of the study as it is.
    study["specimen"] = Path(study["specimen"]).name
    rows = read_rows(run.input("study_metrics").path("study_metrics.csv"))
    answer = run.input("dose_response")
    needed = read_rows(answer.path("dose_for_quality.csv"))
    specimen = run.planner.record(product("specimen"), Condition())
    given = [specimen, *(one.record for one in run.inputs.values())]
    conditions = [_condition(run, key, standing) for key, standing in standings.items()]
    page = render_page(
        report_content(
            study,
            sha256,
            yaml.safe_dump(study, sort_keys=False, allow_unicode=True),
            conditions,
            rows,
            needed,
            {name: answer.path(f"{name}.svg").read_text("utf-8") for name in PLOTS},
            [_made(record) for record in given if record is not None],
        )
    )
    run.write_text(FILE, page)
    states = {key: standing["state"] for key, standing in standings.items()}
    finished = sum(bool(condition.splits) for condition in conditions)
    run.log(f"{finished} of {len(conditions)} conditions are finished")
    shown = {"conditions": len(conditions), "finished": finished, "characters": len(page)}
    return Outcome(digest([study, rows, needed, states]), shown)
