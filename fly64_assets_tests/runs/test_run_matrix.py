"""The matrix from the command line: what is planned, run, skipped, refused and left, and bad input.

Phases B to D are real; what would need a solver ends in a failure that is made to happen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import yaml
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRunStatus,
    MetadataValue,
)

from fly64_assets.cli.display import duration, show_status
from fly64_assets.cli.options import chosen_conditions
from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InputError
from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import instance_folder, study_instance
from fly64_assets.pipeline.records import PROVENANCE
from fly64_assets.pipeline.store import RESULTS_VARIABLE, SCHEMA_FILE, Store
from fly64_assets.pipeline.targets import JOBS, Cell
from fly64_assets.pipeline.view_preview import ViewPreview
from fly64_assets.runs.events import StepEvent
from fly64_assets.runs.forecast import Action, Forecast
from fly64_assets.runs.outcomes import standing
from fly64_assets.runs.runner import RunOutcome, run_conditions
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import load_study
from fly64_assets.study.products import LEVELS, STUDY_LEVEL, product
from fly64_assets_tests.conftest import PRODUCTS, TINY, fly64
from fly64_assets_tests.servers import wait_for

VIEWS = {"dense": {"target_overlap": 0.7}, "sparse": {"target_overlap": 0.2}}
STUDY = {**TINY, "doses": [1000, 2000], "views": VIEWS, "simulation": {"positions": 1500}}
DENSE = Condition(1000, "dense")
MATRIX = [Condition(dose, view) for dose in (1000, 2000) for view in VIEWS]
VIEW_KEYS = [("train", "overlap_view"), ("test", "overlap_view")]
SPECIMEN, DATASETS, SCORES, REPORTS = LEVELS


def make(context, instance, level, condition, keys=None):
    """Run one job in this process: only phases that need no solver."""
    result = (
        build_definitions(context)
        .resolve_job_def(JOBS[level])
        .execute_in_process(
            instance=instance,
            partition_key=condition.partition_key,
            asset_selection=[AssetKey(key) for key in keys] if keys else None,
        )
    )
    assert result.success


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """Everything up to phase D of one condition, in the study's own instance."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(folder / "results"))
        patch.setenv("DAGSTER_HOME", "unset")
        patch.setenv("FLY64_STUDY", "unset")
        context = StudyContext.load(folder / "study.yaml")
        with study_instance(context.study, context.study_file) as instance:
            make(context, instance, SPECIMEN, Condition())
            make(context, instance, DATASETS, Condition(1000))
            make(context, instance, SCORES, DENSE, VIEW_KEYS)
    return folder


@pytest.fixture
def made(made_once, tmp_path, monkeypatch):
    """A copy that a test may change: (context, study file, results)."""
    shutil.copytree(made_once / "results", tmp_path / "results")
    file = tmp_path / "study.yaml"
    shutil.copyfile(made_once / "study.yaml", file)
    return StudyContext.load(file), file, tmp_path / "results"


def open_instance(context):
    return DagsterInstance.from_config(str(instance_folder(context.study)))


def forecast(context, instance, *conditions):
    preview = ViewPreview(context.study, context.study_file)
    counts = {view: preview.counts(view) for view in context.study.views}
    planner = context.planner(instance)
    return Forecast(planner, conditions, counts, preview.scan_counts())


# What is planned.


