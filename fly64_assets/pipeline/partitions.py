"""Dagster's partitions of the study's conditions.

Concept: https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

from __future__ import annotations

from dagster import (
    MultiPartitionKey,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    StaticPartitionsDefinition,
)

from fly64_assets.study.conditions import Condition, Per, dose_keys, view_keys
from fly64_assets.study.model import Study


def partitions_definition(study: Study, per: Per) -> PartitionsDefinition | None:
    """Return the partitions of an asset that exists once per study, dose or condition."""
    if per == "study":
        return None
    doses = StaticPartitionsDefinition(dose_keys(study))
    if per == "dose":
        return doses
    views = StaticPartitionsDefinition(view_keys(study))
    return MultiPartitionsDefinition({"dose": doses, "view": views})


def dagster_key(condition: Condition) -> str | MultiPartitionKey | None:
    """Return the key in the type that Dagster wants where a run is started."""
    if condition.view is None:
        return condition.partition_key
    return MultiPartitionKey({"dose": str(condition.dose), "view": condition.view})
