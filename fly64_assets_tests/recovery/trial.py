"""One fault from its injection to the verdict, and a series of them on one copy of a study."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fly64_assets.study.products import PRODUCTS
from fly64_assets_tests.conftest import copy_results
from fly64_assets_tests.recovery.scenes import Scene, place_of
from fly64_assets_tests.recovery.site import Place, Site, Standing, false_claims

RECORDS_VARIABLE = "FLY64_FAULT_RECORDS"
"""File that every trial's record is appended to, one JSON object a line."""
RERUN_TIMEOUT_S = 900.0
"""Far more than a run needs on a busy machine: what is not finished by then hangs."""
CLOSING = "closing"
"""In place of a phase: no fault, but ``fly64 run`` over the whole study after a series."""


@dataclass
class Injection:
    """What a kind of fault has done.

    Attributes:
        hit: whether it met the phase: the step was at work, or read what was altered.
        exits: exit codes of the commands that it met, None where it was killed.
        harmed: places whose files the fault itself has altered, so that they cannot be whole.
        must_refuse: whether the phase must not make anything of what it was given.
        waited: seconds from the fault to the end of a run that went on without what was killed.
        note: what else should be known.
    """

    hit: bool
    exits: list[int | None] = field(default_factory=list)
    harmed: frozenset[Place] = frozenset()
    must_refuse: bool = False
    waited: float = 0.0
    note: str = ""


@dataclass
class Record:
    """A trial's outcome, one line of the records' file."""

    kind: str
    phase: str
    attempt: int
    injected: bool
    lost: list[str]
    falsely_successful: list[str]
    recovered: bool | None
    seconds: float | None
    note: str

    @property
    def good(self) -> bool:
        return not self.lost and not self.falsely_successful and self.recovered is not False


@dataclass
class Bench:
    """A copy of the finished study to try faults on.

    Attributes:
        known: data versions of the undisturbed run.
        log: where the commands' output goes.
        now: how it stands, where that is known.
        daemon: Dagster's daemon of the study, where a kind of fault needs one.
    """

    site: Site
    known: dict[Place, str]
    log: Path
    now: Standing | None = None
    daemon: subprocess.Popen | None = None

    @classmethod
    def copy_of(cls, finished: Site, folder: Path) -> Bench:
        """A copy of a finished study, which has to be all fresh."""
        copy_results(finished.results, folder / "results")
        site = Site(finished.study_file, folder / "results")
        standing = site.standing()
        assert standing.made and standing.fresh == standing.whole == set(standing.made)
        return cls(site, standing.versions(), folder / "commands.log", standing)

    def phase_run(self, names: Iterable[str], prefix: tuple[str, ...] = ()) -> subprocess.Popen:
        """Start a run of these products."""
        module = "fly64_assets_tests.recovery.phase_run"
        command = [sys.executable, "-m", module, ",".join(sorted(names))]
        return self.site.start(command, self.log, prefix)

    def tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-1500:] if self.log.is_file() else ""


