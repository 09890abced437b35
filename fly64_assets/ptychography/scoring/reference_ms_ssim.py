"""The published study's own MS-SSIM, for comparison with its numbers; never part of ours.

It departs from Wang, Simoncelli and Bovik (2003), whose definition is `metrics.ms_ssim`, and gives
other values; so it has another name, and a row of its own only in studies that ask for it
(``scoring.reference_ms_ssim``). What does not belong here: any metric that the study judges by.
"""

from __future__ import annotations

import math
from collections.abc import Container

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from fly64_assets.ptychography.scoring.metrics import (
    COMPONENTS,
    METRICS,
    MS_SSIM_WEIGHTS,
    MetricDefinition,
    real_pair,
)

WINDOW_PX = 7
"""Side of its uniform SSIM window."""
SMALLEST_TERM = 1e-4
"""What a negative term counts as."""
DEFINITION = MetricDefinition(
    name="reference_ms_ssim",
    title="MS-SSIM (reference)",
    direction="higher",
    minimum=0.0,
    maximum=1.0,
    equal=1.0,
    units=METRICS["ms_ssim"].units,
    data_range="the larger of the ranges of truth and image",
    strict=False,
    needs_contrast=True,
)


def reference_ms_ssim(truth: np.ndarray, image: np.ndarray, *, sigma_px: float = 0.0) -> float:
    """MS-SSIM as the published study computed it, 0 to 1.

    Of every level the whole SSIM counts, luminance too: its mean over all uniform windows of 7 px,
    with the sample covariance, raised to the standard weight. Between levels every second pixel is
    kept, without averaging; there are at most five levels, and none with a side below 7 px. Weights
    of levels that are missing are missing: nothing is renormalised. Luminance at every level makes
    the value depend on where the arrays have their zero.

    Args:
        truth, image: (H, W) real arrays.
        sigma_px: Gaussian smoothing of both before anything else; 0 is none.

    Raises:
        ValueError: arrays that do not match, are not finite or smaller than the window.
    """
    pair = list(real_pair(truth, image))
    if min(pair[0].shape) < WINDOW_PX:
        raise ValueError(f"an array of {pair[0].shape} px is smaller than {WINDOW_PX} px")
    if sigma_px > 0:
        pair = [ndimage.gaussian_filter(array, sigma_px) for array in pair]
    span = float(max(np.ptp(array) for array in pair))
    value = 1.0
    for weight in MS_SSIM_WEIGHTS:
        term = float(structural_similarity(*pair, win_size=WINDOW_PX, data_range=span))
        value *= (min(term, 1.0) if term >= 0 else SMALLEST_TERM) ** weight
        pair = [array[::2, ::2] for array in pair]
        if min(pair[0].shape) < WINDOW_PX:
            break
    return value


def by_component(
    amplitudes: tuple[np.ndarray, np.ndarray],
    phases: tuple[np.ndarray, np.ndarray],
    *,
    sigma_px: float,
    defined: Container[str] = COMPONENTS,
) -> dict[str, float]:
    """Component -> value, with the published study's treatment of each.

    Amplitudes are smoothed; phases are not, and are mapped from -pi .. pi to 0 .. 1.

    Args:
        amplitudes, phases: (truth, image), (H, W) each; phases in rad.
        sigma_px: of the smoothing.
        defined: components in which the truth has contrast.
    """
    truth, image = ((array + math.pi) / (2 * math.pi) for array in phases)
    given = {"amplitude": (*amplitudes, sigma_px), "phase": (truth, image, 0.0)}
    return {
        component: reference_ms_ssim(truth, image, sigma_px=sigma)
        for component, (truth, image, sigma) in given.items()
        if component in defined
    }
