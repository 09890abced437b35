"""Where in an image the scores come from: local MS-SSIM and local correlation, pixel by pixel.

Maps for people to look at. What is scored is the global value of ``metrics.py``; these maps use its
window, stabilisers, scales and weights, and nothing is ever computed from them. What does not
belong here: drawing, and cutting or aligning arrays.

Every function takes ``(truth, image)`` as the metrics do: two finite real (H, W) arrays of the same
shape and unit, computed in float64.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fly64_assets.ptychography.scoring import metrics

ROUNDING = 256 * np.finfo(np.float64).eps
"""A local variance below this share of the local mean square is rounding, not structure."""


def local_ms_ssim(
    truth: np.ndarray, image: np.ndarray, *, data_range: float, sigma_px: float = 0.0
) -> np.ndarray:
    """MS-SSIM of the neighbourhood of every pixel, 0 to 1.

    The product over the scales of the clamped maps of `metrics.ms_ssim_maps`, each interpolated
    linearly to the finest scale and raised to its weight. At the border the arrays are mirrored, so
    that every pixel has its window; the score leaves those windows out.

    How its mean relates to the score: MS-SSIM is the product of the maps' means, this is the mean
    of their product. With weights that sum to 1, Hoelder's inequality makes the second at most the
    first as long as both see the same pixels and no value is negative. So the map's mean is usually
    a little lower than the score, and equal for an image equal to the truth. The mirrored border,
    and negative values, which are clamped here pixel by pixel and there after averaging, can lift
    it above.

    Args:
        truth, image, data_range, sigma_px: as for `metrics.ms_ssim`.

    Returns:
        (H, W) float64.
    """
    terms = metrics.ms_ssim_maps(
        truth,
        image,
        data_range=data_range,
        sigma_px=sigma_px,
        margin_px=metrics.WINDOW_RADIUS_PX,
    )
    weights = metrics.ms_ssim_weights(len(terms))
    product = np.ones(terms[0].shape)
    for scale, (term, weight) in enumerate(zip(terms, weights, strict=True)):
        product *= _to_finest(np.clip(term, 0.0, 1.0), scale, product.shape) ** weight
    return product


def _to_finest(term: np.ndarray, scale: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return a scale's map, interpolated linearly at the pixels of the finest scale."""
    if scale == 0:
        return term
    # Pixel i of a scale covers the finest pixels from i * 2^scale on.
    rows, columns = ((np.arange(side) + 0.5) / 2**scale - 0.5 for side in shape)
    grid = np.meshgrid(rows, columns, indexing="ij")
    return ndimage.map_coordinates(term, grid, order=1, mode="nearest")


def local_correlation(truth: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Pearson correlation in the 11 px Gaussian window around every pixel, -1 to 1.

    At the border the arrays are mirrored, so that every pixel has its window.

    Blind to offset and contrast, unlike MS-SSIM, and without its stabilisers and smoothing: in
    regions where the truth is flat it compares noise with noise and is near 0. A window in which
    either array has no variance beyond rounding counts as uncorrelated.

    Returns:
        (H, W) float64.

    Raises:
        ValueError: arrays that do not match, are not finite or are smaller than the window.
    """
    truth, image = metrics.real_pair(truth, image)
    metrics.ms_ssim_scales(truth.shape)  # refuses an array smaller than the window
    # Without their means, which it is blind to, the arrays lose least to rounding.
    a, b = truth - truth.mean(), image - image.mean()
    moments = metrics.mirrored(np.stack([a, b, a * a, b * b, a * b]), metrics.WINDOW_RADIUS_PX)
    mean_a, mean_b, square_a, square_b, product = metrics.window_means(moments)
    variance_a, variance_b = square_a - mean_a * mean_a, square_b - mean_b * mean_b
    visible = (variance_a > ROUNDING * square_a) & (variance_b > ROUNDING * square_b)
    norm = np.sqrt(np.where(visible, variance_a * variance_b, 1.0))
    return np.where(visible, np.clip((product - mean_a * mean_b) / norm, -1.0, 1.0), 0.0)


def correlation(truth: np.ndarray, image: np.ndarray) -> float:
    """Pearson correlation of all pixels, -1 to 1; 0 where either array is constant."""
    truth, image = metrics.real_pair(truth, image)
    if not np.ptp(truth) or not np.ptp(image):
        return 0.0
    a, b = truth - truth.mean(), image - image.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float(np.clip((a * b).sum() / norm, -1.0, 1.0))
