"""Baseline: the supervised network (phase E) and its patches (phase G).

Trained on the true patches of the train view, one pattern at a time (gridsize 1), from its one-step
back-projection. It has a U-Net as PtychoPINN has, but no estimate of the whole view before it and
no forward model in its loss: what it knows of the specimen it was told. Most patterns it is shown
are new exposures of true patches that were turned or mirrored; docs/baseline.md says why. What
does not belong here: layers (``networks.py``), the loop (``training.py``), files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.solvers.grouping import TURNS, hold_out
from fly64_assets.solvers.inference import predict_patches
from fly64_assets.solvers.interface import (
    NO_CHECKPOINT,
    Checkpoint,
    Measurement,
    Patches,
    ProgressCallback,
    measurement_of,
    require_finite,
)
from fly64_assets.solvers.model_bundle import LoadedModel, TrainedModel
from fly64_assets.solvers.resampling import TAPS
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow
from fly64_assets.study.model import BaselineSettings

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001.dataset import Dataset

KIND = "Baseline"
FIT = 2
"""What a generator seeded with [seed, this, pass] is for: the order of images and their draws."""
MOST_DRAWS = 1 << 20
"""A draw is a number from 1 to below this; the sum over a batch has to be an int32."""


def train(
    measurement: Measurement,
    true_patches: np.ndarray,
    settings: BaselineSettings,
    *,
    seed: int,
    threads: int,
    progress: ProgressCallback,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    kind: str = KIND,
) -> TrainedModel:
    """Train Baseline on all images of one view of the train split.

    Args:
        measurement: the view's images.
        true_patches: (n, N, N) complex64, the object at the (sub-pixel) scan positions.
        settings: the study's section.
        seed: weights, the order of images and new exposures come from it.
        threads: of TensorFlow.
        progress: called after each epoch with loss, validation_loss and patterns_per_s.
        checkpoint: saved after each epoch; a run that was interrupted goes on from it, to the same
            weights as an uninterrupted one.
        kind: the arm's name, for the bundle.

    Returns:
        The model with the weights of least validation loss.

    Raises:
        InputError: there is not one true patch per image, too few images to hold any out, or a
            value of the measurement is not finite.
        TrainingDiverged: the loss is no finite number any more.
        SolverEnvironmentError: torch is loaded in this process.
    """
    if true_patches.shape != measurement.diffraction.shape:
        raise InputError(
            "train view",
            "Y",
            f"shape is {true_patches.shape}, {measurement.diffraction.shape} wanted: "
            "Baseline needs the true patch of every image",
        )
    require_finite(measurement)
    images = np.arange(len(measurement))[:, None]
    try:
        held_out = hold_out(measurement.positions_px, images, settings.validation_fraction)
    except ValueError as error:
        raise InputError("train view", "diffraction", str(error)) from None

    start_tensorflow(threads)
    from fly64_assets.solvers.losses import SupervisedLoss
    from fly64_assets.solvers.networks import NetworkDesign, build_baseline
    from fly64_assets.solvers.training import TrainingRows, epoch_rows, fit

    network = NetworkDesign(
        patch_size=measurement.patch_size,
        group_size=1,
        frame_px=settings.frame_px,
        width=settings.width,
        depth=settings.depth,
        regularisation=settings.regularisation,
    )
    model = build_baseline(
        network,
        measurement.probe,
        amplitude_limit=settings.amplitude_limit,
        name=kind,
        seed=seed,
    )
    loss = SupervisedLoss(
        model,
        measurement,
        true_patches,
        frame_px=settings.frame_px,
        smoothing=settings.loss_smoothing,
    )

    def rows_of_pass(number: int) -> np.ndarray:
        generator = np.random.default_rng([seed, FIT, number])
        order = generator.permutation(held_out.fit)
        anew = generator.random(len(order)) < settings.new_exposures
        turn = generator.integers(len(TURNS), size=len(order)) * anew
        draw = generator.integers(1, MOST_DRAWS, size=len(order)) * anew
        return np.stack([order, turn, draw], axis=1).astype(np.int32)

    rows = TrainingRows(
        of_epoch=lambda epoch: epoch_rows(epoch, settings.samples_per_epoch, rows_of_pass),
        validation=_as_measured(held_out.validation),
        patterns_per_row=1,
    )
    result = fit(model, loss, rows, settings, progress, checkpoint)
    return TrainedModel(
        kind=kind,
        model=model,
        gridsize=1,
        patch_size=measurement.patch_size,
        core_px=settings.frame_px - 2 * TAPS,
        seeds={"grouping": seed},
        settings=settings.model_dump(),
        history=result.history,
        best_epoch=result.best_epoch,
        n_fit=len(held_out.fit),
        n_validation=len(held_out.validation),
    )


def _as_measured(images: np.ndarray) -> np.ndarray:
    """Rows of `losses.SupervisedLoss` for (n,) image indices: not turned, not drawn anew."""
    return np.pad(images[:, None], ((0, 0), (0, 2))).astype(np.int32)


def reconstruct(
    loaded: LoadedModel,
    measurement: Measurement,
    *,
    threads: int,
    progress: ProgressCallback,
    batch_size: int = 64,
    kind: str = KIND,
) -> Patches:
    """One object patch per scan position, each from its own pattern alone.

    Args:
        loaded: a Baseline.
        measurement: any view of any split with the probe that the model was trained with.
        threads: of TensorFlow.
        progress: called after each batch.
        batch_size: patterns that are computed at once; bounds the memory, changes no result beyond
            float rounding.
        kind: the arm's name, that the bundle has to state.

    Raises:
        InputError: the model is of another kind, patch size or probe.
    """
    loaded.require(kind, measurement)
    # The frame is centred on the scan position itself, as the true patches are.
    centred = np.zeros((len(measurement), 1, 2), np.float32)

    def inputs(index: np.ndarray) -> list[np.ndarray]:
        return [measurement.diffraction[index][:, None], centred[index], centred[index]]

    values = predict_patches(
        loaded.network(threads),
        inputs,
        centred[:, 0],
        loaded.core_px,
        batch_size=batch_size,
        progress=progress,
    )
    return Patches(values, measurement.positions_px.copy())


def train_on(
    dataset: Dataset,
    settings: Mapping[str, Any],
    *,
    kind: str,
    seed: int,
    progress: ProgressCallback,
    checkpoint: Checkpoint,
) -> TrainedModel:
    """See `arms.NetworkModule`."""
    return train(
        measurement_of(dataset),
        np.asarray(dataset.patches),
        BaselineSettings.model_validate(settings["baseline"]),
        seed=seed,
        threads=settings["threads"],
        progress=progress,
        checkpoint=checkpoint,
        kind=kind,
    )


def patches_of(
    loaded: LoadedModel,
    measurement: Measurement,
    *,
    kind: str,
    seed: int,
    threads: int,
    progress: ProgressCallback,
) -> Patches:
    """See `arms.NetworkModule`; nothing is left to chance, so the seed changes nothing."""
    del seed
    return reconstruct(loaded, measurement, threads=threads, progress=progress, kind=kind)
