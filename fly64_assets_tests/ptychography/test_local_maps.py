"""Local MS-SSIM and local correlation against independent computations and known cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.local_maps import (
    correlation,
    local_correlation,
    local_ms_ssim,
)

SHAPE = (64, 164)


def _truth(shape: tuple[int, int] = SHAPE, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, 2.0)
    return smooth / np.ptp(smooth)


def _noisy(truth: np.ndarray, strength: float = 0.05, seed: int = 2) -> np.ndarray:
    return truth + strength * np.random.default_rng(seed).normal(size=truth.shape)


def test_equal_images_are_one_everywhere():
    truth = _truth()
    assert np.array_equal(local_ms_ssim(truth, truth, data_range=1.0), np.ones(SHAPE))
    np.testing.assert_allclose(local_correlation(truth, truth), 1.0, rtol=1e-12)


def test_single_scale_is_the_ssim_map_of_scikit_image():
    truth = _truth((20, 21))
    image = _noisy(truth)
    assert metrics.ms_ssim_scales(truth.shape) == 1
    found = local_ms_ssim(truth, image, data_range=1.0)
    expected = structural_similarity(
        truth,
        image,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-12)


def test_means_of_the_scored_maps_are_the_terms_of_the_score():
    truth = _truth()
    image = _noisy(truth)
    score = metrics.ms_ssim(truth, image, data_range=1.0, sigma_px=1.0)
    maps = metrics.ms_ssim_maps(truth, image, data_range=1.0, sigma_px=1.0)
    assert [values.shape for values in maps] == [(54, 154), (22, 72), (6, 31)]
    product = np.prod([v.mean() ** w for v, w in zip(maps, score.weights, strict=True)])
    assert product == pytest.approx(score.value, rel=1e-12)
    mirrored = metrics.ms_ssim_maps(truth, image, data_range=1.0, sigma_px=1.0, margin_px=5)
    for inner, whole in zip(maps, mirrored, strict=True):
        np.testing.assert_allclose(whole[5:-5, 5:-5], inner, rtol=1e-10, atol=1e-12)


def test_the_map_follows_the_score():
    truth = _truth()
    scores, means = [], []
    for strength in (0.02, 0.05, 0.1, 0.3):
        image = _noisy(truth, strength)
        scores.append(metrics.ms_ssim(truth, image, data_range=1.0).value)
        means.append(local_ms_ssim(truth, image, data_range=1.0).mean())
    assert means == sorted(means, reverse=True)
    np.testing.assert_allclose(means, scores, atol=0.06)


def test_the_mean_is_at_most_the_score_where_both_see_the_same_and_nothing_is_negative():
    """The inequality of the docstring, on arrays whose mirrored border changes nothing."""
    # One period of a pattern that is its own mirror image: the border looks like the inside.
    quarter = _truth((32, 32))
    truth = np.block([[quarter, quarter[:, ::-1]], [quarter[::-1], quarter[::-1, ::-1]]])
    image = truth + 0.02 * np.cos(np.arange(64) * np.pi / 8)
    maps = metrics.ms_ssim_maps(truth, image, data_range=1.0, margin_px=5)
    weights = metrics.ms_ssim_weights(len(maps))
    assert min(values.min() for values in maps) > 0
    bound = np.prod([values.mean() ** w for values, w in zip(maps, weights, strict=True)])
    mean = local_ms_ssim(truth, image, data_range=1.0).mean()
    assert 0.5 < mean < bound + 1e-3


@pytest.mark.parametrize("corner", [(12, 20), (50, 20), (12, 140), (50, 140)])
def test_damage_is_seen_where_it_is(corner):
    """Axes, orientation and the interpolation between scales: nothing moves."""
    truth = _truth()
    image = truth.copy()
    y, x = corner
    image[y - 4 : y + 5, x - 4 : x + 5] = truth[y - 4 : y + 5, x - 4 : x + 5][::-1, ::-1]
    for values in (
        local_ms_ssim(truth, image, data_range=1.0),
        local_correlation(truth, image),
    ):
        assert values.shape == SHAPE
        lost = 1 - values
        centre = ndimage.center_of_mass(lost * (lost > 1e-9))
        np.testing.assert_allclose(centre, corner, atol=5)
        assert np.allclose(values[:, : x - 70] if x > 80 else values[:, x + 70 :], 1.0)


def test_negative_terms_count_as_zero():
    truth = _truth((40, 40))
    values = local_ms_ssim(truth, -truth, data_range=1.0)
    assert values.min() == 0.0 and values.max() <= 1.0
    assert np.isfinite(values).all()


def test_correlation_is_blind_to_offset_and_contrast():
    truth = _truth()
    np.testing.assert_allclose(local_correlation(truth, 3 * truth + 7), 1.0, rtol=1e-9)
    np.testing.assert_allclose(local_correlation(truth, 2 - truth), -1.0, rtol=1e-9)
    assert correlation(truth, 2 - truth) == pytest.approx(-1.0)


def test_correlation_at_one_pixel_by_hand():
    truth = _truth()
    image = _noisy(truth, 0.1)
    y, x = 30, 100
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    a, b = (array[y - 5 : y + 6, x - 5 : x + 6] for array in (truth, image))
    a, b = a - (weights * a).sum(), b - (weights * b).sum()
    expected = (weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum())
    assert local_correlation(truth, image)[y, x] == pytest.approx(expected, rel=1e-9)


def test_correlation_of_all_pixels_is_that_of_numpy():
    truth = _truth()
    image = _noisy(truth, 0.1)
    expected = np.corrcoef(truth.ravel(), image.ravel())[0, 1]
    assert correlation(truth, image) == pytest.approx(expected, rel=1e-12)


def test_a_flat_region_counts_as_uncorrelated():
    truth = _truth()
    image = truth.copy()
    image[:, :40] = 0.3
    values = local_correlation(truth, image)
    assert np.array_equal(values[:, :34], np.zeros((64, 34)))
    np.testing.assert_allclose(values[:, 46:], 1.0, rtol=1e-9)
    assert correlation(truth, np.full(SHAPE, 0.3)) == 0.0


@pytest.mark.parametrize("function", [local_correlation, correlation])
def test_arrays_that_do_not_match_are_refused(function):
    with pytest.raises(ValueError, match="alike"):
        function(_truth(), _truth((64, 100)))
    with pytest.raises(ValueError, match="not finite"):
        function(_truth(), np.full(SHAPE, np.nan))


def test_arrays_smaller_than_the_window_are_refused():
    small = _truth((10, 40))
    with pytest.raises(ValueError, match="11 px window"):
        local_correlation(small, small)
    with pytest.raises(ValueError, match="11 px window"):
        local_ms_ssim(small, small, data_range=1.0)
