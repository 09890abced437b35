"""Passes of PtychoPINN's network over the estimate of a whole view.

A pass predicts frames around scan positions from the estimate there and from the patterns nearest
to each; merged, they are the next estimate, which gradient steps bring back to the data. The same
passes are made in training, on estimates that see a part of the patterns, and in reconstruction.
What does not belong here: the gradient steps (``object_field.py``), losses, the training loop.
TensorFlow is imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.ptychography.overlap import thin
from fly64_assets.solvers.grouping import TURNS, nearest_groups, split_positions
from fly64_assets.solvers.interface import Measurement
from fly64_assets.solvers.object_field import AfterStep, FieldSteps, ObjectField, quiet
from fly64_assets.study.model import PtychoPINNSettings

if TYPE_CHECKING:
    import keras

BATCH = 16
"""Frames of a pass between two rounds that are computed at once."""
Predict = Callable[[list[np.ndarray]], np.ndarray]


def field_of(measurement: Measurement, settings: PtychoPINNSettings, threads: int) -> ObjectField:
    """Return the estimator of this measurement's object that the settings ask for."""
    asked = settings.field
    steps = FieldSteps(
        step=asked.step,
        momentum=asked.momentum,
        patterns_per_pixel=asked.patterns_per_pixel,
        damping=settings.regularisation,
        floor_counts=settings.misfit_floor_counts,
    )
    return ObjectField(measurement, steps, threads)


def predictor(network: keras.Model) -> Predict:
    """Compile what turns inputs of ``networks.build_refiner`` into frames, (B, S, S) complex64."""
    import tensorflow as tf

    compiled = tf.function(network, reduce_retracing=True, autograph=False)

    def predict(inputs: list[np.ndarray]) -> np.ndarray:
        frames = compiled([tf.constant(values) for values in inputs]).numpy()
        return frames[..., 0] + 1j * frames[..., 1]

    return predict


def channels(estimate: np.ndarray, misfit: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """(H, W, 6) float32, what a network sees of an estimate; see ``networks.build_refiner``."""
    parts = [estimate.real, estimate.imag, misfit.real, misfit.imag]
    return np.concatenate([np.stack(parts, axis=-1), conditions], axis=-1).astype(np.float32)


class Frames:
    """What a network is fed with around the scan positions of a view, or of a part of it.

    Args:
        measurement: the view.
        images: (k,) indices of the patterns that may be looked at.
        group_size: C, of which the nearest form a group.
        frame_px: S.

    Attributes:
        images: in the order of `canonical_order`; members below are row numbers of it.

    Raises:
        ValueError: there are fewer than C images.
    """

    def __init__(
        self, measurement: Measurement, images: np.ndarray, group_size: int, frame_px: int
    ) -> None:
        self.images = canonical_order(measurement.positions_px, images)
        self._positions = measurement.positions_px[self.images]
        self._diffraction, self._side = measurement.diffraction, frame_px
        self._groups = nearest_groups(self._positions, group_size)
        self._pixel, self.subpixel = split_positions(self._positions)

    def spread(self, spacing_px: float) -> np.ndarray:
        """Members at least ``spacing_px`` apart that leave none further than that from one."""
        return thin(self._positions, spacing_px, np.arange(len(self._positions)))

    def inputs(self, field: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
        """Return the network's inputs for frames centred on the pixels of the members' positions.

        Args:
            field: (H, W, 6), see `channels`.
            members: (b,).
        """
        groups, centre = self._groups[members], self._pixel[members]
        windows = np.lib.stride_tricks.sliding_window_view(
            field, (self._side, self._side), axis=(0, 1)
        )
        y, x = (centre - self._side // 2).T
        return [
            self._diffraction[self.images[groups]],
            self.subpixel[groups],
            (self._pixel[groups] - centre[:, None]).astype(np.float32),
            np.ascontiguousarray(np.moveaxis(windows[y, x], 1, -1)),
            # Neighbouring frames are seen turned in different ways: what they share is the object.
            TURNS[members % len(TURNS)],
        ]


def canonical_order(positions_px: np.ndarray, images: np.ndarray) -> np.ndarray:
    """``images`` by position, so that nothing depends on the order in which they were stored."""
    return images[np.lexsort(positions_px[images].T)]


def next_estimate(
    predict: Predict,
    field: ObjectField,
    frames: Frames,
    estimate: np.ndarray,
    conditions: np.ndarray,
    settings: PtychoPINNSettings,
    seed: Sequence[int],
    *,
    after_step: AfterStep = quiet,
) -> np.ndarray:
    """One pass over the view, and the gradient steps that follow it: (H, W) complex64."""
    members = frames.spread(settings.field.spacing_px)
    seen = channels(estimate, field.misfit(estimate, frames.images), conditions)
    parts = np.split(members, range(BATCH, len(members), BATCH))
    predicted = np.concatenate([predict(frames.inputs(seen, part)) for part in parts])
    merged = field.merged(estimate, predicted.astype(np.complex64), frames.images[members])
    return field.improved(
        merged,
        frames.images,
        settings.field.further_steps,
        seed,
        smoothness_counts=settings.field.further_smoothness_counts,
        after_step=after_step,
    )
