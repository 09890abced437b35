"""Records made again: what the database lost and the store still has.

What is kept of each materialization beside its files (``stored_records.py``) is a hint. It is
believed as far as it is proved: every file by size and sha256, no file beside them, the fingerprint
from what it is the hash of, the data version from the arrays, each input by the record that there
is of it now. Then the materialization is reported again, as Dagster's public API reports one from
outside a run. Checks are never taken over: they are evaluated anew. Who forges record, files and
hashes alike is held by those checks, and by the hubs that were exported before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from dagster import AssetKey, AssetMaterialization, DagsterInstance, MetadataValue

from fly64_assets.documents.provenance import InputRecord, Provenance
from fly64_assets.errors import InProgress, InputError
from fly64_assets.pipeline import stored_records
from fly64_assets.pipeline.check_frame import StoreCheckRun
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_GIVEN_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT,
    input_tags,
)
from fly64_assets.pipeline.freshness import Verdict, consumed_version, fingerprint
from fly64_assets.pipeline.io_manager import provenance_metadata
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.pipeline.records import MADE_IN, Record
from fly64_assets.pipeline.stored_records import StoredRecord
from fly64_assets.pipeline.targets import Cell, study_cells
from fly64_assets.runs.executor import held
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import BY_KEY, Product

NO_EVENT = -1
"""In place of an input's number in the log, where the log has lost that making."""
At = tuple[Product, Condition]


@dataclass
class Restoration:
    """What was recorded again (or would be), and what could not be, with the reason."""

    restored: list[At] = field(default_factory=list)
    lost: dict[At, str] = field(default_factory=dict)

    def to_json(self, verdicts: Mapping[At, Verdict]) -> dict[str, Any]:
        """With how what was recorded again stands now, as far as it was asked."""

        def row(at: At, **more: str) -> dict[str, str | None]:
            return {"asset": at[0].name, "partition": at[1].partition_key, **more}

        said = {at: {"state": v.state, "reason": v.reason} for at, v in verdicts.items()}
        return {
            "restored": [row(at, **said.get(at, {})) for at in self.restored],
            "not_restored": [row(at, reason=reason) for at, reason in self.lost.items()],
        }


class _NotProved(Exception):
    """The first thing that does not hold, in words."""


def restore(
    context: StudyContext, instance: DagsterInstance, *, dry_run: bool = False
) -> Restoration:
    """Record again what the store proves and the instance does not know.

    What is recorded and whole is left as it is, and gets its record beside the files where that is
    missing. A partition that a run is at is left to the run.

    Args:
        context: the study.
        instance: where materializations are reported to.
        dry_run: only say what would be; nothing is written.
    """
    found, work = Restoration(), _Restorer(context, instance, dry_run)
    if not context.store.root.is_dir():
        return found
    for cell in study_cells(context.study):
        try:
            with nullcontext() if dry_run else held(context.store, instance, [cell]):
                work.settle(cell, found)
        except InProgress as error:
            for item in cell.level.products_in(context.study):
                found.lost[item, cell.condition] = str(error)
    return found


def keep_missing(context: StudyContext, instance: DagsterInstance) -> None:
    """Put beside the files the records of what was made before there were such records."""
    for cell in study_cells(context.study):
        items = [
            item
            for item in cell.level.products_in(context.study)
            if not os.path.lexists(stored_records.file_of(context.store, item, cell.condition))
        ]
        records = [context.ledger(instance).latest(item, cell.condition) for item in items]
        if not any(records):
            continue
        try:
            with held(context.store, instance, [cell]):
                for record in filter(None, records):
                    _keep(context, record)
        except InProgress:
            continue  # the run that is at it writes its own


def _keep(context: StudyContext, record: Record) -> None:
    own = {*provenance_metadata(record.provenance), MADE_IN}
    shown = {name: value for name, value in record.metadata.items() if name not in own}
    stored = StoredRecord(
        record.provenance, record.run_id, record.step_key, stored_records.as_shown(shown)
    )
    stored_records.write(context.store, record.product, record.condition, stored)


