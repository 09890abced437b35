"""The published study's own MS-SSIM, and that it stays out of tables that do not ask for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fly64_assets.errors import InputError
from fly64_assets.ptychography.scoring import comparison as scoring
from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.comparison import REFERENCE, ROW_NAMES, Area, ScoreRow, score
from fly64_assets.ptychography.scoring.reference_ms_ssim import (
    DEFINITION,
    SMALLEST_TERM,
    reference_ms_ssim,
)
from fly64_assets.study.model import ScoringSettings
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"
AREA = Area(134, 197, 36, 196)
OFF = ScoringSettings(
    ms_ssim_sigma_px=1.0,
    frc_threshold=0.5,
    stitch_crop_px=20,
    max_shift_px=4.0,
    reference_ms_ssim=False,
)
ON = OFF.model_copy(update={"reference_ms_ssim": True})
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
with np.load(SPECIMEN) as _specimen:
    TRUTH = _specimen["objectGuess"].astype(np.complex128)


def noisy(sigma: float) -> np.ndarray:
    real, imaginary = np.random.default_rng(3).standard_normal((2, *TRUTH.shape))
    return TRUTH + sigma * (real + 1j * imaginary)


def window_by_window(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of uniform 7 px windows written out."""
    span = max(np.ptp(a), np.ptp(b))
    value, levels = 1.0, 0
    for weight in WEIGHTS:
        if min(a.shape) < 7:
            break
        similar = []
        for y in range(a.shape[0] - 6):
            for x in range(a.shape[1] - 6):
                one, two = a[y : y + 7, x : x + 7].ravel(), b[y : y + 7, x : x + 7].ravel()
                (var_a, both), (_, var_b) = np.cov(one, two)
                c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
                luminance = (2 * one.mean() * two.mean() + c1) / (
                    one.mean() ** 2 + two.mean() ** 2 + c1
                )
                similar.append(luminance * (2 * both + c2) / (var_a + var_b + c2))
        value *= np.mean(similar) ** weight
        levels += 1
        a, b = a[::2, ::2], b[::2, ::2]
    assert levels >= 2
    return value


@pytest.mark.parametrize("shape", [(13, 17), (25, 31)])
def test_it_is_the_definition_window_by_window(shape) -> None:
    rng = np.random.default_rng(shape[0])
    truth = 2 + gaussian_filter(rng.standard_normal(shape), 2.0)
    image = truth + 0.05 * rng.standard_normal(shape)
    assert reference_ms_ssim(truth, image) == pytest.approx(window_by_window(truth, image))


def test_both_are_smoothed_before_the_larger_range_is_taken() -> None:
    truth, image = np.abs(TRUTH[AREA.slices]), np.abs(noisy(0.2)[AREA.slices])
    by_hand = reference_ms_ssim(*(gaussian_filter(array, 1.0) for array in (truth, image)))
    assert reference_ms_ssim(truth, image, sigma_px=1.0) == pytest.approx(by_hand)
    assert by_hand > reference_ms_ssim(truth, image) + 0.05
    assert reference_ms_ssim(truth, image) == pytest.approx(reference_ms_ssim(image, truth))


def test_equal_images_give_1_and_inverted_contrast_the_smallest_terms() -> None:
    truth = np.abs(TRUTH[:96, :96])
    assert reference_ms_ssim(truth, truth) == 1.0
    noise = np.random.default_rng(0).standard_normal((8, 8))
    # One level, of a negative mean: its weight is not renormalised.
    assert reference_ms_ssim(9 + noise, 9 - noise) == pytest.approx(SMALLEST_TERM ** WEIGHTS[0])
    # Around zero luminance is negative as well: the sign is lost, which ours keeps.
    opposite = noise - noise.mean() + 1, -(noise - noise.mean() + 1)
    assert reference_ms_ssim(*opposite) > 0.8


def test_arrays_below_its_window_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than 7 px"):
        reference_ms_ssim(np.eye(6), np.eye(6))


def test_only_a_study_that_asks_gets_the_row_and_nothing_else_moves() -> None:
    image = noisy(0.1)
    without, asked = (
        score({"PtyChi": image}, TRUTH, AREA, settings, {"PtyChi": 1.0}).rows
        for settings in (OFF, ON)
    )
    assert [row.metric for row in without] == list(ROW_NAMES)
    assert asked[:-1] == without
    row = asked[-1]
    assert (row.metric, row.value) == (REFERENCE, None)
    aligned = score({"PtyChi": image}, TRUTH, AREA, ON, {"PtyChi": 1.0}).models["PtyChi"].aligned
    truth, found = TRUTH[AREA.slices], aligned.object.astype(np.complex128)
    smoothed = reference_ms_ssim(np.abs(truth), np.abs(found), sigma_px=1.0)
    assert row.amplitude == pytest.approx(smoothed)
    turns = [phase / (2 * np.pi) + 0.5 for phase in scoring.phases(truth, found)]
    assert row.phase == pytest.approx(reference_ms_ssim(*turns))
    ours = next(row for row in without if row.metric == "ms_ssim")
    assert abs(row.amplitude - ours.amplitude) > 0.005 and row.phase < ours.phase - 0.02


def test_the_row_is_read_and_held_against_its_range(tmp_path) -> None:
    path = tmp_path / "comparison_metrics.csv"
    rows = score({"PtyChi": noisy(0.1)}, TRUTH, AREA, ON, {"PtyChi": 1.0}).rows
    scoring.write_csv(path, rows)
    assert scoring.read_csv(path)[-1].metric == REFERENCE == DEFINITION.name
    assert tuple(row.metric for row in rows) == scoring.row_names(ON)
    scoring.write_csv(path, [replace(rows[-1], phase=1.2)])
    with pytest.raises(InputError, match="reference_ms_ssim phase is 1.200000, which"):
        scoring.read_csv(path)
    scoring.write_csv(path, [ScoreRow("PtyChi", REFERENCE, 0.5, 0.5, 0.5)])
    with pytest.raises(InputError, match="that column does not apply"):
        scoring.read_csv(path)


def test_its_name_is_no_name_of_a_metric_that_is_judged_by() -> None:
    assert REFERENCE not in metrics.METRICS and REFERENCE not in ROW_NAMES
