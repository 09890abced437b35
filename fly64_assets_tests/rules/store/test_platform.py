"""What the platform rules out by construction: orphaned steps, unpinned packages, shared cores."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version

import yaml

from fly64_assets.pipeline.process import THREAD_VARIABLES
from fly64_assets.study.model import PROJECT_ROOT

PARENT = """
import multiprocessing, sys, time
from fly64_assets.pipeline.process import end_with_parent

def step():
    end_with_parent()
    print(multiprocessing.current_process().pid, flush=True)
    time.sleep(120)

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=step)
    child.start()
    child.join()
"""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_a_step_ends_with_its_parent(tmp_path):
    """After a kill -9 of the run's process no step is left to record anything."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT, "utf-8")
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    step = int(parent.stdout.readline())
    try:
        assert _is_running(step)
        parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=10)
        until = time.monotonic() + 10
        while _is_running(step) and time.monotonic() < until:
            time.sleep(0.05)
        assert not _is_running(step)
    finally:
        if _is_running(step):
            os.kill(step, signal.SIGKILL)


STEP = """
import multiprocessing, os, sys

def step(threads):
    from fly64_assets.pipeline.process import limit_threads

    if threads:
        limit_threads(threads)
    import numpy as np

    np.ones((512, 512)) @ np.ones((512, 512))
    print(len(os.listdir("/proc/self/task")), flush=True)

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fly64_assets.definitions"])
    for threads in (1, 3, 0):
        child = context.Process(target=step, args=(threads,))
        child.start()
        child.join()
"""


def test_numerical_libraries_of_a_step_have_the_threads_that_it_was_given(tmp_path):
    """Whatever the machine has: without a limit the linear algebra takes a thread a core."""
    script = tmp_path / "steps.py"
    script.write_text(STEP, "utf-8")
    free = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=free)
    assert done.returncode == 0, done.stderr
    one, three, unlimited = map(int, done.stdout.split())
    # OpenBLAS starts no more threads than there are cores.
    assert (one, three) == (1, min(3, len(os.sched_getaffinity(0))))
    assert unlimited == len(os.sched_getaffinity(0))


def test_one_solver_at_a_time_and_a_dead_run_frees_its_slot():
    settings = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text("utf-8"))
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert settings["run_monitoring"]["enabled"] is True
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert settings["run_monitoring"]["max_runtime_seconds"] > 0
    known = {"max_user_code_failure_retries"}
    assert set(settings["run_queue"]) == known, "limits beside concurrency are a hard error"


def test_every_dependency_is_pinned_and_installed_so():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (PROJECT_ROOT / "locks" / "dev.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==([^\s;]+)", text, re.MULTILINE))
    pinned = {_normal(name): release for name, release in pinned.items()}
    needed = [_normal(re.match(r"[\w.-]+", line).group()) for line in project["dependencies"]]
    assert needed and set(needed) <= set(pinned)
    for name in needed:
        assert version(name) == pinned[name]
    assert "dagster-dask" not in pinned, "its executor ignores blocking checks"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
