"""The Keras networks of PtychoPINN and Baseline, and the layers that they share.

Both are fully convolutional U-Nets (Ronneberger et al., MICCAI 2015) on the object side; measured
amplitudes are brought there by physics layers. Baseline sees the one-step back-projection of its
pattern with the known probe. PtychoPINN sees a cut from the physics estimate of the whole view
(``object_field.py``), how well each pixel of it was measured, and the back-projected misfit of the
C patterns of a group (the update of Maiden and Rodenburg, Ultramicroscopy 109, 1256 (2009)), and
predicts what to add: one step of an unrolled reconstruction (Adler and Oktem, IEEE Trans. Med.
Imaging 37, 1322 (2018)).

The C patterns of a group meet in one common frame, a window of the object's pixel grid around the
first pattern's position; the network predicts one complex object there. C = 1 is the same network.

Every layer is named and none is a ``Lambda``, so that a saved model holds no code and equal weights
make equal files. What does not belong here: losses, training, groups and positions. Imports
TensorFlow at the top: import this module only after ``start_tensorflow``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fly64_assets.solvers import physics_operations as physics

PACKAGE = "fly64_assets"


@dataclass(frozen=True)
class NetworkDesign:
    """What fixes a network's graph; stored with the model.

    Attributes:
        patch_size: N, px, side of a diffraction pattern.
        group_size: C, patterns that enter together.
        frame_px: S, px, side of the predicted frame, a multiple of ``2**(depth + 1)``, S <= N.
        width: channels of the first U-Net level; they double with each level.
        depth: levels of a U-Net below its first.
        regularisation: fraction of the brightest illumination that a back-projection adds to its
            denominator.
    """

    patch_size: int
    group_size: int
    frame_px: int
    width: int
    depth: int
    regularisation: float

    def __post_init__(self) -> None:
        step = 2 ** (self.depth + 1)
        if self.frame_px % step or self.frame_px > self.patch_size:
            raise ValueError(
                f"frame_px is {self.frame_px}; it must be a multiple of 2^(depth + 1) = {step} "
                f"and at most N = {self.patch_size}"
            )


def _complex(packed: tf.Tensor) -> tf.Tensor:
    return tf.complex(packed[..., 0], packed[..., 1])


def _packed(values: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.math.real(values), tf.math.imag(values)], axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class KnownProbe(layers.Layer):
    """The probe, held as a weight that no training changes, at the sub-pixel part of positions.

    Call: subpixel (B, C, 2) float32, px, y then x -> (B, C, N, N, 2) float32, real and imaginary.
    """

    def __init__(self, patch_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def build(self, input_shape: Any) -> None:
        shape = (self.patch_size, self.patch_size, 2)
        self.probe = self.add_weight(
            name="probe", shape=shape, initializer="zeros", trainable=False
        )

    def call(self, subpixel: tf.Tensor) -> tf.Tensor:
        probe = tf.convert_to_tensor(self.probe)
        return _packed(physics.shifted_probes(_complex(probe), subpixel))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "patch_size": self.patch_size}


class _FrameLayer(layers.Layer):
    """A layer that gathers what C patterns say about the object in their common frame."""

    def __init__(self, frame_px: int, regularisation: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frame_px = frame_px
        self.regularisation = regularisation

    def get_config(self) -> dict[str, Any]:
        own = {"frame_px": self.frame_px, "regularisation": self.regularisation}
        return {**super().get_config(), **own}

    def _gather(
        self, waves: tf.Tensor, probes: tf.Tensor, offset: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Exit waves to object: ``sum(conj(P) wave) / (sum(|P|^2) + eps)`` and the illumination.

        Args:
            waves: (B, C, N, N) complex64, in the probes' windows.
            probes: (B, C, N, N) complex64.
            offset: (B, C, 2) whole px of each window's centre from the frame's centre.

        Returns:
            (B, S, S) complex64, and (B, S, S) float32: the illumination over its brightest value
            for one pattern.
        """
        power = physics.intensity(probes)
        peak = tf.reduce_max(power, axis=(1, 2, 3), keepdims=True)[:, 0]

        def into_frame(images: tf.Tensor) -> tf.Tensor:
            framed = physics.cut(images, -offset, self.frame_px, mirror=False)
            return tf.reduce_sum(framed, axis=1)

        illumination = into_frame(power)
        weighted = into_frame(tf.math.conj(probes) * waves)
        denominator = illumination + self.regularisation * peak
        denominator = tf.complex(denominator, tf.zeros_like(denominator))
        return weighted / denominator, illumination / peak


