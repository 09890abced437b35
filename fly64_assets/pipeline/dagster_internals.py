"""All that is used of Dagster without a public name; no other module imports it.

Beside it stand the words that Dagster writes into its records, and the one table of its database
that it hands out to nobody. A test holds each of them against Dagster's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from dagster import AssetCheckKey, AssetKey, DagsterInstance, DagsterRun
from dagster._core.definitions.asset_checks import asset_check_evaluation
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.execution import api
from dagster._core.execution.plan import instance_concurrency_context
from dagster._core.executor import multiprocess
from dagster._core.remote_origin import (
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

BACKFILL_TAG = "dagster/backfill"
MAX_RETRIES_TAG = "dagster/max_retries"
PARTITION_TAG = "dagster/partition"
DIMENSION_TAG = "dagster/partition/"
"""Followed by the name of a dimension: where a partition of several is kept beside its key."""
RANGE_START_TAG = "dagster/asset_partition_range_start"
RUN_KEY_TAG = "dagster/run_key"

DATA_VERSION_TAG = "dagster/data_version"
DATA_VERSION_GIVEN_TAG = "dagster/data_version_is_user_provided"
CODE_VERSION_TAG = "dagster/code_version"
INPUT_DATA_VERSION_TAG = "dagster/input_data_version/"
INPUT_EVENT_TAG = "dagster/input_event_pointer/"
"""Followed by the input's key, as the one before."""
NULL_EVENT = "NULL"

CHECKS = sqlalchemy.table(
    "asset_check_executions",
    *map(
        sqlalchemy.column,
        (
            "id",
            "asset_key",
            "check_name",
            "partition",
            "run_id",
            "evaluation_event",
            "evaluation_event_storage_id",
            "materialization_event_storage_id",
        ),
    ),
)
"""A row an evaluation of an asset check, planned ones included."""

EngineEventData = multiprocess.EngineEventData
ErrorInfo = multiprocess.SerializableErrorInfo
EvaluationTarget = asset_check_evaluation.AssetCheckEvaluationTargetMaterializationData
ExecutionPlan = multiprocess.ExecutionPlan
MultiprocessExecutor = multiprocess.MultiprocessExecutor
PlanContext = multiprocess.PlanOrchestrationContext
RetryMode = multiprocess.RetryMode
STEP_CRASH = multiprocess.ChildProcessCrashException.__name__
"""Name of the error of a step whose process ended without a word."""

# A step that waits for a pool would ask for its place less and less often, in the end every 15 s: a
# place that gets free between two trainings would lie idle for so long.
instance_concurrency_context.MAX_CONCURRENCY_CLAIM_BLOCKED_INTERVAL = 1


@contextmanager
def check_table(instance: DagsterInstance) -> Iterator[sqlalchemy.Connection | None]:
    """Connect to the database of `CHECKS`; None for a storage that is no database."""
    connect = getattr(instance.event_log_storage, "index_connection", None)
    if connect is None:
        yield None
        return
    with connect() as connection:
        yield connection


def input_tags(asset: str, data_version: str, event: str) -> dict[str, str]:
    """Return what a materialization notes of an input: its data version and its event's number."""
    name = AssetKey(asset.split("/")).to_user_string()
    return {f"{INPUT_DATA_VERSION_TAG}{name}": data_version, f"{INPUT_EVENT_TAG}{name}": event}


def remote_origin(module: str, location: str, repository: str, job: str) -> RemoteJobOrigin:
    """Return where the web UI finds a job: its Timeline and its buttons know runs that say so."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=module)
    place = ManagedGrpcPythonEnvCodeLocationOrigin(target, location)
    return RemoteJobOrigin(RemoteRepositoryOrigin(place, repository), job)


def job_in(
    module: str, folder: str, job: str, assets: Iterable[AssetKey], checks: Iterable[AssetCheckKey]
) -> ReconstructableJob:
    """Return a job of a module's ``defs`` with only these assets and checks, for any process."""
    repository = ReconstructableRepository.for_module(module, "defs", folder)
    return ReconstructableJob(repository, job).get_subset(
        asset_selection=frozenset(assets), asset_check_selection=frozenset(checks)
    )


def create_run(
    instance: DagsterInstance,
    run_id: str,
    job: ReconstructableJob,
    origin: RemoteJobOrigin,
    *,
    tags: Mapping[str, str],
    config: Mapping[str, object],
) -> DagsterRun:
    """Record a run that this process is about to carry out, with all that repeating it needs.

    Dagster's public way for a job in this process forgets which checks were chosen, and where the
    web UI finds the job.
    """
    from dagster._core.snap import snapshot_from_execution_plan

    definition = job.get_definition()
    plan = api.create_execution_plan(definition, config, instance_ref=instance.get_ref(), tags=tags)
    return instance.create_run(
        job_name=job.job_name,
        run_id=run_id,
        run_config=config,
        status=None,
        tags=tags,
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=plan.step_keys_to_execute,
        execution_plan_snapshot=snapshot_from_execution_plan(
            plan, definition.get_job_snapshot_id()
        ),
        job_snapshot=definition.get_job_snapshot(),
        parent_job_snapshot=definition.get_parent_job_snapshot(),
        asset_selection=job.asset_selection,
        asset_check_selection=job.asset_check_selection,
        resolved_op_selection=None,
        op_selection=None,
        remote_job_origin=origin,
        job_code_origin=job.get_python_origin(),
        asset_graph=definition.asset_layer.asset_graph,
    )


execute_run = api.execute_run


@contextmanager
def workspace(instance: DagsterInstance, file: str, version: str) -> Iterator[Any]:
    """Open what a web server serves: the instance and the code locations of a workspace file."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    target = WorkspaceFileTarget([file])
    with WorkspaceProcessContext(instance, target, version=version) as context:
        yield context
