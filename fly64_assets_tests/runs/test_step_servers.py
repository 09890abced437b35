"""Steps are forked from servers that have loaded their libraries: which, and how whole they are."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from fly64_assets.definitions import build_definitions
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.process_identity import ProcessIdentity, descendants
from fly64_assets.pipeline.targets import JOBS
from fly64_assets.runs import step_servers
from fly64_assets.runs.step_servers import LIGHT, LOADERS, SERVERS, TABLES, start_servers
from fly64_assets.study.model import PROJECT_ROOT, load_study
from fly64_assets.study.products import PRODUCTS
from fly64_assets_tests.servers import wait_for

STUDY = PROJECT_ROOT / "study.yaml"


def test_every_step_but_those_of_the_simulation_has_a_server():
    assert SERVERS["pinn_model"] == SERVERS["test_comparison"] == "tensorflow"
    assert SERVERS["train_ptychi_reconstruction"] == "torch"
    assert SERVERS["train_overlap_view"] == SERVERS["check_pinn_model"] == TABLES
    steps = set()
    definitions = build_definitions(StudyContext.load(STUDY))
    for job in JOBS.values():
        steps |= {node.name for node in definitions.resolve_job_def(job).nodes}
    assert steps - set(SERVERS) == {"train_dataset_and_test_dataset"}
    assert len(steps) > len(PRODUCTS)


def test_a_few_short_steps_are_not_worth_a_server():
    start_servers(load_study(STUDY), ["specimen", "check_train_dataset", "unknown"], [])
    assert step_servers._running.keys() == {LIGHT}


@pytest.fixture(scope="module")
def script():
    command = [sys.executable, "-m", "fly64_assets_tests.server_children", str(STUDY)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    ) as process:
        try:
            yield process, *json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.long
def test_a_step_finds_its_own_libraries_and_never_both_solvers(script):
    process, here, found = script
    assert here == [], "what starts the servers loads none of them"
    parents = {process.pid}
    for server, loaded, missing, threads in (
        (LIGHT, {}, {"numpy", "tensorflow", "torch"}, None),
        (TABLES, {"matplotlib", "numpy", "pandas"}, {"tensorflow", "torch"}, "1"),
        ("tensorflow", {"keras", "pandas", "tensorflow"}, {"torch"}, "2"),
        ("torch", {"ptychi", "torch"}, {"tensorflow"}, "2"),
    ):
        first, second = found[server]
        assert first == second, "one server for all"
        code, parent, names, begun, limit, interrupt = first
        assert set(loaded) <= set(names) and not missing & set(names)
        assert (code, begun, limit) == (0, False, threads)
        assert interrupt == str(signal.SIG_IGN), "^C reaches the run's process, which tells steps"
        parents.add(parent)
    assert len(parents) == 5
    assert found["after"] == [found["torch"][0], found[LIGHT][0]]


@pytest.mark.long
def test_servers_end_with_the_process_that_started_them(script):
    process, _, found = script
    mine = ProcessIdentity.of(process.pid)
    assert {found[server][0][1] for server in (LIGHT, *LOADERS)} <= set(descendants(mine))
    process.kill()
    process.wait()
    assert wait_for("the servers to end", lambda: not descendants(mine), 20)
