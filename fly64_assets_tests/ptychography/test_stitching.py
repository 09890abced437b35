"""Stitching against objects known in closed form, direct loops and the labyrinth specimen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.ptychography import stitching
from fly64_assets.ptychography.stitching import stitch
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"
WAVES = ((0.11, 0.07, 0.2), (-0.05, 0.16, 0.15j), (0.21, -0.13, 0.1))
"""Cycles per pixel in y and x, and strength, of the closed-form object."""


def waves(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An object of a few plane waves, at any coordinates."""
    return 1 + sum(a * np.exp(2j * np.pi * (fy * y + fx * x)) for fy, fx, a in WAVES)


def wave_patches(positions: np.ndarray, side: int) -> np.ndarray:
    local = np.arange(side) - side / 2
    y = positions[:, 0, None, None] + local[:, None]
    x = positions[:, 1, None, None] + local
    return waves(y, x).astype(np.complex64)


def bell(size: int, width: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return np.exp(-(y**2 + x**2) / (2 * width**2) + 0.3j * x).astype(np.complex64)


def integer_case(seed: int, n: int = 12, side: int = 8, size: int = 10):
    """Random patches at whole-pixel positions on a small canvas, so sparse that holes remain."""
    rng = np.random.default_rng(seed)
    shape = (30, 34)
    positions = np.stack(
        [rng.integers(side // 2, extent - side // 2 + 1, n) for extent in shape], axis=1
    ).astype(float)
    values = rng.standard_normal((2, n, side, side))
    probe = (rng.uniform(0.2, 1, (size, size)) * np.exp(1j)).astype(np.complex64)
    return (values[0] + 1j * values[1]).astype(np.complex64), positions, probe, shape


def direct_mean(patches, positions, intensity, shape, crop):
    """The weighted mean over the M-crops, pixel by pixel, and its weight."""
    side = patches.shape[-1]
    total, weight = np.zeros(shape, complex), np.zeros(shape)
    for patch, (y, x) in zip(patches, positions, strict=True):
        for j in range(side):
            for k in range(side):
                inside = all(-(crop // 2) <= i - side // 2 < crop - crop // 2 for i in (j, k))
                if inside:
                    at = int(y) - side // 2 + j, int(x) - side // 2 + k
                    total[at] += intensity[j, k] * patch[j, k]
                    weight[at] += intensity[j, k]
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0), weight


@pytest.mark.parametrize("crop", [3, 4, 8, 10])
def test_at_whole_pixels_it_is_the_weighted_mean_with_fallback(crop: int) -> None:
    patches, positions, probe, shape = integer_case(seed=crop)
    intensity = np.abs(probe[1:-1, 1:-1]) ** 2
    intensity = intensity / intensity.max()
    whole, whole_weight = direct_mean(patches, positions, intensity, shape, 8)
    cores, core_weight = direct_mean(patches, positions, intensity, shape, min(crop, 8))
    fallback = (core_weight == 0) & (whole_weight > 0)

    result = stitch(patches, positions, probe, shape, crop_px=crop)

    np.testing.assert_array_equal(result.fallback, fallback)
    np.testing.assert_allclose(result.object, np.where(fallback, whole, cores), atol=3e-5)
    np.testing.assert_allclose(
        result.weight, np.where(fallback, whole_weight, core_weight), atol=1e-5
    )
    uncovered = whole_weight == 0
    assert uncovered.any() and (crop >= 8 or fallback.any())
    assert not result.object[uncovered].any() and not result.weight[uncovered].any()
    assert result.object.dtype == np.complex64 and result.weight.dtype == np.float32


def test_outer_parts_count_only_where_no_centre_does() -> None:
    patches, positions, probe, shape = integer_case(seed=1)
    spoilt = patches.copy()
    outer = np.ones((8, 8), bool)
    outer[2:6, 2:6] = False
    spoilt[:, outer] += 5
    before, after = (
        stitch(values, positions, probe, shape, crop_px=4) for values in (patches, spoilt)
    )
    changed = np.abs(after.object - before.object)
    trusted = (before.weight > 0) & ~before.fallback
    assert changed[trusted].max() < 1e-5
    assert changed[before.fallback].min() > 4


def test_sub_pixel_patches_of_a_known_object_merge_into_it() -> None:
    positions = np.random.default_rng(5).uniform(16, 48, (150, 2))
    result = stitch(wave_patches(positions, 32), positions, bell(32, 7), (64, 64), crop_px=16)
    truth = waves(*np.mgrid[:64, :64].astype(float))
    error = np.abs(result.object - truth)[16:48, 16:48]
    assert error.max() < 0.01
    # Whole-pixel placement of the same patches is worse by far.
    nearest = stitch(
        wave_patches(positions, 32), np.floor(positions + 0.5), bell(32, 7), (64, 64), crop_px=16
    )
    assert np.abs(nearest.object - truth)[16:48, 16:48].max() > 5 * error.max()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.sampled_from([2, 6, 12]),
    crop=st.integers(1, 12),
    constant=st.complex_numbers(min_magnitude=0.1, max_magnitude=3),
)
def test_patches_of_a_constant_merge_into_that_constant(seed, side, crop, constant) -> None:
    rng = np.random.default_rng(seed)
    positions = rng.uniform(6, 24, (9, 2))
    patches = np.full((9, side, side), constant, np.complex64)
    result = stitch(patches, positions, bell(12, 2.5), (30, 30), crop_px=crop)
    covered = result.weight > 0
    assert covered.any()
    np.testing.assert_allclose(result.object[covered], constant, rtol=2e-4)
    assert not result.object[~covered].any()


def test_a_patchs_weight_lies_at_its_position() -> None:
    for fraction in (0.0, 0.3, 0.49, 0.51, 0.8):
        position = np.array([[20 + fraction, 20 - fraction]])
        weight = stitch(
            np.ones((1, 16, 16), np.complex64), position, bell(16, 2.5), (40, 40), crop_px=16
        ).weight.astype(float)
        centre = [np.average(index, weights=weight) for index in np.indices(weight.shape)]
        # Half of what rounding leaves, which is half a pixel at most.
        assert np.abs(centre - position[0]).max() < 0.26


def test_a_single_patch_stays_bounded_where_the_probe_is_dark() -> None:
    with np.load(SPECIMEN) as specimen:
        probe, truth = specimen["probeGuess"], specimen["objectGuess"]
    patch = truth[60:124, 70:134][None]
    for fraction in ((0.5, 0.5), (0.31, -0.45), (-0.2, 0.1)):
        position = np.array([[92.0, 102.0]]) + fraction
        result = stitch(patch, position, probe, truth.shape, crop_px=20)
        assert np.abs(result.object).max() < 1.5 * np.abs(patch).max()


def labyrinth_error(noise: float, *, placed_at=lambda positions: positions) -> float:
    """Root mean square error of stitching true patches of the specimen plus noise."""
    with np.load(SPECIMEN) as specimen:
        truth, probe = specimen["objectGuess"], specimen["probeGuess"]
    rng = np.random.default_rng([17, round(100 * noise)])
    positions = rng.uniform([60, 60], [110, 120], (220, 2))
    corners = np.floor(positions).astype(int) - 40
    frequency = np.fft.fftfreq(80)
    patches = []
    for (y, x), (dy, dx) in zip(corners, positions % 1, strict=True):
        shift = np.exp(2j * np.pi * (frequency[:, None] * dy + frequency * dx))
        window = np.fft.ifft2(np.fft.fft2(truth[y : y + 80, x : x + 80]) * shift)
        patches.append(window[8:72, 8:72])
    dark = np.abs(probe) / np.sqrt(np.mean(np.abs(probe) ** 2)) + 0.03
    spread = rng.standard_normal((2, *np.shape(patches)))
    patches = (patches + noise * (spread[0] + 1j * spread[1]) / dark).astype(np.complex64)
    result = stitch(patches, placed_at(positions), probe, truth.shape, crop_px=64)
    inside = slice(64, 106), slice(64, 116)
    return float(np.sqrt(np.mean(np.abs(result.object - truth)[inside] ** 2)))


def test_on_the_labyrinth_it_beats_whole_pixel_placement_with_and_without_noise() -> None:
    def rounded(positions):
        return np.floor(positions + 0.5)

    clean, noisy = labyrinth_error(0), labyrinth_error(0.1)
    assert clean < 0.4 * labyrinth_error(0, placed_at=rounded)
    assert noisy < labyrinth_error(0.1, placed_at=rounded)
    assert clean < 0.006 and noisy < 0.02


def test_the_order_of_patches_and_the_block_size_do_not_matter(monkeypatch) -> None:
    positions = np.random.default_rng(2).uniform(8, 40, (70, 2))
    patches, probe = wave_patches(positions, 16), bell(16, 4)
    expected = stitch(patches, positions, probe, (48, 48), crop_px=6)
    order = np.random.default_rng(3).permutation(len(positions))
    shuffled = stitch(patches[order], positions[order], probe, (48, 48), crop_px=6)
    np.testing.assert_allclose(shuffled.object, expected.object, atol=1e-5)
    np.testing.assert_array_equal(shuffled.fallback, expected.fallback)
    for block in (1, 7, 500):
        monkeypatch.setattr(stitching, "BLOCK_PATCHES", block)
        other = stitch(patches, positions, probe, (48, 48), crop_px=6)
        np.testing.assert_allclose(other.object, expected.object, atol=1e-5)


def test_threads_and_the_scaling_of_the_probe_do_not_change_the_result() -> None:
    positions = np.random.default_rng(4).uniform(8, 40, (20, 2))
    patches, probe = wave_patches(positions, 16), bell(16, 4)
    one = stitch(patches, positions, probe, (48, 48), crop_px=6)
    two = stitch(patches, positions, probe, (48, 48), crop_px=6, threads=2)
    assert one.object.tobytes() == two.object.tobytes()
    scaled = stitch(patches, positions, 1024 * probe, (48, 48), crop_px=6)
    np.testing.assert_allclose(scaled.object, one.object, atol=1e-5)


def test_a_probe_with_a_hard_edge_covers_its_disc_only() -> None:
    y, x = np.mgrid[:16, :16] - 8
    disc = (np.hypot(y, x) < 6).astype(np.complex64)
    patch = np.full((1, 16, 16), 2 - 1j, np.complex64)
    for fraction in (0.0, 0.4):
        result = stitch(patch, np.array([[15.0 + fraction] * 2]), disc, (30, 30), crop_px=16)
        np.testing.assert_array_equal(result.weight[7:23, 7:23] > 0, disc.real > 0)
        assert np.count_nonzero(result.weight) == np.count_nonzero(disc)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_px": 0}, "M = 0 is not in 0 < M <= N = 10"),
        ({"crop_px": 11}, "M = 11"),
        ({"patches": np.ones((12, 7, 7), np.complex64)}, "patches of 7 px"),
        ({"patches": np.ones((12, 12, 12), np.complex64)}, "at most N = 10"),
        ({"patches": np.ones((3, 8, 8), np.complex64)}, "do not match 3 patches"),
        ({"patches": np.full((12, 8, 8), np.nan, np.complex64)}, "finite"),
        ({"probe": np.zeros((10, 10), np.complex64)}, "non-zero"),
        ({"positions_px": np.full((12, 2), 2.0)}, "12 patches of 8 px reach beyond the canvas"),
        ({"patches": np.ones((12, 8, 6), np.complex64)}, r"not \(n, F, F\)"),
    ],
)
def test_what_cannot_be_stitched_is_refused(change: dict, message: str) -> None:
    patches, positions, probe, shape = integer_case(seed=0)
    call = {"patches": patches, "positions_px": positions, "probe": probe, "crop_px": 4} | change
    with pytest.raises(ValueError, match=message):
        stitch(canvas_shape=shape, **call)
