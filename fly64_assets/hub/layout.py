"""Names of files inside a hub, where a JSON contract refers to them."""

from __future__ import annotations

METRICS_SUMMARY = "analysis/metrics_summary.json"
PHASE_F_MANIFEST = "data/phase_f/reconstruction_manifest.json"


def phase_c_npz(dose: int, split: str) -> str:
    return f"data/phase_c/dose_{dose}/patched_{split}.npz"


def checkpoint(dose: int, view: str, model: str) -> str:
    return f"data/phase_e/dose_{dose}/{view}/{model}/model.keras"


def comparison_file(dose: int, view: str, split: str, name: str) -> str:
    return f"analysis/dose_{dose}/{view}/{split}/{name}"
