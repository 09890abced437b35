"""Checks of phase F: the iterative reconstructions and their manifest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import iterative
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.of_products import register
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.reconstructions import LEAST_SPREAD
from fly64_assets.study.arms import Iterative
from fly64_assets.study.model import SPLITS

FOLDER = "data/phase_f/dose_{dose}/{view}"


def reconstruction(hub: Hub, arm: Iterative, split: str) -> str:
    return f"{hub.named(FOLDER)}/{split}/{arm.asset}_reconstruction.npz"


def each(hub: Hub) -> list[tuple[Iterative, str]]:
    """Every iterative arm with both splits, in the order of the manifest."""
    return [(arm, split) for arm in iterative(hub) for split in SPLITS]


register("f_reconstructions", "reconstruction", "loss", "effective_settings", "provenance")


def image_problem(image: np.ndarray, shape: tuple[int, ...]) -> str:
    """Why an array is no reconstruction of that shape; empty when it is one."""
    if image.dtype != np.complex64 or image.shape != shape:
        return f"is {image.dtype} {image.shape}, expected complex64 {shape}"
    if not np.isfinite(image).all():
        return "is not finite everywhere"
    spread = float(np.std(image))
    return "" if spread > LEAST_SPREAD else f"is constant (standard deviation {spread:.3g})"


@check(
    "phase_f.manifest",
    contract.RECONSTRUCTION_MANIFEST,
    "both splits ran and succeeded, each with its log",
)
def manifest(hub: Hub) -> Iterator[Finding]:
    results = [
        {
            "dose": hub.dose,
            "view": hub.view,
            "split": split,
            "returncode": 0,
            "log_path": f"cli/phase_f_{split}_{arm.asset}_reconstruction.log",
        }
        for arm, split in each(hub)
    ]
    jobs = [
        {
            "dose": hub.dose,
            "view": hub.view,
            "split": split,
            "algorithm": str(hub.arrays(reconstruction(hub, arm, split), "algorithm")["algorithm"]),
            "input": hub.overlap_view(split),
            "output": reconstruction(hub, arm, split),
        }
        for arm, split in each(hub)
    ]
    expected = {"total_jobs": len(jobs), "jobs": jobs, "execution_results": results}
    found = hub.json(contract.RECONSTRUCTION_MANIFEST)
    yield from compare(contract.RECONSTRUCTION_MANIFEST, expected, found)
