"""Checks of every text in the hub: encoding, line ends, JSON, paths, times.

What the numbers in a text must be does not belong here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken, Finding, check, shown
from fly64_assets.rules.hub.reading import Hub

BOM = b"\xef\xbb\xbf"
CAPTURED = "| "
"""A log's line that begins so was printed by a library: its words are not ours."""
MOMENT = re.compile(
    r"(?<![\w.-])\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}[:.]\d{2}\S*"
    r"|(?<![\w.-])\d{1,2}[./]\d{1,2}[./]\d{4}[ ,]+\d{1,2}:\d{2}\S*"
    r"|(?<![\w.-])\d{4}-?\d{2}-?\d{2}T\d{4,6}\S*"
)
ABSOLUTE = re.compile(
    r"(?:^|[\s\"'`=(\[,;|])"
    r"(/[A-Za-z0-9._~+-]+(?:/[^\s\"'`)\],;|]*)+|~/[^\s\"'`]+|[A-Za-z]:[\\/][^\s\"'`]+|\\\\[^\s]+)"
    r"|(file:/[^\s\"'`]+)"
)
PARENT = re.compile(r"(?:^|[\s\"'`=(\[,;|/\\])(\.\.[/\\][^\s\"'`)\],;|]*)")
PATH_KEYS = {
    "npz_path",
    "log_path",
    "metrics_csv",
    "bundle_path",
    "history",
    "phase_c_npz",
    "pinn_checkpoint",
    "baseline_checkpoint",
    "phase_f_manifest",
    "source_metrics",
}
MORE_PATH_KEYS = {
    contract.RUN_MANIFEST: {"train", "test"},
    contract.RECONSTRUCTION_MANIFEST: {"input", "output"},
}
TIME_KEYS = {"generated_at", "time", "timestamp", "dateCreated", "datePublished", "startTime"}
TIME_KEYS |= {"endTime", "dateModified"}
CLOCKS_APART = timedelta(days=1)


