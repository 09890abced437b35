"""Runs started from the command line: the same jobs, instance and events that the web UI shows.

What a run makes is what the planner says is not fresh; a run's own status is never trusted, the
planner is asked again afterwards. Nothing here prints (``cli/``).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    EventLogEntry,
    MultiPartitionKey,
    RunsFilter,
    execute_job,
)
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.storage.tags import (
    MULTIDIMENSIONAL_PARTITION_PREFIX,
    PARTITION_NAME_TAG,
)

from fly64_assets import blockers
from fly64_assets.catalogue import LEVELS, PRODUCTS, Level, Product
from fly64_assets.context import StudyContext
from fly64_assets.partitions import Condition, dagster_key
from fly64_assets.planner import Planner, State
from fly64_assets.study import PROJECT_ROOT

LAUNCH_TAG = "fly64/launch"
POLL_INTERVAL_S = 0.3


@dataclass(frozen=True)
class RunRequest:
    """One Dagster run in one partition: products to make, or products only to check."""

    level: Level
    condition: Condition
    make: tuple[Product, ...]
    check: tuple[Product, ...]


@dataclass(frozen=True)
class StepEvent:
    """Something that a person following a run wants to see."""

    kind: str  # started | finished | failed | message | check_failed
    step: str
    text: str = ""
    seconds: float = 0.0


Listener = Callable[[RunRequest, StepEvent], None]


@dataclass(frozen=True)
class RunOutcome:
    """How a request ended, and what stopped it."""

    request: RunRequest
    run_id: str | None
    success: bool
    failures: tuple[StepEvent, ...]


def next_request(
    planner: Planner, condition: Condition, level: Level, *, force: bool = False
) -> RunRequest | None:
    """What one level of a condition needs next; None when it is fresh.

    What was made but never checked is checked first, in a run of its own: the checks decide what
    remains to be made.
    """
    at = condition.restricted_to(level.per)
    verdicts = [planner.verdict(item, at) for item in level.products]
    unchecked = tuple(v.product for v in verdicts if v.state is State.UNCHECKED)
    if unchecked and not force:
        return RunRequest(level, at, (), unchecked)
    make = _whole_computations(v.product for v in verdicts if force or v.must_run)
    return RunRequest(level, at, make, ()) if make else None


def _whole_computations(products: Iterable[Product]) -> tuple[Product, ...]:
    """Both halves of a dataset come from one simulation: asking for one asks for both."""
    chosen = {item.key for item in products}
    if any(key[-1] == "dataset" for key in chosen):
        chosen |= {item.key for item in PRODUCTS if item.key[-1] == "dataset"}
    return tuple(item for item in PRODUCTS if item.key in chosen)


def _job(request: RunRequest) -> ReconstructableJob:
    from fly64_assets.definitions import JOBS

    repository = ReconstructableRepository.for_module(
        "fly64_assets.definitions", "defs", str(PROJECT_ROOT)
    )
    checks = {
        AssetCheckKey(AssetKey(item.key), name)
        for item in (*request.make, *request.check)
        for name in item.checks
    }
    return ReconstructableJob(repository, JOBS[request.level]).get_subset(
        asset_selection=frozenset(AssetKey(item.key) for item in request.make),
        asset_check_selection=frozenset(checks),
    )


def _tags(condition: Condition, launch: str) -> dict[str, str]:
    tags = {LAUNCH_TAG: launch}
    key = dagster_key(condition)
    if key is not None:
        tags[PARTITION_NAME_TAG] = str(key)
    if isinstance(key, MultiPartitionKey):
        for dimension, value in key.keys_by_dimension.items():
            tags[f"{MULTIDIMENSIONAL_PARTITION_PREFIX}{dimension}"] = value
    return tags


class _Follower(threading.Thread):
    """Reads a run's event log while it runs and tells the listener what a person wants to see."""

    def __init__(
        self, instance: DagsterInstance, launch: str, request: RunRequest, listener: Listener
    ) -> None:
        super().__init__(daemon=True)
        self.instance, self.launch, self.request = instance, launch, request
        self.listener = listener
        self.failures: list[StepEvent] = []
        self._done = threading.Event()
        self._cursor: str | None = None

    def finish(self) -> None:
        """Stop after a last look at the log."""
        self._done.set()
        self.join()

    def run(self) -> None:
        run_id = None
        while not self._done.is_set() or run_id is not None:
            last = self._done.is_set()
            if run_id is None:
                found = self.instance.get_run_records(
                    RunsFilter(tags={LAUNCH_TAG: self.launch}), limit=1
                )
                run_id = found[0].dagster_run.run_id if found else None
            if run_id is not None:
                self._read(run_id)
            if last:
                return
            self._done.wait(POLL_INTERVAL_S)

    def _read(self, run_id: str) -> None:
        while True:
            page = self.instance.get_records_for_run(run_id, self._cursor)
            for record in page.records:
                event = _interesting(record.event_log_entry)
                if event is None:
                    continue
                if event.kind in ("failed", "check_failed"):
                    self.failures.append(event)
                self.listener(self.request, event)
            self._cursor = page.cursor
            if not page.has_more:
                return


