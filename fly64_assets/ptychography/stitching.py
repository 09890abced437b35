"""Merging object patches, one per scan position, into one object on the canvas.

What does not belong here: how the patches were made, and cutting patches from an object
(the forward model).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import fft

BLOCK_PATCHES = 64
"""Patches placed at a time: their arrays stay in the processor's cache. No effect on the result."""
ENVELOPE_FLOOR = 0.05
"""Least value, before scaling to a maximum of 1, of either factor of the envelope; see `stitch`."""


@dataclass(frozen=True, eq=False)
class Stitched:
    """Patches merged on the canvas.

    Attributes:
        object: (H, W) complex64; 0 where nothing covers.
        weight: (H, W) float32, sum of the weights that the pixel was averaged with; one patch
            gives at most 1 per pixel; 0 where nothing covers.
        fallback: (H, W) bool, True where no trusted centre covers and the outer parts of patches
            were taken.
    """

    object: np.ndarray
    weight: np.ndarray
    fallback: np.ndarray


def stitch(
    patches: np.ndarray,
    positions_px: np.ndarray,
    probe: np.ndarray,
    canvas_shape: tuple[int, int],
    *,
    crop_px: int,
    threads: int = 1,
) -> Stitched:
    """Average patches, weighted by the probe's intensity, their trusted centres first.

    A canvas pixel that the central ``crop_px`` x ``crop_px`` part of at least one patch covers is
    the weighted mean over such parts alone. Any other pixel falls back to the mean over whole
    patches, and is marked.

    Sub-pixel placement is a Fourier shift of ``e * patch``, divided in the sum by the equally
    shifted ``e``. The envelope ``e``, a product of one function of y and one of x, follows the
    probe's modulus: noise in a patch goes as 1 / abs(probe), so that what is shifted is about
    evenly noisy and fades out before the periodic boundary, where a shifted bare patch would ring;
    its floor keeps the division sound where the probe is dark; and patches of a constant give that
    constant. The weight is ``abs(probe)^2 * shifted(e) / e``: abs(probe)^2 to within half a pixel,
    never negative, zero where the probe is.

    Args:
        patches: (n, F, F) complex64, F even, F <= N.
        positions_px: (n, 2) float64, canvas pixels, y then x; pixel F/2 of a patch lies there.
        probe: (N, N) complex, in any scaling.
        canvas_shape: (H, W).
        crop_px: M, 0 < M <= N, side of the trusted centre; at M >= F the whole patch is trusted.
        threads: for the FFTs; it does not change the result.

    Raises:
        ValueError: shapes or M break the above, a patch or position is not finite, or a patch
            reaches beyond the canvas.
    """
    _check(patches, positions_px, probe, crop_px)
    side = patches.shape[-1]
    corners, fractions = _corners(positions_px, side, canvas_shape)
    intensity = _central_intensity(probe, side)
    trusted = min(crop_px, side)
    first = side // 2 - trusted // 2
    centre = slice(first, first + trusted)
    total, weight = np.zeros(canvas_shape, np.complex64), np.zeros(canvas_shape, np.float32)
    core_total, core_weight = np.zeros_like(total), np.zeros_like(weight)
    for part in _blocks(len(patches)):
        values, weights = _placed(patches[part], fractions[part], intensity, threads)
        for value, gain, (y, x) in zip(values, weights, corners[part].tolist(), strict=True):
            window = slice(y, y + side), slice(x, x + side)
            total[window] += value
            weight[window] += gain
            y, x = y + first, x + first
            window = slice(y, y + trusted), slice(x, x + trusted)
            core_total[window] += value[centre, centre]
            core_weight[window] += gain[centre, centre]
    fallback = (core_weight == 0) & (weight > 0)
    core_total[fallback], core_weight[fallback] = total[fallback], weight[fallback]
    merged = np.divide(
        core_total, core_weight, out=np.zeros_like(core_total), where=core_weight > 0
    )
    return Stitched(object=merged, weight=core_weight, fallback=fallback)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_PATCHES):
        yield slice(start, start + BLOCK_PATCHES)


