"""The kinds of fault that need no daemon. Each: ``(bench, scene, number, draw) -> Injection``.

A kind starts the run that it damages, and says whether it truly met the phase; one that came too
late is no injected fault. ``number`` is the attempt's: some kinds have two forms and take turns.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from dagster import DagsterRunStatus

from fly64_assets.pipeline.process_identity import ProcessIdentity, descendants
from fly64_assets_tests.recovery.scenes import Scene, files_of, kill, place_of
from fly64_assets_tests.recovery.trial import RERUN_TIMEOUT_S, Bench, Injection, finish

END_S = 20.0
SHORT_LOCK_S, LONG_LOCK_S = 4.0, 35.0
"""Below and above the time that Dagster waits for a locked database, 30 s."""


def kill_step(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """kill -9 of the process of the phase's step, at a random moment of it"""
    run = bench.phase_run(scene.names)
    hit = scene.wait_for(bench.site, run)
    time.sleep(draw.uniform(0, 0.8 * scene.seconds))
    hit = hit and kill(scene.step_process(bench.site), signal.SIGKILL)
    code = finish(run)
    return Injection(hit and code != 0, [code])


def kill_run(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """kill -9 of the command that carries the run out, while its step is at work"""
    run = bench.phase_run(scene.names)
    worker = ProcessIdentity.of(run.pid)
    hit = scene.wait_for(bench.site, run)
    time.sleep(draw.uniform(0, 0.8 * scene.seconds))
    hit = hit and scene.step_process(bench.site) is not None and kill(run.pid, signal.SIGKILL)
    code = finish(run)
    ended = worker is None or all_gone(worker)
    note = "" if ended else f"its processes were still there after {END_S:.0f} s"
    return Injection(hit and code is None, [code], note=note)


def all_gone(worker: ProcessIdentity) -> bool:
    """Wait until nothing is left of what a worker has started."""
    deadline = time.monotonic() + END_S
    while descendants(worker):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def random_kill(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """kill -9 of the command or any of its processes, at a random moment from start to end"""
    run = bench.phase_run(scene.names)
    worker = ProcessIdentity.of(run.pid)
    time.sleep(draw.uniform(0, 6.0 + 2 * scene.seconds))
    chosen = draw.choice([run.pid, *(descendants(worker) if worker else [])])
    hit = run.poll() is None and kill(chosen, signal.SIGKILL)
    code = finish(run)
    if worker is not None:
        all_gone(worker)
    whose = "the command" if chosen == run.pid else "one of its processes"
    return Injection(hit, [code], note=f"killed {whose}")


def full_disk(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """the disk runs full while the step is at work: store and event log both"""
    return _in_namespace("fill", bench, scene, draw)


def read_only_store(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """the store's file system becomes read-only while the step is at work"""
    return _in_namespace("read-only", bench, scene, draw)


def _in_namespace(what: str, bench: Bench, scene: Scene, draw: random.Random) -> Injection:
    told = bench.log.with_name("namespace.json")
    told.unlink(missing_ok=True)
    delay = draw.uniform(0, 0.5 * scene.seconds)
    module = "fly64_assets_tests.recovery.namespace"
    command = ["unshare", "-rm", sys.executable, "-m", module, what, str(bench.site.study_file)]
    command += [str(bench.site.results), scene.step, str(delay), str(told)]
    code = finish(bench.site.start(command, bench.log), 2 * RERUN_TIMEOUT_S)
    found = json.loads(told.read_text("utf-8")) if told.is_file() else {"hit": False, "exit": code}
    return Injection(found["hit"], [found["exit"]], note=found.get("note", ""))


def flipped_bit(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """one bit of the step's input is flipped: before it starts, or once it was vouched for"""
    files = [path for path in files_of(bench.site, scene.input) if path.is_file()]
    path = draw.choice(files)
    harmed = frozenset({place_of(scene.input)})
    if number % 2:
        flip_bit(path, draw)
        code = finish(bench.phase_run(scene.names))
        return Injection(True, [code], harmed, must_refuse=True, note=f"in {path.name}")
    run = bench.phase_run(scene.names)
    hit = scene.wait_for(bench.site, run)
    if hit:
        flip_bit(path, draw)
    code = finish(run)
    return Injection(hit, [code], harmed, must_refuse=True, note=f"in {path.name}, at work")


def flip_bit(path: Path, draw: random.Random) -> None:
    with path.open("r+b") as file:
        at = draw.randrange(path.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))


def power_cut(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """all processes gone, files at their final names cut short or full of zeros, leftovers about"""
    if number % 2:  # the cut comes when all was made: what was recorded is not on the disk
        code = finish(bench.phase_run(scene.names))
        hit = code == 0
    else:  # it comes in the middle
        run = bench.phase_run(scene.names)
        worker = ProcessIdentity.of(run.pid)
        hit = scene.wait_for(bench.site, run)
        time.sleep(draw.uniform(0, 0.8 * scene.seconds))
        hit = hit and kill(run.pid, signal.SIGKILL)
        finish(run)
        if worker is not None:
            all_gone(worker)
    for path in scene.files(bench.site):
        leave_torn(path, zeros=draw.random() < 0.5, draw=draw)
    litter(bench, scene, draw)
    return Injection(hit, [], scene.places)


def leave_torn(path: Path, *, zeros: bool, draw: random.Random) -> None:
    """A file as a write that never reached the disk leaves it: short, or full of zeros."""
    content = path.read_bytes() if path.is_file() else draw.randbytes(5000)
    kept = draw.randrange(max(1, len(content)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(len(content)) if zeros else content[:kept])


def litter(bench: Bench, scene: Scene, draw: random.Random) -> None:
    """Unfinished files where a power cut leaves them, a torn checkpoint among them."""
    staging, checkpoints = scene.staging(bench.site), scene.checkpoints(bench.site)
    for folder in (staging, checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    for item in scene.products:
        for name in item.files:
            (staging / name).write_bytes(draw.randbytes(1000))
    (checkpoints / "checkpoint.unfinished").write_bytes(draw.randbytes(300))
    checkpoint = checkpoints / "checkpoint.npz"
    leave_torn(checkpoint, zeros=False, draw=draw)


def locked_database(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """another process holds Dagster's databases: for 4 s, or for longer than Dagster waits"""
    seconds = SHORT_LOCK_S if number % 2 else LONG_LOCK_S
    run = bench.phase_run(scene.names)
    hit = scene.wait_for(bench.site, run)
    time.sleep(draw.uniform(0, 0.4 * scene.seconds))
    hit = hit and scene.staging(bench.site).is_dir()
    databases = sorted((bench.site.instance_folder / "history").rglob("*.db"))
    newest = max(databases, key=lambda path: path.stat().st_mtime)
    names = {"runs.db", "index.db", newest.name}
    held = [lock_of(path) for path in databases if path.name in names]
    began = time.monotonic()
    while time.monotonic() - began < seconds and run.poll() is None:
        time.sleep(0.1)
    hit = hit and bool(held)
    for connection in held:
        connection.rollback()
        connection.close()
    return Injection(hit, [finish(run)], note=f"{len(held)} databases for {seconds:.0f} s")


def lock_of(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def two_runs(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """two runs of the same products: at the same moment, or one while the other is at work"""
    first = bench.phase_run(scene.names)
    hit = True if number % 2 else scene.wait_for(bench.site, first)
    second = bench.phase_run(scene.names)
    met = first.poll() is None
    codes = [finish(first), finish(second)]
    return Injection(hit and met, codes, note=f"exit codes {codes}")


def late_orphan(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """a step that wakes up after its run was declared dead; the run's process frozen, or killed"""
    run = bench.phase_run(scene.names)
    hit = scene.wait_for(bench.site, run)
    time.sleep(draw.uniform(0, 0.5 * scene.seconds))
    step = scene.step_process(bench.site)
    hit = hit and kill(step, signal.SIGSTOP)
    frozen = bool(number % 2)
    kill(run.pid, signal.SIGSTOP if frozen else signal.SIGKILL)
    if not frozen:
        run.wait()
    with bench.site.opened() as (_, instance):
        unfinished = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING]
        for found in instance.get_runs():
            if found.status in unfinished:
                instance.report_run_failed(found, "declared dead while its step was frozen")
    kill(step, signal.SIGCONT)
    outcome = _wait_for_end(step)
    kill(run.pid, signal.SIGCONT)
    code = finish(run)
    how = "the run's process frozen" if frozen else "the run's process killed"
    return Injection(hit and outcome, [code], note=how)


def _wait_for_end(pid: int | None, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while pid is not None and ProcessIdentity.of(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return pid is not None


def can_unshare() -> bool:
    """Whether this machine lets a process have mounts of its own."""
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


KINDS = (
    kill_step,
    kill_run,
    full_disk,
    read_only_store,
    flipped_bit,
    power_cut,
    locked_database,
    two_runs,
    late_orphan,
    random_kill,
)
TWO_FORMS = (flipped_bit, power_cut, locked_database, two_runs, late_orphan)
NEED_NAMESPACE = (full_disk, read_only_store)
