"""The forward model and its adjoint as differentiable TensorFlow operations.

Everything happens on the integer pixel grid of the object canvas: the whole-pixel part of a scan
position moves the window that is cut from the object, the sub-pixel part moves the probe, by a
phase ramp in its spectrum. No object is ever interpolated on the way to the detector. The far field
is the orthonormal Fourier transform, as in DATA-001; spectra here keep zero frequency in the corner
(the layout of the FFT), so the diffraction is unshifted once on entry.

What does not belong here: layers with state, networks and training. Imports TensorFlow at the top:
import this module only after ``start_tensorflow``.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def corner_frequency(diffraction: tf.Tensor) -> tf.Tensor:
    """(..., N, N) with zero frequency at the centre, to the same with zero frequency at [0, 0]."""
    return tf.signal.ifftshift(diffraction, axes=(-2, -1))


def centred_frequency(diffraction: tf.Tensor) -> tf.Tensor:
    """Return the inverse of `corner_frequency`."""
    return tf.signal.fftshift(diffraction, axes=(-2, -1))


def far_field(exit_wave: tf.Tensor) -> tf.Tensor:
    """Orthonormal 2-D Fourier transform of (..., N, N) complex64, zero frequency at [0, 0]."""
    side = exit_wave.shape[-1]
    return tf.signal.fft2d(exit_wave) / tf.cast(side, tf.complex64)


def near_field(spectrum: tf.Tensor) -> tf.Tensor:
    """Return the inverse of `far_field`."""
    side = spectrum.shape[-1]
    return tf.signal.ifft2d(spectrum) * tf.cast(side, tf.complex64)


def shifted_probes(probe: tf.Tensor, subpixel: tf.Tensor) -> tf.Tensor:
    """Return the probe moved by sub-pixel amounts with a Fourier phase ramp.

    Args:
        probe: (N, N) complex64.
        subpixel: (..., 2) float32, px, y then x; the content moves by ``+subpixel``.

    Returns:
        (..., N, N) complex64.
    """
    frequency = tf.constant(np.fft.fftfreq(probe.shape[-1]).astype(np.float32))
    angle = -2.0 * np.pi * subpixel[..., None] * frequency
    ramp = tf.complex(tf.cos(angle), tf.sin(angle))
    spectrum = tf.signal.fft2d(probe)
    return tf.signal.ifft2d(spectrum * ramp[..., 0, :, None] * ramp[..., 1, None, :])


def _take(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """``rows @ image @ columns.T`` for every image: a separable gather that is fast to derive."""
    return tf.linalg.matmul(tf.linalg.matmul(rows, images), columns, transpose_b=True)


def _take_complex(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    real = _take(tf.math.real(images), rows, columns)
    return tf.complex(real, _take(tf.math.imag(images), rows, columns))


def _selection(offset: tf.Tensor, side: int, source_side: int, *, mirror: bool) -> tf.Tensor:
    """(..., side, source_side) float32 matrix that picks ``side`` pixels around a centre.

    Pixel ``side/2`` of the result is pixel ``source_side/2 + offset`` of the source. Beyond the
    source the content is its mirror image, or zero.
    """
    index = tf.range(side) - side // 2 + source_side // 2 + tf.cast(offset, tf.int32)[..., None]
    if mirror:
        index = tf.where(index < 0, -1 - index, index)
        index = tf.where(index >= source_side, 2 * source_side - 1 - index, index)
        index = tf.clip_by_value(index, 0, source_side - 1)
    return tf.one_hot(index, source_side, dtype=tf.float32)


def cut(images: tf.Tensor, offset: tf.Tensor, side: int, *, mirror: bool) -> tf.Tensor:
    """Square windows of ``side`` pixels, centred ``offset`` pixels from each image's centre.

    Args:
        images: (..., S, S) float32 or complex64, S even.
        offset: (..., 2) integers, y then x, broadcast against the leading axes of ``images``.
        side: side of the windows, even.
        mirror: continue an image beyond its edge by its mirror image instead of by zero.

    Returns:
        (..., side, side), the dtype of ``images``.
    """
    source_side = images.shape[-1]
    rows = _selection(offset[..., 0], side, source_side, mirror=mirror)
    columns = _selection(offset[..., 1], side, source_side, mirror=mirror)
    take = _take_complex if images.dtype.is_complex else _take
    return take(images, rows, columns)


def turned(images: tf.Tensor, turn: tf.Tensor, *, back: bool = False) -> tf.Tensor:
    """Square images turned and mirrored, each in its own way, or this undone.

    Args:
        images: (B, S, S) or (B, S, S, any), of any dtype.
        turn: (B, 3): where it is 1 rows and columns are exchanged, then rows reversed, then
            columns.
        back: undo this.

    Returns:
        The shape and dtype of ``images``.
    """
    trailing = range(3, images.shape.rank)
    changes = [
        lambda values: tf.transpose(values, (0, 2, 1, *trailing)),
        lambda values: tf.reverse(values, (1,)),
        lambda values: tf.reverse(values, (2,)),
    ]
    for number in reversed(range(3)) if back else range(3):
        wanted = tf.reshape(turn[:, number] > 0.5, (-1, *[1] * (images.shape.rank - 1)))
        images = tf.where(wanted, changes[number](images), images)
    return images


def scaled(values: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """complex64 times float32, without a cast that loses the derivative's imaginary part."""
    return tf.complex(tf.math.real(values) * factor, tf.math.imag(values) * factor)


def intensity(spectrum: tf.Tensor) -> tf.Tensor:
    """Squared modulus, float32."""
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def exposures(
    patches: tf.Tensor, probe: tf.Tensor, intensity_scale: float, seed: tf.Tensor
) -> tf.Tensor:
    """Return what a detector would measure of known patches: the forward model with photon noise.

    Args:
        patches: (b, N, N) complex64, the object at the scan positions.
        probe: (N, N) complex64.
        intensity_scale: of DATA-001; counts = (amplitude * intensity_scale)^2.
        seed: (2,) int32; the same gives the same counts.

    Returns:
        (b, N, N) float32: DATA-001 amplitude, zero frequency at the centre.
    """
    expected = intensity(far_field(patches * probe)) * intensity_scale**2
    counts = tf.random.stateless_poisson(tf.shape(expected), seed, expected, dtype=tf.float32)
    return centred_frequency(tf.sqrt(counts) / intensity_scale)


def half_poisson_deviance(counts: tf.Tensor, expected: tf.Tensor, floor: float) -> tf.Tensor:
    """Half the Poisson deviance per frame: the negative log-likelihood less its least value.

    ``sum(l - k + k log(k / l))`` over a frame's pixels with ``k`` the counts and ``l`` the
    expectation; the part that depends on the counts only makes frames and doses comparable.

    Args:
        counts: (..., N, N) float32, >= 0.
        expected: (..., N, N) float32, >= 0.
        floor: counts per pixel added to the expectation, > 0: keeps the logarithm finite.

    Returns:
        (...) float32.
    """
    expected = expected + floor
    terms = expected - counts + tf.math.xlogy(counts, counts / expected)
    return tf.reduce_sum(terms, axis=(-2, -1))
