"""The image pairs on which our metrics and independent implementations are compared.

What belongs here: making the pairs, the same bits everywhere, and reading those of a finished
store. What does not: any metric of ours or of others (``oracles/ask.py``, ``oracles/agreement.py``,
``test_oracles.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from fly64_assets.ptychography.scoring.comparison import phases
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"
ANSWERS = Path(__file__).parents[1] / "data" / "oracle_answers.json"
"""What the oracles said about `reproducible_pairs`."""
GRID = 2.0**-12
"""Pixels are multiples of this: the same bits whatever rounds the steps before, and exact in single
precision, in which some oracles compute."""
THREE_SCALES = slice(134, 198), slice(36, 196)
FIVE_SCALES = slice(28, 204), slice(28, 204)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images to compare.

    Attributes:
        name: unique; ``kind`` says what sort of images they are.
        truth, image: (H, W) float64.
    """

    name: str
    kind: str
    truth: np.ndarray
    image: np.ndarray

    @property
    def data_range(self) -> float:
        return float(np.ptp(self.truth))

    @property
    def sha256(self) -> str:
        """Of both arrays' bytes."""
        return hashlib.sha256(self.truth.tobytes() + self.image.tobytes()).hexdigest()


def reproducible_pairs() -> list[Pair]:
    """Random images, and the labyrinth's amplitude and phase with known degradations.

    Sides divide by 2 for every halving of MS-SSIM (64 x 160: 3 scales, 176 x 176: 5), because what
    happens to an odd last row is a convention, on which the oracles differ.
    """
    return [
        Pair(pair.name, pair.kind, _on_grid(pair.truth), _on_grid(pair.image))
        for pair in (*_random(), *_labyrinth())
    ]


def _on_grid(array: np.ndarray) -> np.ndarray:
    return np.round(array / GRID) * GRID


def _random() -> Iterator[Pair]:
    for number, shape in enumerate(((64, 160), (176, 176))):
        first, second, third = np.random.default_rng(number).standard_normal((3, *shape))
        size = f"{shape[0]} x {shape[1]}"
        yield Pair(f"white noise, independent, {size}", "random", first, second)
        yield Pair(f"white noise, signal 2 of 3, {size}", "random", first, first + third / 2)
        smooth = gaussian_filter(first, 2.0)
        yield Pair(f"smooth noise and noise, {size}", "random", smooth, smooth + third / 20)


def _labyrinth() -> Iterator[Pair]:
    with np.load(SPECIMEN) as specimen:
        whole = specimen["objectGuess"].astype(np.complex128)
    for area in (THREE_SCALES, FIVE_SCALES):
        truth = whole[area]
        real, imaginary = np.random.default_rng(7).standard_normal((2, *truth.shape))
        degraded = {
            "noise .05": truth + 0.05 * (real + 1j * imaginary),
            "noise .3": truth + 0.3 * (real + 1j * imaginary),
            "blur 1.5 px": gaussian_filter(whole, 1.5)[area],
            "shift (1, 2) px": np.roll(whole, (1, 2), axis=(0, 1))[area],
            "scale .7, phase .2": 0.7 * np.exp(0.2j) * truth,
            "contrast inverted": (2 - np.abs(truth)) * np.exp(-1j * np.angle(truth)),
        }
        for name, image in degraded.items():
            yield from _components(f"{name}, {truth.shape[0]} px", "labyrinth", truth, image)


def demo_pairs(store: Path) -> list[Pair]:
    """Truth and aligned reconstructions of a store: whole, and cut to sides divisible by 4.

    Args:
        store: the ``store`` folder of a study with at least one finished comparison.
    """
    pairs: list[Pair] = []
    for split in SPLITS:
        for path in sorted(store.glob(f"analysis/dose_*/*/{split}/reconstructions_aligned.npz")):
            with np.load(path) as stored:
                objects = {key: stored[key].astype(np.complex128) for key in (*MODELS, "truth")}
            truth = objects.pop("truth")
            even = tuple(slice(side - side % 4) for side in truth.shape)
            for model, image in objects.items():
                name = f"{path.parent.relative_to(store / 'analysis').as_posix()} {model}"
                pairs += _components(f"{name}, whole", "demo, whole area", truth, image)
                pairs += _components(f"{name}, even", "demo, even sides", truth[even], image[even])
    return pairs


def _components(name: str, kind: str, truth: np.ndarray, image: np.ndarray) -> Iterator[Pair]:
    yield Pair(f"{name}, amplitude", kind, np.abs(truth), np.abs(image))
    yield Pair(f"{name}, phase", kind, *phases(truth, image))
