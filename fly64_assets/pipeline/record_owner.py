"""Whose records a database holds: one study's, in one results folder, and nobody else's.

Asset keys and partitions carry no study's name. Two studies in one database would each take the
other's materializations for its own latest ones, so the database remembers the results folder that
it belongs to, and the folder remembers its database. Records in files below the folder need no such
care. Where the records are said to be is ``instance.py``'s.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

from fly64_assets.errors import UnusableInstance
from fly64_assets.pipeline.store import write_whole
from fly64_assets.study.model import Study

FILE = "database.json"
"""In the instance's folder: who it is, and the database's own number."""
CURSOR = "fly64/owner"


def claim(
    instance: DagsterInstance, folder: Path, study: Study, source: Path, *, anew: bool = False
) -> None:
    """Make sure that the records are this folder's; a database that belongs to nobody is taken.

    Args:
        instance: the open instance.
        folder: the instance's folder, which is written to.
        study: the study of the folder.
        source: the settings in use, for the error.
        anew: whether one that belongs to nobody may take the place of another, which is lost.

    Raises:
        InputError: the database is another folder's, or this folder's records are in another one,
            or it would write times in a zone other than UTC.
    """
    _require_utc(instance, source)
    here = _here(folder)
    if "folder" not in here:
        here = {"folder": uuid.uuid4().hex}
        _write(folder, here)
    if anew and _owner(instance) is None and here.pop("database", ""):
        _write(folder, here)
    if _owner(instance) is None and "database" not in here:
        mine = {"folder": here["folder"], "study": study.name}
        instance.daemon_cursor_storage.set_cursor_values({CURSOR: json.dumps(mine)})
    require(instance, folder, study, source)
    if "database" not in here:
        _write(folder, {**here, "database": _database(instance)})


def require(instance: DagsterInstance, folder: Path, study: Study, source: Path) -> None:
    """Raise InputError where the records are not this folder's; claim and write nothing."""
    here, owner = _here(folder), _owner(instance)
    number = _database(instance)
    if owner is not None and owner["folder"] != here.get("folder"):
        raise UnusableInstance(
            source,
            "storage",
            f"names a database that holds the records of the study {owner['study']} in another "
            f"results folder, not those of {folder.parent}; every study and results folder needs "
            "a database of its own: createdb, then `fly64 restore` if records were lost",
        )
    if here.get("database", number) != number:
        raise UnusableInstance(
            source,
            "storage",
            f"names another database than the one that the records of {study.name} are in; point "
            "it at that one; if that is lost, `fly64 restore` brings them to an empty database",
        )


def _require_utc(instance: DagsterInstance, source: Path) -> None:
    """Refuse a database that writes its own zone's times: every run would be hours older."""
    connect = getattr(instance.run_storage, "connect", None)
    if connect is None:
        return
    with connect() as connection:
        if connection.dialect.name != "postgresql":
            return
        zone = connection.exec_driver_sql("SHOW TimeZone").scalar_one()
    if zone not in ("UTC", "Etc/UTC", "GMT"):
        raise UnusableInstance(
            source,
            "storage.postgres.postgres_db.params.options",
            f"times would be written in the zone {zone}, Dagster reads them as UTC: "
            "'-c TimeZone=UTC'",
        )


def _here(folder: Path) -> dict[str, str]:
    file = folder / FILE
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def _write(folder: Path, content: dict[str, str]) -> None:
    write_whole(folder / FILE, json.dumps(content, indent=2) + "\n")


def _owner(instance: DagsterInstance) -> dict[str, str] | None:
    found = instance.daemon_cursor_storage.get_cursor_values({CURSOR}).get(CURSOR)
    return json.loads(found) if found else None


def _database(instance: DagsterInstance) -> str:
    """Return the number that Dagster gave its database of runs when it made it."""
    storage: Any = instance.run_storage  # its base class does not name what every one of them has
    return str(storage.get_run_storage_id())
