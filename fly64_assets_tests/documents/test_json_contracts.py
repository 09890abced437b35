"""Manifest, metrics summary and deltas: their shape, their arithmetic and their refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fly64_assets.documents import phase_manifests
from fly64_assets.documents.comparison_manifest import ComparisonStatus, comparison_manifest
from fly64_assets.documents.deltas import intervals, metrics_delta_summary
from fly64_assets.documents.formatting import delta_lines, signed
from fly64_assets.documents.metrics_summary import metrics_summary
from fly64_assets.ptychography.scoring.comparison import ROW_NAMES, ScoreRow
from fly64_assets.study.arms import ITERATIVE
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets_tests.reports.report_sources import statistics

OK = {split: ComparisonStatus(None) for split in SPLITS}
COUNTS = {"n_images_total": 5152, "n_images_kept": 1264, "n_centres": 159, "unused": 1}
GOOD = {
    "npz_path": "data/phase_c/dose_1000/patched_train.npz",
    "has_metadata": True,
    "has_canonical_transform": True,
    "compliant": True,
}


def _rows(split: str) -> list[ScoreRow]:
    """A full table whose numbers say where they come from."""
    rows = []
    for m, model in enumerate(MODELS):
        for metric in ROW_NAMES:
            if metric.startswith(("registration", "computation")):
                rows.append(ScoreRow(model, metric, value=1.0))
                continue
            base = 0.9 - 0.1 * m - (0.05 if split == "test" else 0.0)
            rows.append(ScoreRow(model, metric, amplitude=base, phase=base + 0.01))
    return rows


def _summary() -> dict:
    manifest = comparison_manifest(1000, "dense", OK, ms_ssim_sigma_px=1.0)
    return metrics_summary(
        manifest,
        {split: _rows(split) for split in SPLITS},
        dict.fromkeys(SPLITS, COUNTS),
        dict.fromkeys(SPLITS, GOOD),
    )


def test_manifest_holds_both_splits_in_order_and_its_counts_add_up():
    manifest = comparison_manifest(1000, "dense", OK, ms_ssim_sigma_px=1.0)
    assert [job["split"] for job in manifest["jobs"]] == ["train", "test"]
    assert manifest["filters"] == {"dose": 1000, "view": "dense", "split": None}
    assert (manifest["n_jobs"], manifest["n_executed"]) == (2, 2)
    assert (manifest["n_success"], manifest["n_failed"]) == (2, 0)
    assert manifest["jobs"][0] == {
        "dose": 1000,
        "view": "dense",
        "split": "train",
        "phase_c_npz": "data/phase_c/dose_1000/patched_train.npz",
        "pinn_checkpoint": "data/phase_e/dose_1000/dense/PtychoPINN/model.keras",
        "baseline_checkpoint": "data/phase_e/dose_1000/dense/Baseline/model.keras",
        "phase_f_manifest": "data/phase_f/reconstruction_manifest.json",
        "ms_ssim_sigma": 1.0,
        "skip_registration": False,
        "register_ptychi_only": False,
    }
    assert all("error" not in result for result in manifest["execution_results"])


def test_a_failed_comparison_is_recorded_with_its_error():
    statuses = {**OK, "test": ComparisonStatus("ValueError: constant")}
    manifest = comparison_manifest(1000, "dense", statuses, ms_ssim_sigma_px=1.0)
    assert (manifest["n_success"], manifest["n_failed"]) == (1, 1)
    failed = manifest["execution_results"][1]
    assert (failed["returncode"], failed["error"]) == (1, "ValueError: constant")


def test_no_summary_while_a_comparison_failed():
    statuses = {**OK, "test": ComparisonStatus("broken")}
    manifest = comparison_manifest(1000, "dense", statuses, ms_ssim_sigma_px=1.0)
    with pytest.raises(ValueError, match="1 of 2 comparisons failed"):
        metrics_summary(manifest, {}, {}, {})


def test_aggregates_are_means_and_bests_over_the_splits():
    summary = _summary()
    ms_ssim = summary["aggregate_metrics"]["Baseline"]["ms_ssim"]
    assert ms_ssim["mean_amplitude"] == pytest.approx((0.8 + 0.75) / 2)
    assert ms_ssim["best_phase"] == pytest.approx(0.81)
    assert set(summary["aggregate_metrics"]["PtyChi"]["mae"]) == {"mean_amplitude", "mean_phase"}
    assert summary["dataset_counts"]["train"] == {
        "n_images_total": 5152,
        "n_images_kept": 1264,
        "n_centres": 159,
    }
    assert summary["phase_c_metadata_compliance"]["dose_1000"]["train"] == GOOD


def test_a_missing_row_is_an_error_not_a_gap():
    tables = {split: _rows(split)[:-1] for split in SPLITS}
    tables["test"] = [row for row in tables["test"] if row.model != "Baseline"]
    manifest = comparison_manifest(1000, "dense", OK, ms_ssim_sigma_px=1.0)
    with pytest.raises(KeyError):
        metrics_summary(
            manifest, tables, dict.fromkeys(SPLITS, COUNTS), dict.fromkeys(SPLITS, GOOD)
        )


def test_deltas_are_differences_of_the_means_and_of_each_split():
    summary = _summary()
    content = metrics_delta_summary(
        summary, summary_sha256="ab" * 32, generated_at="2026-01-02T03:04:05Z", intervals={}
    )
    aggregates = summary["aggregate_metrics"]
    for other in ("Baseline", "PtyChi"):
        for metric in ("ms_ssim", "mae"):
            for column in ("amplitude", "phase"):
                expected = (
                    aggregates["PtychoPINN"][metric][f"mean_{column}"]
                    - aggregates[other][metric][f"mean_{column}"]
                )
                assert content["deltas"][f"vs_{other}"][metric][column] == expected
    assert content["source_metrics"] == "analysis/metrics_summary.json"
    assert content["source_metrics_sha256"] == "ab" * 32
    assert list(content["deltas_by_split"]) == ["train", "test"]
    by_split = content["deltas_by_split"]["test"]["vs_Baseline"]["ms_ssim"]["phase"]
    assert by_split == pytest.approx(0.1)


def test_intervals_quote_the_headline_differences_and_no_other_row():
    rows = statistics()
    of_means = [replace(row, mean=row.mean + 1) for row in rows]
    found = intervals({"train": rows, "test": rows, "both": of_means}, confidence=0.9)
    assert (found["confidence"], found["source"]) == (0.9, "analysis/comparison_statistics.csv")
    assert list(found["by_split"]) == ["train", "test"]
    quoted = [
        components[component]
        for others in found["by_split"]["test"].values()
        for components in others.values()
        for component in ("amplitude", "phase")
    ]
    assert len(quoted) == 8
    assert sum(one["settled"] for one in quoted) == sum(
        bool(row.settled) for row in rows if row.metric != "ssim"
    )
    row = next(r for r in rows if (r.reference, r.metric) == ("PtyChi", "mae"))
    assert found["of_means"]["vs_PtyChi"]["mae"]["amplitude"]["mean"] == row.mean + 1
    assert found["by_split"]["test"]["vs_PtyChi"]["mae"]["amplitude"] == {
        "mean": row.mean,
        "low": row.low,
        "high": row.high,
        "settled": row.settled,
        "covers": row.covers,
    }


def test_a_missing_model_gives_null_not_zero():
    summary = _summary()
    del summary["aggregate_metrics"]["PtyChi"]
    content = metrics_delta_summary(summary, summary_sha256="0", generated_at="", intervals={})
    assert content["deltas"]["vs_PtyChi"]["ms_ssim"] == {"amplitude": None, "phase": None}
    assert content["deltas"]["vs_Baseline"]["mae"]["phase"] is not None


def test_console_lines_show_the_sign_always():
    content = metrics_delta_summary(_summary(), summary_sha256="0", generated_at="", intervals={})
    lines = delta_lines(content["deltas"])
    assert lines[0] == "MS-SSIM Δ (PtychoPINN - Baseline)  : amplitude +0.100  phase +0.100"
    assert lines[1] == "MS-SSIM Δ (PtychoPINN - PtyChi)    : amplitude +0.200  phase +0.200"
    assert [line.split(" (")[0] for line in lines] == ["MS-SSIM Δ"] * 2 + ["MAE Δ"] * 2
    assert signed(None, 3) == "N/A"
    assert signed(-0.0204, 3) == "-0.020"


METRICS = {"metrics_version": 1, "n_images_total": 5152, "metric_2_image_based_avg": 0.7}


def test_phase_c_manifest_names_both_halves():
    assert phase_manifests.run_manifest(1000) == {
        "dose_1000": {
            "dose": 1000,
            "train": "data/phase_c/dose_1000/patched_train.npz",
            "test": "data/phase_c/dose_1000/patched_test.npz",
        }
    }


def test_phase_d_bundle_holds_both_splits_of_one_version():
    bundle = phase_manifests.metrics_bundle(1000, "dense", dict.fromkeys(SPLITS, METRICS))
    assert list(bundle) == ["metrics_version", "dose", "view", "train", "test"]
    assert bundle["test"] == METRICS
    mixed = {"train": METRICS, "test": {**METRICS, "metrics_version": 2}}
    with pytest.raises(ValueError, match="versions"):
        phase_manifests.metrics_bundle(1000, "dense", mixed)


def test_phase_e_manifest_says_what_a_bundle_is_and_where():
    stated = {"gridsize": 2, "final_loss": 1.5, "epochs_completed": 3}
    bundle = phase_manifests.TrainedBundle(stated, "a/model.keras", "0" * 64, 1234, "a/history.csv")
    manifest = phase_manifests.training_manifest(1000, "dense", {"PtychoPINN": bundle})
    (job,) = manifest["jobs"]
    assert (manifest["skipped_views"], manifest["skipped_count"]) == ([], 0)
    assert [job[name] for name in ("model", "dose", "view", "gridsize", "backend")] == [
        "PtychoPINN",
        1000,
        "dense",
        2,
        "tensorflow",
    ]
    assert job["result"] == {
        "status": "success",
        "final_loss": 1.5,
        "epochs_completed": 3,
        "bundle_path": "a/model.keras",
        "bundle_sha256": "0" * 64,
        "bundle_size_bytes": 1234,
        "history": "a/history.csv",
    }


def test_phase_f_manifest_has_both_splits_with_their_logs():
    algorithms = {arm: dict.fromkeys(SPLITS, arm.about) for arm in ITERATIVE[:1]}
    manifest = phase_manifests.reconstruction_manifest(1000, "dense", algorithms)
    assert manifest["total_jobs"] == len(manifest["jobs"]) == 2
    assert manifest["execution_results"] == [
        {
            "dose": 1000,
            "view": "dense",
            "split": split,
            "returncode": 0,
            "log_path": f"cli/phase_f_{split}_ptychi_reconstruction.log",
        }
        for split in ("train", "test")
    ]
