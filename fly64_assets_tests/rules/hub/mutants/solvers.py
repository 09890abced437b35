"""Edits of bundles and reconstructions: one a rule."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add

FOLDER = "data/phase_e/DOSE/VIEW"
PINN, BASELINE = f"{FOLDER}/PtychoPINN", f"{FOLDER}/Baseline"
MANIFEST = "data/phase_e/training_manifest.json"
SOLVED = "data/phase_f/DOSE/VIEW/test/ptychi_reconstruction.npz"
LOSSES = "data/phase_f/DOSE/VIEW/test/loss_history.csv"
SOLVED_MANIFEST = "data/phase_f/reconstruction_manifest.json"
CANVAS = "analysis/DOSE/VIEW/test/reconstructions.npz"
Members = dict[str, bytes]


def _archive(f: Forgery, folder: str, content: bytes) -> None:
    """Write an archive; the manifest states its size."""
    f.write(f"{folder}/model.keras", content)

    def edit(manifest: dict) -> None:
        for job in manifest["jobs"]:
            size = f.path(f"{FOLDER}/{job['model']}/model.keras").stat().st_size
            job["result"]["bundle_size_bytes"] = size

    manifest = json.loads(f.read(MANIFEST))
    before = json.dumps(manifest)
    edit(manifest)
    if json.dumps(manifest) != before:
        f.json(MANIFEST, lambda _: manifest)


def _members(edit: Callable[[Members], object]) -> Callable[[Forgery], None]:
    """Edit the members of Baseline's archive."""

    def change(f: Forgery) -> None:
        with zipfile.ZipFile(io.BytesIO(f.read(f"{BASELINE}/model.keras"))) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        edit(members)
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)  # of 1980, as in any bundle
        _archive(f, BASELINE, written.getvalue())

    return change


def _weights(edit: Callable[[str, np.ndarray], object]) -> Callable[[Forgery], None]:
    """Edit each of Baseline's weights by its name, and state their hash."""

    def inside(members: Members) -> None:
        import h5py

        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as weights:

            def change(name: str, node: Any) -> None:
                if isinstance(node, h5py.Dataset):
                    values = node[()]
                    edit(name, values)
                    node[...] = values

            weights.visititems(change)
        members["model.weights.h5"] = file.getvalue()

    def change(f: Forgery) -> None:
        _members(inside)(f)
        _state_weights(f)

    return change


def _state_weights(f: Forgery) -> None:
    from fly64_assets.solvers.model_bundle import _read_weights

    digest = _read_weights(f.read(f"{BASELINE}/model.keras"))[0]
    f.json(f"{BASELINE}/bundle.json", lambda c: c.update(weights_sha256=digest))


def _disguise(f: Forgery) -> None:
    _archive(f, BASELINE, f.read(f"{PINN}/model.keras"))
    _state_weights(f)


