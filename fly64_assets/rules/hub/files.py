"""Checks of what lies in the hub: one condition, every file, nothing else, the inventory.

What the files hold does not belong here.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import npz
from fly64_assets.rules.archives import archive_problems, picture_problem
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Finding, check
from fly64_assets.rules.hub.reading import Hub


@check(
    "hub.one_condition",
    contract.MANIFEST,
    "the hub holds one dose and one view, nothing of another",
)
def one_condition(hub: Hub) -> Iterator[Finding]:
    filters = hub.json(contract.MANIFEST).get("filters")
    expected = {"dose": hub.dose, "view": hub.view, "split": None}
    if filters != expected:
        yield Finding(contract.MANIFEST, "filters", f"is {filters}, the folders say {expected}")
    for path in (*hub.folders, *hub.files):
        parts = path.split("/")
        for number, part in enumerate(parts):
            if not re.match(r"dose_", part):
                continue
            view = parts[number + 1] if number + 1 < len(parts) else hub.view
            in_phase_c = parts[:2] == ["data", "phase_c"]
            if part != f"dose_{hub.dose}" or (view != hub.view and not in_phase_c):
                yield Finding(path, "", f"belongs to another condition than {hub.condition}")
                break


@check("hub.sizes", "", "no file is larger than the crate states or its kind is, the hub no deeper")
def sizes(hub: Hub) -> Iterator[Finding]:
    yield from hub.too_much
    for path, reason in hub.unread.items():
        yield Finding(path, "", reason)


@check("hub.no_links", "", "a hub holds regular files and folders only: no links, no devices")
def no_links(hub: Hub) -> Iterator[Finding]:
    for path, what in hub.strange.items():
        yield Finding(path, "", f"is {what}")


@check("hub.no_blocker", "", "an exported hub holds no blocker.log")
def no_blocker(hub: Hub) -> Iterator[Finding]:
    for path in (*hub.files, *hub.folders, *hub.strange):
        if PurePosixPath(path).name.lower() == "blocker.log":
            yield Finding(path, "", "stands for a failure; a hub is exported without one")


@check("layout.complete", "", "every file that the contract names is there")
def complete(hub: Hub) -> Iterator[Finding]:
    for path in sorted(contract.required_files(hub.dose, hub.view, arms(hub)) - set(hub.files)):
        yield Finding(path, "", "is missing")


@check("layout.nothing_else", "", "there is no file or folder that the contract does not name")
def nothing_else(hub: Hub) -> Iterator[Finding]:
    known = contract.required_files(hub.dose, hub.view, arms(hub))
    known |= contract.allowed_files(hub.dose, hub.view, arms(hub))
    for path in sorted(set(hub.files) - known):
        yield Finding(path, "", "is no file of a hub")
    folders = {str(folder) for path in known for folder in PurePosixPath(path).parents}
    for path in sorted(set(hub.folders) - folders):
        yield Finding(path, "", "is no folder of a hub")


@check("layout.not_empty", "", "no file is empty")
def not_empty(hub: Hub) -> Iterator[Finding]:
    for path, status in hub.files.items():
        if status.st_size == 0:
            yield Finding(path, "", "has 0 bytes")


def listed(hub: Hub) -> list[str]:
    """Return the paths in the inventory, as they stand there."""
    return hub.text(contract.INVENTORY).split("\n")[:-1]


@check(
    "inventory.complete",
    contract.INVENTORY,
    "it lists every file of the hub but itself and the verification report, and no other",
)
def inventory_complete(hub: Hub) -> Iterator[Finding]:
    lines = set(listed(hub))
    there = set(hub.files) - {contract.INVENTORY, contract.REPORT}
    for path in sorted(there - lines):
        yield Finding(contract.INVENTORY, path, "is in the hub and not listed")
    for path in sorted(lines - there):
        yield Finding(contract.INVENTORY, path, "is listed and not in the hub")


@check("inventory.sorted", contract.INVENTORY, "one path a line, sorted, none twice")
def inventory_sorted(hub: Hub) -> Iterator[Finding]:
    lines = listed(hub)
    for number, (before, after) in enumerate(zip(lines, lines[1:], strict=False), start=2):
        if not before < after:
            yield Finding(contract.INVENTORY, f"line {number}", f"{after!r} follows {before!r}")


@check("npz.no_pickle", "", "no array in an NPZ is pickled")
def no_pickle(hub: Hub) -> Iterator[Finding]:
    for path in hub.files:
        if not path.endswith(".npz"):
            continue
        try:
            headers = npz.describe_npz(hub.path(path))
        except InputError as error:
            if "is a pickle" in error.problem:
                yield Finding(path, error.key, error.problem)
            continue  # any other damage: npz.intact
        for key, header in headers.items():
            if header.dtype.hasobject:
                yield Finding(path, key, "is a pickled object array")


@check("npz.intact", "", "every NPZ is whole: each member has the checksum that it states")
def npz_intact(hub: Hub) -> Iterator[Finding]:
    for path in hub.files:
        if path.endswith(".npz"):
            problem = hub.once("npz", [path], partial(_npz_problem, hub, path))
            if problem:
                yield Finding(path, *problem)


def _npz_problem(hub: Hub, path: str) -> tuple[str, str] | None:
    try:
        npz.verify_npz(hub.path(path))
    except InputError as error:
        return error.key, error.problem
    return None


@check(
    "npz.nothing_else",
    "",
    "the arrays of an NPZ are stored as they are, none twice",
)
def npz_nothing_else(hub: Hub) -> Iterator[Finding]:
    def problems(path: str) -> list[str]:
        try:
            return list(archive_problems(hub.path(path)))
        except (zipfile.BadZipFile, OSError) as error:
            return [f"is no whole archive: {error}"]

    for path in hub.files:
        if path.endswith(".npz"):
            for problem in hub.once("zip", [path], partial(problems, path)):
                yield Finding(path, "", problem)


@check(
    "pictures.intact",
    "",
    "every picture is a whole PNG of at least 100 x 100 px",
)
def pictures(hub: Hub) -> Iterator[Finding]:
    for path in hub.files:
        if path.endswith(".png"):
            problem = hub.once("png", [path], partial(_picture_problem, hub, path))
            if problem:
                yield Finding(path, "", problem)


def _picture_problem(hub: Hub, path: str) -> str:
    return picture_problem(hub.content(path))