class _Restorer:
    def __init__(self, context: StudyContext, instance: DagsterInstance, dry_run: bool) -> None:
        self.context, self.instance, self.dry_run = context, instance, dry_run
        self.store, self.ledger = context.store, context.ledger(instance)
        self.now: dict[At, Record | None] = {}
        """The latest record of what was looked at: inputs first."""

    def settle(self, cell: Cell, found: Restoration) -> None:
        for item in cell.level.products_in(self.context.study):
            at = item, cell.condition
            if at in found.lost or at in found.restored:
                continue
            self.now[at] = self.ledger.latest(*at)
            try:
                if self._restored(at):
                    found.restored.append(at)
            except _NotProved as error:
                found.lost[at] = str(error)
            except OSError as error:
                found.lost[at] = f"{error.filename or self.store.root}: {error.strerror}"

    def _restored(self, at: At) -> bool:
        """Whether a product had to be recorded again, and was.

        Raises:
            _NotProved: it is not whole, and nothing proves what lies there.
        """
        record, stored, problem = self.now[at], None, ""
        try:
            stored = stored_records.read(self.store, *at)
        except InputError as error:
            problem = error.problem
        altered = self.store.altered(record.provenance.files) if record else None
        new = stored is not None and (record is None or not _same(stored, record))
        if record is not None and altered is None:
            if (stored is None or new) and not self.dry_run:
                _keep(self.context, record)
            return False
        if stored is not None and new:
            self._prove(at, stored.provenance)
            self._record(at, stored)
            return True
        if altered is None and not self._files_there(at) and not problem:
            return False  # never made
        raise _NotProved(altered or problem or "its files lie there, but no record of them")

    def _own(self, at: At) -> list[str]:
        item, condition = at
        return [self.store.relative(self.store.path(item, condition, f)) for f in item.files]

    def _files_there(self, at: At) -> set[str]:
        return {path for path in self._own(at) if os.path.lexists(self.store.root / path)}

    def _prove(self, at: At, told: Provenance) -> None:
        """Raise _NotProved for the first thing that a stored record says and that is not so."""
        from fly64_assets.rules.data_versions import data_version_of

        item, condition = at
        study = self.context.study.name
        if (told.asset, told.partition) != (item.name, condition.partition_key):
            raise _NotProved(f"its record is of {told.asset} ({told.partition})")
        if told.study != study:
            raise _NotProved(f"its record is of the study {told.study!r}")
        foreign = sorted({*told.files} - {*self._own(at)})
        if foreign or any(path != file.path for path, file in told.files.items()):
            raise _NotProved(f"its record names what is no file of it: {foreign[:1]}")
        altered = self.store.altered(told.files)
        if altered is not None:
            raise _NotProved(altered)
        unnamed = sorted(self._files_there(at) - {*told.files})
        if unnamed or not told.files:
            raise _NotProved(f"{''.join(unnamed[:1]) or 'no file'} is in no record")
        for name, given in told.inputs.items():
            self._prove_input(at, name, given)
        versions = {n: consumed_version(item, g) for n, g in told.inputs.items() if n == g.asset}
        try:
            expected = fingerprint(told.code_version, told.settings, versions)
        except ValueError:  # numbers that JSON does not know
            expected = ""
        if told.fingerprint != expected:
            raise _NotProved("the fingerprint is not that of its code, settings and inputs")
        try:
            record = Record(item, condition, NO_EVENT, "", "", told)
            version = data_version_of(StoreCheckRun(self.context.study, self.ledger, record))
        except Exception as error:  # whatever its files make a reader raise
            raise _NotProved(f"its data cannot be read: {type(error).__name__}") from None
        if version not in (None, told.data_version):
            raise _NotProved("its data version is not that of its files")

    def _prove_input(self, at: At, name: str, given: InputRecord) -> None:
        item, condition = at
        source = BY_KEY.get(tuple(given.asset.split("/")))
        problem = _NotProved(f"its record names an input that it has not: {name!r:.60}")
        try:
            origin = Condition.from_partition_key(given.partition)
        except InputError:
            raise problem from None
        if source is None:
            raise problem
        consumed = source.key in item.inputs and origin == condition.restricted_to(source.per)
        gathered = source.key in item.collects and name == f"{given.asset} {origin}"
        if not (consumed and name == given.asset) and not gathered:
            raise problem
        if not given.files or not {*given.files} <= {*self._own((source, origin))}:
            raise problem
        now = self.now.get((source, origin))
        if now is None or not _same_files(now, given):
            return
        if now.provenance.data_version != given.data_version:
            raise _NotProved(f"its record gives {name} another data version than it has")

    def _record(self, at: At, stored: StoredRecord) -> None:
        """Report the materialization, its inputs by their numbers in the log as it is now."""
        told = stored.provenance
        provenance = replace(
            told,
            inputs={
                name: replace(given, storage_id=self._storage_id(given))
                for name, given in told.inputs.items()
            },
        )
        made_in = MetadataValue.json([stored.run_id, stored.step_key])
        try:
            shown = stored.metadata()
        except Exception as error:  # whatever Dagster raises for a value that it does not take
            raise _NotProved(f"its metadata cannot be read: {type(error).__name__}") from None
        metadata = {**shown, **provenance_metadata(provenance), MADE_IN: made_in}
        item, condition = at
        event = AssetMaterialization(
            AssetKey(item.key),
            metadata=metadata,
            partition=dagster_key(condition),
            tags=_version_tags(provenance),
        )
        if self.dry_run:
            self.now[at] = Record(*at, NO_EVENT, stored.run_id, stored.step_key, provenance)
            return
        self.instance.report_runless_asset_event(event)
        self.now[at] = self.ledger.latest(*at)

    def _storage_id(self, given: InputRecord) -> int:
        source = BY_KEY[tuple(given.asset.split("/"))]
        now = self.now.get((source, Condition.from_partition_key(given.partition)))
        return now.storage_id if now is not None and _same_files(now, given) else NO_EVENT


def _same_files(record: Record, given: InputRecord) -> bool:
    files = record.provenance.files.items()
    return {path: file.sha256 for path, file in files} == dict(given.files)


def _same(stored: StoredRecord, record: Record) -> bool:
    """Whether both are of one making; numbers in a log are of one database only."""
    return _unnumbered(stored.provenance) == _unnumbered(record.provenance)


def _unnumbered(provenance: Provenance) -> Provenance:
    inputs = {name: replace(given, storage_id=0) for name, given in provenance.inputs.items()}
    return replace(provenance, inputs=inputs)


def _version_tags(provenance: Provenance) -> Mapping[str, Any]:
    """Return what Dagster itself notes on a materialization that a run makes."""
    tags = {
        DATA_VERSION_TAG: provenance.data_version,
        DATA_VERSION_GIVEN_TAG: "true",
        CODE_VERSION_TAG: provenance.code_version,
    }
    for name, given in provenance.inputs.items():
        if name == given.asset:
            event = NULL_EVENT if given.storage_id == NO_EVENT else str(given.storage_id)
            tags |= input_tags(given.asset, given.data_version, event)
    return tags