def test_plan_says_what_would_run_on_how_much_and_how_long(made):
    context, file, results = made
    done = fly64("plan", "--study", file, "--dose", "1000", "--json", results=results)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["totals"]["skip"] == 5 and plan["totals"]["check"] == 0
    conditions = [item for item in PRODUCTS if item.per == "condition"]
    of_all = len(STUDY_LEVEL.products)
    assert plan["totals"]["make"] == 2 * len(conditions) - 2 + of_all
    rows = {(row["product"], row["partition"]): row for row in plan["products"]}
    assert len(rows) == len(plan["products"]) == 3 + 2 * len(conditions) + of_all
    with open_instance(context) as instance:
        ledger = context.ledger(instance)
        view = ledger.latest(product("train", "overlap_view"), DENSE)
        dataset = ledger.latest(product("train", "dataset"), Condition(1000))
    sparse = rows["train/overlap_view", "1000|sparse"]
    assert sparse["action"] == "make" and sparse["state"] == "missing"
    # No sparse view was made yet: the time of the dense one is what is known.
    assert sparse["seconds"] == pytest.approx(view.provenance.seconds, abs=0.01)
    fresh = rows["train/overlap_view", "1000|dense"]
    assert fresh["action"] == "skip"
    assert (
        fresh["images"]
        == plan["views"]["dense"]["train"]["n_images"]
        == view.figures["n_images_kept"]
    )
    assert rows["train/dataset", "1000"]["images"] == dataset.figures["n_images"]
    pinn = rows["pinn_model", "1000|dense"]
    assert (pinn["images"], pinn["groups"], pinn["seconds"]) == (fresh["images"], 48, None)
    unknown = [row for row in rows.values() if row["action"] == "make" and row["seconds"] is None]
    assert plan["totals"]["without_estimate"] == len(unknown) == 2 * (len(conditions) - 2) + of_all


@pytest.mark.long
def test_plan_for_people(made):
    context, file, results = made
    shown = fly64("plan", "--study", file, "--dose", "1000", results=results).stdout
    assert re.search(
        r"pinn_model +1000\|dense +missing +make: \d+ images, 48 groups, unknown", shown
    )
    assert re.search(r"\d+ to make, about \d+\.\d s one after the other and unknown time", shown)
    assert shown.rstrip().endswith("5 fresh")


@pytest.mark.long
def test_what_may_come_out_the_same_is_not_promised(made, monkeypatch):
    """Other code for phase C: the view follows only if the data come out different."""
    context, _, _ = made
    for split in ("train", "test"):
        monkeypatch.setitem(product(split, "dataset").__dict__, "code_version", "changed")
    with open_instance(context) as instance:
        before = forecast(context, instance, DENSE)
        actions = {p.verdict.product.name: p.action for p in before.planned}
        assert actions["train/dataset"] is actions["test/dataset"] is Action.MAKE
        assert actions["train/overlap_view"] is Action.MAKE_IF_CHANGED
        assert actions["pinn_model"] is Action.MAKE
        make(context, instance, DATASETS, Condition(1000))
        after = forecast(context, instance, DENSE)
    actions = {p.verdict.product.name: p.action for p in after.planned}
    assert actions["train/dataset"] is actions["train/overlap_view"] is Action.SKIP


def test_both_halves_of_a_dataset_are_planned_and_counted_once(made):
    context, _, _ = made
    context.store.path(product("test", "dataset"), Condition(1000), "patched_test.npz").unlink()
    with open_instance(context) as instance:
        found = forecast(context, instance, DENSE)
    halves = [p for p in found.planned if p.verdict.product.group == "c_datasets"]
    assert [p.verdict.state for p in halves] == [State.FRESH, State.ALTERED]
    assert [p.action for p in halves] == [Action.MAKE, Action.MAKE]
    others = [p.seconds or 0 for p in found.those(Action.MAKE) if p not in halves]
    expected = max(p.seconds for p in halves) + sum(others)
    assert found.seconds(Action.MAKE)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7810, "2 h 10 min"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


# What is asked for, and what is run.


@pytest.mark.parametrize(
    ("doses", "views", "asked"),
    [
        (None, None, "1000|dense 1000|sparse 2000|dense 2000|sparse"),
        ("2000,1000", "sparse", "1000|sparse 2000|sparse"),
        ("2000", None, "2000|dense 2000|sparse"),
        (None, "dense", "1000|dense 2000|dense"),
        (" 2000 , 2000,", "sparse,sparse", "2000|sparse"),
    ],
)
def test_dose_and_view_name_exactly_the_cells_that_they_name(made, doses, views, asked):
    """Each once, in the study's order, whatever the order on the command line."""
    context, _, _ = made
    chosen = chosen_conditions(context.study, doses, views)
    assert " ".join(map(str, chosen)) == asked


