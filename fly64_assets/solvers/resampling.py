"""Sub-pixel cuts from predicted frames, numpy only. What does not belong here: stitching."""

from __future__ import annotations

import numpy as np

TAPS = 4
"""Half-width in px of the interpolation kernel (Lanczos, a = 4)."""


def _lanczos_rows(shift: np.ndarray, side: int, source_side: int) -> np.ndarray:
    """(n, side, source_side) float32: rows that read a source ``shift`` px off its centre."""
    wanted = np.arange(side) - side // 2 + source_side // 2 + shift[:, None]
    distance = wanted[:, :, None] - np.arange(source_side)
    kernel = np.sinc(distance) * np.sinc(distance / TAPS) * (np.abs(distance) < TAPS)
    return (kernel / kernel.sum(axis=2, keepdims=True)).astype(np.float32)


def central_patches(frames: np.ndarray, shift: np.ndarray, side: int) -> np.ndarray:
    """Patches around a point near the centre of each frame.

    Separable Lanczos interpolation (Duchon, J. Appl. Meteorol. 18, 1016 (1979)), rows normalised,
    so that a constant stays one. Exact where the shift is zero.

    Args:
        frames: (n, S, S) complex64, pixel S/2 is the centre.
        shift: (n, 2) float, px, y then x, from the centre to the wanted point; at most 0.5.
        side: F, px, even; F <= S - 2 * TAPS keeps the kernel inside the frame.

    Returns:
        (n, F, F) complex64, pixel F/2 is the wanted point.
    """
    if not shift.any():
        first = frames.shape[-1] // 2 - side // 2
        core = slice(first, first + side)
        return frames[:, core, core].astype(np.complex64)
    rows = _lanczos_rows(shift[:, 0], side, frames.shape[-1])
    columns = _lanczos_rows(shift[:, 1], side, frames.shape[-1]).transpose(0, 2, 1)
    return (rows @ frames @ columns).astype(np.complex64)
