"""Checks of phase E: the bundles are the trained networks that the manifest says they are."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.archives import archive_problems
from fly64_assets.rules.hub.arms import networks
from fly64_assets.rules.hub.bounds import DEEPEST_FOLDER
from fly64_assets.rules.hub.checks import Broken, Finding, check, compare, shown
from fly64_assets.rules.hub.crate_graph import compare_inputs
from fly64_assets.rules.hub.reading import Hub, parse_json
from fly64_assets.rules.hub.views import compare_lineage, counts, parameters, view_files

FOLDER = "data/phase_e/dose_{dose}/{view}"
BUNDLES = FOLDER + "/<network>/bundle.json"
HISTORY = ["epoch", "loss", "validation_loss", "learning_rate", "seconds"]
RIM_PX = 4
"""Cut off each side of a frame: half the width of the kernel that moves it by parts of a pixel."""
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
MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
PROBE = "layers/known_probe/vars/0"
PROBE_TOLERANCE = 1e-5
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(OSError, EOFError, ValueError, KeyError),
)


def bundle_file(hub: Hub, model: str, name: str) -> str:
    return f"{hub.named(FOLDER)}/{model}/{name}"


def _bundle(hub: Hub, model: str) -> dict[str, Any]:
    return hub.json(bundle_file(hub, model, "bundle.json"))


@check(
    "phase_e.archive",
    FOLDER,
    "each bundle is a whole .keras archive of its members and nothing besides",
)
def archives(hub: Hub) -> Iterator[Finding]:
    for model in (network.name for network in networks(hub)):
        path = bundle_file(hub, model, "model.keras")
        for reason in hub.once("keras", [path], lambda path=path: _archive_problems(hub, path)):
            yield Finding(path, "", reason)


def _archive_problems(hub: Hub, path: str) -> list[str]:
    try:
        with zipfile.ZipFile(hub.path(path)) as archive:
            damaged = archive.testzip()
            names = set(archive.namelist())
    except DAMAGE as error:
        return [f"is no whole .keras archive: {error}"]
    problems = list(archive_problems(hub.path(path)))
    if damaged:
        problems.append(f"{damaged} does not have its checksum")
    if names != MEMBERS:
        problems.append(f"holds {sorted(names)}, expected {sorted(MEMBERS)}")
    return problems


@check(
    "phase_e.classes",
    FOLDER,
    "a network is made of layers of Keras and of this project, and of nothing else",
)
def classes(hub: Hub) -> Iterator[Finding]:
    for model in (network.name for network in networks(hub)):
        path = bundle_file(hub, model, "model.keras")
        try:
            with zipfile.ZipFile(hub.path(path)) as archive:
                config = parse_json(archive.read("config.json").decode())
        except (*DAMAGE, RecursionError) as error:
            raise Broken(path, "config.json", f"cannot be read: {error}") from None
        for found in _objects(config):
            name, module = found["class_name"], found.get("module")
            if not isinstance(name, str) or name not in CLASSES or module != CLASSES[name]:
                yield Finding(path, "config.json", f"holds a {shown(name)} of {shown(module)}")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a configuration that Keras would make an object of."""
    if isinstance(value, dict) and "class_name" in value:
        yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _objects(item)


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


def _require_plain(dataset: Any) -> None:
    """Refuse weights that are not all there: packed, elsewhere, made up by a filling, or no floats.

    Raises:
        ValueError: they are.
    """
    from h5py import h5d

    made = dataset.id.get_create_plist()
    inside = made.get_layout() in (h5d.CONTIGUOUS, h5d.COMPACT) and not made.get_external_count()
    if not inside or dataset.dtype.kind not in "fiu" or made.get_nfilters():
        raise ValueError(f"{dataset.name} is not stored as it is")
    if dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError(f"{dataset.name} is {dataset.shape}, which is not stored")


def _read_weights(hub: Hub, path: str) -> dict[str, np.ndarray]:
    import h5py

    try:
        with zipfile.ZipFile(hub.path(path)) as archive:
            content = archive.read("model.weights.h5")
        arrays: dict[str, np.ndarray] = {}
        with h5py.File(io.BytesIO(content)) as file:

            def keep(name: str, node: Any) -> None:
                if name.count("/") > DEEPEST_FOLDER:
                    raise ValueError(f"holds groups more than {DEEPEST_FOLDER} deep")
                if isinstance(node, h5py.Dataset):
                    _require_plain(node)
                    arrays[name] = np.ascontiguousarray(node[()])

            file.visititems(keep)
    except DAMAGE as error:
        raise Broken(path, "model.weights.h5", f"cannot be read: {error}") from None
    return arrays


