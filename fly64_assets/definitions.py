"""The code location: the one place where assets, checks, resources and jobs meet.

Importing this module is light: TensorFlow, torch, SciPy, pandas and matplotlib are imported by the
steps that use them. The study is the one that ``FLY64_STUDY`` names, or ``study.yaml``.
"""

from __future__ import annotations

import warnings

from dagster import (
    AssetSelection,
    BetaWarning,
    Definitions,
    PartitionedConfig,
    PreviewWarning,
    define_asset_job,
)

from fly64_assets.pipeline import assets, check_frame, environment
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.io_manager import StoreIOManager
from fly64_assets.pipeline.partitions import partitions_definition
from fly64_assets.pipeline.targets import CHECK_JOBS, JOBS
from fly64_assets.runs import automation
from fly64_assets.runs.executor import step_processes, this_process
from fly64_assets.study.conditions import Per
from fly64_assets.study.products import ALL_LEVELS, Level, products_in

ABOUT = dict(
    zip(
        ALL_LEVELS,
        (
            "Phase B: the specimen.",
            "Phase C: both datasets of the dose that is the run's partition.",
            "Phases D to G: all that leads to the scores of the run's partition, dose and view.",
            "What is written about the scores of the run's partition, dose and view.",
            "What is said of all conditions that are finished.",
        ),
        strict=True,
    )
)
MEETS = (
    "Makes it again, fresh or not (`fly64 run` only what is not fresh). Where another run is at "
    "it, or makes what it reads, this one waits, and its log says for which run."
)
CHECKS = (
    "Evaluates every check of its partition, and makes nothing; without a partition, of every "
    "partition that was made."
)


def _job(context: StudyContext, level: Level):
    keys = ["/".join(item.key) for item in level.products_in(context.study)]
    selection = AssetSelection.assets(*keys) | AssetSelection.checks_for_assets(*keys)
    return define_asset_job(JOBS[level], selection, description=f"{ABOUT[level]} {MEETS}")


def _check_job(context: StudyContext, per: Per):
    items = products_in(context.study)
    keys = ["/".join(item.key) for item in items if item.per == per and item.checks]
    partitions = partitions_definition(context.study, per)
    assert partitions is not None  # of what exists once a study, nothing is checked
    return define_asset_job(
        CHECK_JOBS[per],
        AssetSelection.checks_for_assets(*keys),
        description=CHECKS,
        # Dagster takes a job's partitions from its assets, and of this job only from here.
        config=PartitionedConfig(partitions, run_config_for_partition_key_fn=lambda _: {}),
        # No check loads TensorFlow or torch, and starting a process takes longer than a check.
        executor_def=this_process,
    )


def build_definitions(context: StudyContext) -> Definitions:
    """All definitions for one study; tests and production build them here."""
    # Partitioned checks and the dose mapping are preview and beta in the pinned Dagster, which
    # says so once per asset; the pin is the answer to that.
    warnings.filterwarnings("ignore", category=PreviewWarning)
    warnings.filterwarnings("ignore", category=BetaWarning)
    return Definitions(
        assets=assets.build_all(context),
        asset_checks=check_frame.build_all(context),
        resources={"io_manager": StoreIOManager(context)},
        jobs=[
            *(_job(context, level) for level in ALL_LEVELS),
            *(_check_job(context, per) for per in CHECK_JOBS),
        ],
        schedules=automation.schedules(context),
        sensors=automation.sensors(context),
        executor=step_processes(context),
    )


environment.settle_once()
defs = build_definitions(StudyContext.load())
