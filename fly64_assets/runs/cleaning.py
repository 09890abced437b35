"""What nobody needs any more of what runs leave: their records, logs, pictures and working files.

Needed is each run that made the latest materialization of a product in a partition or the one
before it (the drift check compares them), that checked one of these last, that is younger than
`KEEP_DAYS`, or that has not ended. All else of runs goes by way of Dagster's own deletion of a run.
The store's files, the stored records, hubs and locks are never touched; working files only under
the lock of whoever would make them.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance
from sqlalchemy import select

from fly64_assets.errors import InProgress
from fly64_assets.hub.lineage_store import owner_of
from fly64_assets.pipeline import checkpoints
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.dagster_internals import CHECKS, check_table
from fly64_assets.pipeline.instance import DATABASES, instance_folder
from fly64_assets.pipeline.records import MADE_IN
from fly64_assets.pipeline.targets import study_cells
from fly64_assets.runs.executor import held
from fly64_assets.study.products import PRODUCTS

KEEP_DAYS = 30
"""So long every run stays with its log, whether anything needs it or not."""
A_NIGHT = 200
"""Runs that a night removes at most: it has other things to do."""
DEAD_AFTER_S = 86_400.0
"""Age of a working file beside another from which on nobody is still writing it."""
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNFINISHED_FILE = re.compile(r"\..+[.-]\d+")
"""Names of files that are written beside the one whose place they are to take."""
EVALUATIONS = 2
"""Of each check of a materialization that are needed: the last one may still be at work."""
WORTH_BYTES = 1 << 20
"""Free space in a database from which on it is written anew without it."""


@dataclass(frozen=True)
class Removable:
    """One thing that nobody needs."""

    kind: str
    bytes: int
    remove: Callable[[], None]


@dataclass(frozen=True)
class Removed:
    """How many things of one kind went (or would go), and how large they are."""

    kind: str
    count: int
    bytes: int


def clean(
    context: StudyContext,
    instance: DagsterInstance,
    *,
    keep_days: float = KEEP_DAYS,
    most_runs: int | None = None,
    dry_run: bool = False,
) -> list[Removed]:
    """Remove what nobody needs; what is in use is left for another time.

    Args:
        context: the study.
        instance: its instance.
        keep_days: age from which on a run that nothing needs goes.
        most_runs: so many runs at most, the oldest first; None for all.
        dry_run: only say what would go.

    Returns:
        By kind, in the order in which it is removed.

    Raises:
        InProgress: another process is at it now.
    """
    if not context.store.root.is_dir():
        return []
    if dry_run:
        return _cleaned(context, instance, keep_days, most_runs, remove=False)
    with context.store.lock("clean", "`fly64 clean`"):
        return _cleaned(context, instance, keep_days, most_runs, remove=True)


def _cleaned(
    context: StudyContext,
    instance: DagsterInstance,
    keep_days: float,
    most_runs: int | None,
    *,
    remove: bool,
) -> list[Removed]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    kinds = (
        _runs(context, instance, keep_days, most_runs),
        _pictures(context),
        _staging(context),
        _checkpoints(context, instance),
        _unfinished_files(context),
        _free_space(context),
    )
    for each in (removable for kind in kinds for removable in kind):
        with suppress(InProgress, FileNotFoundError):
            if remove:
                each.remove()
            counts[each.kind] += 1
            sizes[each.kind] += each.bytes
    return [Removed(kind, count, sizes[kind]) for kind, count in counts.items()]


def _runs(
    context: StudyContext, instance: DagsterInstance, keep_days: float, most: int | None
) -> Iterator[Removable]:
    folder = instance_folder(context.study)
    records = {record.dagster_run.run_id: record for record in instance.get_run_records()}
    needed = _needed_runs(instance)
    before = time.time() - keep_days * 86_400
    old = [
        (record.update_timestamp.timestamp(), run_id)
        for run_id, record in records.items()
        if record.dagster_run.is_finished and run_id not in needed
    ]
    gone = [run_id for when, run_id in sorted(old) if when <= before][:most]

    def left_by(run_id: str) -> list[Path]:
        shard = folder / "history" / "runs" / f"{run_id}.db"
        beside = [shard.with_name(f"{shard.name}{end}") for end in ("", "-wal", "-shm")]
        return [path for path in (*beside, folder / "storage" / run_id) if path.exists()]

    def remove(run_id: str) -> None:
        if run_id in records:
            instance.delete_run(run_id)
        with check_table(instance) as connection:
            if connection is not None:  # Dagster leaves these rows behind
                connection.execute(CHECKS.delete().where(CHECKS.c.run_id == run_id))
        for path in left_by(run_id):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def removable(kind: str, run_id: str) -> Removable:
        return Removable(kind, sum(map(_size, left_by(run_id))), partial(remove, run_id))

    yield from (removable("runs", run_id) for run_id in gone)
    # What the UI's own deletion of a run leaves, or an older database does not know.
    found = [*(folder / "history" / "runs").glob("*.db"), *(folder / "storage").glob("*")]
    for run_id in sorted({path.stem for path in found} - {*records} - needed):
        if RUN_ID.fullmatch(run_id) and all(map(_is_dead, left_by(run_id))):
            yield removable("logs of deleted runs", run_id)


def _needed_runs(instance: DagsterInstance) -> set[str]:
    """Return runs that made or checked a product's latest making, or the one before it.

    Also in partitions that the study names no more: they are fresh again when it names them.
    """
    runs, latest = set(), set()
    for item in PRODUCTS:
        key = AssetKey(item.key)
        for partition in instance.get_materialized_partitions(key) or [None]:
            only = [partition] if partition else None
            events = instance.fetch_materializations(
                AssetRecordsFilter(key, asset_partitions=only), limit=2
            ).records
            for event in events:
                latest.add(event.storage_id)
                made = event.asset_materialization
                made_in = made.metadata.get(MADE_IN) if made else None
                runs |= {event.run_id, *(cast(Any, made_in.value)[:1] if made_in else ())}
    columns = ("asset_key", "check_name", "partition", "materialization_event_storage_id", "run_id")
    query = select(*(CHECKS.c[name] for name in columns)).order_by(CHECKS.c.id.desc())
    seen: defaultdict[tuple, int] = defaultdict(int)
    with check_table(instance) as connection:
        for *check, target, run_id in connection.execute(query) if connection is not None else ():
            seen[*check, target] += 1
            if target in latest and seen[*check, target] <= EVALUATIONS:
                runs.add(run_id)
    return runs


def _pictures(context: StudyContext) -> Iterator[Removable]:
    """Folders of pictures whose product has no file in the store, or is none."""
    pictures, store = context.store.root.parent / "pictures", context.store
    if not pictures.is_dir():
        return
    files = map(store.relative, store.root.glob("[!.]*/**/*"))
    shown = {store.pictures_folder(*owner) for owner in map(owner_of, files) if owner}
    for folder in sorted({path.parent for path in pictures.rglob("*.png")} - shown):
        for path in sorted(folder.glob("*.png")):
            yield Removable("pictures of nothing", _size(path), path.unlink)


def _staging(context: StudyContext) -> Iterator[Removable]:
    def remove(folder: Path) -> None:
        with context.store.lock(folder.name, folder.name):
            shutil.rmtree(folder)

    for folder in _folders(context.store.root / ".staging"):
        yield Removable("staging of dead steps", _size(folder), partial(remove, folder))


def _checkpoints(context: StudyContext, instance: DagsterInstance) -> Iterator[Removable]:
    """Those of products that a run would not make."""
    planner = context.planner(instance)
    for cell in study_cells(context.study):
        for item in cell.level.products_in(context.study):
            folder = context.store.checkpoint_folder(item, cell.condition)
            if folder.is_dir() and not planner.verdict(item, cell.condition).must_run:

                def remove(cell=cell, folder=folder) -> None:
                    with held(context.store, instance, [cell]):
                        checkpoints.remove(folder)

                yield Removable("checkpoints of what is made", _size(folder), remove)


def _unfinished_files(context: StudyContext) -> Iterator[Removable]:
    store, results = context.store.root, context.store.root.parent
    for folder, pattern in (
        (store, "*"),
        (store / ".records", "**/*"),
        (results / "pictures", "**/*"),
        (results / "dagster", "*"),
    ):
        for path in sorted(folder.glob(pattern)):
            if UNFINISHED_FILE.fullmatch(path.name) and path.is_file() and _is_dead(path):
                yield Removable("unfinished files", _size(path), path.unlink)


def _free_space(context: StudyContext) -> Iterator[Removable]:
    """Space in SQLite's files that what was removed has left; after all else."""
    for place in DATABASES:
        database = instance_folder(context.study) / place
        if not database.is_file():
            continue
        with suppress(sqlite3.OperationalError):
            free = _free_bytes(database)
            if free >= WORTH_BYTES and 4 * free >= database.stat().st_size:
                yield Removable("free space in databases", free, partial(_vacuum, database))


def _free_bytes(database: Path) -> int:
    connection = sqlite3.connect(database)
    try:
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("freelist_count", "page_size")
        )
    finally:
        connection.close()
    return pages * size


def _vacuum(database: Path) -> None:
    """Shrink the database; raise InProgress where another process has it for itself."""
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        raise InProgress(f"{database}: {error}") from None
    finally:
        connection.close()


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and not path.is_symlink())


def _is_dead(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > DEAD_AFTER_S


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(_size(Path(entry.path)) for entry in os.scandir(path))
