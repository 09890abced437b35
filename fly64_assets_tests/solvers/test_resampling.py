"""Sub-pixel cuts from frames, against an object known in closed form."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.solvers.resampling import TAPS, central_patches
from fly64_assets_tests.solvers.closed_form_scan import patches_at

SIDE = 16
FRAME = SIDE + 2 * TAPS


@settings(max_examples=20)
@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_patch_is_the_object_around_the_wanted_point(dy, dx):
    centre = np.array([[30.0, 40.0], [25.0, 33.0]])
    shift = np.array([[dy, dx], [dx, dy]])
    patches = central_patches(patches_at(centre, FRAME), shift, SIDE)
    assert patches.dtype == np.complex64
    np.testing.assert_allclose(patches, patches_at(centre + shift, SIDE), atol=4e-3)


def test_no_shift_is_an_exact_crop_and_a_constant_stays_one():
    frames = patches_at(np.array([[30.0, 40.0]]), FRAME)
    crop = frames[:, TAPS:-TAPS, TAPS:-TAPS]
    np.testing.assert_array_equal(central_patches(frames, np.zeros((1, 2)), SIDE), crop)
    flat = np.full((1, FRAME, FRAME), 0.7 - 0.2j, np.complex64)
    shifted = central_patches(flat, np.array([[0.3, -0.45]]), SIDE)
    np.testing.assert_allclose(shifted, flat[:, :SIDE, :SIDE], rtol=1e-6)
