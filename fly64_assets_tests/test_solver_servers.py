"""Steps of solvers are forked from servers that have loaded their library: which, and how whole."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fly64_assets.solver_servers import LIBRARIES, LOADERS
from fly64_assets.study import PROJECT_ROOT
from fly64_assets.worker_process import ProcessIdentity, descendants
from fly64_assets_tests.servers import wait_for


def test_every_step_that_computes_with_a_large_library_is_known():
    assert set(LIBRARIES.values()) == set(LOADERS)
    assert LIBRARIES["pinn_model"] == LIBRARIES["test_comparison"] == "tensorflow"
    assert LIBRARIES["train_ptychi_reconstruction"] == "torch"
    assert "train_overlap_view" not in LIBRARIES and "metrics_summary" not in LIBRARIES


@pytest.fixture(scope="module")
def script():
    command = [sys.executable, "-m", "fly64_assets_tests.server_children"]
    with subprocess.Popen(
        [*command, str(PROJECT_ROOT / "study.yaml")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
    ) as process:
        try:
            yield process, *json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_a_step_finds_its_own_library_and_never_both(script):
    process, here, found = script
    assert here == [], "what starts the servers loads neither"
    parents = {}
    for library, loaded in (
        ("tensorflow", ["keras", "tensorflow"]),
        ("torch", ["ptychi", "torch"]),
        ("usual", []),
    ):
        first, second = found[library]
        assert first == second, "one server for all"
        code, parents[library], names, begun, threads, interrupt = first
        assert (code, names, begun, interrupt) == (0, loaded, False, True)
        assert threads == ("2" if loaded else None)
    assert len({process.pid, *parents.values()}) == 4
    assert found["after"] == found["torch"][:1]


def test_servers_end_with_the_process_that_started_them(script):
    process, _, found = script
    mine = ProcessIdentity.of(process.pid)
    assert {found[library][0][1] for library in LOADERS} <= set(descendants(mine))
    process.kill()
    process.wait()
    assert wait_for("the servers to end", lambda: not descendants(mine), 20)
