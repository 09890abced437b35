"""The hub as the contract promises it: which files, which columns, which patterns.

Written down from the contract (section 5) and from nothing else in this package, so that a mistake
in what writes a hub is not repeated in what verifies it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from fly64_assets.study.arms import ITERATIVE, NETWORKS
from fly64_assets.study.model import SPLITS

INVENTORY = "analysis/artifact_inventory.txt"
REPORT = "analysis/verification_report.json"
CRATE = "ro-crate-metadata.json"
MANIFEST = "analysis/comparison_manifest.json"
SUMMARY = "analysis/metrics_summary.json"
STATISTICS = "analysis/comparison_statistics.csv"
DELTAS = "analysis/metrics_delta_summary.json"
RUN_MANIFEST = "data/phase_c/run_manifest.json"
TRAINING_MANIFEST = "data/phase_e/training_manifest.json"
RECONSTRUCTION_MANIFEST = "data/phase_f/reconstruction_manifest.json"
ONCE = (
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
)
PER_COMPARISON = (
    "comparison_metrics.csv",
    "comparison.log",
    "comparison_plot.png",
    "ms_ssim_heatmap.png",
    "correlation_heatmap.png",
    "reconstructions.npz",
    "reconstructions_aligned.npz",
)
STEPS = {
    **{
        f"phase_c_{split}_dataset.log": (f"{split}/dataset", "train_dataset_and_test_dataset")
        for split in SPLITS
    },
    **{
        f"phase_{phase}_{split}_{asset}.log": (f"{split}/{asset}", f"{split}_{asset}")
        for phase, asset in (
            ("d", "overlap_view"),
            *(("f", f"{arm.asset}_reconstruction") for arm in ITERATIVE),
            ("g", "comparison"),
        )
        for split in SPLITS
    },
    **{
        f"phase_{phase}_{asset}.log": (asset, asset)
        for phase, asset in (
            *(("e", f"{network.asset}_model") for network in NETWORKS),
            *(("e", f"{network.asset}_replicates") for network in NETWORKS),
            ("g", "comparison_manifest"),
            ("g", "comparison_statistics"),
            ("g", "metrics_summary"),
            ("g", "metrics_delta_summary"),
        )
    },
}
"""Log in ``cli`` -> (asset, step that makes it); one step makes both halves of the scan."""

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
REFERENCE = "reference_ms_ssim"
"""The row that follows them, and the setting of the study that asks for it."""
DEFINED_ALWAYS = ("mae", "mse", "mae_strict", "mse_strict")
NEED_CONTRAST = (*(name for name in BY_COMPONENT if name not in DEFINED_ALWAYS), REFERENCE)
"""Rows that are blank for a component in which the truth is constant in the scored area."""
COMPONENTS = ("amplitude", "phase")

NUMBER = re.compile(r"-?\d+\.\d{6}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
SHA256 = re.compile(r"[0-9a-f]{64}")

SMALLEST_AREA_PX = 11

Row = tuple[str, bool]
ERROR, WARN = "ERROR", "WARN"


def _checks(*, blocking: str = "", noted: str = "", warns: str = "") -> dict[str, Row]:
    """The checks of an asset in the order of the check report: one of all first, two at the end."""
    return {
        **dict.fromkeys(("files", *blocking.split()), (ERROR, True)),
        **{name: (WARN if name in warns.split() else ERROR, False) for name in noted.split()},
    }


_MADE = "times_and_paths drift"
_RECORDED = "effective_settings provenance"
_TRAINED = _checks(
    blocking=f"bundle loss trained_on counts {_RECORDED}",
    noted=f"loss_improved {_MADE}",
    warns="loss_improved drift",
)
_TRAINED_AGAIN = _checks(blocking=f"trainings {_RECORDED}", noted=_MADE, warns="drift")
_OF_A_SPLIT = {
    "dataset": _checks(
        blocking=f"data001 mean_dose poisson_noise axis_order split_separation {_RECORDED}",
        noted=_MADE,
        warns="drift",
    ),
    "overlap_view": _checks(
        blocking=f"data001 feasibility counts {_RECORDED}", noted=_MADE, warns="drift"
    ),
    **{
        f"{arm.asset}_reconstruction": _checks(
            blocking=f"reconstruction loss {_RECORDED}", noted=_MADE, warns="drift"
        )
        for arm in ITERATIVE
    },
    "comparison": _checks(
        noted=f"reconstructions {_RECORDED} registration ms_ssim_terms contrast {_MADE}",
        warns="registration ms_ssim_terms contrast drift",
    ),
}
_BOTH = {name: {f"{split}/{name}": rows for split in SPLITS} for name, rows in _OF_A_SPLIT.items()}
CHECKED: dict[str, dict[str, Row]] = {
    **_BOTH["dataset"],
    **_BOTH["overlap_view"],
    **{f"{network.asset}_model": _TRAINED for network in NETWORKS},
    **{f"{network.asset}_replicates": _TRAINED_AGAIN for network in NETWORKS},
    **{
        name: rows
        for arm in ITERATIVE
        for name, rows in _BOTH[f"{arm.asset}_reconstruction"].items()
    },
    **_BOTH["comparison"],
    "comparison_manifest": _checks(
        blocking="completeness invariant input_identity counts scores", noted="times_and_paths"
    ),
    "comparison_statistics": _checks(
        blocking="scores intervals", noted="contrast times_and_paths", warns="contrast"
    ),
    "metrics_summary": _checks(blocking="recomputed counts", noted="times_and_paths"),
    "metrics_delta_summary": _checks(
        blocking="recomputed source_hash intervals", noted="times_and_paths"
    ),
}
"""Asset -> its checks -> (severity, whether it blocks), in the order of the check report."""
ARM_OF = {
    **{f"{arm.asset}_{kind}": arm.name for arm in NETWORKS for kind in ("model", "replicates")},
    **{f"{split}/{arm.asset}_reconstruction": arm.name for arm in ITERATIVE for split in SPLITS},
}
"""Asset -> the arm that it is of; every hub has the others."""


def has(asset: str, arms: Collection[str]) -> bool:
    """Whether a hub that compares these arms has this asset."""
    return asset not in ARM_OF or ARM_OF[asset] in arms


@dataclass(frozen=True)
class Specimen:
    """A specimen that the project ships.

    Attributes:
        file: its name.
        object_digest: of the one array ``objectGuess``, which datasets hold as it is.
        origin: where it comes from.
    """

    file: str
    object_digest: str
    origin: str


SPECIMENS = {
    "7d5fd5fa34a0643e1ab6f44a8ff8a5c225772f61d72fbe063b772b0750643313": Specimen(
        "labyrinth.npz",
        "2f04b030e11dbb5f7ec1e526a064a099900443c1f9c62821215afdc0d930cf7b",
        "centre of a pty-chi LSQML reconstruction (25 epochs, 3 probe modes) of a scan measured at "
        "the CNM Hard X-ray Nanoprobe; the measured scan is one that the source distribution of "
        "tike 0.26.0 ships for its tests",
    ),
    "89e7dcc696020f85eef84c2a05720a094bee490fc1e6191bec23d34641b282e0": Specimen(
        "siemens_star.npz",
        "0f295048d7c7215dd733b83730de36c20f3e85e58c23b081b13b52660acf80b5",
        "centre of a pty-chi LSQML reconstruction (30 epochs) of a Siemens star measured at the "
        "APS Velociprobe; the measured scan is one that the source distribution of tike 0.26.0 "
        "ships for its tests",
    ),
}
"""By the sha256 of its file."""
LICENCE = "BSD-3-Clause"
LICENCE_FILE = "LICENSE.BSD-3-Clause.txt"
LICENCE_ID = "https://spdx.org/licenses/BSD-3-Clause"
LICENCE_SHA256 = "71e9653695e353cabbe3fe8559dc6034801611ff24b566e47a24a733b4ca61b8"
"""Of the notice that belongs beside every copy of a shipped specimen."""
UNKNOWN, UNKNOWN_LICENCE_ID = "unknown", "#licence-unknown"


def required_files(dose: int, view: str, arms: Collection[str]) -> set[str]:
    """Every file that a hub that compares these arms has, relative to it."""
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
            f"{phase_e}/{network.name}/{name}"
            for network in NETWORKS
            if network.name in arms
            for name in ("model.keras", "bundle.json", "history.csv", "replicates.npz")
        ),
        *(
            f"{phase_f}/{split}/{arm.asset}_reconstruction.npz"
            for arm in ITERATIVE
            if arm.name in arms
            for split in SPLITS
        ),
        *(f"{scores}/{split}/{name}" for split in SPLITS for name in PER_COMPARISON),
        *(f"{scores}/{split}/{arm}_frc_curve.csv" for split in SPLITS for arm in arms),
        *(f"analysis/{name}" for name in ONCE),
        *(f"cli/{name}" for name, (asset, _) in STEPS.items() if has(asset, arms)),
    }


def allowed_files(dose: int, view: str, arms: Collection[str]) -> set[str]:
    """Files that a hub may have besides."""
    return {
        REPORT,
        *(
            f"data/phase_f/dose_{dose}/{view}/{split}/{arm.history}"
            for arm in ITERATIVE
            if arm.name in arms
            for split in SPLITS
        ),
        *(f"analysis/dose_{dose}/{view}/{split}/scoring.json" for split in SPLITS),
    }
