"""Faults that tests put into a store and its instance, as a mishap or a bug would."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    EventLogEntry,
    MetadataValue,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from fly64_assets.documents.provenance import FileRecord
from fly64_assets.pipeline import stored_records
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import instance_folder
from fly64_assets.pipeline.records import PROVENANCE
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.products import Product


def report_as_made(
    context: StudyContext,
    instance: DagsterInstance,
    product: Product,
    condition: Condition,
    *,
    data_version: str | None = None,
    figures: Mapping[str, float] | None = None,
) -> None:
    """Record what is on disk now as a materialization like the last one, hashes and all.

    ``figures`` replace some of the numbers that it shows.

    Only checks can tell then: the case of wrong content that was written faithfully.
    """
    record = context.ledger(instance).latest(product, condition)
    assert record is not None
    files = {}
    for path in record.provenance.files:
        file = context.store.root / path
        files[path] = FileRecord(path, sha256_of(file), file.stat().st_size)
    provenance = replace(
        record.provenance,
        files=files,
        data_version=data_version or record.provenance.data_version,
    )
    instance.report_runless_asset_event(
        AssetMaterialization(
            AssetKey(product.key),
            partition=condition.partition_key,
            metadata={
                **record.figures,
                **(figures or {}),
                PROVENANCE: MetadataValue.json(provenance.to_json()),
            },
            tags={DATA_VERSION_TAG: provenance.data_version},
        )
    )


def plan_evaluation(instance: DagsterInstance, run_id: str, key: AssetKey, name: str) -> None:
    """Record what Dagster records of a check when a run that will evaluate it is created."""
    planned = AssetCheckEvaluationPlanned(asset_key=key, check_name=name)
    _store(instance, run_id, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned)


def report_evaluation(
    instance: DagsterInstance, run_id: str, key: AssetKey, name: str, passed: bool, of: int, **more
) -> None:
    """Record an evaluation by a run; ``of`` is the storage id of the materialization judged."""
    target = AssetCheckEvaluationTargetMaterializationData(storage_id=of, run_id="", timestamp=0.0)
    judged = AssetCheckEvaluation(key, name, passed, target_materialization_data=target, **more)
    _store(instance, run_id, DagsterEventType.ASSET_CHECK_EVALUATION, judged)


def _store(instance: DagsterInstance, run_id: str, kind: DagsterEventType, content: object) -> None:
    event = DagsterEvent(kind.value, "a_job", event_specific_data=content)  # type: ignore[arg-type]
    instance.event_log_storage.store_event(
        EventLogEntry(None, 20, "", run_id, time.time(), dagster_event=event)
    )


def replace_as_if_made(context: StudyContext, product: Product, condition: Condition) -> None:
    """`report_as_made` on the study's own instance, as other data than before.

    The record beside the files would contradict it, so that goes.
    """
    stored_records.file_of(context.store, product, condition).unlink()
    folder = str(instance_folder(context.study))
    with DagsterInstance.from_config(folder) as instance:
        report_as_made(context, instance, product, condition, data_version="0" * 64)
