"""Edits of bundles and reconstructions."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable

import numpy as np

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant

FOLDER = "data/phase_e/DOSE/VIEW"
PINN, BASELINE = f"{FOLDER}/PtychoPINN", f"{FOLDER}/Baseline"
MANIFEST = "data/phase_e/training_manifest.json"
SOLVED = "data/phase_f/DOSE/VIEW/test/ptychi_reconstruction.npz"
LOSSES = "data/phase_f/DOSE/VIEW/test/loss_history.csv"
SOLVED_MANIFEST = "data/phase_f/reconstruction_manifest.json"
CANVAS = "analysis/DOSE/VIEW/test/reconstructions.npz"


def edit_members(f: Forgery, template: str, edit: Callable[[dict[str, bytes]], object]) -> None:
    """Edit the members of a .keras archive."""
    with zipfile.ZipFile(io.BytesIO(f.read(template))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of 1980, as in any bundle
    f.write(template, written.getvalue())
    restate_size(f)


def restate_size(f: Forgery) -> None:
    """The manifest states the size of each archive."""

    def edit(content: dict) -> None:
        for job in content["jobs"]:
            size = f.path(f"{FOLDER}/{job['model']}/model.keras").stat().st_size
            job["result"]["bundle_size_bytes"] = size

    content = json.loads(f.read(MANIFEST))
    before = json.dumps(content)
    edit(content)
    if json.dumps(content) != before:
        f.json(MANIFEST, lambda _: content)


def _weights(f: Forgery, folder: str, edit: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Edit the weights of an archive, by their names."""
    import h5py

    def change(members: dict[str, bytes]) -> None:
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            found: dict[str, h5py.Dataset] = {}
            weights.visititems(
                lambda name, node: (
                    found.update({name: node}) if isinstance(node, h5py.Dataset) else None
                )
            )
            values = {name: node[()] for name, node in found.items()}
            edit(values)
            for name, node in found.items():
                node[...] = values[name]
        members["model.weights.h5"] = file.getvalue()

    edit_members(f, f"{folder}/model.keras", change)


def _state_weights(f: Forgery, folder: str) -> None:
    """Put the hash of the weights as they are into bundle.json."""
    from fly64_assets.solvers.model_bundle import _read_weights

    digest = _read_weights(f.read(f"{folder}/model.keras"))[0]
    f.json(f"{folder}/bundle.json", lambda c: c.update(weights_sha256=digest))


def _lambda(members: dict[str, bytes]) -> None:
    members["config.json"] = members["config.json"].replace(b'"Conv2D"', b'"Lambda"', 1)


