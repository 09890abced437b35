"""Trained networks in memory and on disk: ``model.keras``, ``bundle.json``, ``history.csv``.

Equal weights make equal bytes, loading runs no code from the file, and a bundle that is not whole,
not of the expected kind or not what was saved is refused by file, key and rule. What does not
belong here: how a network is built or trained. Keras is imported only inside functions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.solvers.interface import Measurement, Progress, ProgressCallback
from fly64_assets.solvers.resampling import central_patches
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow

if TYPE_CHECKING:
    import keras

SCHEMA_VERSION = 1
KINDS = ("PtychoPINN", "Baseline")
MODEL_FILE, BUNDLE_FILE, HISTORY_FILE = "model.keras", "bundle.json", "history.csv"
HISTORY_COLUMNS = ("epoch", "loss", "validation_loss", "learning_rate", "seconds")
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
PROBE_TOLERANCE = 1e-5
"""Largest difference, over the probe's largest modulus, that still counts as the same probe."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network with its best weights, and how it came by them.

    Attributes:
        kind: ``PtychoPINN`` or ``Baseline``.
        model: the Keras model.
        gridsize: patterns enter in groups of gridsize^2.
        patch_size: N, px.
        core_px: F, px, side of the patches that are kept of a predicted frame.
        seeds: by name.
        settings: every number that shaped network and training.
        history: a row per epoch, see `HISTORY_COLUMNS`.
        best_epoch: from 1.
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
    """A network ready to predict, from a bundle or straight from training.

    Attributes:
        source: the bundle's file, for messages.
        kind, model, gridsize, patch_size, core_px: as in `TrainedModel`.
        description: the content of ``bundle.json``.
    """

    source: Path
    kind: str
    model: keras.Model
    gridsize: int
    patch_size: int
    core_px: int
    description: Mapping[str, Any]

    def require(self, kind: str, measurement: Measurement) -> None:
        """Refuse a measurement that this network was not made for.

        Raises:
            InputError: another kind, patch size or probe.
        """
        if self.kind != kind:
            raise InputError(self.source, "kind", f"is {self.kind}, {kind} wanted")
        if self.patch_size != measurement.patch_size:
            raise InputError(
                self.source,
                "patch_size",
                f"N = {self.patch_size}, but the measurement has N = {measurement.patch_size}",
            )
        known = np.asarray(self.model.get_layer("known_probe").probe)
        probe = np.stack([measurement.probe.real, measurement.probe.imag], axis=-1)
        difference = float(np.abs(probe - known).max() / np.abs(known).max())
        if difference > PROBE_TOLERANCE:
            raise InputError(
                self.source,
                "probe",
                f"differs from the measurement's by {difference:.2g} of its largest value; "
                "the probe is known and the same in training and reconstruction",
            )

    def predict_patches(
        self,
        inputs_of: Callable[[np.ndarray], list[np.ndarray]],
        shift: np.ndarray,
        *,
        batch_size: int,
        progress: ProgressCallback,
    ) -> np.ndarray:
        """Predict frames batch by batch and cut the patch of each scan position.

        Args:
            inputs_of: (b,) indices of positions -> the network's inputs.
            shift: (n, 2) px from each frame's centre to the scan position.
            batch_size: positions at once.
            progress: called after each batch.

        Returns:
            (n, F, F) complex64, F = core_px, pixel F/2 at the scan position.
        """
        import tensorflow as tf

        count = len(shift)
        predict = tf.function(self.model, reduce_retracing=True)
        patches = np.empty((count, self.core_px, self.core_px), np.complex64)
        for start in range(0, count, batch_size):
            index = np.arange(start, min(start + batch_size, count))
            frames = predict([tf.constant(values) for values in inputs_of(index)]).numpy()
            objects = frames[..., 0] + 1j * frames[..., 1]
            patches[index] = central_patches(objects, shift[index], self.core_px)
            progress(Progress(int(index[-1]) + 1, count, "pattern", {}))
        return patches