def _bit(f: Forgery) -> None:
    content = bytearray(f.read(f"{PINN}/model.keras"))
    content[len(content) // 2] ^= 1
    f.write(f"{PINN}/model.keras", bytes(content))


def _zero(name: str, values: np.ndarray) -> None:
    if "known_probe" not in name:
        values[...] = 0


def _probe(name: str, values: np.ndarray) -> None:
    if name == "layers/known_probe/vars/0":
        values.flat[2080] += 0.1


def _config(old: bytes, new: bytes) -> Callable[[Forgery], None]:
    """Another configuration around the same weights."""
    return _members(lambda m: m.update({"config.json": m["config.json"].replace(old, new, 1)}))


for check, what, forge in (
    ("phase_e.bundle", "one bit flipped", _bit),
    ("phase_e.bundle", "a member more", _members(lambda m: m.update({"code.py": b"1"}))),
    ("phase_e.bundle", "a Lambda layer", _config(b'"Conv2D"', b'"Lambda"')),
    ("phase_e.bundle", "a class of another module", _config(b'"keras.layers"', b'"mine.layers"')),
    ("phase_e.bundle", "another name inside", _config(b'"name": "Baseline"', b'"name": "Other"')),
    ("phase_e.bundle", "a network of zeros", _weights(_zero)),
    ("phase_e.bundle", "a network with another probe", _weights(_probe)),
    ("phase_e.weights_differ", "Baseline is PtychoPINN under another name", _disguise),
):
    add(check, what, forge)


def _bundle(edit: Callable[[Any], object]) -> Callable[[Forgery], None]:
    return lambda f: f.json(f"{BASELINE}/bundle.json", lambda content: edit(content) and None)


for check, key, value in (
    ("phase_e.bundle", "kind", "PtychoPINN"),
    ("phase_e.bundle", "core_px", 2),
    ("phase_e.bundle", "weights_sha256", "0" * 64),
    ("phase_e.bundle", "n_parameters", 7),
    ("phase_e.bundle", "host", "mine"),
    ("phase_e.bundle", "frameworks", {"keras": "3"}),
    ("phase_e.trained_on", "inputs", {"train/overlap_view/train.npz": "0" * 64}),
    ("phase_e.counts", "n_fit", 7),
    ("phase_e.counts", "n_validation", 0),
    ("phase_e.loss", "final_loss", 0.125),
    ("phase_e.loss", "best_epoch", 9),
    ("phase_e.loss", "best_validation_loss", 0.125),
    ("phase_e.effective_settings", "epochs_completed", 9),
    ("phase_e.effective_settings", "seeds", {"grouping": 7}),
):
    add(check, f"another {key}", _bundle(lambda c, k=key, v=value: c.update({k: v})))
add(
    "phase_e.effective_settings",
    "more epochs were planned",
    _bundle(lambda c: c["settings"].update(epochs=99)),
)
add(
    "phase_e.provenance",
    "without the view's provenance",
    _bundle(lambda c: c["transformations"].pop(0)),
)


def _cell(file: str, line: int, column: int, value: str) -> Callable[[Forgery], None]:
    def edit(text: str) -> str:
        rows = [row.split(",") for row in text.split("\n")]
        rows[line][column] = value
        return "\n".join(",".join(row) for row in rows)

    return lambda f: f.text(file, edit)


for check, file, what, place in (
    ("phase_e.loss", f"{BASELINE}/history.csv", "a loss of nan", (1, 1, "nan")),
    ("phase_e.loss", f"{BASELINE}/history.csv", "an epoch twice", (2, 0, "1")),
    ("phase_e.loss", f"{BASELINE}/history.csv", "no time", (1, 4, "0.0")),
    ("phase_e.loss", f"{BASELINE}/history.csv", "a rising learning rate", (2, 3, "0.9")),
    ("phase_e.loss", f"{BASELINE}/history.csv", "other columns", (0, 4, "host")),
    ("phase_f.loss", LOSSES, "a loss of nan", (1, 1, "nan")),
    ("phase_f.loss", LOSSES, "the loss rises", (1, 1, "0")),
    ("phase_f.effective_settings", LOSSES, "an epoch twice", (2, 0, "1")),
):
    add(check, what, _cell(file, *place))


def _solved(edit: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Forgery], None]:
    """Edit an object, given the truth, and what phase G copied, so that nothing else sees it."""

    def change(f: Forgery) -> None:
        truth = read_npz(f.path(CANVAS), ["truth"])["truth"]
        for file, key in ((SOLVED, "reconstructed_object"), (CANVAS, "PtyChi")):
            f.arrays(file, lambda a, key=key: a.update({key: edit(a[key], truth)}))

    return change


def _with_nan(image: np.ndarray, _: np.ndarray) -> np.ndarray:
    image[0, 0] = np.nan
    return image


for what, edit in {
    "zeros": lambda image, _: np.zeros_like(image),
    "a constant": lambda image, _: np.ones_like(image),
    "a NaN": _with_nan,
    "another dtype": lambda image, _: image.astype(np.complex128),
    "another canvas": lambda image, _: image[:-2],
    "the truth": lambda _, truth: truth.copy(),
}.items():
    add("phase_f.reconstruction", what, _solved(edit))
for check, what, edit in (
    (
        "phase_f.reconstruction",
        "another probe",
        lambda a: a["reconstructed_probe"].__imul__(np.complex64(1.01)),
    ),
    (
        "phase_f.reconstruction",
        "an array more",
        lambda a: a.update(truth=a["reconstructed_object"]),
    ),
    (
        "phase_f.reconstruction",
        "a time of no zone",
        lambda a: a.update(timestamp=np.array("2026-01-02 03:04:05")),
    ),
    (
        "phase_f.reconstruction",
        "a duration below zero",
        lambda a: a.update(computation_time_s=np.array(-1.0)),
    ),
    (
        "phase_f.effective_settings",
        "another algorithm",
        lambda a: a.update(algorithm=np.array("EPIE")),
    ),
):
    add(check, what, lambda f, edit=edit: f.arrays(SOLVED, edit))
for what, edit in {
    "phase C's record overwritten": lambda records: records.pop(0),
    "made from other bytes": lambda records: records[-1].update(
        inputs=dict.fromkeys(records[-1]["inputs"], "0" * 64)
    ),
    "made from the other split": lambda records: records[-1]["parameters"].update(split="train"),
}.items():
    add(
        "phase_f.provenance",
        what,
        lambda f, edit=edit: f.metadata(SOLVED, lambda m: edit(m["transformations"])),
    )
for check, file, what, edit in (
    (
        "phase_e.training_manifest",
        MANIFEST,
        "another hash",
        lambda c: c["jobs"][1]["result"].update(bundle_sha256="0" * 64),
    ),
    (
        "phase_e.training_manifest",
        MANIFEST,
        "a skipped view",
        lambda c: c.update(skipped_views=["sparse"], skipped_count=1),
    ),
    (
        "phase_f.manifest",
        SOLVED_MANIFEST,
        "a failed reconstruction",
        lambda c: c["execution_results"][0].update(returncode=1),
    ),
    (
        "phase_f.manifest",
        SOLVED_MANIFEST,
        "one split only",
        lambda c: c["jobs"].pop() and None,
    ),
):
    add(check, what, lambda f, file=file, edit=edit: f.json(file, edit))
