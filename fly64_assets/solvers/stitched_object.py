"""From a trained network to an object on the canvas: predicted patches, stitched.

What does not belong here: how patches are predicted (the network's module) and merged
(``ptychography/stitching.py``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from fly64_assets.ptychography.stitching import stitch
from fly64_assets.solvers.interface import Measurement, ProgressCallback, network_module
from fly64_assets.solvers.model_bundle import LoadedModel
from fly64_assets.study.arms import Network


@dataclass(frozen=True, eq=False)
class StitchedObject:
    """What a network makes of one view.

    Attributes:
        object: (H, W) complex64 on the canvas, 0 where no patch reaches.
        fallback: (H, W) bool: pixels outside every patch's trusted central part.
        n_patches: how many were stitched.
        seconds, cpu_seconds: of prediction and stitching.
    """

    object: np.ndarray
    fallback: np.ndarray
    n_patches: int
    seconds: float
    cpu_seconds: float


def stitched_object(
    network: Network,
    loaded: LoadedModel,
    measurement: Measurement,
    *,
    crop_px: int,
    seed: int,
    threads: int,
    progress: ProgressCallback,
) -> StitchedObject:
    """Let a trained network reconstruct a view.

    Args:
        network: whose ``loaded`` is.
        loaded: the verified bundle.
        measurement: any view of any split.
        crop_px: side of the central part of a patch that is trusted first.
        seed: where the network leaves anything to chance.
        threads: of TensorFlow and of stitching.
        progress: called after each batch.

    Raises:
        InputError: the bundle is not for this measurement.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    patches = network_module(network).patches_of(
        loaded, measurement, kind=network.name, seed=seed, threads=threads, progress=progress
    )
    stitched = stitch(
        patches.values,
        patches.positions_px,
        measurement.probe,
        measurement.canvas_shape,
        crop_px=crop_px,
        threads=threads,
    )
    return StitchedObject(
        stitched.object,
        stitched.fallback,
        len(patches.values),
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
    )
