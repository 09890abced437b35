"""The lineage that a file carries in itself: its transformations, and the sources beside it.

For files that lie in no store and no hub. Nothing that a file says of itself is believed further
than it can be read; records that are no provenance are bad input.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fly64_assets.errors import InputError
from fly64_assets.hub.lineage import FileState, Match, digest_on_disk, unknown_file
from fly64_assets.study.json_depth import DEEPEST, too_deep

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CarriedLineage:
    """What a file says of itself, and what lies beside it.

    Attributes:
        file: name of the file.
        transformations: its records, oldest first, as they are.
        beside: the inputs that they name and that lie in the file's folder under that name, each as
            it was consumed and how the disk compares.
    """

    file: str
    transformations: list[dict[str, Any]]
    beside: tuple[FileState, ...]

    @property
    def holds(self) -> bool:
        return all(state.state.holds for state in self.beside)

    def counts(self) -> dict[str, int]:
        """Count the files beside it in each state that occurs."""
        states = [file.state for file in self.beside]
        return {state.value: states.count(state) for state in Match if state in states}


def carried_lineage(path: Path) -> CarriedLineage:
    """Return the provenance that a file carries in itself, wherever it lies.

    Args:
        path: an NPZ with ``_metadata``, or a JSON object with ``transformations``.

    Raises:
        InputError: it is no such file, or its records are no provenance.
    """
    if not os.path.exists(path):
        raise InputError(path, "", "does not exist, and no store or hub has a record of it")
    if not os.path.isfile(path):
        raise unknown_file(path, "")
    records = _records(path)
    for number, record in enumerate(records):
        _require_record(path, f"transformations[{number}]", record)
    return CarriedLineage(path.name, records, tuple(_beside(path, records)))


def _records(path: Path) -> list[Any]:
    found: Any = None
    if path.suffix == ".npz":
        found = _json_value(path, _npz_metadata(path))
    elif path.suffix == ".json":
        found = _json_value(path, _bytes(path))
    records = found.get("transformations") if isinstance(found, dict) else None
    if not isinstance(records, list):
        raise InputError(
            path,
            "",
            "belongs to no store and no hub, and carries no transformations of its own "
            "(_metadata in an NPZ, transformations in a JSON file)",
        )
    return records


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None


def _npz_metadata(path: Path) -> str | None:
    from fly64_assets.ptychography.data001.npz import describe_npz, read_npz

    header = describe_npz(path).get("_metadata")
    if header is None or header.dtype.kind != "U" or header.shape != ():
        return None
    try:
        return str(read_npz(path, ["_metadata"])["_metadata"][()])
    except ValueError:  # no code points of Unicode
        return None


def _json_value(path: Path, text: str | bytes | None) -> Any:
    """Return the value of a JSON text, ``None`` where it is none.

    Raises:
        InputError: it is nested so deep, or has such characters, that it could not be shown.
    """
    if text is None:
        return None
    try:
        value = json.loads(text)
        nested = too_deep(value)
    except RecursionError:
        nested = True
    except ValueError:
        return None
    if nested:
        raise InputError(path, "", f"its JSON is nested more than {DEEPEST} levels deep")
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        problem = "its JSON has text that is no Unicode (half of a surrogate pair)"
        raise InputError(path, "", problem) from None
    return value


def _require_record(path: Path, key: str, record: Any) -> None:
    if not isinstance(record, dict):
        raise InputError(path, key, f"is {_kind(record)}, a record is an object")
    inputs = record.get("inputs")
    if inputs is None:
        return
    if not isinstance(inputs, dict):
        problem = f"is {_kind(inputs)}, an object of names with their sha256 is wanted"
        raise InputError(path, f"{key}.inputs", problem)
    for name, digest in inputs.items():
        if not isinstance(digest, str) or not SHA256.fullmatch(digest):
            shown = repr(digest) if isinstance(digest, str | int | float) else _kind(digest)
            problem = f"is {shown}, a sha256 of 64 hexadecimal digits is wanted"
            raise InputError(path, f"{key}.inputs[{name!r}]", problem)


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _beside(path: Path, records: list[dict[str, Any]]) -> list[FileState]:
    """Each input that lies beside ``path`` under its bare name, once for each sha256 of it.

    The file itself is nobody's input, though one that it was made from may have had its name.
    """
    named = {pair: None for record in records for pair in (record.get("inputs") or {}).items()}
    found = []
    for name, wanted in named:
        file = path.parent / name
        if Path(name).name != name or not os.path.isfile(file) or os.path.samefile(file, path):
            continue
        on_disk = digest_on_disk(file)
        state = Match.MATCHES if on_disk == wanted else Match.ALTERED
        found.append(FileState(name, wanted, state, on_disk))
    return found
