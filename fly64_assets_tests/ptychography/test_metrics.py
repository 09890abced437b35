"""Metrics against closed forms, an independent implementation and what degradation must do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """The labyrinth's phase, on an area like that of the study's test half."""
    with np.load(SPECIMEN) as specimen:
        return np.angle(specimen["objectGuess"])[134:197, 36:196].astype(np.float64)


def noisy(truth: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    return truth + sigma * np.random.default_rng(seed).standard_normal(truth.shape)


def all_metrics(truth: np.ndarray, image: np.ndarray) -> dict[str, float]:
    span = metrics.data_range(truth)
    return {
        "mae": metrics.mae(truth, image),
        "mse": metrics.mse(truth, image),
        "psnr": metrics.psnr(truth, image, data_range=span),
        "ssim": metrics.ssim(truth, image, data_range=span),
        "ms_ssim": metrics.ms_ssim(truth, image, data_range=span, sigma_px=1.0).value,
        "frc50": metrics.frc(truth, image, 0.5).frc50,
    }


# The table of definitions


def test_every_metric_is_defined_and_equal_arrays_have_the_best_possible_value(truth) -> None:
    values = all_metrics(truth, truth)
    assert list(values) == list(METRICS)
    for name, value in values.items():
        definition = METRICS[name]
        assert value == definition.equal
        best = definition.maximum if definition.direction == "higher" else definition.minimum
        assert value == best
        assert set(definition.units) == {"amplitude", "phase"}


def test_higher_is_better_for_similarity_and_lower_for_errors() -> None:
    lower = {name for name, definition in METRICS.items() if definition.direction == "lower"}
    assert lower == {"mae", "mse"}
    assert METRICS["mae"].is_better(0.1, 0.2) and not METRICS["mae"].is_better(0.2, 0.1)
    assert METRICS["ssim"].is_better(0.2, 0.1) and not METRICS["ssim"].is_better(0.1, 0.1)


@pytest.mark.parametrize(
    ("name", "possible", "impossible"),
    [
        ("mae", (0.0, 7.0), (-0.1, np.inf, np.nan)),
        ("psnr", (-20.0, 60.0, np.inf), (-np.inf, np.nan)),
        ("ssim", (-1.0, 1.0), (1.1, -1.1)),
        ("ms_ssim", (0.0, 1.0), (-0.01, 1.01)),
        ("frc50", (0.0, 1.0), (-0.1, 1.5)),
    ],
)
def test_the_range_of_possible_values(name, possible, impossible) -> None:
    assert all(METRICS[name].contains(value) for value in possible)
    assert not any(METRICS[name].contains(value) for value in impossible)


# Pixelwise metrics and SSIM


def test_mae_and_mse_of_known_errors() -> None:
    truth = np.zeros((2, 2))
    image = np.array([[1.0, -1.0], [3.0, 1.0]])
    assert metrics.mae(truth, image) == 1.5
    assert metrics.mse(truth, image) == 3.0


def test_psnr_takes_the_truths_range_and_is_infinite_for_equal_arrays(truth) -> None:
    image = noisy(truth, 0.1)
    span = metrics.data_range(truth)
    expected = peak_signal_noise_ratio(truth, image, data_range=span)
    assert metrics.psnr(truth, image, data_range=span) == pytest.approx(expected, rel=1e-12)
    assert metrics.psnr(truth, truth, data_range=span) == np.inf
    # Scaling both, and so the range, changes nothing: no peak of a file format is assumed.
    scaled = metrics.psnr(10 * truth, 10 * image, data_range=10 * span)
    assert scaled == pytest.approx(expected, rel=1e-12)


def test_ssim_is_scikit_images_with_the_papers_window_and_the_single_scale_of_ms_ssim() -> None:
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.standard_normal((21, 30)), 1.5)
    image = noisy(truth, 0.1)
    span = metrics.data_range(truth)
    value = metrics.ssim(truth, image, data_range=span)
    expected = structural_similarity(
        truth,
        image,
        data_range=span,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert value == pytest.approx(expected, abs=1e-12)
    # Two implementations, one of them ours: at one scale MS-SSIM is SSIM.
    single = metrics.ms_ssim(truth, image, data_range=span)
    assert single.scales == 1
    assert single.value == pytest.approx(value, abs=1e-10)


# MS-SSIM


def direct_ms_ssim(a: np.ndarray, b: np.ndarray, span: float, scales: int) -> float:
    """MS-SSIM by explicit two-dimensional convolutions, as Wang et al. (2003) define it."""
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    result = 1.0
    for scale, weight in enumerate(weights / weights.sum(), start=1):
        mean_a, mean_b = (convolve2d(array, kernel, "valid") for array in (a, b))
        var_a = convolve2d(a * a, kernel, "valid") - mean_a**2
        var_b = convolve2d(b * b, kernel, "valid") - mean_b**2
        covariance = convolve2d(a * b, kernel, "valid") - mean_a * mean_b
        similarity = (2 * covariance + c2) / (var_a + var_b + c2)
        if scale == scales:
            similarity = similarity * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        result *= max(similarity.mean(), 0) ** weight
        height, width = a.shape[0] // 2, a.shape[1] // 2
        pooled = np.zeros((2, height, width))
        for j in range(height):
            for k in range(width):
                for which, array in enumerate((a, b)):
                    pooled[which, j, k] = array[2 * j : 2 * j + 2, 2 * k : 2 * k + 2].mean()
        a, b = pooled
    return result


@pytest.mark.parametrize(
    ("shape", "scales"), [((11, 40), 1), ((22, 23), 2), ((63, 160), 3), ((88, 91), 4)]
)
def test_ms_ssim_equals_the_direct_implementation(shape, scales) -> None:
    rng = np.random.default_rng(scales)
    truth = gaussian_filter(rng.standard_normal(shape), 2.0)
    image = 0.8 * truth + 0.05 + 0.05 * rng.standard_normal(shape)
    span = metrics.data_range(truth)
    result = metrics.ms_ssim(truth, image, data_range=span)
    assert result.scales == scales
    assert result.value == pytest.approx(direct_ms_ssim(truth, image, span, scales), abs=1e-12)
    assert sum(result.weights) == pytest.approx(1)


@pytest.mark.parametrize(
    ("side", "scales"),
    [(11, 1), (21, 1), (22, 2), (43, 2), (44, 3), (87, 3), (88, 4), (175, 4), (176, 5), (999, 5)],
)
def test_the_number_of_scales_follows_the_shorter_side(side, scales) -> None:
    assert metrics.ms_ssim_scales((side, 1000)) == scales
    assert metrics.ms_ssim_scales((1000, side)) == scales


def test_ms_ssim_smooths_both_arrays_first(truth) -> None:
    image = noisy(truth, 0.3)
    span = metrics.data_range(truth)
    by_hand = metrics.ms_ssim(
        gaussian_filter(truth, 1.0), gaussian_filter(image, 1.0), data_range=span
    )
    smoothed = metrics.ms_ssim(truth, image, data_range=span, sigma_px=1.0)
    assert smoothed.value == pytest.approx(by_hand.value, abs=1e-12)
    assert smoothed.value > metrics.ms_ssim(truth, image, data_range=span).value + 0.05


@given(offset=st.floats(-2, 2), level=st.floats(0.1, 2))
@settings(max_examples=15, deadline=None)
def test_a_constant_offset_costs_luminance_at_the_last_scale_only(offset, level) -> None:
    flat = np.full((44, 50), level)
    result = metrics.ms_ssim(flat, flat + offset, data_range=1.0)
    c1 = 0.01**2
    luminance = (2 * level * (level + offset) + c1) / (level**2 + (level + offset) ** 2 + c1)
    np.testing.assert_allclose(result.terms, (1, 1, luminance), atol=1e-9)
    expected = max(luminance, 0) ** result.weights[-1]
    assert result.value == pytest.approx(expected, abs=1e-9)
    assert result.n_clamped == (luminance < 0)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0])
def test_a_known_scaling_costs_its_closed_form(truth, factor) -> None:
    # With vanishing stabilisers contrast and luminance both become 2 a / (1 + a^2), everywhere.
    result = metrics.ms_ssim(truth + 5, factor * (truth + 5), data_range=1e-9)
    ratio = 2 * factor / (1 + factor**2)
    np.testing.assert_allclose(result.terms, (ratio, ratio, ratio**2), rtol=1e-6)
    assert result.value == pytest.approx(ratio ** (1 + result.weights[-1]), rel=1e-6)


def test_negative_terms_are_clamped_each_and_told(truth) -> None:
    result = metrics.ms_ssim(truth, -truth, data_range=metrics.data_range(truth))
    assert min(result.terms) < 0
    assert result.value == 0
    assert result.n_clamped == sum(term < 0 for term in result.terms) > 0


# Fourier ring correlation


def direct_frc(a: np.ndarray, b: np.ndarray) -> list[float]:
    """FRC by a Fourier matrix and a loop over coefficients."""
    height, width = a.shape
    window = np.outer(
        np.sin(np.pi * np.arange(height) / height) ** 2,
        np.sin(np.pi * np.arange(width) / width) ** 2,
    )

    def spectrum(array):
        array = window * (array - np.average(array, weights=window))
        rows = np.exp(-2j * np.pi * np.outer(np.arange(height), np.arange(height)) / height)
        columns = np.exp(-2j * np.pi * np.outer(np.arange(width), np.arange(width)) / width)
        return rows @ array @ columns

    first, second = spectrum(a), spectrum(b)
    shorter = min(a.shape)
    sums = np.zeros((3, 2 * shorter))
    for j in range(height):
        for k in range(width):
            y = min(j, height - j) / height
            x = min(k, width - k) / width
            shell = round(float(np.hypot(y, x)) * shorter)
            sums[0, shell] += (first[j, k] * np.conj(second[j, k])).real
            sums[1, shell] += abs(first[j, k]) ** 2
            sums[2, shell] += abs(second[j, k]) ** 2
    kept = sums[:, 1 : shorter // 2 + 1]
    return list(kept[0] / np.sqrt(kept[1] * kept[2]))


@pytest.mark.parametrize("shape", [(12, 12), (12, 19), (21, 14)])
def test_frc_equals_the_direct_sum_also_off_the_square(shape) -> None:
    rng = np.random.default_rng(shape[1])
    a = rng.standard_normal(shape)
    b = a + rng.standard_normal(shape)
    curve = metrics.frc(a, b, 0.5)
    np.testing.assert_allclose(curve.correlation, direct_frc(a, b), atol=1e-12)
    assert curve.n_samples.min() >= 2


def wave(shape: tuple[int, int], cycles_y: int, cycles_x: int, phase: float = 0.0) -> np.ndarray:
    y, x = np.indices(shape)
    angle = 2 * np.pi * (cycles_y * y / shape[0] + cycles_x * x / shape[1]) + phase
    return np.cos(angle)


def test_frc_of_waves_in_and_out_of_phase() -> None:
    shape = (64, 160)
    in_phase, in_quadrature, opposite = (6, 0), (0, 40), (0, 65)
    a = wave(shape, *in_phase) + wave(shape, *in_quadrature) + wave(shape, *opposite)
    b = (
        wave(shape, *in_phase)
        + wave(shape, *in_quadrature, np.pi / 2)
        + wave(shape, *opposite, np.pi)
    )
    curve = metrics.frc(a, b, 0.5)
    at = dict(zip(np.round(curve.frequency * 32).astype(int), curve.correlation, strict=True))
    # 6 of 64 rows; 40 and 65 of 160 columns: shells 6, 16 and 26 of 32.
    assert at[6] == pytest.approx(1)
    assert at[16] == pytest.approx(0, abs=1e-9)
    assert at[26] == pytest.approx(-1)


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("shape", [(64, 64), (63, 160), (160, 63)])
def test_frc50_is_where_the_signal_ends_in_fractions_of_nyquist(shape, cut) -> None:
    rng = np.random.default_rng(round(100 * cut))
    common, own_a, own_b = rng.standard_normal((3, *shape))
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    inside = 2 * frequency < cut

    def mixed(own):
        spectrum = np.where(inside, np.fft.fft2(common), np.fft.fft2(own))
        return np.fft.ifft2(spectrum).real

    curve = metrics.frc(mixed(own_a), mixed(own_b), 0.5)
    assert not curve.censored
    assert curve.frc50 == pytest.approx(cut, abs=2 / min(shape))


def test_frc_of_white_signal_and_noise_is_snr_over_one_plus_snr() -> None:
    rng = np.random.default_rng(8)
    signal, noise_a, noise_b = rng.standard_normal((3, 256, 256))
    curve = metrics.frc(signal + noise_a / 2, signal + noise_b / 2, 0.5)
    assert np.average(curve.correlation, weights=curve.n_samples) == pytest.approx(0.8, abs=0.01)


def test_a_curve_that_never_crosses_is_censored_at_one(truth) -> None:
    curve = metrics.frc(truth, 3 * truth + 5, 0.5)
    np.testing.assert_allclose(curve.correlation, 1)
    assert (curve.frc50, curve.censored) == (1.0, True)


def test_a_curve_below_the_threshold_from_the_start_crosses_below_the_first_shell(truth) -> None:
    curve = metrics.frc(truth, -truth, 0.5)
    # From 1 at frequency 0 to -1 at the first shell kept: 0.5 is a quarter of the way.
    assert curve.frc50 == pytest.approx(curve.frequency[0] / 4)
    assert not curve.censored


def test_the_crossing_is_interpolated_on_the_curve(truth) -> None:
    for threshold in (0.2, 0.5, 0.8):
        curve = metrics.frc(truth, noisy(truth, 0.2), threshold)
        assert not curve.censored
        on_curve = np.interp(
            curve.frc50, np.append(0, curve.frequency), np.append(1, curve.correlation)
        )
        assert on_curve == pytest.approx(threshold)
        assert (curve.correlation[curve.frequency < curve.frc50] >= threshold).all()


def test_shells_without_power_count_as_uncorrelated() -> None:
    curve = metrics.frc(np.full((16, 16), 3.0), wave((16, 16), 2, 0), 0.5)
    np.testing.assert_array_equal(curve.correlation, 0)
    assert curve.frc50 == pytest.approx(curve.frequency[0] / 2)


def test_frequencies_are_fractions_of_nyquist() -> None:
    even, odd = (metrics.frc(*np.eye(n)[None].repeat(2, 0), 0.5).frequency for n in (16, 15))
    np.testing.assert_allclose(even, np.arange(1, 9) / 8)
    np.testing.assert_allclose(odd, 2 * np.arange(1, 8) / 15)


# What degradation must do


def test_noise_worsens_every_metric_step_by_step(truth) -> None:
    series = [all_metrics(truth, noisy(truth, sigma)) for sigma in (0.05, 0.15, 0.45)]
    for better, worse in zip(series, series[1:], strict=False):
        for name, definition in METRICS.items():
            assert definition.is_better(better[name], worse[name]), name


def test_blur_worsens_every_metric_but_frc(truth) -> None:
    series = [all_metrics(truth, gaussian_filter(truth, sigma)) for sigma in (0.5, 1.0, 2.0)]
    for better, worse in zip(series, series[1:], strict=False):
        for name, definition in METRICS.items():
            if name != "frc50":
                assert definition.is_better(better[name], worse[name]), name
    assert series[1]["frc50"] > 0.9


@pytest.mark.parametrize("metric", [metrics.mae, metrics.mse])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_errors_are_symmetric_and_positive(metric, seed) -> None:
    a, b = np.random.default_rng(seed).standard_normal((2, 12, 13))
    assert metric(a, b) == metric(b, a) > 0


# Refusals


@pytest.mark.parametrize(
    ("truth_array", "image", "message"),
    [
        (np.ones((11, 12)), np.ones((12, 11)), r"\(11, 12\) and \(12, 11\)"),
        (np.ones(11), np.ones(11), "two-dimensional"),
        (np.ones((11, 11)), np.full((11, 11), np.nan), "121 image pixels not finite"),
        (np.full((11, 11), np.inf), np.ones((11, 11)), "121 truth pixels not finite"),
        (np.ones((11, 11)), 1j * np.ones((11, 11)), "not complex"),
    ],
)
def test_arrays_that_cannot_be_compared_are_refused(truth_array, image, message) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.mae(truth_array, image)
    with pytest.raises(ValueError, match=message):
        metrics.ms_ssim(truth_array, image, data_range=1.0)


def test_arrays_below_the_window_and_a_broken_truth_are_refused() -> None:
    with pytest.raises(ValueError, match="11 px window"):
        metrics.ms_ssim(np.ones((10, 40)), np.ones((10, 40)), data_range=1.0)
    with pytest.raises(ValueError, match="no shell"):
        metrics.frc(np.ones((3, 40)), np.ones((3, 40)), 0.5)
    with pytest.raises(ValueError, match="not finite"):
        metrics.data_range(np.full((4, 4), np.nan))


@pytest.mark.parametrize(
    ("values", "size", "span"),
    [
        (np.ones((4, 4)), None, None),
        (np.zeros((4, 4)), None, None),
        (1e-8 * np.ones((4, 4)), None, None),
        (np.float32(0.3) + np.eye(4) * np.finfo(np.float32).eps, None, None),
        (np.eye(4) * 1e-7, 1.0, None),  # a constant phase, rounded in single precision
        (np.eye(4) * 1e-7, None, 1e-7),  # a faint amplitude
        (np.eye(4) * 3e-6, 1.0, 3e-6),
        (1 + np.eye(4) * 0.01, None, 0.01),
    ],
)
def test_contrast_is_what_exceeds_rounding_of_single_precision(values, size, span) -> None:
    found = metrics.data_range(values, size)
    assert found == (span if span is None else pytest.approx(span))
