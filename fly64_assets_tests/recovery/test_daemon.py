"""Faults around Dagster's daemon: in ``make test`` once, in ``make test-all`` in all phases."""

from __future__ import annotations

import pytest

from fly64_assets_tests.recovery.daemon_kinds import (
    DAEMON_KINDS,
    daemon_of,
    kill_code_server,
    kill_daemon,
)
from fly64_assets_tests.recovery.scenes import BY_PHASE, SCENES
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import Bench, attempt, close, write_record


@pytest.fixture
def bench(finished, tmp_path):
    made = Bench.copy_of(Site(finished.study_file, finished.results), tmp_path)
    with daemon_of(made):
        yield made


@pytest.mark.long
def test_runs_go_on_without_code_server_and_daemon(bench):
    """The daemon starts another code server: the second fault's run is launched by that one."""
    for kind in (kill_code_server, kill_daemon):
        record = attempt(bench, BY_PHASE["D"], kind, 1, rerun=False)
        assert record.injected and record.good, record
        assert BY_PHASE["D"].places <= bench.now.fresh, "its run has finished"


@pytest.mark.matrix
@pytest.mark.parametrize("scene", SCENES, ids=[scene.phase for scene in SCENES])
def test_series(bench, scene):
    bad = []
    for kind in DAEMON_KINDS:
        record = attempt(bench, scene, kind, 1)
        write_record(record)
        bad += [] if record.good else [record]
    closing = close(bench, kill_daemon, 1)
    write_record(closing)
    assert not bad and closing.good, "\n".join(map(str, [*bad, closing]))
