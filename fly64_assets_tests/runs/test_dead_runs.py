"""Runs whose process is gone, with real processes: what is killed, declared failed and freed.

A run is a process that signs it and starts another, as a run's own process does; the long way, with
``fly64 run`` killed while it trains, is taken once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, build_sensor_context
from dagster._core.storage.tags import BACKFILL_ID_TAG

from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InProgress
from fly64_assets.pipeline import blockers
from fly64_assets.pipeline import process_identity as worker_process
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import instance_folder, study_instance
from fly64_assets.pipeline.process_identity import ProcessIdentity
from fly64_assets.pipeline.store import RESULTS_VARIABLE, Store
from fly64_assets.pipeline.targets import (
    JOBS,
    LAUNCH_TAG,
    NIGHT_TAG,
    PROCESS_TAG,
    Cell,
    partition_tags,
    process_of,
    started_by,
)
from fly64_assets.runs.dead_runs import reap
from fly64_assets.runs.events import failures_of, was_killed
from fly64_assets.runs.executor import held
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.conftest import TINY

AT = Condition(1000, "dense")
SCORES = LEVELS[2]
WORKER = """
import subprocess, sys, time
from fly64_assets.pipeline.process_identity import sign_children
me = sign_children()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(me, child.pid, flush=True)
time.sleep(600)
"""
STEP = """
import multiprocessing, os, sys, time
from fly64_assets.pipeline.process import end_with_parent

def step(pids):
    end_with_parent()
    pids.put(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    forkserver = multiprocessing.get_context("forkserver")
    pids = forkserver.Queue()
    forkserver.Process(target=step, args=(pids,)).start()
    print(pids.get(), flush=True)
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    return ProcessIdentity.of(pid) is not None


def wait_until(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@contextmanager
def program(*command, **more):
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, **more
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def worker():
    """(its identity, its process, its child's number) of something that carries out a run."""
    with program("-c", WORKER) as process:
        identity, child = process.stdout.readline().split()
        yield ProcessIdentity.from_text(identity), process, int(child)
        if alive(int(child)):
            os.kill(int(child), signal.SIGKILL)


@pytest.fixture
def study(write_study):
    context = StudyContext.load(write_study())
    context.store.root.mkdir(parents=True)
    return context


@pytest.fixture
def instance(study, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "unset")
    monkeypatch.setenv("FLY64_STUDY", str(study.study_file))
    with study_instance(study.study, study.study_file) as opened:
        opened.event_log_storage.initialize_concurrency_limit_to_default("solver")
        yield opened


def started(study, instance, process: ProcessIdentity | str | None, **tags):
    """A run in progress that the process carries out."""
    job = build_definitions(study).resolve_job_def(JOBS[SCORES])
    run = instance.create_run_for_job(
        job, status=DagsterRunStatus.STARTED, tags={**partition_tags(AT), **tags}
    )
    if process is not None:
        instance.add_run_tags(run.run_id, {PROCESS_TAG: f"{process}/{run.run_id}"})
    return run.run_id


def status_of(instance, run_id):
    return instance.get_run_by_id(run_id).status


def test_a_living_run_is_left_alone(study, instance, worker):
    identity, _, child = worker
    run_id = started(study, instance, identity)
    assert reap(study, instance) == []
    assert status_of(instance, run_id) is DagsterRunStatus.STARTED and alive(child)


@pytest.mark.long
def test_a_killed_run_fails_its_processes_end_and_its_place_is_free(study, instance, worker):
    identity, process, child = worker
    run_id = started(study, instance, identity)
    storage = instance.event_log_storage
    assert storage.claim_concurrency_slot("solver", run_id, "pinn_model").is_claimed
    waiting = started(study, instance, ProcessIdentity.mine())
    assert not storage.claim_concurrency_slot("solver", waiting, "pinn_model").is_claimed
    process.kill()
    process.wait()
    assert alive(child)
    (reaped,) = reap(study, instance)
    assert reaped.ended == (child,) and not alive(child)
    assert "run_condition 1000|dense" in str(reaped) and "is gone" in str(reaped)
    assert status_of(instance, run_id) is DagsterRunStatus.FAILURE
    assert was_killed(failures_of(instance, instance.get_run_by_id(run_id)))
    assert storage.claim_concurrency_slot("solver", waiting, "pinn_model").is_claimed
    text = blockers.path_of(study.store, SCORES, AT).read_text("utf-8")
    assert f"run: {run_id}" in text and f"exception: process {identity.pid} is gone" in text
    assert reap(study, instance) == []


def test_the_sensor_does_it_too(study, instance, worker):
    identity, process, _ = worker
    run_id = started(study, instance, identity)
    process.kill()
    process.wait()
    repository = build_definitions(study).get_repository_def()
    with build_sensor_context(instance=instance, repository_def=repository) as context:
        found = repository.get_sensor_def("reap_dead_runs").evaluate_tick(context)
    assert run_id[:8] in found.skip_message
    assert status_of(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_zombie_is_gone(worker):
    """Killed and not yet waited for, as a run's process is below a busy code server."""
    identity, process, _ = worker
    process.kill()
    wait_until(lambda: identity.gone is not None)
    assert (worker_process.PROC / str(identity.pid)).exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"started": 1}, "its number is another one's"),
        ({"boot": "0f0f"}, "the machine was started anew"),
    ],
    ids=["number used again", "other boot"],
)
def test_a_number_alone_is_no_process(study, instance, change, reason):
    """This very process lives and is not the one that carried the run out."""
    run_id = started(study, instance, replace(ProcessIdentity.mine(), **change))
    (reaped,) = reap(study, instance)
    assert reason in reaped.reason
    assert status_of(instance, run_id) is DagsterRunStatus.FAILURE


