"""Work: what a run has to make in one partition, and what a recorded run was asked to make.

The unit is a *cell*: a level in a condition, which is what one run makes and what one run at a time
may make. The command line (``runner.py``), the night (``nightly.py``), the executor's locks and the
reaper all speak of cells, so that they cannot disagree. Nothing here starts anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    MultiPartitionKey,
    RunsFilter,
)

from fly64_assets.errors import InputError
from fly64_assets.pipeline.dagster_internals import BACKFILL_TAG, DIMENSION_TAG, PARTITION_TAG
from fly64_assets.pipeline.freshness import Planner, State
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.pipeline.process import utc_text
from fly64_assets.pipeline.process_identity import ProcessIdentity
from fly64_assets.study.conditions import Condition, Per
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import Study
from fly64_assets.study.products import (
    ALL_LEVELS,
    BY_KEY,
    LEVELS,
    PRODUCTS,
    STUDY_LEVEL,
    Level,
    Product,
)

JOBS: dict[Level, str] = dict(
    zip(
        ALL_LEVELS,
        (
            "prepare_specimen",
            "simulate_datasets",
            "run_condition",
            "report_condition",
            "report_study",
        ),
        strict=True,
    )
)
"""One job a level: a run cannot span assets of different partitions definitions, and reports for
people may fail without failing a scored run."""

CHECK_JOBS: dict[Per, str] = {"dose": "check_datasets", "condition": "check_conditions"}
"""Jobs that run every check of a partition and make nothing."""

LAUNCH_TAG = "fly64/launch"
"""On a run that the command line started: its own id, because Dagster copies tags to the run that
repeats one."""
NIGHT_TAG = "fly64/night"
"""On every run of a night: when the night began, UTC."""
PROCESS_TAG = "fly64/process"
"""``pid/start/boot/host/run`` of the process that carries a run out. It ends with the run's own id,
because Dagster copies tags to the run that repeats a failed one."""
UNFINISHED = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class Cell:
    """A level in one condition, which is restricted to what the level is partitioned by."""

    level: Level
    condition: Condition

    @classmethod
    def of(cls, level: Level, condition: Condition) -> Cell:
        return cls(level, condition.restricted_to(level.per))

    def __str__(self) -> str:
        return f"{JOBS[self.level]} {self.condition}"

    @property
    def slug(self) -> str:
        """A file name: ``run_condition-1000_dense``."""
        return f"{JOBS[self.level]}-{self.condition}".replace("|", "_")

    @property
    def upstream(self) -> list[Cell]:
        """What no other run may make while this cell is made; what all conditions are, is not."""
        if self.level == STUDY_LEVEL:
            return []
        return [Cell.of(level, self.condition) for level in LEVELS[: LEVELS.index(self.level)]]

    def shares_files_with(self, other: Cell) -> bool:
        """Whether one reads or writes what the other writes, so that both at once cannot be."""
        mine, others = self.condition, other.condition
        if mine.dose is None or others.dose is None:
            return True
        same_view = mine.view is None or others.view is None or mine.view == others.view
        return mine.dose == others.dose and same_view


def study_cells(study: Study) -> list[Cell]:
    """Every cell of a study's matrix, what is made first first."""
    conditions = [Condition(dose, view) for dose in study.doses for view in study.views]
    return list(dict.fromkeys(Cell.of(level, at) for level in ALL_LEVELS for at in conditions))


@dataclass(frozen=True)
class RunRequest:
    """One Dagster run in one partition: products to make, or products only to check."""

    level: Level
    condition: Condition
    make: tuple[Product, ...]
    check: tuple[Product, ...]

    @property
    def cell(self) -> Cell:
        return Cell(self.level, self.condition)

    @property
    def assets(self) -> list[AssetKey]:
        return [AssetKey(item.key) for item in self.make]

    @property
    def checks(self) -> list[AssetCheckKey]:
        return [
            AssetCheckKey(AssetKey(item.key), name)
            for item in (*self.make, *self.check)
            for name in item.checks
        ]


def next_request(
    planner: Planner,
    condition: Condition,
    level: Level,
    *,
    force: bool = False,
    unfinished: bool = False,
) -> RunRequest | None:
    """Return what one level of a condition needs next; None when it is fresh.

    What was made but never checked is checked first, in a run of its own: the checks decide what
    remains to be made.

    Args:
        planner: one look at the study.
        condition, level: what is asked for.
        force: make what is fresh as well.
        unfinished: what comes before the level failed, so that only what reports on checks can be
            made, and says so.
    """
    at = condition.restricted_to(level.per)
    products = level.products_in(planner.study)
    if unfinished:
        products = tuple(p for p in products if p.depends_on_checks and planner.reported(p, at))
    if level == STUDY_LEVEL and not any(map(planner.gathered, products[:1])):
        return None  # no condition has been finished yet
    verdicts = [planner.verdict(item, at) for item in products]
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


