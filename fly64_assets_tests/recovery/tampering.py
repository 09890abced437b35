"""``python -m fly64_assets_tests.recovery.tampering STUDY RESULTS``: what is finished, altered.

Each trial changes one thing in a copy of a finished study of one condition, of its records or of
its exported hub, and asks everything that speaks of it. A **false success** calls good what is not,
byte for byte, what was made and checked; a **disagreement** is two of them saying different things.
The truth is taken from hashes of the untouched copy, not from the code on trial.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from dagster import AssetKey
from PIL import Image

from fly64_assets.cli import main as fly64
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.study.products import BY_KEY, STUDY_LEVEL, Product
from fly64_assets_tests.conftest import copy_results
from fly64_assets_tests.recovery.site import Site, latest_materializations, sha256

GOOD = ("passed", "warning")
DELTAS = "metrics_delta_summary"
STUDY_WIDE = {item.name for item in STUDY_LEVEL.products}


@dataclass
class Trial:
    """A copy that may be changed.

    Attributes:
        site: of the copy.
        hub: a copy of its exported hub.
        files: path in the store -> sha256 and product, untouched.
        draw: what chance decides.
        file: the file of the store that was changed, where it was one.
    """

    site: Site
    hub: Path
    files: dict[str, tuple[str, str]]
    draw: random.Random
    file: str = ""
    note: str = ""

    def pick(self, *endings: str, least: int = 1) -> Path:
        """A file of the store with one of these endings."""
        wanted = [p for p in sorted(self.files) if p.endswith(endings or ("",))]
        wanted = [p for p in wanted if (self.site.store / p).stat().st_size >= least]
        self.file = self.note = self.draw.choice(wanted)
        return self.site.store / self.file

    @property
    def index(self) -> Path:
        return self.site.instance_folder / "history/runs/index.db"

    def records(self, statement: str, *values: object, database: Path | None = None) -> int:
        """Change rows; how many."""
        with sqlite3.connect(database or self.index) as connection:
            changed = connection.execute(statement, values).rowcount
        connection.close()
        return changed

    def ids(self, table: str, where: str = "1") -> list[int]:
        with sqlite3.connect(self.index) as connection:
            found = connection.execute(f"SELECT id FROM {table} WHERE {where} ORDER BY id")
            numbers = [number for (number,) in found]
        connection.close()
        return numbers

    def harmed(self) -> set[str]:
        """Products whose files are not the regular files that were made."""
        return {
            owner
            for path, (wanted, owner) in self.files.items()
            if (self.site.store / path).is_symlink() or sha256(self.site.store / path) != wanted
        }


Kind = Callable[[Trial], object]
KINDS: dict[str, tuple[Kind, str]] = {}
"""What is done -> (how, and what must come of it)."""
SEEN, SAME, AGREE, HUB = "seen", "same", "agree", "hub"
"""It is seen wherever bytes differ; all is as good as before; all agree; the verifier sees it."""


def kind(what: str, expected: str = SEEN) -> Callable[[Kind], Kind]:
    def register(do: Kind) -> Kind:
        KINDS[what] = do, expected
        return do

    return register


# Bytes of the store.


def _rewrite(path: Path, edit: Callable[[bytes], bytes]) -> None:
    before = path.read_bytes()
    after = edit(before)
    assert after != before
    path.write_bytes(after)


def _noise(t: Trial, length: int) -> bytes:
    return t.draw.randbytes(length)


@kind("a byte is another, its time is kept")
def _(t: Trial) -> None:
    path = t.pick()
    status, at = path.stat(), t.draw.randrange(path.stat().st_size)
    _rewrite(path, lambda b: b[:at] + bytes([b[at] ^ 1 << t.draw.randrange(8)]) + b[at + 1 :])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@kind("the last byte is gone")
def _(t: Trial) -> None:
    path = t.pick(least=2)
    os.truncate(path, path.stat().st_size - 1)


@kind("a zero byte is behind it")
def _(t: Trial) -> None:
    path = t.pick()
    os.truncate(path, path.stat().st_size + 1)


@kind("a hole of 512 bytes")
def _(t: Trial) -> None:
    path = t.pick(least=2_000)
    at = t.draw.randrange(path.stat().st_size - 1_000)

    def edit(content: bytes) -> bytes:
        hole = bytes(512) if any(content[at : at + 512]) else b"x" * 512
        return content[:at] + hole + content[at + 512 :]

    _rewrite(path, edit)


@kind("noise of the same size")
def _(t: Trial) -> None:
    path = t.pick()
    _rewrite(path, lambda b: _noise(t, len(b)))


@kind("the halves' files change places")
def _(t: Trial) -> None:
    path = t.pick()
    while "train" not in t.file or not _other_half(path).is_file():
        path = t.pick()
    one, other = path.read_bytes(), _other_half(path).read_bytes()
    path.write_bytes(other)
    _other_half(path).write_bytes(one)


def _other_half(path: Path) -> Path:
    return Path(str(path).replace("train", "test"))


@kind("the other half's file lies there")
def _(t: Trial) -> None:
    path = t.pick()
    while "train" not in t.file or not _other_half(path).is_file():
        path = t.pick()
    shutil.copyfile(_other_half(path), path)


@kind("lines end with CR LF")
def _(t: Trial) -> None:
    _rewrite(t.pick(".csv", ".json", ".md", ".log", ".txt"), lambda b: b.replace(b"\n", b"\r\n"))


@kind("a digit of a text is another")
def _(t: Trial) -> None:
    path = t.pick(".csv", ".json", ".md", ".txt", ".log", ".html")
    text = path.read_text("utf-8")
    place = t.draw.choice([found.start() for found in re.finditer(r"\d", text)])
    digit = str((int(text[place]) + t.draw.randrange(1, 10)) % 10)
    path.write_text(text[:place] + digit + text[place + 1 :], "utf-8")


@kind("JSON is laid out anew, the same values")
def _(t: Trial) -> None:
    _rewrite(t.pick(".json"), lambda b: json.dumps(json.loads(b)).encode())


@kind("a row of a table is twice")
def _(t: Trial) -> None:
    _rewrite(t.pick(".csv"), lambda b: b + b.splitlines(keepends=True)[-1])


@kind("one number of an array is the next one")
def _(t: Trial) -> None:
    path = t.pick(".npz")
    arrays = {key: value.copy() for key, value in read_npz(path).items()}
    key = t.draw.choice([key for key, value in arrays.items() if value.dtype.kind in "fc"])
    flat = arrays[key].reshape(-1).view(np.dtype(f"f{arrays[key].real.itemsize}"))
    at = t.draw.randrange(len(flat))
    flat[at] = np.nextafter(flat[at], np.inf, dtype=flat.dtype)
    write_npz(path, arrays)


@kind("a picture has another pixel")
def _(t: Trial) -> None:
    path = t.pick(".png")
    with Image.open(path) as opened:
        picture = opened.copy()
    at = t.draw.randrange(picture.width), t.draw.randrange(picture.height)
    picture.putpixel(at, tuple(255 - value for value in picture.getpixel(at)))
    picture.save(path)


@kind("the report says something else")
def _(t: Trial) -> None:
    _rewrite(t.pick(".html"), lambda b: b.replace(b"</body>", b"<p>all is well</p></body>"))


@kind("a file is gone")
def _(t: Trial) -> None:
    t.pick().unlink()


@kind("a file is empty")
def _(t: Trial) -> None:
    os.truncate(t.pick(), 0)


@kind("a file is a folder")
def _(t: Trial) -> None:
    path = t.pick()
    path.unlink()
    path.mkdir()


@kind("a file is a pipe")
def _(t: Trial) -> None:
    path = t.pick()
    path.unlink()
    os.mkfifo(path)


@kind("a file is a link to its like outside")
def _(t: Trial) -> None:
    path, outside = t.pick(), t.site.results.parent / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


@kind("a file is a link to another of the store")
def _(t: Trial) -> None:
    other = t.site.store / t.draw.choice(sorted(t.files))
    path = t.pick()
    while path == other:
        path = t.pick()
    path.unlink()
    path.symlink_to(os.path.relpath(other, path.parent))


@kind("a file is a link to itself")
def _(t: Trial) -> None:
    path = t.pick()
    path.unlink()
    path.symlink_to(path.name)


@kind("a folder has another name")
def _(t: Trial) -> None:
    t.pick()
    depth = t.draw.randrange(len(Path(t.file).parents) - 1)
    folder = t.site.store / Path(t.file).parents[depth]
    folder.rename(folder.with_name(f"{folder.name}.old"))


@kind("a file's name has other letters")
def _(t: Trial) -> None:
    path = t.pick()
    path.rename(path.with_name(path.name.upper()))


# What changes nothing that matters.


@kind("all times are of today", SAME)
def _(t: Trial) -> None:
    for path in t.site.store.rglob("*"):
        os.utime(path)


@kind("all times are of 1980", SAME)
def _(t: Trial) -> None:
    for path in t.files:
        os.utime(t.site.store / path, (315_532_800, 315_532_800))


@kind("a file was changed and changed back", SAME)
def _(t: Trial) -> None:
    path = t.pick()
    before = path.read_bytes()
    path.write_bytes(before[::-1])
    path.write_bytes(before)


@kind("a file was copied and moved over itself", SAME)
def _(t: Trial) -> None:
    path = t.pick()
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@kind("a file has a second name elsewhere", SAME)
def _(t: Trial) -> None:
    os.link(t.pick(), t.site.results.parent / "second")


@kind("nobody may write", SAME)
def _(t: Trial) -> None:
    for path in t.files:
        (t.site.store / path).chmod(0o444)


@kind("notes lie among the files", AGREE)
def _(t: Trial) -> None:
    t.pick().with_name("notes.txt").write_text("mine\n")


@kind("a folder is a link to its like", AGREE)
def _(t: Trial) -> None:
    folder, moved = t.pick().parent, t.site.results.parent / "moved"
    shutil.move(folder, moved)
    folder.symlink_to(moved)


# Records.


@kind("the latest events are gone", AGREE)
def _(t: Trial) -> None:
    numbers = t.ids("event_logs")
    first = t.draw.choice(numbers)
    t.records("DELETE FROM event_logs WHERE id >= ?", first)
    t.note = f"from event {first} of {numbers[-1]} on"


@kind("a materialization is gone", AGREE)
def _(t: Trial) -> None:
    of_assets = "dagster_event_type = 'ASSET_MATERIALIZATION'"
    t.records("DELETE FROM event_logs WHERE id = ?", t.draw.choice(t.ids("event_logs", of_assets)))


@kind("a check's row is gone", AGREE)
def _(t: Trial) -> None:
    number = t.draw.choice(t.ids("asset_check_executions"))
    t.records("DELETE FROM asset_check_executions WHERE id = ?", number)


@kind("a check's row says failed", AGREE)
def _(t: Trial) -> None:
    statement = "UPDATE asset_check_executions SET execution_status = 'FAILED' WHERE id = ?"
    t.records(statement, t.draw.choice(t.ids("asset_check_executions")))


@kind("a check's row is of another materialization", AGREE)
def _(t: Trial) -> None:
    column = "materialization_event_storage_id"
    statement = f"UPDATE asset_check_executions SET {column} = {column} + 1 WHERE id = ?"
    t.records(statement, t.draw.choice(t.ids("asset_check_executions")))


@kind("a check was planned and never ran", AGREE)
def _(t: Trial) -> None:
    statement = (
        "UPDATE asset_check_executions SET execution_status = 'PLANNED', evaluation_event = NULL "
        "WHERE id = ?"
    )
    t.records(statement, t.draw.choice(t.ids("asset_check_executions")))


@kind("an asset's key is gone", AGREE)
def _(t: Trial) -> None:
    t.records("DELETE FROM asset_keys WHERE id = ?", t.draw.choice(t.ids("asset_keys")))


@kind("an asset was wiped", AGREE)
def _(t: Trial) -> None:
    number = t.draw.choice(t.ids("asset_keys"))
    t.records(
        "UPDATE asset_keys SET wipe_timestamp = ? WHERE id = ?", "2100-01-01 00:00:00", number
    )


@kind("a hash in a record is another", AGREE)
def _(t: Trial) -> None:
    path = t.draw.choice(sorted(t.files))
    old = t.files[path][0]
    t.note = path
    change = "UPDATE event_logs SET event = replace(event, ?, ?)"
    assert t.records(change, old, "0" * 64)


@kind("a data version in a record is another", AGREE)
def _(t: Trial) -> None:
    of_assets = t.ids("event_logs", "dagster_event_type = 'ASSET_MATERIALIZATION'")
    number = t.draw.choice(of_assets)
    change = 'UPDATE event_logs SET event = replace(event, \'"data_version": "\', ?) WHERE id = ?'
    t.records(change, '"data_version": "0', number)


@kind("a materialization's record is no JSON", AGREE)
def _(t: Trial) -> None:
    of_assets = t.ids("event_logs", "dagster_event_type = 'ASSET_MATERIALIZATION'")
    change = "UPDATE event_logs SET event = substr(event, 1, 500) WHERE id = ?"
    t.records(change, t.draw.choice(of_assets))


@kind("the runs are gone", AGREE)
def _(t: Trial) -> None:
    t.records("DELETE FROM runs", database=t.site.instance_folder / "history/runs.db")


@kind("a run is said to have failed", AGREE)
def _(t: Trial) -> None:
    database = t.site.instance_folder / "history/runs.db"
    t.records("UPDATE runs SET status = 'FAILURE' WHERE id = 2", database=database)


@kind("the database is gone", AGREE)
def _(t: Trial) -> None:
    t.index.unlink()


@kind("all records are gone", AGREE)
def _(t: Trial) -> None:
    shutil.rmtree(t.site.instance_folder)


@kind("the database is cut short", AGREE)
def _(t: Trial) -> None:
    os.truncate(t.index, t.draw.randrange(t.index.stat().st_size))


@kind("the database has noise in it", AGREE)
def _(t: Trial) -> None:
    with t.index.open("r+b") as file:
        file.seek(t.draw.randrange(0, t.index.stat().st_size - 4_096, 4_096))
        file.write(_noise(t, 4_096))


@kind("the database is empty", AGREE)
def _(t: Trial) -> None:
    os.truncate(t.index, 0)


@kind("older records, and a file of today")
def _(t: Trial) -> None:
    numbers = t.ids("event_logs")
    t.records("DELETE FROM event_logs WHERE id > ?", numbers[len(numbers) * 2 // 3])
    _rewrite(t.pick(".json", ".csv"), lambda b: b[:-1] + b" \n")


@kind("the instance's settings have a comment", SAME)
def _(t: Trial) -> None:
    settings = t.site.instance_folder / "dagster.yaml"
    settings.write_text(settings.read_text() + "# mine\n")


@kind("the store is of another version", AGREE)
def _(t: Trial) -> None:
    _rewrite(t.site.store / "schema_version", lambda b: b"999\n")


@kind("the store's version is gone", AGREE)
def _(t: Trial) -> None:
    (t.site.store / "schema_version").unlink()


# The study.


def _edited(t: Trial, line: str) -> None:
    path = t.site.study_file
    path.write_text(f"{path.read_text()}\n{line}\n")


@kind("the study has a comment", SAME)
def _(t: Trial) -> None:
    _edited(t, "# mine")


@kind("the study has another setting", AGREE)
def _(t: Trial) -> None:
    lines = (
        'scoring: {"max_shift_px": 3.0}',
        'seeds: {"grouping": 124}',
        'dose_response: {"quality_levels": [0.5]}',
        'statistics: {"confidence": 0.9}',
    )
    t.note = t.draw.choice(lines)
    _edited(t, t.note)


@kind("the study lies elsewhere", SAME)
def _(t: Trial) -> None:
    moved = t.site.study_file.parent / "elsewhere"
    moved.mkdir()
    shutil.move(t.site.study_file, moved / "other.yaml")
    t.site = Site(moved / "other.yaml", t.site.results)


# The hub.


def _in_hub(t: Trial) -> Path:
    paths = [path for path in sorted(t.hub.rglob("*")) if path.is_file()]
    path = t.draw.choice([path for path in paths if path.name != "verification_report.json"])
    t.note = path.relative_to(t.hub).as_posix()
    return path


@kind("a byte of the hub is another", HUB)
def _(t: Trial) -> None:
    path = _in_hub(t)
    at = t.draw.randrange(path.stat().st_size)
    _rewrite(path, lambda b: b[:at] + bytes([b[at] ^ 1 << t.draw.randrange(8)]) + b[at + 1 :])


@kind("two files of the hub change places", HUB)
def _(t: Trial) -> None:
    one, other = _in_hub(t), _in_hub(t)
    while one.read_bytes() == other.read_bytes():
        other = _in_hub(t)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@kind("a file of the hub is gone", HUB)
def _(t: Trial) -> None:
    _in_hub(t).unlink()


@kind("a file more is in the hub", HUB)
def _(t: Trial) -> None:
    _in_hub(t).with_name(".more").write_text("mine\n")


@kind("a file of the hub is a link", HUB)
def _(t: Trial) -> None:
    path, outside = _in_hub(t), t.hub.parent / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


# What is asked.


@dataclass
class Answers:
    """What everything says.

    Attributes:
        exits: exit code of each command.
        states: product -> what the plan calls it.
        status: what the status counts.
        rows: product -> status of its checks, and whether each blocks.
        crashes: what ended with a traceback.
    """

    exits: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)


def _ask(answers: Answers, name: str, *arguments: str | Path) -> Any:
    result: Result = CliRunner().invoke(fly64, [str(part) for part in arguments])
    answers.exits[name] = result.exit_code
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        answers.crashes.append(f"{name}: {result.exception!r}"[:300])
    try:
        return json.loads(result.stdout)
    except ValueError:
        return None


def ask(t: Trial) -> Answers:
    """Ask every command about the study."""
    study, answers = ("--study", t.site.study_file), Answers()
    os.environ[RESULTS_VARIABLE] = str(t.site.results)
    plan = _ask(answers, "plan", "plan", "--json", *study)
    status = _ask(answers, "status", "status", "--json", *study)
    checks = _ask(answers, "checks", "checks", "--json", *study)
    answers.states = {row["product"]: row["state"] for row in (plan or {}).get("products", [])}
    for one in (status or {}).get("conditions", []):
        answers.status = one["products"]
    for row in (checks or {}).get("checks", []):
        found = (row["status"], row["blocking"])
        answers.rows.setdefault(row["asset"], []).append(found)
    for name in (path for path in (t.file, _deltas_of(t)) if path):
        label = "lineage" if name == t.file else "lineage of the deltas"
        _ask(answers, label, "lineage", "--json", t.site.store / name)
    dose, view = "1000", "dense"
    hub = t.site.results.parent / "exported"
    place = ("--dose", dose, "--view", view, "--to", hub)
    _ask(answers, "export", "export", "--json", *study, *place)
    _ask(answers, "report", "report", "--json", *study)
    return answers


def _deltas_of(t: Trial) -> str:
    return next(path for path, (_, owner) in t.files.items() if owner == DELTAS)


def _ancestors(name: str) -> set[str]:
    """A product, and all that it is made from."""
    by_name = {item.name: item for item in BY_KEY.values()}
    found, pending = set(), [by_name[name]]
    while pending:
        item: Product = pending.pop()
        if item.name not in found:
            found.add(item.name)
            pending += [BY_KEY[key] for key in (*item.inputs, *item.collects)]
    return found


def judge(t: Trial, expected: str, harmed: set[str], answers: Answers) -> tuple[list[str], ...]:
    """(false successes, disagreements)."""
    exits, states = answers.exits, answers.states
    false = [f"plan calls {name} fresh" for name in harmed if states.get(name) == "fresh"]
    for name in harmed & set(answers.rows):
        if all(status in GOOD for status, _ in answers.rows[name]):
            false.append(f"all checks of {name} passed")
    if harmed - STUDY_WIDE and exits["export"] == 0:
        false.append("export and its verification are good")
    reported = _ancestors("study_report") - STUDY_WIDE
    if harmed & reported and exits["report"] == 0:
        false.append("the report is good")
    if t.file and t.files[t.file][1] in harmed and exits["lineage"] == 0:
        false.append("the lineage of the file holds")
    ancestors = _ancestors(DELTAS)
    if harmed & ancestors and exits["lineage of the deltas"] == 0:
        false.append("the lineage of the deltas holds")
    apart = [f"crash: {crash}" for crash in answers.crashes]
    own = [state for name, state in states.items() if name not in STUDY_WIDE]
    good = {*own} == {"fresh"}
    if states and {state: own.count(state) for state in set(own)} != answers.status:
        all_of_them = list(states.values())
        counted = {state: all_of_them.count(state) for state in set(all_of_them)}
        if counted != answers.status:
            apart.append(f"plan counts {counted}, status {answers.status}")
    if (exits["export"] == 0) != good:
        apart.append(f"plan says {_few(own)}, export ended with {exits['export']}")
    # What lacks only checks that do not block may be reported on: the page, made anew, says so.
    usable = {
        name
        for name, rows in answers.rows.items()
        if states.get(name) == "unchecked" and all(s in GOOD for s, blocking in rows if blocking)
    }
    below = [state for name, state in states.items() if name in reported - usable]
    if (exits["report"] == 0) != ({*below} == {"fresh"}):
        apart.append(f"plan says {_few(below)} of the report, it ended with {exits['report']}")
    for name, rows in answers.rows.items():
        state, passed = states.get(name, "unknown"), all(s in GOOD for s, _ in rows)
        if state == "fresh" and not all(s in GOOD for s, blocking in rows if blocking):
            apart.append(f"{name} is fresh, its checks are {_few([s for s, _ in rows])}")
        if state not in ("fresh", "stale") and passed:
            apart.append(f"{name} is {state}, all its checks passed")
    broken = {name for name in ancestors if states.get(name) in ("altered", "missing")}
    holds = exits["lineage of the deltas"] == 0
    if broken and holds:
        apart.append(f"{sorted(broken)[0]} is {states[sorted(broken)[0]]}, the lineage holds")
    if good and not holds:
        apart.append("all is fresh, the lineage of the deltas does not hold")
    if expected == SAME and not (good and all(code == 0 for code in exits.values())):
        apart.append(f"nothing was harmed, and {exits}, {_few(own)}")
    if expected == SEEN and not harmed:
        apart.append("the tampering did nothing")
    return false, apart


def _few(states: list[str]) -> str:
    return ", ".join(f"{states.count(one)} {one}" for one in sorted(set(states))) or "nothing"


# Trials.


@dataclass(frozen=True)
class Finished:
    """What trials are copies of."""

    site: Site
    hub: Path
    files: dict[str, tuple[str, str]]

    @classmethod
    def of(cls, site: Site, folder: Path) -> Finished:
        """A finished study, with a hub of it made in ``folder``."""
        with site.opened() as (_, instance):
            made = {name: one.files for (name, _), one in latest_materializations(instance).items()}
            for item in STUDY_LEVEL.products:
                (record,) = instance.fetch_materializations(AssetKey(item.key), limit=1).records
                carried = record.asset_materialization.metadata["provenance"].value
                made[item.name] = {path: f["sha256"] for path, f in carried["files"].items()}
        files = {path: (has, name) for name, one in made.items() for path, has in one.items()}
        assert all(sha256(site.store / path) == wanted for path, (wanted, _) in files.items())
        os.environ[RESULTS_VARIABLE] = str(site.results)
        place = ("--dose", "1000", "--view", "dense", "--to", str(folder / "hub"))
        command = ["export", "--json", "--study", str(site.study_file), *place]
        done = CliRunner().invoke(fly64, command)
        assert done.exit_code == 0, done.output
        return cls(site, folder / "hub", files)


def attempt(finished: Finished, folder: Path, number: int, seed: int) -> dict[str, Any]:
    """One trial, in a process of its own."""
    names = sorted(KINDS)
    what = names[number % len(names)]
    do, expected = KINDS[what]
    copy_results(finished.site.results, folder / "results")
    study_file = folder / "study" / "study.yaml"
    study_file.parent.mkdir()
    shutil.copyfile(finished.site.study_file, study_file)
    hub = folder / "hub"
    if expected == HUB:
        shutil.copytree(finished.hub, hub)
    draw = random.Random(f"{what} {number} {seed}")
    site = Site(study_file, folder / "results")
    t, began = Trial(site, hub, finished.files, draw), time.monotonic()
    do(t)
    if expected == HUB:
        answers = Answers()
        _ask(answers, "verify", "verify", "--json", hub)
        false = ["the hub is verified"] if answers.exits["verify"] == 0 else []
        apart = [f"crash: {crash}" for crash in answers.crashes]
    else:
        harmed = t.harmed()
        answers = ask(t)
        false, apart = judge(t, expected, harmed, answers)
    return {
        "number": number,
        "kind": what,
        "note": t.note,
        "exits": answers.exits,
        "false": false,
        "disagree": apart,
        "seconds": round(time.monotonic() - began, 1),
    }


def _work(finished: Finished, folder: Path, number: int, seed: int, told: Path) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    told.write_text(json.dumps(attempt(finished, folder, number, seed)))


def series(
    finished: Finished, folder: Path, count: int, seed: int, workers: int
) -> list[dict[str, Any]]:
    """Trials, each in a process that is forked for it, so that none remembers another's files."""
    context, pending, running, found = get_context("fork"), list(range(count)), {}, []
    while pending or running:
        while pending and len(running) < workers:
            number = pending.pop(0)
            own = folder / f"trial_{number}"
            own.mkdir()
            arguments = (finished, own, number, seed, own / "told.json")
            process = context.Process(target=_work, args=arguments)
            process.start()
            running[process.sentinel] = process, own, number
        for sentinel in wait(list(running)):
            process, own, number = running.pop(sentinel)
            process.join()
            told = own / "told.json"
            crash = {"number": number, "kind": sorted(KINDS)[number % len(KINDS)], "note": "crash"}
            crash |= {"false": [], "disagree": [f"the trial ended with {process.exitcode}"]}
            found.append(json.loads(told.read_text()) if told.is_file() else crash)
            shutil.rmtree(own, ignore_errors=True)
            if found[-1]["false"] or found[-1]["disagree"]:
                print(json.dumps(found[-1], ensure_ascii=False), flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="study file of one condition, 1000|dense")
    parser.add_argument("results", type=Path, help="results folder in which it is finished")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tampering-") as temporary:
        folder = Path(temporary)
        study_file = folder / "study.yaml"
        text = given.study.read_text("utf-8")
        inherited = re.compile(r"^(extends:\s*)(\S+)", re.MULTILINE)
        base = given.study.resolve().parent
        study_file.write_text(inherited.sub(lambda m: f"{m[1]}{base / m[2]}", text), "utf-8")
        finished = Finished.of(Site(study_file, given.results.resolve()), folder)
        found = series(finished, folder, given.count, given.seed, given.workers)
    false = [one for one in found if one["false"]]
    apart = [one for one in found if one["disagree"]]
    told = f"{len(found)} tamperings, {len(false)} false successes, {len(apart)} disagreements"
    print(f"{told}, {time.monotonic() - began:.0f} s")
    return 1 if false or apart else 0


if __name__ == "__main__":
    sys.exit(main())