def test_another_hosts_runs_are_not_judged(study, instance):
    elsewhere = ProcessIdentity(1, 1, "other boot", "another-host")
    run_id = started(study, instance, elsewhere)
    assert reap(study, instance) == []
    assert status_of(instance, run_id) is DagsterRunStatus.STARTED


def test_a_repeated_runs_inherited_tag_says_nothing_of_it(study, instance):
    """Dagster copies the tags of a failed run to the one that repeats it."""
    dead = replace(ProcessIdentity.mine(), started=1)
    run_id = started(study, instance, None, **{PROCESS_TAG: f"{dead}/an-earlier-run"})
    assert process_of(instance.get_run_by_id(run_id)) is None
    assert reap(study, instance) == []


def test_a_run_that_never_said_who_carries_it_out_is_failed_in_time(study, instance, monkeypatch):
    run_id = started(study, instance, None, **{LAUNCH_TAG: "x"})
    instance.add_run_tags(run_id, {LAUNCH_TAG: run_id})
    assert reap(study, instance) == []
    monkeypatch.setattr("fly64_assets.runs.dead_runs.SILENCE_S", 0.0)
    (reaped,) = reap(study, instance)
    assert "no process has said" in reaped.reason
    assert status_of(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_run_that_was_being_canceled_is_canceled(study, instance, worker):
    identity, process, _ = worker
    run_id = started(study, instance, identity)
    instance.report_run_canceling(instance.get_run_by_id(run_id))
    process.kill()
    process.wait()
    reap(study, instance)
    assert status_of(instance, run_id) is DagsterRunStatus.CANCELED


def test_places_of_ended_runs_are_freed(study, instance):
    """A step that was killed in a run that lived on may leave its place taken."""
    run_id = started(study, instance, ProcessIdentity.mine())
    storage = instance.event_log_storage
    assert storage.claim_concurrency_slot("solver", run_id, "pinn_model").is_claimed
    instance.report_run_failed(instance.get_run_by_id(run_id))
    reap(study, instance)
    assert storage.claim_concurrency_slot("solver", "other", "pinn_model").is_claimed


def test_a_step_ends_with_its_run_although_the_fork_server_is_its_parent(tmp_path):
    script = tmp_path / "steps.py"
    script.write_text(STEP, "utf-8")
    with program(str(script)) as run:
        step = int(run.stdout.readline())
        assert alive(step)
        parent = int((worker_process.PROC / str(step) / "stat").read_text().split()[3])
        assert parent != run.pid, "forked from the server"
        run.kill()
        wait_until(lambda: not alive(step), seconds=10)


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled"])
def test_what_an_orphaned_step_finishes_later_is_not_recorded(study, instance, monkeypatch, end):
    """The run is declared dead while the step is at work."""
    definitions = build_definitions(study)
    job = definitions.resolve_job_def(JOBS[LEVELS[0]])
    staging = Store.staging

    @contextmanager
    def declared_dead_meanwhile(self, name):
        with staging(self, name) as folder:
            (run,) = instance.get_runs()
            getattr(instance, end)(run)
            yield folder

    monkeypatch.setattr(Store, "staging", declared_dead_meanwhile)
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    item = product("specimen")
    assert study.ledger(instance).latest(item, Condition()) is None
    assert instance.get_latest_materialization_event(AssetKey(item.key)) is None
    assert not study.store.path(item, Condition(), "specimen.npz").exists()


def test_a_partition_is_held_by_one_run_and_what_it_reads_by_all_readers(study, instance):
    cell, sibling, dose = (
        Cell.of(level, Condition(1000, view))
        for level, view in ((SCORES, "dense"), (SCORES, "sparse"), (LEVELS[1], "dense"))
    )
    with held(study.store, instance, [cell]):
        with held(study.store, instance, [sibling]):
            pass
        for taken in (cell, dose):
            refused = pytest.raises(InProgress, match="by process")  # no run says that it has it
            with refused, held(study.store, instance, [sibling, taken]):
                pass
        with held(study.store, instance, [sibling]):  # what a refused run had held is free
            pass
    with held(study.store, instance, [dose]):
        pass


def test_who_is_refused_learns_which_run_is_in_the_way(study, instance):
    cell, mine = Cell.of(SCORES, AT), ProcessIdentity.of(os.getppid())
    run_id = started(study, instance, mine)
    instance.add_run_tags(run_id, {LAUNCH_TAG: run_id})
    said = rf"run {run_id[:8]} \(run_condition 1000\|dense\), which the command line started at 20"
    with held(study.store, instance, [cell]):
        for wanted in (cell, *cell.upstream[1:]):
            with (
                pytest.raises(InProgress, match=said) as refused,
                held(study.store, instance, [wanted]),
            ):
                pass
            assert f"{wanted} waits for" in str(refused.value)
            assert f"(process {mine.pid}): let it end, or stop it" in str(refused.value)


@pytest.mark.parametrize(
    ("tags", "who"),
    [
        ({}, "the web UI"),
        ({LAUNCH_TAG: "of the run that this one repeats"}, "the web UI"),
        ({BACKFILL_ID_TAG: "abcd"}, "backfill abcd"),
        ({NIGHT_TAG: "2026-01-01T02:00:00Z"}, "the night of 2026-01-01T02:00:00Z"),
    ],
)
def test_who_started_a_run(study, instance, tags, who):
    assert started_by(instance.get_run_by_id(started(study, instance, None, **tags))) == who


LONG = {
    **TINY,
    "ptychopinn": {**TINY["ptychopinn"], "epochs": 400, "samples_per_epoch": 256},
}


def _fly64(arguments, results):
    return [sys.executable, "-m", "fly64_assets.cli", *map(str, arguments)], {
        **os.environ,
        RESULTS_VARIABLE: str(results),
    }


@pytest.mark.long
def test_kill_9_of_fly64_run_while_it_trains(tmp_path, monkeypatch):
    """A second run is refused meanwhile; a third one, after the kill, clears up at its start."""
    study_file, results = tmp_path / "study.json", tmp_path / "results"
    study_file.write_text(json.dumps(LONG), "utf-8")
    command, environment = _fly64(["run", "--study", study_file, "--all"], results)
    monkeypatch.setenv(RESULTS_VARIABLE, str(results))
    context = StudyContext.load(study_file)

    def in_progress(line):
        return "pinn_model ..." in line

    with program(*command[1:], env=environment) as run:
        assert any(in_progress(line) for line in run.stdout)
        wait_until(lambda: worker_process.descendants(ProcessIdentity.of(run.pid)))
        second = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert second.returncode == 1
        assert "left 1000|dense: run_condition 1000|dense waits for run " in second.stdout
        assert "which the command line started at 20" in second.stdout
        assert f"(process {run.pid}): let it end" in second.stdout
        assert "comparisons: total 2, executed 0, success 0, failed 2" in second.stdout
        status, _ = _fly64(["status", "--study", study_file], results)
        shown = subprocess.run(status, env=environment, capture_output=True, text=True).stdout
        assert "in progress run_condition 1000|dense" in shown and f"process {run.pid}" in shown
        assert "stopped" not in shown, "the refused run left no blocker"
        identity = ProcessIdentity.of(run.pid)
        assert worker_process.descendants(identity)
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not worker_process.descendants(identity), seconds=20)
    with DagsterInstance.from_config(str(instance_folder(context.study))) as instance:
        (reaped,) = reap(context, instance)
        assert f"process {identity.pid} is gone" in reaped.reason
        run = instance.get_run_by_id(reaped.run_id)
        assert run.status is DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_info("solver").active_slot_count == 0
        text = blockers.path_of(context.store, SCORES, AT).read_text("utf-8")
        assert "step: pinn_model" in text
        view = context.planner(instance).verdict(product("train", "overlap_view"), AT)
        assert not view.must_run, "what was finished is kept"
