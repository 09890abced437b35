"""What must not change a score, and what must: alignment and metrics together.

Registered scores forgive what ptychography cannot know; strict scores forgive the global phase
alone. Noise, blur and shifts are errors. How single metrics react is in ``test_metrics.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft
from scipy.ndimage import gaussian_filter

from fly64_assets.ptychography.scoring import comparison as scoring
from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.comparison import Area, score
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
COMPONENTS = metrics.COMPONENTS
EXACT = dict.fromkeys(metrics.METRICS, 1e-5)
"""Single precision of what is scored; PSNR in dB."""
INTERPOLATED = {
    "mae": 2e-4,
    "mse": 5e-5,
    "psnr": 0.02,
    "ssim": 2e-3,
    "ms_ssim": 5e-4,
    "frc50": 0.02,
}
"""What a sub-pixel shift leaves: 1/20 px of resolution, and interpolation of what has an edge."""

Scores = dict[tuple[str, str], float]
"""(row, component) -> value."""
with np.load(SPECIMEN) as _specimen:
    TRUTH = _specimen["objectGuess"].astype(np.complex128)


def noise(sigma: float, seed: int = 0) -> np.ndarray:
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *TRUTH.shape))
    return sigma * (real + 1j * imaginary)


def smooth(image: np.ndarray, sigma_px: float) -> np.ndarray:
    return gaussian_filter(image.real, sigma_px) + 1j * gaussian_filter(image.imag, sigma_px)


def shifted(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Moved by a fraction of a pixel; what leaves the canvas comes in far from the area."""
    y, x = (fft.fftfreq(side) for side in image.shape)
    ramp = np.multiply.outer(np.exp(-2j * np.pi * y * dy), np.exp(-2j * np.pi * x * dx))
    return fft.ifft2(fft.fft2(image) * ramp)


def tilted(image: np.ndarray, slope_y: float, slope_x: float) -> np.ndarray:
    y, x = np.indices(image.shape)
    return image * np.exp(1j * (slope_y * y + slope_x * x))


def scores_of(image: np.ndarray) -> tuple[Scores, scoring.ModelScore]:
    table = score({"PtyChi": image.astype(np.complex64)}, TRUTH, AREA, SETTINGS, {"PtyChi": 1.0})
    values = {
        (row.metric, component): getattr(row, component)
        for row in table.rows
        for component in COMPONENTS
        if row.value is None and row.metric != scoring.CENSORED
    }
    return values, table.models["PtyChi"]


IMAGE = TRUTH + noise(0.1)
BEFORE, _ = scores_of(IMAGE)
STRICT = {key: value for key, value in BEFORE.items() if key[0].endswith(scoring.STRICT_SUFFIX)}


def definition(row: str) -> metrics.MetricDefinition:
    return metrics.METRICS[row.removesuffix(scoring.STRICT_SUFFIX)]


def assert_registered_scores_equal(found: Scores, tolerances: dict[str, float]) -> None:
    for name, tolerance in tolerances.items():
        for component in COMPONENTS:
            expected = pytest.approx(BEFORE[name, component], abs=tolerance)
            assert found[name, component] == expected, (name, component)


def assert_worse(found: Scores, before: Scores, *, but: tuple[str, ...] = ()) -> None:
    """Every score of ``before`` is worse in ``found``."""
    for (row, component), value in before.items():
        if row not in but:
            assert definition(row).is_better(value, found[row, component]), (row, component)


# What ptychography cannot know


@given(
    phase=st.floats(-3.1, 3.1),
    slope_y=st.floats(-0.3, 0.3),
    slope_x=st.floats(-0.3, 0.3),
    scale=st.floats(0.1, 10),
)
@settings(max_examples=5)
def test_phase_plane_and_scale_change_no_registered_score(phase, slope_y, slope_x, scale) -> None:
    free = scale * np.exp(1j * phase)
    found, detail = scores_of(free * tilted(IMAGE, slope_y, slope_x))
    assert_registered_scores_equal(found, EXACT)
    assert detail.aligned.shift_px == (0.0, 0.0)
    assert detail.aligned.phase_plane_rad_per_px == pytest.approx((slope_y, slope_x), abs=2e-3)


@pytest.mark.parametrize("dy", [-4, 1])
@pytest.mark.parametrize("dx", [0, 3])
def test_a_whole_pixel_shift_changes_no_registered_score(dy, dx) -> None:
    found, detail = scores_of(np.roll(IMAGE, (dy, dx), axis=(0, 1)))
    assert detail.aligned.registration_applied
    assert detail.aligned.shift_px == (-dy, -dx)
    assert_registered_scores_equal(found, EXACT)


