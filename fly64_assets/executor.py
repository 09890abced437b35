"""How a run is carried out: its process signs it, holds its partition and starts its steps.

Whoever starts a run (command line, UI, backfill, schedule), its executor passes through here, so
here the run is tagged with the process that carries it out, and here a second run of the same
partition is refused. What happens when the process dies is the reaper's (``reaper.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from dagster import DagsterInstance, ExecutorDefinition, InitExecutorContext, executor
from dagster._core.definitions.executor_definition import (
    multiple_process_executor_requirements,
)
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan import instance_concurrency_context
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.multiprocess import MultiprocessExecutor
from dagster._serdes import ConfigurableClassData

from fly64_assets import interrupts
from fly64_assets.context import StudyContext
from fly64_assets.process import steps_run_here
from fly64_assets.step_servers import start_servers
from fly64_assets.store import Store
from fly64_assets.work import Cell, cells_of
from fly64_assets.worker_process import sign_children

PROCESS_TAG = "fly64/process"
"""``pid/start/boot/host/run`` of the process that carries a run out. It ends with the run's own id,
because Dagster copies tags to the run that repeats a failed one."""
MAX_STEPS = 2
"""Steps at once in a run; the solver pool keeps two solvers apart."""
# A step that waits for the solver pool would ask for its place less and less often, in the end
# every 15 s: a place that gets free between two trainings would lie idle for so long.
instance_concurrency_context.MAX_CONCURRENCY_CLAIM_BLOCKED_INTERVAL = 1


def run_lock_name(cell: Cell) -> str:
    """Name of the lock that a run holds on its partition."""
    return f"run-{cell.slug}"


@contextmanager
def held(store: Store, cells: list[Cell]) -> Iterator[None]:
    """Hold the partitions of one run; the kernel lets them go when this process ends.

    Raises:
        InProgress: another run is at one of them, and by which process.
    """
    with ExitStack() as stack:
        for cell in cells:
            stack.enter_context(store.lock(run_lock_name(cell), f"{cell}"))
        yield


def _sign(plan_context: PlanOrchestrationContext) -> None:
    run_id = plan_context.dagster_run.run_id
    plan_context.instance.add_run_tags(run_id, {PROCESS_TAG: f"{sign_children()}/{run_id}"})


def preloaded(instance: DagsterInstance) -> list[str]:
    """Modules that fork servers load once for all steps: never TensorFlow or torch.

    The instance's storages are among them, because a step spends a second of CPU time on loading
    SQLAlchemy and what else opening the instance needs.
    """
    parts = [part for part in instance.get_ref() if isinstance(part, ConfigurableClassData)]
    return ["fly64_assets.definitions", *sorted({part.module_name for part in parts})]


class _StepProcesses(MultiprocessExecutor):
    """Every step in a process of its own, forked from a server that has loaded what it needs."""

    def __init__(self, context: StudyContext) -> None:
        super().__init__(
            retries=RetryMode.ENABLED,
            max_concurrent=MAX_STEPS,
            start_method="forkserver",
        )
        self._store, self._study = context.store, context.study

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        _sign(plan_context)
        modules = preloaded(plan_context.instance)
        start_servers(self._study, execution_plan.step_keys_to_execute, modules)
        with interrupts.listening(), held(self._store, cells_of(plan_context.dagster_run)):
            yield from super().execute(plan_context, execution_plan)


class _ThisProcess(InProcessExecutor):
    """Every step in the run's own process: for checks, which are shorter than a process's start."""

    def __init__(self) -> None:
        super().__init__(retries=RetryMode.ENABLED)

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        _sign(plan_context)
        with steps_run_here():
            yield from super().execute(plan_context, execution_plan)


def step_processes(context: StudyContext) -> ExecutorDefinition:
    """The executor of everything that makes something."""

    @executor(name="step_processes", requirements=multiple_process_executor_requirements())
    def build(_: InitExecutorContext) -> MultiprocessExecutor:
        return _StepProcesses(context)

    return build


@executor(name="this_process")
def this_process(_: InitExecutorContext) -> InProcessExecutor:
    """The executor of jobs that only check."""
    return _ThisProcess()
