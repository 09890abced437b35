"""Area, phase convention, score table and its CSV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fly64_assets.errors import InfeasibleView, InputError
from fly64_assets.ptychography.scoring import comparison as scoring
from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.alignment import DegenerateReconstruction
from fly64_assets.ptychography.scoring.comparison import (
    ROW_NAMES,
    Area,
    ScoreRow,
    score,
    scoring_area,
)
from fly64_assets.study.model import ScoringSettings
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"
AREA = Area(134, 197, 36, 196)
SETTINGS = ScoringSettings(
    ms_ssim_sigma_px=1.0,
    frc_threshold=0.5,
    stitch_crop_px=20,
    max_shift_px=4.0,
    reference_ms_ssim=False,
)


def load_truth() -> np.ndarray:
    with np.load(SPECIMEN) as specimen:
        return specimen["objectGuess"]


TRUTH = load_truth()


def noisy(sigma: float, seed: int = 0) -> np.ndarray:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *TRUTH.shape))
    return TRUTH + sigma * (real + 1j * imaginary)


def scored(**reconstructions: np.ndarray) -> scoring.ScoreTable:
    times = {model: 1.5 + index for index, model in enumerate(reconstructions)}
    return score(reconstructions, TRUTH, AREA, SETTINGS, times)


def by_name(table: scoring.ScoreTable, model: str) -> dict[str, ScoreRow]:
    return {row.metric: row for row in table.rows if row.model == model}


@pytest.fixture(scope="module")
def table() -> scoring.ScoreTable:
    """A good, a blurred and a distorted reconstruction, not in alphabetical order."""
    blurred = gaussian_filter(TRUTH.real, 2) + 1j * gaussian_filter(TRUTH.imag, 2)
    plane = np.exp(1j * 0.01 * np.indices(TRUTH.shape)[0])
    return scored(PtychoPINN=noisy(0.05), PtyChi=0.6 * plane * noisy(0.05, 1), Baseline=blurred)


# The area

CENTRES = np.array([[120.4, 36.2], [140.0, 195.9], [198.0, 80.0], [133.0, 40.0]])


def test_the_area_is_the_centres_box_less_the_strip_along_the_split_line() -> None:
    # Line at 116, D = 35: rows from 133.5 on; the box ends at row 198 and column 195.9.
    area = scoring_area(CENTRES, "test", 116.0, 35.0)
    assert area == Area(134, 199, 37, 196)
    assert area.shape == (65, 159)
    assert area.slices == (slice(134, 199), slice(37, 196))
    np.testing.assert_array_equal(area.as_array(), [134, 199, 37, 196])
    assert area.as_array().dtype == np.int64


def test_the_train_half_is_the_mirror_image_of_the_test_half() -> None:
    mirrored = CENTRES * [-1, 1] + [231, 0]
    test = scoring_area(CENTRES, "test", 115.5, 35.0)
    train = scoring_area(mirrored, "train", 115.5, 35.0)
    assert (train.y0, train.y1) == (232 - test.y1, 232 - test.y0)
    assert (train.x0, train.x1) == (test.x0, test.x1)


def test_a_strip_that_the_centres_keep_clear_of_changes_nothing() -> None:
    far = CENTRES[CENTRES[:, 0] > 138]
    assert scoring_area(far, "test", 116.0, 35.0) == scoring_area(far, "test", 116.0, 1.0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), diameter=st.floats(1, 60))
def test_the_area_holds_every_pixel_of_the_box_beyond_the_strip_and_no_other(
    seed, diameter
) -> None:
    centres = np.random.default_rng(seed).uniform([116, 30], [232, 200], (40, 2))
    area = scoring_area(centres, "test", 116.0, diameter)
    y, x = np.indices((232, 232))
    (y_min, x_min), (y_max, x_max) = centres.min(0), centres.max(0)
    expected = (y >= max(y_min, 116 + diameter / 2)) & (y <= y_max) & (x >= x_min) & (x <= x_max)
    actual = np.zeros((232, 232), bool)
    actual[area.slices] = True
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("bottom", [126.0, 130.0, 143.9])
def test_an_area_below_the_window_is_refused_with_its_numbers(bottom) -> None:
    centres = np.array([[118.0, 30.0], [bottom, 90.0]])
    with pytest.raises(InfeasibleView, match=r"test: .* x 61 px from 2 group .*need 11 px a side"):
        scoring_area(centres, "test", 116.0, 35.0)
    assert scoring_area([[134.0, 30.0], [144.0, 40.0]], "test", 116.0, 35.0).shape == (11, 11)


def test_what_is_no_split_or_no_centre_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        scoring_area(CENTRES, "both", 116.0, 35.0)
    with pytest.raises(ValueError, match="n > 0"):
        scoring_area(np.zeros((0, 2)), "test", 116.0, 35.0)


# The phase convention


def test_phases_never_jump_where_the_image_is_near_the_truth() -> None:
    ramp = np.exp(1j * np.linspace(-9, 9, 200))[None]
    truth_phase, image_phase = scoring.phases(ramp, ramp * np.exp(0.3j))
    np.testing.assert_allclose(image_phase - truth_phase, 0.3, atol=1e-12)
    assert np.abs(truth_phase).max() <= np.pi


def test_the_truths_phase_is_relative_to_its_mean() -> None:
    truth = TRUTH[AREA.slices].astype(complex)
    for turn in (0.0, 1.0, 3.0):
        phase, _ = scoring.phases(truth * np.exp(1j * turn), truth)
        expected = np.angle(truth) - np.angle(truth.mean())
        np.testing.assert_allclose(phase, expected, atol=1e-9)


# The table


def test_the_table_has_every_row_of_every_model_in_order(table) -> None:
    assert [row.model for row in table.rows[:: len(ROW_NAMES)]] == [
        "PtychoPINN",
        "PtyChi",
        "Baseline",
    ]
    assert [row.metric for row in table.rows] == list(ROW_NAMES) * 3
    assert list(ROW_NAMES) == [
        "mae",
        "mse",
        "psnr",
        "ssim",
        "ms_ssim",
        "mae_strict",
        "mse_strict",
        "psnr_strict",
        "ssim_strict",
        "ms_ssim_strict",
        "frc50",
        "frc50_censored",
        "registration_offset_dy",
        "registration_offset_dx",
        "registration_applied",
        "computation_time_s",
    ]
    for row in table.rows:
        applies_to_value = row.metric in scoring.RECORDED
        assert (row.value is not None) == applies_to_value
        assert (row.amplitude is None) == (row.phase is None) == applies_to_value


def test_the_values_are_those_of_the_metrics_on_the_aligned_objects(table) -> None:
    truth = TRUTH[AREA.slices].astype(complex)
    for model, detail in table.models.items():
        rows = by_name(table, model)
        for suffix, image in (("", detail.aligned.object), ("_strict", detail.aligned.strict)):
            amplitude = np.abs(image.astype(complex))
            assert rows["mae" + suffix].amplitude == pytest.approx(
                np.mean(np.abs(np.abs(truth) - amplitude)), rel=1e-6
            )
            error = np.angle(image * truth.conj())
            assert rows["mae" + suffix].phase == pytest.approx(np.abs(error).mean(), rel=1e-6)
            assert rows["mse" + suffix].phase == pytest.approx(np.mean(error**2), rel=1e-6)
            span = np.ptp(np.angle(truth * np.exp(-1j * np.angle(truth.mean()))))
            assert rows["psnr" + suffix].phase == pytest.approx(
                10 * np.log10(span**2 / np.mean(error**2)), rel=1e-6
            )
        assert rows["frc50"].phase == detail.frc["phase"].frc50
        assert rows["ms_ssim"].amplitude == detail.ms_ssim["ms_ssim", "amplitude"].value
        assert detail.ms_ssim["ms_ssim_strict", "phase"].scales == 3
        assert rows["computation_time_s"].value in (1.5, 2.5, 3.5)
    assert table.truth.dtype == np.complex64 and table.truth.shape == AREA.shape
    assert table.data_ranges["amplitude"] == metrics.data_range(np.abs(truth))


def test_a_plane_and_a_scale_are_forgiven_but_not_by_the_strict_rows(table) -> None:
    rows = by_name(table, "PtyChi")
    assert table.models["PtyChi"].aligned.amplitude_scale == pytest.approx(1 / 0.6, rel=0.01)
    assert rows["ms_ssim"].phase > 0.97 and rows["ms_ssim"].amplitude > 0.95
    assert rows["mae_strict"].phase > 3 * rows["mae"].phase
    assert rows["mae_strict"].amplitude > 5 * rows["mae"].amplitude
    clean = by_name(table, "PtychoPINN")
    assert clean["mae_strict"].phase == pytest.approx(clean["mae"].phase, rel=0.05)


def test_a_better_reconstruction_scores_better(table) -> None:
    good, blurred = (by_name(table, model) for model in ("PtychoPINN", "Baseline"))
    for name, definition in metrics.METRICS.items():
        if name != "frc50":
            assert definition.is_better(good[name].phase, blurred[name].phase), name
            assert definition.is_better(good[name].amplitude, blurred[name].amplitude), name
    assert table.warnings == ()


def test_the_global_phase_changes_no_score() -> None:
    image = noisy(0.1)
    rows = [scored(PtyChi=image * np.exp(1j * turn)).rows for turn in (0, 2.5)]
    for first, second in zip(*rows, strict=True):
        for column in ("amplitude", "phase", "value"):
            expected, actual = getattr(first, column), getattr(second, column)
            assert (expected is None and actual is None) or actual == pytest.approx(
                expected, abs=1e-5
            )


def test_scoring_the_truth_itself_reaches_the_best_of_every_metric() -> None:
    rows = by_name(scored(PtyChi=TRUTH), "PtyChi")
    assert rows["mae"].phase < 1e-6 and rows["psnr"].phase > 110
    for name in ("ssim", "ms_ssim", "frc50", "frc50_censored", "ms_ssim_strict"):
        assert rows[name].amplitude == pytest.approx(1) and rows[name].phase == pytest.approx(1)


def test_a_shift_out_of_bounds_is_labelled_and_warned_of() -> None:
    table = scored(PtychoPINN=noisy(0.02), PtyChi=np.roll(TRUTH, 7, axis=1))
    rows = by_name(table, "PtyChi")
    assert rows["registration_applied"].value == 0
    assert rows["registration_offset_dx"].value == pytest.approx(-7, abs=0.5)
    (warning,) = (w for w in table.warnings if w.kind == "registration_not_applied")
    assert warning.model == "PtyChi" and "-6." in warning.message or "-7." in warning.message
    assert by_name(table, "PtychoPINN")["registration_applied"].value == 1


def test_a_clamped_term_is_warned_of_with_its_terms() -> None:
    # Contrast turned around: the structure is anticorrelated, which a metric clamps.
    inverted = np.exp(-1j * np.angle(TRUTH)) * (2 - np.abs(TRUTH))
    table = scored(Baseline=inverted)
    result = table.models["Baseline"].ms_ssim["ms_ssim", "phase"]
    assert result.n_clamped > 0
    assert by_name(table, "Baseline")["ms_ssim"].phase == 0
    (warning,) = (w for w in table.warnings if (w.metric, w.component) == ("ms_ssim", "phase"))
    assert warning.kind == "negative_ms_ssim_term"
    assert f"{result.n_clamped} of 3 terms" in warning.message
    assert f"{result.terms[0]:.3f}" in warning.message


def test_a_degenerate_reconstruction_names_its_model() -> None:
    with pytest.raises(DegenerateReconstruction, match="^Baseline: .* zero in all 10080"):
        scored(PtychoPINN=noisy(0.1), Baseline=np.zeros_like(TRUTH))


@pytest.mark.parametrize(
    ("models", "times", "message"),
    [
        (["Pty-chi (pty-chi)"], ["Pty-chi (pty-chi)"], "expected one or more of"),
        ([], [], "expected one or more of"),
        (["PtyChi"], ["PtyChi", "Baseline"], "computation times are for"),
        (["PtyChi", "Baseline"], ["PtyChi"], "computation times are for"),
    ],
)
def test_unknown_or_incomplete_models_are_refused(models, times, message) -> None:
    with pytest.raises(ValueError, match=message):
        score(dict.fromkeys(models, TRUTH), TRUTH, AREA, SETTINGS, dict.fromkeys(times, 1.0))


# The CSV


def test_a_table_survives_writing_and_reading(tmp_path, table) -> None:
    path = tmp_path / "comparison_metrics.csv"
    scoring.write_csv(path, table.rows)
    read = scoring.read_csv(path)
    assert [(row.model, row.metric) for row in read] == [
        (row.model, row.metric) for row in table.rows
    ]
    for written, again in zip(table.rows, read, strict=True):
        for column in ("amplitude", "phase", "value"):
            expected = getattr(written, column)
            actual = getattr(again, column)
            assert (actual is None) == (expected is None)
            assert expected is None or actual == pytest.approx(expected, abs=5.1e-7)
    scoring.write_csv(tmp_path / "again.csv", read)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_the_bytes_are_as_published(tmp_path) -> None:
    path = tmp_path / "table.csv"
    scoring.write_csv(
        path,
        [
            ScoreRow("PtychoPINN", "mae", 0.1234567, 2.0),
            ScoreRow("PtychoPINN", "psnr", float("inf"), -1.5),
            ScoreRow("PtyChi", "registration_offset_dy", value=-1e-9),
        ],
    )
    assert path.read_bytes() == (
        b"model,metric,amplitude,phase,value\n"
        b"PtychoPINN,mae,0.123457,2.000000,\n"
        b"PtychoPINN,psnr,inf,-1.500000,\n"
        b"PtyChi,registration_offset_dy,,,0.000000\n"
    )
    assert scoring.read_csv(path)[1].amplitude == float("inf")


def test_a_value_that_is_not_a_number_is_never_written(tmp_path) -> None:
    with pytest.raises(ValueError, match="Baseline ssim is NaN"):
        scoring.write_csv(tmp_path / "t.csv", [ScoreRow("Baseline", "ssim", 0.1, float("nan"))])
    assert not (tmp_path / "t.csv").exists()


HEADER = "model,metric,amplitude,phase,value\n"
MAE = "PtyChi,mae,0.100000,0.200000,\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "header: ''"),
        ("model,metric,phase,amplitude,value\n" + MAE, "header: 'model,metric,phase"),
        ((HEADER + MAE).replace("\n", "\r\n"), "header"),
        (HEADER + MAE.rstrip(), "line 2: is cut off"),
        (HEADER + MAE + MAE, "line 3: PtyChi mae appears twice"),
        (HEADER + "Pty-chi (pty-chi),mae,0.1,0.2,\n", "line 2: model 'Pty-chi .* PtyChi"),
        (HEADER + MAE.replace("mae", "maa"), "line 2: metric 'maa'"),
        (HEADER + MAE.replace("mae", "frc50_strict"), "line 2: metric 'frc50_strict'"),
        (HEADER + "PtyChi,mae,0.100000,0.200000\n", "line 2: 4 columns, expected 5"),
        (HEADER + "PtyChi,mae,0.100000,,\n", "line 2: mae phase '' is not a number"),
        (HEADER + "PtyChi,mae,0.1,0.2,\n", "line 2: mae amplitude '0.1' is not a number with six"),
        (HEADER + "PtyChi,mae,nan,0.200000,\n", "line 2: mae amplitude 'nan'"),
        (HEADER + "PtyChi,mae,0.100000,0.200000,0.300000\n", "mae has value '0.300000'"),
        (HEADER + "PtyChi,mae,-0.100000,0.200000,\n", "mae amplitude is -0.100000, which"),
        (HEADER + "PtyChi,mae,inf,0.200000,\n", "mae amplitude is inf, which"),
        (HEADER + "PtyChi,ms_ssim_strict,1.200000,0.200000,\n", "ms_ssim_strict amplitude is"),
        (HEADER + "PtyChi,frc50_censored,0.500000,0.000000,\n", "frc50_censored amplitude is"),
        (HEADER + "PtyChi,registration_applied,,,0.500000\n", "registration_applied value is"),
        (HEADER + "PtyChi,computation_time_s,,,-1.000000\n", "computation_time_s value is"),
        (HEADER + "PtyChi,computation_time_s,,,inf\n", "computation_time_s value is inf"),
        (HEADER + "\n", "line 2: 1 columns"),
    ],
)
def test_a_broken_table_is_refused_by_line(tmp_path, text, problem) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=f"broken.csv: .*{problem}"):
        scoring.read_csv(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="No such file"):
        scoring.read_csv(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        scoring.read_csv(tmp_path / "binary.csv")


CONSTANT = {
    "amplitude": np.exp(1j * np.angle(TRUTH)).astype(np.complex64),
    "phase": (np.abs(TRUTH) * np.exp(0.3j)).astype(np.complex64),
}
"""Truths without contrast in a component, rounded to single precision."""


@pytest.mark.parametrize("component", CONSTANT)
def test_a_component_without_contrast_is_blank_and_the_other_as_ever(component, tmp_path) -> None:
    truth, settings = CONSTANT[component], SETTINGS.model_copy(update={"reference_ms_ssim": True})
    generator = np.random.default_rng(0)
    noisy_truth = truth + 0.05 * (generator.standard_normal((2, *truth.shape)).T @ [1, 1j]).T
    objects = {"PtychoPINN": truth, "PtyChi": noisy_truth}
    table = scoring.score(objects, truth, AREA, settings, dict.fromkeys(objects, 1.0))
    other = "phase" if component == "amplitude" else "amplitude"
    assert table.data_ranges[component] is None and table.data_ranges[other] > 0.1
    perfect = by_name(table, "PtychoPINN")
    assert getattr(perfect["ms_ssim"], other) == pytest.approx(1, abs=1e-6)
    assert getattr(perfect["mae"], component) == pytest.approx(0, abs=1e-5)
    for model in objects:
        for name, row in by_name(table, model).items():
            blank = getattr(row, component) is None
            assert blank == (name in scoring.NEED_CONTRAST or name in scoring.RECORDED), name
            assert (getattr(row, other) is None) == (name in scoring.RECORDED), name
        assert set(table.models[model].frc) == {other}
    path = tmp_path / "scores.csv"
    scoring.write_csv(path, table.rows)
    names = scoring.row_names(settings)
    assert [row.metric for row in scoring.read_csv(path)] == 2 * list(names)
    text = path.read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("PtyChi,mae,"))
    path.write_text(text.replace(line, "PtyChi,mae,,0.1,"), "utf-8")
    with pytest.raises(InputError, match="mae amplitude '' is not a number"):
        scoring.read_csv(path)


def test_a_truth_without_any_contrast_has_no_scores() -> None:
    flat = np.full(TRUTH.shape, 0.5 + 0.5j, np.complex64)
    with pytest.raises(ValueError, match="constant"):
        scoring.score({"PtyChi": TRUTH}, flat, AREA, SETTINGS, {"PtyChi": 1.0})
