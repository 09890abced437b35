"""Image metrics on real two-dimensional arrays, and the table that defines them.

A metric's direction, range and unit stand in `METRICS` and nowhere else; reports, checks and
highlights ask this table. What does not belong here: cutting the scoring area, removing
ambiguities, amplitude and phase of complex objects (``comparison.py``, ``alignment.py``).

Every function takes ``(truth, image)``: two finite (H, W) arrays of the same shape and unit, of
any real dtype; computation is in float64. Where a metric needs a data range it is an argument: the
truth's range in the scoring area, never the image's and never that of a file format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import fft, ndimage
from skimage.metrics import structural_similarity

from fly64_assets.ptychography.scoring.names import COLUMNS

Direction = Literal["higher", "lower"]
COMPONENTS = COLUMNS

WINDOW_SIGMA_PX = 1.5
WINDOW_RADIUS_PX = 5
WINDOW_PX = 2 * WINDOW_RADIUS_PX + 1
"""The 11 px Gaussian window of SSIM and MS-SSIM (Wang et al. 2004)."""
STABILISERS = (0.01, 0.03)
"""K1 and K2 of SSIM (Wang et al. 2004): C = (K * data range)^2."""
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of scales 1 to 5 (Wang, Simoncelli and Bovik 2003, section 3.2)."""


@dataclass(frozen=True)
class MetricDefinition:
    """What a metric means.

    Attributes:
        name: identifier in files and keys.
        title: name for people.
        direction: whether a higher or a lower value is better.
        minimum, maximum: the range of possible values.
        equal: the value for an image equal to the truth; the only one that may be infinite.
        units: unit per component, "1" where dimensionless.
        data_range: what the metric takes for the data range, in words.
        strict: whether it is also reported with only the global phase removed.
        needs_contrast: whether it is not defined where the truth is constant, see `data_range`.
    """

    name: str
    title: str
    direction: Direction
    minimum: float
    maximum: float
    equal: float
    units: dict[str, str]
    data_range: str
    strict: bool
    needs_contrast: bool

    def is_better(self, value: float, reference: float) -> bool:
        """Whether ``value`` is strictly better than ``reference``."""
        return value > reference if self.direction == "higher" else value < reference

    def contains(self, value: float) -> bool:
        """Whether ``value`` is a possible value; NaN never is."""
        in_range = bool(np.isfinite(value)) and self.minimum <= value <= self.maximum
        return in_range or value == self.equal


_TRUTH_RANGE = "maximum minus minimum of the truth in the scoring area"
_NO_RANGE = "not used"
_INF = float("inf")
_NUMBER = {"amplitude": "1", "phase": "1"}
_OBJECT_UNIT = {"amplitude": "1", "phase": "rad"}
_SQUARED_UNIT = {"amplitude": "1", "phase": "rad^2"}
_DECIBEL = {"amplitude": "dB", "phase": "dB"}
_NYQUIST = {"amplitude": "fraction of Nyquist", "phase": "fraction of Nyquist"}

# name, title, direction, minimum, maximum, equal, units, applies to, data range, strict, contrast
_DEFINITIONS: tuple[tuple[Any, ...], ...] = (
    ("mae", "MAE", "lower", 0.0, _INF, 0.0, _OBJECT_UNIT, _NO_RANGE, True, False),
    ("mse", "MSE", "lower", 0.0, _INF, 0.0, _SQUARED_UNIT, _NO_RANGE, True, False),
    ("psnr", "PSNR", "higher", -_INF, _INF, _INF, _DECIBEL, _TRUTH_RANGE, True, True),
    ("ssim", "SSIM", "higher", -1.0, 1.0, 1.0, _NUMBER, _TRUTH_RANGE, True, True),
    ("ms_ssim", "MS-SSIM", "higher", 0.0, 1.0, 1.0, _NUMBER, _TRUTH_RANGE, True, True),
    ("frc50", "FRC50", "higher", 0.0, 1.0, 1.0, _NYQUIST, _NO_RANGE, False, True),
)
METRICS: dict[str, MetricDefinition] = {row[0]: MetricDefinition(*row) for row in _DEFINITIONS}
"""The quality metrics, in the order of their rows in files."""


LEAST_RANGE = 16 * float(np.finfo(np.float32).eps)
"""Of a component's size: what varies by no more than this is the rounding of complex64."""


