"""``comparison_manifest.json``: which comparisons ran, how they ended, where their logs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fly64_assets.study import hub_layout as layout
from fly64_assets.study.model import SPLITS


@dataclass(frozen=True)
class ComparisonStatus:
    """How one split's comparison ended; ``error`` is None when it succeeded."""

    error: str | None


def comparison_manifest(
    dose: int, view: str, statuses: Mapping[str, ComparisonStatus], *, ms_ssim_sigma_px: float
) -> dict[str, Any]:
    """Return the manifest of one condition, both splits in it, train before test.

    Args:
        dose: photons per exposure.
        view: the view's name.
        statuses: split -> how its comparison ended; both splits.
        ms_ssim_sigma_px: pre-smoothing that the scores used.
    """
    jobs, results = [], []
    for split in SPLITS:
        name = {"dose": dose, "view": view, "split": split}
        jobs.append(
            {
                **name,
                "phase_c_npz": layout.phase_c_npz(dose, split),
                "pinn_checkpoint": layout.checkpoint(dose, view, "PtychoPINN"),
                "baseline_checkpoint": layout.checkpoint(dose, view, "Baseline"),
                "phase_f_manifest": layout.PHASE_F_MANIFEST,
                "ms_ssim_sigma": ms_ssim_sigma_px,
                "skip_registration": False,
                "register_ptychi_only": False,
            }
        )
        error = statuses[split].error
        result = {
            **name,
            "returncode": 0 if error is None else 1,
            "log_path": layout.comparison_file(dose, view, split, "comparison.log"),
        }
        results.append(result if error is None else {**result, "error": error})
    n_failed = sum(result["returncode"] != 0 for result in results)
    return {
        "n_jobs": len(jobs),
        "filters": {"dose": dose, "view": view, "split": None},
        "jobs": jobs,
        "execution_results": results,
        "n_executed": len(results),
        "n_success": len(results) - n_failed,
        "n_failed": n_failed,
    }