def finish(process: subprocess.Popen, seconds: float = RERUN_TIMEOUT_S) -> int | None:
    """Wait for a command's end: its exit code, None when it was killed or did not end."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
    return code if code >= 0 else None


def judge(
    bench: Bench, scene: Scene, before: Standing, after: Standing, injection: Injection
) -> tuple[list[str], list[str]]:
    """(what was lost, what was falsely claimed) between two moments."""
    spared = scene.places | injection.harmed
    lost = [f"{p} is not whole" for p in before.whole - after.whole - spared]
    lost += [
        f"{p} has other data"
        for p in before.whole & after.whole - spared
        if before.made[p].data_version != after.made[p].data_version
    ]
    lost += [f"{p} is not fresh" for p in before.fresh - after.fresh - downstream(spared)]
    false = false_claims(after, bench.known)
    done = scene.places <= after.fresh & after.whole
    if 0 in injection.exits and not done:
        false.append("a command ended with 0 and the products are not there")
    for place, made in after.made.items():
        if place in before.made and made.storage_id == before.made[place].storage_id:
            continue
        if place not in after.whole and place not in injection.harmed:
            false.append(f"{place} was recorded and its files are not those recorded")
        if made.data_version != bench.known[place]:
            false.append(f"{place} was recorded with other data")
        if place in scene.places and injection.must_refuse:
            false.append(f"{place} was made from a file that is not the one recorded")
    new = {run for run, status in after.runs.items() if status == "SUCCESS"} - set(before.runs)
    if new and not done and not injection.harmed:
        false.append(f"runs {sorted(new)} are recorded as successful")
    return lost, false


def downstream(places: Iterable[Place]) -> set[Place]:
    """These places and all that is made from them: stale as long as they are not there."""
    found = set(places)
    for item in PRODUCTS:  # inputs come first
        if any(place_of(key) in found for key in item.inputs):
            found.add(place_of(item.key))
    return found


def recover(bench: Bench, scene: Scene, harmed: frozenset[Place]) -> tuple[bool, float]:
    """Run again what the fault met: whether all is as undisturbed, and the seconds it took."""
    names = {*scene.names, *(name for name, _ in harmed)}
    began = time.monotonic()
    code = finish(bench.phase_run(names))
    seconds = time.monotonic() - began
    bench.now = now = bench.site.standing()
    wanted = scene.places | harmed
    same = all(now.made[place].data_version == bench.known[place] for place in wanted)
    return code == 0 and same and wanted <= now.fresh & now.whole, seconds


def attempt(
    bench: Bench, scene: Scene, kind, number: int, *, seed: int = 0, rerun: bool = True
) -> Record:
    """Put one fault into one phase and judge what comes of it.

    Args:
        kind: a function ``(bench, scene, number, draw) -> Injection`` of ``kinds.py``.
        number: of this attempt; kinds vary with it.
        seed: of the moments and places that are drawn.
        rerun: False to leave the repair to a later run.
    """
    draw = random.Random(f"{kind.__name__} {scene.phase} {number} {seed}")
    scene.clear(bench.site)
    before = bench.now or bench.site.standing()
    injection = kind(bench, scene, number, draw)
    bench.now = after = bench.site.standing()
    lost, false = judge(bench, scene, before, after, injection)
    recovered, seconds = recover(bench, scene, injection.harmed) if rerun else (None, None)
    note = injection.note if recovered is not False else f"{injection.note} {bench.tail()}"
    return Record(
        kind.__name__,
        scene.phase,
        number,
        injection.hit,
        sorted(lost),
        sorted(false),
        recovered,
        None if seconds is None else round(seconds + injection.waited, 2),
        note.strip(),
    )


def close(bench: Bench, kind, number: int) -> Record:
    """``fly64 run`` over the whole study after a series: it exits 0 and all is as undisturbed."""
    site, began = bench.site, time.monotonic()
    code = finish(site.start(site.command("run", "--all"), bench.log))
    now = site.standing()
    problems = [] if code == 0 else [f"fly64 run ended with {code}: {bench.tail()}"]
    for place, version in bench.known.items():
        if place not in now.fresh or place not in now.whole:
            problems.append(f"{place} is not fresh after fly64 run")
        elif now.made[place].data_version != version:
            problems.append(f"{place} has other data than the undisturbed run")
    seconds = round(time.monotonic() - began, 2)
    note = "; ".join(problems)
    return Record(kind.__name__, CLOSING, number, False, [], [], not problems, seconds, note)


def run_series(finished: Site, folder: Path, kind, attempts: Iterable[tuple[int, Scene]]) -> None:
    """One kind of fault, attempt after attempt, on one copy, and ``fly64 run`` at the end.

    Raises:
        AssertionError: something was lost, falsely claimed or not recovered, and what.
    """
    bench, bad, number = Bench.copy_of(finished, folder / "copy"), [], 0
    for number, scene in attempts:
        record = attempt(bench, scene, kind, number)
        write_record(record)
        if not record.good:
            bad.append(record)
            bench = Bench.copy_of(finished, folder / f"copy_after_{scene.phase}_{number}")
    closing = close(bench, kind, number)
    write_record(closing)
    bad += [] if closing.good else [closing]
    shutil.rmtree(bench.site.results)
    assert not bad, "\n".join(map(str, bad))


def write_record(record: Record) -> None:
    """Append to the records' file, where one is asked for."""
    path = os.environ.get(RECORDS_VARIABLE)
    if not path:
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record), sort_keys=True) + "\n")
