"""The Dagster instance of a study: its folder, and the settings that say where its records are.

The settings are the project's ``dagster.yaml`` (records in files below the folder), or the file
that ``FLY64_INSTANCE`` names, for a database. That the records in it are this study's is looked
after in ``record_owner.py``; what they say is the ledger's.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance

from fly64_assets.errors import UnusableInstance, UnwritableResults
from fly64_assets.pipeline import record_owner
from fly64_assets.pipeline.store import require_database_path, results_folder, write_whole
from fly64_assets.study.model import PROJECT_ROOT, STUDY_VARIABLE, Study

INSTANCE_VARIABLE = "FLY64_INSTANCE"
SETTINGS = "dagster.yaml"
UNPROVEN = ".dagster.yaml.new"
STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage")
"""The keys of ``dagster.yaml`` that say where records are."""
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""What a command that only looks reads of the files below an instance's folder."""
COPIES = 5
"""Tries to copy a database that another process writes to."""
PACKAGES = {"postgres": "dagster_postgres", "mysql": "dagster_mysql"}


def instance_folder(study: Study) -> Path:
    return results_folder(study) / "dagster"


def prepare_instance(study: Study, study_file: Path, *, records_lost: bool = False) -> Path:
    """Make the study's instance folder and point this process and its children at it.

    Args:
        study, study_file: whose it is.
        records_lost: that its records be made again (`fly64 restore`): an empty database may take
            the place of the one that held them, or of SQLite's files.

    Returns:
        The folder, which is also in ``DAGSTER_HOME`` from here on.

    Raises:
        InputError: the folder cannot be written, the settings cannot be used, or the records that
            they name are those of another study or results folder.
    """
    folder, source = instance_folder(study), _settings_file()
    text = _read(source)
    # A variable that was forgotten names no other storage.
    if not (records_lost and _storage(source, text)):
        _require_same_storage(folder, source, text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / SETTINGS
        if _storage(source, text):
            # Settings that cannot be used never become the folder's.
            write_whole(folder / UNPROVEN, text)
            with opened(folder, source, UNPROVEN) as instance:
                record_owner.claim(instance, folder, study, source, anew=records_lost)
            (folder / UNPROVEN).replace(settings)
        elif not settings.is_file() or settings.read_text("utf-8") != text:
            write_whole(settings, text)
    except OSError as error:
        raise UnwritableResults(
            folder, "", f"the study's Dagster instance cannot be written: {error.strerror}"
        ) from None
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ[STUDY_VARIABLE] = str(study_file.resolve())
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return folder


@contextmanager
def study_instance(
    study: Study, study_file: Path, *, records_lost: bool = False
) -> Iterator[DagsterInstance]:
    """Open the study's instance; arguments and InputError as of `prepare_instance`."""
    folder = prepare_instance(study, study_file, records_lost=records_lost)
    with opened(folder, _settings_file()) as instance:
        yield instance


@contextmanager
def read_only_instance(study: Study) -> Iterator[DagsterInstance]:
    """Open the study's instance for looking; an empty one in memory where none was made yet.

    Raises:
        InputError: its settings cannot be used, or its records are not the study's.
    """
    folder, source = instance_folder(study), _settings_file()
    text = _read(source)
    if not (folder / SETTINGS).is_file():
        with DagsterInstance.ephemeral() as instance:
            yield instance
        return
    _require_same_storage(folder, source, text)
    with opened_to_read(folder, source) as instance:
        if _storage(source, text):
            record_owner.require(instance, folder, study, source)
        yield instance


def _settings_file() -> Path:
    named = os.environ.get(INSTANCE_VARIABLE)
    return Path(named).resolve() if named else PROJECT_ROOT / SETTINGS


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UnusableInstance(file, INSTANCE_VARIABLE, f"cannot be read: {reason}") from None


def _storage(file: Path, text: str) -> dict[str, Any]:
    """Return what the settings say of where records are; empty: files in the folder."""
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UnusableInstance(file, INSTANCE_VARIABLE, f"is no YAML: {problem}") from None
    if not isinstance(content, dict):
        raise UnusableInstance(file, INSTANCE_VARIABLE, "holds no settings of a Dagster instance")
    return {key: content[key] for key in STORAGES if content.get(key)}


def _require_same_storage(folder: Path, source: Path, text: str) -> None:
    """Refuse to look for the records elsewhere than where they are: all would seem never made.

    Which database it is, `record_owner` asks; here it is only what kind of storage.

    Raises:
        InputError: the settings in the folder name another kind of storage than those in use.
    """
    used = folder / SETTINGS
    if not used.is_file() or _kind(_storage(used, _read(used))) == _kind(_storage(source, text)):
        return
    raise UnusableInstance(
        source,
        "storage",
        f"is not where the study's records are, which {used} says; set {INSTANCE_VARIABLE} to the "
        "file that the study was begun with; `fly64 restore` brings the records to another one",
    )


def _kind(storage: dict[str, Any]) -> dict[str, list[str]]:
    return {key: sorted(map(str, settings)) for key, settings in storage.items()}


@contextmanager
def opened_to_read(folder: Path, source: Path) -> Iterator[DagsterInstance]:
    """Open the instance of a folder, which may be another user's or on a read-only file system.

    SQLite and Dagster write to a database also to read it. Where they may not, a copy is read.

    Args and Raises: as of `opened`.
    """
    databases = [folder / place for place in DATABASES]
    places = [folder, *(database.parent for database in databases), *databases]
    if all(os.access(place, os.W_OK) for place in places if place.exists()):
        with opened(folder, source) as instance:
            yield instance
        return
    with tempfile.TemporaryDirectory(prefix="fly64-") as copy:
        shutil.copyfile(folder / SETTINGS, Path(copy, SETTINGS))
        for database, place in zip(databases, DATABASES, strict=True):
            if database.exists():
                Path(copy, place).parent.mkdir(parents=True, exist_ok=True)
                _copy_database(database, Path(copy, place))
        with opened(Path(copy), source) as instance:
            yield instance


def _copy_database(database: Path, copy: Path) -> None:
    """Copy a database with what SQLite has not yet moved into it, as both were at one moment."""
    parts = [database, database.with_name(f"{database.name}-wal")]

    def state() -> list[tuple[int, int] | None]:
        found = [part.stat() if part.exists() else None for part in parts]
        return [(each.st_size, each.st_mtime_ns) if each else None for each in found]

    for _ in range(COPIES):
        before = state()
        for part, there in zip(parts, before, strict=True):
            to = copy.with_name(part.name)
            to.unlink(missing_ok=True)
            if there is not None:
                shutil.copyfile(part, to)
        if state() == before:
            return
    raise UnusableInstance(database, "", "is being written to all the time; try again later")


@contextmanager
def opened(folder: Path, source: Path, settings: str = SETTINGS) -> Iterator[DagsterInstance]:
    """Open the instance of a folder.

    Args:
        folder: an instance's folder.
        source: what its settings are a copy of, for errors.
        settings: name of its settings file.

    Raises:
        InputError: its settings break a rule, or its database cannot be reached.
    """
    require_database_path(folder)
    _require_packages(source)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # "Retrying failed database connection", with a traceback
    try:
        instance = DagsterInstance.from_config(str(folder), settings)
    except Exception as error:  # Dagster's, SQLAlchemy's or the driver's own
        raise UnusableInstance(
            source, "storage", f"cannot be opened: {_in_a_line(error)}"
        ) from None
    finally:
        logging.disable(before)
    with instance:
        yield instance


def _require_packages(source: Path) -> None:
    for settings in _storage(source, _read(source)).values():
        if isinstance(settings, dict) and isinstance(settings.get("sqlite"), dict):
            require_database_path(Path(str(settings["sqlite"].get("base_dir"))))
        for name, package in PACKAGES.items():
            if isinstance(settings, dict) and name in settings and find_spec(package) is None:
                install = "pip install 'fly64_assets[postgres]'"
                hint = f": {install}" if name == "postgres" else ""
                raise UnusableInstance(
                    source, f"storage.{name}", f"needs the package {package}{hint}"
                )


def _in_a_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
