"""The store of one study: where each file lies, how it gets there whole, what its bytes hash to.

This is the one resolver of paths. A product's files are made in a staging folder of the same file
system and renamed into place, so a reader sees an old file or a new one and never half of one; what
belongs together is held together by the hashes that the materialization records. Nothing here knows
of Dagster.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from fly64_assets.documents.provenance import FileRecord
from fly64_assets.errors import InProgress, InputError, UnusableResults, UnwritableResults
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.model import PROJECT_ROOT, Study
from fly64_assets.study.products import BY_KEY, Product

RESULTS_VARIABLE = "FLY64_RESULTS"
SCHEMA_FILE = "schema_version"
SCHEMA_VERSION = 1
"""Of the store's layout and of what its files mean; a store says its own beside its files."""
STORE, PICTURES = "store", "pictures"
"""The folders of a study's results that the web UI's server hands out, below ``SERVED``."""
SERVED = "/fly64"


def results_folder(study: Study) -> Path:
    """Return the folder of all that a study makes: ``$FLY64_RESULTS`` or ``results``, by name.

    Raises:
        InputError: no results can lie there.
    """
    named = os.environ.get(RESULTS_VARIABLE)
    base = named or str(PROJECT_ROOT / "results")
    if base.startswith("~"):
        raise UnusableResults(RESULTS_VARIABLE, base, "begins with ~, which only a shell expands")
    try:
        folder = Path(base).resolve() / study.name
        there = next(path for path in (folder, *folder.parents) if path.exists())
        is_file = not there.is_dir()
    except (OSError, RuntimeError) as error:  # too long, not to be looked into, links in a circle
        problem = getattr(error, "strerror", None) or "links lead in a circle"
        raise UnusableResults(RESULTS_VARIABLE, base, problem) from None
    if is_file:
        raise UnusableResults(RESULTS_VARIABLE, base, f"{there} is a file, no folder")
    require_database_path(folder)
    return folder


def require_database_path(folder: Path) -> None:
    """Refuse a folder whose databases Dagster would look for elsewhere: it reads paths as URLs.

    Raises:
        InputError: the path holds what a URL means something else by.
    """
    found = re.search("[?]|%[0-9A-Fa-f]{2}", str(folder))
    if found:
        raise UnusableResults(
            folder, "", f"has {found[0]!r} in it, which Dagster reads as part of a URL"
        )


def served_address(path: str) -> str:
    """Where the web UI's own server hands out a file, as of its root.

    Args:
        path: relative to the study's folder of results, POSIX: ``pictures/ASSET/PARTITION/FILE``.
    """
    return f"{SERVED}/{quote(path)}"


KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda _: True, "a device"),
)
"""What can lie at a path, in words."""


def not_as_kept(root: Path, path: str) -> str | None:
    """Return what lies at a path of a store or hub that is never kept there, in words.

    Nothing is opened: a named pipe would keep its reader waiting, and a link leads to bytes that
    may be others the next time.

    Args:
        root: of the store or hub; it may be a link itself.
        path: of a file, relative to ``root``, POSIX.

    Returns:
        None where ``path`` is a file, and all above it are folders.
    """
    place, last = root, root / path
    for part in Path(path).parts:
        place = place / part
        try:
            mode = os.lstat(place).st_mode
        except OSError:
            return f"{path} is gone"
        is_kept, wanted = KINDS[0] if place == last else KINDS[1]
        if not is_kept(mode):
            found = next(name for is_kind, name in KINDS if is_kind(mode))
            return f"{place.relative_to(root).as_posix()} is {found}, not {wanted}"
    return None


def sync(path: Path) -> None:
    """Flush a file, or what a folder lists, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


UNFINISHED_FILE = re.compile(r"\..+[.-]\d+")
"""Names of files that a process, whose number they end with, puts beside another or removes."""


def write_whole(path: Path, text: str) -> None:
    """Write a small text so that a reader sees the old one or the new one, never a part."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, "utf-8")
    sync(unfinished)
    unfinished.replace(path)