def data_range(truth: np.ndarray, size: float | None = None) -> float | None:
    """Maximum minus minimum of ``truth``; None where it has no contrast.

    This is the one rule of what has contrast. Without it no metric exists that is relative to the
    range, or to what varies at all (`MetricDefinition.needs_contrast`).

    Args:
        truth: amplitude, or phase in rad, in the scoring area.
        size: what rounding is relative to: by default the largest value; of a phase, 1 rad.

    Raises:
        ValueError: the truth is not finite.
    """
    span = float(np.max(truth) - np.min(truth))
    if not np.isfinite(span):
        raise ValueError(f"the truth's data range is {span}: it is not finite")
    size = float(np.abs(truth).max()) if size is None else size
    return span if span > LEAST_RANGE * size else None


def real_pair(truth: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays in float64.

    Raises:
        ValueError: they are not two finite real two-dimensional arrays of one shape.
    """
    truth, image = np.asarray(truth), np.asarray(image)
    if truth.ndim != 2 or truth.shape != image.shape:
        raise ValueError(
            f"truth and image must be two-dimensional and alike, not {truth.shape} and "
            f"{image.shape}"
        )
    if np.iscomplexobj(truth) or np.iscomplexobj(image):
        raise ValueError("metrics compare real arrays: amplitude or phase, not complex objects")
    truth, image = truth.astype(np.float64), image.astype(np.float64)
    for name, array in (("truth", truth), ("image", image)):
        if not np.isfinite(array).all():
            raise ValueError(f"{np.count_nonzero(~np.isfinite(array))} {name} pixels not finite")
    return truth, image


def mae(truth: np.ndarray, image: np.ndarray) -> float:
    """Mean absolute error, in the arrays' unit."""
    truth, image = real_pair(truth, image)
    return float(np.abs(truth - image).mean())


def mse(truth: np.ndarray, image: np.ndarray) -> float:
    """Mean squared error, in the arrays' unit squared."""
    truth, image = real_pair(truth, image)
    return float(np.square(truth - image).mean())


def psnr(truth: np.ndarray, image: np.ndarray, *, data_range: float) -> float:
    """Peak signal-to-noise ratio ``10 log10(data_range^2 / mse)`` in dB; inf for equal arrays."""
    error = mse(truth, image)
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def ssim(truth: np.ndarray, image: np.ndarray, *, data_range: float) -> float:
    """Structural similarity (Wang et al., IEEE TIP 13, 600, 2004), with that paper's window.

    The mean is over pixels whose whole 11 px window lies inside the array.

    Raises:
        ValueError: a side is shorter than the window.
    """
    truth, image = real_pair(truth, image)
    value = structural_similarity(
        truth,
        image,
        data_range=data_range,
        gaussian_weights=True,
        sigma=WINDOW_SIGMA_PX,
        use_sample_covariance=False,
        K1=STABILISERS[0],
        K2=STABILISERS[1],
    )
    return min(float(value), 1.0)


def ssim_map(truth: np.ndarray, image: np.ndarray, *, data_range: float) -> np.ndarray:
    """(H - 10, W - 10) float64: the map whose mean is `ssim`, of windows that lie inside."""
    luminance, contrast_structure = _ssim_maps(np.stack(real_pair(truth, image)), data_range)
    return luminance * contrast_structure


@dataclass(frozen=True)
class MsSsim:
    """MS-SSIM with what it was made of.

    Attributes:
        value: product of the clamped terms raised to their weights, 0 to 1.
        terms: per scale, finest first: mean contrast-structure, at the last scale mean
            luminance-contrast-structure; as computed, before clamping.
        weights: exponents per scale, renormalised to sum 1.
        n_clamped: how many terms were negative and counted as 0.
    """

    value: float
    terms: tuple[float, ...]
    weights: tuple[float, ...]
    n_clamped: int

    @property
    def scales(self) -> int:
        return len(self.terms)


def ms_ssim_scales(shape: tuple[int, int]) -> int:
    """Return the largest number of scales, at most 5, with shorter side >= 11 * 2^(scales - 1).

    Raises:
        ValueError: the shorter side is below 11 px.
    """
    side = min(shape)
    if side < WINDOW_PX:
        raise ValueError(f"an array of {shape} px is smaller than the {WINDOW_PX} px window")
    return min(len(MS_SSIM_WEIGHTS), (side // WINDOW_PX).bit_length())


def ms_ssim(
    truth: np.ndarray, image: np.ndarray, *, data_range: float, sigma_px: float = 0.0
) -> MsSsim:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003).

    Contrast-structure at every scale and luminance at the last, valid 11 px Gaussian window, 2 x 2
    averaging between scales (an odd last row or column is dropped). The number of scales follows
    `ms_ssim_scales`; the weights of the scales used are renormalised.

    Args:
        truth, image: (H, W) real arrays.
        data_range: of the truth, before smoothing.
        sigma_px: Gaussian smoothing of both arrays before anything else; 0 is none.

    Raises:
        ValueError: arrays that do not match, are not finite or are smaller than the window.
    """
    maps = ms_ssim_maps(truth, image, data_range=data_range, sigma_px=sigma_px)
    terms = [float(values.mean()) for values in maps]
    weights = ms_ssim_weights(len(terms))
    # From above only rounding can be cut off here, from below a real disagreement.
    clamped = np.clip(terms, 0.0, 1.0)
    return MsSsim(
        value=float(np.prod(clamped**weights)),
        terms=tuple(terms),
        weights=tuple(float(weight) for weight in weights),
        n_clamped=sum(term < 0 for term in terms),
    )


def ms_ssim_weights(scales: int) -> np.ndarray:
    """(scales,) float64: the exponents of the scales used, finest first, with sum 1."""
    return np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])


def ms_ssim_maps(
    truth: np.ndarray,
    image: np.ndarray,
    *,
    data_range: float,
    sigma_px: float = 0.0,
    margin_px: int = 0,
) -> list[np.ndarray]:
    """Return the maps whose means are the terms of `ms_ssim`, before clamping, finest scale first.

    Contrast-structure, at the last scale times luminance. At scale s, from 0, a pixel stands for
    one 11 px window on the arrays averaged over 2^s px.

    Args:
        truth, image, data_range, sigma_px: as for `ms_ssim`.
        margin_px: by how much the arrays are mirrored at their borders at every scale; with half a
            window every pixel has a value, but some windows see mirrored pixels. 0 for scores.

    Returns:
        Per scale (h - 10 + 2 margin_px, w - 10 + 2 margin_px) float64, of arrays of (h, w) px.
    """
    pair = np.stack(real_pair(truth, image))
    scales = ms_ssim_scales(pair.shape[1:])
    if sigma_px > 0:
        pair = ndimage.gaussian_filter(pair, sigma_px, axes=(1, 2))
    maps = []
    for scale in range(scales):
        luminance, contrast_structure = _ssim_maps(mirrored(pair, margin_px), data_range)
        last = scale == scales - 1
        maps.append(luminance * contrast_structure if last else contrast_structure)
        if not last:
            pair = _halve(pair)
    return maps


def mirrored(arrays: np.ndarray, margin_px: int) -> np.ndarray:
    """(k, H, W) arrays with a margin in which they are mirrored, the border pixel repeated."""
    edge = (margin_px, margin_px)
    return np.pad(arrays, ((0, 0), edge, edge), mode="symmetric") if margin_px else arrays


def window_means(arrays: np.ndarray) -> np.ndarray:
    """Means of (k, H, W) arrays in the Gaussian window where all of it is inside.

    Returns:
        (k, H - 10, W - 10) float64; pixel (i, j) belongs to pixel (i + 5, j + 5).
    """
    inner = slice(WINDOW_RADIUS_PX, -WINDOW_RADIUS_PX)
    return ndimage.gaussian_filter(arrays, WINDOW_SIGMA_PX, radius=WINDOW_RADIUS_PX, axes=(1, 2))[
        :, inner, inner
    ]


def _ssim_maps(pair: np.ndarray, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure maps of a (2, H, W) pair, each (H - 10, W - 10)."""
    a, b = pair
    moments = window_means(np.stack([a, b, a * a, b * b, a * b]))
    mean_a, mean_b = moments[:2]
    square_a, square_b, product = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    c1, c2 = ((k * data_range) ** 2 for k in STABILISERS)
    # In this order equal arrays give exactly 1.
    variances = (moments[2] - square_a) + (moments[3] - square_b)
    contrast_structure = (2 * (moments[4] - product) + c2) / (variances + c2)
    luminance = (2 * product + c1) / (square_a + square_b + c1)
    return luminance, contrast_structure


def _halve(pair: np.ndarray) -> np.ndarray:
    """2 x 2 averages of a (2, H, W) pair."""
    height, width = (side // 2 for side in pair.shape[1:])
    blocks = pair[:, : 2 * height, : 2 * width].reshape(2, height, 2, width, 2)
    return blocks.mean(axis=(2, 4))


@dataclass(frozen=True, eq=False)
class FrcCurve:
    """Fourier ring correlation by shell, without the shell around zero frequency.

    Attributes:
        frequency: (k,) float64, the shells' centres as a fraction of Nyquist (1.0 = Nyquist).
        correlation: (k,) float64, -1 to 1.
        n_samples: (k,) int64, Fourier coefficients per shell.
        threshold: where the curve is cut.
        frc50: the first crossing below the threshold, fraction of Nyquist; 1.0 if there is none.
            The published row name; it is the 0.5 crossing where the threshold is 0.5.
        censored: the curve never falls below the threshold.
    """

    frequency: np.ndarray
    correlation: np.ndarray
    n_samples: np.ndarray
    threshold: float
    frc50: float
    censored: bool


def frc(truth: np.ndarray, image: np.ndarray, threshold: float) -> FrcCurve:
    """Fourier ring correlation (Saxton and Baumeister 1982; van Heel 1987) of two real arrays.

    Each array loses its window-weighted mean and is multiplied by a periodic Hann window. Shells
    are one frequency step of the SHORTER side wide, in cycles per pixel on both axes, so that an
    area need not be square; the corners beyond Nyquist are left out.

    The crossing is interpolated linearly. The first shell, the one around zero frequency, holds no
    information once the means are gone and is excluded; what lies below the first shell kept is
    taken to start from 1 at zero frequency, so that the crossing is a continuous function of the
    curve. A shell in which either array has no power beyond rounding counts as uncorrelated.

    Args:
        truth, image: (H, W) real arrays, at least 4 px a side.
        threshold: between 0 and 1.
    """
    truth, image = real_pair(truth, image)
    shorter = min(truth.shape)
    if shorter < 4:
        raise ValueError(f"an array of {truth.shape} px has no shell beside the excluded one")
    (first, floor_a), (second, floor_b) = (_windowed_spectrum(array) for array in (truth, image))
    frequencies = (fft.fftfreq(side) for side in truth.shape)
    radius = np.hypot(*np.meshgrid(*frequencies, indexing="ij", sparse=True))
    shell = np.rint(radius * shorter).astype(np.int64).ravel()
    kept = slice(1, shorter // 2 + 1)
    n_samples = np.bincount(shell)[kept]

    def per_shell(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell, values.ravel())[kept]

    cross = per_shell((first * second.conj()).real)
    power_a, power_b = per_shell(np.abs(first) ** 2), per_shell(np.abs(second) ** 2)
    visible = (power_a > n_samples * floor_a**2) & (power_b > n_samples * floor_b**2)
    correlation = np.divide(
        cross, np.sqrt(power_a * power_b), out=np.zeros_like(cross), where=visible
    )
    correlation = np.clip(correlation, -1.0, 1.0)
    frequency = 2 * np.arange(1, shorter // 2 + 1) / shorter
    crossing = _first_crossing(frequency, correlation, threshold)
    return FrcCurve(
        frequency=frequency,
        correlation=correlation,
        n_samples=n_samples,
        threshold=float(threshold),
        frc50=1.0 if crossing is None else crossing,
        censored=crossing is None,
    )


def _windowed_spectrum(array: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the spectrum of the windowed array, and the size of mere rounding in it."""
    # The periodic Hann window reaches exactly one frequency step to either side.
    window = np.multiply.outer(
        *(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in array.shape)
    )
    mean = (window * array).sum() / window.sum()
    rounding = 256 * np.finfo(np.float64).eps * float((window * np.abs(array)).sum())
    return fft.fft2((array - mean) * window), rounding


def _first_crossing(
    frequency: np.ndarray, correlation: np.ndarray, threshold: float
) -> float | None:
    below = np.flatnonzero(correlation < threshold)
    if not len(below):
        return None
    after = below[0]
    f0, c0 = (0.0, 1.0) if after == 0 else (frequency[after - 1], correlation[after - 1])
    f1, c1 = frequency[after], correlation[after]
    return float(f0 + (f1 - f0) * (c0 - threshold) / (c0 - c1))
