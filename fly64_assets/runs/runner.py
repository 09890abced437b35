"""Runs started from the command line: the same jobs, instance and events that the web UI shows.

What a run makes is what the planner says is not fresh; a run's own status is never trusted, the
planner is asked again afterwards. Nothing here prints (``cli/``).
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dagster import DagsterInstance, DagsterRun
from sqlalchemy.exc import DBAPIError

from fly64_assets.errors import InProgress
from fly64_assets.pipeline import checkpoints, dagster_internals
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.dagster_internals import (
    MAX_RETRIES_TAG,
    ReconstructableJob,
    create_run,
    execute_run,
    job_in,
)
from fly64_assets.pipeline.freshness import Planner, State
from fly64_assets.pipeline.targets import (
    JOBS,
    LAUNCH_TAG,
    Cell,
    RunRequest,
    next_request,
    partition_tags,
    study_cells,
)
from fly64_assets.runs import interrupts
from fly64_assets.runs.dead_runs import reap
from fly64_assets.runs.events import StepEvent, failures_of, interesting
from fly64_assets.runs.executor import held
from fly64_assets.runs.restore import keep_missing
from fly64_assets.runs.run_ends import clear_if_mended, note_end
from fly64_assets.runs.step_servers import end_servers
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import ALL_LEVELS, LEVELS, STUDY_LEVEL

POLL_INTERVAL_S = 0.3
MODULE, LOCATION, REPOSITORY = "fly64_assets.definitions", "fly64_assets", "__repository__"
"""Of the code location, as ``workspace.yaml`` says; the repository has Dagster's name for it."""


Listener = Callable[[RunRequest | None, StepEvent], None]
"""Is told what happens, with the run that it happens in, where it is in one."""


@dataclass(frozen=True)
class RunOutcome:
    """How a request ended, and what stopped it."""

    request: RunRequest
    run_id: str | None
    success: bool
    failures: tuple[StepEvent, ...]

    @property
    def refused(self) -> bool:
        """Whether another run was in its way, and nothing was made or lost."""
        return any(failure.error == InProgress.__name__ for failure in self.failures)


@dataclass
class MatrixOutcome:
    """How the asked conditions fared.

    Attributes:
        runs: every run that was started or refused, in order.
        left: what was not started -> the cell whose failure it waits for.
    """

    runs: list[RunOutcome] = field(default_factory=list)
    left: dict[Cell, Cell] = field(default_factory=dict)


def remote_origin(job: str) -> Any:
    """Return where the web UI finds one of our jobs."""
    return dagster_internals.remote_origin(MODULE, LOCATION, REPOSITORY, job)


def job_of(request: RunRequest) -> ReconstructableJob:
    """Return the job of a request's level with the assets and checks that are asked for."""
    name = JOBS[request.level]
    return job_in(MODULE, str(PROJECT_ROOT), name, request.assets, request.checks)


def _create(
    instance: DagsterInstance, run_id: str, job: ReconstructableJob, condition: Condition
) -> DagsterRun:
    """Record a run that this process is about to carry out."""
    # Whoever started it here sees it fail; the daemon is not to start it again.
    tags = {**partition_tags(condition), LAUNCH_TAG: run_id, MAX_RETRIES_TAG: "0"}
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    origin = remote_origin(job.job_name)
    return create_run(instance, run_id, job, origin, tags=tags, config=config)


class _Follower(threading.Thread):
    """Reads a run's event log while it runs and tells the listener what a person wants to see."""

    def __init__(
        self, instance: DagsterInstance, run_id: str, request: RunRequest, listener: Listener
    ) -> None:
        super().__init__(daemon=True)
        self.instance, self.run_id, self.request = instance, run_id, request
        self.listener = listener
        self._done = threading.Event()
        self._cursor: str | None = None

    def finish(self) -> None:
        """Stop after a last look at the log."""
        self._done.set()
        self.join()

    def run(self) -> None:
        last = False
        while not last:
            last = self._done.wait(POLL_INTERVAL_S)
            # A locked database or a full disk is the run's to meet, and not the reader's.
            with contextlib.suppress(DBAPIError):
                self._read()

    def _read(self) -> None:
        while True:
            page = self.instance.get_records_for_run(self.run_id, self._cursor)
            for record in page.records:
                event = interesting(record.event_log_entry)
                # What stopped a run was told already, or is at the end.
                if event is not None and event.kind != "run_failed":
                    self.listener(self.request, event)
            self._cursor = page.cursor
            if not page.has_more:
                return


def execute(
    context: StudyContext, instance: DagsterInstance, request: RunRequest, listener: Listener
) -> RunOutcome:
    """Run one request to its end in this process's children.

    The run's success is what Dagster says; whether the products are fresh afterwards is the
    planner's to say. Where another run is at the partition, none is started.

    Raises:
        SystemExit: a signal to end has come; then nothing of the run is left at work.
    """
    try:
        with held(context.store, instance, [request.cell]):
            pass
    except InProgress as error:
        refused = StepEvent("run_failed", "-", str(error), error=InProgress.__name__)
        return RunOutcome(request, None, False, (refused,))
    run_id = str(uuid.uuid4())
    follower = _Follower(instance, run_id, request, listener)
    follower.start()
    try:
        interrupts.check()
        job = job_of(request)
        result = execute_run(job, _create(instance, run_id, job, request.condition), instance)
        interrupts.check()
    except BaseException as error:
        if not isinstance(error, Exception):
            _abandon(instance, run_id)
        raise
    finally:
        follower.finish()
    # From the whole log: a database may show a record after one with a higher number, and who
    # follows has then passed it by.
    run = None if result.success else instance.get_run_by_id(run_id)
    failures = () if run is None else tuple(failures_of(instance, run))
    return RunOutcome(request, run_id, result.success, failures)


