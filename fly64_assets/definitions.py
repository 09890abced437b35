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
    PreviewWarning,
    define_asset_job,
    multiprocess_executor,
)

from fly64_assets import assets, checks
from fly64_assets.catalogue import PRODUCTS
from fly64_assets.context import StudyContext
from fly64_assets.io_manager import StoreIOManager
from fly64_assets.partitions import Per

JOBS: dict[Per, str] = {
    "study": "prepare_specimen",
    "dose": "simulate_datasets",
    "condition": "run_condition",
}
"""One job per partitioning: a run cannot span assets of different partitions definitions."""

_executor = multiprocess_executor.configured(
    {
        # Two steps at once; the solver pool keeps two solvers apart.
        "max_concurrent": 2,
        # Steps fork from a server that has loaded the light part once; never TensorFlow or torch.
        "start_method": {"forkserver": {"preload_modules": ["fly64_assets.definitions"]}},
    }
)


def _job(per: Per):
    keys = ["/".join(item.key) for item in PRODUCTS if item.per == per]
    selection = AssetSelection.assets(*keys)
    return define_asset_job(JOBS[per], selection | AssetSelection.checks_for_assets(*keys))


def build_definitions(context: StudyContext) -> Definitions:
    """All definitions for one study; tests and production build them here."""
    # Partitioned checks and the dose mapping are preview and beta in the pinned Dagster, which
    # says so once per asset; the pin is the answer to that.
    warnings.filterwarnings("ignore", category=PreviewWarning)
    warnings.filterwarnings("ignore", category=BetaWarning)
    return Definitions(
        assets=assets.build_all(context),
        asset_checks=checks.build_all(context),
        resources={"io_manager": StoreIOManager(context)},
        jobs=[_job(per) for per in JOBS],
        executor=_executor,
    )


defs = build_definitions(StudyContext.load())
