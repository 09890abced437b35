"""Where each file of a condition lies inside its hub: the one resolver of hub paths.

The store mirrors the hub; only what a hub has once, and the store once a condition, moves.
"""

from __future__ import annotations

from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import BY_KEY, Product, log_file

ONCE = "analysis/dose_{dose}/{view}"
"""The store's folder of what a hub has once; its files lie in ``analysis`` there, but for these:"""
FOLDERS = {
    "run_manifest.json": "data/phase_c",
    "metrics_bundle.json": "data/phase_d/dose_{dose}/{view}",
    "training_manifest.json": "data/phase_e",
    "reconstruction_manifest.json": "data/phase_f",
    "summary.md": "summary",
}
LOGS = "cli/dose_{dose}/{view}"

RO_CRATE = "ro-crate-metadata.json"
VERIFICATION_REPORT = "analysis/verification_report.json"
METRICS_SUMMARY = "analysis/metrics_summary.json"
STATISTICS = "analysis/comparison_statistics.csv"
METRICS_DELTA_SUMMARY = "analysis/metrics_delta_summary.json"
PHASE_F_MANIFEST = "data/phase_f/reconstruction_manifest.json"


def phase_c_npz(dose: int, split: str) -> str:
    return f"data/phase_c/dose_{dose}/patched_{split}.npz"


def phase_d_npz(dose: int, view: str, split: str) -> str:
    return f"data/phase_d/dose_{dose}/{view}/{split}.npz"


def reconstruction(dose: int, view: str, split: str, asset: str) -> str:
    return f"data/phase_f/dose_{dose}/{view}/{split}/{asset}.npz"


def step_log(*key: str) -> str:
    """Log of the step that made a scored product."""
    return f"cli/{log_file(BY_KEY[key])}"


def checkpoint(dose: int, view: str, model: str) -> str:
    return f"data/phase_e/dose_{dose}/{view}/{model}/model.keras"


def comparison_file(dose: int, view: str, split: str, name: str) -> str:
    return f"analysis/dose_{dose}/{view}/{split}/{name}"


def hub_path(item: Product, condition: Condition, file: str) -> str | None:
    """Path of a product's file relative to the hub, POSIX; None for what is not part of one.

    Args:
        item: the product that owns ``file``.
        condition: dose and view of the hub.
    """
    if item.per == "study":
        return None  # the specimen is in every dataset, as objectGuess and probeGuess
    folder = item.folder
    if folder == ONCE:
        folder = FOLDERS.get(file, "analysis")
    elif folder == LOGS:
        folder = "cli"
    return f"{folder.format(dose=condition.dose, view=condition.view)}/{file}"
