"""Our metrics against what independent implementations said about the same pixels.

The answers are stored, because the programs that gave them are not installed here; ``make oracles``
asks them again and rewrites the file (``oracles/ask.py``, docs/metrics.md).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fly64_assets.ptychography.scoring import metrics
from fly64_assets_tests.ptychography.oracle_pairs import ANSWERS, Pair, reproducible_pairs

DOUBLE = 1e-9
"""What summing in another order and the ten stored decimals can change."""
SINGLE = 1e-4
"""Of an oracle that computes in single precision, or has its window in it."""
BORDER = "mirrored border"
"""Marks answers that count windows which our definition leaves out."""
TOLERANCES = {
    ("tensorflow", "psnr"): SINGLE,
    ("tensorflow", "ssim"): SINGLE,
    ("tensorflow", "ms_ssim"): SINGLE,
    ("torchmetrics", "psnr"): SINGLE,
    ("pytorch-msssim", "ssim"): SINGLE,
    ("pytorch-msssim", "ms_ssim"): SINGLE,
}
"""By oracle and metric; `DOUBLE` for all others."""

PAIRS = {pair.name: pair for pair in reproducible_pairs()}
ORACLES = json.loads(ANSWERS.read_text("utf-8"))


def ours(pair: Pair) -> dict[str, Any]:
    truth, image, span = pair.truth, pair.image, metrics.data_range(pair.truth)
    curve = metrics.frc(truth, image, 0.5)
    return {
        "mae": metrics.mae(truth, image),
        "mse": metrics.mse(truth, image),
        "psnr": metrics.psnr(truth, image, data_range=span),
        "ssim": metrics.ssim(truth, image, data_range=span),
        "ms_ssim": metrics.ms_ssim(truth, image, data_range=span).value,
        "frc": curve.correlation,
        "frc50": curve.frc50,
    }


def test_the_answers_are_about_these_pixels_and_about_every_metric() -> None:
    assert {name: pair.sha256 for name, pair in PAIRS.items()} == {
        name: known["sha256"] for name, known in ORACLES["pairs"].items()
    }
    asked: dict[str, set[str]] = {}
    for known in ORACLES["pairs"].values():
        for oracle, answers in known["answers"].items():
            for metric in answers:
                asked.setdefault(metric.partition(",")[0], set()).add(oracle)
    assert set(asked) == {*metrics.METRICS, "frc"}
    # scikit-image computes our SSIM: it takes others to confirm that.
    assert len(asked["ssim"]) >= 3 and len(asked["ms_ssim"]) >= 3
    assert {oracle for who in asked.values() for oracle in who} == set(ORACLES["versions"])


@pytest.mark.parametrize("name", PAIRS)
def test_our_metrics_are_those_of_the_oracles(name) -> None:
    mine, compared = ours(PAIRS[name]), 0
    for oracle, answers in ORACLES["pairs"][name]["answers"].items():
        for metric, answer in answers.items():
            if BORDER in metric:
                continue
            found = np.atleast_1d(mine[metric])[: np.size(answer)]
            tolerance = TOLERANCES.get((oracle, metric), DOUBLE)
            np.testing.assert_allclose(found, answer, rtol=0, atol=tolerance, err_msg=oracle)
            compared += 1
    assert compared >= 14