def _twice(f: Forgery) -> None:
    """Which of two members of one name is read depends on who reads."""
    path = f"{PINN}/model.keras"
    written = io.BytesIO(f.read(path))
    with zipfile.ZipFile(written, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("config.json", archive.read("config.json"))
    f.write(path, written.getvalue())
    restate_size(f)


def _no_archive(f: Forgery) -> None:
    f.write(f"{PINN}/model.keras", "weights\n")
    restate_size(f)


def _first_kernel(values: dict[str, np.ndarray]) -> None:
    name = next(name for name in sorted(values) if "known_probe" not in name)
    values[name].flat[0] += 1e-3


def _probe(values: dict[str, np.ndarray]) -> None:
    values["layers/known_probe/vars/0"].flat[2080] += 0.1


def _bit(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


add(
    "phase_e.classes",
    "a Lambda layer",
    lambda f: edit_members(f, f"{BASELINE}/model.keras", _lambda),
)
add(
    "phase_e.archive",
    "one bit flipped",
    lambda f: f.write(f"{PINN}/model.keras", _bit(f.read(f"{PINN}/model.keras"))),
)
add(
    "phase_e.archive",
    "no configuration",
    lambda f: edit_members(f, f"{PINN}/model.keras", lambda m: m.pop("config.json")),
)
add(
    "phase_e.archive",
    "a member more",
    lambda f: edit_members(f, f"{PINN}/model.keras", lambda m: m.update({"code.py": b"1"})),
)
add("phase_e.archive", "a member twice", lambda f: _twice(f))
add(
    "phase_e.archive",
    "a text for an archive",
    lambda f: _no_archive(f),
)
add("phase_e.weights", "one weight of another value", lambda f: _weights(f, PINN, _first_kernel))
add(
    "phase_e.weights",
    "another hash",
    lambda f: f.json(f"{PINN}/bundle.json", lambda c: c.update(weights_sha256="0" * 64)),
)
add(
    "phase_e.weights",
    "another number of parameters",
    lambda f: f.json(f"{PINN}/bundle.json", lambda c: c.update(n_parameters=c["n_parameters"] + 1)),
)


@mutant("phase_e.weights_differ", "Baseline is PtychoPINN under another name")
def _(f: Forgery) -> None:
    f.write(f"{BASELINE}/model.keras", f.read(f"{PINN}/model.keras"))
    _state_weights(f, BASELINE)
    restate_size(f)


@mutant("phase_e.weights_differ", "a network of zeros")
def _(f: Forgery) -> None:
    def zero(values: dict[str, np.ndarray]) -> None:
        for name, array in values.items():
            if "known_probe" not in name:
                array[...] = 0

    _weights(f, BASELINE, zero)
    _state_weights(f, BASELINE)


@mutant("phase_e.weights_differ", "a weight that is not finite")
def _(f: Forgery) -> None:
    def spoil(values: dict[str, np.ndarray]) -> None:
        name = next(name for name in sorted(values) if "known_probe" not in name)
        values[name].flat[0] = np.nan

    _weights(f, BASELINE, spoil)
    _state_weights(f, BASELINE)


@mutant("phase_e.probe", "a network with another probe")
def _(f: Forgery) -> None:
    _weights(f, BASELINE, _probe)
    _state_weights(f, BASELINE)


for key, value in {
    "kind": "PtychoPINN",
    "gridsize": 2,
    "N": 32,
    "seeds": {"grouping": 7},
    "schema_version": 2,
}.items():
    add(
        "phase_e.kind",
        f"Baseline with another {key}",
        lambda f, k=key, v=value: f.json(f"{BASELINE}/bundle.json", lambda c: c.update({k: v})),
    )
add(
    "phase_e.inputs",
    "trained on the test view",
    lambda f: f.json(
        f"{BASELINE}/bundle.json",
        lambda c: c.update(inputs={k.replace("train", "test"): v for k, v in c["inputs"].items()}),
    ),
)
add(
    "phase_e.inputs",
    "trained on other bytes",
    lambda f: f.json(
        f"{BASELINE}/bundle.json", lambda c: c.update(inputs=dict.fromkeys(c["inputs"], "0" * 64))
    ),
)
add(
    "phase_e.inputs",
    "without the view's provenance",
    lambda f: f.json(f"{BASELINE}/bundle.json", lambda c: c["transformations"].pop(0) and None),
)
add(
    "phase_e.inputs",
    "provenance ends with the view",
    lambda f: f.json(f"{BASELINE}/bundle.json", lambda c: c["transformations"].pop() and None),
)
add(
    "phase_e.images",
    "Baseline saw one image less",
    lambda f: f.json(f"{BASELINE}/bundle.json", lambda c: c.update(n_fit=c["n_fit"] - 1)),
)
add(
    "phase_e.images",
    "PtychoPINN saw more groups than there are",
    lambda f: f.json(f"{PINN}/bundle.json", lambda c: c.update(n_fit=c["n_fit"] + 100)),
)
add(
    "phase_e.images",
    "nothing was held out",
    lambda f: f.json(f"{PINN}/bundle.json", lambda c: c.update(n_validation=0)),
)


def _history(f: Forgery, line: int, column: int, value: str) -> None:
    def edit(text: str) -> str:
        rows = [row.split(",") for row in text.split("\n")]
        rows[line][column] = value
        return "\n".join(",".join(row) for row in rows)

    f.text(f"{BASELINE}/history.csv", edit)


add("phase_e.history", "a loss of nan", lambda f: _history(f, 1, 1, "nan"))
add("phase_e.history", "an epoch twice", lambda f: _history(f, 2, 0, "1"))
add("phase_e.history", "no time", lambda f: _history(f, 1, 4, "0.0"))
add("phase_e.history", "a rising learning rate", lambda f: _history(f, 2, 3, "0.9"))
add(
    "phase_e.history",
    "other columns",
    lambda f: f.replace(f"{BASELINE}/history.csv", "loss", "los"),
)
add(
    "phase_e.history",
    "no epochs",
    lambda f: f.text(f"{BASELINE}/history.csv", lambda t: t.split("\n")[0] + "\n"),
)
add("phase_e.history", "a word for a number", lambda f: _history(f, 1, 2, "small"))
for key, value in {
    "final_loss": 0.125,
    "epochs_completed": 9,
    "best_epoch": 9,
    "best_validation_loss": 0.125,
}.items():
    add(
        "phase_e.epochs",
        f"another {key}",
        lambda f, k=key, v=value: f.json(f"{BASELINE}/bundle.json", lambda c: c.update({k: v})),
    )
add(
    "phase_e.epochs",
    "more epochs were planned",
    lambda f: f.json(
        f"{BASELINE}/bundle.json",
        lambda c: c["settings"].update(epochs=c["settings"]["epochs"] + 1),
    ),
)


def _job(**changes: object):  # noqa: ANN202
    return lambda content: content["jobs"][1].update(changes)


def _result(**changes: object):  # noqa: ANN202
    return lambda content: content["jobs"][1]["result"].update(changes)


for what, edit in {
    "a renamed model": _job(model="baseline"),
    "another backend": _job(backend="pytorch"),
    "another gridsize": _job(gridsize=2),
    "a failed training": _result(status="failed"),
    "another size": _result(bundle_size_bytes=0),
    "another hash": _result(bundle_sha256="0" * 64),
    "another loss": _result(final_loss=0.125),
    "another bundle": _result(bundle_path="data/phase_e/training_manifest.json"),
    "a skipped view": lambda c: c.update(skipped_views=["sparse"], skipped_count=1),
    "the jobs exchanged": lambda c: c["jobs"].reverse(),
    "a job less": lambda c: c["jobs"].pop() and None,
}.items():
    add("phase_e.training_manifest", what, lambda f, edit=edit: f.json(MANIFEST, edit))


# Reconstructions. What phase G copied is changed with them, so that nothing else can see it.
def _solved(f: Forgery, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    f.arrays(SOLVED, lambda a: a.update(reconstructed_object=edit(a["reconstructed_object"])))
    f.arrays(CANVAS, lambda a: a.update(PtyChi=edit(a["PtyChi"])))


def _with_nan(image: np.ndarray) -> np.ndarray:
    image[0, 0] = np.nan
    return image


add("phase_f.reconstruction", "zeros", lambda f: _solved(f, np.zeros_like))
add("phase_f.reconstruction", "a constant", lambda f: _solved(f, np.ones_like))
add("phase_f.reconstruction", "a NaN", lambda f: _solved(f, _with_nan))
add(
    "phase_f.reconstruction",
    "another dtype",
    lambda f: _solved(f, lambda image: image.astype(np.complex128)),
)
add("phase_f.reconstruction", "another canvas", lambda f: _solved(f, lambda image: image[:-2]))
for key, value in {
    "timestamp": np.array("2026-01-02 03:04:05"),
    "computation_time_s": np.array(-1.0),
}.items():
    add(
        "phase_f.reconstruction",
        f"another {key}",
        lambda f, k=key, v=value: f.arrays(SOLVED, lambda a: a.update({k: v})),
    )
add(
    "phase_f.effective_settings",
    "another algorithm",
    lambda f: f.arrays(SOLVED, lambda a: a.update(algorithm=np.array("EPIE"))),
)
add(
    "phase_f.reconstruction",
    "no probe",
    lambda f: f.arrays(SOLVED, lambda a: a.pop("reconstructed_probe")),
)
add(
    "phase_f.reconstruction",
    "an array more",
    lambda f: f.arrays(SOLVED, lambda a: a.update(truth=a["reconstructed_object"])),
)


@mutant("phase_f.reconstruction", "the truth for a reconstruction")
def _(f: Forgery) -> None:
    truth = read_npz(f.path(CANVAS), ["truth"])["truth"]
    _solved(f, lambda _: truth.copy())


def _losses(f: Forgery, edit: Callable[[list[str]], list[str]]) -> None:
    f.text(LOSSES, lambda text: "".join(edit(text.splitlines(keepends=True))))


add(
    "phase_f.effective_settings",
    "an epoch is missing",
    lambda f: _losses(f, lambda rows: [rows[0], *rows[2:]]),
)
add(
    "phase_f.loss",
    "the loss rises",
    lambda f: _losses(f, lambda rows: [*rows[:-1], f"{len(rows) - 1},99\n"]),
)
add(
    "phase_f.loss",
    "a loss of nan",
    lambda f: _losses(f, lambda rows: [*rows[:-1], f"{len(rows) - 1},nan\n"]),
)
add("phase_f.loss", "a word", lambda f: _losses(f, lambda rows: [*rows, "more\n"]))
add("phase_f.loss", "other columns", lambda f: f.replace(LOSSES, "loss", "error"))
for what, edit in {
    "a failed reconstruction": lambda c: c["execution_results"][0].update(returncode=1),
    "the splits exchanged": lambda c: c["execution_results"].reverse(),
    "another number of jobs": lambda c: c.update(total_jobs=3),
    "one split only": lambda c: c["jobs"].pop() and None,
    "the log of the other split": lambda c: c["execution_results"][0].update(
        log_path=c["execution_results"][1]["log_path"]
    ),
    "the other split's output": lambda c: c["jobs"][0].update(output=c["jobs"][1]["output"]),
    "another algorithm": lambda c: c["jobs"][0].update(algorithm="ePIE"),
    "another dose": lambda c: c["jobs"][0].update(dose=77),
}.items():
    add("phase_f.manifest", what, lambda f, edit=edit: f.json(SOLVED_MANIFEST, edit))
add(
    "phase_f.provenance",
    "phase C's record overwritten",
    lambda f: f.metadata(SOLVED, lambda m: m["transformations"].pop(0)),
)
add(
    "phase_f.provenance",
    "made from other bytes",
    lambda f: f.metadata(
        SOLVED,
        lambda m: m["transformations"][-1].update(
            inputs=dict.fromkeys(m["transformations"][-1]["inputs"], "0" * 64)
        ),
    ),
)
add(
    "phase_f.provenance",
    "made from the other split",
    lambda f: f.metadata(
        SOLVED, lambda m: m["transformations"][-1]["parameters"].update(split="train")
    ),
)
add(
    "phase_f.reconstruction",
    "another probe",
    lambda f: f.arrays(SOLVED, lambda a: a["reconstructed_probe"].__imul__(np.complex64(1.01))),
)


def _config(old: bytes, new: bytes) -> Callable[[Forgery], None]:
    """Another configuration around the same weights of Baseline."""

    def change(members: dict[str, bytes]) -> None:
        assert old in members["config.json"]
        members["config.json"] = members["config.json"].replace(old, new, 1)

    return lambda f: edit_members(f, f"{BASELINE}/model.keras", change)


add("phase_e.classes", "a class of another module", _config(b'"keras.layers"', b'"mine.layers"'))
for what, edit in {
    "a key more": lambda c: c.update(host="mine"),
    "no version of numpy": lambda c: c["frameworks"].pop("numpy") and None,
}.items():
    add("phase_e.keys", what, lambda f, edit=edit: f.json(f"{PINN}/bundle.json", edit))
add(
    "phase_e.kind",
    "another core",
    lambda f: f.json(f"{PINN}/bundle.json", lambda c: c.update(core_px=c["core_px"] + 2)),
)
