"""Trained networks in memory and on disk: ``model.keras``, ``bundle.json``, ``history.csv``.

Equal weights make equal bytes, reading runs no code from the file, and a bundle that is not whole,
not of the expected kind or not what was saved is refused by file, key and rule. A bundle is read
and verified without TensorFlow; the network itself is made where it is used. What does not belong
here: how a network is built, trained or used. Keras is imported only inside functions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.solvers.interface import Measurement, require_finite
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow

if TYPE_CHECKING:
    import keras

SCHEMA_VERSION = 1
MODEL_FILE, BUNDLE_FILE, HISTORY_FILE = "model.keras", "bundle.json", "history.csv"
HISTORY_COLUMNS = ("epoch", "loss", "validation_loss", "learning_rate", "seconds")
STATED = {"kind": str, "gridsize": int, "N": int, "core_px": int, "weights_sha256": str}
"""What reading a ``bundle.json`` relies on."""
CONFIG_MEMBER, WEIGHTS_MEMBER, METADATA_MEMBER = "config.json", "model.weights.h5", "metadata.json"
PROBE_DATASET = "layers/known_probe/vars/0"
ZIP_DATE, SAVE_DATE = (1980, 1, 1, 0, 0, 0), "1980-01-01@00:00:00"
PROBE_TOLERANCE = 1e-5
"""Largest difference, over the probe's largest modulus, that rounding can explain."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network with its best weights, and how it came by them.

    Attributes:
        kind: the arm's name, ``PtychoPINN`` or another.
        model: the Keras model.
        gridsize: patterns enter in groups of gridsize^2.
        patch_size: N, px.
        core_px: F, px, side of the patches that are kept of a predicted frame.
        seeds: by name.
        settings: every number that shaped network and training.
        history: a row per epoch, see `HISTORY_COLUMNS`.
        best_epoch: the epoch, from 1, that the weights are from.
        n_fit, n_validation: groups (gridsize 1: images) fitted and held out.
    """

    kind: str
    model: keras.Model
    gridsize: int
    patch_size: int
    core_px: int
    seeds: Mapping[str, int]
    settings: Mapping[str, Any]
    history: list[dict[str, float]]
    best_epoch: int
    n_fit: int
    n_validation: int

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(int(np.prod(weight.shape)) for weight in self.model.trainable_weights)

    @property
    def epochs_completed(self) -> int:
        return len(self.history)

    @property
    def final_loss(self) -> float:
        """Training loss of the last epoch."""
        return self.history[-1]["loss"]

    @property
    def best_validation_loss(self) -> float:
        return self.history[self.best_epoch - 1]["validation_loss"]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A verified bundle.

    Attributes:
        source: the ``model.keras`` that it was read from, for messages.
        kind, gridsize, patch_size, core_px: as in `TrainedModel`.
        probe: (N, N) complex64, that the network was trained with.
        archive: the bytes of ``model.keras`` that were verified.
        description: the content of ``bundle.json``.
        networks: what `network` has made so far, by threads.
    """

    source: Path
    kind: str
    gridsize: int
    patch_size: int
    core_px: int
    probe: np.ndarray
    archive: bytes
    description: Mapping[str, Any]
    networks: dict[int, keras.Model] = field(default_factory=dict, repr=False)

    def require(self, kind: str, measurement: Measurement) -> None:
        """Refuse a measurement that this network was not made for.

        Raises:
            InputError: another kind, patch size or probe, or a value that is not finite.
        """
        require_finite(measurement)
        if self.kind != kind:
            raise InputError(self.source, "kind", f"is {self.kind}, {kind} wanted")
        if self.patch_size != measurement.patch_size:
            raise InputError(
                self.source,
                "N",
                f"is {self.patch_size}, but the measurement has N = {measurement.patch_size}",
            )
        difference = np.abs(measurement.probe - self.probe).max() / np.abs(self.probe).max()
        if not difference <= PROBE_TOLERANCE:
            raise InputError(
                self.source,
                "probe",
                f"differs from the measurement's by {difference:.2g} of its largest modulus; "
                "the probe is known and the same in training and reconstruction",
            )

    def network(self, threads: int) -> keras.Model:
        """Make the Keras model: no pickle, no ``Lambda``, no class but those of this package.

        Args:
            threads: of TensorFlow.

        Raises:
            InputError: the archive's configuration is not one of this package's networks.
            SolverEnvironmentError: torch is loaded in this process.
        """
        start_tensorflow(threads)
        if threads not in self.networks:
            self.networks[threads] = self._make_network()
        return self.networks[threads]

    def _make_network(self) -> keras.Model:
        import keras

        from fly64_assets.solvers.networks import SAVED_CLASSES

        with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
            config = json.loads(archive.read(CONFIG_MEMBER))
        unknown = sorted(_class_names(config) - SAVED_CLASSES)
        if unknown:
            raise InputError(
                self.source, CONFIG_MEMBER, f"names {unknown[0]}, which no network here uses"
            )
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / MODEL_FILE
            path.write_bytes(self.archive)
            try:
                return keras.saving.load_model(path, compile=False, safe_mode=True)
            except Exception as error:  # whatever Keras stumbles on, the file is what is wrong
                problem = " ".join(str(error).split())[:200]
                raise InputError(
                    self.source, CONFIG_MEMBER, f"is no network that Keras can make: {problem}"
                ) from error