def _check(patches: np.ndarray, positions_px: np.ndarray, probe: np.ndarray, crop_px: int) -> None:
    size = probe.shape[-1]
    if probe.shape != (size, size) or not np.abs(probe).max() > 0:
        raise ValueError(f"probe of shape {probe.shape}: it must be (N, N) and non-zero")
    if patches.ndim != 3 or patches.shape[1] != patches.shape[2]:
        raise ValueError(f"patches of shape {patches.shape} are not (n, F, F)")
    side = patches.shape[-1]
    if side % 2 or not 0 < side <= size:
        raise ValueError(f"patches of {side} px: F must be even and at most N = {size}")
    if not 0 < crop_px <= size:
        raise ValueError(f"crop_px: M = {crop_px} is not in 0 < M <= N = {size}")
    if positions_px.shape != (len(patches), 2):
        raise ValueError(
            f"positions of shape {positions_px.shape} do not match {len(patches)} patches"
        )
    if not (np.isfinite(patches).all() and np.isfinite(positions_px).all()):
        raise ValueError("patches and positions must be finite")


def _corners(
    positions_px: np.ndarray, side: int, canvas_shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Whole-pixel top left corners (n, 2) int64 and what is left, (n, 2) in [-0.5, 0.5) px."""
    exact = np.asarray(positions_px, np.float64) - side / 2
    corners = np.floor(exact + 0.5).astype(np.int64)
    outside = (corners < 0) | (corners + side > np.array(canvas_shape))
    if outside.any():
        index = int(np.flatnonzero(outside.any(axis=1))[0])
        raise ValueError(
            f"{np.count_nonzero(outside.any(axis=1))} patches of {side} px reach beyond the canvas "
            f"of {tuple(canvas_shape)} px; the first at (y, x) = {positions_px[index].tolist()}"
        )
    return corners, exact - corners


def _central_intensity(probe: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32, the central part of abs(probe)^2, its maximum 1."""
    first = (probe.shape[-1] - side) // 2
    central = np.abs(probe[first : first + side, first : first + side]).astype(np.float64) ** 2
    if not central.max() > 0:
        raise ValueError(f"the probe is zero in its central {side} x {side} px")
    return (central / central.max()).astype(np.float32)


def _placed(
    patches: np.ndarray, fractions: np.ndarray, intensity: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Patches shifted by a fraction of a pixel and weighted, and their weights.

    Returns:
        (n, F, F) complex64 ``weight * patch`` and (n, F, F) float32 ``weight``, 0 to about 1.
    """
    factors = [_shift_factors(fractions[:, axis], patches.shape[-1]) for axis in (0, 1)]
    envelope = [_envelope(intensity, axis) for axis in (0, 1)]
    shifted_envelope = [
        fft.ifft(fft.fft(part) * factor).real
        for part, factor in zip(envelope, factors, strict=True)
    ]
    outer_envelope = np.outer(*envelope)
    values = patches * outer_envelope
    values = fft.fft2(values, workers=threads, overwrite_x=True)
    values *= factors[0][:, :, None]
    values *= factors[1][:, None, :]
    values = fft.ifft2(values, workers=threads, overwrite_x=True)
    # A hard-edged envelope could ring below zero beside its edge: no weight there.
    rows, columns = (np.maximum(part, 0) for part in shifted_envelope)
    weights = rows[:, :, None] * columns[:, None, :]
    gain = intensity / outer_envelope
    if (rows == 0).any() or (columns == 0).any():
        values[weights == 0] = 0
    values *= gain
    weights *= gain
    return values, weights


def _envelope(intensity: np.ndarray, axis: int) -> np.ndarray:
    """(F,) float32, the modulus of the probe along one axis, with a floor."""
    marginal = intensity.sum(axis=1 - axis)
    return np.sqrt(marginal / marginal.max() + np.float32(ENVELOPE_FLOOR**2))


def _shift_factors(fraction: np.ndarray, side: int) -> np.ndarray:
    """(n, side) complex64 factors that shift by ``fraction`` px along one axis.

    The Nyquist coefficient stands for both its signs, so its factor is their mean: real signals
    stay real.
    """
    factors = np.exp(-2j * np.pi * np.outer(fraction, fft.fftfreq(side)))
    factors[:, side // 2] = np.cos(np.pi * fraction)
    return factors.astype(np.complex64)
