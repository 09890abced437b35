"""What a ``.keras`` archive holds, read without Keras: its layers' classes, its weights, its probe.

Nothing of it is made an object, and no weight is read that is packed or lies elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5d

from fly64_assets.rules.archives import archive_problems
from fly64_assets.rules.files import Files

ARCHIVE = "model.keras"
OWN = "fly64_assets.solvers.networks"
CLASSES = {
    **dict.fromkeys(("Add", "Concatenate", "Conv2D", "InputLayer"), "keras.layers"),
    **dict.fromkeys(("MaxPooling2D", "UpSampling2D"), "keras.layers"),
    **dict.fromkeys(("GlorotUniform", "Zeros"), "keras.initializers"),
    **dict.fromkeys(("BackProjection", "ChannelSlice", "DepthToSpace", "KnownProbe"), OWN),
    **dict.fromkeys(("LessFlat", "Misfit", "ObjectFromLogits", "SpaceToDepth", "Turn"), OWN),
    "Functional": "keras.src.models.functional",
    "DTypePolicy": "keras",
    "__keras_tensor__": None,
}
"""What a network's configuration may be made of, with the module that each is of."""
MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
PROBE = "layers/known_probe/vars/0"
DEEPEST_GROUP = 12
PER_PATTERN = ("diffraction", "subpixel", "offset")
"""Inputs of a network that hold something for each of its C patterns."""


def problems(files: Files) -> list[str]:
    """Say why the archive is not whole, or not of its members alone; nothing where it is."""

    def judge() -> list[str]:
        try:
            with zipfile.ZipFile(files.path(ARCHIVE)) as archive:
                damaged, names = archive.testzip(), sorted(set(archive.namelist()))
        except (zipfile.BadZipFile, OSError) as error:
            return [f"is no whole .keras archive: {error}"]
        found = list(archive_problems(files.path(ARCHIVE)))
        if damaged:
            found.append(f"{damaged} does not have its checksum")
        return found if names == MEMBERS else [*found, f"holds {names}"]

    return files.once("archive", {ARCHIVE: files}, judge)


def configuration(files: Files) -> dict[str, Any]:
    """Read the network's configuration."""
    with zipfile.ZipFile(files.path(ARCHIVE)) as archive:
        found: dict[str, Any] = json.loads(archive.read("config.json"))
    return found


def unknown_classes(value: Any) -> Iterator[str]:
    """Name everything in a configuration that Keras would make an object of another class of."""
    if isinstance(value, dict) and "class_name" in value:
        name, module = value["class_name"], value.get("module")
        if not isinstance(name, str) or name not in CLASSES or module != CLASSES[name]:
            yield f"{name} of {module}"
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from unknown_classes(item)


def patterns_together(config: dict[str, Any]) -> list[int]:
    """Return how many patterns enter the network together: C, if it is one."""
    return sorted(
        {
            layer["config"]["batch_shape"][1]
            for layer in config["config"]["layers"]
            if layer["class_name"] == "InputLayer" and layer["config"]["name"] in PER_PATTERN
        }
    )


@dataclass(frozen=True)
class Weights:
    """What an archive's weights are.

    Attributes:
        sha256: over names, dtypes, shapes and bytes of all of them.
        number: of trained numbers, the probe's left out.
        problem: why they are no trained weights; empty when they may be.
        probe: (N, N, 2) real and imaginary part, if there is one.
    """

    sha256: str
    number: int
    problem: str
    probe: np.ndarray | None


def weights_of(files: Files) -> Weights:
    """Measure the weights of a network.

    Raises:
        ValueError, OSError: they cannot be read, or are not all there.
    """

    def measure() -> Weights:
        arrays = _read(files)
        digest = hashlib.sha256()
        for name in sorted(arrays):
            values = arrays[name]
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(values.tobytes())
        trained = [values for name, values in arrays.items() if name != PROBE]
        problem = ""
        if not all(np.isfinite(values).all() for values in trained):
            problem = "not finite"
        elif not any(values.any() for values in trained):
            problem = "all zero"
        number = sum(values.size for values in trained)
        return Weights(digest.hexdigest(), number, problem, arrays.get(PROBE))

    return files.once("weights", {ARCHIVE: files}, measure)


def _read(files: Files) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(files.path(ARCHIVE)) as archive:
        content = archive.read("model.weights.h5")
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(io.BytesIO(content)) as file:

        def keep(name: str, node: Any) -> None:
            if name.count("/") > DEEPEST_GROUP:
                raise ValueError(f"holds groups more than {DEEPEST_GROUP} deep")
            if isinstance(node, h5py.Dataset):
                _require_plain(node)
                arrays[name] = np.ascontiguousarray(node[()])

        file.visititems(keep)
    return arrays


def _require_plain(dataset: Any) -> None:
    """Refuse weights that are not all there: packed, elsewhere, made up by a filling, or no floats.

    Raises:
        ValueError: they are.
    """
    made = dataset.id.get_create_plist()
    inside = made.get_layout() in (h5d.CONTIGUOUS, h5d.COMPACT) and not made.get_external_count()
    if not inside or dataset.dtype.kind not in "fiu" or made.get_nfilters():
        raise ValueError(f"{dataset.name} is not stored as it is")
    if dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError(f"{dataset.name} is {dataset.shape}, which is not stored")
