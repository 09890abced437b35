"""What a run's event log says to a person: steps, messages, checks that failed, why a run ended."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dagster import DagsterEventType, DagsterInstance, DagsterRun, EventLogEntry

from fly64_assets.errors import InProgress
from fly64_assets.pipeline.blockers import Stop
from fly64_assets.pipeline.dagster_internals import STEP_CRASH, ErrorInfo

FAILURES = ("failed", "check_failed", "run_failed")
"""Kinds of event that stop a run."""


@dataclass(frozen=True)
class StepEvent:
    """Something that a person following a run wants to see.

    Attributes:
        kind: started, finished, failed, message, check_failed, run_failed or skipped.
        step: key of the step; ``-`` for the run itself.
        text: in words.
        seconds: how long it took, once it is finished.
        error: name of the exception's class, where there was one.
    """

    kind: str
    step: str
    text: str = ""
    seconds: float = 0.0
    error: str = ""


def _root(error: ErrorInfo | None) -> ErrorInfo | None:
    while error is not None and error.cause is not None:
        error = error.cause
    return error


def _message(error: ErrorInfo | None) -> str:
    if error is None:
        return "failed without an error"
    if error.cls_name == "DagsterExecutionInterruptedError":
        return "was interrupted"
    if error.cls_name == STEP_CRASH:
        return "its process was ended from outside"
    message = error.message.strip()
    return message.removeprefix("fly64_assets.errors.").splitlines()[0] if message else "failed"


def _name(error: ErrorInfo | None) -> str:
    return (error.cls_name or "") if error else ""


def interesting(entry: EventLogEntry) -> StepEvent | None:
    """Return the event in plain words; None for what only Dagster wants to know."""
    event, step = entry.dagster_event, entry.step_key or ""
    if event is None:
        told = bool(step) and entry.level in (logging.INFO, logging.WARNING)
        return StepEvent("message", step, entry.user_message) if told else None
    kind = event.event_type
    if kind is DagsterEventType.STEP_START:
        return StepEvent("started", step)
    if kind is DagsterEventType.STEP_SUCCESS:
        duration = event.step_success_data.duration_ms / 1000
        return StepEvent("finished", step, seconds=duration)
    if kind is DagsterEventType.STEP_FAILURE:
        if "DagsterAssetCheckFailedError" in (event.step_failure_data.error_display_string or ""):
            return None  # the evaluation itself was told already
        error = _root(event.step_failure_data.error)
        return StepEvent("failed", step, _message(error), error=_name(error))
    if kind is DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            name, severity = evaluation.check_name, evaluation.severity.value
            text = f"{severity} {name}: {evaluation.description}"
            return StepEvent("check_failed" if severity == "ERROR" else "message", step, text)
    if kind in (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED):
        return _end_of_run(event)
    return None


def _end_of_run(event) -> StepEvent:
    data = event.event_specific_data
    error = _root(getattr(data, "error", None))
    text = _message(error) if error else event.message or "ended"
    return StepEvent("run_failed", "-", text, error=_name(error))


def stopping(events: list[StepEvent]) -> list[StepEvent]:
    """Return what stopped a run: its steps and checks, the run only where none of them did."""
    failures = [event for event in events if event.kind in FAILURES]
    of_steps = [event for event in failures if event.kind != "run_failed"]
    return of_steps or failures


def failures_of(instance: DagsterInstance, run: DagsterRun) -> list[StepEvent]:
    """Return what stopped a run that has ended, from its event log; [] where nothing did."""
    told, cursor = [], None
    while True:
        page = instance.get_records_for_run(run.run_id, cursor)
        told += [interesting(record.event_log_entry) for record in page.records]
        cursor = page.cursor
        if not page.has_more:
            return stopping([event for event in told if event is not None])


def was_killed(failures: list[StepEvent]) -> bool:
    """Whether all that stopped a run came from outside: a kill, a power cut, no memory left.

    Then nothing says that it would fail again. A run that fails by itself names its error, be it
    its own or a step's.
    """
    return bool(failures) and all(
        event.error == STEP_CRASH or (event.kind == "run_failed" and not event.error)
        for event in failures
    )


def stops_of(instance: DagsterInstance, run: DagsterRun) -> list[Stop] | None:
    """Return what stopped a run without success; None when it was refused, touching nothing.

    A run is refused when another one is at its partition. Of a run that was stopped as a whole, the
    steps that were at work are named.
    """
    events = failures_of(instance, run)
    if events and all(e.kind == "run_failed" and e.error == InProgress.__name__ for e in events):
        return None
    at_work = [
        step.step_key
        for step in instance.get_run_step_stats(run.run_id)
        if step.status is not None and step.status.value == "IN_PROGRESS"
    ]
    log = f"dagster/storage/{run.run_id}/compute_logs"
    return [
        Stop(step, event.text, log)
        for event in events
        for step in (at_work or ["-"] if event.kind == "run_failed" else [event.step])
    ]
