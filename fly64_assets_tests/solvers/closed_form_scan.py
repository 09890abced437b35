"""A scan whose object is known in closed form at any point, for the network tests.

The object is ``(0.9 + 0.15 cos) exp(i 0.6 sin)`` of slow plane waves, the probe a Gaussian with a
curved phase: patches at sub-pixel positions are exact, no interpolation is involved. numpy only.
"""

from __future__ import annotations

import numpy as np

from fly64_assets.solvers.interface import Measurement

SIDE = 32
CANVAS = (72, 96)
DIAMETER_PX = 16.0
SMALL_FIELD = {
    "rounds": 2,
    "first_steps": 8,
    "further_steps": 2,
    "patterns_per_pixel": 6,
    "folds": 2,
}
"""Changes to the study's settings of PtychoPINN's estimates, for tests."""


def object_at(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """complex128 object at canvas coordinates in px."""
    amplitude = 0.9 + 0.15 * np.cos(0.35 * y + 0.1 * x)
    return amplitude * np.exp(0.6j * (np.sin(0.3 * x) + np.sin(0.25 * y - 0.15 * x)))


def probe_at(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """complex128 unit-power probe around (0, 0)."""
    square = y**2 + x**2
    return np.exp(-square / (2 * 4.0**2) + 0.03j * square) / (4.0 * np.sqrt(np.pi))


def _grid(centre_y: np.ndarray, centre_x: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(side) - side // 2
    return centre_y[..., None, None] + steps[:, None], centre_x[..., None, None] + steps


def patches_at(positions_px: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(n, side, side) complex64, pixel side/2 at each position."""
    y, x = _grid(positions_px[:, 0], positions_px[:, 1], side)
    return object_at(y, x).astype(np.complex64)


def probe() -> np.ndarray:
    """(SIDE, SIDE) complex64."""
    y, x = _grid(np.zeros(()), np.zeros(()), SIDE)
    return probe_at(y, x).astype(np.complex64)


def diffraction_of(patches: np.ndarray) -> np.ndarray:
    """Noiseless DATA-001 amplitude."""
    spectrum = np.fft.fft2(probe() * patches, norm="ortho")
    return np.fft.fftshift(np.abs(spectrum), axes=(1, 2)).astype(np.float32)


def scan(count: int, *, dose: float, seed: int) -> Measurement:
    """``count`` random positions in clusters, Poisson counts."""
    random = np.random.default_rng([seed])
    low, high = SIDE / 2 + 2, np.array(CANVAS) - SIDE / 2 - 2
    centres = random.uniform(low + 3, high - 3, (-(-count // 8), 2))
    positions = np.repeat(centres, 8, axis=0)[:count] + random.uniform(-3, 3, (count, 2))
    return _measured(positions, dose, random)


def scan_at(positions_px: np.ndarray, *, dose: float, seed: int) -> Measurement:
    """A scan of these positions, (n, 2) px, Poisson counts."""
    return _measured(positions_px, dose, np.random.default_rng([seed]))


def _measured(positions: np.ndarray, dose: float, random: np.random.Generator) -> Measurement:
    expected = diffraction_of(patches_at(positions)).astype(np.float64) ** 2 * dose
    scale = float(np.sqrt(dose))
    amplitude = (np.sqrt(random.poisson(expected)) / scale).astype(np.float32)
    return Measurement(amplitude, positions, probe(), scale, CANVAS)


def clustered_groups(count: int, group_size: int, groups: int, *, seed: int) -> np.ndarray:
    """(groups, group_size) members of one cluster each."""
    random = np.random.default_rng([seed])
    clusters = [np.arange(start, min(start + 8, count)) for start in range(0, count - 3, 8)]
    drawn = [
        random.choice(clusters[number % len(clusters)], group_size, replace=False)
        for number in range(groups)
    ]
    return np.stack(drawn).astype(np.int64)
