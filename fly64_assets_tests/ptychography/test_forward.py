"""The forward model against direct sums and objects known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.errors import InputError
from fly64_assets.ptychography.forward import extract_patches, far_field, transmitted_power

RANDOM = np.random.default_rng(7)
OBJECT = (RANDOM.random((30, 34)) + 1j * RANDOM.random((30, 34))).astype(np.complex64)


def _dft_matrix(size: int) -> np.ndarray:
    """Orthonormal DFT with the zero frequency at row size/2, term by term."""
    frequency = np.arange(size) - size // 2
    return np.exp(-2j * np.pi * np.outer(frequency, np.arange(size)) / size) / np.sqrt(size)


@pytest.mark.parametrize("size", [4, 6, 8])
def test_far_field_is_the_direct_fourier_sum(size: int) -> None:
    patches = RANDOM.standard_normal((3, size, size)) + 1j * RANDOM.random((3, size, size))
    probe = RANDOM.standard_normal((size, size)) + 1j * RANDOM.random((size, size))
    transform = _dft_matrix(size)
    direct = [np.abs(transform @ (probe * patch) @ transform.T) for patch in patches]
    amplitude = far_field(patches.astype(np.complex64), probe.astype(np.complex64))
    assert amplitude.dtype == np.float32
    np.testing.assert_allclose(amplitude, direct, rtol=2e-5, atol=2e-6)


def test_a_tilted_wave_lands_where_its_frequency_says() -> None:
    size, (ky, kx) = 16, (3, -2)
    y, x = np.indices((size, size))
    wave = np.exp(2j * np.pi * (ky * y + kx * x) / size).astype(np.complex64)
    amplitude = far_field(wave[None], np.ones((size, size), np.complex64))[0]
    assert np.unravel_index(amplitude.argmax(), amplitude.shape) == (size // 2 + 3, size // 2 - 2)


def test_power_is_kept_by_the_far_field() -> None:
    patches = extract_patches(OBJECT, np.array([[15.2, 14.7], [12.0, 20.5]]), 8, padding_px=2)
    probe = (RANDOM.random((8, 8)) + 1j).astype(np.complex64)
    power = transmitted_power(patches, probe)
    assert power.dtype == np.float64
    np.testing.assert_allclose(
        power, np.square(far_field(patches, probe)).sum(axis=(1, 2)), rtol=1e-5
    )


@given(st.integers(4, 26), st.integers(4, 30), st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_patches_at_integers_are_slices_exactly(y: int, x: int, padding: int) -> None:
    patches = extract_patches(OBJECT, np.array([[y, x], [15.5, 15.5]]), 8, padding_px=padding)
    np.testing.assert_array_equal(patches[0], OBJECT[y - 4 : y + 4, x - 4 : x + 4])
    assert patches.dtype == np.complex64
    assert patches.flags.c_contiguous


def _direct_shift(window: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Samples of the window's trigonometric interpolant at pixels + fraction, as a double sum."""
    size = len(window)
    frequency = np.arange(-size // 2 + 1, size // 2)
    shifts = []
    for offset in fraction:
        distance = np.arange(size)[:, None] + offset - np.arange(size)
        kernel = np.exp(2j * np.pi * frequency * distance[..., None] / size).sum(axis=-1)
        # The Nyquist term, shared by both signs.
        nyquist = np.cos(np.pi * offset) * np.exp(1j * np.pi * (distance - offset))
        shifts.append((kernel + nyquist) / size)
    return shifts[0] @ window @ shifts[1].T


@pytest.mark.parametrize("padding", [0, 3])
def test_sub_pixel_patches_are_the_direct_fourier_shift(padding: int) -> None:
    positions = np.array([[10.25, 12.5], [25.9, 4.1], [4.0, 29.75], [14.999, 15.001]])
    patches = extract_patches(OBJECT, positions, 8, padding_px=padding)
    canvas = np.pad(OBJECT, padding, mode="edge")
    for patch, position in zip(patches, positions, strict=True):
        y, x = np.floor(position - 4).astype(int)
        window = canvas[y : y + 8 + 2 * padding, x : x + 8 + 2 * padding]
        direct = _direct_shift(window.astype(np.complex128), position - np.floor(position))
        inner = slice(padding, padding + 8)
        np.testing.assert_allclose(patch, direct[inner, inner], atol=3e-6)


def test_a_band_limited_object_is_known_between_its_pixels() -> None:
    """A few waves with a whole number of periods in the window are cut exactly anywhere."""
    length, half, padding = 16, 6, 2

    def value(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        waves = ((1.0, 0, 0), (0.5j, 2, -3), (0.3, -5, 1), (0.2 - 0.1j, 7, 6))
        return sum(a * np.exp(2j * np.pi * (ky * y + kx * x) / length) for a, ky, kx in waves)

    y, x = np.indices((40, 44))
    positions = np.random.default_rng(3).uniform(8, 32, (20, 2))
    patches = extract_patches(
        value(y, x).astype(np.complex64), positions, 2 * half, padding_px=padding
    )
    offset = np.arange(-half, half)
    for patch, (at_y, at_x) in zip(patches, positions, strict=True):
        exact = value((at_y + offset)[:, None], (at_x + offset)[None])
        np.testing.assert_allclose(patch, exact, atol=5e-6)


def test_patches_do_not_depend_on_their_neighbours_in_the_batch() -> None:
    positions = np.random.default_rng(5).uniform(4, 26, (30, 2))
    together = extract_patches(OBJECT, positions, 8, padding_px=4)
    for index in (0, 13, 29):
        alone = extract_patches(OBJECT, positions[[index]], 8, padding_px=4)
        np.testing.assert_allclose(alone[0], together[index], atol=1e-6)


@pytest.mark.parametrize("position", [(3.9, 10), (10, 3.9), (26.1, 10), (10, 30.1), (np.nan, 10)])
def test_patches_outside_the_canvas_are_refused(position: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="1 of 2 patches leave the canvas; position 1"):
        extract_patches(OBJECT, np.array([(10, 10), position]), 8, padding_px=4)


def test_the_last_positions_that_fit_are_taken() -> None:
    patches = extract_patches(OBJECT, np.array([[4, 4], [26, 30]]), 8, padding_px=4)
    np.testing.assert_array_equal(patches[1], OBJECT[-8:, -8:])
