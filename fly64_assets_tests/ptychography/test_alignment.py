"""Alignment of the labyrinth specimen after known shifts, planes, phases and scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.ptychography.scoring.alignment import DegenerateReconstruction, align
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"
AREA = (slice(134, 197), slice(36, 196))
CENTRE = ((134 + 196) / 2, (36 + 195) / 2)
MAX_SHIFT_PX = 4.0


def load_truth() -> np.ndarray:
    with np.load(SPECIMEN) as specimen:
        return specimen["objectGuess"]


TRUTH = load_truth()


def moved(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """``image`` moved down by dy and right by dx pixels, periodic and exact."""
    fy, fx = (np.fft.fftfreq(n) for n in image.shape)
    return np.fft.ifft2(np.fft.fft2(image) * np.exp(-2j * np.pi * (fy[:, None] * dy + fx * dx)))


def distorted(image, *, shift=(0.0, 0.0), plane=(0.0, 0.0), offset=0.0, scale=1.0) -> np.ndarray:
    """What `align` must undo: it finds ``shift``, ``plane`` and ``scale`` again."""
    y, x = np.indices(image.shape)
    phase = offset + plane[0] * (y - CENTRE[0]) + plane[1] * (x - CENTRE[1])
    return (moved(image, -shift[0], -shift[1]) * np.exp(1j * phase) / scale).astype(np.complex64)


def noise(seed: int) -> np.ndarray:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *TRUTH.shape))
    return real + 1j * imaginary


def error(image: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.abs(image - TRUTH[AREA]) ** 2)))


@settings(max_examples=15, deadline=None)
@given(
    shift=st.tuples(st.floats(-3.8, 3.8), st.floats(-3.8, 3.8)),
    plane=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    offset=st.floats(-3, 3),
    scale=st.floats(0.3, 3),
)
def test_known_ambiguities_are_found_together_and_removed(shift, plane, offset, scale) -> None:
    image = distorted(TRUTH, shift=shift, plane=plane, offset=offset, scale=scale)
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.registration_applied
    np.testing.assert_allclose(result.shift_px, shift, atol=0.04)
    np.testing.assert_allclose(result.phase_plane_rad_per_px, plane, atol=1e-5)
    assert result.amplitude_scale == pytest.approx(scale, rel=1e-3)
    # The offset is that of the registered image, whose plane moved along.
    at_centre = offset - np.dot(plane, result.shift_px)
    assert abs(np.angle(np.exp(1j * (result.phase_offset_rad - at_centre)))) < 1e-3
    assert error(result.object) < 0.012
    assert result.object.dtype == result.strict.dtype == np.complex64
    assert result.object.shape == result.strict.shape == (63, 160)


def test_without_a_shift_plane_phase_and_scale_are_exact() -> None:
    image = distorted(TRUTH, plane=(0.2, -0.31), offset=2.9, scale=1.7)
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.shift_px == (0.0, 0.0)
    np.testing.assert_allclose(result.phase_plane_rad_per_px, (0.2, -0.31), atol=1e-7)
    assert result.phase_offset_rad == pytest.approx(2.9, abs=1e-6)
    assert result.amplitude_scale == pytest.approx(1.7, rel=1e-6)
    assert error(result.object) < 1e-6


def test_it_works_through_noise() -> None:
    shift, plane = (1.3, -2.6), (0.02, -0.015)
    image = distorted(TRUTH + 0.2 * noise(1), shift=shift, plane=plane, scale=0.8)
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.registration_applied
    np.testing.assert_allclose(result.shift_px, shift, atol=0.1)
    np.testing.assert_allclose(result.phase_plane_rad_per_px, plane, atol=1e-3)
    # Noise adds to the mean amplitude; a tenth is expected at this level.
    assert result.amplitude_scale == pytest.approx(0.8, rel=0.1)


@pytest.mark.parametrize(
    "shift", [(119, 0), (0, 119), (-119, 0), (0, -119), (0, 5), (-6, 0), (4.4, -4.4)]
)
def test_a_shift_beyond_the_bound_is_recorded_but_not_applied(shift) -> None:
    image = distorted(TRUTH, shift=shift, plane=(0.01, 0.0), scale=2.0)
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert not result.registration_applied
    assert np.abs(result.shift_px).max() > MAX_SHIFT_PX
    if max(map(abs, shift)) < 10:
        np.testing.assert_allclose(result.shift_px, shift, atol=0.4)
    # Not applied: what is left differs from the unshifted area by plane, phase and scale alone.
    ratio = result.object / image[AREA]
    np.testing.assert_allclose(np.abs(ratio), result.amplitude_scale, rtol=1e-4)


def test_a_first_step_within_the_bound_is_taken_back_when_the_sum_exceeds_it() -> None:
    image = distorted(TRUTH, shift=(4.1, 0))
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.rounds == 2
    assert not result.registration_applied
    assert result.shift_px == pytest.approx((4.1, 0.0), abs=1e-9)
    ratio = result.object / image[AREA]
    np.testing.assert_allclose(np.abs(ratio), result.amplitude_scale, rtol=1e-4)


def test_the_bound_itself_is_within_the_bound() -> None:
    result = align(distorted(TRUTH, shift=(4, -4)), TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.registration_applied
    assert result.shift_px == (4.0, -4.0)


def test_the_bound_is_an_argument() -> None:
    image = distorted(TRUTH, shift=(0, 3))
    assert align(image, TRUTH, AREA, max_shift_px=4).registration_applied
    assert not align(image, TRUTH, AREA, max_shift_px=2).registration_applied


@pytest.mark.parametrize("seed", range(6))
def test_pure_noise_stays_bounded(seed) -> None:
    result = align(noise(seed), TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.registration_applied == (np.abs(result.shift_px).max() <= MAX_SHIFT_PX)
    assert np.isfinite(result.object).all()
    assert np.abs(result.object).mean() == pytest.approx(np.abs(TRUTH[AREA]).mean(), rel=1e-3)


def test_strict_removes_the_global_phase_and_nothing_else() -> None:
    image = distorted(TRUTH, shift=(1.5, 0.5), plane=(0.01, -0.02), scale=1.4)
    strict = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX).strict
    ratio = strict / image[AREA]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
    assert abs(ratio[0, 0]) == pytest.approx(1, abs=1e-5)
    assert np.angle(np.vdot(TRUTH[AREA], strict)) == pytest.approx(0, abs=1e-5)
    # The same up to a global phase: the same array.
    turned = align(image * np.exp(2.2j), TRUTH, AREA, max_shift_px=MAX_SHIFT_PX).strict
    np.testing.assert_allclose(turned, strict, atol=1e-5)


def test_nothing_from_outside_the_context_enters_the_area() -> None:
    # Beyond the largest shift and the taper the canvas may hold anything: no wrap-around, no leak.
    image = distorted(TRUTH, shift=(2.4, -3.3))
    far = np.ones(TRUTH.shape, bool)
    far[AREA[0].start - 16 : AREA[0].stop + 16, AREA[1].start - 16 : AREA[1].stop + 16] = False
    spoilt = np.where(far, 50 * noise(3), image)
    expected, result = (
        align(array, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX) for array in (image, spoilt)
    )
    np.testing.assert_array_equal(result.object, expected.object)
    assert result.shift_px == expected.shift_px


def test_an_area_at_the_edge_of_the_canvas_works() -> None:
    area = (slice(0, 60), slice(150, 232))
    result = align(
        distorted(TRUTH, plane=(0.05, 0.02), scale=0.5), TRUTH, area, max_shift_px=MAX_SHIFT_PX
    )
    assert np.abs(result.object - TRUTH[area]).max() < 1e-5


@pytest.mark.parametrize(("shift", "tolerance"), [((0, 0), 1e-6), ((3, -2), 2e-4)])
def test_uncovered_pixels_do_not_bias_the_scale(shift, tolerance) -> None:
    image = distorted(TRUTH, scale=1.6, shift=shift)
    image[140:150, 60:90] = 0
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.amplitude_scale == pytest.approx(1.6, rel=tolerance)
    hole = result.object[6 + shift[0] : 16 + shift[0], 24 + shift[1] : 54 + shift[1]]
    assert not hole.any()
    assert np.count_nonzero(result.object == 0) == 300


def test_a_single_reconstructed_line_is_fitted_along_itself() -> None:
    image = np.zeros_like(TRUTH)
    image[150] = distorted(TRUTH, plane=(0, 0.05), scale=2)[150]
    result = align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)
    assert result.phase_plane_rad_per_px[1] == pytest.approx(0.05, abs=1e-4)
    np.testing.assert_allclose(result.object[16], TRUTH[150, AREA[1]], atol=1e-3)


def test_the_same_input_gives_the_same_bytes() -> None:
    image = distorted(TRUTH + 0.1 * noise(2), shift=(0.7, 1.1), plane=(0.01, 0.02))
    first, second = (align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX) for _ in range(2))
    assert first.object.tobytes() == second.object.tobytes()
    assert first.shift_px == second.shift_px


def with_pixel(value: complex) -> np.ndarray:
    image = TRUTH.copy()
    image[3, 4] = value
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros_like(TRUTH), "zero in all 10080 pixels"),
        (np.full_like(TRUTH, 0.7 - 0.2j), "constant in all 10080 pixels.*0.728"),
        (np.full_like(TRUTH, 0.7) * (1 + 1e-7 * noise(0).real), "constant in all 10080 pixels"),
        (with_pixel(np.nan), "1 of 53824 pixels of the reconstruction are not finite"),
        (with_pixel(np.inf), "1 of 53824 pixels"),
    ],
)
def test_a_degenerate_reconstruction_is_refused_with_numbers(image, message) -> None:
    with pytest.raises(DegenerateReconstruction, match=message):
        align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX)


def test_what_is_constant_outside_the_area_only_is_scored() -> None:
    image = np.zeros_like(TRUTH)
    image[AREA] = TRUTH[AREA]
    assert error(align(image, TRUTH, AREA, max_shift_px=MAX_SHIFT_PX).object) < 1e-6


@pytest.mark.parametrize(
    ("image", "area", "message"),
    [
        (TRUTH[:-2], AREA, "one canvas"),
        (TRUTH, (slice(134, 240), AREA[1]), "does not lie on a canvas"),
        (TRUTH, (slice(-5, 60), AREA[1]), "does not lie on a canvas"),
        (TRUTH, (slice(60, 60), AREA[1]), "does not lie on a canvas"),
    ],
)
def test_shapes_that_do_not_match_are_refused(image, area, message) -> None:
    with pytest.raises(ValueError, match=message):
        align(image, TRUTH, area, max_shift_px=MAX_SHIFT_PX)