@pytest.mark.parametrize(("dy", "dx"), [(0.35, -1.7), (0.333, -1.721), (-3.5, 0.01)])
def test_a_sub_pixel_shift_changes_registered_scores_by_its_rest_alone(dy, dx) -> None:
    found, detail = scores_of(shifted(IMAGE, dy, dx))
    assert detail.aligned.shift_px == pytest.approx((-dy, -dx), abs=0.051)
    assert_registered_scores_equal(found, INTERPOLATED)


def test_all_at_once_change_registered_scores_no_more_than_the_shift_alone() -> None:
    found, _ = scores_of(0.6 * np.exp(1j) * tilted(shifted(IMAGE, 1.35, -0.7), 0.03, -0.02))
    assert_registered_scores_equal(found, INTERPOLATED)
    assert_worse(found, STRICT)


def test_strict_scores_forgive_the_global_phase_and_nothing_else() -> None:
    turned, _ = scores_of(np.exp(2.5j) * IMAGE)
    assert turned == pytest.approx(BEFORE, abs=1e-5)

    def changed(image: np.ndarray) -> set[str]:
        """The components whose strict scores all became worse; the others must not have moved."""
        found, _ = scores_of(image)
        worse = set()
        for component in COMPONENTS:
            own = {key: value for key, value in STRICT.items() if key[1] == component}
            if {key: found[key] for key in own} == pytest.approx(own, abs=1e-5):
                continue
            assert_worse(found, own)
            worse.add(component)
        return worse

    # Not a smaller one: SSIM of a noisy image may gain where its noise shrinks with it.
    assert changed(1.3 * IMAGE) == {"amplitude"}
    assert changed(tilted(IMAGE, 0.03, -0.02)) == {"phase"}
    assert changed(np.roll(IMAGE, 1, axis=0)) == {"amplitude", "phase"}
    assert changed(shifted(IMAGE, 0.5, 0.0)) == {"amplitude", "phase"}


def test_a_scale_enters_the_strict_amplitude_as_it_is() -> None:
    image = IMAGE.astype(np.complex64)[AREA.slices].astype(np.complex128)
    found, _ = scores_of(0.5 * IMAGE)
    truth = np.abs(TRUTH[AREA.slices])
    error = np.abs(truth - 0.5 * np.abs(image)).mean()
    assert found["mae_strict", "amplitude"] == pytest.approx(error, abs=1e-6)


# What is an error


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=3)
def test_noise_lowers_every_score_step_by_step(seed) -> None:
    series = [scores_of(TRUTH + noise(sigma, seed))[0] for sigma in (0.05, 0.15, 0.45)]
    for better, worse in zip(series, series[1:], strict=False):
        assert_worse(worse, better)


def test_blur_lowers_every_score_but_frc() -> None:
    series = [scores_of(smooth(TRUTH, sigma))[0] for sigma in (0.5, 1.0, 2.0)]
    for better, worse in zip(series, series[1:], strict=False):
        assert_worse(worse, better, but=("frc50",))
    # Blur multiplies the coefficients of a ring by nearly one positive number, which cancels in a
    # correlation: the FRC says how far signal stands above noise, not how well it is transmitted.
    for component in COMPONENTS:
        assert series[1]["frc50", component] > 0.9


def test_blur_lowers_frc_as_soon_as_there_is_noise_to_compare_with() -> None:
    sharp, blurred = (scores_of(image + noise(0.1))[0] for image in (TRUTH, smooth(TRUTH, 1.0)))
    for component in COMPONENTS:
        assert blurred["frc50", component] < 0.9 * sharp["frc50", component]


@pytest.mark.parametrize(
    "moved",
    [lambda image, px: shifted(image, px, 0), lambda image, px: shifted(image, -px, px)],
    ids=["along y", "along both"],
)
def test_a_shift_lowers_every_unregistered_score_step_by_step(
    moved: Callable[[np.ndarray, float], np.ndarray],
) -> None:
    images = [moved(IMAGE, distance) for distance in (0.0, 0.5, 1.0, 2.0)]
    series = [scores_of(image)[0] for image in images]
    for better, worse in zip(series, series[1:], strict=False):
        assert_worse(worse, {key: better[key] for key in STRICT})
    truth = TRUTH[AREA.slices]
    for component in COMPONENTS:  # FRC has no strict row
        curves = []
        for image in images:
            there, here = scoring.phases(truth, image[AREA.slices])
            if component == "amplitude":
                there, here = np.abs(truth), np.abs(image[AREA.slices])
            curves.append(metrics.frc(there, here, 0.5).frc50)
        assert all(np.diff(curves) < 0), (component, curves)
