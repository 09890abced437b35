"""What simulated and measured diffraction must show: dose, Poisson noise, the order of the axes.

Formulas: contract, section 2. Functions return numbers with their tolerance, never a verdict in
words; which file they are applied to is the caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import npz
from fly64_assets.ptychography.data001.dataset import Dataset, read_dataset
from fly64_assets.ptychography.data001.metadata import physics_problem
from fly64_assets.ptychography.forward import PatchCutter, extract_patches, far_field

BLOCK_FRAMES = 256
STANDARD_ERRORS = 5.0
DOSE_TOLERANCE = 0.01
# Keeps the logarithm finite where a wrong model expects no light; far below one photon.
LOWEST_EXPECTATION = 1e-9


@dataclass(frozen=True)
class Dose:
    """Mean counts per exposure against the dose; ``tolerance`` is relative."""

    dose: float
    mean_counts: float
    n_images: int
    tolerance: float

    @property
    def deviation(self) -> float:
        """Relative to the dose."""
        return self.mean_counts / self.dose - 1

    @property
    def ok(self) -> bool:
        return abs(self.deviation) <= self.tolerance


@dataclass(frozen=True)
class Dispersion:
    """sum((k - l)^2) / sum(l) over all pixels: 1 for Poisson counts k of expectation l."""

    value: float
    sigma: float
    n_images: int

    @property
    def ok(self) -> bool:
        return abs(self.value - 1) <= STANDARD_ERRORS * self.sigma


@dataclass(frozen=True)
class AxisOrder:
    """Mean log-likelihood per frame of the axes as stored, less that with x and y swapped."""

    mean_difference: float
    standard_error: float
    n_images: int

    @property
    def ok(self) -> bool:
        return self.mean_difference > STANDARD_ERRORS * self.standard_error


def pooled_dose(paths: Sequence[str | Path], dose: float) -> Dose:
    """Hold mean counts per exposure, all files pooled, against the dose.

    counts = (diffraction * intensity_scale)**2; within max(1 %, 4 / sqrt(n * dose)) is right.

    Args:
        paths: train and test of one dose.
        dose: photons per exposure.

    Raises:
        InputError: no files, or one cannot be read.
    """
    if not paths:
        raise InputError("dose", "paths", "no datasets to pool")
    total, frames = 0.0, 0
    for path in paths:
        dataset = read_dataset(path)
        if problem := physics_problem(dataset.metadata, None):
            raise InputError(path, "_metadata", f"physics is {problem}")
        frames += len(dataset)
        for chunk in npz.chunks(dataset.diffraction):
            total += dataset.intensity_scale**2 * float(np.square(chunk, dtype=np.float64).sum())
    tolerance = max(DOSE_TOLERANCE, 4 / math.sqrt(frames * dose))
    return Dose(dose, total / frames, frames, tolerance)


def _sample(count: int, max_images: int | None) -> np.ndarray:
    """Return indices of at most ``max_images`` frames, evenly spread."""
    if max_images is None or max_images >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, max_images).round().astype(np.intp)


def _blocks(index: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(index), BLOCK_FRAMES):
        yield index[start : start + BLOCK_FRAMES]


def poisson_dispersion(
    dataset: Dataset, *, padding_px: int, max_images: int | None = None
) -> Dispersion:
    """Dispersion of the counts about the noiseless forward model.

    The expectation comes from the true patches ``Y`` where the dataset has them, else from
    ``objectGuess`` at the positions.

    Args:
        dataset: simulated.
        padding_px: as of the simulation, see `forward.extract_patches`.
        max_images: take an evenly spread sample of that size; ``None`` for all.
    """
    index = _sample(len(dataset), max_images)
    positions = dataset.positions_px
    squares = expected = variance = 0.0
    for block in _blocks(index):
        if dataset.patches is not None:
            patches = dataset.patches[block]
        else:
            patches = extract_patches(
                dataset.object_guess, positions[block], dataset.patch_size, padding_px=padding_px
            )
        mean = _expectation(patches, dataset)
        counts = _counts(dataset, block)
        squares += float(np.square(counts - mean).sum())
        expected += float(mean.sum())
        variance += float((mean + 2 * np.square(mean)).sum())
    return Dispersion(squares / expected, math.sqrt(variance) / expected, len(index))


def _expectation(patches: np.ndarray, dataset: Dataset) -> np.ndarray:
    amplitude = far_field(patches, dataset.probe_guess).astype(np.float64)
    return np.square(amplitude * dataset.intensity_scale)


def _counts(dataset: Dataset, block: np.ndarray) -> np.ndarray:
    return np.rint(
        np.square(dataset.diffraction[block].astype(np.float64) * dataset.intensity_scale)
    )


def _swappable(positions: np.ndarray, canvas: tuple[int, int], patch_size: int) -> np.ndarray:
    """Frames whose patch lies inside the canvas both as stored and with x and y exchanged."""
    highest = min(canvas) - patch_size / 2
    return np.flatnonzero(((positions >= patch_size / 2) & (positions <= highest)).all(axis=1))


def axis_order(dataset: Dataset, *, padding_px: int, max_images: int | None = None) -> AxisOrder:
    """Poisson log-likelihood of the axes as stored against x and y swapped, frame by frame.

    Only frames that stay inside the canvas either way are compared.

    Args:
        dataset: simulated, or any with counts.
        padding_px: see `forward.extract_patches`.
        max_images: take an evenly spread sample of that size; ``None`` for all.

    Raises:
        InputError: fewer than two frames can be swapped.
    """
    positions, side = dataset.positions_px, dataset.patch_size
    usable = _swappable(positions, dataset.object_guess.shape, side)
    if len(usable) < 2:
        problem = f"{len(usable)} frames stay inside the canvas with x and y swapped, 2 are needed"
        raise InputError("axis order", "positions", problem)
    index = usable[_sample(len(usable), max_images)]
    cutter = PatchCutter(dataset.object_guess, side, padding_px=padding_px)
    differences = []
    for block in _blocks(index):
        counts = _counts(dataset, block)
        likelihoods = []
        for places in (positions[block], positions[block][:, ::-1]):
            mean = np.maximum(_expectation(cutter.at(places), dataset), LOWEST_EXPECTATION)
            likelihoods.append((counts * np.log(mean) - mean).sum(axis=(1, 2)))
        differences.append(likelihoods[0] - likelihoods[1])
    difference = np.concatenate(differences)
    error = float(difference.std(ddof=1) / math.sqrt(len(difference)))
    return AxisOrder(float(difference.mean()), error, len(difference))
