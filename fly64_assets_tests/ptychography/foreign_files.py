"""Foreign files for the import's tests: one simulated dataset put into any of the legacy forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.importing.change_log import OpenQuestions
from fly64_assets.ptychography.importing.questions import Answers
from fly64_assets.ptychography.importing.writing import ImportReport, import_file
from fly64_assets.ptychography.simulation import simulate_split_datasets
from fly64_assets.ptychography.specimen import Specimen, load_specimen
from fly64_assets.study.model import SimulationSettings
from fly64_assets.study.specimen_origins import FOLDER

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "fly64_assets_tests" / "data" / "siemens_star_measured_64frames.npz"
WHOLE_SCAN = ROOT.parent / "shared" / "data" / "siemens_star_measured_N128.npz"
N = 64
CANVAS = (118, 126)
CREATED = "2026-01-02T03:04:05Z"
Arrays = dict[str, np.ndarray]


def simulate(folder: Path, *, dose: int = 2000, positions: int = 80, contrast: float = 1.0) -> Path:
    """A DATA-001 file of about half as many frames, on a canvas whose last row and column repeat.

    So an odd canvas, one row and column less, is padded back to the same values.
    """
    whole = load_specimen(FOLDER / "labyrinth.npz", patch_size=N)
    object_ = np.pad(
        whole.object[60 : 60 + CANVAS[0] - 1, 50 : 50 + CANVAS[1] - 1],
        [(0, 1), (0, 1)],
        mode="edge",
    )
    object_ = (object_**contrast).astype(np.complex64)
    simulate_split_datasets(
        Specimen(object_, whole.probe, 1.0, "0" * 64),
        dose=dose,
        simulation=SimulationSettings(
            positions=positions, margin_px=1.5, shift_padding_px=4, split_guard_px=0.0
        ),
        patch_size=N,
        seed=42,
        threads=1,
        folder=folder,
        probe_diameter_px=35.0,
        program_version="1.2.3",
        git_commit=None,
        created=CREATED,
    )
    return folder / "patched_train.npz"


def _last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))


def _corner(a: Arrays, scale: float) -> dict[str, Any]:
    axes = (0, 1) if len(a["diffraction"]) == N else (1, 2)
    return {"diffraction": np.fft.ifftshift(a["diffraction"], axes=axes)}


DOUBLE = {
    **dict.fromkeys(("diffraction", "scan_index"), np.float64),
    **dict.fromkeys(("objectGuess", "probeGuess", "Y"), np.complex128),
}
FORMS: dict[str, Callable[[Arrays, float], dict[str, Any]]] = {
    "counts": lambda a, scale: {"diffraction": (a["diffraction"] * scale).astype(np.float32)},
    "counts and probe": lambda a, scale: {
        "diffraction": (a["diffraction"] * scale).astype(np.float32),
        "probeGuess": (a["probeGuess"] * scale).astype(np.complex64),
    },
    "double": lambda a, scale: {k: a[k].astype(dtype) for k, dtype in DOUBLE.items() if k in a},
    "frames last": lambda a, scale: {k: _last(a[k]) for k in ("diffraction", "Y")},
    "odd canvas": lambda a, scale: {"objectGuess": a["objectGuess"][:-1, :-1]},
    "corner": _corner,
    "without start": lambda a, scale: {"xcoords_start": None, "ycoords_start": None},
    "without index": lambda a, scale: {"scan_index": None},
    "big endian": lambda a, scale: {
        k: a[k].astype(a[k].dtype.newbyteorder(">")) for k in ("diffraction", "objectGuess")
    },
    "columns": lambda a, scale: {
        "probeGuess": a["probeGuess"][None, None],
        "xcoords": a["xcoords"][:, None],
    },
    "extra key": lambda a, scale: {"ground_truth_note": np.arange(5.0)},
    "diff3d": lambda a, scale: {"diffraction": None, "diff3d": a["diffraction"]},
}
"""Name -> what changes (``None``: left out), in this order; those of the metadata are not here."""
METADATA_FORMS = ("kept", "missing", "pickled", "foreign", "bytes")
CONTAINERS = ("npz", "compressed npz", "h5")


def legacy(arrays: Arrays, forms: Iterable[str], metadata_form: str) -> dict[str, Any]:
    """A copy in legacy forms; pickled metadata are an object array."""
    changed: dict[str, Any] = dict(arrays)
    text = str(changed.pop("_metadata"))
    scale = json.loads(text)["physics"]["intensity_scale"]
    chosen = set(forms) - ({"counts"} if "counts and probe" in forms else set())
    for form in (form for name, form in FORMS.items() if name in chosen):
        changed = without_none({**changed, **form(changed, scale)})
    if metadata_form == "pickled":
        changed["_metadata"] = np.array({"nphotons": 1e9}, dtype=object)
    elif metadata_form == "foreign":
        changed["_metadata"] = np.array('{"nphotons": 1e9, "wavelength": NaN}')
    elif metadata_form == "bytes":
        changed["_metadata"] = np.array([text.encode()])
    elif metadata_form == "kept":
        changed["_metadata"] = np.array(text)
    return changed


def without_none(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays that are not left out."""
    return {key: array for key, array in arrays.items() if array is not None}


