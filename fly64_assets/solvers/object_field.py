"""The physics estimate of a whole view: what PtychoPINN's network refines.

Preconditioned gradient steps with momentum on the Poisson likelihood of the counts, from a constant
object or from what the network made of an earlier estimate. A Gaussian prior asks the *change* to
be smooth, so that steps do not bring back the noise that the network took out; its weight is in
counts, so that it fades by itself as photons grow. Nothing here is learned and nothing knows the
truth.

Patches lie at the sub-pixel positions, as the data's do, and the probe stays on its grid: to move
the probe instead is another forward model, with which an estimate is worse by up to .02 in MS-SSIM
(``docs/pinn.md``). What does not belong here: networks and TensorFlow (numpy and scipy only), which
images an estimate may see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from fly64_assets.ptychography.forward import shift_factors
from fly64_assets.solvers.grouping import split_positions
from fly64_assets.solvers.interface import Measurement

PADDING_PX = 4
"""Context on each side of a patch, so that what its Fourier shift wraps around is cut off."""
CHUNK = 64
"""Patterns transformed at a time: their arrays stay in the processor's cache. No other effect."""
AfterStep = Callable[[], None]


def quiet() -> None:
    """Tells nobody that a step is done."""


@dataclass(frozen=True)
class FieldSteps:
    """How an estimate is improved; see ``study.FieldSettings``, which gives every number."""

    step: float
    momentum: float
    patterns_per_pixel: float
    damping: float
    floor_counts: float


