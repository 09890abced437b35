"""PtychoPINN: an unsupervised, physics-informed network (phase E) and its patches (phase G).

The network sees diffraction, positions, the known probe and the intensity scale, never the truth.
Its loss is the Poisson negative log-likelihood of counts under the forward model (Hoidn, Mishra and
Mehta, Sci. Rep. 13, 22789 (2023)). It refines a physics estimate of the whole view
(``object_field.py``) in a few passes, and it learns to from estimates that see a part of the
patterns each: what it predicts has to explain the patterns that the estimate did not see. Their
noise cannot be fitted, so that the loss has its least expectation at the best estimate of the
object (Lehtinen et al., ICML 2018).

What does not belong here: layers (``networks.py``), losses (``losses.py``), passes over a view
(``refinement.py``), the loop (``training.py``), files.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from scipy.spatial import cKDTree

from fly64_assets.errors import InputError
from fly64_assets.solvers.grouping import TURNS, HeldOut, draw_targets, hold_out
from fly64_assets.solvers.inference import predict_patches
from fly64_assets.solvers.interface import (
    NO_CHECKPOINT,
    Checkpoint,
    Measurement,
    Patches,
    Progress,
    ProgressCallback,
    measurement_of,
    require_finite,
)
from fly64_assets.solvers.model_bundle import BUNDLE_FILE, LoadedModel, TrainedModel
from fly64_assets.solvers.object_field import AfterStep, ObjectField
from fly64_assets.solvers.refinement import (
    Frames,
    Predict,
    channels,
    field_of,
    next_estimate,
    predictor,
)
from fly64_assets.solvers.resampling import TAPS
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow
from fly64_assets.study.model import PtychoPINNSettings

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001.dataset import Dataset
    from fly64_assets.solvers.losses import PhysicsLoss

KIND = "PtychoPINN"
SHARES, STEPS, FIT, VALIDATION = 1, 4, 2, 3
"""What a generator seeded with [grouping seed, this, ...] is for."""


@dataclass(frozen=True, eq=False)
class _LossRows:
    """What one loss looks at: a group, and patterns to explain that its estimate did not see.

    Attributes:
        groups: (m, C) image indices, the network's groups.
        images: (i,) images that may have to be explained.
        shares: per fold, the images that its estimate sees.
        positions_px: (n, 2), of all images.
        targets: E, patterns to explain.
        neighbours: nearest images that they are drawn from.
        reach_px: from how far.
    """

    groups: np.ndarray
    images: np.ndarray
    shares: Sequence[np.ndarray]
    positions_px: np.ndarray
    targets: int
    neighbours: int
    reach_px: float

    def draw(self, count: int, seed: Sequence[int]) -> np.ndarray:
        """(count, 2 + C + E) int32, see ``losses.PhysicsLoss``; every fold as often, in turn."""
        generator = np.random.default_rng(seed)
        folds = len(self.shares)
        parts = [
            self._of_fold(fold, len(range(fold, count, folds)), generator) for fold in range(folds)
        ]
        return generator.permutation(np.concatenate(parts), axis=0)

    def _of_fold(self, fold: int, count: int, generator: np.random.Generator) -> np.ndarray:
        share = self.shares[fold]
        unseen = np.setdiff1d(self.images, share)
        unseen = unseen if len(unseen) else self.images
        usable, reach_px = self._usable(share, unseen)
        passes = math.ceil(count / len(usable))
        order = [generator.permutation(len(usable)) for _ in range(passes)]
        groups = usable[np.concatenate(order)[:count]] if count else usable[:0]
        # Any member may be the one that the frame is centred on.
        groups = generator.permuted(groups, axis=1)
        targets = draw_targets(
            self.positions_px,
            self.positions_px[groups[:, 0]],
            groups,
            unseen,
            self.targets,
            neighbours=self.neighbours,
            reach_px=reach_px,
            generator=generator,
        )
        numbers = np.stack([generator.integers(len(TURNS), size=count), np.full(count, fold)], 1)
        return np.concatenate([numbers, groups, targets], axis=1).astype(np.int32)

    def _usable(self, share: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, float]:
        """Find groups that the estimate knows, as in use, beside patterns that it does not.

        A loss on patterns that were seen would teach the network to bring back their noise.

        Returns:
            (g, C) image indices, g > 0, and how far to look for unseen patterns, px: further than
            asked if there is no such group.
        """
        distance, _ = cKDTree(self.positions_px[unseen]).query(self.positions_px[self.groups])
        near = (distance <= self.reach_px).all(axis=1)
        known = np.isin(self.groups, share).all(axis=1)
        if (near & known).any():
            return self.groups[near & known], self.reach_px
        return (self.groups[near], self.reach_px) if near.any() else (self.groups, math.inf)


class _Folds:
    """Estimates of the object that see a part of the patterns each, and go on as training does.

    An estimate is improved with the network after each epoch, and starts anew after as many passes
    as a reconstruction has; the folds do so in turn, so that the network always sees estimates of
    every age. Of J folds, field j of the loss is the estimate of the moment and field J + j the one
    that it starts from. A ``training.Companion``.
    """

    def __init__(
        self,
        measurement: Measurement,
        shares: Sequence[np.ndarray],
        settings: PtychoPINNSettings,
        *,
        group_size: int,
        seed: int,
        threads: int,
        loss: PhysicsLoss,
        predict: Predict,
        progress: ProgressCallback,
    ) -> None:
        self._settings, self._seed = settings, seed
        self._loss, self._predict = loss, predict
        self._field = field_of(measurement, settings, threads)
        self._frames = [
            Frames(measurement, share, group_size, settings.frame_px) for share in shares
        ]
        self._conditions = [self._field.conditions(frames.images) for frames in self._frames]
        told = _steps_told(
            progress, len(shares) * settings.field.first_steps, "estimate", len(shares)
        )
        self._starts = [
            first_estimate(self._field, frames, settings, seed, told(number))
            for number, frames in enumerate(self._frames, start=1)
        ]
        self._set(self._starts)
        self._set(self._starts, first=len(self._starts))

    def advance(self, epoch: int) -> None:
        rounds, later = self._settings.field.rounds, []
        for fold, frames in enumerate(self._frames):
            if (epoch + 1 + fold) % rounds == 0:
                later.append(self._starts[fold])
                continue
            later.append(
                next_estimate(
                    self._predict,
                    self._field,
                    frames,
                    self._estimates[fold],
                    self._conditions[fold],
                    self._settings,
                    [self._seed, STEPS, epoch + 1],
                )
            )
        self._set(later)

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"estimates": np.stack(self._estimates)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._set(list(arrays["estimates"]))

    def _set(self, estimates: Sequence[np.ndarray], first: int = 0) -> None:
        self._estimates = list(estimates)
        for fold, (estimate, known) in enumerate(zip(estimates, self._conditions, strict=True)):
            misfit = self._field.misfit(estimate, self._frames[fold].images)
            self._loss.set_field(first + fold, channels(estimate, misfit, known))


def _steps_told(
    progress: ProgressCallback, total: int, part: str, parts: int
) -> Callable[[int], AfterStep]:
    """Tell of the gradient steps of several estimates: until then there is nothing else to tell.

    Args:
        progress: called after each step.
        total: steps of all estimates.
        part: what one of them is called.
        parts: how many they are.

    Returns:
        From the number of an estimate, from 1, to what its steps call.
    """
    done = itertools.count(1)

    def of(number: int) -> AfterStep:
        figures = {part: number, "of": parts}
        return lambda: progress(Progress(next(done), total, "step", figures))

    return of


def first_estimate(
    field: ObjectField,
    frames: Frames,
    settings: PtychoPINNSettings,
    seed: int,
    after_step: AfterStep,
) -> np.ndarray:
    """Return the physics estimate that no network has touched: (H, W) complex64."""
    return field.improved(
        field.constant(),
        frames.images,
        settings.field.first_steps,
        [seed, STEPS, 0],
        smoothness_counts=settings.field.first_smoothness_counts,
        after_step=after_step,
    )


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
        threads: of TensorFlow and of the FFTs.
        progress: called after each gradient step of the folds' first estimates, with which of them
            it is, then after each epoch with loss, validation_loss and patterns_per_s.
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
    shares = _shares(len(measurement), group_size, settings, grouping_seed)
    reach_px = settings.loss_reach * probe_diameter_px

    start_tensorflow(threads)
    from fly64_assets.solvers.losses import PhysicsLoss
    from fly64_assets.solvers.networks import NetworkDesign, build_refiner
    from fly64_assets.solvers.training import TrainingRows, fit

    network = NetworkDesign(
        patch_size=measurement.patch_size,
        group_size=group_size,
        frame_px=settings.frame_px,
        width=settings.width,
        depth=settings.depth,
        regularisation=settings.regularisation,
    )
    model = build_refiner(
        network,
        measurement.probe,
        misfit_floor=settings.misfit_floor_counts / measurement.intensity_scale**2,
        name=kind,
        seed=grouping_seed,
    )
    loss = PhysicsLoss(
        model,
        measurement,
        fields=2 * len(shares),
        group_size=group_size,
        frame_px=settings.frame_px,
        # Positions within reach have pixels that are at most one further apart.
        canvas_px=measurement.patch_size + 2 * (math.ceil(reach_px) + 1),
        loss_floor_counts=settings.loss_floor_counts,
    )
    folds = _Folds(
        measurement,
        shares,
        settings,
        group_size=group_size,
        seed=grouping_seed,
        threads=threads,
        loss=loss,
        predict=predictor(model),
        progress=progress,
    )

    def rows_of(groups: np.ndarray, images: np.ndarray) -> _LossRows:
        return _LossRows(
            groups=training_groups[groups],
            images=images,
            shares=shares,
            positions_px=measurement.positions_px,
            targets=settings.loss_group_size,
            neighbours=settings.loss_neighbours,
            reach_px=reach_px,
        )

    validation_images = np.unique(training_groups[held_out.validation])
    fit_images = np.setdiff1d(np.arange(len(measurement)), validation_images)
    fit_rows = rows_of(held_out.fit, fit_images)
    validation_rows = rows_of(held_out.validation, validation_images)
    validation = validation_rows.draw(
        max(len(held_out.validation), len(shares)), [grouping_seed, VALIDATION]
    )
    # Epochs are compared on the estimates that no network has touched: those of the moment are of
    # other ages in the first epochs than later.
    validation[:, 1] += len(shares)
    rows = TrainingRows(
        of_epoch=lambda epoch: fit_rows.draw(
            settings.samples_per_epoch, [grouping_seed, FIT, epoch]
        ),
        validation=validation,
        patterns_per_row=group_size,
    )
    result = fit(model, loss, rows, settings, progress, checkpoint, folds)
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


def _shares(
    count: int, group_size: int, settings: PtychoPINNSettings, seed: int
) -> list[np.ndarray]:
    """Per fold, the images that its estimate sees: at least a group, and not all if possible."""
    asked = settings.field
    shares = []
    for fold, part in enumerate(np.linspace(asked.least_share, asked.most_share, asked.folds)):
        size = min(max(group_size, round(part * count)), max(group_size, count - 1))
        order = np.random.default_rng([seed, SHARES, fold]).permutation(count)
        shares.append(np.sort(order[:size]))
    return shares


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
    """One object patch per scan position, by passes over the whole view.

    The last pass predicts at every position, from the estimate of the view there, the position's
    pattern and the C - 1 nearest others.

    Args:
        loaded: a PtychoPINN.
        measurement: any view of any split, with the probe that the model was trained with.
        grouping_seed: of the order in which gradient steps look at patterns.
        threads: of TensorFlow and of the FFTs.
        progress: called after each gradient step, with the round that it prepares, then after each
            batch of the last pass.
        batch_size: groups that are computed at once; bounds the memory, changes no result beyond
            float rounding.
        kind: the arm's name, that the bundle has to state.

    Returns:
        (n, F, F) patches in the order of the measurement's positions.

    Raises:
        InputError: the model is of another kind, patch size or probe, states settings that are
            none, or there are fewer than C images.
    """
    loaded.require(kind, measurement)
    settings = _stated_settings(loaded)
    everything = np.arange(len(measurement))
    try:
        frames = Frames(measurement, everything, loaded.gridsize**2, settings.frame_px)
    except ValueError as error:
        raise InputError("measurement", "diffraction", str(error)) from None
    network = loaded.network(threads)
    predict, field = predictor(network), field_of(measurement, settings, threads)
    conditions = field.conditions(frames.images)
    asked = settings.field
    steps = asked.first_steps + (asked.rounds - 1) * asked.further_steps
    told = _steps_told(progress, steps, "round", asked.rounds)
    estimate = first_estimate(field, frames, settings, grouping_seed, told(1))
    for number in range(1, asked.rounds):
        estimate = next_estimate(
            predict,
            field,
            frames,
            estimate,
            conditions,
            settings,
            [grouping_seed, STEPS, number],
            after_step=told(number + 1),
        )
    seen = channels(estimate, field.misfit(estimate, frames.images), conditions)
    values = predict_patches(
        network,
        lambda members: frames.inputs(seen, members),
        frames.subpixel,
        loaded.core_px,
        batch_size=batch_size,
        progress=progress,
    )
    return Patches(values[np.argsort(frames.images)], measurement.positions_px.copy())


def _stated_settings(loaded: LoadedModel) -> PtychoPINNSettings:
    """Those that the model was trained with: it is right for estimates that are made likewise."""
    try:
        return PtychoPINNSettings.model_validate(loaded.description.get("settings"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("settings", *map(str, first["loc"])))
        raise InputError(loaded.source.parent / BUNDLE_FILE, key, first["msg"]) from None


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
