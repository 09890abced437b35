"""The ledger: what the Dagster instance has recorded of each product, and whether it still holds.

A record is the provenance that a materialization carries. Whether an output may be consumed depends
on three things that are looked up here: its latest materialization, the asset checks of that very
materialization, and the bytes on disk. Nothing here decides what should run (``planner.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    EventLogRecord,
    MetadataValue,
)
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from fly64_assets.catalogue import Product
from fly64_assets.partitions import Condition
from fly64_assets.process import utc_text
from fly64_assets.store import FileRecord, Store

STATES = ("passed", "warning", "failed", "not run")
"""Of an asset check."""
PASSED, WARNING, FAILED, NOT_RUN = STATES
PROVENANCE = "provenance"
"""Metadata key under which a materialization carries its record."""
MADE_IN = "made_in"
"""Metadata key of a materialization that was reported again: its first run and step."""
COMPLETED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


@dataclass(frozen=True)
class InputRecord:
    """One input as it was consumed."""

    asset: str
    partition: str | None
    data_version: str
    storage_id: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Provenance:
    """What a materialization says of itself. Times are UTC, paths relative to the store.

    Attributes:
        fingerprint: hash of code version, settings read and inputs' data versions.
        data_version: "same" means equal in this: content without times, host and versions.
        files: path -> what was written.
        inputs: asset name -> what was read.
        seconds, cpu_seconds, peak_memory_mb: of the step's own process (VmHWM).
    """

    asset: str
    partition: str | None
    generated_at: str
    study: str
    study_sha256: str
    fingerprint: str
    code_version: str
    data_version: str
    settings: Mapping[str, Any]
    files: Mapping[str, FileRecord]
    inputs: Mapping[str, InputRecord]
    versions: Mapping[str, str]
    git_commit: str | None
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Provenance:
        files = {path: FileRecord(**record) for path, record in content["files"].items()}
        inputs = {name: InputRecord(**record) for name, record in content["inputs"].items()}
        return cls(**{**content, "files": files, "inputs": inputs})


@dataclass(frozen=True)
class Record:
    """A materialization of a product in one condition, with all metadata that it shows.

    ``run_id`` and ``step_key`` are of the step that made it, also where it was recorded again.
    """

    product: Product
    condition: Condition
    storage_id: int
    run_id: str
    step_key: str
    provenance: Provenance
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float]:
        """The numbers that it shows."""
        return {
            name: shown.value
            for name, shown in self.metadata.items()
            if isinstance(shown.value, int | float)
        }


@dataclass(frozen=True)
class CheckState:
    """Latest completed evaluation of one check, for one materialization.

    ``passed`` is None when the check never ran for that materialization; ``checked_at`` is UTC.
    """

    name: str
    blocking: bool
    passed: bool | None
    severity: str = "ERROR"
    description: str = ""
    checked_at: str = ""

    @property
    def state(self) -> str:
        """One of `STATES`; a failed evaluation of severity WARN is a warning."""
        if self.passed is None:
            return NOT_RUN
        if self.passed:
            return PASSED
        return FAILED if self.failed else WARNING

    @property
    def failed(self) -> bool:
        return self.passed is False and self.severity == "ERROR"


def _record_of(product: Product, condition: Condition, event: EventLogRecord) -> Record | None:
    materialization = event.asset_materialization
    carried = materialization.metadata.get(PROVENANCE) if materialization else None
    if materialization is None or carried is None:
        return None  # reported by hand: nothing says what it was made from
    made_in: Any = materialization.metadata.get(MADE_IN)
    run_id, step_key = made_in.value if made_in else (event.run_id, event.event_log_entry.step_key)
    return Record(
        product,
        condition,
        event.storage_id,
        run_id,
        step_key or "",
        Provenance.from_json(carried.value),  # type: ignore[arg-type]
        materialization.metadata,
    )


class Ledger:
    """Reads the event log of one instance for the files of one store."""

    def __init__(self, instance: DagsterInstance, store: Store) -> None:
        self.instance, self.store = instance, store

    def latest(self, product: Product, condition: Condition) -> Record | None:
        """The latest materialization that carries a provenance record, or None."""
        return self._latest(product, condition, None)

    def previous(self, record: Record) -> Record | None:
        """The materialization before this one, or None."""
        return self._latest(record.product, record.condition, record.storage_id)

    def _latest(self, product: Product, condition: Condition, before: int | None) -> Record | None:
        key = condition.partition_key
        found = self.instance.fetch_materializations(
            AssetRecordsFilter(
                AssetKey(product.key),
                asset_partitions=[key] if key else None,
                before_storage_id=before,
            ),
            limit=1,
        ).records
        return _record_of(product, condition, found[0]) if found else None

    def checks(self, record: Record) -> list[CheckState]:
        """The state of each of the product's checks for this very materialization."""
        product = record.product
        keys = [AssetCheckKey(AssetKey(product.key), name) for name in product.checks]
        latest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            keys, PartitionKeyFilter(key=record.condition.partition_key)
        )
        return [self._check_state(record, key, latest.get(key)) for key in keys]

    def _check_state(
        self, record: Record, key: AssetCheckKey, execution: AssetCheckExecutionRecord | None
    ) -> CheckState:
        blocking = key.name in record.product.blocking_checks
        if execution is not None and execution.status not in COMPLETED:
            execution = self._completed(record, key)
        evaluation = execution.evaluation if execution and execution.event else None
        target = evaluation.target_materialization_data if evaluation else None
        if evaluation is None or target is None or target.storage_id != record.storage_id:
            return CheckState(key.name, blocking, None)
        return CheckState(
            key.name,
            blocking,
            evaluation.passed,
            evaluation.severity.value,
            evaluation.description or "",
            utc_text(execution.event.timestamp),  # type: ignore[union-attr]
        )

    def _completed(self, record: Record, key: AssetCheckKey) -> AssetCheckExecutionRecord | None:
        """The latest evaluation that ended: a later one is planned, or its run was killed."""
        history = self.instance.event_log_storage.get_asset_check_execution_history(
            key,
            limit=1,
            status=COMPLETED,
            partition_filter=PartitionKeyFilter(key=record.condition.partition_key),
        )
        return history[0] if history else None

    def altered(self, record: Record) -> str | None:
        """What no longer matches the record on disk; None when every byte does."""
        return self.store.altered(record.provenance.files)
