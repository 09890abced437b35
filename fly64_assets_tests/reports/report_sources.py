"""The JSON contents of a finished condition, made by the functions that make the real ones."""

from __future__ import annotations

import copy

from fly64_assets.documents.comparison_manifest import ComparisonStatus, comparison_manifest
from fly64_assets.documents.deltas import intervals, metrics_delta_summary
from fly64_assets.documents.metrics_summary import metrics_summary
from fly64_assets.ptychography.scoring.comparison import ROW_NAMES, ScoreRow
from fly64_assets.ptychography.scoring.statistics import Statistic
from fly64_assets.reports.condition.texts import Sources
from fly64_assets.study.model import BOTH, MODELS, SPLITS

MS_SSIM = {
    ("train", "PtychoPINN"): (0.91, 0.9312345),
    ("test", "PtychoPINN"): (0.90, 0.9211111),
    ("train", "Baseline"): (0.85, 0.79),
    ("test", "Baseline"): (0.84, 0.78),
    ("train", "PtyChi"): (0.70, 0.95),
    ("test", "PtyChi"): (0.69, 0.96),
}
MAE = {
    ("train", "PtychoPINN"): (0.05, 0.0712),
    ("test", "PtychoPINN"): (0.06, 0.0798),
    ("train", "Baseline"): (0.04, 0.091),
    ("test", "Baseline"): (0.05, 0.092),
    ("train", "PtyChi"): (0.07, 0.062),
    ("test", "PtyChi"): (0.08, 0.061),
}
"""(split, model) -> amplitude, phase."""
VIEWS = {
    "train": {
        "n_images_total": 5152,
        "n_images_kept": 1264,
        "n_centres": 159,
        "target_overlap": 0.7,
        "reached_overlap": 0.7012,
        "total_photons": 1264123.4,
        "photons_per_px2": 91.26,
    },
    "test": {
        "n_images_total": 5152,
        "n_images_kept": 1271,
        "n_centres": 158,
        "target_overlap": 0.7,
        "reached_overlap": 0.6987,
        "total_photons": 1271567.8,
        "photons_per_px2": 92.34,
    },
}


def rows(split: str, seconds: float = 1.5) -> list[ScoreRow]:
    """A split's table: MS-SSIM and MAE as above, the rest told apart by their place."""
    found = []
    for m, model in enumerate(MODELS):
        for n, name in enumerate(ROW_NAMES):
            if name in ("ms_ssim", "mae"):
                pair = {"ms_ssim": MS_SSIM, "mae": MAE}[name][split, model]
            elif name == "frc50_censored":
                pair = (0.0, 1.0)
            elif name.startswith(("registration", "computation")):
                value = seconds if name == "computation_time_s" else float(m == 0)
                found.append(ScoreRow(model, name, value=value))
                continue
            else:
                base = 0.1 + 0.01 * n + 0.1 * m + (0.003 if split == "test" else 0.0)
                pair = (base, base + 0.0012)
            found.append(ScoreRow(model, name, amplitude=pair[0], phase=pair[1]))
    return found


REACH = {"amplitude": 0.015, "phase": 0.02}
"""Half the width of every interval of a difference."""


def statistics(split: str = "test") -> list[Statistic]:
    """Scores and differences of three trainings, whose first has the numbers of the tables.

    Settled are all of MS-SSIM, and PtychoPINN's MAE of the amplitude against PtyChi's.
    """
    splits = SPLITS if split == BOTH else (split,)
    found = []
    subject, *others = MODELS
    compared = [*((model, "") for model in MODELS), *((subject, other) for other in others)]
    for model, other in compared:
        for metric, table in (("mae", MAE), ("ms_ssim", MS_SSIM), ("ssim", MS_SSIM)):
            for c, component in enumerate(REACH):
                values = [table[s, model][c] - (table[s, other][c] if other else 0) for s in splits]
                value = sum(values) / len(values)
                mean = value - 0.0004
                ends = (mean - REACH[component], mean + REACH[component])
                settled = not ends[0] <= 0 <= ends[1] if other else None
                found.append(
                    Statistic(
                        *(model, other, metric, component, value, mean, *ends, settled),
                        "space and training seed",
                        3,
                    )
                )
    return found


def sources(dose: int = 1000, view: str = "dense", seconds: float = 1.5) -> Sources:
    """A finished condition."""
    statuses = {split: ComparisonStatus(None) for split in SPLITS}
    manifest = comparison_manifest(dose, view, statuses, ms_ssim_sigma_px=1.0)
    compliance = {
        split: {
            "npz_path": f"data/phase_c/dose_{dose}/patched_{split}.npz",
            "has_metadata": True,
            "has_canonical_transform": True,
            "compliant": True,
        }
        for split in SPLITS
    }
    tables = {split: rows(split, seconds) for split in SPLITS}
    summary = metrics_summary(manifest, tables, VIEWS, compliance)
    sure = {split: statistics(split) for split in (*SPLITS, BOTH)}
    deltas = metrics_delta_summary(
        summary,
        summary_sha256="ab" * 32,
        generated_at="2026-01-02T03:04:05Z",
        intervals=intervals(sure, confidence=0.95),
    )
    return Sources(manifest, summary, deltas, sure, copy.deepcopy(VIEWS))