def save(path: Path, arrays: dict[str, Any], container: str = "npz") -> Path:
    """Write with NumPy's or h5py's own functions."""
    if container == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                if array.dtype == object:
                    array = np.frombuffer(array.dumps(), np.uint8)
                if array.dtype.kind in "US":
                    text = array.reshape(())[()]
                    array = text if isinstance(text, bytes) else str(text)
                file[key] = array
    else:
        (np.savez_compressed if container.startswith("compressed") else np.savez)(
            path.with_suffix(".npz"), **arrays
        )
        path.with_suffix(".npz").rename(path)
    return path


def run_import(
    source: Path, target: Path | None, *, force: bool = True, **answers: Any
) -> ImportReport:
    """`import_file` with fixed circumstances."""
    return import_file(
        source,
        target,
        Answers(**answers),
        program_version="1.2.3",
        git_commit=None,
        created=CREATED,
        progress=lambda what, done, total: None,
        force=force,
    )


def asked(source: Path, *parts: str, **answers: object) -> str:
    """Hold that a file raises questions with these words; the options that are suggested."""
    with pytest.raises(OpenQuestions) as raised:
        run_import(source, source.parent / "new.npz", **answers)
    assert all(part in str(raised.value) for part in parts), str(raised.value)
    assert not (source.parent / "new.npz").exists()
    return raised.value.options


def refused(source: Path, *parts: str, target: Path | None = None, **answers: object) -> None:
    """Hold that a file is refused in one line with these words, and nothing is touched."""
    before = {path: path.stat().st_mtime_ns for path in source.parent.rglob("*")}
    with pytest.raises(InputError) as raised:
        run_import(source, target or source.parent / "new.npz", **answers)
    told = str(raised.value)
    assert all(part in told for part in parts) and "\n" not in told, told
    assert {path: path.stat().st_mtime_ns for path in source.parent.rglob("*")} == before


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a DATA-001 file."""
    return json.loads(str(read_npz(path, ["_metadata"])["_metadata"]))


def import_record(path: Path) -> dict[str, Any]:
    """The last record of a file's transformations."""
    return metadata_of(path)["transformations"][-1]


def counts_of(arrays: Arrays) -> np.ndarray:
    """(n, N, N) counts; the squares where no metadata state a scale."""
    scale = 1.0
    if "_metadata" in arrays:
        scale = json.loads(str(arrays["_metadata"]))["physics"]["intensity_scale"]
    return np.square(arrays["diffraction"].astype(np.float64) * scale)


def require_same_data(new: Arrays, true: Arrays, kept: slice = slice(None)) -> None:
    """Hold an imported file against the dataset that it was made of.

    Counts are the physics and must be equal, or proportional where ``true`` states no scale; the
    probe may be in other units, the canvas padded.
    """
    for key in ("xcoords", "ycoords"):
        np.testing.assert_allclose(new[key], true[key][kept], atol=1e-5)
    height, width = true["objectGuess"].shape
    np.testing.assert_array_equal(new["objectGuess"][:height, :width], true["objectGuess"])
    counts, expected = counts_of(new), counts_of(true)[kept]
    if "_metadata" not in true:
        expected = expected * (counts.sum() / expected.sum())
    np.testing.assert_allclose(counts, expected, rtol=1e-4, atol=1e-4)
    one, other = new["probeGuess"].ravel(), true["probeGuess"].ravel()
    likeness = abs(np.vdot(one, other)) / (np.linalg.norm(one) * np.linalg.norm(other))
    assert abs(likeness - 1) < 1e-5
