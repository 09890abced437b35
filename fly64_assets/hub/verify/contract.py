"""The hub as the contract promises it: which files, which columns, which patterns.

Written down from the contract (section 5) and from nothing else in this package, so that a mistake
in what writes a hub is not repeated in what verifies it.
"""

from __future__ import annotations

import re

from fly64_assets.study import MODELS, SPLITS

INVENTORY = "analysis/artifact_inventory.txt"
REPORT = "analysis/verification_report.json"
CRATE = "ro-crate-metadata.json"
MANIFEST = "analysis/comparison_manifest.json"
SUMMARY = "analysis/metrics_summary.json"
DELTAS = "analysis/metrics_delta_summary.json"
RUN_MANIFEST = "data/phase_c/run_manifest.json"
TRAINING_MANIFEST = "data/phase_e/training_manifest.json"
RECONSTRUCTION_MANIFEST = "data/phase_f/reconstruction_manifest.json"
NETWORKS = ("PtychoPINN", "Baseline")
"""The models that are trained; the third is pty-chi."""

ONCE = (
    "comparison_manifest.json",
    "comparison_summary.txt",
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
)
PER_COMPARISON = (
    "comparison_metrics.csv",
    "comparison.log",
    "comparison_plot.png",
    "ms_ssim_heatmap.png",
    "correlation_heatmap.png",
    "reconstructions.npz",
    "reconstructions_aligned.npz",
    *(f"{model}_frc_curve.csv" for model in MODELS),
)
LOGS = (
    *(f"phase_c_{split}_dataset.log" for split in SPLITS),
    *(f"phase_d_{split}_overlap_view.log" for split in SPLITS),
    "phase_e_pinn_model.log",
    "phase_e_baseline_model.log",
    *(f"phase_f_{split}_ptychi_reconstruction.log" for split in SPLITS),
    *(f"phase_g_{split}_comparison.log" for split in SPLITS),
    "phase_g_comparison_manifest.log",
    "phase_g_metrics_summary.log",
    "phase_g_metrics_delta_summary.log",
)

COLUMNS = ["model", "metric", "amplitude", "phase", "value"]
FITTED = ("mae", "mse", "psnr", "ssim", "ms_ssim")
STRICT = tuple(f"{name}_strict" for name in FITTED)
BY_COMPONENT = (*FITTED, *STRICT, "frc50", "frc50_censored")
RECORDED = (
    "registration_offset_dy",
    "registration_offset_dx",
    "registration_applied",
    "computation_time_s",
)
METRIC_ROWS = (*BY_COMPONENT, *RECORDED)
COMPONENTS = ("amplitude", "phase")

NUMBER = re.compile(r"-?\d+\.\d{6}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
SHA256 = re.compile(r"[0-9a-f]{64}")

SMALLEST_AREA_PX = 11


def required_files(dose: int, view: str) -> set[str]:
    """Every file that a hub has, relative to it."""
    phase_d, phase_e, phase_f, scores = (
        f"{folder}/dose_{dose}/{view}"
        for folder in ("data/phase_d", "data/phase_e", "data/phase_f", "analysis")
    )
    return {
        RUN_MANIFEST,
        TRAINING_MANIFEST,
        RECONSTRUCTION_MANIFEST,
        CRATE,
        "summary/summary.md",
        f"{phase_d}/metrics_bundle.json",
        *(f"data/phase_c/dose_{dose}/patched_{split}.npz" for split in SPLITS),
        *(f"{phase_d}/{split}{end}" for split in SPLITS for end in (".npz", "_metrics.json")),
        *(
            f"{phase_e}/{model}/{name}"
            for model in NETWORKS
            for name in ("model.keras", "bundle.json", "history.csv")
        ),
        *(f"{phase_f}/{split}/ptychi_reconstruction.npz" for split in SPLITS),
        *(f"{scores}/{split}/{name}" for split in SPLITS for name in PER_COMPARISON),
        *(f"analysis/{name}" for name in ONCE),
        *(f"cli/{name}" for name in LOGS),
    }


def allowed_files(dose: int, view: str) -> set[str]:
    """Files that a hub may have besides."""
    return {
        REPORT,
        *(f"data/phase_f/dose_{dose}/{view}/{split}/loss_history.csv" for split in SPLITS),
        *(f"analysis/dose_{dose}/{view}/{split}/scoring.json" for split in SPLITS),
    }
