"""Casts that keep every value, up to the rounding of the wanted dtype, or refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fly64_assets.errors import InputError

ROUNDING = 2.0**-22
"""Largest error of a cast, as a fraction of the array's largest value: float32 rounds below it."""


def cast(
    source: str | Path,
    key: str,
    values: np.ndarray,
    dtype: np.dtype,
    *,
    largest: float | None = None,
) -> np.ndarray:
    """Cast to ``dtype``, every value kept but for rounding to a float's precision.

    Args:
        source, key: named in a refusal.
        values: any shape, finite numbers.
        dtype: wanted.
        largest: largest modulus of the array that ``values`` is a part of; by default of itself.

    Raises:
        InputError: a value overflows, vanishes, has a fraction that an integer cannot hold, or is
            an integer that a float cannot hold.
    """
    dtype = np.dtype(dtype)
    if values.dtype == dtype or values.size == 0:
        return values.astype(dtype, copy=False)

    def refuse(lost: np.ndarray, problem: str) -> None:
        if lost.any():
            told = f"{int(lost.sum())} values, the first {values[lost].flat[0]}, {problem}"
            raise InputError(source, key, f"{told} in a cast from {values.dtype} to {dtype}")

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        changed = values.astype(dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            refuse((values < limits.min) | (values > limits.max), "overflow")
            refuse(values != np.floor(values), "lose their fraction")
        elif values.dtype.kind in "iu":
            exact = 2 ** (np.finfo(dtype).nmant + 1)
            refuse((values > exact) | (values < -exact), "lose digits")
        else:
            refuse(np.isfinite(values) & ~np.isfinite(changed), "overflow")
            reference = float(np.abs(values).max()) if largest is None else largest
            wide = np.promote_types(values.dtype, dtype)
            refuse(np.abs(changed.astype(wide) - values) > ROUNDING * reference, "vanish")
    return changed
