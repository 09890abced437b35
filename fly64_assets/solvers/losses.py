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

from fly64_assets.ptychography.data001.npz import release
from fly64_assets.solvers import physics_operations as physics
from fly64_assets.solvers.grouping import TURNS, split_positions
from fly64_assets.solvers.interface import Measurement


class PhysicsLoss:
    """Poisson negative log-likelihood of patterns under the object that others predict.

    A row is the number of a turn, the number of a field, a group of C images that the network sees,
    and E images to explain that neither field nor network saw. The network's frame is put into the
    field, and the E patterns are modelled from that. The value is half the Poisson deviance per
    pattern over the square root of the mean counts, averaged: least where the likelihood is
    greatest, and of one order for all doses.

    Args:
        model: from ``networks.build_refiner``.
        measurement: gives diffraction, positions and intensity scale; the probe is the model's.
        fields: J, how many estimates of the object there are.
        group_size: C.
        frame_px: S.
        canvas_px: T, px, even: side of what is cut from a field around a frame's centre.
        loss_floor_counts: counts per pixel added to the expectation.
    """

    def __init__(
        self,
        model: keras.Model,
        measurement: Measurement,
        *,
        fields: int,
        group_size: int,
        frame_px: int,
        canvas_px: int,
        loss_floor_counts: float,
    ) -> None:
        pixel, subpixel = split_positions(measurement.positions_px)
        self._model = model
        self._group_size, self._frame_px, self._canvas_px = group_size, frame_px, canvas_px
        self._loss_floor_counts = loss_floor_counts
        self._scale = float(measurement.intensity_scale)
        self._diffraction = tf.constant(measurement.diffraction, tf.float32)
        self._pixel, self._subpixel = tf.constant(pixel), tf.constant(subpixel)
        self._turns = tf.constant(TURNS)
        self._fields = tf.Variable(
            tf.zeros((fields, *measurement.canvas_shape, 6)), trainable=False
        )
        power = np.einsum("nij,nij->", *[measurement.diffraction] * 2, dtype=np.float64)
        self._root_mean_counts = self._scale * float(np.sqrt(power / len(measurement)))
        release(measurement.diffraction)

    def set_field(self, number: int, channels: np.ndarray) -> None:
        """Replace one field by (H, W, 6) float32; see ``networks.build_refiner``."""
        self._fields[number].assign(channels)

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """(b, 2 + C + E) int32 -> scalar float32."""
        seen = 2 + self._group_size
        turn, field, inputs, targets = rows[:, 0], rows[:, 1], rows[:, 2:seen], rows[:, seen:]
        origin = tf.gather(self._pixel, inputs[:, 0])
        side = self._diffraction.shape[-1]
        windows = physics.cut(
            self._predicted_object(turn, field, inputs, origin)[:, None],
            tf.gather(self._pixel, targets) - origin[:, None],
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

    def _predicted_object(
        self, turn: tf.Tensor, field: tf.Tensor, inputs: tf.Tensor, origin: tf.Tensor
    ) -> tf.Tensor:
        """Return the field with the predicted frame in it: (b, T, T) complex64 around ``origin``.

        Args:
            turn, field: (b,) numbers.
            inputs: (b, C) image indices.
            origin: (b, 2) pixel of each row's frame centre.
        """
        around = self._cut_field(field, origin)
        margin = (self._canvas_px - self._frame_px) // 2
        core = slice(margin, margin + self._frame_px)
        within = around[:, core, core]
        frames = self._model(
            [
                tf.gather(self._diffraction, inputs),
                tf.gather(self._subpixel, inputs),
                tf.cast(tf.gather(self._pixel, inputs) - origin[:, None], tf.float32),
                within,
                tf.gather(self._turns, turn),
            ]
        )
        edges = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        packed = around[..., :2] + tf.pad(frames - within[..., :2], edges)
        return tf.complex(packed[..., 0], packed[..., 1])

    def _cut_field(self, field: tf.Tensor, origin: tf.Tensor) -> tf.Tensor:
        """(b, T, T, 6) around ``origin``; beyond the canvas its edge pixels go on."""
        height, width, channels = self._fields.shape[1:]
        steps = tf.range(self._canvas_px) - self._canvas_px // 2
        rows = tf.clip_by_value(origin[:, :1] + steps, 0, height - 1) + field[:, None] * height
        columns = tf.clip_by_value(origin[:, 1:] + steps, 0, width - 1)
        index = rows[:, :, None] * width + columns[:, None, :]
        return tf.gather(tf.reshape(self._fields, (-1, channels)), index)


class SupervisedLoss:
    """Mean modulus of the difference from the true patches, weighted by illumination.

    A row is an image, the number of a turn and a draw. The frame is centred on the scan position
    itself, as the true patch is. Draw 0 is the image as it was measured. Any other draw is a new
    exposure of what is known: the true patch is turned, its pattern modelled with the known probe
    and its photons drawn anew, so that a specimen's few patches show the network many objects and
    no noise twice. Two rows with equal draws in batches of equal sums have equal noise.

    Args:
        model: from ``networks.build_baseline``, C = 1.
        measurement: gives the diffraction, the probe and the intensity scale.
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
        self._core = slice(margin, margin + frame_px)
        self._model, self._smoothing = model, smoothing
        self._scale = float(measurement.intensity_scale)
        self._probe = tf.constant(measurement.probe, tf.complex64)
        self._turns = tf.constant(TURNS)
        self._diffraction = tf.constant(measurement.diffraction, tf.float32)
        release(measurement.diffraction)
        self._truth = tf.constant(true_patches, tf.complex64)
        release(true_patches)

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """(b, 3) int32 -> scalar float32."""
        image, turn, draw = rows[:, 0], rows[:, 1], rows[:, 2]
        truth = physics.turned(tf.gather(self._truth, image), tf.gather(self._turns, turn))
        measured = tf.gather(self._diffraction, image)
        diffraction = tf.cond(
            tf.reduce_any(draw > 0),
            lambda: tf.where((draw > 0)[:, None, None], self._exposed_anew(truth, draw), measured),
            lambda: measured,
        )
        centred = tf.zeros((tf.shape(rows)[0], 1, 2))
        frames = self._model([diffraction[:, None], centred, centred])
        truth = truth[:, self._core, self._core]
        difference = tf.complex(frames[..., 0], frames[..., 1]) - truth
        modulus = tf.sqrt(physics.intensity(difference) + self._smoothing**2)
        weights = frames[..., 2]
        axes = (1, 2)
        weighted = tf.reduce_sum(weights * modulus, axes) / tf.reduce_sum(weights, axes)
        return tf.reduce_mean(weighted)

    def _exposed_anew(self, patches: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([tf.reduce_sum(draw), draw[0]])
        return physics.exposures(patches, self._probe, self._scale, seed)
