"""Logs of steps as text: whole, in order, UTC, without this machine's folders."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from dagster import DagsterInstance, job, op

from fly64_assets.pipeline.step_logs import RunLog
from fly64_assets.study.model import PROJECT_ROOT

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) .+|\| .*")


@op
def speak(context):
    context.log.info(f"reading {PROJECT_ROOT / 'study.yaml'}\nsecond line")
    sys.stderr.write(f"printed from {sys.prefix}\n")


@op
def be_silent():
    return


@job
def talk():
    speak()
    be_silent()


@pytest.fixture
def log(tmp_path):
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = talk.execute_in_process(instance=instance)
        yield RunLog(instance, run.run_id, {tmp_path: "<study>"})


def test_every_line_begins_with_a_utc_time_or_continues_one(log):
    for step in ("speak", "be_silent"):
        text = log.text(step)
        assert text.endswith("\n")
        assert all(LINE.fullmatch(line) for line in text.splitlines()), text


def test_messages_and_captured_output_are_there_once_and_in_order(log):
    text = log.text("speak")
    order = ['Started execution of step "speak"', "reading", "| second line", "Finished execution"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count("| printed from") == 1 and "| second line" in text
    # One process captures for all of its steps; a step of the platform has one of its own.
    assert " INFO reading" not in log.text("be_silent")


def test_folders_of_this_machine_are_named_by_what_they_are(log):
    text = log.text("speak")
    assert "reading <project>/study.yaml" in text
    assert "printed from <" in text
    assert str(PROJECT_ROOT) not in text and str(Path.home()) not in text


def test_a_step_that_never_ran_has_no_log(log):
    with pytest.raises(LookupError, match="has no log of a step nobody"):
        log.text("nobody")
