"""Numbers as text: decimals, signs, thousands, and what stands for a number that is not there."""

from __future__ import annotations

import pytest

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.metrics import METRICS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.score(0.88923, "aggregate", "ms_ssim"), "0.889"),
        (numbers.score(0.88923, "job", "mae"), "0.8892"),
        (numbers.score(0.07491, "brief", "mae"), "0.0749"),
        (numbers.score(6.88, "brief", "computation_time_s"), "6.9"),
        (numbers.score(float("inf"), "job", "psnr"), "inf"),
        (numbers.score(None, "job", "psnr"), "not defined"),
        (numbers.delta(0.02, "ms_ssim"), "+0.020"),
        (numbers.delta(-0.0032407, "mae"), "-0.003241"),
        (numbers.delta(0.0, "mae"), "+0.000000"),
        (numbers.delta(None, "mae"), "N/A"),
        (numbers.delta(0.0204, "mae", "brief_delta"), "+0.020"),
        (numbers.count(10304), "10,304"),
        (numbers.photons(1171578.01), "1,171,578"),
        (numbers.photons(None), "N/A"),
        (numbers.photon_density(8541.04), "8,541.0"),
        (numbers.overlap(0.70038), "0.700"),
        (numbers.overlap(None), "N/A"),
        (numbers.percent(1175, 2011), "58.4 %"),
        (numbers.percent(1, 0), "N/A"),
        (numbers.yes_no(True), "yes"),
        (numbers.yes_no(0.0), "no"),
        (numbers.yes_no(None), "N/A"),
    ],
)
def test_text_of_a_number(text, expected):
    assert text == expected


def test_labels_are_the_titles_of_the_metrics():
    assert {name: METRICS[name].title for name in numbers.LABELS} == numbers.LABELS
