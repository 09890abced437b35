"""DATA-001, a ptychography dataset in an NPZ file: its type, reading, writing, data version.

The rules are in ``dataset_rules.py``, the metadata in ``metadata.py``, the checks of the physics in
``physics_checks.py``. Bytes on disk belong to ``npz.py``, making data to ``simulation.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import npz
from fly64_assets.ptychography.data001.dataset_rules import (
    DTYPES,
    VIEW_KEYS,
    refuse_first,
    structure_outcomes,
)
from fly64_assets.ptychography.data001.metadata import to_json, versioned

LARGE = ("diffraction", "Y")
"""Arrays that are mapped, not read."""
FIELDS = {
    "diffraction": "diffraction",
    "objectGuess": "object_guess",
    "probeGuess": "probe_guess",
    "xcoords": "xcoords",
    "ycoords": "ycoords",
    "xcoords_start": "xcoords_start",
    "ycoords_start": "ycoords_start",
    "scan_index": "scan_index",
    "Y": "patches",
}
"""Key in the file -> field of `Dataset`."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One DATA-001 dataset (contract, section 2); dtypes and shapes are the file's.

    Attributes:
        diffraction: (n, N, N) float32 amplitude, zero frequency at the centre.
        object_guess: (H, W) complex64.
        probe_guess: (N, N) complex64.
        xcoords, ycoords: (n,) float64 canvas px; x is the column, y the row.
        xcoords_start, ycoords_start: (n,) float64, before simulated position errors.
        scan_index: (n,) int64.
        patches: (n, N, N) complex64 true patches (``Y``), or ``None``.
        metadata: the decoded ``_metadata``.
        extra: the documented keys that a view adds: ``centre_index`` (n_centres,), ``full_groups``
            (n_centres, K + 1), ``training_groups`` (n_groups, C), int64 indices of frames.
    """

    diffraction: np.ndarray
    object_guess: np.ndarray
    probe_guess: np.ndarray
    xcoords: np.ndarray
    ycoords: np.ndarray
    xcoords_start: np.ndarray
    ycoords_start: np.ndarray
    scan_index: np.ndarray
    patches: np.ndarray | None
    metadata: Mapping[str, Any]
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.diffraction)

    @property
    def positions_px(self) -> np.ndarray:
        """(n, 2) float64, y then x."""
        return np.stack([self.ycoords, self.xcoords], axis=1)

    @property
    def patch_size(self) -> int:
        """N, px."""
        return self.probe_guess.shape[0]

    @property
    def intensity_scale(self) -> float:
        """Return the scale: counts = (diffraction * intensity_scale)**2."""
        return float(self.metadata["physics"]["intensity_scale"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array under its key in the file, without the metadata."""
        named = {key: getattr(self, name) for key, name in FIELDS.items()}
        present = {key: array for key, array in named.items() if array is not None}
        return {**present, **self.extra}


def read_dataset(path: str | Path) -> Dataset:
    """Open a dataset; diffraction and ``Y`` are read-only memory maps.

    Keys, dtypes and shapes are verified, values are not: that is `check_data001`.

    Raises:
        InputError: the file cannot be read or its structure breaks a rule of DATA-001.
    """
    headers = npz.describe_npz(path)
    refuse_first(path, structure_outcomes(headers))
    small = npz.read_npz(path, [key for key in headers if key not in LARGE])
    large = {key: npz.open_array(path, key) for key in LARGE if key in headers}
    stored = small | large
    try:
        metadata = json.loads(str(small["_metadata"][()]))
    except ValueError as error:
        raise InputError(path, "_metadata", f"text is no JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise InputError(path, "_metadata", "text is no JSON object")
    fields: dict[str, Any] = {name: stored.get(key) for key, name in FIELDS.items()}
    return Dataset(
        **fields,
        metadata=metadata,
        extra={key: small[key] for key in VIEW_KEYS if key in small},
    )


def write_dataset(path: str | Path, dataset: Dataset) -> None:
    """Write a dataset; memory maps are streamed, the same dataset gives the same bytes.

    Nothing is cast on the way.

    Raises:
        InputError: an array has another dtype than DATA-001 wants, or a key is not known.
    """
    arrays = dataset.arrays()
    for key, array in arrays.items():
        if key not in DTYPES and key not in VIEW_KEYS:
            raise InputError(path, key, "key is unknown to DATA-001")
        wanted = DTYPES.get(key, np.dtype(np.int64))
        if array.dtype != wanted:
            problem = f"dtype is {array.dtype}, DATA-001 wants {wanted.name}"
            raise InputError(path, key, problem)
    npz.write_npz(path, arrays | {"_metadata": np.array(to_json(dataset.metadata))})


def data_version(source: str | Path | Dataset) -> str:
    """sha256 of a dataset's arrays and of its metadata without times, host, versions and commit.

    Two datasets are the same exactly when this is (contract, section 1). Hashes of input files do
    not count either, see `metadata.versioned`.

    Args:
        source: a file, or a dataset in memory.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: as `read_dataset`.
    """
    dataset = source if isinstance(source, Dataset) else read_dataset(source)
    described = to_json(versioned(dataset.metadata))
    arrays = npz.array_digest(dataset.arrays())
    return hashlib.sha256(f"{arrays}\n{described}".encode()).hexdigest()
