"""The reaper: a run whose process is gone is declared failed, and what it left is cleaned up.

``kill -9`` and a power cut let nobody say that a run has ended: it would stay "in progress", its
steps might go on, and its place in the solver pool would stay taken. Every run says which process
carries it out (``executor.py``); before a command line run, and twice a minute under the daemon,
each run in progress is held against what ``/proc`` says of that process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from fly64_assets.errors import InProgress
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.process_identity import end_descendants
from fly64_assets.pipeline.targets import UNFINISHED, by_command_line, cells_of, process_of
from fly64_assets.runs.run_ends import note_end

SILENCE_S = 120.0
"""A run that has not said by now which process carries it out was killed before it could."""


@dataclass(frozen=True)
class Reaped:
    """A run that was declared failed, why, and the processes that were ended with it."""

    run_id: str
    what: str
    reason: str
    ended: tuple[int, ...]

    def __str__(self) -> str:
        ended = f"; ended its processes {list(self.ended)}" if self.ended else ""
        return f"run {self.run_id[:8]} ({self.what}): {self.reason}{ended}"


def reap(context: StudyContext, instance: DagsterInstance) -> list[Reaped]:
    """Declare dead runs failed, end what they left running, free their places in the pools.

    The processes end first: nothing of a run that was declared failed is still at work.
    """
    if not context.store.root.is_dir():
        return []  # nothing was ever run, and looking makes nothing
    try:
        with context.store.lock("reaper", "the reaper"):
            return [*_reap(context, instance)]
    except InProgress:  # another one is at it now
        return []


def _reap(context: StudyContext, instance: DagsterInstance) -> list[Reaped]:
    waiting = RunsFilter(statuses=[s for s in UNFINISHED if s is not DagsterRunStatus.QUEUED])
    reaped = []
    for record in instance.get_run_records(waiting):
        reason = _why_dead(record)
        if reason is not None:
            reaped.append(_end(context, instance, record.dagster_run, reason))
    _free_pools(instance)
    return reaped


def _why_dead(record: RunRecord) -> str | None:
    run = record.dagster_run
    process = process_of(run)
    if process is not None:
        return process.gone
    if run.status is DagsterRunStatus.NOT_STARTED and not by_command_line(run):
        return None  # the daemon's, on its way into the queue
    silent = time.time() - record.update_timestamp.timestamp()
    if silent < SILENCE_S:
        return None
    return f"for {silent:.0f} s no process has said that it carries it out"


def _end(context: StudyContext, instance: DagsterInstance, run: DagsterRun, reason: str) -> Reaped:
    process = process_of(run)
    ended = tuple(end_descendants(process)) if process else ()
    message = f"{reason}, so the run has ended; what it had finished is kept"
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    over = instance.get_run_by_id(run.run_id)
    assert over is not None
    note_end(context, instance, over)
    what = ", ".join(map(str, cells_of(run))) or run.job_name
    return Reaped(run.run_id, what, reason, ended)


def _free_pools(instance: DagsterInstance) -> None:
    """Free the places that runs hold which have ended, however that came about."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    holders = storage.get_concurrency_run_ids()
    for name in storage.get_concurrency_keys():
        holders |= storage.get_concurrency_info(name).active_run_ids
    for run_id in holders:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)