def weights_sha256(model: keras.Model) -> str:
    """Hash over the names, shapes and bytes of all weights, the known probe among them."""
    digest = hashlib.sha256()
    for weight in sorted(model.weights, key=lambda weight: weight.path):
        values = np.ascontiguousarray(weight.numpy(), dtype="<f4")
        digest.update(f"{weight.path} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def save(model: TrainedModel, folder: Path, *, extra: Mapping[str, Any]) -> None:
    """Write the three files of a bundle into an existing folder.

    Args:
        model: what to save.
        folder: exists; files of these names are replaced.
        extra: JSON values to state under ``inputs``, e.g. hashes of what the model was made from.
    """
    folder.joinpath(MODEL_FILE).write_bytes(_archive(model.model))
    description = {
        "schema_version": SCHEMA_VERSION,
        "kind": model.kind,
        "gridsize": model.gridsize,
        "N": model.patch_size,
        "core_px": model.core_px,
        "seeds": dict(model.seeds),
        "settings": dict(model.settings),
        "weights_sha256": weights_sha256(model.model),
        "n_parameters": model.n_parameters,
        "n_fit": model.n_fit,
        "n_validation": model.n_validation,
        "epochs_completed": model.epochs_completed,
        "best_epoch": model.best_epoch,
        "final_loss": model.final_loss,
        "best_validation_loss": model.best_validation_loss,
        "frameworks": {name: version(name) for name in ("keras", "numpy", "tensorflow")},
        "inputs": dict(extra),
    }
    text = json.dumps(description, indent=2, sort_keys=True, allow_nan=False) + "\n"
    folder.joinpath(BUNDLE_FILE).write_bytes(text.encode())
    folder.joinpath(HISTORY_FILE).write_bytes(_history_csv(model.history).encode())


def _history_csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _archive(model: keras.Model) -> bytes:
    """The model's ``.keras`` archive without anything that depends on the time of saving."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / MODEL_FILE
        model.save(path)
        saved = io.BytesIO()
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(saved, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    metadata = {**json.loads(content), "date_saved": "1980-01-01@00:00:00"}
                    content = json.dumps(metadata, sort_keys=True).encode()
                target.writestr(zipfile.ZipInfo(name, ZIP_DATE), content)
    return saved.getvalue()


def load(folder: Path, *, expected_kind: str, threads: int = 2) -> LoadedModel:
    """Read a bundle back, and nothing else: no pickle, no ``Lambda``, no code from the file.

    Args:
        folder: where `save` wrote.
        expected_kind: ``PtychoPINN`` or ``Baseline``.
        threads: of TensorFlow.

    Raises:
        InputError: a file is missing, empty, cut short or altered, the kind is another, or the
            weights are not those that were saved.
        SolverEnvironmentError: torch is loaded in this process.
    """
    description = _read_description(folder / BUNDLE_FILE, expected_kind)
    path = folder / MODEL_FILE
    config = _read_config(path)
    start_tensorflow(threads)
    import keras

    from fly64_assets.solvers import networks

    _require_known_layers(path, config, networks.LAYER_CLASSES)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras stumbles on, the file is what is wrong
        problem = " ".join(str(error).split())[:200]
        raise InputError(path, "", f"cannot be read as a Keras model: {problem}") from error
    found = weights_sha256(model)
    if found != description["weights_sha256"]:
        raise InputError(
            path,
            "weights_sha256",
            f"the weights hash to {found[:12]}, {BUNDLE_FILE} states "
            f"{str(description['weights_sha256'])[:12]}: they are not those that were saved",
        )
    return LoadedModel(
        source=path,
        kind=description["kind"],
        model=model,
        gridsize=description["gridsize"],
        patch_size=description["N"],
        core_px=description["core_px"],
        description=description,
    )


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
    types = {"kind": str, "gridsize": int, "N": int, "core_px": int, "weights_sha256": str}
    for key, wanted in types.items():
        if not isinstance(description.get(key), wanted):
            raise InputError(path, key, f"is {description.get(key)!r}, {wanted.__name__} wanted")
    if description["kind"] != expected_kind:
        raise InputError(path, "kind", f"is {description['kind']}, {expected_kind} wanted")
    return description


def _read_config(path: Path) -> dict[str, Any]:
    """The archive's ``config.json``, after every member's checksum was verified."""
    try:
        with zipfile.ZipFile(io.BytesIO(_read_bytes(path))) as archive:
            damaged = archive.testzip()
            if damaged:
                raise InputError(path, damaged, "its checksum is wrong: the file was altered")
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError(path, "", f"is no whole .keras archive: {error}") from None
    if not isinstance(config, dict):
        raise InputError(path, "config.json", "holds no JSON object")
    return config


def _require_known_layers(
    path: Path, config: Mapping[str, Any], allowed: frozenset[str]
) -> None:
    """Refuse every class that this package's networks do not use, before Keras looks at it."""

    def classes(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [str(node["class_name"])] if "class_name" in node else []
            return own + [name for value in node.values() for name in classes(value)]
        if isinstance(node, list):
            return [name for value in node for name in classes(value)]
        return []

    unknown = sorted(set(classes(config)) - allowed)
    if unknown:
        raise InputError(path, "config.json", f"names {unknown[0]}, which no network here uses")
