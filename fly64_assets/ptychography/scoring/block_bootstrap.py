"""How sure a mean over pixels is: spatial block bootstrap of maps that belong together.

Neighbouring pixels err alike, so pixels are not drawn one by one but in square blocks, and all maps
of all arms in the same blocks: a difference of two arms is paired. Circular blocks, so that every
pixel is drawn equally often (Politis and Romano, "A circular block-resampling procedure for
stationary data", 1992; Kuensch, Annals of Statistics 17, 1217, 1989). What the maps are and what is
made of their means does not belong here (``statistics.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from fly64_assets.ptychography.scoring import metrics

SMALLEST_NUMBER = 4
"""Blocks below which nothing is said: an interval from two or three pieces is a guess."""
MOST_DRAWN = 100_000_000
"""Blocks in all resamples together: a number each is kept, for each map in turn."""


@dataclass(frozen=True, eq=False)
class GridMap:
    """A map on the pixels of the scoring area.

    Attributes:
        values: (h, w) float64; 0 where there is none.
        present: (h, w) bool: the pixels that have a value, some at least.
    """

    values: np.ndarray
    present: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.values.sum() / self.present.sum())


def on_grid(values: np.ndarray, shape: tuple[int, int], scale: int = 0) -> GridMap:
    """Return a map of `metrics.ms_ssim_maps` laid on the area's pixels.

    At scale s a value belongs to the 2^s x 2^s pixels under its window's middle, so that it counts
    in a block by what it covers there, and the mean stays the map's.

    Args:
        values: (h', w') float64, one value for each window that lies inside.
        shape: (h, w) of the area.
        scale: s, 0 for maps at full resolution.
    """
    fine = np.repeat(np.repeat(values, 2**scale, axis=0), 2**scale, axis=1)
    first = metrics.WINDOW_RADIUS_PX * 2**scale
    inside = tuple(slice(first, first + side) for side in fine.shape)
    laid, present = np.zeros(shape), np.zeros(shape, dtype=bool)
    laid[inside], present[inside] = fine, True
    return GridMap(laid, present)


def whole(values: np.ndarray) -> GridMap:
    """Return a map with a value for each pixel of the area."""
    return GridMap(np.asarray(values, dtype=np.float64), np.ones(values.shape, dtype=bool))


def number_of_blocks(shape: tuple[int, int], block_px: int) -> int:
    """How many blocks make up as many pixels as the area has, to the nearest whole number."""
    return round(shape[0] * shape[1] / block_px**2)


def require_blocks(shape: tuple[int, int], block_px: int, resamples: int) -> int:
    """`number_of_blocks`, where they are enough for intervals and not too many for memory.

    Raises:
        ValueError: a block is larger than the area, fewer than `SMALLEST_NUMBER` fit, or all that
            are drawn are more than `MOST_DRAWN`.
    """
    blocks = number_of_blocks(shape, block_px)
    if block_px > min(shape) or blocks < SMALLEST_NUMBER:
        raise ValueError(
            f"{blocks} blocks of {block_px} px on an area of {shape[0]} x {shape[1]} px; "
            f"at least {SMALLEST_NUMBER} whole ones are needed"
        )
    if blocks * resamples > MOST_DRAWN:
        raise ValueError(
            f"{blocks:,} blocks of {block_px} px in each of {resamples:,} resamples; "
            f"{MOST_DRAWN:,} is the most"
        )
    return blocks


class BlockResampling:
    """The blocks of every resample, drawn once and used for all maps.

    Args:
        shape: (h, w) of the area.
        block_px: side of a block; should be no less than the reach over which errors agree.
        resamples: how many times the area is put together anew.
        seed: of the draw.

    Raises:
        ValueError: see `require_blocks`.
    """

    def __init__(self, shape: tuple[int, int], block_px: int, resamples: int, seed: int) -> None:
        blocks = require_blocks(shape, block_px, resamples)
        self.shape, self.block_px, self.resamples = shape, block_px, resamples
        self.blocks = blocks
        self._origins = np.random.default_rng(seed).integers(
            shape[0] * shape[1], size=(resamples, blocks)
        )
        self._present: dict[bytes, np.ndarray] = {}

    def interval(self, resampled: np.ndarray, confidence: float) -> tuple[float, float]:
        """Return the expanded percentile interval (Hesterberg, Am. Stat. 69, 371, 2015).

        Percentiles of few blocks are too narrow: by the spread that a sample loses to its own mean,
        and by taking the normal distribution for Student's. The levels are moved out for both.

        Args:
            resampled: (resamples,) of a statistic; NaN is left out.
            confidence: 0 to 1.
        """
        freedom = self.blocks - 1
        reach = stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(self.blocks / freedom)
        tail = stats.norm.sf(reach)
        # Without interpolation, which infinite scores do not have.
        low, high = np.nanquantile(resampled, [tail, 1 - tail], method="inverted_cdf")
        return float(low), float(high)

    def means(self, map_: GridMap) -> np.ndarray:
        """(resamples,) float64: the map's mean in each resample.

        NaN where no block of a resample has a value, which only a map that covers a small part of
        the area can give.
        """
        key = np.packbits(map_.present).tobytes()
        if key not in self._present:
            self._present[key] = self._sums(map_.present.astype(np.float64))
        present = self._present[key]
        sums = self._sums(map_.values)
        return np.divide(sums, present, out=np.full(len(sums), np.nan), where=present > 0.5)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over each resample's blocks, from a table of sums over all blocks there are."""
        side = self.block_px
        wrapped = np.pad(values, ((0, side), (0, side)), mode="wrap")
        table = np.pad(wrapped.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        sums = table[side:, side:] - table[:-side, side:] - table[side:, :-side]
        sums += table[:-side, :-side]
        return sums[: self.shape[0], : self.shape[1]].ravel()[self._origins].sum(axis=1)