def walk(value: Any, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """(place, name, scalar) of every scalar in a JSON value; ``name`` is its own key."""
    if isinstance(value, dict):
        for name, item in value.items():
            place = f"{key}.{name}" if key else str(name)
            yield from _leaf_or_walk(place, str(name), item)
    elif isinstance(value, list):
        own = key.rpartition(".")[2]
        for number, item in enumerate(value):
            yield from _leaf_or_walk(f"{key}[{number}]", own, item)


def _leaf_or_walk(place: str, name: str, item: Any) -> Iterator[tuple[str, str, Any]]:
    if isinstance(item, dict | list):
        yield from walk(item, place)
    else:
        yield place, name, item


def readable_json(hub: Hub) -> Iterator[tuple[str, Any]]:
    """Every JSON file that can be read; `json.valid` finds the others."""
    for path in hub.files:
        if path.endswith(".json") and path != contract.REPORT:
            with suppress(Broken):
                yield path, hub.json(path)


Problems = list[tuple[str, str]]
"""(key, reason) in one file."""


def _in_every_text(
    hub: Hub, what: str, of_json: Callable[[Any], Problems], of_line: Callable[[str], str]
) -> Iterator[Finding]:
    """Hold every text of the hub but captured log lines against a rule; each is read once."""

    def judge(path: str) -> Problems:
        if path.endswith(".json"):
            return of_json(hub.json(path))
        is_log = path.endswith(".log")
        return [
            (f"line {number}", problem)
            for number, line in enumerate(hub.text(path).split("\n"), start=1)
            if not (is_log and line.startswith(CAPTURED))
            if (problem := of_line(line))
        ]

    for path in hub.text_files:
        if path == contract.REPORT:
            continue
        with suppress(Broken):  # what cannot be read is found by text.utf8 and json.valid
            for key, reason in hub.once(what, [path], partial(judge, path)):
                yield Finding(path, key, reason)


@check("text.utf8", "", "every text is UTF-8 without a byte order mark")
def utf8(hub: Hub) -> Iterator[Finding]:
    for path in hub.text_files:
        content = hub.content(path)
        if content.startswith(BOM):
            yield Finding(path, "byte 0", "begins with a byte order mark")
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            yield Finding(path, f"byte {error.start}", "is no UTF-8")


@check("text.lf", "", "every line of a text ends with LF alone, the last one too")
def line_feeds(hub: Hub) -> Iterator[Finding]:
    for path in hub.text_files:
        content = hub.content(path)
        if b"\r" in content:
            line = content[: content.index(b"\r")].count(b"\n") + 1
            yield Finding(path, f"line {line}", "holds a CR")
        if content and not content.endswith(b"\n"):
            yield Finding(path, "last line", "does not end with LF")


@check("json.valid", "", "every JSON file is an object, no key twice, no NaN, no infinity")
def json_valid(hub: Hub) -> Iterator[Finding]:
    for path in hub.files:
        if path.endswith(".json") and path != contract.REPORT:
            try:
                hub.json(path)
            except Broken as error:
                yield error.finding


SORTED = ("/bundle.json",)
"""Ends of the names of files whose keys are in alphabetical order."""


def _layouts(path: str, content: Any) -> Iterator[str]:
    """Yield what the text of a JSON file may be; two where letters beyond ASCII may be escaped."""
    indent = 1 if path == contract.CRATE else 2
    ordered = path == contract.CRATE or path.endswith(SORTED)
    for ascii_only in (False, True):
        text = json.dumps(content, indent=indent, sort_keys=ordered, ensure_ascii=ascii_only)
        yield text + "\n"


@check(
    "json.layout",
    "",
    "JSON is laid out in one way: no blank, digit or escape more, keys sorted where they are",
)
def json_layout(hub: Hub) -> Iterator[Finding]:
    for path, content in readable_json(hub):
        if hub.text(path) not in _layouts(path, content):
            yield Finding(path, "", "is laid out in another way than the platform writes it")
    for path in hub.files:
        if path.endswith(".npz"):
            with suppress(Broken, KeyError):  # most have no metadata; damage: npz.intact
                stored = str(hub.arrays(path, "_metadata")["_metadata"][()])
                text = json.dumps(hub.metadata(path), sort_keys=True, ensure_ascii=False)
                if stored != text:
                    yield Finding(path, "_metadata", "is laid out in another way than written")


def _path_problem(text: str) -> str:
    if not any(mark in text for mark in "/\\~"):
        return ""  # most texts: no need to search them
    if found := ABSOLUTE.search(text):
        return f"{(found[1] or found[2])!r} is an absolute path"
    if found := PARENT.search(text):
        return f"{found[1]!r} leaves its folder"
    return ""


@check("paths.relative", "", "no text names an absolute path or one that leaves the hub")
def paths_relative(hub: Hub) -> Iterator[Finding]:
    def of_json(content: Any) -> Problems:
        return [
            (place, problem)
            for place, name, value in walk(content)
            for text in (value, name)
            if isinstance(text, str) and (problem := _path_problem(text))
        ]

    yield from _in_every_text(hub, "paths", of_json, _path_problem)


@check("paths.exist", "", "every path that a JSON file names is a file of the hub, POSIX")
def paths_exist(hub: Hub) -> Iterator[Finding]:
    for path, content in readable_json(hub):
        if path == contract.CRATE:
            continue  # its @id are checked with the crate
        for place, name, value in walk(content):
            if name not in PATH_KEYS | MORE_PATH_KEYS.get(path, set()):
                continue
            if value not in hub.files:
                yield Finding(path, place, f"{shown(value)} is no file of the hub")


def is_moment(text: str) -> bool:
    """Whether a text is a UTC time that the calendar has."""
    if not contract.TIME.fullmatch(text):
        return False
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return False
    return True


def _moments(text: str) -> Iterator[str]:
    """Yield what in a text looks like a time, without the punctuation after it."""
    if not any(mark in text for mark in ":.T"):
        return  # most texts: hashes, names, numbers
    for found in MOMENT.finditer(text):
        yield found[0].rstrip(".,;:)]|\"'`")


@check("times.utc", "", "every time is UTC, YYYY-MM-DDTHH:MM:SSZ, and one that has been")
def times_utc(hub: Hub) -> Iterator[Finding]:
    latest = (datetime.now(UTC) + CLOCKS_APART).strftime("%Y-%m-%dT%H:%M:%SZ")

    def problem(text: str) -> str:
        for moment in _moments(text):
            if not is_moment(moment):
                return f"{moment!r} is no UTC time YYYY-MM-DDTHH:MM:SSZ"
            if moment > latest:
                return f"{moment} has not been yet"
        return ""

    def of_json(content: Any) -> Problems:
        found = []
        for place, name, value in walk(content):
            if name in TIME_KEYS and not (isinstance(value, str) and is_moment(value)):
                found.append((place, f"{shown(value)} is no UTC time YYYY-MM-DDTHH:MM:SSZ"))
            elif isinstance(value, str) and (reason := problem(value)):
                found.append((place, reason))
        return found

    yield from _in_every_text(hub, "times", of_json, problem)
