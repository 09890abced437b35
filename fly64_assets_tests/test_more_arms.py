"""One real run with every registered arm on: computed, checked, compared, exported and verified.

Long (a whole run, with two trainings of three networks), so only with ``make test-all``.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.study.arms import NAMES, iterative, networks
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.products import PRODUCTS
from fly64_assets_tests.conftest import FinishedRun, fly64, run_once

pytestmark = pytest.mark.matrix
SELECTION = ("--dose", "1000", "--view", "dense")
EXTRA = NAMES[len(MODELS) :]


@pytest.fixture(scope="module")
def run(tmp_path_factory, worker_id) -> FinishedRun:
    made = run_once(tmp_path_factory, worker_id, "every_arm", timeout=3600, arms=list(NAMES))
    assert made.run.returncode == 0, made.run.stdout + made.run.stderr
    return made


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The hub, and what the export said."""
    hub = tmp_path_factory.mktemp("hub") / "hub"
    arguments = ("export", "--study", run.study_file, *SELECTION, "--to", hub)
    return hub, fly64(*arguments, results=run.results)


def _verify(hub) -> subprocess.CompletedProcess:
    return fly64("verify", hub, results=hub.parent / "none")


def _json(hub, path):
    return json.loads((hub / path).read_text("utf-8"))


def _csv(hub, path):
    with (hub / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_check_of_every_arm_passes(run):
    done = fly64("checks", "--study", run.study_file, *SELECTION, "--json", results=run.results)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["checks"]
    assert {(row["asset"], row["check"]) for row in rows} == {
        (item.name, name) for item in PRODUCTS for name in item.checks
    }
    assert [row for row in rows if row["status"] not in ("passed", "warning")] == []
    assert all(row["severity"] == "WARN" for row in rows if row["status"] == "warning")


def test_export_and_verification_succeed(exported):
    hub, done = exported
    assert done.returncode == 0, done.stdout + done.stderr
    again = _verify(hub)
    assert again.returncode == 0, again.stdout + again.stderr


def test_tables_and_arrays_hold_every_arm_in_the_studys_order(exported, run):
    hub, _ = exported
    assert all(name in run.run.stdout for name in EXTRA)
    for split in SPLITS:
        folder = f"analysis/dose_1000/dense/{split}"
        rows = _csv(hub, f"{folder}/comparison_metrics.csv")
        assert list(dict.fromkeys(row["model"] for row in rows)) == list(NAMES)
        aligned = read_npz(hub / folder / "reconstructions_aligned.npz")
        assert set(aligned) == {*NAMES, "truth", "area"}
        pairs = [(one, other) for one in NAMES for other in NAMES if one < other]
        assert not any(np.array_equal(aligned[one], aligned[other]) for one, other in pairs)
        assert all((hub / folder / f"{name}_frc_curve.csv").is_file() for name in NAMES)
    aggregates = _json(hub, "analysis/metrics_summary.json")["aggregate_metrics"]
    assert list(aggregates) == list(NAMES)
    statistics = _csv(hub, "analysis/comparison_statistics.csv")
    assert {row["model"] for row in statistics} == set(NAMES)
    assert {row["reference"] for row in statistics} == {"", *NAMES[1:]}


def test_the_delta_file_and_the_highlights_are_of_the_published_arms(exported):
    hub, _ = exported
    deltas = _json(hub, "analysis/metrics_delta_summary.json")
    published = {f"vs_{name}" for name in MODELS[1:]}
    assert set(deltas["deltas"]) == published
    for by_split in (deltas["deltas_by_split"], deltas["intervals"]["by_split"]):
        assert {other for others in by_split.values() for other in others} == published
    lines = (hub / "analysis/metrics_delta_highlights.txt").read_text("utf-8").splitlines()
    assert len(lines) == 4 and not any(name in line for line in lines for name in EXTRA)


def test_manifests_name_further_jobs_after_the_published(exported):
    hub, _ = exported
    trained = _json(hub, "data/phase_e/training_manifest.json")["jobs"]
    assert [(job["model"], job["gridsize"]) for job in trained] == [
        (network.name, network.gridsize_in(2)) for network in networks(NAMES)
    ]
    solved = _json(hub, "data/phase_f/reconstruction_manifest.json")["jobs"]
    assert [(job["algorithm"], job["split"]) for job in solved] == [
        (algorithm, split) for algorithm in ("LSQML", "EPIE") for split in SPLITS
    ]
    assert [job["output"].rpartition("/")[2] for job in solved[::2]] == [
        arm.file for arm in iterative(NAMES)
    ]
    bundle = _json(hub, "data/phase_e/dose_1000/dense/PtychoPINN-gs1/bundle.json")
    assert (bundle["kind"], bundle["gridsize"]) == ("PtychoPINN-gs1", 1)


def test_every_report_shows_every_arm(exported):
    hub, _ = exported
    reports = ("metrics_summary.md", "aggregate_report.md", "aggregate_highlights.txt")
    for path in (*(f"analysis/{name}" for name in reports), "summary/summary.md"):
        text = (hub / path).read_text("utf-8")
        assert [name for name in NAMES if name not in text] == [], path


@pytest.mark.parametrize("split", SPLITS)
def test_a_further_arm_that_is_altered_or_missing_is_found(exported, tmp_path, split):
    hub, _ = exported
    broken = tmp_path / "hub"
    shutil.copytree(hub, broken)
    (broken / f"analysis/dose_1000/dense/{split}/ePIE_frc_curve.csv").unlink()
    made = broken / f"data/phase_f/dose_1000/dense/{split}/epie_reconstruction.npz"
    made.write_bytes(made.read_bytes()[:-40])
    done = _verify(broken)
    assert done.returncode == 1
    assert "ePIE_frc_curve.csv" in done.stdout and "epie_reconstruction.npz" in done.stdout


def test_a_crate_that_denies_the_further_arms_is_found(exported, tmp_path):
    hub, _ = exported
    broken = tmp_path / "hub"
    shutil.copytree(hub, broken)
    crate = broken / "ro-crate-metadata.json"
    document = json.loads(crate.read_text("utf-8"))
    (entity,) = [e for e in document["@graph"] if e["@id"] == "#study/arms"]
    entity["value"] = json.dumps(list(MODELS))
    crate.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    done = _verify(broken)
    assert done.returncode == 1
    failed = set(re.findall(r"FAILED +(\w+):", done.stdout))
    assert {"nothing_else", "table", "arrays", "settings", "step_settings"} <= failed
