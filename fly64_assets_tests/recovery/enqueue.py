"""Put a run of some products into the daemon's queue, as the UI's buttons do.

``python -m fly64_assets_tests.recovery.enqueue NAME,NAME``: prints the run's id.
"""

from __future__ import annotations

import sys

from dagster import AssetCheckKey, AssetKey, DagsterRunStatus
from dagster._core.events import DagsterEvent

from fly64_assets.definitions import defs
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.targets import JOBS, partition_tags
from fly64_assets.runs.runner import remote_origin
from fly64_assets.study.products import BY_KEY, LEVELS
from fly64_assets_tests.recovery.scenes import AT


def main(names: set[str]) -> None:
    products = [item for item in BY_KEY.values() if item.name in names]
    level = next(level for level in LEVELS if set(products) <= set(level.products))
    keys = {AssetKey(item.key) for item in products}
    checks = {AssetCheckKey(AssetKey(i.key), name) for i in products for name in i.checks}
    job = defs.resolve_job_def(JOBS[level]).get_subset(
        asset_selection=keys, asset_check_selection=checks
    )
    context = StudyContext.load()
    with study_instance(context.study, context.study_file) as instance:
        run = instance.create_run_for_job(
            job,
            status=DagsterRunStatus.NOT_STARTED,
            tags=partition_tags(AT.restricted_to(level.per)),
            asset_selection=frozenset(keys),
            remote_job_origin=remote_origin(JOBS[level]),
        )
        instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run.run_id)
        print(run.run_id)


if __name__ == "__main__":
    main(set(sys.argv[1].split(",")))
