"""One definition of a product's state: after one number was edited, every surface says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fly64_assets.cli import main
from fly64_assets.errors import NotTrusted
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import product
from fly64_assets_tests.conftest import FinishedRun

AT = Condition(1000, "dense")
ITEM, FILE = product("test", "comparison"), "comparison_metrics.csv"
CHECK_REPORT, PAGE = product("check_report"), product("study_report")
SELECTION = ("--dose", "1000", "--view", "dense")


@pytest.fixture
def copied(finished, tmp_path, monkeypatch) -> tuple[FinishedRun, StudyContext]:
    copy = finished.copy_to(tmp_path / "results")
    return copy, copy.context(monkeypatch)


def _edit_one_number(path: Path) -> bytes:
    """The bytes as they were."""
    written = path.read_bytes()
    path.write_bytes(written.replace(b"0.", b"1.", 1))
    return written


def _told(copy: FinishedRun, hub: Path, command: str, *more: str) -> tuple[int, str]:
    place = ("--to", str(hub)) if command == "export" else ()
    arguments = [command, "--study", str(copy.study_file), *place, *more]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    return done.exit_code, done.output


COMMANDS = {
    "status": SELECTION,
    "plan": SELECTION,
    "checks": SELECTION,
    "report": (),
    "export": SELECTION,
}
"""Command -> what it is asked about; `plan` fails nothing, whatever it finds."""


def test_one_edited_number_is_the_same_line_everywhere_until_it_is_put_back(copied, tmp_path):
    copy, context = copied
    path = context.store.path(ITEM, AT, FILE)
    page = context.store.path(PAGE, Condition(), PAGE.files[0])
    whole, written = page.read_bytes(), _edit_one_number(path)
    with study_instance(context.study, context.study_file) as instance:
        planner = context.planner(instance)
        verdict = planner.verdict(ITEM, AT)
        assert verdict.state is State.ALTERED
        line = verdict.reason
        for command, more in COMMANDS.items():
            code, output = _told(copy, tmp_path / "hub", command, *more)
            assert line in output.replace("\n", ""), command
            assert code == (command != "plan"), command
        with pytest.raises(NotTrusted) as refused:  # the loader of every consumer
            planner.trusted(ITEM, AT)
        assert line in str(refused.value)
        standing = planner.standing(AT)  # in the study report
        assert standing["state"] == "altered" and line in standing["reason"]
        assert planner.gathered(PAGE) == {}
        verdicts = {v.product: v for v in planner.survey([AT]) if v.state is not State.FRESH}
        assert CHECK_REPORT in verdicts, "it shows green marks"
        assert all(line in v.reason for v in verdicts.values())
        assert planner.verdict(product("train", "comparison"), AT).state is State.FRESH
        rows = json.loads(_told(copy, tmp_path, "checks", "--json", *SELECTION)[1])["checks"]
        of_item = [row for row in rows if row["asset"] == ITEM.name]
        assert [row["status"] for row in of_item] == ["failed"] + ["not run"] * (len(of_item) - 1)
        assert sum(row["status"] == "failed" for row in rows) == 1, "one cause"
        assert not [row for row in rows if line not in row["reason"] and row["status"] != "passed"]
    text = page.read_text("utf-8")
    assert text.startswith(whole.decode()) and "This report does not hold any more" in text
    assert line in text
    path.write_bytes(written)
    for command, more in COMMANDS.items():
        code, output = _told(copy, tmp_path / "hub", command, *more)
        assert code == 0 and line not in output.replace("\n", ""), (command, output)
    assert page.read_bytes() == whole, "and so does the page again"
