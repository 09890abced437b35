"""PtychoPINN: an unsupervised, physics-informed network (phase E) and its patches (phase G).

The network sees diffraction, positions, the known probe and the intensity scale, never the truth.
Its loss is the Poisson negative log-likelihood of counts under the forward model (Hoidn, Mishra and
Mehta, Sci. Rep. 13, 22789 (2023)). Two things keep the network from explaining single patterns by
speckle: predictions of several neighbouring groups are merged before the loss sees them, and what
the merged object has to explain are neighbouring patterns that the network did not see.

What does not belong here: layers (``networks.py``), losses (``losses.py``), the loop
(``training.py``), files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.solvers.grouping import (
    HeldOut,
    draw_merged,
    draw_targets,
    hold_out,
    nearest_groups,
    split_positions,
)
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
from fly64_assets.study import PtychoPINNSettings

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001 import Dataset

KIND = "PtychoPINN"
FIT, VALIDATION = 2, 3
"""What a generator seeded with [grouping seed, this, pass] draws rows for."""


@dataclass(frozen=True, eq=False)
class _LossRows:
    """What one loss looks at: groups that predict, and other patterns that they must explain.

    Attributes:
        groups: (m, C) image indices, the network's groups.
        images: (i,) images that may have to be explained.
        positions_px: (n, 2), of all images.
        merged: L, groups whose predictions are merged.
        targets: E, patterns to explain.
        neighbours: K, nearest images that both are drawn from.
        reach_px: from how far.
        seed: the grouping seed.
    """

    groups: np.ndarray
    images: np.ndarray
    positions_px: np.ndarray
    merged: int
    targets: int
    neighbours: int
    reach_px: float
    seed: int

    def draw(self, purpose: int, number: int) -> np.ndarray:
        """One pass: (m, L * C + E) int32, a row around each group, shuffled."""
        generator = np.random.default_rng([self.seed, purpose, number])
        # Any member may be the one that the frame is centred on.
        groups = generator.permuted(self.groups, axis=1)
        centres = self.positions_px[groups[:, 0]]
        merged = draw_merged(
            centres,
            self.merged,
            neighbours=math.ceil(self.neighbours / groups.shape[1]),
            reach_px=self.reach_px,
            generator=generator,
        )
        seen = groups[merged].reshape(len(groups), -1)
        targets = draw_targets(
            self.positions_px,
            centres,
            seen,
            self.images,
            self.targets,
            neighbours=self.neighbours,
            reach_px=self.reach_px,
            generator=generator,
        )
        rows = np.concatenate([seen, targets], axis=1).astype(np.int32)
        return generator.permutation(rows, axis=0)


def train(
    measurement: Measurement,
    training_groups: np.ndarray,
    settings: PtychoPINNSettings,
    *,
    gridsize: int,
    probe_diameter_px: float,
    grouping_seed: int,
    threads: int,
    progress: ProgressCallback,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    kind: str = KIND,
) -> TrainedModel:
    """Train PtychoPINN on one view of the train split.

    Args:
        measurement: the view's images.
        training_groups: (n_groups, C) int64 indices into the measurement's images, C = gridsize^2;
            with gridsize 1 (n_images, 1), every image once.
        settings: the study's section.
        gridsize: 1 or 2.
        probe_diameter_px: D, px; how far a loss reaches is a fraction of it.
        grouping_seed: the weights and the order of everything come from it.
        threads: of TensorFlow.
        progress: called after each epoch with loss, validation_loss and patterns_per_s.
        checkpoint: saved after each epoch; a run that was interrupted goes on from it, to the same
            weights as an uninterrupted one.
        kind: the arm's name, for the bundle.

    Returns:
        The model with the weights of least validation loss.

    Raises:
        InputError: the groups are not what gridsize asks for, too few to hold any out, or a value
            of the measurement is not finite.
        TrainingDiverged: the loss is no finite number any more.
        SolverEnvironmentError: torch is loaded in this process.
    """
    require_finite(measurement)
    group_size = gridsize**2
    _require_groups(training_groups, group_size, len(measurement))
    held_out = _hold_out(measurement, training_groups, settings.validation_fraction)
    reach_px = settings.loss_reach * probe_diameter_px

    start_tensorflow(threads)
    from fly64_assets.solvers.losses import PhysicsLoss
    from fly64_assets.solvers.networks import NetworkDesign, build_network
    from fly64_assets.solvers.training import TrainingRows, epoch_rows, fit

    network = NetworkDesign(
        patch_size=measurement.patch_size,
        group_size=group_size,
        frame_px=settings.frame_px,
        width=settings.width,
        depth=settings.depth,
        corrections=settings.corrections,
        amplitude_limit=settings.amplitude_limit,
        regularisation=settings.regularisation,
        misfit_floor=settings.misfit_floor_counts / measurement.intensity_scale**2,
    )
    model = build_network(network, measurement.probe, name=kind, seed=grouping_seed)
    loss = PhysicsLoss(
        model,
        measurement,
        group_size=group_size,
        merged=settings.merged_groups,
        # Positions within reach have pixels that are at most one further apart.
        canvas_px=settings.frame_px + 2 * (math.ceil(reach_px) + 1),
        loss_floor_counts=settings.loss_floor_counts,
        merge_floor=settings.merge_floor,
    )

    def rows_of(groups: np.ndarray, images: np.ndarray) -> _LossRows:
        return _LossRows(
            groups=training_groups[groups],
            images=images,
            positions_px=measurement.positions_px,
            merged=settings.merged_groups,
            targets=settings.loss_group_size,
            neighbours=settings.loss_neighbours,
            reach_px=reach_px,
            seed=grouping_seed,
        )

    validation_images = np.unique(training_groups[held_out.validation])
    fit_images = np.setdiff1d(np.arange(len(measurement)), validation_images)
    fit_rows = rows_of(held_out.fit, fit_images)
    rows = TrainingRows(
        of_epoch=lambda epoch: epoch_rows(
            epoch, settings.samples_per_epoch, lambda number: fit_rows.draw(FIT, number)
        ),
        validation=rows_of(held_out.validation, validation_images).draw(VALIDATION, 0),
        patterns_per_row=settings.merged_groups * group_size,
    )
    result = fit(model, loss, rows, settings, progress, checkpoint)
    return TrainedModel(
        kind=kind,
        model=model,
        gridsize=gridsize,
        patch_size=measurement.patch_size,
        core_px=settings.frame_px - 2 * TAPS,
        seeds={"grouping": grouping_seed},
        settings=settings.model_dump(),
        history=result.history,
        best_epoch=result.best_epoch,
        n_fit=len(held_out.fit),
        n_validation=len(held_out.validation),
    )


def _require_groups(groups: np.ndarray, group_size: int, count: int) -> None:
    def refuse(problem: str) -> None:
        raise InputError("train view", "training_groups", problem)

    if groups.ndim != 2 or groups.shape[1] != group_size or len(groups) == 0:
        refuse(f"shape is {groups.shape}; (n, {group_size}) with n > 0 wanted")
    if groups.min() < 0 or groups.max() >= count:
        refuse(f"indices {groups.min()} to {groups.max()} do not fit {count} images")


def _hold_out(measurement: Measurement, groups: np.ndarray, fraction: float) -> HeldOut:
    try:
        return hold_out(measurement.positions_px, groups, fraction)
    except ValueError as error:
        raise InputError("train view", "training_groups", str(error)) from None


def reconstruct(
    loaded: LoadedModel,
    measurement: Measurement,
    *,
    grouping_seed: int,
    threads: int,
    progress: ProgressCallback,
    batch_size: int = 64,
    kind: str = KIND,
) -> Patches:
    """One object patch per scan position, predicted from its pattern and the C - 1 nearest others.

    Args:
        loaded: a PtychoPINN.
        measurement: any view of any split, with the probe that the model was trained with.
        grouping_seed: changes nothing, since the nearest others leave nothing to chance; callers
            pass it so that a choice that does can be made without changing them.
        threads: of TensorFlow.
        progress: called after each batch.
        batch_size: groups that are computed at once; bounds the memory, changes no result beyond
            float rounding.
        kind: the arm's name, that the bundle has to state.

    Returns:
        (n, F, F) patches in the order of the measurement's positions.

    Raises:
        InputError: the model is of another kind, patch size or probe, or there are fewer than C
            images.
    """
    del grouping_seed
    loaded.require(kind, measurement)
    try:
        groups = nearest_groups(measurement.positions_px, loaded.gridsize**2)
    except ValueError as error:
        raise InputError("measurement", "diffraction", str(error)) from None
    pixel, subpixel = split_positions(measurement.positions_px)

    def inputs(index: np.ndarray) -> list[np.ndarray]:
        members = groups[index]
        offset = (pixel[members] - pixel[index][:, None]).astype(np.float32)
        return [measurement.diffraction[members], subpixel[members], offset]

    values = predict_patches(
        loaded.network(threads),
        inputs,
        subpixel,
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
    """See `arms.NetworkModule`. With gridsize 1 every image is a group, whatever the view's are."""
    gridsize = settings["gridsize"]
    groups = np.asarray(dataset.extra["training_groups"])
    if gridsize == 1:
        groups = np.arange(len(dataset.xcoords))[:, None]
    return train(
        measurement_of(dataset),
        groups,
        PtychoPINNSettings.model_validate(settings["ptychopinn"]),
        gridsize=gridsize,
        probe_diameter_px=dataset.metadata["physics"]["probe_diameter_px"],
        grouping_seed=seed,
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
    """See `arms.NetworkModule`."""
    return reconstruct(
        loaded, measurement, grouping_seed=seed, threads=threads, progress=progress, kind=kind
    )
