"""Removing what ptychography cannot know before a reconstruction is compared with the truth.

A reconstruction is free in its global phase; without a known probe also in its position, in a
phase plane and in its amplitude scale. All four are fitted to the truth in the scoring area, which
is why the fitted values are part of the result: with a known probe a plane, a scale or a shift is
an error as well, and the ``strict`` array keeps it. What does not belong here: metrics, and the
choice of the area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.signal.windows import tukey
from skimage.registration import phase_cross_correlation

UPSAMPLING = 20
"""Registration resolves 1/20 px."""
MAX_ROUNDS = 8
"""Registration and fit settle in two to four rounds; noise never settles, and is stopped here."""
TAPER_PX = 12
"""Context around the area in which the Fourier shift's periodic boundary fades out."""
NEWTON_STEPS = 20
NEWTON_TOLERANCE_RAD = 1e-9
REGISTRATION_TAPER = 0.2
"""Tapered fraction of the registration window: edges that do not move would pull towards zero."""


class DegenerateReconstruction(ValueError):
    """A reconstruction that is empty, constant or not finite, so that nothing can be compared."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """A reconstruction in the scoring area, with and without its fitted ambiguities.

    Within the area, ``r`` in pixels from the area's centre, y then x, the fit says
    ``reconstruction(r - shift) * amplitude_scale = truth(r) * exp(i (phase_offset + plane . r))``.

    Attributes:
        object: (h, w) complex64, shift (if applied), plane, phase and scale removed; 0 stays 0.
        strict: (h, w) complex64, only the global phase removed.
        shift_px: (dy, dx), the shift that brings the reconstruction onto the truth, as estimated.
        registration_applied: False where the estimate exceeds the bound; then it was not applied
            and everything else is fitted at zero shift.
        phase_offset_rad: global phase at the area's centre.
        phase_plane_rad_per_px: (y, x) slopes.
        amplitude_scale: mean amplitude of the truth over that of the reconstruction.
        rounds: how many rounds of fit and registration it took.
    """

    object: np.ndarray
    strict: np.ndarray
    shift_px: tuple[float, float]
    registration_applied: bool
    phase_offset_rad: float
    phase_plane_rad_per_px: tuple[float, float]
    amplitude_scale: float
    rounds: int


def align(
    reconstruction: np.ndarray,
    truth: np.ndarray,
    area: tuple[slice, slice],
    *,
    max_shift_px: float,
) -> Aligned:
    """Fit and remove shift, global phase, phase plane and amplitude scale.

    Registration is the sub-pixel cross-correlation of Guizar-Sicairos, Thurman and Fienup (Optics
    Letters 33, 156, 2008) on the complex objects, less their means: amplitude and phase both count,
    and phase wraps do not exist. It alternates with the phase fit until the shift is stable, for a
    plane blurs the correlation and a shift biases the plane.

    Args:
        reconstruction: (H, W) complex, on the truth's canvas; 0 where nothing was reconstructed.
        truth: (H, W) complex.
        area: rows and columns to compare, with non-negative bounds inside the canvas.
        max_shift_px: a shift beyond this on either axis is recorded but not applied.

    Raises:
        DegenerateReconstruction: the reconstruction is empty or constant in the area, or not
            finite anywhere.
        ValueError: shapes differ, or the area does not lie on the canvas.
    """
    rows, columns = _checked_area(reconstruction, truth, area)
    _refuse_degenerate(reconstruction, (rows, columns))
    target = truth[rows, columns].astype(np.complex128)
    raw = reconstruction[rows, columns].astype(np.complex128)
    # A coarse plane goes first, so that interpolation meets a flat phase; the rest is fitted after
    # every shift, where the pixels that are compared then stand.
    coarse = _fit_phase_plane(raw, target)
    context, margin = _with_context(reconstruction, (rows, columns), max_shift_px)
    flat = context * _plane_factor(coarse, context.shape)

    def registered(shift: np.ndarray) -> tuple[_PhasePlane, np.ndarray]:
        inside = _shifted(flat, shift)[margin:-margin, margin:-margin]
        rest = _fit_phase_plane(inside, target)
        offset = _wrapped(coarse.offset - coarse.slope @ shift + rest.offset)
        total = _PhasePlane(offset, coarse.slope + rest.slope)
        return total, inside * _plane_factor(rest, inside.shape)

    shift = np.zeros(2)
    plane, aligned = registered(shift)
    applied = True
    rounds = 0
    while rounds < MAX_ROUNDS:
        rounds += 1
        step = _register(aligned, target)
        if not step.any():
            break
        # Steps are multiples of the resolution: their sum must not exceed the bound by an ulp.
        shift = np.round((shift + step) * UPSAMPLING) / UPSAMPLING
        if np.abs(shift).max() > max_shift_px:
            applied = False
            plane, aligned = registered(np.zeros(2))
            break
        plane, aligned = registered(shift)
    whole_px = np.rint(shift).astype(int) if applied else (0, 0)
    covered = np.roll(context != 0, whole_px, axis=(0, 1))[margin:-margin, margin:-margin]
    # Interpolation must not invent pixels that nothing reconstructed.
    aligned = np.where(covered, aligned, 0)
    scale = float(np.abs(target[covered]).mean() / np.abs(aligned[covered]).mean())
    strict = raw * np.exp(-1j * np.angle(np.vdot(target, raw)))
    return Aligned(
        object=(aligned * scale).astype(np.complex64),
        strict=strict.astype(np.complex64),
        shift_px=(float(shift[0]), float(shift[1])),
        registration_applied=applied,
        phase_offset_rad=float(plane.offset),
        phase_plane_rad_per_px=(float(plane.slope[0]), float(plane.slope[1])),
        amplitude_scale=scale,
        rounds=rounds,
    )


@dataclass(frozen=True, eq=False)
class _PhasePlane:
    """``offset + slope . r`` in rad, r in pixels from the centre of the array, y then x."""

    offset: float
    slope: np.ndarray


def _checked_area(
    reconstruction: np.ndarray, truth: np.ndarray, area: tuple[slice, slice]
) -> tuple[slice, slice]:
    if truth.ndim != 2 or reconstruction.shape != truth.shape:
        raise ValueError(
            f"reconstruction {reconstruction.shape} and truth {truth.shape} must be one canvas"
        )
    for part, side in zip(area, truth.shape, strict=True):
        if part.step not in (None, 1) or not 0 <= part.start < part.stop <= side:
            raise ValueError(f"area {area} does not lie on a canvas of {truth.shape} px")
    return area


def _refuse_degenerate(reconstruction: np.ndarray, area: tuple[slice, slice]) -> None:
    broken = np.count_nonzero(~np.isfinite(reconstruction))
    if broken:
        raise DegenerateReconstruction(
            f"{broken} of {reconstruction.size} pixels of the reconstruction are not finite"
        )
    inside = reconstruction[area]
    largest = float(np.abs(inside).max())
    if largest == 0:
        raise DegenerateReconstruction(
            f"the reconstruction is zero in all {inside.size} pixels of the scoring area"
        )
    # Merging equal patches leaves the rounding of single precision, not exact equality.
    spread = float(np.abs(inside - inside.flat[0]).max())
    if spread <= 16 * np.finfo(np.float32).eps * largest:
        raise DegenerateReconstruction(
            f"the reconstruction is constant in all {inside.size} pixels of the scoring area: "
            f"largest magnitude {largest:.6g}, spread {spread:.3g}"
        )


def _with_context(
    canvas: np.ndarray, area: tuple[slice, slice], max_shift_px: float
) -> tuple[np.ndarray, int]:
    """Cut the area with a margin for shifting, and give both; edges repeat beyond the canvas."""
    margin = int(np.ceil(max_shift_px)) + TAPER_PX
    indices = (
        np.clip(np.arange(part.start - margin, part.stop + margin), 0, side - 1)
        for part, side in zip(area, canvas.shape, strict=True)
    )
    return canvas[np.ix_(*indices)].astype(np.complex128), margin


def _shifted(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Fourier shift; the outer `TAPER_PX` fade to the mean, so that no edge wraps into the area."""
    if not shift.any():
        return image
    mean = image.mean()
    ramp = np.sin(np.linspace(0, np.pi / 2, TAPER_PX, endpoint=False)) ** 2
    tapers, phases = [], []
    for side, distance in zip(image.shape, shift, strict=True):
        taper = np.ones(side)
        taper[:TAPER_PX], taper[-TAPER_PX:] = ramp, ramp[::-1]
        tapers.append(taper)
        phases.append(np.exp(-2j * np.pi * fft.fftfreq(side) * distance))
    spectrum = fft.fft2((image - mean) * np.multiply.outer(*tapers))
    return fft.ifft2(spectrum * np.multiply.outer(*phases)) + mean


