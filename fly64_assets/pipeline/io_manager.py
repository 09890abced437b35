"""Reading and writing of assets: the one input loader that trusts nothing, the one atomic writer.

Outputs arrive as files in a staging folder and leave as files in the store with their provenance on
the materialization. Inputs are handed out as paths, after the planner has vouched for them; nothing
is ever pickled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster import (
    InputContext,
    IOManager,
    MetadataValue,
    OutputContext,
)

from fly64_assets.documents.files import read_json
from fly64_assets.documents.provenance import FileRecord, InputRecord, Provenance
from fly64_assets.errors import NotTrusted
from fly64_assets.pipeline import stored_records
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner, input_version
from fly64_assets.pipeline.previews import exhibited, table_value
from fly64_assets.pipeline.process import git_commit, peak_memory_mb, utc_now, versions
from fly64_assets.pipeline.records import PROVENANCE, Record
from fly64_assets.pipeline.store import Store
from fly64_assets.pipeline.stored_records import StoredRecord, as_shown
from fly64_assets.reports.previews.preview import Kind, Table
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import BY_KEY, Product


@dataclass(frozen=True)
class StoredInput:
    """An input that the planner vouches for."""

    record: Record
    store: Store

    @property
    def provenance(self) -> Provenance:
        return self.record.provenance

    @property
    def data_version(self) -> str:
        return self.provenance.data_version

    def path(self, file: str) -> Path:
        return self.store.path(self.record.product, self.record.condition, file)

    def json(self, file: str) -> Any:
        return read_json(self.path(file))

    def relative(self, file: str) -> str:
        """Path of ``file`` relative to the store (and, there, to the hub)."""
        return self.store.relative(self.path(file))

    def sha256(self, file: str) -> str:
        return self.record.provenance.files[self.relative(file)].sha256

    def sha256_by_name(self) -> dict[str, str]:
        """``<asset>/<file>`` -> sha256: what a transformation records as its inputs."""
        name = self.record.product.name
        files = self.record.provenance.files
        return {f"{name}/{Path(path).name}": record.sha256 for path, record in files.items()}

    def as_input_record(self) -> InputRecord:
        provenance = self.record.provenance
        return InputRecord(
            provenance.asset,
            provenance.partition,
            provenance.data_version,
            self.record.storage_id,
            {path: record.sha256 for path, record in provenance.files.items()},
        )


@dataclass(frozen=True)
class Staged:
    """One product's files, made but not yet in place."""

    product: Product
    condition: Condition
    folder: Path
    data_version: str
    inputs: Mapping[str, StoredInput]
    gathered: Mapping[str, StoredInput]
    settings: Mapping[str, Any]
    started: float
    cpu_seconds: float
    metadata: Mapping[str, Any] = field(default_factory=dict)


