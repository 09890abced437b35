"""Records beside the files: what each materialization carried, kept in the store as JSON.

``.records/<asset>/<partition>.json`` is written when the files are in place and before Dagster
records the materialization. So it is of the files that lie there, or its hashes say that it is not.
`fly64 restore` makes the database's records from it again (``restore.py``). What stands in one may
be anything: it is a hint, makes nothing fresh, and can only contradict a record of the same files.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dagster import AssetMaterialization, MetadataValue, TableMetadataValue
from pydantic import TypeAdapter, ValidationError

from fly64_assets.documents.provenance import Provenance
from fly64_assets.errors import InputError
from fly64_assets.pipeline.previews import table_value
from fly64_assets.pipeline.store import Store, sync, write_whole
from fly64_assets.reports.previews.preview import Table
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import Product

LARGEST_BYTES = 16 << 20
"""Of a stored record; the study report of a hundred conditions has 3 MB."""
SHOWN_AS: dict[str, Callable[[Any], MetadataValue]] = {
    "text": MetadataValue.text,
    "markdown": MetadataValue.md,
    "path": MetadataValue.path,
    "int": MetadataValue.int,
    "float": MetadataValue.float,
    "bool": MetadataValue.bool,
    "json": MetadataValue.json,
    "table": lambda value: table_value(Table(value["columns"], value["rows"])),
}
"""Kind of a metadata value -> what makes it from JSON."""


@dataclass(frozen=True)
class StoredRecord:
    """What a materialization carried.

    Attributes:
        provenance: its record.
        run_id, step_key: what made it, where its log is.
        shown: the other metadata by name, as (kind, JSON value).
    """

    provenance: Provenance
    run_id: str
    step_key: str
    shown: Mapping[str, tuple[str, Any]] = field(default_factory=dict)

    def metadata(self) -> dict[str, MetadataValue]:
        """Return what there is to see, or raise ValueError, KeyError or TypeError."""
        return {name: SHOWN_AS[kind](value) for name, (kind, value) in self.shown.items()}


_READER = TypeAdapter(StoredRecord)


def as_shown(metadata: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Metadata, Dagster's or plain values, in the form that is stored."""
    normalized = AssetMaterialization("any", metadata=metadata).metadata
    shown: dict[str, tuple[str, Any]] = {}
    for name, value in normalized.items():
        kind = type(value).__name__.removesuffix("MetadataValue").lower()
        if isinstance(value, TableMetadataValue):
            columns = {column.name: column.type for column in value.schema.columns}
            shown[name] = kind, {"columns": columns, "rows": [row.data for row in value.records]}
        elif kind in SHOWN_AS:
            shown[name] = kind, value.value
    return shown


def file_of(store: Store, product: Product, condition: Condition) -> Path:
    name = condition.partition_key or "study"
    return store.root / ".records" / product.name / f"{name.replace('|', '_')}.json"


def write(store: Store, product: Product, condition: Condition, record: StoredRecord) -> None:
    """Replace what is stored of a product; whole, or not at all."""
    path = file_of(store, product, condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(record)) + "\n")
    sync(path.parent)


def read(store: Store, product: Product, condition: Condition) -> StoredRecord | None:
    """Return what is stored of a product; None where nothing is.

    Raises:
        InputError: it is no record: whatever else lies there.
    """
    path = file_of(store, product, condition)
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(path, "", "is no regular file")
    if status.st_size > LARGEST_BYTES:
        raise InputError(path, "", f"has more than {LARGEST_BYTES} bytes, which no record has")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return _READER.validate_json(file.read(LARGEST_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(path, where[:80], f"is no record: {first['msg'][:120]}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, "", f"cannot be read: {type(error).__name__}") from None


def contradiction(
    store: Store, product: Product, condition: Condition, made: Provenance
) -> str | None:
    """Where the record beside the files says otherwise what the same files hold, in words.

    Without one, or with one that is none, nothing is contradicted.
    """
    try:
        kept = read(store, product, condition)
    except InputError:
        return None
    if kept is None or kept.provenance.files != made.files:
        return None
    if kept.provenance.data_version == made.data_version:
        return None
    return f"{made.asset}: its record and the one beside its files say different data versions"