class Store:
    """Files of one study below ``root``, laid out as the catalogue says.

    Args:
        root: the store's folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, study: Study) -> Store:
        return cls(results_folder(study) / STORE)

    def folder(self, product: Product, condition: Condition) -> Path:
        return self.root / product.folder_of(condition)

    def path(self, product: Product, condition: Condition, file: str) -> Path:
        """Where ``file`` of a product lies.

        Raises:
            KeyError: the catalogue gives the product no such file.
        """
        if file not in product.files:
            raise KeyError(f"{product.name} owns no file {file!r}")
        return self.folder(product, condition) / file

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def require_writable(self) -> None:
        """Fail early and by name where nothing can be written.

        Raises:
            InputError: the store's folder cannot be made or written to.
        """
        probe = self.root / f".writable-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._not_writable(error) from None

    def _not_writable(self, error: OSError) -> UnwritableResults:
        return UnwritableResults(self.root, "", f"the store cannot be written: {error.strerror}")

    def require_schema(self) -> None:
        """Refuse a store that another version of this program laid out.

        A store without a version was written before there were any, in the layout of version 1.

        Raises:
            InputError: the store's version is not the one that this program reads and writes.
        """
        file = self.root / SCHEMA_FILE
        try:
            found = file.read_text("utf-8").strip() if file.is_file() else str(SCHEMA_VERSION)
        except (OSError, UnicodeDecodeError) as error:
            found = f"unreadable ({type(error).__name__})"
        if found != str(SCHEMA_VERSION):
            raise InputError(
                file,
                "schema_version",
                f"is {found[:40]!r}, this program reads and writes {SCHEMA_VERSION}; use the "
                f"program that wrote the store, or move {self.root.parent} aside and make the "
                "study anew",
            )

    def _write_schema(self) -> None:
        file = self.root / SCHEMA_FILE
        if file.is_file():
            return
        write_whole(file, f"{SCHEMA_VERSION}\n")

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Make an empty folder to make files in, for one writer at a time.

        The kernel drops the lock when its process dies, and the next writer empties what was left.

        Raises:
            InProgress: another process is writing the same thing now.
        """
        folder = self.root / ".staging" / _slug(name)
        with self.lock(name, name):
            self._write_schema()
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, name: str, shown: str, *, shared: bool = False) -> Iterator[None]:
        """Hold a lock of this store; the kernel lets it go when this process ends, however.

        Args:
            name: which lock.
            shown: what is done under it, for whoever is refused.
            shared: with others who share it.

        Raises:
            InProgress: another process holds it, and which.
            InputError: the store cannot be written.
        """
        path = self.root / ".locks" / f"{_slug(name)}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+")
        except OSError as error:
            raise self._not_writable(error) from None
        with handle:
            _lock(handle, shown, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield

    def checkpoint_folder(self, product: Product, condition: Condition) -> Path:
        """Where the step that makes a product keeps what it would go on from."""
        return self.root / ".checkpoints" / _slug(f"{'_'.join(product.key)}-{condition}")

    def pictures_folder(self, product: Product, condition: Condition) -> Path:
        """Where pictures of a product that belong to nothing lie: beside the store, not in it."""
        folder = self.root.parent / PICTURES / product.name
        return folder / _slug(condition.partition_key) if condition.partition_key else folder

    def commit(
        self, product: Product, condition: Condition, staged: Path
    ) -> tuple[FileRecord, ...]:
        """Move a product's staged files into place; what it owned before and no longer has, goes.

        So does, first of all, what a new one of these supersedes: whatever happens afterwards,
        nobody reads a delta file whose source is another one.

        Raises:
            KeyError: a staged file belongs to another product of the same folder: never here.
            FileNotFoundError: nothing was staged.
        """
        names = [name for name in product.files if (staged / name).is_file()]
        if not names:
            raise FileNotFoundError(f"{product.name} staged no file")
        self.remove_superseded(product, condition)
        target = self.folder(product, condition)
        self._make_folder(target)
        records = []
        for name in names:
            source = staged / name
            sync(source)
            record = FileRecord(
                self.relative(target / name), sha256_of(source), source.stat().st_size
            )
            _move_aside_folder(target / name)
            source.replace(target / name)
            records.append(record)
        for name in set(product.files) - set(names):
            _move_aside_folder(target / name)
            (target / name).unlink(missing_ok=True)
        self._sync_listing(target)
        return tuple(records)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder of the store and those above it; a link in place of one goes.

        Files that were moved into place through a link would lie elsewhere and hold nowhere.
        """
        for place in reversed([folder, *folder.relative_to(self.root).parents]):
            place = self.root / place
            if place != self.root and place.is_symlink():
                place.unlink()
        folder.mkdir(parents=True, exist_ok=True)

    def _sync_listing(self, folder: Path) -> None:
        """Flush what a folder lists, and that the folders above list it: it may be a new one."""
        while True:
            sync(folder)
            if folder == self.root:
                return
            folder = folder.parent

    def superseded(self, product: Product, condition: Condition) -> list[Path]:
        """Return the files that stop being true when ``product`` is written anew."""
        found = []
        for key in product.invalidates:
            other = BY_KEY[key]
            paths = (self.path(other, condition, name) for name in other.files)
            found += [path for path in paths if path.is_file()]
        return found

    def remove_superseded(self, product: Product, condition: Condition) -> None:
        for path in self.superseded(product, condition):
            path.unlink(missing_ok=True)
            sync(path.parent)

    def altered(self, files: Mapping[str, FileRecord]) -> str | None:
        """Return what no longer matches its record, in words; ``None`` when every byte does."""
        for path, record in files.items():
            problem = not_as_kept(self.root, path)
            if problem is not None:
                return problem
            try:
                with open(self.root / path, "rb", opener=_no_link) as file:
                    size = os.fstat(file.fileno()).st_size
                    if size != record.bytes:
                        return f"{path} has {size} bytes, {record.bytes} were written"
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                return f"{path} cannot be read: {error.strerror}"
            if found != record.sha256:
                return f"{path} has sha256 {found[:12]}…, {record.sha256[:12]}… was written"
        return None


def _no_link(path: str, flags: int) -> int:
    """Open what was a file a moment ago: no link, and no waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _move_aside_folder(path: Path) -> None:
    """Rename a folder that lies where a file belongs; what somebody put into it is not ours."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f".{path.name}.aside-{uuid.uuid4().hex[:8]}"))


def _slug(name: str) -> str:
    """Return a partition's name as a folder's."""
    return name.replace("/", ".").replace("|", "_")


def _lock(handle: IO[str], name: str, kind: int) -> None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        number = handle.read().strip()
        error = InProgress(f"{name} is being made by process {number or '?'}")
        error.pid = int(number) if number.isdecimal() else None
        raise error from None
    # Who holds it is a courtesy: on a full disk the lock holds all the same.
    with contextlib.suppress(OSError):
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), str(os.getpid()).encode())
