"""What the networks are trained for: rows of image indices in, one number out.

`PhysicsLoss` knows the measurement alone, `SupervisedLoss` the true patches too. The images are
held once and gathered by index. What does not belong here: which images form a row (the models'
modules and ``grouping.py``), layers, the training loop. Imports TensorFlow at the top: import this
module only after ``start_tensorflow``.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from fly64_assets.ptychography.npz import chunks, release
from fly64_assets.solvers import physics_operations as physics
from fly64_assets.solvers.grouping import split_positions
from fly64_assets.solvers.interface import Measurement


class PhysicsLoss:
    """Poisson negative log-likelihood of patterns under the object that others predict.

    A row is L groups of C images that the network sees, then E images to explain. The L predicted
    frames are merged to one object, weighted by their illumination; the E patterns are modelled
    from it. The value is half the Poisson deviance per pattern over the square root of the mean
    counts, averaged: least where the likelihood is greatest, and of one order for all doses.

    Args:
        model: from ``networks.build_network``.
        measurement: gives diffraction, positions and intensity scale; the probe is the model's.
        group_size: C.
        merged: L.
        canvas_px: T, px, even: side of the canvas, centred on the first group's frame, on which
            frames are merged.
        loss_floor_counts: counts per pixel added to the expectation.
        merge_floor: weight, over the brightest illumination, of a frame where it is not lit.
    """

    def __init__(
        self,
        model: keras.Model,
        measurement: Measurement,
        *,
        group_size: int,
        merged: int,
        canvas_px: int,
        loss_floor_counts: float,
        merge_floor: float,
    ) -> None:
        pixel, subpixel = split_positions(measurement.positions_px)
        self._model = model
        self._group_size, self._merged, self._canvas_px = group_size, merged, canvas_px
        self._loss_floor_counts, self._merge_floor = loss_floor_counts, merge_floor
        self._scale = float(measurement.intensity_scale)
        self._diffraction = tf.constant(measurement.diffraction, tf.float32)
        self._pixel, self._subpixel = tf.constant(pixel), tf.constant(subpixel)
        power = np.einsum("nij,nij->", *[measurement.diffraction] * 2, dtype=np.float64)
        self._root_mean_counts = self._scale * float(np.sqrt(power / len(measurement)))
        release(measurement.diffraction)

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """(b, L * C + E) int32 -> scalar float32."""
        seen = self._merged * self._group_size
        inputs, targets = rows[:, :seen], rows[:, seen:]
        pixel = tf.gather(self._pixel, inputs)
        origin = pixel[:, :1]
        side = self._diffraction.shape[-1]
        windows = physics.cut(
            self._predicted_object(inputs, pixel)[:, None],
            tf.gather(self._pixel, targets) - origin,
            side,
            mirror=True,
        )
        packed = self._model.get_layer("known_probe")(tf.gather(self._subpixel, targets))
        probes = tf.complex(packed[..., 0], packed[..., 1])
        expected = physics.intensity(physics.far_field(probes * windows)) * self._scale**2
        diffraction = physics.corner_frequency(tf.gather(self._diffraction, targets))
        counts = tf.square(diffraction * self._scale)
        deviance = physics.half_poisson_deviance(counts, expected, self._loss_floor_counts)
        return tf.reduce_mean(deviance) / self._root_mean_counts

    def _predicted_object(self, inputs: tf.Tensor, pixel: tf.Tensor) -> tf.Tensor:
        """Merged prediction (b, T, T) complex64, centred on each row's first position's pixel.

        Args:
            inputs: (b, L * C) image indices.
            pixel: (b, L * C, 2) their positions' pixels.
        """
        rows, merged, group = tf.shape(inputs)[0], self._merged, self._group_size
        side = self._diffraction.shape[-1]
        pixel = tf.reshape(pixel, (rows, merged, group, 2))
        frame_centre = pixel[:, :, :1]
        frames = self._model(
            [
                tf.reshape(tf.gather(self._diffraction, inputs), (-1, group, side, side)),
                tf.reshape(tf.gather(self._subpixel, inputs), (-1, group, 2)),
                tf.reshape(tf.cast(pixel - frame_centre, tf.float32), (-1, group, 2)),
            ]
        )
        frames = tf.reshape(frames, (rows, merged, *frames.shape[1:]))
        offset = (frame_centre - frame_centre[:, :1])[:, :, 0]
        objects = tf.complex(frames[..., 0], frames[..., 1])
        objects = physics.cut(objects, -offset, self._canvas_px, mirror=True)
        weights = physics.cut(frames[..., 2], -offset, self._canvas_px, mirror=False)
        weights += self._merge_floor
        weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
        return tf.reduce_sum(physics.scaled(objects, weights), axis=1)


class SupervisedLoss:
    """Mean modulus of the difference from the true patches, weighted by illumination.

    A row is one image. The frame is centred on the scan position itself, as the true patch is.

    Args:
        model: from ``networks.build_network``, C = 1.
        measurement: gives the diffraction.
        true_patches: (n, N, N) complex64.
        frame_px: S, px, side of the predicted frame.
        smoothing: modulus, > 0, below which the difference counts by its square: keeps the
            derivative finite where the prediction is exact.
    """

    def __init__(
        self,
        model: keras.Model,
        measurement: Measurement,
        true_patches: np.ndarray,
        *,
        frame_px: int,
        smoothing: float,
    ) -> None:
        margin = (measurement.patch_size - frame_px) // 2
        core = slice(margin, margin + frame_px)
        self._model, self._smoothing = model, smoothing
        self._diffraction = tf.constant(measurement.diffraction, tf.float32)
        release(measurement.diffraction)
        cores, done = np.empty((len(true_patches), frame_px, frame_px), np.complex64), 0
        for part in chunks(true_patches):
            cores[done : done + len(part)] = part[:, core, core]
            done += len(part)
        self._truth = tf.constant(cores)

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """(b, 1) int32 -> scalar float32."""
        diffraction = tf.gather(self._diffraction, rows)
        centred = tf.zeros((tf.shape(rows)[0], 1, 2))
        frames = self._model([diffraction, centred, centred])
        truth = tf.gather(self._truth, rows[:, 0])
        difference = tf.complex(frames[..., 0], frames[..., 1]) - truth
        modulus = tf.sqrt(physics.intensity(difference) + self._smoothing**2)
        weights = frames[..., 2]
        axes = (1, 2)
        weighted = tf.reduce_sum(weights * modulus, axes) / tf.reduce_sum(weights, axes)
        return tf.reduce_mean(weighted)