def weights_of(hub: Hub, model: str) -> Weights:
    """The weights of a network of the hub."""
    path = bundle_file(hub, model, "model.keras")

    def measure() -> Weights:
        arrays = _read_weights(hub, path)
        digest = hashlib.sha256()
        for name in sorted(arrays):
            values = arrays[name]
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(values.tobytes())
        trained = [values for name, values in arrays.items() if name != PROBE]
        problem = ""
        if not all(np.isfinite(values).all() for values in trained):
            problem = "are not finite"
        elif not any(values.any() for values in trained):
            problem = "are all zero"
        number = sum(values.size for values in trained)
        return Weights(digest.hexdigest(), number, problem, arrays.get(PROBE))

    return hub.once("weights", [path], measure)


@check(
    "phase_e.weights", BUNDLES, "weights_sha256 and n_parameters are those of the archive's weights"
)
def weights(hub: Hub) -> Iterator[Finding]:
    for model in (network.name for network in networks(hub)):
        path, stated = bundle_file(hub, model, "bundle.json"), _bundle(hub, model)
        found = weights_of(hub, model)
        expected = {"weights_sha256": found.sha256, "n_parameters": found.number}
        for key, value in expected.items():
            yield from compare(path, value, stated.get(key), key=key)


@check(
    "phase_e.weights_differ",
    FOLDER,
    "no two networks have the same weights, finite, not all zero",
)
def weights_differ(hub: Hub) -> Iterator[Finding]:
    found = {network.name: weights_of(hub, network.name) for network in networks(hub)}
    for model, one in found.items():
        if one.problem:
            path = bundle_file(hub, model, "model.keras")
            yield Finding(path, "model.weights.h5", f"its weights {one.problem}")
    first: dict[str, str] = {}
    for model, one in found.items():
        owner = first.setdefault(one.sha256, model)
        if owner != model:
            path = bundle_file(hub, model, "model.keras")
            yield Finding(path, "model.weights.h5", f"holds {owner}'s weights")


@check("phase_e.probe", FOLDER, "the probe in each network is that of the datasets")
def probe(hub: Hub) -> Iterator[Finding]:
    known = hub.arrays(hub.overlap_view("train"), "probeGuess")["probeGuess"]
    for model in (network.name for network in networks(hub)):
        path = bundle_file(hub, model, "model.keras")
        packed = weights_of(hub, model).probe
        if packed is None or packed.shape != (*known.shape, 2):
            yield Finding(path, PROBE, "is not there, or of another shape")
            continue
        difference = np.abs(packed[..., 0] + 1j * packed[..., 1] - known).max()
        if not difference <= PROBE_TOLERANCE * np.abs(known).max():
            yield Finding(path, PROBE, f"differs from probeGuess by up to {difference:.3g}")


BUNDLE_KEYS = {
    *("schema_version", "kind", "gridsize", "N", "core_px", "seeds", "settings", "inputs"),
    *("weights_sha256", "n_parameters", "n_fit", "n_validation", "epochs_completed"),
    *("best_epoch", "final_loss", "best_validation_loss", "frameworks", "transformations"),
}
FRAMEWORKS = {"keras", "numpy", "tensorflow"}


@check("phase_e.keys", BUNDLES, "a bundle states what it has to and nothing else")
def keys(hub: Hub) -> Iterator[Finding]:
    for model in (network.name for network in networks(hub)):
        path, bundle = bundle_file(hub, model, "bundle.json"), _bundle(hub, model)
        for key, wanted, found in (
            ("", BUNDLE_KEYS, bundle),
            ("frameworks", FRAMEWORKS, bundle.get("frameworks", {})),
        ):
            for name in sorted(wanted ^ set(found)):
                reason = "is no key of this file" if name in found else "is missing"
                yield Finding(path, f"{key}.{name}" if key else name, reason)


@check(
    "phase_e.kind", BUNDLES, "a bundle is the kind, gridsize and patch size that its role asks for"
)
def kind(hub: Hub) -> Iterator[Finding]:
    side = hub.arrays(hub.overlap_view("train"), "probeGuess")["probeGuess"].shape[0]
    stated = parameters(hub, "train")
    seed = stated["seeds"]["grouping"]
    for network in networks(hub):
        model = network.name
        path, bundle = bundle_file(hub, model, "bundle.json"), _bundle(hub, model)
        gridsize = stated["gridsize"] if network.gridsize is None else network.gridsize
        expected = {
            "schema_version": 1,
            "kind": model,
            "gridsize": gridsize,
            "N": side,
            "core_px": bundle["settings"]["frame_px"] - 2 * RIM_PX,
            "seeds": {"grouping": seed},
        }
        for key, value in expected.items():
            yield from compare(path, value, bundle.get(key), key=key)
        trained = bundle["transformations"][-1]["parameters"]
        for key, value in {"model": model, "gridsize": gridsize, "seed": seed}.items():
            place = f"transformations[-1].parameters.{key}"
            yield from compare(path, value, trained.get(key), key=place)


