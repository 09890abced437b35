"""What runs by itself: the nightly completion of the study, the notes on ended runs, the reaper.

A schedule has one job and one moment; a night has many runs that wait for each other. So the
schedule opens the night and starts what lacks nothing, and a sensor starts the rest as it becomes
possible. The schedule is the switch: while it is off, the sensor starts nothing. What to start is
decided in ``nightly.py``; here it becomes run requests and reasons.
"""

from __future__ import annotations

import json
import time
from datetime import UTC

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    RunStatusSensorContext,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    run_status_sensor,
    schedule,
    sensor,
)

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.dagster_internals import MAX_RETRIES_TAG, RUN_KEY_TAG
from fly64_assets.pipeline.process import utc_text
from fly64_assets.pipeline.targets import (
    NIGHT_TAG,
    by_command_line,
    partition_tags,
    unfinished_runs,
)
from fly64_assets.runs.cleaning import A_NIGHT, clean
from fly64_assets.runs.dead_runs import reap
from fly64_assets.runs.nightly import Decision, Start, decide_as_on_disk
from fly64_assets.runs.restore import keep_missing
from fly64_assets.runs.run_ends import note_end
from fly64_assets.study.hashing import digest

SCHEDULE = "complete_study_nightly"
ASSET_JOB = "__ASSET_JOB"
"""Dagster's own job over all assets, the one that the UI's buttons use: a schedule has one job
only, and a job of our own cannot span partitions definitions."""
INTERVAL_S = 30
OPENING_TIMEOUT_S = 300.0
"""So long the sensor waits for the runs that the schedule has asked for to appear."""


def _cursor_key(context: StudyContext) -> str:
    return f"fly64/{context.study.name}/night"


def _open_night(
    context: StudyContext, instance: DagsterInstance, night: str, decision: Decision
) -> None:
    """Remember the night in the instance, where it survives every restart."""
    opened = {
        "night": night,
        "opened": time.time(),
        "requested": [start.key for start in decision.starts],
    }
    cursors = instance.daemon_cursor_storage
    cursors.set_cursor_values({_cursor_key(context): json.dumps(opened)})


def _run_request(start: Start, night: str) -> RunRequest:
    request = start.request
    return RunRequest(
        run_key=start.key,
        # By its tags: a partition that the study names since this process was started is a
        # partition too, and the run's own process will know it.
        tags={
            **partition_tags(request.condition),
            NIGHT_TAG: night,
            MAX_RETRIES_TAG: "0",  # the night itself decides what is tried again
        },
        asset_selection=request.assets,
        asset_check_keys=request.checks,
    )


def _nightly(context: StudyContext) -> ScheduleDefinition:
    @schedule(
        name=SCHEDULE,
        cron_schedule=context.study.automation.cron,
        job_name=ASSET_JOB,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.STOPPED,
        description="Begins the nightly completion of the study: whatever is missing or stale, "
        "over all doses and views, in the order of the phases. continue_night starts what "
        "becomes possible later, while this is switched on.",
    )
    def nightly(tick: ScheduleEvaluationContext) -> SkipReason | list[RunRequest]:
        night = utc_text(tick.scheduled_execution_time.astimezone(UTC).timestamp())
        reap(context, tick.instance)
        _tidy(context, tick)
        decision = decide_as_on_disk(context, tick.instance, night)
        _open_night(context, tick.instance, night, decision)
        for reason in decision.left:
            tick.log.info(reason)
        if not decision.starts:
            return SkipReason(decision.text)
        return [_run_request(start, night) for start in decision.starts]

    return nightly


def _tidy(context: StudyContext, tick: ScheduleEvaluationContext) -> None:
    """Complete the stored records and remove what no one needs; no night fails for it."""
    try:
        keep_missing(context, tick.instance)
        for removed in clean(context, tick.instance, most_runs=A_NIGHT):
            tick.log.info(f"removed {removed.kind}: {removed.count}, {removed.bytes} bytes")
    except Exception as error:
        tick.log.warning(f"not tidied: {type(error).__name__}: {error}")


