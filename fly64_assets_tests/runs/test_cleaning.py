"""What nobody needs goes, what anybody needs stays; and a year of nights does not grow."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

import pytest
from dagster import AssetKey, DagsterRunStatus

from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InProgress
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import instance_folder, study_instance
from fly64_assets.pipeline.targets import JOBS
from fly64_assets.runs import cleaning
from fly64_assets.runs.cleaning import clean
from fly64_assets.runs.restore import restore
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.conftest import SPECIMENS_MADE, FinishedRun
from fly64_assets_tests.nights import beside_the_store, carried, nights, pass_a_day

SPECIMEN, AT = product("specimen"), Condition()
ALL = Condition(1000, "dense")


@pytest.fixture
def scene(specimen_made, tmp_path, monkeypatch):
    """The specimen alone, made several times: the context of a copy, and its open instance."""
    context = specimen_made.copy_to(tmp_path / "results").context(monkeypatch)
    with study_instance(context.study, context.study_file) as instance:
        yield context, instance


def _files(context: StudyContext) -> dict[str, str]:
    root = context.store.root.parent
    files = [path for path in root.rglob("*") if path.is_file() and ".db" not in path.name]
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in files}


def test_runs_that_nothing_needs_go_with_all_that_they_left(scene):
    context, instance = scene
    ledger, folder = context.ledger(instance), instance_folder(context.study)
    last = ledger.latest(SPECIMEN, AT)
    before = ledger.previous(last)
    at_work = instance.create_run_for_job(
        build_definitions(context).resolve_job_def(JOBS[LEVELS[0]]), status=DagsterRunStatus.STARTED
    )
    assert clean(context, instance) == [], "all are younger than a month"
    would = clean(context, instance, keep_days=0, dry_run=True)
    assert [(each.kind, each.count) for each in would] == [("runs", SPECIMENS_MADE - 2)]
    assert len(instance.get_runs()) == SPECIMENS_MADE + 1, "a dry run removes nothing"
    assert clean(context, instance, keep_days=0) == would
    kept = {last.run_id, before.run_id, at_work.run_id}
    assert {run.run_id for run in instance.get_runs()} == kept
    assert {path.stem for path in (folder / "storage").glob("*-*")} <= kept
    assert {path.stem for path in (folder / "history" / "runs").glob("*-*.db")} <= kept
    assert ledger.latest(SPECIMEN, AT) == last and ledger.previous(last) == before
    assert context.planner(instance).verdict(SPECIMEN, AT).state is State.FRESH
    assert clean(context, instance, keep_days=0) == []


def test_only_so_many_runs_go_at_once_and_the_oldest_first(scene):
    context, instance = scene
    oldest = instance.get_runs()[-1].run_id
    (removed,) = clean(context, instance, keep_days=0, most_runs=1)
    assert removed.count == 1 and oldest not in {run.run_id for run in instance.get_runs()}


def test_the_run_of_a_record_that_was_made_again_keeps_its_log(scene):
    context, instance = scene
    made = context.ledger(instance).latest(SPECIMEN, AT)
    instance.wipe_assets([AssetKey(SPECIMEN.key)])
    restore(context, instance)
    clean(context, instance, keep_days=0)
    assert [run.run_id for run in instance.get_runs()] == [made.run_id]
    assert context.ledger(instance).latest(SPECIMEN, AT).run_id == made.run_id


def test_what_a_deleted_run_left_goes_when_it_is_old(scene):
    context, instance = scene
    run_id = instance.get_runs()[-1].run_id
    instance.delete_run(run_id)  # as the UI does it
    shard = instance_folder(context.study) / "history" / "runs" / f"{run_id}.db"
    assert shard.is_file() and clean(context, instance) == []
    for path in shard.parent.glob(f"{run_id}*"):
        os.utime(path, (0, 0))
    (instance_folder(context.study) / "storage" / "mine").mkdir(parents=True)
    logs = instance_folder(context.study) / "storage" / run_id
    if logs.exists():
        os.utime(logs, (0, 0))
    (removed,) = clean(context, instance)
    assert (removed.kind, removed.count) == ("logs of deleted runs", 1)
    assert not shard.exists() and (shard.parents[2] / "storage" / "mine").is_dir()


def test_working_files_go_when_nobody_works_with_them(scene):
    context, instance = scene
    store, results = context.store, context.store.root.parent
    kept = _files(context)
    long_ago = time.time() - 2 * cleaning.DEAD_AFTER_S

    def make(path, *, old: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        if old:
            os.utime(path, (long_ago, long_ago))

    make(store.root / ".staging" / "pinn_model-1000_dense" / "model.keras")
    make(store.checkpoint_folder(SPECIMEN, AT) / "checkpoint.npz")  # it is made
    make(store.root / ".schema_version.4711")
    make(store.root / ".records" / "specimen" / ".study.json.4711")
    make(results / "pictures" / "no_asset" / "1000" / "x.png")
    make(results / "pictures" / "pinn_model" / "1000_dense" / "training.png")
    removable = {path for path in _files(context) if path not in kept}
    make(results / "pictures" / "specimen" / "object.png")
    make(store.root / ".records" / "specimen" / ".study.json.4712", old=False)
    make(store.checkpoint_folder(product("pinn_model"), ALL) / "checkpoint.npz")  # it is not
    make(results / "hub.before-2026-12-01T00:00:00Z" / "data" / ".note.1")
    kept = {name: _files(context)[name] for name in _files(context) if name not in removable}
    removed = {
        "pictures of nothing": 2,
        "staging of dead steps": 1,
        "checkpoints of what is made": 1,
        "unfinished files": 2,
    }
    would = clean(context, instance, dry_run=True)
    assert {each.kind: each.count for each in would} == removed
    assert all(each.bytes == 5 * each.count for each in would)
    with store.lock("pinn_model-1000_dense", "a step"):
        done = clean(context, instance)
    assert {each.kind for each in done} == set(removed) - {"staging of dead steps"}
    assert {each.kind for each in clean(context, instance)} == {"staging of dead steps"}
    after = _files(context)
    assert {name: after.get(name) for name in kept} == kept
    assert not removable & set(after)


def test_two_do_not_clean_at_once(scene):
    context, instance = scene
    with context.store.lock("clean", "`fly64 clean`"), pytest.raises(InProgress, match="clean"):
        clean(context, instance)


@pytest.mark.long
def test_a_year_of_nights_stays_small(finished: FinishedRun, monkeypatch, write_study):
    """400 runs, from what one adds with and without cleaning."""
    shown = carried(finished.context(monkeypatch), ALL)
    monkeypatch.setenv("FLY64_RESULTS", str(write_study().parent / "nights"))
    monkeypatch.setattr(cleaning, "KEEP_DAYS", 2)
    context = StudyContext.load(write_study())
    with study_instance(context.study, context.study_file) as instance:
        sizes = list(nights(context, instance, shown, 3, cleaned=False))
        adds = (sizes[2] - sizes[0]) / 2
        assert adds < 4e6, "of all scored products of a condition, with checks"
        # A month of nights, and the two last runs of each condition of `study.yaml`.
        assert (cleaning.A_NIGHT and 30 + 2 * 10) * adds < 250e6
        for _ in range(4):
            pass_a_day(context)
        clean(context, instance, keep_days=2)
        assert len(instance.get_runs()) == 2
        assert beside_the_store(context) < sizes[2]
        database = instance_folder(context.study) / "history" / "runs" / "index.db"
        with closing(sqlite3.connect(database)) as connection:
            query = "SELECT count(DISTINCT run_id) FROM asset_check_executions"
            assert connection.execute(query).fetchone() == (2,)