def _register(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(dy, dx) px that moves ``image`` onto ``target``, both (h, w) complex with a common phase."""
    window = np.multiply.outer(*(tukey(side, REGISTRATION_TAPER) for side in target.shape))
    # Without normalisation: whitening the spectrum would let the noise vote (normalization=None).
    shift, *_ = phase_cross_correlation(
        (target - target.mean()) * window,
        (image - image.mean()) * window,
        upsample_factor=UPSAMPLING,
        normalization=None,
    )
    return np.asarray(shift, dtype=np.float64)


def _centred(side: int) -> np.ndarray:
    return np.arange(side) - (side - 1) / 2


def _plane_factor(plane: _PhasePlane, shape: tuple[int, int]) -> np.ndarray:
    """``exp(-i (offset + slope . r))`` on an array whose centre is the plane's origin."""
    y, x = (np.exp(-1j * s * _centred(n)) for s, n in zip(plane.slope, shape, strict=True))
    return np.exp(-1j * plane.offset) * np.multiply.outer(y, x)


def _fit_phase_plane(image: np.ndarray, target: np.ndarray) -> _PhasePlane:
    """Return the plane that, taken out of ``image``, leaves the least squared misfit to ``target``.

    Minimising ``sum abs(image exp(-i plane) - s target)^2`` over offset and slopes, at the best s,
    is maximising ``abs(sum image conj(target) exp(-i slope . r))``: a peak in Fourier space,
    found on a grid and refined by Newton steps. No phase is ever unwrapped, and a pixel counts by
    its amplitudes.
    """
    product = image * target.conj()
    padded = [fft.next_fast_len(2 * side) for side in product.shape]
    peak = np.unravel_index(np.argmax(np.abs(fft.fft2(product, padded))), padded)
    slope = np.array([2 * np.pi * fft.fftfreq(n)[k] for n, k in zip(padded, peak, strict=True)])
    y, x = (_centred(side) for side in product.shape)

    def moments(values: np.ndarray) -> tuple[float, float, float]:
        return values.sum(), y @ values.sum(axis=1), x @ values.sum(axis=0)

    offset = np.angle((product * _plane_factor(_PhasePlane(0.0, slope), product.shape)).sum())
    plane = _PhasePlane(offset, slope)
    for _ in range(NEWTON_STEPS):
        residual = product * _plane_factor(plane, product.shape)
        curvature = np.maximum(residual.real, 0.0)
        c0, cy, cx = moments(curvature)
        cyy, cxx = y**2 @ curvature.sum(axis=1), x**2 @ curvature.sum(axis=0)
        cyx = y @ curvature @ x
        hessian = np.array([[c0, cy, cx], [cy, cyy, cyx], [cx, cyx, cxx]])
        # Least squares, for a reconstruction of a single line leaves a slope undetermined.
        step = np.linalg.lstsq(hessian, np.array(moments(residual.imag)), rcond=None)[0]
        plane = _PhasePlane(plane.offset + step[0], plane.slope + step[1:])
        if np.abs(step * [1, len(y), len(x)]).max() < NEWTON_TOLERANCE_RAD:
            break
    return _PhasePlane(_wrapped(plane.offset), plane.slope)


def _wrapped(angle: float) -> float:
    """``angle`` in (-pi, pi]."""
    return float(np.angle(np.exp(1j * angle)))