def run_with(made, monkeypatch, conditions, fails=()):
    """`run_conditions` with every run replaced by success, or failure where asked for."""
    context, _, _ = made
    told, ran = [], []

    def execute(context, instance, request, listener):
        ran.append(str(request.cell))
        ok = str(request.cell) not in fails
        failures = () if ok else (StepEvent("failed", "step", "made to fail"),)
        return RunOutcome(request, f"run-{len(ran)}", ok, failures)

    monkeypatch.setattr("fly64_assets.runs.runner.execute", execute)
    with open_instance(context) as instance:
        matrix = run_conditions(
            context, instance, conditions, lambda request, event: told.append((request, event))
        )
    return matrix, ran, told


def test_each_cell_once_in_order_and_fresh_ones_are_skipped_with_the_reason(made, monkeypatch):
    matrix, ran, told = run_with(made, monkeypatch, MATRIX)
    assert ran == [
        "run_condition 1000|dense",
        "report_condition 1000|dense",
        "run_condition 1000|sparse",
        "report_condition 1000|sparse",
        "simulate_datasets 2000",
        "run_condition 2000|dense",
        "report_condition 2000|dense",
        "run_condition 2000|sparse",
        "report_condition 2000|sparse",
    ]
    skipped = {str(request.cell): event.text for request, event in told if event.kind == "skipped"}
    assert skipped.keys() == {"prepare_specimen study", "simulate_datasets 1000"}
    assert re.match(r"2 of 2 fresh, the last made 20..-", skipped["simulate_datasets 1000"])
    assert matrix.left == {}


def test_only_what_was_asked_for(made, monkeypatch):
    _, ran, _ = run_with(made, monkeypatch, [Condition(2000, "sparse")])
    assert ran == [
        "simulate_datasets 2000",
        "run_condition 2000|sparse",
        "report_condition 2000|sparse",
    ]


def test_a_failed_dose_stops_its_conditions_and_not_its_siblings(made, monkeypatch):
    failing = "simulate_datasets 2000"
    matrix, ran, _ = run_with(made, monkeypatch, MATRIX[::-1], fails={failing})
    assert ran[0] == failing and ran.count(failing) == 1
    assert "run_condition 1000|dense" in ran and not any("2000|" in cell for cell in ran)
    dose = Cell.of(DATASETS, Condition(2000))
    assert matrix.left == {
        Cell(level, Condition(2000, view)): dose for level in (SCORES, REPORTS) for view in VIEWS
    }


def test_a_failed_condition_stops_its_reports_only(made, monkeypatch):
    failing = "run_condition 1000|dense"
    matrix, ran, _ = run_with(made, monkeypatch, MATRIX[:2], fails={failing})
    # Of the failed one what its checks say is reported all the same.
    checks = "report_condition 1000|dense"
    assert ran == [failing, checks, "run_condition 1000|sparse", "report_condition 1000|sparse"]
    assert matrix.left == {Cell(REPORTS, DENSE): Cell(SCORES, DENSE)}


@pytest.mark.long
def test_the_end_names_what_failed_what_was_left_and_exits_1(made):
    """Real runs: a dose whose files cannot be written fails, and the other one's do not."""
    _, file, results = made
    shutil.rmtree(results / "tiny/store/data/phase_c/dose_1000")
    blocked = results / "tiny/store/data/phase_c/dose_1000"
    blocked.write_text("in the way of the folder", "utf-8")
    arguments = ("--study", file, "--dose", "1000", "--view", "dense,sparse")
    done = fly64("run", *arguments, results=results)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "study: prepare_specimen skipped: 1 of 1 fresh" in done.stdout
    failed = "failed 1000: train_dataset_and_test_dataset: "
    assert any(line.startswith(failed) for line in lines), done.stdout
    for view in VIEWS:
        left = f"not started run_condition 1000|{view}: simulate_datasets 1000 did not succeed"
        assert left in lines
        assert any(
            line.startswith(f"not finished 1000|{view}: train/dataset 1000") for line in lines
        )
        # Of the failed one what its checks say is reported all the same, and nothing else made.
        begun = [line for line in lines if line.startswith(f"1000|{view}: ")]
        assert begun == [f"1000|{view}: check_report"]


