"""The forward model of far-field ptychography: patches, exit waves, diffraction.

Convention: positions are (n, 2) float64 canvas pixels, y then x; pixel N/2 of an N x N patch lies
at its position, so that at integers ``patch = object[y-N/2:y+N/2, x-N/2:x+N/2]``. Diffraction is
``abs(F(probe * patch))`` with the orthonormal FFT and the zero frequency at pixel N/2. Noise, doses
and files do not belong here.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from fly64_assets.errors import InputError


def require_inside(
    positions_px: np.ndarray, canvas_shape: tuple[int, int], patch_size: int
) -> None:
    """Refuse positions whose patch leaves the canvas.

    Raises:
        InputError: with the first such position and the range that is allowed.
    """
    lowest = patch_size / 2
    highest = np.asarray(canvas_shape) - patch_size / 2
    outside = ~((positions_px >= lowest) & (positions_px <= highest)).all(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        y, x = positions_px[first]
        raise InputError(
            "scan",
            "positions",
            f"{int(outside.sum())} of {len(positions_px)} patches leave the canvas; position "
            f"{first} is (y, x) = ({y:g}, {x:g}), allowed are {lowest:g} to "
            f"({highest[0]:g}, {highest[1]:g}) px",
        )


def shift_factors(fractions: np.ndarray, length: int) -> np.ndarray:
    """(n, length) complex64 Fourier factors that move pixel 0 of a window to ``fractions``."""
    frequencies = fft.fftfreq(length)
    factors = np.exp(2j * np.pi * frequencies * fractions[:, None])
    if length % 2 == 0:
        # At the Nyquist frequency both signs are one sample; their mean keeps a real object real.
        factors[:, length // 2] = np.cos(np.pi * fractions)
    return factors.astype(np.complex64)


class PatchCutter:
    """Cuts patches of one object: what does not depend on positions is made once.

    Args:
        object_: (H, W) complex, the object canvas.
        patch_size: N, even.
        padding_px: context on each side of a patch.
    """

    def __init__(self, object_: np.ndarray, patch_size: int, *, padding_px: int) -> None:
        self._shape, self._patch_size, self._padding_px = object_.shape, patch_size, padding_px
        self._canvas = np.pad(object_.astype(np.complex64, copy=False), padding_px, mode="edge")

    def at(self, positions_px: np.ndarray) -> np.ndarray:
        """(n, N, N) complex64 patches at (n, 2) positions; see `extract_patches`."""
        positions_px = np.asarray(positions_px, np.float64)
        require_inside(positions_px, self._shape, self._patch_size)
        length = self._patch_size + 2 * self._padding_px
        corners = positions_px - self._patch_size / 2
        whole = np.floor(corners).astype(np.intp)
        fractions = corners - whole
        windows = np.empty((len(whole), length, length), np.complex64)
        for window, (y, x) in zip(windows, whole.tolist(), strict=True):
            window[...] = self._canvas[y : y + length, x : x + length]
        moved = fractions.any(axis=1)
        if moved.all():
            windows = _shifted(windows, fractions)
        elif moved.any():
            windows[moved] = _shifted(windows[moved], fractions[moved])
        inner = slice(self._padding_px, self._padding_px + self._patch_size)
        return np.ascontiguousarray(windows[:, inner, inner])


def _shifted(windows: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """(n, L, L) complex64, overwritten: their content moved by minus ``fractions``, (n, 2) px."""
    length = windows.shape[-1]
    spectra = fft.fft2(windows, overwrite_x=True)
    spectra *= shift_factors(fractions[:, 0], length)[:, :, None]
    spectra *= shift_factors(fractions[:, 1], length)[:, None, :]
    return fft.ifft2(spectra, overwrite_x=True)


def extract_patches(
    object_: np.ndarray, positions_px: np.ndarray, patch_size: int, *, padding_px: int
) -> np.ndarray:
    """Cut patches at sub-pixel positions by a Fourier shift of a slightly larger window.

    The window of N + 2 ``padding_px`` pixels keeps the wrap-around of the shift away from the
    patch; where it reaches over the canvas edge, the edge pixels are repeated. Patches at integer
    positions are copies of the object, exactly.

    Args:
        object_: (H, W) complex, the object canvas.
        positions_px: (n, 2) float64, y then x.
        patch_size: N, even.
        padding_px: context on each side of the patch.

    Returns:
        (n, N, N) complex64.

    Raises:
        InputError: a patch leaves the canvas.
    """
    return PatchCutter(object_, patch_size, padding_px=padding_px).at(positions_px)


def far_field(patches: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Diffraction amplitude behind the object, noiseless.

    Args:
        patches: (n, N, N) complex.
        probe: (N, N) complex; with unit power the amplitudes' squares sum to the transmission.

    Returns:
        (n, N, N) float32 ``abs(fftshift(fft2(probe * patch, norm="ortho")))``.
    """
    exit_waves = np.multiply(patches, probe, dtype=np.complex64)
    waves = fft.fft2(exit_waves, norm="ortho", overwrite_x=True)
    return fft.fftshift(np.abs(waves), axes=(-2, -1))


def transmitted_power(patches: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """(n,) float64 power of each exit wave; by Parseval also of its diffraction pattern."""
    exit_waves = np.multiply(patches, probe, dtype=np.complex64)
    parts = exit_waves.view(np.float32).reshape(len(exit_waves), -1)
    return np.einsum("ij,ij->i", parts, parts, dtype=np.float64)