def save(
    model: TrainedModel,
    folder: Path,
    *,
    extra: Mapping[str, Any],
    transformations: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the three files of a bundle into an existing folder.

    ``bundle.json`` and ``model.keras`` hold no time but those of the transformations; only
    ``history.csv`` has seconds.

    Args:
        model: what to save.
        folder: exists; files of these names are replaced.
        extra: JSON values to state under ``inputs``, e.g. hashes of what the model was made from.
        transformations: the provenance of the training view and of the training, to state.
    """
    archive = _archive(model.model)
    description = {
        "schema_version": SCHEMA_VERSION,
        "kind": model.kind,
        "gridsize": model.gridsize,
        "N": model.patch_size,
        "core_px": model.core_px,
        "seeds": dict(model.seeds),
        "settings": dict(model.settings),
        "weights_sha256": _read_weights(archive)[0],
        "n_parameters": model.n_parameters,
        "n_fit": model.n_fit,
        "n_validation": model.n_validation,
        "epochs_completed": model.epochs_completed,
        "best_epoch": model.best_epoch,
        "final_loss": model.final_loss,
        "best_validation_loss": model.best_validation_loss,
        "frameworks": {name: version(name) for name in ("keras", "numpy", "tensorflow")},
        "inputs": dict(extra),
        "transformations": [dict(record) for record in transformations],
    }
    text = json.dumps(description, indent=2, sort_keys=True, allow_nan=False) + "\n"
    folder.joinpath(MODEL_FILE).write_bytes(archive)
    folder.joinpath(BUNDLE_FILE).write_bytes(text.encode())
    folder.joinpath(HISTORY_FILE).write_bytes(_history_csv(model.history).encode())


def load(folder: Path, *, expected_kind: str) -> LoadedModel:
    """Read a bundle and verify that it is whole, of this kind, and what was saved.

    Args:
        folder: where `save` wrote.
        expected_kind: the arm's name, ``PtychoPINN`` or another.

    Raises:
        InputError: a file is missing, empty, cut short or altered, the kind is another, or the
            weights are not those that were saved.
    """
    description = _read_description(folder / BUNDLE_FILE, expected_kind)
    path = folder / MODEL_FILE
    archive = _read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            damaged = members.testzip()
            json.loads(members.read(CONFIG_MEMBER))
        if damaged:
            raise InputError(path, damaged, "its checksum is wrong: the file was altered")
        found, probe = _read_weights(archive)
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, EOFError) as error:
        raise InputError(path, "", f"is no whole .keras archive: {error}") from None
    stated = description["weights_sha256"]
    if found != stated:
        raise InputError(
            path,
            "weights_sha256",
            f"is {found[:12]}..., {BUNDLE_FILE} states {stated[:12]}...: "
            "the weights are not those that were saved",
        )
    return LoadedModel(
        source=path,
        kind=description["kind"],
        gridsize=description["gridsize"],
        patch_size=description["N"],
        core_px=description["core_px"],
        probe=probe,
        archive=archive,
        description=description,
    )


def _archive(model: keras.Model) -> bytes:
    """Return the model's ``.keras`` archive without anything that depends on the time of saving."""
    saved = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / MODEL_FILE
        model.save(path)
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(saved, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == METADATA_MEMBER:
                    metadata = {**json.loads(content), "date_saved": SAVE_DATE}
                    content = json.dumps(metadata, sort_keys=True).encode()
                if name == CONFIG_MEMBER:
                    content = json.dumps(_without_addresses(json.loads(content), {})).encode()
                target.writestr(zipfile.ZipInfo(name, ZIP_DATE), content)
    return saved.getvalue()


def _without_addresses(node: Any, numbers: dict[int, int]) -> Any:
    """Return a Keras configuration with its shared objects numbered in order.

    Keras names them by their address in memory, which is another one in every process.
    """
    if isinstance(node, list):
        return [_without_addresses(value, numbers) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: numbers.setdefault(value, len(numbers) + 1)
        if key == "shared_object_id"
        else _without_addresses(value, numbers)
        for key, value in node.items()
    }


def _read_weights(archive: bytes) -> tuple[str, np.ndarray]:
    """Hash over names, shapes and bytes of all weights, the probe among them; and the probe.

    Raises:
        KeyError, OSError, ValueError: there are no such weights.
    """
    import h5py

    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        content = members.read(WEIGHTS_MEMBER)
    weights: dict[str, np.ndarray] = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            weights[name] = np.ascontiguousarray(node[()])

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(collect)
    digest = hashlib.sha256()
    for name, values in sorted(weights.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    packed = weights[PROBE_DATASET]
    return digest.hexdigest(), (packed[..., 0] + 1j * packed[..., 1]).astype(np.complex64)


def _history_csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from None
    if not content:
        raise InputError(path, "", "is empty; a bundle's files are not")
    return content


def _read_description(path: Path, expected_kind: str) -> dict[str, Any]:
    try:
        description = json.loads(_read_bytes(path))
    except ValueError as error:
        raise InputError(path, "", f"is not valid JSON: {error}") from None
    if not isinstance(description, dict):
        raise InputError(path, "", "holds no JSON object")
    for key, wanted in STATED.items():
        if type(description.get(key)) is not wanted:
            raise InputError(path, key, f"is {description.get(key)!r}, {wanted.__name__} wanted")
    if description["kind"] != expected_kind:
        raise InputError(path, "kind", f"is {description['kind']}, {expected_kind} wanted")
    return description


def _class_names(node: Any) -> set[str]:
    """Every class that a Keras configuration names, at any depth."""
    if isinstance(node, dict):
        own = {str(node["class_name"])} if "class_name" in node else set()
        return own.union(*(_class_names(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(_class_names(value) for value in node))
    return set()
