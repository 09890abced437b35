"""The night: what to start next so that the study becomes complete, and what to leave and why.

Every question is the planner's, asked anew: a night is not a list made in the evening. It starts
what lacks nothing upstream, and is asked again whenever a run has ended, until nothing more can be
made. Each failed partition stays failed until the next night; its siblings go on, and what is
downstream of it is left and named. Runs are started by the schedule and the sensor
(``automation.py``), never here.

Run as a program it prints its decision as JSON: the definitions that the daemon holds may be older
than the study file and the code on disk, and a fresh process is not.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunsFilter,
    deserialize_value,
    serialize_value,
)

from fly64_assets.errors import InputError
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.targets import (
    JOBS,
    NIGHT_TAG,
    Cell,
    RunRequest,
    affairs,
    cells_of,
    next_request,
    unfinished_runs,
)
from fly64_assets.runs.events import failures_of, was_killed
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import load_study
from fly64_assets.study.products import LEVELS, STUDY_LEVEL, product

PROGRAM_TIMEOUT_S = 300


@dataclass(frozen=True)
class Start:
    """A run to be started: ``key`` is the same as long as the cell stands as it does."""

    key: str
    request: RunRequest

    def to_json(self) -> dict[str, Any]:
        request = self.request
        return {
            "key": self.key,
            "job": JOBS[request.level],
            "partition": request.condition.partition_key,
            "make": [item.name for item in request.make],
            "check": [item.name for item in request.check],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Start:
        level = next(level for level, name in JOBS.items() if name == content["job"])
        make, check = (
            tuple(product(*name.split("/")) for name in content[kind]) for kind in ("make", "check")
        )
        condition = Condition.from_partition_key(content["partition"])
        return cls(content["key"], RunRequest(level, condition, make, check))


@dataclass(frozen=True)
class Decision:
    """What to start now, and of everything else that is not fresh, why it is not started."""

    starts: list[Start] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "; ".join(self.left) or "all fresh"


def decide(context: StudyContext, instance: DagsterInstance, night: str) -> Decision:
    """Return what this night can start now, in the order of the levels.

    Args:
        context: the study.
        instance: its instance.
        night: when the night began, as its runs are tagged.
    """
    planner = context.planner(instance)
    tonight = instance.get_runs(RunsFilter(tags={NIGHT_TAG: night}))
    busy = [(run, cell) for run, cells in unfinished_runs(instance) for cell in cells]
    tries = context.study.automation.tries
    decision = Decision()
    settled: dict[Cell, RunRequest | None] = {}

    def consider(cell: Cell, request: RunRequest) -> None:
        before = [run for run in tonight if cell in cells_of(run)]
        why_not = _occupied(cell, busy) or _had_its_chance(instance, cell, before, tries)
        if why_not:
            decision.left.append(why_not)
        else:
            key = f"{night} {cell} {affairs(planner, cell)[:16]} {len(before)}"
            decision.starts.append(Start(key, request))

    for condition in _conditions(context):
        waits_for: Cell | None = None
        for level in LEVELS:
            cell = Cell.of(level, condition)
            if waits_for is not None:
                decision.left.append(f"{cell} waits for {waits_for}")
                continue
            if cell not in settled:
                settled[cell] = request = next_request(planner, condition, level)
                if request is not None:
                    consider(cell, request)
            if settled[cell] is not None:
                waits_for = cell
    # What can be said of a condition that is not finished, when nothing more can be done for it.
    for condition in () if decision.starts else _conditions(context):
        cell = Cell.of(LEVELS[-1], condition)
        request = next_request(planner, condition, cell.level, unfinished=True)
        if cell not in settled and request is not None:
            consider(cell, request)
    whole = Cell.of(STUDY_LEVEL, Condition())
    request = next_request(planner, whole.condition, whole.level)
    # It changes with every condition that is finished, so it waits until nothing more is started.
    if request is not None and not decision.starts:
        consider(whole, request)
    return decision


def _conditions(context: StudyContext) -> Iterable[Condition]:
    return [Condition(dose, view) for dose in context.study.doses for view in context.study.views]


def _occupied(cell: Cell, busy: Iterable[tuple[DagsterRun, Cell]]) -> str | None:
    for run, other in busy:
        if cell.shares_files_with(other):
            state = run.status.value.lower()
            return f"{cell} is left to run {run.run_id[:8]} ({other}, {state})"
    return None


def _had_its_chance(
    instance: DagsterInstance, cell: Cell, runs: list[DagsterRun], tries: int
) -> str | None:
    """Why a cell is not started again in this night, given its runs in it."""
    for run in runs:
        ended = None
        if run.status is DagsterRunStatus.CANCELED:
            ended = "was canceled"
        elif run.status is DagsterRunStatus.FAILURE and not was_killed(failures_of(instance, run)):
            ended = "failed"
        if ended:
            return f"{cell} {ended} in this night (run {run.run_id[:8]}): left for the next"
    killed = sum(run.status is DagsterRunStatus.FAILURE for run in runs)
    if killed >= tries:
        return f"{cell} was killed {killed} times in this night: left for the next"
    made = sum(run.is_success for run in runs)
    # Twice is in order: what was never checked is checked before it is decided what to make.
    if made >= 2 and made + killed > tries:
        return f"{cell} was made {made} times in this night and is not fresh: left for the next"
    return None


def _sources() -> str:
    """Hash of the package's own source files as they are on disk now."""
    found = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest()


_LOADED = _sources()


def is_current(context: StudyContext) -> bool:
    """Whether study and code are what this process has loaded.

    Raises:
        InputError: the study file breaks a rule now.
    """
    return load_study(context.study_file) == context.study and _sources() == _LOADED


def decide_as_on_disk(context: StudyContext, instance: DagsterInstance, night: str) -> Decision:
    """`decide` for the study file and the code as they are on disk now, however old this process.

    Raises:
        InputError: the study file breaks a rule.
        RuntimeError: a fresh process cannot decide; with what it said.
    """
    if is_current(context):
        return decide(context, instance, night)
    order = {
        "study": str(context.study_file),
        "night": night,
        "instance": serialize_value(instance.get_ref()),
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no decision")
    found = json.loads(done.stdout)
    return Decision([Start.from_json(start) for start in found["starts"]], found["left"])


def _main() -> None:
    order = json.load(sys.stdin)
    try:
        context = StudyContext.load(order["study"])
    except InputError as error:
        sys.exit(f"{error}")
    with DagsterInstance.from_ref(cast(Any, deserialize_value(order["instance"]))) as instance:
        decision = decide(context, instance, order["night"])
    starts = [start.to_json() for start in decision.starts]
    json.dump({"starts": starts, "left": decision.left}, sys.stdout)


if __name__ == "__main__":
    _main()
