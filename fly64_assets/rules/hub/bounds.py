"""How much of a hub is looked at: what is too much is never read, and one finding says so.

A hub may be hostile, and a file of it larger than the machine. So what is read has to be of its
kind's size and of the size that the crate states, archives cannot unpack to more than they are, and
the process that judges has memory and time by the sizes that the crate states.
"""

from __future__ import annotations

import os
import resource
import signal
import zipfile
from pathlib import Path, PurePosixPath

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import npz

MOST_ENTRIES, MOST_IN_FOLDER, DEEPEST_FOLDER = 2_000, 200, 12
"""Files and folders of a hub and of one folder, and how deep it is: many times what a hub has."""
LARGEST = {".npz": 1 << 36, ".keras": 1 << 30, ".png": 1 << 23}
LARGEST_TEXT = 1 << 22
"""Bytes of a file by the end of its name."""
GRACE = 1 << 20
"""Bytes by which a file that was edited may be larger than stated and is judged all the same."""
MOST_MEMBERS, LARGEST_DIRECTORY = 200, 1 << 16
"""Of an archive: arrays, and bytes of the list of them."""
LONGEST_EMPTY = 1 << 16
"""Of an array that has no bytes."""
MEMORY, MEMORY_SHARE, MOST_MEMORY = 400 << 20, 0.5, 4 << 30
"""Bytes that the process may hold: always, in addition per stated byte, and that at most."""
SECONDS, SECONDS_PER_BYTE = 20, 20e-9
"""Processor time, in the same way."""
WAITING = 5
"""Seconds that may pass for each of those."""


def too_large(path: str, size: int, stated: int | None) -> str:
    """Why a file is not read; empty when it may be.

    Args:
        path: relative to the hub.
        size: bytes that it has.
        stated: bytes that the crate says it has; None where it says nothing, 0 is meant then.
    """
    most = LARGEST.get(PurePosixPath(path).suffix, LARGEST_TEXT)
    if size > most:
        return f"has {size:,} bytes, more than the {most:,} of any such file; it is not read"
    if size > (stated or 0) + GRACE:
        said = "says nothing of it" if stated is None else f"states {stated:,}"
        return f"has {size:,} bytes, the crate {said}; it is not read"
    return ""


def may_unpack(path: Path) -> str:
    """Why an archive is not opened: it could unpack to more than it is; empty when it cannot.

    Archives of a hub hold their members as they are. What is no archive is left to those who read.
    """
    try:
        with path.open("rb") as file:
            ending = zipfile._EndRecData(file)  # type: ignore[attr-defined] # as ZipFile does
            if ending is None:
                return ""
            size = ending[zipfile._ECD_SIZE]  # type: ignore[attr-defined]
            if size > LARGEST_DIRECTORY:
                return f"has a directory of {size:,} bytes; it is not read"
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
            size = file.seek(0, os.SEEK_END)
        if len(members) > MOST_MEMBERS:
            return f"has {len(members):,} members; it is not read"
        for member in members:
            stored = member.compress_type == zipfile.ZIP_STORED
            if not stored or member.compress_size != member.file_size:
                return f"{member.filename} is not stored as it is; it is not read"
        if sum(member.file_size for member in members) > size:
            return "has members that overlap, or are larger than it; it is not read"
        headers = npz.describe_npz(path) if path.suffix == ".npz" else {}
    except InputError:
        return ""  # damaged, or no NPZ: npz.intact
    except Exception as error:  # a directory or a header can be anything
        return f"cannot be opened: {type(error).__name__}; it is not read"
    for key, header in headers.items():
        if not header.nbytes and max(header.shape, default=0) > LONGEST_EMPTY:
            return f"{key} is {header.dtype} {header.shape} without a byte; it is not read"
    return ""


def limit_process(stated: int = 0) -> None:
    """Bound this process: memory, processor time, time; it writes no file and leaves no core.

    The kernel ends it when it runs out of time; out of memory is a MemoryError.

    Args:
        stated: bytes of the hub, as the crate states them. Called again when they are known.
    """
    memory = MEMORY + min(int(MEMORY_SHARE * stated), MOST_MEMORY)
    seconds = int(SECONDS + SECONDS_PER_BYTE * stated)
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (soft, hard))
    signal.alarm(WAITING * seconds)