class ObjectField:
    """Estimates of one measurement's object on its canvas.

    Args:
        measurement: the view.
        steps: see `FieldSteps`.
        threads: of the FFTs; no effect on the result.
    """

    def __init__(self, measurement: Measurement, steps: FieldSteps, threads: int) -> None:
        self.canvas_shape = measurement.canvas_shape
        self._diffraction = measurement.diffraction
        self._side = measurement.patch_size
        self._steps, self._threads = steps, threads
        self._counts_scale = float(measurement.intensity_scale) ** 2
        pixel, self._subpixel = split_positions(measurement.positions_px)
        self._corners = pixel.astype(np.intp) - self._side // 2
        self._probe = measurement.probe.astype(np.complex64)
        self._probe_spectrum = fft.fft2(self._probe)
        wide = self._side + 2 * PADDING_PX
        self._shifts = [shift_factors(part, wide) for part in self._subpixel.T]

    def constant(self) -> np.ndarray:
        """(H, W) complex64, the object of ones from which an estimate starts."""
        return np.ones(self.canvas_shape, np.complex64)

    def illumination(self, images: np.ndarray) -> np.ndarray:
        """(H, W) float32 sum of abs(probe)^2 over ``images``, (k,) indices."""
        total = np.zeros(self.canvas_shape, np.float32)
        for part in _chunks(images):
            self._add(np.abs(self._probes(part)) ** 2, part, total)
        return total

    def conditions(self, images: np.ndarray) -> np.ndarray:
        """How well each pixel was measured.

        Returns:
            (H, W, 2) float32: ``1 / sqrt(1 + c)`` with ``c`` the counts that went through the pixel
            where the object transmits all, and the square root of the illumination over its
            brightest value.
        """
        lit = self.illumination(images)
        noise = 1.0 / np.sqrt(1.0 + lit * self._counts_scale)
        return np.stack([noise, np.sqrt(lit / lit.max())], axis=-1).astype(np.float32)

    def misfit(self, estimate: np.ndarray, images: np.ndarray) -> np.ndarray:
        """(H, W) complex64: what ``images`` want changed, over their likelihood's curvature."""
        lit = self.illumination(images)
        damped = lit + np.float32(self._steps.damping * lit.max())
        return -self._gradient(estimate, images) / damped

    def improved(
        self,
        start: np.ndarray,
        images: np.ndarray,
        count: int,
        seed: Sequence[int],
        *,
        smoothness_counts: float,
        after_step: AfterStep = quiet,
    ) -> np.ndarray:
        """Return the estimate after ``count`` steps from ``start``.

        Args:
            start: (H, W) complex64; the prior wants the difference from it to be smooth.
            images: (k,) indices of the patterns that may be looked at.
            count: steps; each looks at so many patterns that about ``patterns_per_pixel`` of them
                light a pixel, and all have their turn. The pace falls to zero: patterns not looked
                at last would leave their noise otherwise.
            seed: of the order of patterns.
            smoothness_counts: weight of the prior that the change be smooth.
            after_step: called after each step.

        Returns:
            (H, W) complex64.
        """
        rule = self._steps
        generator = np.random.default_rng(seed)
        lit = self.illumination(images)
        smoothness = smoothness_counts / self._counts_scale
        # 8 bounds the spectrum of the discrete Laplace operator.
        curvature = lit + np.float32(rule.damping * lit.max() + 8 * smoothness)
        pace = np.float32(rule.step) / curvature
        momentum, weight = np.float32(rule.momentum), np.float32(smoothness)
        batches = max(1, round(self._patterns_on_a_pixel(lit) / rule.patterns_per_pixel))
        estimate, velocity = start.copy(), np.zeros_like(start)
        waiting: list[np.ndarray] = []
        for number in range(count):
            if not waiting:
                waiting = np.array_split(generator.permutation(images), batches)
            batch = waiting.pop()
            ahead = estimate + momentum * velocity
            gradient = self._gradient(ahead, batch) * np.float32(len(images) / len(batch))
            gradient += weight * _roughness(ahead - start)
            velocity = momentum * velocity - np.float32(1 - number / count) * pace * gradient
            estimate += velocity
            after_step()
        return estimate

    def merged(self, field: np.ndarray, frames: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Frames put into the field, each weighted with its probe's intensity.

        Args:
            field: (H, W) complex64, kept where no frame says anything.
            frames: (k, S, S) complex64, S <= N, pixel S/2 at the pixel of the image's position.
            images: (k,) indices.
        """
        side = frames.shape[-1]
        margin = (self._side - side) // 2
        core = slice(margin, margin + side)
        total, weight = np.zeros_like(field), np.zeros(field.shape, np.float32)
        weights = (np.abs(self._probes(images)) ** 2)[:, core, core]
        corners = self._corners[images] + margin
        for frame, gain, (y, x) in zip(frames, weights, corners.tolist(), strict=True):
            window = slice(y, y + side), slice(x, x + side)
            total[window] += gain * frame
            weight[window] += gain
        return np.where(weight > 0, total / np.maximum(weight, np.float32(1e-30)), field)

    def _patterns_on_a_pixel(self, lit: np.ndarray) -> float:
        """How many patterns light a pixel, each pixel weighted with its light; 1 for one pattern.

        Steps are cut by this and not by a number of patterns: one on which few patterns light a
        pixel takes their noise for the object, however many patterns there are elsewhere.
        """
        alone = np.abs(self._probe) ** 2
        return _weighted_with_itself(lit) / _weighted_with_itself(alone)

    def _probes(self, images: np.ndarray) -> np.ndarray:
        """(k, N, N) complex64, the probe at the sub-pixel part of the images' positions."""
        frequency = fft.fftfreq(self._side)
        ramps = np.exp(-2j * np.pi * self._subpixel[images][:, :, None] * frequency)
        ramps = ramps.astype(np.complex64)
        spectra = self._probe_spectrum * ramps[:, 0, :, None] * ramps[:, 1, None, :]
        return fft.ifft2(spectra, workers=self._threads, overwrite_x=True)

    def _add(self, values: np.ndarray, images: np.ndarray, total: np.ndarray) -> None:
        side = values.shape[-1]
        for value, (y, x) in zip(values, self._corners[images].tolist(), strict=True):
            total[y : y + side, x : x + side] += value

    def _gradient(self, estimate: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Of the Poisson likelihood's negative logarithm by the conjugate object, per count."""
        side, border = self._side, PADDING_PX
        inner = slice(border, border + side)
        floor = np.float32(self._steps.floor_counts / self._counts_scale)
        continued = np.pad(estimate, border, mode="edge")
        total = np.zeros_like(continued)
        windows = np.lib.stride_tricks.sliding_window_view(continued, (side + 2 * border,) * 2)
        for part in _chunks(images):
            y, x = self._corners[part].T
            wide = self._shifted(windows[y, x], part)
            waves = self._probe * wide[:, inner, inner]
            waves = fft.fft2(waves, norm="ortho", workers=self._threads, overwrite_x=True)
            expected = waves.real**2 + waves.imag**2
            measured = fft.ifftshift(self._diffraction[part], axes=(-2, -1)) ** 2
            waves *= (expected - measured) / (expected + floor)
            waves = fft.ifft2(waves, norm="ortho", workers=self._threads, overwrite_x=True)
            wide[:] = 0
            wide[:, inner, inner] = self._probe.conj() * waves
            self._add(self._shifted(wide, part, back=True), part, total)
        # What the shift of a patch rings out beyond the canvas is left out.
        return total[border:-border, border:-border]

    def _shifted(
        self, windows: np.ndarray, images: np.ndarray, *, back: bool = False
    ) -> np.ndarray:
        """Windows (k, N + 2 padding, the same), overwritten, at the images' sub-pixel positions."""
        rows, columns = (factors[images] for factors in self._shifts)
        if back:
            rows, columns = rows.conj(), columns.conj()
        windows = fft.fft2(windows, workers=self._threads, overwrite_x=True)
        windows *= rows[:, :, None]
        windows *= columns[:, None, :]
        return fft.ifft2(windows, workers=self._threads, overwrite_x=True)


def _chunks(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]


def _weighted_with_itself(values: np.ndarray) -> float:
    return float(np.sum(np.square(values, dtype=np.float64)) / np.sum(values, dtype=np.float64))


def _roughness(values: np.ndarray) -> np.ndarray:
    """Return the negative discrete Laplacian, edges continued."""
    padded = np.pad(values, 1, mode="edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return 4 * values - around