def state_digest(planner: Planner, cell: Cell) -> str:
    """Hash of how a cell stands: equal as long as nothing was made, altered or judged anew."""
    items = cell.level.products_in(planner.study)
    verdicts = [planner.verdict(item, cell.condition) for item in items]
    return digest(
        [
            [v.product.name, v.state, v.reason, v.record.storage_id if v.record else None]
            for v in verdicts
        ]
    )


def partition_tags(condition: Condition) -> dict[str, str]:
    """Return the tags by which Dagster knows a run's partition; none for what is once a study."""
    key = dagster_key(condition)
    tags = {} if key is None else {PARTITION_TAG: str(key)}
    if isinstance(key, MultiPartitionKey):
        for dimension, value in key.keys_by_dimension.items():
            tags[f"{DIMENSION_TAG}{dimension}"] = value
    return tags


def cells_of(run: DagsterRun) -> list[Cell]:
    """Return what a run makes or checks, whoever started it; [] when it says nothing.

    The UI's own buttons and backfills run assets in a job of Dagster's, so the selection counts
    where there is one, and the job's name where there is none.
    """
    keys = {tuple(key.path) for key in run.asset_selection or ()}
    keys |= {tuple(key.asset_key.path) for key in run.asset_check_selection or ()}
    levels = {
        level for level in ALL_LEVELS for item in level.products if item.key in keys & BY_KEY.keys()
    }
    if not keys:
        levels = {level for level, name in JOBS.items() if name == run.job_name}
    try:
        condition = Condition.from_partition_key(run.tags.get(PARTITION_TAG))
    except InputError:
        return []
    cells = [Cell.of(level, condition) for level in ALL_LEVELS if level in levels]
    return [cell for cell in cells if _names_its_partition(cell)]


def _names_its_partition(cell: Cell) -> bool:
    per, condition = cell.level.per, cell.condition
    return (per == "study" or condition.dose is not None) and (
        per != "condition" or condition.view is not None
    )


def process_of(run: DagsterRun) -> ProcessIdentity | None:
    """Return the process that carries the run out, as the run has said; None when it has not."""
    text, _, run_id = run.tags.get(PROCESS_TAG, "").rpartition("/")
    return ProcessIdentity.from_text(text) if run_id == run.run_id else None


def by_night(run: DagsterRun) -> bool:
    """Whether a night has asked for the run itself, and not a person for it again."""
    return NIGHT_TAG in run.tags and run.parent_run_id is None


def started_by(run: DagsterRun) -> str:
    """Who started a run, in words."""
    if by_command_line(run):
        return "the command line"
    if by_night(run):
        return f"the night of {run.tags[NIGHT_TAG]}"
    if BACKFILL_TAG in run.tags:
        return f"backfill {run.tags[BACKFILL_TAG]}"
    return "the web UI"


def in_the_way(instance: DagsterInstance, cell: Cell, pid: int | None) -> str | None:
    """Return the run that holds a cell, who started it and what to do; None without one.

    One that makes what hangs on the cell holds it too. Of several that may, others wait for it: it
    is the one of the process that was last alone at it, else the one that is at work longest.

    Args:
        instance: the study's.
        cell: what another process holds.
        pid: of the process that was last alone at it.
    """
    found = []
    for record in instance.get_run_records(RunsFilter(statuses=list(UNFINISHED))):
        run, process = record.dagster_run, process_of(record.dagster_run)
        theirs = [one for one in cells_of(run) if cell in (one, *one.upstream)]
        if theirs and process is not None and not process.gone and process.pid != os.getpid():
            since = record.start_time or record.create_timestamp.timestamp()
            found.append((process.pid != pid, since, run, theirs[0], process.pid))
    if not found:
        return None
    _, since, run, held, number = min(found, key=lambda one: one[:2])
    return (
        f"{cell} waits for run {run.run_id[:8]} ({held}), which {started_by(run)} started at "
        f"{utc_text(since)} (process {number}): let it end, or stop it where it was started or in "
        "the UI with Terminate"
    )


def by_command_line(run: DagsterRun) -> bool:
    """Whether the command line carries the run out."""
    return run.tags.get(LAUNCH_TAG) == run.run_id


def unfinished_runs(instance: DagsterInstance) -> Iterator[tuple[DagsterRun, list[Cell]]]:
    """Yield runs that wait or are in progress, with their cells."""
    for run in instance.get_runs(RunsFilter(statuses=list(UNFINISHED))):
        yield run, cells_of(run)
