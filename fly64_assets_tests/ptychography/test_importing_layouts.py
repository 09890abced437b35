"""Import: the layouts of other programs, and files that would take all memory or time."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.ptychography.foreign_files import (
    CANVAS,
    Arrays,
    N,
    asked,
    refused,
    require_same_data,
    run_import,
    save,
)

PIXEL = 12e-9
JOULES = 8800 * 1.602176634e-19
WAVELENGTH = 1.98644586e-25 / JOULES
DETECTOR = "entry_1/instrument_1/detector_1"


@pytest.fixture
def few(bare) -> Arrays:
    """The keys that every program has a name for."""
    wanted = ("diffraction", "objectGuess", "probeGuess", "xcoords", "ycoords")
    return {key: bare[key] for key in wanted}


def _counts(arrays: Arrays) -> np.ndarray:
    smallest = arrays["diffraction"][arrays["diffraction"] > 0].min()
    return np.rint(np.square(arrays["diffraction"].astype(np.float64) / smallest))


def _metres(arrays: Arrays, key: str) -> np.ndarray:
    return (arrays[key] - CANVAS["yx".index(key[0])] // 2) * PIXEL


def _cxi(file: h5py.File, arrays: Arrays) -> None:
    file[f"{DETECTOR}/data"] = _counts(arrays).astype(np.uint32)
    file["entry_1/data_1/data"] = h5py.SoftLink(f"/{DETECTOR}/data")
    x, y = _metres(arrays, "xcoords"), _metres(arrays, "ycoords")
    file["entry_1/sample_1/geometry_1/translation"] = np.stack([x, y, 0 * x], axis=1)
    file["entry_1/data_1/translation"] = h5py.SoftLink("/entry_1/sample_1/geometry_1/translation")
    file["entry_1/instrument_1/source_1/energy"] = JOULES
    file[f"{DETECTOR}/distance"] = N * 75e-6 * PIXEL / WAVELENGTH
    for axis in "xy":
        file[f"{DETECTOR}/{axis}_pixel_size"] = 75e-6
    file["entry_1/instrument_1/source_1/probe"] = arrays["probeGuess"][None]
    file["object"] = arrays["objectGuess"][None]


def _matlab(file: h5py.File, arrays: Arrays) -> None:
    """Columns first, and complex numbers as a compound."""
    pairs = np.stack([arrays["xcoords"], arrays["ycoords"]], axis=1)
    stack = np.moveaxis(arrays["diffraction"], 0, -1)
    for name, values in {**arrays, "diffraction": stack, "positions": pairs}.items():
        if "coords" in name:
            continue
        stored = values.T
        if values.dtype.kind == "c":
            stored = np.zeros(values.T.shape, [("real", "f8"), ("imag", "f8")])
            stored["real"], stored["imag"] = values.T.real, values.T.imag
        file[name] = stored
        file[name].attrs["MATLAB_class"] = np.bytes_("double")


def _tike(file: h5py.File, arrays: Arrays) -> None:
    file["data"] = np.fft.ifftshift(_counts(arrays), axes=(1, 2))[None].astype(np.float32)
    file["scan"] = np.stack([arrays["ycoords"], arrays["xcoords"]], axis=1)[None]
    file["probe"] = arrays["probeGuess"][None, None, None]
    file["psi"] = arrays["objectGuess"][None]


def _pairs_across(file: h5py.File, arrays: Arrays) -> None:
    for key in ("objectGuess", "probeGuess"):
        file[key] = arrays[key]
    file["diffraction"] = arrays["diffraction"][..., None]
    file["positions"] = np.stack([arrays["xcoords"], arrays["ycoords"]], axis=0)


def _micrometres(file: h5py.File, arrays: Arrays) -> None:
    for key in ("objectGuess", "probeGuess", "diffraction"):
        file[key] = arrays[key]
    for key, shape in (("xcoords", (1, -1)), ("ycoords", (-1, 1))):
        file[key] = (_metres(arrays, key) * 1e6).reshape(shape)
        file[key].attrs["units"] = "um"


def _ptychi(file: h5py.File, arrays: Arrays) -> None:
    file["dp"] = np.minimum(_counts(arrays), 32766).astype(">i2")
    for axis in "xy":
        file[f"probe_position_{axis}_m"] = _metres(arrays, f"{axis}coords")
    file["probe"] = np.stack([arrays["probeGuess"], 0.2 * arrays["probeGuess"][::-1]])[None]
    file["object"] = arrays["objectGuess"][None]


LAYOUTS: dict[str, tuple[Callable, dict[str, Any]]] = {
    "CXI": (_cxi, {"values": "intensity", "origin": "centre"}),
    "MATLAB": (_matlab, {}),
    "tike": (_tike, {"values": "intensity"}),
    "pairs across": (_pairs_across, {}),
    "micrometres": (_micrometres, {"origin": "centre", "pixel_size": 0.012}),
    "pty-chi": (
        _ptychi,
        {
            "values": "intensity",
            "origin": "centre",
            "pixel_size": PIXEL,
            "probe_mode": "strongest",
        },
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_other_programs(sound, few, tmp_path, layout):
    write, answers = LAYOUTS[layout]
    source = tmp_path / "old.h5"
    with h5py.File(source, "w") as file:
        write(file, few)
    if answers:  # a run without them asks for all of them, and for nothing else
        options = asked(source, **{k: answers[k] for k in answers if k == "pixel_size"})
        assert all(f"--{name.replace('_', '-')}" in options for name in answers)
    run_import(source, tmp_path / "new.npz", **answers)
    new = read_npz(tmp_path / "new.npz")
    require_same_data(new, sound)


def test_what_no_terminal_shows_is_left_out_of_the_suggested_command(few, tmp_path):
    few["x\x1b[31m"] = few.pop("diffraction")
    source = save(tmp_path / "old.h5", few, "h5")
    assert asked(source) == "--key NAME"


def test_an_object_that_is_missing_beside_lengths_without_a_geometry(few, tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        _cxi(file, few)
        for name in ("entry_1/instrument_1/source_1", "object"):
            del file[name]
    wanted = "--probe FILE --object ones --values intensity --pixel-size L"
    assert asked(tmp_path / "old.h5") == wanted


def test_a_filter_that_is_not_installed_is_named(few, tmp_path):
    code = next(code for code in (32008, 32001, 480) if not h5py.h5z.filter_avail(code))
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for key in ("objectGuess", "probeGuess", "xcoords", "ycoords"):
            file[key] = few[key]
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((5, N, N))
        settings.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (0, 2))
        space = h5py.h5s.create_simple(few["diffraction"].shape)
        kind = h5py.h5t.NATIVE_FLOAT
        stored = h5py.h5d.create(file.id, b"diffraction", kind, space, settings)
        stored.write(h5py.h5s.ALL, h5py.h5s.ALL, few["diffraction"])
    wanted = f"filter {code} (unknown), which is not installed here: `pip install hdf5plugin`"
    refused(tmp_path / "old.h5", wanted)


def _never_written(file: h5py.File) -> None:
    file.create_dataset("diffraction", (10**9, N, N), "f4", chunks=(1, N, N))


def _zeros_by_the_million(file: h5py.File) -> None:
    file.create_dataset(
        "diffraction", (10**7, N, N), "f4", chunks=(2**13, N, N), compression="gzip"
    )
    file["diffraction"][:1] = np.zeros((1, N, N))


def _many_groups(file: h5py.File) -> None:
    for number in range(10_001):
        file.create_group(str(number))


def _elsewhere(file: h5py.File) -> None:
    file["diffraction"] = h5py.ExternalLink("/nowhere/else.h5", "frames")


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((45, N, N), "f4")
    layout[:] = h5py.VirtualSource("none.h5", "frames", (45, N, N))
    file.create_virtual_dataset("diffraction", layout)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_never_written, "but only 0 were ever written"),
        (_zeros_by_the_million, "were ever written"),
        (_many_groups, "more than 10000 groups and arrays"),
        (_elsewhere, "lies in another file"),
        (_virtual, "lies in another file"),
    ],
)
def test_hdf5_files_that_would_take_all_memory_or_lead_elsewhere(few, tmp_path, spoil, problem):
    source = tmp_path / "old.h5"
    with h5py.File(source, "w") as file:
        for key in ("objectGuess", "probeGuess", "xcoords", "ycoords"):
            file[key] = few[key]
        spoil(file)
    _refused_within_100_mb(source, problem)


def _refused_within_100_mb(source: Path, problem: str) -> None:
    tracemalloc.start()
    refused(source, problem)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_nesting_cycles_and_a_user_block_do_no_harm(few, tmp_path):
    source = tmp_path / "old.h5"
    with h5py.File(source, "w", userblock_size=1024) as file:
        for key, array in few.items():
            file[key] = array
        group = file
        for _ in range(1200):
            group = group.create_group("g")
        group["up"] = file["/"]
        file["itself"] = h5py.SoftLink("/itself")
        file["out"] = h5py.SoftLink("/../../etc/passwd")
    run_import(source, tmp_path / "new.npz")
    np.testing.assert_array_equal(read_npz(tmp_path / "new.npz")["xcoords"], few["xcoords"])


@pytest.mark.long
def test_a_zip_bomb_is_not_unpacked(few, tmp_path):
    source = save(tmp_path / "old.npz", {k: v for k, v in few.items() if k != "diffraction"})
    header = io.BytesIO()
    form = {"descr": "<f4", "fortran_order": False, "shape": (80_000, N, N)}
    np.lib.format.write_array_header_1_0(header, form)
    with (
        zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("diffraction.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(80):
            member.write(bytes(1000 * N * N * 4))
    _refused_within_100_mb(source, "bytes that unpack to 13")
