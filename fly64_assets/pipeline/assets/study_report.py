"""The study report: one HTML file that holds a whole study, finished or not."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from dagster import AssetsDefinition

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, build_phase_asset
from fly64_assets.pipeline.check_states import rows_of
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner, digest
from fly64_assets.pipeline.records import Record
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import PRODUCTS, Key, Product, product

if TYPE_CHECKING:
    from fly64_assets.reports.study.inputs import CheckLine, ConditionData, Made, Split
    from fly64_assets.reports.study.plots import FrcCurve

PRODUCT = product("study_report")
FILE = "study_report.html"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scored_products(study: Mapping[str, Any]) -> list[Product]:
    """What leads to a condition's scores in a study, in the catalogue's order."""
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


def _curve(path: Path) -> FrcCurve:
    from fly64_assets.reports.study.plots import FrcCurve

    rows = _rows(path)
    columns = ("frequency_nyquist", "phase", "amplitude")
    return FrcCurve(*([float(row[name] or "nan") for row in rows] for name in columns))


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
        {arm: _curve(path) for arm, path in curves.items() if path.is_file()},
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


def make_study_report(run: PhaseRun) -> Mapping[Key, Outcome]:
    from fly64_assets.reports.study.content import PLOTS, report_content
    from fly64_assets.reports.study.page import render_page

    study, standings = dict(run.settings["study"]), run.settings["conditions"]
    sha256 = digest(study)
    # A page that travels names no folder of this machine; the hash is of the study as it is.
    study["specimen"] = Path(study["specimen"]).name
    rows = _rows(run.input("study_metrics").path("study_metrics.csv"))
    answer = run.input("dose_response")
    needed = _rows(answer.path("dose_for_quality.csv"))
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
    (run.staging / FILE).write_text(page, encoding="utf-8", newline="\n")
    states = {key: standing["state"] for key, standing in standings.items()}
    finished = sum(bool(condition.splits) for condition in conditions)
    run.log(f"{finished} of {len(conditions)} conditions are finished")
    shown = {"conditions": len(conditions), "finished": finished, "characters": len(page)}
    return {PRODUCT.key: Outcome(digest([study, rows, needed, states]), shown)}


def build(context: StudyContext) -> list[AssetsDefinition]:
    description = (
        "One self-contained HTML file about the whole study: the matrix, the answer, every "
        "condition's pictures (phase in rad, amplitude), scores with intervals, costs, checks, "
        "times and provenance; conditions that are missing, stale or failed with the reason."
    )
    return [
        build_phase_asset(
            context,
            (PRODUCT,),
            make_study_report,
            descriptions={PRODUCT.key: description},
            kinds={"html", "matplotlib"},
        )
    ]