def _abandon(instance: DagsterInstance, run_id: str) -> None:
    """Leave nothing of a run that a signal has ended: no process, and no run in progress."""
    interrupts.ignore()
    end_servers()
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "was interrupted before it had ended")


def tell_reaped(context: StudyContext, instance: DagsterInstance, listener: Listener) -> None:
    """Declare runs failed whose process is gone, and say so; complete the stored records."""
    for reaped in reap(context, instance):
        listener(None, StepEvent("reaped", "-", str(reaped)))
    keep_missing(context, instance)


def run_conditions(
    context: StudyContext,
    instance: DagsterInstance,
    conditions: Iterable[Condition],
    listener: Listener,
    *,
    force: bool = False,
) -> MatrixOutcome:
    """Make each condition fresh, what they share first.

    A failed cell does not stop its siblings; what is downstream of it is not started, but for the
    report of its checks. What is made of all conditions is made last, of those that are fresh.
    """
    tell_reaped(context, instance, listener)
    matrix = MatrixOutcome()
    settled: dict[Cell, bool] = {}
    for condition in conditions:
        broken: Cell | None = None
        for level in LEVELS:
            cell = Cell.of(level, condition)
            if broken is not None:
                matrix.left[cell] = broken
                request = next_request(context.planner(instance), condition, level, unfinished=True)
                matrix.runs += [_run(context, instance, request, listener)] if request else []
                continue
            if cell not in settled:
                again = force and level.per != "study"
                made = list(_make_fresh(context, instance, cell, listener, force=again))
                matrix.runs += made
                settled[cell] = not made or made[-1].success
            if not settled[cell]:
                broken = cell
    matrix.runs += _report(context, instance, listener)
    return matrix


def report_study(
    context: StudyContext, instance: DagsterInstance, listener: Listener
) -> list[RunOutcome]:
    """Make what is said of the study as a whole fresh, and nothing of its conditions."""
    tell_reaped(context, instance, listener)
    return list(_report(context, instance, listener))


def _report(
    context: StudyContext, instance: DagsterInstance, listener: Listener
) -> Iterator[RunOutcome]:
    whole = Cell.of(STUDY_LEVEL, Condition())
    return _make_fresh(context, instance, whole, listener, force=False)


def _make_fresh(
    context: StudyContext,
    instance: DagsterInstance,
    cell: Cell,
    listener: Listener,
    *,
    force: bool,
) -> Iterator[RunOutcome]:
    """Check what is unchecked, then make what is not fresh; the planner is asked anew each time."""
    for number in range(2):
        planner = context.planner(instance)
        request = next_request(planner, cell.condition, cell.level, force=force)
        if request is None:
            clear_if_mended(planner, context.store, cell)
            if not number:
                _tell_fresh(planner, cell, listener)
            return
        for item in request.make if force else ():
            checkpoints.remove(context.store.checkpoint_folder(item, request.condition))
        yield _run(context, instance, request, listener)
        if request.make:
            return


def _run(
    context: StudyContext, instance: DagsterInstance, request: RunRequest, listener: Listener
) -> RunOutcome:
    """`execute`, and what its end leaves beside the partition."""
    outcome = execute(context, instance, request, listener)
    run = instance.get_run_by_id(outcome.run_id) if outcome.run_id else None
    if run is not None:
        note_end(context, instance, run)
    return outcome


def _tell_fresh(planner: Planner, cell: Cell, listener: Listener) -> None:
    """Say why a cell is not run: all that it makes is fresh."""
    items = cell.level.products_in(planner.study)
    records = [planner.record(item, cell.condition) for item in items]
    times = [record.provenance.generated_at for record in records if record is not None]
    if not times:  # of all conditions, where none is finished
        return
    text = f"{len(records)} of {len(records)} fresh, the last made {max(times)}"
    listener(RunRequest(cell.level, cell.condition, (), ()), StepEvent("skipped", "-", text))


def run_checks(
    context: StudyContext,
    instance: DagsterInstance,
    conditions: Iterable[Condition],
    listener: Listener,
) -> list[RunOutcome]:
    """Evaluate every check of what was made in the conditions and is not stale; nothing is made.

    Raises:
        InProgress: another run is at one of them; the others were checked.
    """
    tell_reaped(context, instance, listener)
    outcomes = []
    planner = context.planner(instance)
    cells = {Cell.of(level, condition): None for condition in conditions for level in ALL_LEVELS}
    for cell in cells:
        level, at = cell.level, cell.condition
        items = level.products_in(context.study)
        lacks = {item: planner.lack(item, at) for item in items if item.checks}
        # Of what is missing or stale, no check would be evaluated.
        made = tuple(i for i, lack in lacks.items() if lack is None or lack.state is State.ALTERED)
        if made:
            outcomes.append(execute(context, instance, RunRequest(level, at, (), made), listener))
    refused = [f.text for o in outcomes if o.refused for f in o.failures]
    if refused:
        raise InProgress("; ".join(refused))
    return outcomes


def check_unchecked(
    context: StudyContext, instance: DagsterInstance, listener: Listener
) -> list[RunOutcome]:
    """Evaluate the checks of what is in order but was never checked; nothing is made."""
    outcomes = []
    for cell in study_cells(context.study):
        request = next_request(context.planner(instance), cell.condition, cell.level)
        if request is not None and request.check:
            outcomes.append(execute(context, instance, request, listener))
    return outcomes
