"""What the end of a run leaves beside its partitions: a blocker, or none any more.

The same for every run, whoever started it: the command line calls it when its run has ended, a
sensor for the runs of the UI, of backfills and of the schedule, and the reaper for what died.
"""

from __future__ import annotations

import logging

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner
from fly64_assets.pipeline.store import Store
from fly64_assets.pipeline.targets import Cell, cells_of
from fly64_assets.runs.events import stops_of

LOG = logging.getLogger(__name__)
RECENT = 50
"""Runs looked through for one that ended after this one."""


def note_end(context: StudyContext, instance: DagsterInstance, run: DagsterRun) -> None:
    """Write what stopped a run, or clear what it has mended. A run that was refused leaves nothing.

    Args:
        context: the study.
        instance: its instance.
        run: a run that has ended, as it is recorded now.
    """
    cells = [cell for cell in cells_of(run) if not _ended_later(instance, run, cell)]
    if run.status is DagsterRunStatus.SUCCESS:
        planner = context.planner(instance)
        for cell in cells:
            clear_if_mended(planner, context.store, cell)
        return
    found = stops_of(instance, run)
    if found is None:
        return
    for cell in cells:
        try:
            blockers.write(context.store, cell.level, cell.condition, run.run_id, found)
        except OSError as error:  # what stopped the run may be that nothing can be written
            LOG.warning("%s: its blocker cannot be written: %s", cell, error.strerror)


def _ended_later(instance: DagsterInstance, run: DagsterRun, cell: Cell) -> bool:
    """Whether a run of the same cell that was started after this one has ended too."""
    for other in instance.get_runs(limit=RECENT):  # the newest first
        if other.run_id == run.run_id:
            return False
        if other.is_finished and cell in cells_of(other):
            return True
    return False


def clear_if_mended(planner: Planner, store: Store, cell: Cell) -> None:
    """Remove the cell's blocker when what it names needs no run any more."""
    names = blockers.steps(store, cell.level, cell.condition)
    stopped = {part for name in names for part in name.removeprefix("check_").split("_and_")}
    waiting = [
        item
        for item in cell.level.products_in(planner.study)
        if "_".join(item.key) in stopped and planner.verdict(item, cell.condition).must_run
    ]
    if names and not waiting:
        blockers.clear(store, cell.level, cell.condition)