def _is_on(instance: DagsterInstance) -> bool:
    """Whether the schedule was switched on."""
    return any(
        state.status.value == "RUNNING"
        for state in instance.all_instigator_state()
        if state.instigator_name == SCHEDULE
    )


def _standing(instance: DagsterInstance, night: str) -> str:
    """Hash of what has been started and has ended: equal as long as there is nothing to decide.

    Of states and not of times: a clock may go backwards.
    """
    runs = {run.run_id: run.status.value for run, _ in unfinished_runs(instance)}
    tonight = instance.get_runs(RunsFilter(tags={NIGHT_TAG: night}))
    runs |= {run.run_id: run.status.value for run in tonight}
    return digest([night, runs])


def _being_opened(instance: DagsterInstance, opened: dict) -> bool:
    """Whether the daemon is still creating the runs that the schedule has asked for."""
    if not 0 <= time.time() - opened["opened"] < OPENING_TIMEOUT_S:
        return False
    tonight = instance.get_runs(RunsFilter(tags={NIGHT_TAG: opened["night"]}))
    return not set(opened["requested"]) <= {run.tags.get(RUN_KEY_TAG) for run in tonight}


def _continue_night(context: StudyContext) -> SensorDefinition:
    @sensor(
        job_name=ASSET_JOB,
        name="continue_night",
        minimum_interval_seconds=INTERVAL_S,
        default_status=DefaultSensorStatus.RUNNING,
        description=f"Starts what a night's ended runs have made possible. Does nothing while "
        f"{SCHEDULE} is switched off.",
    )
    def continue_night(tick: SensorEvaluationContext) -> SkipReason | SensorResult:
        instance = tick.instance
        if not _is_on(instance):
            return SkipReason(f"{SCHEDULE} is switched off")
        key = _cursor_key(context)
        remembered = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
        if remembered is None:
            return SkipReason("no night has begun yet")
        opened = json.loads(remembered)
        if _being_opened(instance, opened):
            return SkipReason("the schedule's own runs are being created")
        standing = _standing(instance, opened["night"])
        if standing == tick.cursor:
            return SkipReason(f"no run has ended since the last look (night {opened['night']})")
        decision = decide_as_on_disk(context, instance, opened["night"])
        for reason in decision.left:
            tick.log.info(reason)
        tick.update_cursor(standing)
        if not decision.starts:
            return SkipReason(decision.text)
        return SensorResult([_run_request(start, opened["night"]) for start in decision.starts])

    return continue_night


def _note_ends(context: StudyContext, status: DagsterRunStatus) -> SensorDefinition:
    """Blockers for the runs of UI, backfills and schedule; the command line writes its own."""

    @run_status_sensor(
        run_status=status,
        name=f"note_{status.value.lower()}",
        minimum_interval_seconds=INTERVAL_S,
        default_status=DefaultSensorStatus.RUNNING,
        description="Writes beside a partition what stopped it, or removes that after success.",
    )
    def note(tick: RunStatusSensorContext) -> None:
        if not by_command_line(tick.dagster_run):
            note_end(context, tick.instance, tick.dagster_run)

    return note


def _reaper(context: StudyContext) -> SensorDefinition:
    @sensor(
        name="reap_dead_runs",
        minimum_interval_seconds=INTERVAL_S,
        default_status=DefaultSensorStatus.RUNNING,
        description="Declares runs failed whose process is gone, ends their steps and frees their "
        "places in the pools.",
    )
    def reap_dead_runs(tick: SensorEvaluationContext) -> SkipReason:
        reaped = reap(context, tick.instance)
        return SkipReason("; ".join(map(str, reaped)) or "every run in progress has its process")

    return reap_dead_runs


def schedules(context: StudyContext) -> list[ScheduleDefinition]:
    """Return what is switched on in the UI: the nightly completion."""
    return [_nightly(context)]


def sensors(context: StudyContext) -> list[SensorDefinition]:
    ends = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    return [
        _continue_night(context),
        *(_note_ends(context, status) for status in ends),
        _reaper(context),
    ]
