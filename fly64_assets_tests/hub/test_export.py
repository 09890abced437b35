"""Exporting a finished condition: every file of the contract, the same twice, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fly64_assets.hub.export import export_hub
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import product
from fly64_assets_tests.conftest import fly64

AT = Condition(1000, "dense")
MODELS = ("PtychoPINN", "Baseline", "PtyChi")
SPLIT_FILES = (
    "comparison_metrics.csv",
    "comparison.log",
    "comparison_plot.png",
    "ms_ssim_heatmap.png",
    "correlation_heatmap.png",
    "reconstructions.npz",
    "reconstructions_aligned.npz",
    "scoring.json",
    *(f"{model}_frc_curve.csv" for model in MODELS),
)
ANALYSIS_FILES = (
    "comparison_manifest.json",
    "comparison_summary.txt",
    "comparison_statistics.csv",
    "metrics_summary.json",
    "metrics_summary.md",
    "metrics_delta_summary.json",
    "metrics_delta_highlights.txt",
    "metrics_delta_highlights_preview.txt",
    "aggregate_report.md",
    "aggregate_highlights.txt",
    "metrics_digest.md",
    "ssim_grid_summary.md",
    "check_report.md",
    "check_report.json",
    "artifact_inventory.txt",
    "verification_report.json",
)
STEPS = (
    *(f"c_{split}_dataset" for split in ("train", "test")),
    *(f"d_{split}_overlap_view" for split in ("train", "test")),
    "e_pinn_model",
    "e_baseline_model",
    "e_pinn_replicates",
    "e_baseline_replicates",
    *(f"f_{split}_ptychi_reconstruction" for split in ("train", "test")),
    *(f"g_{split}_comparison" for split in ("train", "test")),
    "g_comparison_manifest",
    "g_comparison_statistics",
    "g_metrics_summary",
    "g_metrics_delta_summary",
)


def contract_files() -> set[str]:
    """Section 5 of the contract for 1000 photons, dense, typed out here a second time."""
    files = {f"analysis/{name}" for name in ANALYSIS_FILES}
    files |= {"ro-crate-metadata.json", "summary/summary.md", "data/phase_c/run_manifest.json"}
    files |= {"data/phase_e/training_manifest.json", "data/phase_f/reconstruction_manifest.json"}
    files |= {"data/phase_d/dose_1000/dense/metrics_bundle.json"}
    files |= {f"cli/phase_{step}.log" for step in STEPS}
    for model in MODELS[:2]:
        bundle = ("model.keras", "bundle.json", "history.csv", "replicates.npz")
        files |= {f"data/phase_e/dose_1000/dense/{model}/{name}" for name in bundle}
    for split in ("train", "test"):
        files |= {f"analysis/dose_1000/dense/{split}/{name}" for name in SPLIT_FILES}
        files.add(f"data/phase_c/dose_1000/patched_{split}.npz")
        files |= {f"data/phase_d/dose_1000/dense/{split}{end}" for end in (".npz", "_metrics.json")}
        files |= {
            f"data/phase_f/dose_1000/dense/{split}/{name}"
            for name in ("ptychi_reconstruction.npz", "loss_history.csv")
        }
    return files


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def export(finished, hub: Path, *more: str):
    arguments = ("--study", finished.study_file, "--dose", "1000", "--view", "dense", "--to", hub)
    return fly64("export", *arguments, *more, results=finished.results)


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    hub = tmp_path_factory.mktemp("export") / "hubs" / "1000_dense"
    return hub, export(finished, hub)


@pytest.fixture
def hub(exported, tmp_path) -> Path:
    """A copy of the exported hub that a test may change."""
    return Path(shutil.copytree(exported[0], tmp_path / "hub"))


def test_export_lays_out_the_contract_and_ends_verified(exported):
    hub, done = exported
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("verified: ")
    assert set(contents(hub)) == contract_files()
    assert [path.name for path in hub.parent.iterdir()] == [hub.name]  # nothing left beside it


@pytest.mark.long
def test_exporting_twice_gives_the_same_bytes(exported, finished, tmp_path):
    first = contents(exported[0])
    assert export(finished, tmp_path / "again").returncode == 0
    second = contents(tmp_path / "again")
    report = "analysis/verification_report.json"
    reports = [json.loads(found.pop(report)) for found in (first, second)]
    assert first == second
    assert reports[0]["checks"] == reports[1]["checks"]


@pytest.mark.long
def test_exporting_over_the_same_hub_changes_nothing(hub, finished):
    before = contents(hub)
    done = export(finished, hub)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unchanged since its last export" in done.stdout
    after = contents(hub)
    del before["analysis/verification_report.json"], after["analysis/verification_report.json"]
    assert before == after


@pytest.mark.long
def test_something_else_is_refused_and_kept(hub, finished):
    (hub / "summary" / "summary.md").write_text("mine\n")
    (hub / "notes.txt").write_text("mine too\n")
    before = contents(hub)
    done = export(finished, hub)
    assert done.returncode == 2
    assert "holds something else" in done.stderr and "--clobber" in done.stderr
    assert contents(hub) == before
    assert list(hub.parent.glob(".hub.exporting-*")) == []


@pytest.mark.long
def test_clobber_moves_the_old_aside_and_loses_nothing(hub, finished):
    (hub / "notes.txt").write_text("mine\n")
    before = contents(hub)
    done = export(finished, hub, "--clobber")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "notes.txt" not in contents(hub)
    (aside,) = (path for path in hub.parent.glob("hub.*") if path.is_dir())
    assert contents(aside) == before
    assert "moved aside" in done.stdout


def _refused_at(place: Path, problem: str, finished, **more) -> None:
    """Even with --clobber: exit 2, and nothing moved."""
    before = sorted(place.parent.glob(f"*{place.name}*"))
    done = export(finished, place, "--clobber", **more)
    assert done.returncode == 2, done.stdout + done.stderr
    assert problem in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted(place.parent.glob(f"*{place.name}*")) == before


@pytest.mark.long
def test_a_place_among_results_is_refused(finished):
    for place in (finished.results / "tiny" / "hub", finished.results / "other"):
        _refused_at(place, "lies among the studies' results", finished)


@pytest.mark.long
@pytest.mark.parametrize("what", ["the studies' results", "the project", "the current folder"])
def test_what_holds_other_things_is_never_moved_aside(what, finished, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    place = {
        "the studies' results": finished.results,
        "the project": PROJECT_ROOT.parent,
        "the current folder": tmp_path,
    }[what]
    if finished.results.is_relative_to(place):  # the project was cloned beside them
        what = "the studies' results"
    monkeypatch.chdir(tmp_path / "here")
    _refused_at(place, f"holds {what}", finished)


def test_the_folder_of_the_study_file_is_no_hub(finished):
    _refused_at(finished.study_file.parent, "a hub has a place apart", finished)


def test_a_file_is_no_hub(finished, tmp_path):
    (tmp_path / "file").write_text("kept")
    _refused_at(tmp_path / "file", "is a file", finished)
    assert (tmp_path / "file").read_text() == "kept"


def test_foreign_content_is_refused_before_anything_is_copied(finished, tmp_path):
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    done = export(finished, tmp_path / "mine")
    assert done.returncode == 2 and "holds something else, empty first" in done.stderr
    assert "copying" not in done.stdout


@pytest.mark.long
def test_a_link_to_an_empty_folder_is_followed(finished, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    done = export(finished, tmp_path / "link")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "link").is_symlink()
    assert set(contents(tmp_path / "real")) == contract_files()


@pytest.mark.long
def test_a_stray_empty_folder_makes_a_hub_another_one(hub, finished):
    (hub / "analysis" / "empty").mkdir()
    done = export(finished, hub)
    assert done.returncode == 2
    assert "1 of its own (analysis/empty/ ...)" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("options", [("--dose", "77"), ("--view", "odd")])
def test_a_condition_that_the_study_does_not_name_is_bad_usage(options, finished, tmp_path):
    chosen = {"--dose": "1000", "--view": "dense", **dict([options])}
    flat = [part for pair in chosen.items() for part in pair]
    arguments = ("--study", finished.study_file, *flat, "--to", tmp_path / "hub")
    done = fly64("export", *arguments, results=finished.results)
    assert done.returncode == 2 and options[1] in done.stderr
    assert not (tmp_path / "hub").exists()


def test_what_is_altered_or_missing_is_refused_by_name(finished, tmp_path, monkeypatch):
    copy = finished.copy_to(tmp_path / "results")
    context = copy.context(monkeypatch)
    (context.store.folder(product("metrics_report"), AT) / "metrics_digest.md").unlink()
    done = export(copy, tmp_path / "hub")
    assert done.returncode == 1
    assert "metrics_report 1000|dense: altered" in done.stderr
    assert "metrics_digest.md is gone" in done.stderr
    assert "hub_summary 1000|dense: stale" in done.stderr
    assert not (tmp_path / "hub").exists()


def test_a_stale_condition_is_refused(finished, tmp_path, write_study):
    study = write_study(scoring={"ms_ssim_sigma_px": 1.5})
    arguments = ("--study", study, "--dose", "1000", "--view", "dense", "--to", tmp_path / "hub")
    done = fly64("export", *arguments, results=finished.results)
    assert done.returncode == 1
    assert "test/comparison 1000|dense: stale (scoring.ms_ssim_sigma_px: 1.0 -> 1.5)" in done.stderr
    assert not (tmp_path / "hub").exists()


def test_a_file_that_changes_while_it_is_copied_gives_no_hub(finished, tmp_path, monkeypatch):
    """The planner has seen the right bytes; the copy is held against the record once more."""
    from fly64_assets.errors import NotTrusted

    copy = finished.copy_to(tmp_path / "results")
    context = copy.context(monkeypatch)
    plot = context.store.folder(product("test", "comparison"), AT) / "comparison_plot.png"

    def tell(text: str) -> None:
        if text.startswith("copying"):
            plot.write_bytes(plot.read_bytes()[:-1] + b"!")

    with (
        read_only_instance(context.study) as instance,
        pytest.raises(NotTrusted, match=r"comparison_plot\.png changed while it was exported"),
    ):
        export_hub(context, instance, AT, tmp_path / "hub", tell=tell)
    assert [path.name for path in tmp_path.iterdir() if "hub" in path.name] == []


@pytest.mark.long
def test_what_a_killed_export_left_is_swept_and_a_living_one_is_not(hub, finished):
    dead = hub.parent / ".hub.exporting-999999999"
    living = hub.parent / ".hub.exporting-1"
    for folder in (dead, living):
        folder.mkdir()
    assert export(finished, hub).returncode == 0
    assert not dead.exists() and living.exists()
