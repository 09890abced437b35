"""``fly64 checks``: every check with its state, evaluated anew when asked; reports that fail."""

from __future__ import annotations

import json
import re

import pytest

from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import product
from fly64_assets_tests.conftest import PRODUCTS, fly64
from fly64_assets_tests.faults import replace_as_if_made

AT = Condition(1000, "dense")
SELECTION = ("--dose", "1000", "--view", "dense")
N_CHECKS = sum(len(item.checks) for item in PRODUCTS)


def _written(context):
    """When each file of the store was written; a lock is none."""
    files = context.store.root.rglob("*.*")
    return {file: file.stat().st_mtime_ns for file in files if ".locks" not in file.parts}


def _checks(run, *more: str):
    return fly64("checks", "--study", run.study_file, *SELECTION, *more, results=run.results)


def _rows(done) -> dict[tuple[str, str], dict]:
    content = json.loads(done.stdout)
    assert sum(content["counts"].values()) == len(content["checks"])
    return {(row["asset"], row["check"]): row for row in content["checks"]}


@pytest.mark.long
def test_every_check_of_the_condition_is_shown_with_its_state(finished):
    done = _checks(finished)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"checks: passed {N_CHECKS}, warning 0, failed 0, not run 0" in done.stdout
    rows = _rows(_checks(finished, "--json"))
    assert set(rows) == {(item.name, name) for item in PRODUCTS for name in item.checks}
    for row in rows.values():
        assert row["status"] == "passed" and row["severity"] in ("ERROR", "WARN")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])
        assert row["reason"].endswith("rules hold")


def test_the_report_in_the_store_says_the_same(finished, monkeypatch):
    context = finished.context(monkeypatch)
    path = context.store.path(product("check_report"), AT, "check_report.json")
    report = json.loads(path.read_text("utf-8"))
    shown = _rows(_checks(finished, "--json"))
    written = {(row["asset"], row["check"]): row for row in report["checks"]}
    assert written == {key: row for key, row in shown.items() if key in written}
    scored = [item for item in PRODUCTS if item.stage == "score"]
    expected = {(i.name, name) for i in scored if i.per != "study" for name in i.checks}
    assert set(written) == expected


def test_nothing_made_is_exit_1_and_says_so(write_study, tmp_path):
    arguments = ("checks", "--study", write_study(), *SELECTION)
    done = fly64(*arguments, results=tmp_path / "none")
    assert done.returncode == 1
    assert f"not run {N_CHECKS}" in done.stdout


@pytest.mark.long
def test_rerun_evaluates_anew_and_makes_nothing(finished, tmp_path, monkeypatch):
    """One flipped bit after all checks had passed is one failure, before they are run again too."""
    copy = finished.copy_to(tmp_path / "results")
    context = copy.context(monkeypatch)
    item = product("test", "ptychi_reconstruction")
    path = context.store.path(item, AT, "ptychi_reconstruction.npz")
    earlier = _rows(_checks(copy, "--json"))
    assert {row["status"] for row in earlier.values()} == {"passed"}
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    noticed = _rows(_checks(copy, "--json"))
    before = _written(context)
    again = _checks(copy, "--rerun", "--json")
    assert again.returncode == 1
    rows = _rows(again)
    for key, row in rows.items():
        assert {**row, "time": ""} == {**noticed[key], "time": ""}
        if row["status"] == "passed":
            assert row["time"] > earlier[key]["time"]
        else:
            assert "ptychi_reconstruction.npz has sha256" in row["reason"]
    assert [key for key, row in rows.items() if row["status"] == "failed"] == [(item.name, "files")]
    assert _written(context) == before


@pytest.mark.long
def test_a_failed_report_does_not_take_the_scored_run_with_it(finished, tmp_path, monkeypatch):
    """A reconstruction that was reported by hand scores as well as any, but has no log."""
    copy = finished.copy_to(tmp_path / "results")
    context = copy.context(monkeypatch)
    replace_as_if_made(context, product("test", "ptychi_reconstruction"), AT)
    arguments = ("--study", copy.study_file, *SELECTION)
    done = fly64("run", *arguments, results=copy.results)
    assert done.returncode == 1
    assert "comparisons: total 2, executed 2, success 2, failed 0" in done.stdout
    assert "MS-SSIM Δ (PtychoPINN - Baseline)" in done.stdout
    assert "phase_logs" in done.stdout and "was reported by hand" in done.stdout
    folder = context.store.root / "analysis/dose_1000/dense"
    assert not (folder / "blocker.log").exists()
    assert "was reported by hand" in (folder / "report_blocker.log").read_text("utf-8")
    plan = fly64("plan", *arguments, results=copy.results).stdout
    assert re.findall(r"^  (\S+) +1000\|dense +stale", plan, re.M) == ["phase_logs", "hub_summary"]
