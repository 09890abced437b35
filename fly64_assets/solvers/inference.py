"""Batched prediction with a trained network: frames in, patches at scan positions out.

What does not belong here: which patterns form a group, and reading models. TensorFlow is imported
only inside functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.solvers.interface import Progress, ProgressCallback
from fly64_assets.solvers.resampling import central_patches

if TYPE_CHECKING:
    import keras


def predict_patches(
    network: keras.Model,
    inputs_of: Callable[[np.ndarray], list[np.ndarray]],
    shift: np.ndarray,
    side: int,
    *,
    batch_size: int,
    progress: ProgressCallback,
) -> np.ndarray:
    """Predict frames batch by batch and cut from each the patch of its scan position.

    Args:
        network: see ``networks.build_baseline`` and ``networks.build_refiner``.
        inputs_of: (b,) indices of positions -> the network's inputs.
        shift: (n, 2) px from each frame's centre to the scan position, at most half a pixel.
        side: F, px, of the patches.
        batch_size: positions at once, at most. Batches are of one size, the last filled up with
            positions that it has already: another size would have the network traced once more.
        progress: called after each batch.

    Returns:
        (n, F, F) complex64, pixel F/2 at the scan position.
    """
    import tensorflow as tf

    count = len(shift)
    size = math.ceil(count / math.ceil(count / batch_size))
    predict = tf.function(network, autograph=False)
    patches = np.empty((count, side, side), np.complex64)
    for start in range(0, count, size):
        index = np.arange(start, min(start + size, count))
        inputs = inputs_of(np.resize(index, size))
        frames = predict([tf.constant(values) for values in inputs]).numpy()[: len(index)]
        objects = frames[..., 0] + 1j * frames[..., 1]
        patches[index] = central_patches(objects, shift[index], side)
        progress(Progress(start + len(index), count, "pattern", {}))
    return patches