def _root_message(event: EventLogEntry) -> str:
    error = event.dagster_event.event_specific_data.error  # type: ignore[union-attr]
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "failed without an error"
    message = error.message.strip()
    return message.removeprefix("fly64_assets.errors.").splitlines()[0] if message else "failed"


def _interesting(entry: EventLogEntry) -> StepEvent | None:
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
        return StepEvent("failed", step, _root_message(entry))
    if kind is DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            name, severity = evaluation.check_name, evaluation.severity.value
            text = f"{severity} {name}: {evaluation.description}"
            return StepEvent("check_failed" if severity == "ERROR" else "message", step, text)
    return None


def execute(instance: DagsterInstance, request: RunRequest, listener: Listener) -> RunOutcome:
    """Run one request to its end in this process's children.

    The run's success is what Dagster says; whether the products are fresh afterwards is the
    planner's to say.
    """
    launch = uuid.uuid4().hex
    follower = _Follower(instance, launch, request, listener)
    follower.start()
    try:
        result = execute_job(
            _job(request),
            instance,
            tags=_tags(request.condition, launch),
            asset_selection=[AssetKey(item.key) for item in request.make],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    finally:
        follower.finish()
    return RunOutcome(request, result.run_id, result.success, tuple(follower.failures))


def run_conditions(
    context: StudyContext,
    instance: DagsterInstance,
    conditions: Iterable[Condition],
    listener: Listener,
    *,
    force: bool = False,
) -> list[RunOutcome]:
    """Make each condition fresh, what they share first; a failed one does not stop its siblings."""
    outcomes: list[RunOutcome] = []
    settled: dict[tuple[Level, Condition], bool] = {}
    for condition in conditions:
        for level in LEVELS:
            cell = (level, condition.restricted_to(level.per))
            if cell not in settled:
                again = force and level.per != "study"
                made = list(_make_fresh(context, instance, condition, level, listener, force=again))
                outcomes += made
                settled[cell] = not made or made[-1].success
            if not settled[cell]:
                break
    return outcomes


def _make_fresh(
    context: StudyContext,
    instance: DagsterInstance,
    condition: Condition,
    level: Level,
    listener: Listener,
    *,
    force: bool,
) -> Iterator[RunOutcome]:
    """Check what is unchecked, then make what is not fresh; the planner is asked anew each time."""
    for _ in range(2):
        request = next_request(context.planner(instance), condition, level, force=force)
        if request is None:
            return
        outcome = execute(instance, request, listener)
        _note_blocker(context, outcome)
        yield outcome
        if request.make:
            return


def _note_blocker(context: StudyContext, outcome: RunOutcome) -> None:
    """Say beside the partition what stopped it, or that nothing does any more."""
    level, condition = outcome.request.level, outcome.request.condition
    if outcome.success:
        blockers.clear(context.store, level, condition)
        return
    run_id = outcome.run_id or "-"
    log = f"dagster/storage/{run_id}/compute_logs"
    stops = [blockers.Stop(event.step, event.text, log) for event in outcome.failures]
    blockers.write(context.store, level, condition, run_id, stops)


def run_checks(
    context: StudyContext,
    instance: DagsterInstance,
    conditions: Iterable[Condition],
    listener: Listener,
) -> list[RunOutcome]:
    """Evaluate every check of what was made in the conditions; nothing is made."""
    outcomes = []
    planner = context.planner(instance)
    cells = {
        (level, condition.restricted_to(level.per)): None
        for condition in conditions
        for level in LEVELS
    }
    for level, at in cells:
        made = tuple(i for i in level.products if i.checks and planner.record(i, at) is not None)
        if made:
            outcomes.append(execute(instance, RunRequest(level, at, (), made), listener))
    return outcomes
