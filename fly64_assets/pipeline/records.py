"""The ledger: what the Dagster instance has recorded of each product, and whether it still holds.

A record is the provenance that a materialization carries. Whether an output may be consumed depends
on three things that are looked up here: its latest materialization, the asset checks of that very
materialization, and the bytes on disk. Nothing here decides what should run (``freshness.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    EventLogEntry,
    EventLogRecord,
    MetadataValue,
    deserialize_value,
)
from sqlalchemy import select

from fly64_assets.documents.provenance import FAILED, NOT_RUN, PASSED, WARNING, Provenance
from fly64_assets.pipeline.dagster_internals import CHECKS, check_table
from fly64_assets.pipeline.process import utc_text
from fly64_assets.pipeline.store import Store
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import Product

PROVENANCE = "provenance"
"""Metadata key under which a materialization carries its record."""
MADE_IN = "made_in"
"""Metadata key of a materialization that was reported again: its first run and step."""
JUDGED_BY = "study_sha256"
"""Metadata key under which an evaluation says by which study it judged."""


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

    ``passed`` is None when the check never ran for that materialization; ``checked_at`` is UTC;
    ``judged_by`` is the sha256 of the study by which it judged.
    """

    name: str
    blocking: bool
    passed: bool | None
    severity: str = "ERROR"
    description: str = ""
    checked_at: str = ""
    judged_by: str = ""

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
        """Return the latest materialization that carries a provenance record, or None."""
        return self._latest(product, condition, None)

    def previous(self, record: Record) -> Record | None:
        """Return the materialization before this one, or None."""
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
        """Return the latest evaluation of each of the product's checks of this very making."""
        product = record.product
        latest = dict(self._evaluations(record))
        return [
            _check_state(name, name in product.blocking_checks, latest.get(name))
            for name in product.checks
        ]

    def _evaluations(self, record: Record) -> Iterator[tuple[str, EventLogEntry]]:
        """Yield the evaluations of this materialization that ended, in the order of their ends.

        Dagster numbers a check's row when its run is created, and its own queries take the highest
        number. Where runs overlap, that row may be of another materialization, of a run that never
        got so far, or older than a lower one.
        """
        query = (
            select(CHECKS.c.check_name, CHECKS.c.evaluation_event)
            .where(
                CHECKS.c.asset_key == AssetKey(record.product.key).to_string(),
                CHECKS.c.check_name.in_(record.product.checks),
                CHECKS.c.materialization_event_storage_id == record.storage_id,
                CHECKS.c.evaluation_event.is_not(None),
            )
            .order_by(CHECKS.c.evaluation_event_storage_id)
        )
        with check_table(self.instance) as connection:
            assert connection is not None  # all storages that come with Dagster are databases
            rows = connection.execute(query).all()
        for name, event in rows:
            yield name, deserialize_value(event, EventLogEntry)

    def altered(self, record: Record) -> str | None:
        """Return what no longer matches the record on disk; None when every byte does."""
        return self.store.altered(record.provenance.files)


def _check_state(name: str, blocking: bool, entry: EventLogEntry | None) -> CheckState:
    evaluation = entry.asset_check_evaluation if entry else None
    if entry is None or evaluation is None:
        return CheckState(name, blocking, None)
    study = evaluation.metadata.get(JUDGED_BY)
    return CheckState(
        name,
        blocking,
        evaluation.passed,
        evaluation.severity.value,
        evaluation.description or "",
        utc_text(entry.timestamp),
        str(study.value) if study else "",
    )
