"""Scores of an area put together anew from square blocks, by running sums over all blocks.

Written a second time from what the statistics say they are; the maps are those of the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fly64_assets.study.settings import ScoringSettings

Key = tuple[str, ...]
Values = dict[Key, float]
Draws = dict[Key, np.ndarray]


def ends(values: np.ndarray, tail: float) -> tuple[float, float]:
    """Return the values below which ``tail`` and all but ``tail`` of them lie, NaN left out."""
    ordered = np.sort(values[~np.isnan(values)])
    first, last = (max(math.ceil(len(ordered) * share) - 1, 0) for share in (tail, 1 - tail))
    return float(ordered[first]), float(ordered[last])


def tail(confidence: float, blocks: int) -> float:
    """Return the share of resamples beyond each end, moved out because the blocks are few."""
    from scipy.stats import norm
    from scipy.stats import t as student

    reach = student.isf((1 - confidence) / 2, blocks - 1) * math.sqrt(blocks / (blocks - 1))
    return float(norm.sf(reach))


def student_ends(
    values: Sequence[np.ndarray], signs: Sequence[int], confidence: float
) -> tuple[float, float] | None:
    """Return the ends of Welch's interval over trainings; None where nothing was trained twice."""
    from scipy.stats import t as student

    squares = [each.var(ddof=1) / len(each) for each in values if len(each) > 1]
    degrees = [len(each) - 1 for each in values if len(each) > 1]
    if not squares:
        return None
    middle = float(sum(sign * each.mean() for sign, each in zip(signs, values, strict=False)))
    total = math.fsum(squares)
    if not total:
        return middle, middle
    freedom = total**2 / math.fsum(s * s / d for s, d in zip(squares, degrees, strict=True))
    reach = float(student.isf((1 - confidence) / 2, freedom)) * math.sqrt(total)
    return middle - reach, middle + reach


class Blocks:
    """Sums over square blocks that wrap around the area, and which of them make up a resample."""

    def __init__(self, shape: tuple[int, int], seed: int, block_px: int, resamples: int) -> None:
        if block_px > min(shape):
            raise ValueError(f"a block of {block_px} px is larger than the area of {shape} px")
        self.shape, self.side, self.seed = shape, block_px, seed
        number = round(shape[0] * shape[1] / block_px**2)
        self.drawn = np.random.default_rng(seed).integers(
            shape[0] * shape[1], size=(resamples, number)
        )

    def _sums(self, values: np.ndarray) -> np.ndarray:
        reached = values
        for axis in (0, 1):
            reached = np.sum(
                [np.roll(reached, -step, axis=axis) for step in range(self.side)], axis=0
            )
        return np.asarray(reached.ravel()[self.drawn].sum(axis=1))

    def mean(self, values: np.ndarray, first: int, step: int) -> np.ndarray:
        """Return means of a map whose pixels are ``step`` wide and begin at pixel ``first``."""
        laid, there = np.zeros(self.shape), np.zeros(self.shape)
        fine = np.kron(values, np.ones((step, step)))
        part = slice(first, first + fine.shape[0]), slice(first, first + fine.shape[1])
        laid[part], there[part] = fine, 1
        with np.errstate(invalid="ignore"):
            return np.asarray(self._sums(laid) / np.rint(self._sums(there)))

    def of(
        self, truth: np.ndarray, images: tuple[np.ndarray, np.ndarray], settings: ScoringSettings
    ) -> Draws:
        """Return scores in each resample, as far as they are defined.

        Args:
            truth: (h, w) complex.
            images: the same, fitted and strict.
            settings: smoothing.
        """
        from fly64_assets.ptychography.scoring import metrics
        from fly64_assets.ptychography.scoring.comparison import data_ranges, phases

        found: Draws = {}
        truth = truth.astype(np.complex128)
        ranges = data_ranges(truth)
        for suffix, image in zip(("", "_strict"), images, strict=True):
            image = image.astype(np.complex128)
            for component, (one, other) in (
                ("amplitude", (np.abs(truth), np.abs(image))),
                ("phase", phases(truth, image)),
            ):
                mse = self.mean((one - other) ** 2, 0, 1)
                found["mae" + suffix, component] = self.mean(np.abs(one - other), 0, 1)
                found["mse" + suffix, component] = mse
                span = ranges[component]
                if span is None:
                    continue
                edge = metrics.WINDOW_RADIUS_PX
                scales = metrics.ms_ssim_maps(
                    one, other, data_range=span, sigma_px=settings.ms_ssim_sigma_px
                )
                terms = [
                    np.clip(self.mean(values, edge * 2**s, 2**s), 0, 1)
                    for s, values in enumerate(scales)
                ]
                powers = metrics.ms_ssim_weights(len(terms))
                similar = metrics.ssim_map(one, other, data_range=span)
                with np.errstate(divide="ignore"):
                    found["psnr" + suffix, component] = 20 * np.log10(span) - 10 * np.log10(mse)
                found["ssim" + suffix, component] = np.minimum(self.mean(similar, edge, 1), 1)
                found["ms_ssim" + suffix, component] = math.prod(
                    t**p for t, p in zip(terms, powers, strict=True)
                )
        return found
