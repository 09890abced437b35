"""``fly64 export``: one finished condition laid out as the published study's hub.

A hub is made whole beside its place and then renamed into it. What is there already is never
deleted: it is the same hub, or it is moved aside when asked, or the export is refused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dagster import DagsterInstance

from fly64_assets.errors import InputError, NotTrusted
from fly64_assets.hub.ro_crate import HubFile, write_ro_crate
from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner, State
from fly64_assets.pipeline.process import utc_now
from fly64_assets.pipeline.records import Record
from fly64_assets.pipeline.store import sync
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.hub_layout import RO_CRATE, VERIFICATION_REPORT, hub_path
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import PRODUCTS, Product

Outcome = Literal["exported", "unchanged"]
COPIES_AT_ONCE = 2


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes:
        outcome: ``unchanged`` where the hub was there already, byte for byte.
        n_files: of the hub, its verification report not counted.
        moved_aside: where an older hub went.
    """

    outcome: Outcome
    n_files: int
    moved_aside: Path | None = None


def export_hub(
    context: StudyContext,
    instance: DagsterInstance,
    condition: Condition,
    hub: Path,
    *,
    clobber: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Lay out a finished condition at ``hub``.

    Args:
        context: the study and its store.
        instance: the study's Dagster instance.
        condition: dose and view.
        hub: folder to make; its parents are made as well.
        clobber: move what is there aside, to ``<hub>.<UTC time>``.
        tell: called with what is being done.

    Raises:
        NotTrusted: something of the condition is missing, stale, failed or altered, or a run
            stopped; all of it is named.
        InputError: ``hub`` is no place for one, holds something else, or cannot be written.
    """
    hub = hub.resolve()  # through a link to the folder that it names
    _refuse_place(context, hub)
    _refuse_content(hub, clobber=clobber)
    records = finished_records(context, context.planner(instance), condition)
    with _staging(hub) as staging:
        files = _hub_files(records, condition)
        size = sum(file.bytes for file in files) / 1e6
        tell(f"copying {len(files)} files, {size:,.0f} MB")
        _copy(context, files, staging)
        tell("describing the hub as an RO-Crate")
        write_ro_crate(
            staging, study=context.study, condition=condition, records=records, files=files
        )
        return _put_in_place(staging, hub, clobber=clobber)


def finished_records(
    context: StudyContext, planner: Planner, condition: Condition
) -> dict[Product, Record]:
    """Return the record of everything that a finished condition consists of.

    Raises:
        NotTrusted: it is not finished; every reason is named.
    """
    problems = [
        f"stopped ({path}): {'; '.join(text.splitlines())}"
        for path, text in blockers.of(context.store, condition)
    ]
    records, survey = {}, planner.survey([condition])
    own = [verdict.state for verdict in survey if verdict.condition == condition]
    if not problems and set(own) == {State.MISSING}:
        problems, survey = ["nothing of it was ever made"], []
    for verdict in survey:
        if verdict.state is not State.FRESH or verdict.record is None:
            problems.append(str(verdict))
        else:
            records[verdict.product] = verdict.record
    if problems:
        raise NotTrusted(
            f"{condition} of study {context.study.name} is not finished, so there is no hub of it; "
            "`fly64 run` first, or --study FILE for another study\n  " + "\n  ".join(problems)
        )
    return records


def _refuse_place(context: StudyContext, hub: Path) -> None:
    """Refuse a place where a hub would lie among other things, or move them aside with itself."""
    results = context.store.root.parent.resolve()
    if hub == results or results.parent in hub.parents:
        raise InputError(hub, "--to", "lies among the studies' results; a hub has a place apart")
    apart = {
        "the studies' results": results.parent,
        "the study file": context.study_file.resolve(),
        "the project": PROJECT_ROOT,
        "the current folder": Path.cwd(),
    }
    for what, path in apart.items():
        if hub == path or hub in path.parents:
            raise InputError(hub, "--to", f"holds {what}; a hub has a place apart")
    if hub.exists() and not hub.is_dir():
        raise InputError(hub, "--to", "is a file; a hub is a folder")


def _refuse_content(hub: Path, *, clobber: bool) -> None:
    """Refuse, before anything is copied, what is no older hub that could be this very one."""
    if clobber or not hub.is_dir() or not any(hub.iterdir()):
        return
    if not (hub / RO_CRATE).is_file():
        there = sorted(path.name for path in hub.iterdir())
        raise InputError(
            hub, "--to", f"holds something else, {there[0]} first; --clobber moves it aside"
        )


@contextmanager
def _staging(hub: Path) -> Iterator[Path]:
    """Make a folder beside ``hub`` and remove it afterwards, with what a killed export left."""
    prefix = f".{hub.name}.exporting-"
    try:
        hub.parent.mkdir(parents=True, exist_ok=True)
        for left in hub.parent.glob(f"{prefix}*"):
            pid = left.name.removeprefix(prefix)
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(left, ignore_errors=True)
        staging = hub.parent / f"{prefix}{os.getpid()}"
        staging.mkdir()
    except OSError as error:
        raise InputError(hub, "--to", f"cannot be written: {error.strerror}") from None
    try:
        yield staging
    except OSError as error:
        raise InputError(hub, "--to", f"cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _hub_files(records: Mapping[Product, Record], condition: Condition) -> list[HubFile]:
    """Return what the hub consists of, but for its RO-Crate, in the order of the catalogue."""
    files = []
    for item in (item for item in PRODUCTS if item in records):
        for path, stored in records[item].provenance.files.items():
            target = hub_path(item, condition, Path(path).name)
            if target is not None:
                files.append(HubFile(target, item, path, stored.sha256, stored.bytes))
    return files


def _copy(context: StudyContext, files: Iterable[HubFile], staging: Path) -> None:
    """Copy every file into the hub's layout and hold each copy against its record."""
    for folder in {(staging / file.path).parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)

    def copy(file: HubFile) -> None:
        target = staging / file.path
        shutil.copyfile(context.store.root / file.store_path, target)
        sync(target)
        if sha256_of(target) != file.sha256:
            raise NotTrusted(f"{file.store_path} changed while it was exported")

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        # The largest first, so that nobody waits for one at the end.
        list(pool.map(copy, sorted(files, key=lambda file: -file.bytes)))


def _put_in_place(staging: Path, hub: Path, *, clobber: bool) -> Exported:
    made = _contents(staging)
    moved = None
    there = _contents(hub) if hub.is_dir() else {}
    if there == made:
        return Exported("unchanged", _n_files(made))
    if there:
        if not clobber:
            raise InputError(hub, "--to", _difference(there, made))
        moved = _free_name(hub.with_name(f"{hub.name}.{utc_now().replace(':', '')}"))
        hub.rename(moved)
    elif hub.is_dir():
        hub.rmdir()
    staging.rename(hub)
    sync(hub.parent)
    return Exported("exported", _n_files(made), moved)


def _n_files(contents: Mapping[str, str]) -> int:
    return sum(not name.endswith("/") for name in contents)


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _contents(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 of all but the verification report, which has a time.

    Folders count as well, with a slash and no sha256: an empty one is no part of a hub.
    """
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            found[f"{name}/"] = ""
        elif name != VERIFICATION_REPORT:
            found[name] = sha256_of(path) if path.is_file() else ""
    return found


def _difference(there: Mapping[str, str], made: Mapping[str, str]) -> str:
    kinds = {
        "changed": sorted(name for name in there if name in made and there[name] != made[name]),
        "missing": sorted(set(made) - set(there)),
        "of its own": sorted(set(there) - set(made)),
    }
    told = [f"{len(names)} {kind} ({names[0]} ...)" for kind, names in kinds.items() if names]
    return f"holds something else than this export: {', '.join(told)}; --clobber moves it aside"
