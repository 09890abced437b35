"""The kinds of fault that need Dagster's daemon: runs that wait in its queue and it has launched.

The daemon is the real one, with its queue, its sensors and the code server that it starts for
itself. Whatever is started carries the copy's results folder in its environment; what is left at
the end is found and ended by it.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fly64_assets.pipeline.process_identity import PROC
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets_tests.recovery.scenes import Scene, kill
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import Bench, Injection, finish

START_S = 600.0
"""Allowed for the daemon to start, to load the code and to launch what waits in its queue."""


def start_daemon(bench: Bench) -> None:
    """Start the daemon of the bench's study, if none is running."""
    if bench.daemon is not None and bench.daemon.poll() is None:
        return
    environment = {**bench.site.environment(), "DAGSTER_HOME": str(bench.site.instance_folder)}
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
    with bench.log.with_name("daemon.log").open("ab") as log:
        bench.daemon = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


@contextmanager
def daemon_of(bench: Bench) -> Iterator[Bench]:
    """The bench with a daemon, which is ended with all that it has started."""
    start_daemon(bench)
    try:
        yield bench
    finally:
        for pid in processes_of(bench.site):
            kill(pid, signal.SIGKILL)
        bench.daemon.wait()


def processes_of(site: Site, containing: str = "") -> list[int]:
    """Numbers of the living processes that work on a site's results."""
    mark = f"{RESULTS_VARIABLE}={site.results}".encode()
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if containing in command:
            found.append(int(folder.name))
    return found


def launch(bench: Bench, scene: Scene) -> tuple[str, bool]:
    """Let the daemon launch a run: (its id, whether the phase's step is at work)."""
    start_daemon(bench)
    module = "fly64_assets_tests.recovery.enqueue"
    asked = subprocess.run(
        [sys.executable, "-m", module, ",".join(scene.names)],
        env=bench.site.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.split()[-1], scene.wait_for(bench.site, bench.daemon, START_S)


def end_of(bench: Bench, run_id: str) -> int | None:
    """Wait until a run is finished: 0 after success, 1 after failure, None when it is not."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with bench.site.opened() as (_, instance):
            run = instance.get_run_by_id(run_id)
        if run is not None and run.is_finished:
            return 0 if run.is_success else 1
        time.sleep(1.0)
    return None


def kill_daemon(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """kill -9 of the daemon while a run that it launched is at work; a new one carries on"""
    run_id, hit = launch(bench, scene)
    time.sleep(draw.uniform(0, 0.5 * scene.seconds))
    hit = hit and scene.step_process(bench.site) is not None
    hit = kill(bench.daemon.pid, signal.SIGKILL) and hit
    began = time.monotonic()
    bench.daemon.wait()
    code = end_of(bench, run_id)
    return Injection(hit, [code], waited=time.monotonic() - began, note=f"its run: {code}")


def kill_code_server(bench: Bench, scene: Scene, number: int, draw: random.Random) -> Injection:
    """kill -9 of the code server while a run that it started is at work"""
    run_id, hit = launch(bench, scene)
    time.sleep(draw.uniform(0, 0.5 * scene.seconds))
    hit = hit and scene.step_process(bench.site) is not None
    servers = [
        pid for name in ("code-server", "api grpc") for pid in processes_of(bench.site, name)
    ]
    killed = [pid for pid in servers if kill(pid, signal.SIGKILL)]
    began = time.monotonic()
    code = end_of(bench, run_id)
    note = f"{len(killed)} processes of it, its run: {code}"
    return Injection(hit and bool(killed), [code], waited=time.monotonic() - began, note=note)


def command_beside_daemon(
    bench: Bench, scene: Scene, number: int, draw: random.Random
) -> Injection:
    """`fly64 run` of what a run that the daemon launched is at"""
    run_id, hit = launch(bench, scene)
    second = bench.phase_run(scene.names)
    code = finish(second)
    return Injection(hit, [end_of(bench, run_id)], note=f"the command's exit code {code}")


DAEMON_KINDS = (kill_code_server, command_beside_daemon, kill_daemon)
