"""PtychoPINN: an unsupervised, physics-informed network (phase E) and its patches (phase G).

The network sees diffraction, positions, the known probe and the intensity scale, never the truth.
Its loss is the Poisson negative log-likelihood of the counts under the forward model (Hoidn,
Mishra and Mehta, Sci. Rep. 13, 22789 (2023)). Predictions of several neighbouring groups are merged
before the loss sees them: an object that explains a single pattern, but not its neighbours, costs. What does not belong here: layers (``networks.py``), the loop (``training.py``), files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.solvers.grouping import (
    HeldOut,
    draw_targets,
    hold_out,
    loss_neighbours,
    nearest_groups,
    split_positions,
)
from fly64_assets.solvers.interface import Measurement, Patches, ProgressCallback
from fly64_assets.solvers.model_bundle import LoadedModel, TrainedModel
from fly64_assets.solvers.resampling import TAPS
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow
from fly64_assets.study import PtychoPINNSettings

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

KIND = "PtychoPINN"
WEIGHTS, FIT, VALIDATION = 1, 2, 3
"""What a generator seeded with [grouping seed, this, ...] is for."""


@dataclass(frozen=True)
class PtychoPINNDesign:
    """What the study's section does not say about network and loss.

    Attributes:
        frame_px: S, px, side of the frame that the network predicts.
        depth: levels of a U-Net below its first.
        corrections: U-Nets after the first, each fed with the misfit of the estimate so far.
        amplitude_limit: largest amplitude of the object.
        regularisation: of a back-projection, as a fraction of the brightest illumination.
        misfit_floor_counts: counts per pixel below which a misfit is damped.
        loss_floor_counts: counts per pixel added to the expectation in the loss.
        merge_floor: weight, over the brightest illumination, of what a frame says where it is not
            illuminated.
        loss_reach: farthest that a loss merges groups, as a fraction of the probe's diameter.
    """

    frame_px: int = 40
    depth: int = 2
    corrections: int = 1
    amplitude_limit: float = 2.0
    regularisation: float = 0.02
    misfit_floor_counts: float = 1.0
    loss_floor_counts: float = 1e-3
    merge_floor: float = 1e-3
    loss_reach: float = 1 / 3
    merged_groups: int = 1


@dataclass(frozen=True, eq=False)
class _LossRows:
    """What one loss looks at: patterns that predict, and others that the prediction must explain.

    Attributes:
        groups: (m, C) image indices, the network's groups.
        images: (i,) images that may be explained.
        positions_px: (n, 2), of all images.
        merged: L, groups whose predictions are merged.
        targets: E, patterns to explain.
        neighbours: K, nearest images that they are drawn from.
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

    def draw(self, purpose: int, epoch: int) -> np.ndarray:
        """(m, L * C + E) int32: inputs and targets around each group, shuffled."""
        generator = np.random.default_rng([self.seed, purpose, epoch])
        # Any member may be the one that the frame is centred on.
        groups = generator.permuted(self.groups, axis=1)
        centres = self.positions_px[groups[:, 0]]
        near = loss_neighbours(centres, -(-self.neighbours // groups.shape[1]), self.reach_px)
        inputs = groups[near.draw(self.merged, generator)].reshape(len(groups), -1)
        targets = draw_targets(
            self.positions_px, centres, inputs, self.images, self.targets, self.neighbours,
            self.reach_px, generator)
        rows = np.concatenate([inputs, targets], axis=1).astype(np.int32)
        return generator.permutation(rows, axis=0)


class _PhysicsLoss:
    """Poisson negative log-likelihood of merged predictions; index rows in, one number out."""

    def __init__(
        self,
        model: keras.Model,
        measurement: Measurement,
        group_size: int,
        merged: int,
        canvas_px: int,
        design: PtychoPINNDesign,
    ) -> None:
        import tensorflow as tf

        pixel, subpixel = split_positions(measurement.positions_px)
        self._model, self._group_size, self._merged = model, group_size, merged
        self._canvas_px, self._design = canvas_px, design
        self._scale = float(measurement.intensity_scale)
        self._diffraction = tf.constant(measurement.diffraction, tf.float32)
        self._pixel, self._subpixel = tf.constant(pixel), tf.constant(subpixel)
        power = np.square(measurement.diffraction, dtype=np.float64).sum(axis=(1, 2)).mean()
        self._normaliser = 1.0 / (self._scale * float(np.sqrt(power)))

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Half the deviance per frame over the square root of the mean counts, mean over rows."""
        import tensorflow as tf

        from fly64_assets.solvers import physics_operations as physics

        batch, group, merged = tf.shape(rows)[0], self._group_size, self._merged
        side, frame_px = self._diffraction.shape[-1], self._design.frame_px
        inputs, targets = rows[:, : merged * group], rows[:, merged * group :]
        pixel = tf.reshape(tf.gather(self._pixel, inputs), (batch, merged, group, 2))
        frame_pixel = pixel[:, :, :1]
        prediction = self._model(
            [
                tf.reshape(tf.gather(self._diffraction, inputs), (-1, group, side, side)),
                tf.reshape(tf.gather(self._subpixel, inputs), (-1, group, 2)),
                tf.reshape(tf.cast(pixel - frame_pixel, tf.float32), (-1, group, 2)),
            ]
        )
        prediction = tf.reshape(prediction, (batch, merged, frame_px, frame_px, 3))
        origin = pixel[:, 0, :1]
        merged_object = self._merge(prediction, frame_pixel[:, :, 0] - origin)
        window_offset = tf.gather(self._pixel, targets) - origin
        windows = physics.cut(merged_object[:, None], window_offset, side, mirror=True)
        probes = self._probes(tf.gather(self._subpixel, targets))
        expected = physics.intensity(physics.far_field(probes * windows)) * self._scale**2
        diffraction = tf.gather(self._diffraction, targets)
        counts = tf.square(physics.corner_frequency(diffraction) * self._scale)
        deviance = physics.poisson_deviance(counts, expected, self._design.loss_floor_counts)
        return tf.reduce_mean(deviance) * self._normaliser

    def _probes(self, subpixel: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        packed = self._model.get_layer("known_probe")(subpixel)
        return tf.complex(packed[..., 0], packed[..., 1])

    def _merge(self, prediction: tf.Tensor, frame_offset: tf.Tensor) -> tf.Tensor:
        """(b, L, S, S, 3) frames to one object (b, T, T) complex64, weighted by illumination."""
        import tensorflow as tf

        from fly64_assets.solvers import physics_operations as physics

        objects = tf.complex(prediction[..., 0], prediction[..., 1])
        if prediction.shape[1] == 1:
            return objects[:, 0]
        objects = physics.cut(objects, -frame_offset, self._canvas_px, mirror=True)
        weights = physics.cut(prediction[..., 2], -frame_offset, self._canvas_px, mirror=False)
        weights = weights + self._design.merge_floor
        weights = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
        return tf.reduce_sum(physics.scaled(objects, weights), axis=1)


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
    design: PtychoPINNDesign | None = None,
) -> TrainedModel:
    """Train PtychoPINN on one view of the train split.

    Args:
        measurement: the view's images.
        training_groups: (n_groups, C) int64 indices into the measurement's images, C = gridsize^2;
            with gridsize 1 (n_images, 1), every image once.
        settings: the study's section.
        gridsize: 1 or 2.
        probe_diameter_px: D, px; how far a loss reaches is a fraction of it.
        grouping_seed: weights and the order of everything come from it.
        threads: of TensorFlow.
        progress: called after each epoch with loss, validation_loss and patterns_per_s.
        design: what the study's section does not say.

    Returns:
        The model with the weights of least validation loss.

    Raises:
        InputError: the groups are not what gridsize asks for, or too few to hold any out.
        TrainingDiverged: the loss is no finite number any more.
        SolverEnvironmentError: torch is loaded in this process.
    """
    start_tensorflow(threads)
    from fly64_assets.solvers.networks import NetworkDesign, build_network
    from fly64_assets.solvers.training import TrainingRows, fit

    design = design or PtychoPINNDesign()
    group_size = gridsize**2
    _require_groups(training_groups, group_size, len(measurement))
    held_out = _hold_out(measurement, training_groups, settings.validation_fraction)
    validation_images = np.unique(training_groups[held_out.validation])
    fit_images = np.setdiff1d(np.arange(len(measurement)), validation_images)

    def loss_rows(groups, images):
        return _LossRows(
            groups=training_groups[groups],
            images=images,
            positions_px=measurement.positions_px,
            merged=design.merged_groups,
            targets=settings.loss_group_size,
            neighbours=settings.loss_neighbours,
            reach_px=design.loss_reach * probe_diameter_px,
            seed=grouping_seed,
        )

    fit_rows = loss_rows(held_out.fit, fit_images)
    validation_rows = loss_rows(held_out.validation, validation_images)
    network = NetworkDesign(
        patch_size=measurement.patch_size,
        group_size=group_size,
        frame_px=design.frame_px,
        width=settings.width,
        depth=design.depth,
        corrections=design.corrections,
        amplitude_limit=design.amplitude_limit,
        regularisation=design.regularisation,
        misfit_floor=design.misfit_floor_counts / measurement.intensity_scale**2,
    )
    model = build_network(network, measurement.probe, name=KIND, seed=grouping_seed)
    canvas_px = design.frame_px + 2 * (int(np.ceil(fit_rows.reach_px)) + 1)
    loss = _PhysicsLoss(model, measurement, group_size, design.merged_groups, canvas_px, design)
    rows = TrainingRows(
        of_epoch=lambda epoch: fit_rows.draw(FIT, epoch),
        validation=validation_rows.draw(VALIDATION, 0),
        patterns_per_row=fit_rows.merged * group_size,
    )
    result = fit(model, loss, rows, settings, progress)
    return TrainedModel(
        kind=KIND,
        model=model,
        gridsize=gridsize,
        patch_size=measurement.patch_size,
        core_px=design.frame_px - 2 * TAPS,
        seeds={"grouping": grouping_seed},
        settings={**settings.model_dump(), **asdict(design)},
        history=result.history,
        best_epoch=result.best_epoch,
        n_fit=len(held_out.fit),
        n_validation=len(held_out.validation),
    )


def _require_groups(groups: np.ndarray, group_size: int, count: int) -> None:
    if groups.ndim != 2 or groups.shape[1] != group_size:
        raise InputError(
            "train view", "training_groups", f"shape is {groups.shape}, (n, {group_size}) wanted"
        )
    if groups.min() < 0 or groups.max() >= count:
        raise InputError(
            "train view",
            "training_groups",
            f"indices {groups.min()} to {groups.max()} do not fit {count} images",
        )


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
) -> Patches:
    """One object patch per scan position, predicted from the pattern and its C - 1 nearest others.

    Args:
        loaded: a PtychoPINN.
        measurement: any view of any split with the probe that the model was trained with.
        grouping_seed: recorded only: the nearest others leave nothing to chance.
        threads: of TensorFlow.
        progress: called after each batch.
        batch_size: groups that are computed at once; bounds the memory, changes no result beyond
            float rounding.

    Raises:
        InputError: the model is of another kind, patch size or probe, or there are fewer than C
            images.
    """
    start_tensorflow(threads)
    loaded.require(KIND, measurement)
    try:
        groups = nearest_groups(measurement.positions_px, loaded.gridsize**2)
    except ValueError as error:
        raise InputError("view", "diffraction", str(error)) from None
    pixel, subpixel = split_positions(measurement.positions_px)

    def inputs(index: np.ndarray) -> list[np.ndarray]:
        members = groups[index]
        offset = (pixel[members] - pixel[index][:, None]).astype(np.float32)
        return [measurement.diffraction[members], subpixel[members], offset]

    values = loaded.predict_patches(inputs, subpixel, batch_size=batch_size, progress=progress)
    return Patches(values, measurement.positions_px.copy())
