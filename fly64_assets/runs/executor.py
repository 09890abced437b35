"""How a run is carried out: its process signs it, holds its partition and starts its steps.

Whoever starts a run (command line, UI, backfill, schedule), its executor passes through here, so
here the run is tagged with the process that carries it out, and here a second run of the same
partition is refused. What happens when the process dies is the reaper's (``dead_runs.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from dagster import (
    DagsterEvent,
    DagsterInstance,
    DagsterRun,
    Executor,
    ExecutorDefinition,
    InitExecutorContext,
    executor,
    in_process_executor,
    multiple_process_executor_requirements,
    raise_execution_interrupts,
)

from fly64_assets.errors import InProgress, InputError
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.dagster_internals import (
    PARTITION_TAG,
    RANGE_START_TAG,
    EngineEventData,
    ExecutionPlan,
    MultiprocessExecutor,
    PlanContext,
    RetryMode,
)
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.process import steps_run_here
from fly64_assets.pipeline.process_identity import sign_children
from fly64_assets.pipeline.store import Store
from fly64_assets.pipeline.targets import (
    PROCESS_TAG,
    Cell,
    by_command_line,
    by_night,
    cells_of,
    in_the_way,
)
from fly64_assets.runs import interrupts
from fly64_assets.runs.step_servers import start_servers
from fly64_assets.study.conditions import Condition, conditions_of
from fly64_assets.study.model import Study
from fly64_assets.study.products import BY_KEY, PRODUCTS

WAIT_S = 1.0
"""A run that waits for another one looks so often whether that has ended."""
MAX_STEPS = 2
"""Steps at once in a run; the solver pool keeps two solvers apart."""


def run_lock_name(cell: Cell) -> str:
    """Name of the lock that a run holds on its partition."""
    return f"run-{cell.slug}"


@contextmanager
def held(store: Store, instance: DagsterInstance, cells: list[Cell]) -> Iterator[None]:
    """Hold the partitions of one run, and what they are made from with others who only read it.

    The kernel lets them go when this process ends.

    Raises:
        InProgress: another run is at one of them, and which.
    """
    wanted = {cell: False for one in cells for cell in one.upstream} | dict.fromkeys(cells, True)
    with ExitStack() as stack:
        for cell, alone in wanted.items():
            try:
                stack.enter_context(store.lock(run_lock_name(cell), f"{cell}", shared=not alone))
            except InProgress as error:
                raise InProgress(in_the_way(instance, cell, error.pid) or f"{error}") from None
        yield


def _sign(plan_context: PlanContext) -> None:
    run_id = plan_context.dagster_run.run_id
    plan_context.instance.add_run_tags(run_id, {PROCESS_TAG: f"{sign_children()}/{run_id}"})


def require_partition(study: Study, run: DagsterRun, steps: Iterable[str]) -> None:
    """Refuse a run that would make something and does not say of which one partition.

    The UI offers such runs: a job's launchpad without a partition, a range as a single run.

    Raises:
        InputError: what was started, and how to start it.
    """
    parts = {part for step in steps for part in step.split("_and_")}
    made = [item for item in PRODUCTS if "_".join(item.key) in parts]
    kinds = {item.per for item in made if item.per != "study"}
    if not kinds:
        return
    key = run.tags.get(PARTITION_TAG)
    if key is not None and kinds == {
        per for per in kinds if Condition.from_partition_key(key) in conditions_of(study, per)
    }:
        return
    if RANGE_START_TAG in run.tags:
        problem = "is of a range of partitions, and makes one only: choose 'Multiple runs'"
    elif key is not None:
        problem = f"is of partition {key}, which is none of this study's for what it would make"
    else:
        problem = "has no partition: choose dose and view in the launchpad, or in 'Materialize'"
    names = ", ".join(item.name for item in made[:3]) + (", ..." if made[3:] else "")
    raise InputError(f"this run of {names}", "", problem)


def preloaded(instance: DagsterInstance) -> list[str]:
    """Modules that fork servers load once for all steps: never TensorFlow or torch.

    The instance's storages are among them, because a step spends a second of CPU time on loading
    SQLAlchemy and what else opening the instance needs.
    """
    modules = {getattr(part, "module_name", "") for part in instance.get_ref()}
    return ["fly64_assets.definitions", *sorted(modules - {""})]


class _StepProcesses(MultiprocessExecutor):
    """Every step in a process of its own, forked from a server that has loaded what it needs."""

    def __init__(self, context: StudyContext) -> None:
        super().__init__(
            retries=RetryMode.ENABLED,
            max_concurrent=MAX_STEPS,
            start_method="forkserver",
        )
        self._context = context

    def execute(
        self, plan_context: PlanContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        _sign(plan_context)
        steps = execution_plan.step_keys_to_execute
        require_partition(self._context.study, plan_context.dagster_run, steps)
        with interrupts.listening(), ExitStack() as stack:
            yield from self._hold(plan_context, stack)
            if self._is_needless(plan_context):
                text = "all of it was made since the night asked for it: nothing is made again"
                yield DagsterEvent.engine_event(plan_context, text, EngineEventData())
                return
            start_servers(self._context.study, steps, preloaded(plan_context.instance))
            yield from super().execute(plan_context, execution_plan)

    def _is_needless(self, plan_context: PlanContext) -> bool:
        """Whether a night asked for this run, and another one has made it while it waited."""
        run, (cell, *_) = plan_context.dagster_run, (*cells_of(plan_context.dagster_run), None)
        items = [BY_KEY[tuple(key.path)] for key in run.asset_selection or ()]
        if not by_night(run) or cell is None or not items:
            return False
        planner = self._context.planner(plan_context.instance)
        return all(planner.verdict(i, cell.condition).state is State.FRESH for i in items)

    def _hold(self, plan_context: PlanContext, stack: ExitStack) -> Iterator[DagsterEvent]:
        """Hold the run's partitions; what nobody sits and waits for, waits until they are free.

        Raises:
            InProgress: another run is at one of them, and this one is the command line's.
        """
        run, instance, told = plan_context.dagster_run, plan_context.instance, ""
        while True:
            try:
                stack.enter_context(held(self._context.store, instance, cells_of(run)))
                return
            except InProgress as error:
                if by_command_line(run):
                    raise
                if f"{error}" != told:
                    told = f"{error}"
                    yield DagsterEvent.engine_event(plan_context, told, EngineEventData())
            with raise_execution_interrupts():
                time.sleep(WAIT_S)


class _ThisProcess(Executor):
    """Every step in the run's own process: for checks, which are shorter than a process's start."""

    def __init__(self, dagsters: Executor) -> None:
        self._dagsters = dagsters

    @property
    def retries(self) -> RetryMode:
        return self._dagsters.retries

    def execute(
        self, plan_context: PlanContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        _sign(plan_context)
        with steps_run_here():
            yield from self._dagsters.execute(plan_context, execution_plan)


def step_processes(context: StudyContext) -> ExecutorDefinition:
    """Make the executor of everything that makes something."""

    @executor(name="step_processes", requirements=multiple_process_executor_requirements())
    def build(_: InitExecutorContext) -> Executor:
        return _StepProcesses(context)

    return build


@executor(name="this_process")
def this_process(context: InitExecutorContext) -> Executor:
    """Make the executor of jobs that only check."""
    make = in_process_executor.executor_creation_fn
    assert make is not None
    return _ThisProcess(make(context._replace(executor_config={"retries": {"enabled": {}}})))