@check(
    "phase_e.inputs",
    BUNDLES,
    "each network was trained on this hub's train view and no other, and carries its provenance",
)
def inputs(hub: Hub) -> Iterator[Finding]:
    for network in networks(hub):
        model, asset, paths = network.name, f"{network.asset}_model", view_files(hub, "train")
        path, bundle = bundle_file(hub, model, "bundle.json"), _bundle(hub, model)
        yield from compare_inputs(hub, asset, path, "inputs", bundle.get("inputs"), paths)
        records = bundle.get("transformations")
        yield from compare_lineage(hub, "train", asset, path, records, "train", {})


@check(
    "phase_e.images",
    BUNDLES,
    "Baseline saw every image of the train view, the others no more than its groups or images",
)
def images(hub: Hub) -> Iterator[Finding]:
    numbers = counts(hub, "train")
    for network in networks(hub):
        model, exact = network.name, network.name == "Baseline"
        alone = network.gridsize == 1
        most = numbers["n_images_kept" if alone else "n_groups_effective"]
        path, bundle = bundle_file(hub, model, "bundle.json"), _bundle(hub, model)
        fit, held = bundle.get("n_fit"), bundle.get("n_validation")
        if not (isinstance(fit, int) and isinstance(held, int) and fit > 0 and held > 0):
            yield Finding(path, "n_fit, n_validation", f"are {fit!r} and {held!r}")
        elif fit + held > most or (exact and fit + held != most):
            yield Finding(path, "n_fit, n_validation", f"are {fit} and {held}, together not {most}")


def history(hub: Hub, model: str) -> list[dict[str, float]]:
    """Rows of a history.csv as numbers."""
    path = bundle_file(hub, model, "history.csv")
    header, *rows = hub.table(path) or [[]]
    if header != HISTORY:
        raise Broken(path, "header", f"is {header}, expected {HISTORY}")
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            found.append(dict(zip(HISTORY, map(float, row), strict=True)))
        except ValueError:
            raise Broken(path, f"line {number}", f"{row} are not five numbers") from None
    if not found:
        raise Broken(path, "", "has no epochs")
    return found


@check(
    "phase_e.history",
    FOLDER + "/<network>/history.csv",
    "a row per epoch, finite, no rise of the learning rate, validation better than it began",
)
def history_rows(hub: Hub) -> Iterator[Finding]:
    for model in (network.name for network in networks(hub)):
        path, rows = bundle_file(hub, model, "history.csv"), history(hub, model)
        for number, row in enumerate(rows, start=1):
            line = f"line {number + 1}"
            if row["epoch"] != number:
                yield Finding(path, line, f"is epoch {row['epoch']:g}, expected {number}")
            if not all(map(math.isfinite, row.values())):
                yield Finding(path, line, "holds a number that is not finite")
            if not row["seconds"] > 0 or not row["learning_rate"] > 0:
                yield Finding(path, line, "took no time, or has no learning rate")
        rates = [row["learning_rate"] for row in rows]
        if rates != sorted(rates, reverse=True):
            yield Finding(path, "learning_rate", f"rises: {rates}")


@check("phase_e.epochs", BUNDLES, "epochs, final and best loss are those of the history")
def epochs(hub: Hub) -> Iterator[Finding]:
    for model in (network.name for network in networks(hub)):
        path, bundle, rows = (
            bundle_file(hub, model, "bundle.json"),
            _bundle(hub, model),
            history(hub, model),
        )
        validation = [row["validation_loss"] for row in rows]
        best = validation.index(min(validation))
        expected = {
            "epochs_completed": len(rows),
            "final_loss": rows[-1]["loss"],
            "best_epoch": best + 1,
            "best_validation_loss": validation[best],
        }
        for key, value in expected.items():
            yield from compare(path, value, bundle.get(key), key=key)
        planned = bundle.get("settings", {}).get("epochs")
        if planned != len(rows):
            yield Finding(path, "settings.epochs", f"is {planned!r}, the history has {len(rows)}")


@check(
    "phase_e.training_manifest",
    contract.TRAINING_MANIFEST,
    "a job per network with the bundle's numbers, size and hash, nothing skipped",
)
def training_manifest(hub: Hub) -> Iterator[Finding]:
    jobs = []
    for model in (network.name for network in networks(hub)):
        bundle = _bundle(hub, model)
        archive = bundle_file(hub, model, "model.keras")
        jobs.append(
            {
                "model": model,
                "dose": hub.dose,
                "view": hub.view,
                "gridsize": bundle.get("gridsize"),
                "backend": "tensorflow",
                "result": {
                    "status": "success",
                    "final_loss": bundle.get("final_loss"),
                    "epochs_completed": bundle.get("epochs_completed"),
                    "bundle_path": archive,
                    "bundle_sha256": hub.sha256(archive),
                    "bundle_size_bytes": hub.files[archive].st_size,
                    "history": bundle_file(hub, model, "history.csv"),
                },
            }
        )
    expected = {"jobs": jobs, "skipped_views": [], "skipped_count": 0}
    yield from compare(contract.TRAINING_MANIFEST, expected, hub.json(contract.TRAINING_MANIFEST))
