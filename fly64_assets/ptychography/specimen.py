"""A specimen: the object that is simulated and the probe that lights it, from an NPZ file.

Scan and diffraction do not belong to a specimen; conversions of foreign files belong to the import.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import array_digest, describe_npz, read_npz

OBJECT_KEY = "objectGuess"
PROBE_KEY = "probeGuess"
LARGEST_SIDE_PX = 8192
"""Of the canvas: every solver holds several of it in memory."""
LARGEST_MODULUS, SMALLEST_MODULUS = 10.0, 1e-6
"""Of the brightest pixel of an object: about 1 in a transmission; beyond, amplitudes leave what
DATA-001 holds (below 10) or what single precision does."""


@dataclass(frozen=True, eq=False)
class Specimen:
    """Object and probe of a simulation.

    Attributes:
        object: (H, W) complex64, transmission of the object canvas; H, W even, larger than N.
        probe: (N, N) complex64 of unit power, sum(abs(probe)**2) = 1.
        original_probe_power: the power that the file's probe had.
        source_sha256: digest of the file's two arrays as stored, see `npz.array_digest`.
    """

    object: np.ndarray
    probe: np.ndarray
    original_probe_power: float
    source_sha256: str


def load_specimen(path: str | Path, *, patch_size: int) -> Specimen:
    """Read a specimen; keys other than object and probe are ignored.

    Args:
        path: NPZ with ``objectGuess`` (H, W) and ``probeGuess`` (N, N), both complex64.
        patch_size: N of the study, px.

    Raises:
        InputError: a key is missing, not complex64, not 2-d, not finite; the canvas is odd, not
            larger than N or too large; the object is dark or brighter than any transmission; the
            probe is zero or its side is not N; or the file cannot be read.
    """
    headers = describe_npz(path)
    for key in (OBJECT_KEY, PROBE_KEY):  # by what it says of itself: nothing huge is read
        shape = headers[key].shape if key in headers else ()
        if any(side > LARGEST_SIDE_PX for side in shape):
            problem = f"shape is {shape}; a side has at most {LARGEST_SIDE_PX} px"
            raise InputError(path, key, problem)
    arrays = read_npz(path, [OBJECT_KEY, PROBE_KEY])
    for key, array in arrays.items():
        if array.dtype != np.complex64:
            hint = ""
            if array.dtype.kind == "c":
                hint = "; `fly64 import` converts it and records that"
            problem = f"dtype is {array.dtype}, a specimen wants complex64{hint}"
            raise InputError(path, key, problem)
        if array.ndim != 2:
            raise InputError(path, key, f"shape is {array.shape}, a specimen wants two dimensions")
        if not np.isfinite(array).all():
            broken = int((~np.isfinite(array)).sum())
            raise InputError(path, key, f"{broken} values are not finite")
    object_, probe = arrays[OBJECT_KEY], arrays[PROBE_KEY]
    if object_.shape[0] % 2 or object_.shape[1] % 2:
        hint = "`fly64 import` pads it and records that"
        problem = f"canvas is {object_.shape}, a specimen wants even sides; {hint}"
        raise InputError(path, OBJECT_KEY, problem)
    if min(object_.shape) <= patch_size:
        problem = f"canvas is {object_.shape}, a specimen wants sides larger than N = {patch_size}"
        raise InputError(path, OBJECT_KEY, problem)
    if probe.shape != (patch_size, patch_size):
        problem = f"probe size is {probe.shape}, different from N = {patch_size}"
        raise InputError(path, PROBE_KEY, problem)
    brightest = float(np.abs(object_).max())
    if not SMALLEST_MODULUS <= brightest <= LARGEST_MODULUS:
        problem = (
            f"its largest modulus is {brightest:g}; a transmission has {SMALLEST_MODULUS:g} to "
            f"{LARGEST_MODULUS:g}: divide it by its mean modulus"
        )
        raise InputError(path, OBJECT_KEY, problem)
    power = float(np.square(np.abs(probe), dtype=np.float64).sum())
    if power == 0:
        raise InputError(path, PROBE_KEY, "probe is zero everywhere")
    unit = (probe.astype(np.complex128) / np.sqrt(power)).astype(np.complex64)
    return Specimen(object_, unit, power, array_digest(arrays))
