"""Edits of the check report, made alike in its JSON and on its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add
from fly64_assets_tests.rules.hub.mutants.reports import CHECKS, with_page

Rows = list[dict[str, Any]]


def _every(**changes: object) -> Callable[[Rows], None]:
    def edit(rows: Rows) -> None:
        for row in rows:
            row.update(changes)

    return edit


def _without(**marks: str) -> Callable[[Rows], None]:
    def edit(rows: Rows) -> None:
        rows[:] = [row for row in rows if any(row[key] != value for key, value in marks.items())]

    return edit


def _changed(asset: str, name: str, /, **changes: object) -> Callable[[Rows], None]:
    def edit(rows: Rows) -> None:
        next(r for r in rows if (r["asset"], r["check"]) == (asset, name)).update(changes)

    return edit


def _first_last(rows: Rows) -> None:
    rows.append(rows.pop(0))


def _added(rows: Rows) -> None:
    rows.append({**rows[0], "check": "all_is_well"})


def _other_outcome(asset: str, name: str) -> Callable[[Rows], None]:
    def edit(rows: Rows) -> None:
        row = next(r for r in rows if (r["asset"], r["check"]) == (asset, name))
        passed = row["status"] == "passed"
        row.update(
            status="warning" if passed else "passed",
            reason="PtyChi: 9 px" if passed else "4 rules hold",
        )

    return edit


for check, edits in {
    "check_report.rows": {
        "axis order was never looked at": _without(check="axis_order"),
        "nothing of the metrics summary": _without(asset="metrics_summary"),
        "nothing of the deltas": _without(asset="metrics_delta_summary"),
        "nothing blocks": _every(blocking=False),
        "a check that blocks only warns": _changed("train/dataset", "mean_dose", severity="WARN"),
        "all only warn": _every(severity="WARN"),
        "a renamed check": _changed("test/dataset", "axis_order", check="axes"),
        "another order": _first_last,
        "a check that there is not": _added,
        "a view's check of the dose": _changed("pinn_model", "bundle", partition="1000"),
    },
    "check_report.passed": {
        "a broken rule of severity ERROR for a warning": _changed(
            "train/comparison", "reconstructions", status="warning", reason="Baseline: constant"
        ),
    },
    "check_report.times": {
        "all of 1970": _every(time="1970-01-01T00:00:00Z"),
        "one before its asset was made": _changed(
            "metrics_summary", "recomputed", time="2020-01-01T00:00:00Z"
        ),
        "one after the report": _changed("pinn_model", "loss", time="2998-01-01T00:00:00Z"),
        "none": _changed("pinn_model", "loss", time=""),
    },
    "check_report.reasons": {
        "a check that held no rule": _changed("pinn_model", "loss", reason="0 rules hold"),
        "a broken rule that passed": _changed("pinn_model", "loss", reason="loss: nan"),
        "a registration that was another": _other_outcome("train/comparison", "registration"),
        "another contrast of a model": _other_outcome("test/comparison", "contrast"),
        "another contrast of a further training": _other_outcome(
            "comparison_statistics", "contrast"
        ),
    },
}.items():
    for what, edit in edits.items():
        add(check, what, lambda f, edit=edit: with_page(f, edit))
add("check_report.rows", "a key more", lambda f: f.json(CHECKS, lambda c: c.update(by="me")))


def _older(f: Forgery) -> None:
    f.json(CHECKS, lambda c: c.update(generated_at=c["checks"][0]["time"][:11] + "00:00:00Z"))


add("check_report.times", "the report is older than what it reports", _older)
