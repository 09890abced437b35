"""A store as the lineage reads it: the makings that the event log of its Dagster instance holds.

The log is read, never written; a making's record is held against the one beside its files only.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from fly64_assets.documents.provenance import InputRecord, Provenance
from fly64_assets.errors import InputError
from fly64_assets.hub.lineage import Made, unknown_file
from fly64_assets.pipeline import stored_records
from fly64_assets.pipeline.instance import SETTINGS, opened_to_read
from fly64_assets.pipeline.records import PROVENANCE
from fly64_assets.pipeline.store import Store
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import BY_KEY, PRODUCTS, Product
from fly64_assets.study.specimen_origins import origin_in


@dataclass(frozen=True)
class _Key:
    """Names one making; ``files`` tells two makings apart when the log has lost one of them."""

    asset: str
    partition: str | None
    storage_id: int
    data_version: str
    files: tuple[tuple[str, str], ...]


def _input_key(given: InputRecord) -> _Key:
    return _Key(
        given.asset,
        given.partition,
        given.storage_id,
        given.data_version,
        tuple(sorted(given.files.items())),
    )


class StoreHome:
    """A study's store, traced through its event log."""

    kind = "store"

    def __init__(self, root: Path, instance: DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self._current: dict[tuple[str, str | None], Made | None] = {}

    def owner(self, path: str) -> Made:
        """Return the latest making of the product that ``path`` belongs to.

        Raises:
            InputError: it is no product's file, or no record names it.
        """
        found = owner_of(path)
        if found is None:
            problem = "no asset of the store owns a file of that name"
            raise unknown_file(self.root / path, problem)
        item, condition = found
        made = self.current(item.name, condition.partition_key)
        if made is None or path not in made.files:
            problem = f"no materialization of {item.name} ({condition}) names it"
            raise unknown_file(self.root / path, problem)
        return made

    def made(self, key: Hashable) -> Made:
        assert isinstance(key, _Key)
        found = self._fetch(key.asset, key.partition, key.storage_id)
        if found is not None and found.data_version == key.data_version:
            return found
        later = self.current(key.asset, key.partition)
        if later is None:
            raise InputError(
                self.root, key.asset, f"({key.partition}) has no record in the event log any more"
            )
        return replace(
            later, key=key, data_version=key.data_version, files=dict(key.files), exact=False
        )

    def current(self, asset: str, partition: str | None) -> Made | None:
        if (asset, partition) not in self._current:
            self._current[asset, partition] = self._fetch(asset, partition)
        return self._current[asset, partition]

    def _fetch(
        self, asset: str, partition: str | None, storage_id: int | None = None
    ) -> Made | None:
        found = self.instance.fetch_materializations(
            AssetRecordsFilter(
                AssetKey(asset.split("/")),
                asset_partitions=[partition] if partition else None,
                storage_ids=None if storage_id is None else [storage_id],
            ),
            limit=1,
        ).records
        materialization = found[0].asset_materialization if found else None
        carried = materialization.metadata.get(PROVENANCE) if materialization else None
        if carried is None:
            return None
        provenance = Provenance.from_json(carried.value)  # type: ignore[arg-type]
        made = _made(provenance, found[0].storage_id)
        item, at = BY_KEY[tuple(asset.split("/"))], Condition.from_partition_key(partition)
        problem = stored_records.contradiction(Store(self.root), item, at, provenance)
        return replace(made, contradiction=problem)


def _made(provenance: Provenance, storage_id: int) -> Made:
    files = {path: record.sha256 for path, record in provenance.files.items()}
    given = InputRecord(
        provenance.asset, provenance.partition, provenance.data_version, storage_id, files
    )
    return Made(
        key=_input_key(given),
        asset=provenance.asset,
        partition=provenance.partition,
        generated_at=provenance.generated_at,
        data_version=provenance.data_version,
        code_version=provenance.code_version,
        fingerprint=provenance.fingerprint,
        study=provenance.study,
        study_sha256=provenance.study_sha256,
        git_commit=provenance.git_commit,
        versions=provenance.versions,
        settings=provenance.settings,
        files=files,
        inputs=tuple(_input_key(given) for given in provenance.inputs.values()),
        source=origin_in(provenance.settings),
    )


def owner_of(path: str) -> tuple[Product, Condition] | None:
    """Return the product, and its condition, that a path of a store belongs to.

    Args:
        path: relative to the store, POSIX.
    """
    folder, _, name = path.rpartition("/")
    for item in PRODUCTS:
        if name in item.files:
            pattern = re.escape(item.folder).replace(r"\{dose\}", r"(?P<dose>\d+)")
            found = re.fullmatch(pattern.replace(r"\{view\}", r"(?P<view>[^/]+)"), folder)
            if found:
                named = found.groupdict()
                dose = int(named["dose"]) if "dose" in named else None
                return BY_KEY[item.key], Condition(dose, named.get("view"))
    return None


@contextmanager
def open_store(results: Path) -> Iterator[StoreHome]:
    """Open the store of a study's results folder with its event log.

    Raises:
        InputError: the folder holds no Dagster instance of a study, or it cannot be opened.
    """
    folder = results / "dagster"
    if not (folder / SETTINGS).is_file():
        raise InputError(folder, SETTINGS, "is missing: there is no event log to read")
    with opened_to_read(folder, folder / SETTINGS) as instance:
        yield StoreHome(results / "store", instance)