@keras.saving.register_keras_serializable(package=PACKAGE)
class BackProjection(_FrameLayer):
    """One-step estimate: measured amplitudes with the phases of the empty probe's far field.

    Call: [diffraction (B, C, N, N), probes (B, C, N, N, 2), offset (B, C, 2)]
    -> (B, S, S, 3) float32: real and imaginary part, clipped to the plausible, and illumination.
    """

    def __init__(self, limit: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        diffraction, packed_probes, offset = inputs
        probes = _complex(packed_probes)
        empty = physics.far_field(probes)
        modulus = tf.abs(empty)
        factor = physics.corner_frequency(diffraction) / (modulus + 1e-9)
        waves = physics.near_field(physics.scaled(empty, factor))
        estimate, illumination = self._gather(waves, probes, offset)
        clipped = tf.clip_by_value(_packed(estimate), -self.limit, self.limit)
        return tf.concat([clipped, illumination[..., None]], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "limit": self.limit}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Misfit(_FrameLayer):
    """The data's correction to an object estimate: the back-projected Poisson score.

    With ``psi`` the modelled far field and ``k`` the measured intensity, ``psi * (k - |psi|^2) /
    (|psi|^2 + floor)`` has zero mean at the truth, whatever the dose; an amplitude replacement has
    not, where counts are few.

    Call: [object (B, S, S, 2), diffraction (B, C, N, N), probes (B, C, N, N, 2), offset (B, C, 2)]
    -> (B, S, S, 2) float32.
    """

    def __init__(self, floor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.floor = floor

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        packed_object, diffraction, packed_probes, offset = inputs
        probes = _complex(packed_probes)
        estimate = _complex(packed_object)[:, None]
        windows = physics.cut(estimate, offset, diffraction.shape[-1], mirror=True)
        modelled = physics.far_field(probes * windows)
        expected = physics.intensity(modelled)
        measured = tf.square(physics.corner_frequency(diffraction))
        score = (measured - expected) / (expected + self.floor)
        waves = physics.near_field(physics.scaled(modelled, score))
        return _packed(self._gather(waves, probes, offset)[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "floor": self.floor}


@keras.saving.register_keras_serializable(package=PACKAGE)
class ObjectFromLogits(layers.Layer):
    """(B, S, S, 2) unbounded -> real and imaginary part of a bounded amplitude and phase.

    Amplitude ``limit * sigmoid``, so that 0 means ``limit / 2``; phase ``pi * tanh``.
    """

    def __init__(self, limit: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        amplitude = self.limit * tf.sigmoid(logits[..., 0])
        phase = np.pi * tf.tanh(logits[..., 1])
        return tf.stack([amplitude * tf.cos(phase), amplitude * tf.sin(phase)], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "limit": self.limit}


@keras.saving.register_keras_serializable(package=PACKAGE)
class ChannelSlice(layers.Layer):
    """Channels ``start`` to ``stop`` of (B, S, S, any)."""

    def __init__(self, start: int, stop: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return values[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Turn(layers.Layer):
    """See `physics_operations.turned`.

    Call: [values (B, S, S, any), turn (B, 3)] -> the shape of values.
    """

    def __init__(self, back: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.back = back

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        values, turn = inputs
        return physics.turned(values, turn, back=self.back)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "back": self.back}


@keras.saving.register_keras_serializable(package=PACKAGE)
class LessFlat(layers.Layer):
    """(B, S, S, any), 1 taken from the first channel: of a real part, what a flat object has."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.concat([values[..., :1] - 1.0, values[..., 1:]], axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SpaceToDepth(layers.Layer):
    """(B, S, S, c) -> (B, S/2, S/2, 4 c): each 2 x 2 block of pixels becomes channels."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.nn.space_to_depth(values, 2)


@keras.saving.register_keras_serializable(package=PACKAGE)
class DepthToSpace(layers.Layer):
    """The inverse of `SpaceToDepth`."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(values, 2)


SAVED_CLASSES = frozenset(
    {"Functional", "InputLayer", "Conv2D", "MaxPool2D", "MaxPooling2D", "UpSampling2D"}
    | {"Concatenate", "Add", "GlorotUniform", "Zeros", "DTypePolicy", "__keras_tensor__"}
    | {"KnownProbe", "BackProjection", "Misfit", "ObjectFromLogits", "ChannelSlice"}
    | {"SpaceToDepth", "DepthToSpace", "Turn", "LessFlat"}
)
"""Every class name that a saved network of this package may hold."""


ACTIVATION = "leaky_relu"
"""Of every convolution but the last. Plain ReLUs die: a refiner that begins with too large a change
is pulled back to none, with all its units."""


def _convolutions(values: Any, channels: int, name: str) -> Any:
    for step in ("first", "second"):
        values = layers.Conv2D(
            channels, 3, padding="same", activation=ACTIVATION, name=f"{name}_{step}"
        )(values)
    return values


def _u_net(values: Any, design: NetworkDesign, name: str) -> Any:
    """(B, S, S, any) -> (B, S, S, 2), zero at the start.

    Blocks of 2 x 2 pixels enter and leave as channels (Shi et al., CVPR 2016; Zhang et al., IEEE
    Trans. Image Process. 27, 4608 (2018)): half the cost at the same quality.
    """
    values = SpaceToDepth(name=f"{name}_blocks")(values)
    skips = []
    for level in range(design.depth):
        values = _convolutions(values, design.width * 2**level, f"{name}_down{level}")
        skips.append(values)
        values = layers.MaxPool2D(name=f"{name}_pool{level}")(values)
    values = _convolutions(values, design.width * 2**design.depth, f"{name}_bottom")
    for level in reversed(range(design.depth)):
        values = layers.UpSampling2D(interpolation="bilinear", name=f"{name}_grow{level}")(values)
        values = layers.Concatenate(name=f"{name}_join{level}")([values, skips[level]])
        values = _convolutions(values, design.width * 2**level, f"{name}_up{level}")
    values = layers.Conv2D(8, 3, padding="same", kernel_initializer="zeros", name=f"{name}_logits")(
        values
    )
    return DepthToSpace(name=f"{name}_pixels")(values)


def _inputs(design: NetworkDesign) -> tuple[list[Any], Any]:
    """Return the inputs that both networks have, and the layer of the known probe."""
    size, group = design.patch_size, design.group_size
    inputs = [
        keras.Input((group, size, size), name="diffraction"),
        keras.Input((group, 2), name="subpixel"),
        keras.Input((group, 2), name="offset"),
    ]
    return inputs, KnownProbe(size, name="known_probe")


def _finished(model: keras.Model, probe: np.ndarray, seed: int) -> keras.Model:
    _draw_weights(model, seed)
    packed = np.stack([probe.real, probe.imag], axis=-1).astype(np.float32)
    model.get_layer("known_probe").probe.assign(packed)
    return model


def build_baseline(
    design: NetworkDesign, probe: np.ndarray, *, amplitude_limit: float, name: str, seed: int
) -> keras.Model:
    """Baseline's network, its weights drawn from ``seed``, the probe set.

    Inputs, by name: ``diffraction`` (B, C, N, N) DATA-001 amplitude, ``subpixel`` (B, C, 2) px
    that each position lies off its pixel, ``offset`` (B, C, 2) whole px of each position's pixel
    from the frame's centre. All float32. Pixel S/2 of the frame is the frame's centre.

    Output: (B, S, S, 3) float32: the object's real and imaginary part, and the illumination.

    Args:
        design: see `NetworkDesign`.
        probe: (N, N) complex64.
        amplitude_limit: the amplitude lies in (0, amplitude_limit).
        name: the Keras model's name.
        seed: of the weights; every kernel has a generator of its own derived from it.
    """
    inputs, known_probe = _inputs(design)
    diffraction, subpixel, offset = inputs
    back_projection = BackProjection(
        frame_px=design.frame_px,
        regularisation=design.regularisation,
        limit=amplitude_limit,
        name="back_projection",
    )([diffraction, known_probe(subpixel), offset])
    logits = _u_net(back_projection, design, "estimate")
    estimate = ObjectFromLogits(amplitude_limit, name="estimate_object")(logits)
    illumination = ChannelSlice(2, 3, name="illumination")(back_projection)
    output = layers.Concatenate(name="object_and_illumination")([estimate, illumination])
    return _finished(keras.Model(inputs, output, name=name), probe, seed)


def build_refiner(
    design: NetworkDesign, probe: np.ndarray, *, misfit_floor: float, name: str, seed: int
) -> keras.Model:
    """PtychoPINN's network: one step from an estimate of the object to a better one.

    Inputs: those of `build_baseline`, and ``field`` (B, S, S, 6): real and imaginary part of the
    estimate in the frame, of what all patterns want changed (`ObjectField.misfit`), and how well
    its pixels were measured (`ObjectField.conditions`);
    ``turn`` (B, 3), 0 or 1: how the frame is turned while the U-Net sees it, see `Turn`.

    Output: (B, S, S, 2) float32: the object's real and imaginary part. A new network changes
    nothing.

    Args:
        design: see `NetworkDesign`.
        probe: (N, N) complex64.
        misfit_floor: normalised intensity added to the denominator of the misfit; about one count.
        name: the Keras model's name.
        seed: as for `build_baseline`.
    """
    inputs, known_probe = _inputs(design)
    diffraction, subpixel, offset = inputs
    field = keras.Input((design.frame_px, design.frame_px, 6), name="field")
    turn = keras.Input((3,), name="turn")
    estimate = ChannelSlice(0, 2, name="estimate")(field)
    misfit = Misfit(
        frame_px=design.frame_px,
        regularisation=design.regularisation,
        floor=misfit_floor,
        name="misfit",
    )([estimate, diffraction, known_probe(subpixel), offset])
    known = layers.Concatenate(name="known")([field, misfit])
    turned = Turn(back=False, name="turned")([LessFlat(name="contrast")(known), turn])
    change = Turn(back=True, name="turned_back")([_u_net(turned, design, "change"), turn])
    output = layers.Add(name="object")([estimate, change])
    return _finished(keras.Model([*inputs, field, turn], output, name=name), probe, seed)


def _draw_weights(model: keras.Model, seed: int) -> None:
    """Kernels by the rule of He et al. (ICCV 2015), biases zero, logits' kernels zero.

    Drawn with numpy, so that the start does not depend on the framework's generator or on how many
    layers were made before in this process.
    """
    for number, layer in enumerate(model.layers):
        if not isinstance(layer, layers.Conv2D) or layer.name.endswith("_logits"):
            continue
        shape = tuple(layer.kernel.shape)
        spread = np.sqrt(2.0 / np.prod(shape[:3]))
        generator = np.random.default_rng([seed, number])
        layer.kernel.assign((spread * generator.standard_normal(shape)).astype(np.float32))
