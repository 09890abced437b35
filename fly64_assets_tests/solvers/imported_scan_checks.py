"""pty-chi on an imported measured scan, run by ``cli/test_import_command.py`` in an own process.

    python imported_scan_checks.py IMPORTED.npz EPOCHS

Prints one JSON object: the correlation of the reconstructed object with the file's own on the
scanned area, global phase free and mean removed, so that an empty object scores 0; the same against
the file's object turned over its diagonal; and the losses.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from fly64_assets.ptychography.data001.dataset import Dataset, read_dataset
from fly64_assets.solvers import ptychi_engines
from fly64_assets.solvers.interface import measurement_of
from fly64_assets.study.model import PtyChiSettings


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Modulus of the normalised inner product of two complex images without their means."""
    one, other = one - one.mean(), other - other.mean()
    return float(np.abs(np.vdot(one, other)) / (np.linalg.norm(one) * np.linalg.norm(other)))


def on_scanned_area(dataset: Dataset, canvas: np.ndarray) -> np.ndarray:
    low = np.ceil(dataset.positions_px.min(axis=0)).astype(int)
    high = np.floor(dataset.positions_px.max(axis=0)).astype(int)
    side = int((high - low).min())
    return canvas[low[0] : low[0] + side, low[1] : low[1] + side]


def main(path: str, epochs: int) -> None:
    dataset = read_dataset(path)
    settings = PtyChiSettings(
        engine="LSQML",
        noise_model="POISSON",
        epochs=epochs,
        epochs_per_chunk=epochs,
        batch_fraction=0.1,
        batch_limit=250,
        batching="UNIFORM",
        refine_probe=False,
        refine_from=0.25,
        damping=0.1,
        total_variation=0.0,
    )
    result = ptychi_engines.reconstruct(
        measurement_of(dataset), settings, seed=1, threads=2, progress=lambda progress: None
    )
    found = on_scanned_area(dataset, result.object)
    expected = on_scanned_area(dataset, dataset.object_guess)
    losses = [loss for _, loss in result.loss_history]
    print(
        json.dumps(
            {
                "correlation": correlation(found, expected),
                "correlation_turned": correlation(found, expected.T),
                "first_loss": losses[0],
                "last_loss": losses[-1],
                "mean_amplitude": float(np.abs(found).mean()),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