def _shown(context, planner, conditions):
    found = standing(context, planner, conditions)
    show_status(context, found)
    return found


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_says_stop_means_all_that_was_asked_for(tmp_path, number):
    """The siblings of what was being made are not begun; what was finished is kept."""
    file, results = tmp_path / "study.yaml", tmp_path / "results"
    study = {**STUDY, "simulation": {"positions": 10304}}
    file.write_text(yaml.safe_dump(study), "utf-8")
    command = [sys.executable, "-m", "fly64_assets.cli", "run", "--all", "--study", str(file)]
    run = subprocess.Popen(
        command,
        env={**os.environ, RESULTS_VARIABLE: str(results)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    context = StudyContext(load_study(file), file, Store(results / "tiny/store"))
    staging = context.store.root / ".staging/train_dataset_and_test_dataset-1000"
    try:
        wait_for("the simulation", staging.is_dir, 120, interval=0.01)
        run.send_signal(number)
        _, told = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == 130
    assert told == "stopped; what was finished is kept, the same command goes on from there\n"
    with open_instance(context) as instance:
        runs = {run.job_name: run for run in instance.get_runs()}
        assert runs[JOBS[DATASETS]].status is DagsterRunStatus.FAILURE
        assert len(runs) == 2 and runs[JOBS[SPECIMEN]].is_success


def test_status_shows_what_stopped_and_exits_1(made, capsys):
    """Nothing that was made has failed: what stopped is what was never made."""
    context, _, _ = made
    with open_instance(context) as instance:
        planner = context.planner(instance)
        assert not _shown(context, planner, MATRIX).failed
        stop = blockers.Stop("train_dataset_and_test_dataset", "no space", "-")
        blockers.write(context.store, DATASETS, Condition(2000), "earlier", [stop])
        capsys.readouterr()
        assert _shown(context, planner, MATRIX).failed
        assert "exception: no space" in capsys.readouterr().out
        assert not _shown(context, planner, MATRIX[:2]).failed


def test_a_run_that_finds_all_fresh_takes_an_old_blocker_away(made, monkeypatch):
    """Mended through the UI while no daemon ran: nothing else would ever remove it."""
    context, _, _ = made
    stop = blockers.Stop("train_dataset_and_test_dataset", "no space", "-")
    blockers.write(context.store, DATASETS, Condition(1000), "earlier", [stop])
    run_with(made, monkeypatch, [DENSE])
    assert not blockers.path_of(context.store, DATASETS, Condition(1000)).exists()


# Bad input: a clear message, and nothing lost.


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.npz")}


@pytest.mark.long
def test_a_dose_and_a_view_that_left_the_study_are_listed_and_kept(made):
    _, file, results = made
    before = snapshot(results)
    changed = {**STUDY, "doses": [2000], "views": {"compact": VIEWS["dense"]}}
    file.write_text(yaml.safe_dump(changed), "utf-8")
    shown = fly64("status", "--study", file, results=results).stdout
    for orphan in ("data/phase_c/dose_1000", "data/phase_d/dose_1000/dense"):
        assert f"orphaned {orphan}: the study no longer names it; it is kept" in shown
    assert re.search(r"2000\|compact +1 fresh, \d+ missing", shown)
    refused = fly64("run", "--study", file, "--dose", "1000", "--all", results=results)
    assert refused.returncode == 2 and "'1000' is none of the study's doses: 2000" in refused.stderr
    assert snapshot(results) == before
    file.write_text(yaml.safe_dump(STUDY), "utf-8")
    again = fly64("status", "--study", file, "--dose", "1000", results=results).stdout
    assert "orphaned" not in again and re.search(r"1000\|dense +5 fresh", again)


@pytest.mark.long
@pytest.mark.parametrize("version", ["2", "0", "", "one"])
def test_a_store_of_another_version_is_refused_by_name(made, version):
    _, file, results = made
    stated = results / "tiny/store" / SCHEMA_FILE
    assert stated.read_text("utf-8") == "1\n"
    stated.write_text(version, "utf-8")
    before = snapshot(results)
    for command in ("run", "plan", "status"):
        arguments = ("--study", file, *(("--all",) if command == "run" else ()))
        done = fly64(command, *arguments, results=results)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"schema_version: is {version!r}, this program reads and writes 1" in line
    assert snapshot(results) == before


def test_a_store_from_before_there_were_versions_is_version_1(made):
    context, file, results = made
    (results / "tiny/store" / SCHEMA_FILE).unlink()
    shown = fly64("status", "--study", file, "--dose", "1000", results=results)
    assert re.search(r"1000\|dense +5 fresh", shown.stdout)
    with context.store.staging("anything"):
        pass
    assert (results / "tiny/store" / SCHEMA_FILE).read_text("utf-8") == "1\n"


@pytest.mark.long
def test_a_clock_that_went_backwards_breaks_nothing(made):
    """What was made "in a year" is fresh now, and what is made after it counts as newer."""
    context, _, _ = made
    item, at = product("train", "dataset"), Condition(1000)
    with open_instance(context) as instance:
        now = time.time()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.time", lambda: now + 365 * 86400)
            make(context, instance, DATASETS, at)
        future = context.ledger(instance).latest(item, at)
        assert future.provenance.generated_at > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        assert context.planner(instance).verdict(item, at).state is State.FRESH
        make(context, instance, DATASETS, at)
        newest = context.ledger(instance).latest(item, at)
        assert newest.storage_id > future.storage_id
        assert newest.provenance.generated_at < future.provenance.generated_at
        assert context.planner(instance).verdict(item, at).state is State.FRESH
        views = [context.planner(instance).verdict(product(*key), DENSE) for key in VIEW_KEYS]
        assert {verdict.state for verdict in views} == {State.FRESH}


@pytest.mark.parametrize(
    "key",
    [
        "../1000",
        "1000|../dense",
        "1000|a/b",
        "1000|",
        "1000|a|b",
        "01000",
        "+1000",
        "1_000",
        "",
        "x",
    ],
)
def test_a_partition_key_that_is_no_dose_and_view_is_refused(key):
    with pytest.raises(InputError, match="is not a dose, or a dose and a view"):
        Condition.from_partition_key(key)


@pytest.mark.long
@pytest.mark.parametrize("view", ["a/b", "..", "a|b", "/tmp"])
def test_a_view_named_like_a_path_is_refused(view, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**TINY, "views": {view: VIEWS["dense"]}}), "utf-8")
    done = fly64("plan", "--study", file, results=tmp_path / "results")
    assert done.returncode == 2 and repr(view) in done.stderr
    assert not (tmp_path / "results").exists()


def test_what_a_foreign_partition_has_recorded_is_kept_out_of_the_plan(made):
    """A partition that the study no longer names still counts as an earlier run's time."""
    context, _, _ = made
    item = product("train", "overlap_view")
    with open_instance(context) as instance:
        record = context.ledger(instance).latest(item, DENSE)
        provenance = replace(record.provenance, partition="9999|sparse", seconds=123.0)
        instance.report_runless_asset_event(
            AssetMaterialization(
                AssetKey(item.key),
                partition="9999|sparse",
                metadata={PROVENANCE: MetadataValue.json(provenance.to_json())},
            )
        )
        found = forecast(context, instance, *MATRIX[:2])
    times = {
        p.verdict.condition.view: p.seconds for p in found.planned if p.verdict.product == item
    }
    assert times["dense"] == pytest.approx(record.provenance.seconds)
    assert times["sparse"] == 123.0


def test_store_knows_its_version_without_a_study(tmp_path):
    store = Store(tmp_path / "store")
    store.require_schema()
    assert not store.root.exists(), "looking makes nothing"