class StoreIOManager(IOManager):
    """Places what a step staged; hands out what may be trusted."""

    def __init__(self, context: StudyContext) -> None:
        self.context = context
        self._loading: tuple[Any, Planner] | None = None

    def load_input(self, context: InputContext) -> StoredInput:
        """Return the input, vouched for.

        Raises:
            NotTrusted: see `Planner.trusted`.
        """
        product = BY_KEY[tuple(context.asset_key.path)]
        key = context.asset_partition_key if context.has_asset_partitions else None
        record = self._planner(context).trusted(product, Condition.from_partition_key(key))
        return StoredInput(record, self.context.store)

    def _planner(self, context: InputContext) -> Planner:
        """One for all inputs of a step, which have most of their upstream in common."""
        step = context.step_context.run_id, context.step_context.step.key
        if self._loading is None or self._loading[0] != step:
            self._loading = step, self.context.planner(context.instance)
        return self._loading[1]

    def handle_output(self, context: OutputContext, obj: Staged) -> None:
        """Move the files into place and attach their provenance to the materialization."""
        store = self.context.store
        # What it cost to make, without the pictures of it.
        cost = time.monotonic() - obj.started, peak_memory_mb()
        _require_running(context)
        _require_unaltered(context, obj)
        shown, keep_pictures = self._exhibited(context, obj)
        for path in store.superseded(obj.product, obj.condition):
            context.log.warning(
                f"{store.relative(path)} was made from an older {obj.product.name}: removed"
            )
        files = store.commit(obj.product, obj.condition, obj.folder)
        provenance = self._provenance(context, obj, files, *cost)
        metadata, step = {**shown, **obj.metadata}, context.step_context
        # After the files, so that it is theirs; before Dagster's own, so that none is without it.
        record = StoredRecord(provenance, step.run_id, step.step.key, as_shown(metadata))
        stored_records.write(store, obj.product, obj.condition, record)
        keep_pictures()
        context.add_output_metadata({**metadata, **provenance_metadata(provenance)})

    def _exhibited(
        self, context: OutputContext, staged: Staged
    ) -> tuple[dict[str, Any], Callable[[], None]]:
        """Return what there is to see of the staged files, drawn before they are in place.

        So a process that is ended while it draws has recorded nothing and left no file.
        """
        inputs = {given.record.product.name: given for given in staged.inputs.values()}
        return exhibited(
            self.context.study,
            self.context.store,
            staged.product,
            staged.condition,
            lambda file: staged.folder / file,
            lambda asset, file: inputs[asset].path(file),
            context.log.warning,
        )

    def _provenance(
        self,
        context: OutputContext,
        staged: Staged,
        files: tuple[FileRecord, ...],
        seconds: float,
        peak_mb: float,
    ) -> Provenance:
        product, condition = staged.product, staged.condition
        planner = self.context.planner(context.step_context.instance)
        inputs = {
            name: given.as_input_record()
            for name, given in {**staged.inputs, **staged.gathered}.items()
        }
        return Provenance(
            asset=product.name,
            partition=condition.partition_key,
            generated_at=utc_now(),
            study=self.context.study.name,
            study_sha256=planner.study_sha256,
            fingerprint=planner.fingerprint(
                product,
                condition,
                {
                    name: input_version(product, given.record.provenance)
                    for name, given in staged.inputs.items()
                },
                staged.settings,
            ),
            code_version=product.code_version,
            data_version=staged.data_version,
            settings=dict(staged.settings),
            files={record.path: record for record in files},
            inputs=inputs,
            versions=versions(product.libraries),
            git_commit=git_commit(),
            seconds=round(seconds, 3),
            cpu_seconds=round(staged.cpu_seconds, 3),
            peak_memory_mb=round(peak_mb, 1),
        )


def _require_running(context: OutputContext) -> None:
    """Refuse what a step made whose run has ended without it.

    A run whose process was gone was declared failed; what its orphaned step makes now, nobody waits
    for, and another run may be making the same.

    Raises:
        NotTrusted: the run is finished.
    """
    run = context.step_context.instance.get_run_by_id(context.step_context.run_id)
    if run is not None and run.is_finished:
        raise NotTrusted(
            f"{context.step_context.step.key} finished after its run had ended "
            f"({run.status.value}): not recorded"
        )


def _require_unaltered(context: OutputContext, staged: Staged) -> None:
    """Refuse what was made while one of its inputs changed.

    An input was vouched for before it was read. A bit that flipped in between would be in the
    output, recorded as made from good data, and would be called fresh once the input is repaired.
    What only reports on checks reads none of its inputs' bytes.

    Raises:
        NotTrusted: the bytes of an input are not what was vouched for any more.
    """
    for name, given in () if staged.product.depends_on_checks else staged.inputs.items():
        altered = given.store.altered(given.record.provenance.files)
        if altered is not None:
            raise NotTrusted(
                f"{name} was altered while {context.step_context.step.key} read it: {altered}; "
                "not recorded"
            )


def provenance_metadata(provenance: Provenance) -> dict[str, MetadataValue]:
    """Return the provenance as people read it in the UI, and whole as JSON for the ledger."""
    outputs = [
        {"path": record.path, "sha256": record.sha256, "bytes": record.bytes}
        for record in provenance.files.values()
    ]
    sources = [
        {"asset": given.asset, "path": path, "sha256": sha256, "data_version": given.data_version}
        for given in provenance.inputs.values()
        for path, sha256 in given.files.items()
    ]
    text: Mapping[str, Kind] = {"path": "string", "sha256": "string"}
    return {
        "generated_at": MetadataValue.text(provenance.generated_at),
        "outputs": table_value(Table({**text, "bytes": "int"}, outputs)),
        "inputs": table_value(
            Table({"asset": "string", **text, "data_version": "string"}, sources)
        ),
        "seconds": MetadataValue.float(provenance.seconds),
        "cpu_seconds": MetadataValue.float(provenance.cpu_seconds),
        "peak_memory_mb": MetadataValue.float(provenance.peak_memory_mb),
        "fingerprint": MetadataValue.text(provenance.fingerprint),
        PROVENANCE: MetadataValue.json(provenance.to_json()),
    }
