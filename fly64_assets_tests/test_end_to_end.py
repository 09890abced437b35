"""One real run of every asset on a tiny study, through the command line, and what it must leave.

Real TensorFlow, real pty-chi, real processes; the study is small, nothing else is.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from datetime import datetime

import numpy as np
import pytest
from dagster import DagsterEventType, DagsterInstance

from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import instance_folder
from fly64_assets.pipeline.store import SCHEMA_FILE
from fly64_assets.ptychography.data001.dataset import read_dataset
from fly64_assets.ptychography.data001.dataset_rules import require_data001
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.scoring.comparison import ROW_NAMES, read_csv
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.products import collects_in, files_in, inputs_in, product
from fly64_assets_tests.conftest import PRODUCTS, fly64

AT = Condition(1000, "dense")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
pytestmark = pytest.mark.usefixtures("finished")


@pytest.fixture
def opened(finished, monkeypatch):
    """The finished run, its store and its instance."""
    context = finished.context(monkeypatch)
    with DagsterInstance.from_config(str(instance_folder(context.study))) as instance:
        yield context, instance


def _path(context, *key, file):
    item = product(*key)
    return context.store.path(item, AT.restricted_to(item.per), file)


def _json(context, *key, file):
    return json.loads(_path(context, *key, file=file).read_text("utf-8"))


def test_run_succeeds_and_ends_with_counts_deltas_and_their_path(finished):
    assert finished.run.returncode == 0, finished.run.stdout + finished.run.stderr
    lines = finished.run.stdout.strip().splitlines()
    assert "comparisons: total 2, executed 2, success 2, failed 0" in lines
    deltas = [line for line in lines if " Δ (PtychoPINN - " in line]
    assert len(deltas) == 4
    assert all(re.search(r"amplitude [+-]\d\.\d{3}  phase [+-]\d\.\d{3}", line) for line in deltas)
    assert lines[-1].startswith("deltas: ")
    assert lines[-1].endswith("analysis/dose_1000/dense/metrics_delta_summary.json")
    assert finished.run.stderr == ""


def test_everything_is_fresh_afterwards(opened):
    context, instance = opened
    verdicts = context.planner(instance).survey([AT])
    assert len(verdicts) == sum(item.stage != "study" for item in PRODUCTS)
    assert {str(v): v.state for v in verdicts if v.state is not State.FRESH} == {}


def test_a_second_run_does_nothing(finished, tmp_path, monkeypatch):
    copy = finished.copy_to(tmp_path / "again")
    context = copy.context(monkeypatch)

    def recorded() -> list[int]:
        with DagsterInstance.from_config(str(instance_folder(context.study))) as instance:
            ledger = context.ledger(instance)
            records = [ledger.latest(item, AT.restricted_to(item.per)) for item in PRODUCTS]
            return [record.storage_id for record in records] + [instance.get_runs_count()]

    before = recorded()
    again = fly64(
        "run", "--study", copy.study_file, "--dose", "1000", "--view", "dense", results=copy.results
    )
    assert again.returncode == 0
    assert recorded() == before
    assert "all fresh: nothing to run" in again.stdout
    assert "comparisons: total 2, executed 2, success 2, failed 0" in again.stdout


def test_every_materialization_carries_provenance_that_still_holds(opened):
    context, instance = opened
    ledger = context.ledger(instance)
    for item in PRODUCTS:
        record = ledger.latest(item, AT.restricted_to(item.per))
        made = record.provenance
        assert UTC_TIME.fullmatch(made.generated_at)
        assert datetime.fromisoformat(made.generated_at).tzinfo is not None
        assert made.seconds > 0 and 20 < made.peak_memory_mb < 4000
        assert re.fullmatch("[0-9a-f]{64}", made.data_version)
        assert made.versions["fly64_assets"] and made.code_version == item.code_version
        for path, written in made.files.items():
            assert not path.startswith("/") and "\\" not in path
            assert sha256_of(context.store.root / path) == written.sha256
        gathered = {f"{'/'.join(key)} {AT}" for key in collects_in(item, context.study)}
        inputs = {"/".join(key) for key in inputs_in(item, context.study)}
        assert set(made.inputs) == inputs | gathered
        for given in made.inputs.values():
            for path, sha256 in given.files.items():
                assert sha256_of(context.store.root / path) == sha256


def test_dagster_shows_data_versions_code_versions_and_numbers(opened):
    context, instance = opened
    record = context.ledger(instance).latest(product("pinn_model"), AT)
    events = instance.get_records_for_run(
        record.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
    ).records
    shown = {tuple(e.event_log_entry.asset_materialization.asset_key.path): e for e in events}
    made = shown["pinn_model",].event_log_entry.asset_materialization
    assert made.tags["dagster/data_version"] == record.provenance.data_version
    assert made.tags["dagster/code_version"] == product("pinn_model").code_version
    assert {"generated_at", "outputs", "inputs", "seconds", "peak_memory_mb"} <= set(made.metadata)
    assert made.metadata["parameters"].value > 1000


def test_runs_are_tagged_with_their_partition(opened):
    _, instance = opened
    tags = {run.job_name: run.tags for run in instance.get_runs()}
    assert tags["run_condition"]["dagster/partition"] == "1000|dense"
    assert tags["run_condition"]["dagster/partition/view"] == "dense"
    assert tags["simulate_datasets"]["dagster/partition"] == "1000"


def test_every_check_ran_passed_and_shows_a_table(opened):
    context, instance = opened
    ledger = context.ledger(instance)
    for item in PRODUCTS:
        record = ledger.latest(item, AT.restricted_to(item.per))
        for check in ledger.checks(record):
            # Of two epochs nothing is promised.
            passed = check.passed or check.name == "loss_improved"
            assert passed, f"{item.name} {check.name}: {check.description}"


def test_datasets_and_views_are_data001_with_growing_provenance(opened):
    context, _ = opened
    for split in SPLITS:
        dataset = _path(context, split, "dataset", file=f"patched_{split}.npz")
        view = _path(context, split, "overlap_view", file=f"{split}.npz")
        for path in (dataset, view):
            require_data001(path)
        before = read_dataset(dataset).metadata["transformations"]
        after = read_dataset(view).metadata["transformations"]
        assert after[: len(before)] == before
        assert [step["tool"] for step in after] == ["simulate", "overlap_view"]
        (sha256,) = after[1]["inputs"].values()
        assert sha256 == sha256_of(dataset)


def test_halves_are_disjoint_and_every_solver_saw_the_same_positions(opened):
    context, _ = opened
    views = {
        split: read_dataset(_path(context, split, "overlap_view", file=f"{split}.npz"))
        for split in SPLITS
    }
    assert views["train"].ycoords.max() < views["test"].ycoords.min()
    assert not set(views["train"].scan_index) & set(views["test"].scan_index)
    for split in SPLITS:
        counts = _json(context, split, "comparison", file="scoring.json")["n_images"]
        assert counts == {model: len(views[split].xcoords) for model in MODELS}


def test_comparison_is_complete_and_its_pictures_are_drawn(opened):
    context, _ = opened
    for split in SPLITS:
        rows = read_csv(_path(context, split, "comparison", file="comparison_metrics.csv"))
        assert [(row.model, row.metric) for row in rows] == list(
            itertools.product(MODELS, ROW_NAMES)
        )
        aligned = read_npz(_path(context, split, "comparison", file="reconstructions_aligned.npz"))
        assert set(aligned) == {*MODELS, "truth", "area"}
        y0, y1, x0, x1 = aligned["area"]
        for model in MODELS:
            assert aligned[model].shape == (y1 - y0, x1 - x0)
            assert aligned[model].dtype == np.complex64
            assert np.isfinite(aligned[model]).all() and np.ptp(np.abs(aligned[model])) > 0.01
        picture = _path(context, split, "comparison", file="comparison_plot.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
        log = _path(context, split, "comparison", file="comparison.log").read_text("utf-8")
        assert all(UTC_TIME.match(line) for line in log.splitlines()) and "scored" in log


def test_pty_chi_finds_the_specimen(opened):
    """Even four epochs on few images look like the truth: the conventions are right."""
    context, _ = opened
    for split in SPLITS:
        rows = read_csv(_path(context, split, "comparison", file="comparison_metrics.csv"))
        found = {(row.model, row.metric): row for row in rows}
        assert found["PtyChi", "ms_ssim"].phase > 0.3
        offsets = [found["PtyChi", f"registration_offset_d{axis}"].value for axis in "yx"]
        assert max(map(abs, offsets)) < 0.5


def test_bundles_state_what_they_are(opened):
    context, _ = opened
    for key, kind, gridsize in (("pinn_model", "PtychoPINN", 2), ("baseline_model", "Baseline", 1)):
        stated = _json(context, key, file="bundle.json")
        assert (stated["kind"], stated["gridsize"], stated["N"]) == (kind, gridsize, 64)
        view = _path(context, "train", "overlap_view", file="train.npz")
        assert stated["inputs"]["train/overlap_view/train.npz"] == sha256_of(view)


def test_manifest_summary_and_deltas_agree(opened):
    context, _ = opened
    manifest = _json(context, "comparison_manifest", file="comparison_manifest.json")
    summary = _json(context, "metrics_summary", file="metrics_summary.json")
    deltas = _json(context, "metrics_delta_summary", file="metrics_delta_summary.json")
    assert (manifest["n_success"], manifest["n_failed"]) == (2, 0)
    path = _path(context, "metrics_summary", file="metrics_summary.json")
    assert deltas["source_metrics_sha256"] == sha256_of(path)
    assert UTC_TIME.fullmatch(deltas["generated_at"])
    means = {model: [] for model in MODELS}
    for split in SPLITS:
        for row in read_csv(_path(context, split, "comparison", file="comparison_metrics.csv")):
            if row.metric == "ms_ssim":
                means[row.model].append(row.phase)
    expected = np.mean(means["PtychoPINN"]) - np.mean(means["PtyChi"])
    assert deltas["deltas"]["vs_PtyChi"]["ms_ssim"]["phase"] == pytest.approx(expected, abs=1e-12)
    compliance = summary["phase_c_metadata_compliance"]["dose_1000"]
    assert all(compliance[split]["compliant"] for split in SPLITS)


def test_nothing_absolute_and_nothing_pickled_in_the_store(opened, finished):
    context, _ = opened
    for file in context.store.root.rglob("*"):
        if not file.is_file() or ".locks" in file.parts:
            continue
        content = file.read_bytes()
        assert str(finished.results).encode() not in content, file
        if file.suffix == ".npz":
            for array in read_npz(file).values():
                assert array.dtype != object


def test_the_store_holds_what_the_catalogue_owns_and_nothing_else(opened):
    context, _ = opened
    owned = {
        context.store.path(item, AT.restricted_to(item.per), name)
        for item in PRODUCTS
        for name in files_in(item, context.study)
    } | {context.store.root / SCHEMA_FILE}
    found = {
        file
        for file in context.store.root.rglob("*")
        if file.is_file() and not {".locks", ".staging", ".records"} & set(file.parts)
    }
    assert found == owned


@pytest.mark.long
def test_a_corrupted_file_is_found_and_mended_by_the_next_run(finished, tmp_path, monkeypatch):
    """One flipped bit in a view: everything downstream is made again, what is above is not."""
    copy = finished.copy_to(tmp_path / "results")
    context = copy.context(monkeypatch)
    path = _path(context, "test", "ptychi_reconstruction", file="ptychi_reconstruction.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    arguments = ("--study", copy.study_file, "--dose", "1000", "--view", "dense")
    plan = fly64("plan", *arguments, results=copy.results)
    assert "test/ptychi_reconstruction" in plan.stdout and "altered" in plan.stdout
    assert "pinn_model" not in plan.stdout
    status = fly64("status", *arguments, results=copy.results)
    assert status.returncode == 1 and "has sha256" in status.stdout
    again = fly64("run", *arguments, results=copy.results)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "pinn_model" not in again.stdout and "test_ptychi_reconstruction" in again.stdout
    with sqlite3.connect(f"file:{next(copy.results.rglob('runs.db'))}?mode=ro", uri=True) as runs:
        jobs = [row[0] for row in runs.execute("select pipeline_name from runs order by id")]
    first = ["prepare_specimen", "simulate_datasets", "run_condition", "report_condition"]
    # The same data as before, in files of another time, which the study's report quotes.
    second = ["run_condition", "report_condition", "report_study"]
    assert jobs == [*first, "report_study", *second]


@pytest.mark.long
def test_a_failing_comparison_is_recorded_and_stops_what_is_downstream(
    finished, tmp_path, monkeypatch
):
    """A reconstruction of ones: n_failed 1 in the manifest, exit 1, no summary made from it."""
    from fly64_assets.ptychography.data001.npz import write_npz
    from fly64_assets_tests.faults import replace_as_if_made

    copy = finished.copy_to(tmp_path / "results")
    context = copy.context(monkeypatch)
    path = _path(context, "test", "ptychi_reconstruction", file="ptychi_reconstruction.npz")
    arrays = read_npz(path)
    # Finite and varying, so its own check passes; constant where it is scored.
    constant = np.ones_like(arrays["reconstructed_object"])
    constant[0, 0] = 2
    write_npz(path, {**arrays, "reconstructed_object": constant})
    replace_as_if_made(context, product("test", "ptychi_reconstruction"), AT)
    before = _path(context, "metrics_summary", file="metrics_summary.json").read_bytes()
    arguments = ("--study", copy.study_file, "--dose", "1000", "--view", "dense")
    failed = fly64("run", *arguments, results=copy.results)
    assert failed.returncode == 1
    assert "comparisons: total 2, executed 2, success 1, failed 1" in failed.stdout
    manifest = _json(context, "comparison_manifest", file="comparison_manifest.json")
    assert (manifest["n_success"], manifest["n_failed"]) == (1, 1)
    assert "DegenerateReconstruction" in manifest["execution_results"][1]["error"]
    after = _path(context, "metrics_summary", file="metrics_summary.json").read_bytes()
    assert after == before
    assert not _path(context, "metrics_delta_summary", file="metrics_delta_summary.json").exists()
    plan = fly64("plan", *arguments, results=copy.results)
    assert re.search(r"test/comparison +1000\|dense +failed", plan.stdout)
    assert re.search(r"metrics_summary +1000\|dense +stale", plan.stdout)
    blocker = context.store.root / "analysis/dose_1000/dense/blocker.log"
    stopped = blocker.read_text("utf-8")
    assert re.match(r"time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\nrun: ", stopped)
    assert "DegenerateReconstruction" in stopped and "log: dagster/storage/" in stopped
    status = fly64("status", *arguments, results=copy.results)
    assert status.returncode == 1
    assert "stopped analysis/dose_1000/dense/blocker.log" in status.stdout
    hub = tmp_path / "hub"
    export = fly64("export", *arguments, "--to", hub, results=copy.results)
    assert export.returncode == 1 and not hub.exists()
    assert "DegenerateReconstruction" in export.stderr
    # Made again the run succeeds, and nothing says any more that one had stopped.
    path.unlink()
    mended = fly64("run", *arguments, results=copy.results)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert not blocker.exists()
