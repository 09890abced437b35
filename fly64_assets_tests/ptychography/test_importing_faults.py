"""Import: damage, values that no cast can hold, and disks that refuse; nothing is left behind."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.importing.casts import ROUNDING, cast
from fly64_assets_tests.ptychography.foreign_files import (
    MEASURED,
    ROOT,
    metadata_of,
    refused,
    run_import,
    save,
)


@pytest.mark.parametrize("container", ["npz", "h5"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.99])
def test_a_truncated_file(bare, tmp_path, container, part):
    source = save(tmp_path / "old.data", bare, container)
    source.write_bytes(source.read_bytes()[: int(part * source.stat().st_size)])
    refused(source, "old.data", "empty" if part == 0 else "truncated")


def test_damaged_values(bare, tmp_path):
    flipped, source = save(tmp_path / "old.npz", bare), tmp_path / "old.h5"
    with h5py.File(source, "w") as file:
        for key, array in bare.items():
            file.create_dataset(key, data=array, compression="gzip" if array.ndim == 3 else None)
        chunk = file["diffraction"].id.get_chunk_info(3).byte_offset
    for path, at, problem in (
        (flipped, flipped.stat().st_size // 2, "old.npz"),
        (source, chunk, "diffraction: is truncated or corrupted"),
    ):
        damaged = bytearray(path.read_bytes())
        damaged[at : at + 64] = bytes(byte ^ 4 for byte in damaged[at : at + 64])
        path.write_bytes(damaged)
        refused(path, problem, "corrupted")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\n1,2\n", "is neither NPZ nor HDF5"),
        (pickle.dumps({"diffraction": 1}), "pickle"),
        (b"\x93NUMPY\x01\x00", "single NPY"),
    ],
)
def test_other_files(tmp_path, content, problem):
    (tmp_path / "old.npz").write_bytes(content)
    refused(tmp_path / "old.npz", "old.npz", problem)


def test_no_file_and_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (("none", "not exist"), ("folder", "not a file"), ("pipe", "no regular")):
        # The file comes first: what it is to become matters only if there is one.
        refused(tmp_path / name, name, problem, target=tmp_path / "new.h5")


def _metadata_of_another_probe(sound: np.ndarray) -> np.ndarray:
    metadata = json.loads(str(sound))
    metadata["physics"]["N"] = 32
    return np.array(json.dumps(metadata))


OBJECTS = np.array([{}], dtype=object)


@pytest.mark.parametrize(
    ("key", "change", "problem"),
    [
        *(
            (k, lambda a: OBJECTS, "pickled")
            for k in ("diffraction", "objectGuess", "xcoords", "Y")
        ),
        ("diffraction", lambda a: -a, "negative"),
        ("diffraction", lambda a: a * 0, "zero everywhere"),
        ("diffraction", lambda a: a.astype(np.complex64), "real amplitudes"),
        ("diffraction", lambda a: a[:, :-2], "shape is"),
        ("diffraction", lambda a: a[0], "shape is"),
        ("objectGuess", np.abs, "not complex"),
        ("objectGuess", lambda a: np.stack([a, a]), "two dimensions"),
        ("objectGuess", lambda a: a[:60, :60], "no larger than N"),
        ("objectGuess", lambda a: a * 0, "zero everywhere: which canvas? say --object"),
        ("objectGuess", lambda a: a * np.inf, "not finite: what stands there? say --object"),
        ("objectGuess", lambda a: a.astype(np.complex128) * 1e300, "overflow"),
        ("probeGuess", lambda a: a * 0, "zero everywhere: what is the probe? say --probe"),
        ("probeGuess", lambda a: a[:-1, :-1], "N even"),
        ("probeGuess", lambda a: a[:-2, :], "(N, N)"),
        ("xcoords", lambda a: a[:-1], "one number for each of"),
        ("xcoords", lambda a: a.astype(complex), "real numbers"),
        ("scan_index", lambda a: a + 0.5, "lose their fraction"),
        ("scan_index", lambda a: a.astype(np.uint64) + 2**63, "overflow"),
        ("Y", lambda a: a.real, "complex patches"),
        ("Y", lambda a: a[:-1], "Y"),
        ("Y", lambda a: np.roll(a, 7, axis=0), "patches"),
        ("_metadata", _metadata_of_another_probe, "physics.N is 32"),
    ],
)
def test_what_cannot_become_data001(bare, sound, tmp_path, key, change, problem):
    with np.errstate(all="ignore"):
        bare[key] = change(sound[key])
    if key == "_metadata":
        bare["diff3d"] = bare.pop("diffraction")
    refused(save(tmp_path / "old.npz", bare), "old.npz", key, problem)


def test_hdf5_strings_where_numbers_belong(bare, tmp_path):
    bare["xcoords"] = np.array("text")
    refused(save(tmp_path / "old.h5", bare, "h5"), "old.h5", "xcoords", "not an array of numbers")


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"keys": {"frames": "diffraction"}}, "is no key"),
        ({"keys": {"diffraction": "none"}}, "missing"),
        ({"frames": "last"}, "cannot be last"),
        ({"probe": "none.npz"}, "none.npz: does not exist"),
        ({"object": __file__}, "is neither NPZ nor HDF5"),
    ],
)
def test_answers_that_name_nothing(bare, tmp_path, answers, problem):
    refused(save(tmp_path / "old.npz", bare), problem, **answers)


def test_targets_that_may_not_be_written(bare, tmp_path):
    source, taken = save(tmp_path / "old.npz", bare), tmp_path / "taken.npz"
    taken.write_text("something else")
    with pytest.raises(InputError, match="exists already; --force"):
        run_import(source, taken, force=False)
    (tmp_path / "folder.npz").mkdir()
    for target, problem in (
        (source, "the file that is imported"),
        (tmp_path / "new.h5", "no .npz name"),
        (taken / "below" / "new.npz", "taken.npz is no folder"),
        (tmp_path / "folder.npz", "is a folder"),
        (Path("/proc/self/new.npz"), "cannot be written"),  # not even root may write there
        (Path("/proc/self/none/new.npz"), "cannot be written"),
    ):
        refused(source, problem, target=target)
    assert taken.read_text() == "something else"
    run_import(source, taken, force=True)
    assert set(tmp_path.iterdir()) == {source, taken, tmp_path / "folder.npz"}


def test_a_folder_that_is_missing_is_made_once_all_else_holds(bare, tmp_path):
    target = tmp_path / "none" / "below" / "new.npz"
    spoilt = {**bare, "Y": np.roll(bare["Y"], 7, axis=0)}  # found only in the finished file
    source = save(tmp_path / "old.npz", spoilt)
    refused(source, "patches", target=target)
    save(source, bare)
    run_import(source, None)
    assert list(tmp_path.iterdir()) == [source]
    run_import(source, target)
    names = {path.name for path in tmp_path.rglob("*")}
    assert names == {"old.npz", "none", "below", "new.npz"}


@pytest.mark.long
@pytest.mark.parametrize("limit", [1000, 4_500_000])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_else(tmp_path, limit):
    """A limit on the size of files stands for the disk: the same error of the same calls."""
    (tmp_path / "new.npz").write_text("old")
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from fly64_assets.errors import InputError\n"
        "from fly64_assets_tests.ptychography.foreign_files import run_import\n"
        "try:\n"
        f"    run_import(Path({str(MEASURED)!r}), Path({str(tmp_path / 'new.npz')!r}))\n"
        "except InputError as error:\n"
        "    sys.exit(f'refused: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "refused:" in done.stderr and "cannot be written: File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["new.npz"]
    assert (tmp_path / "new.npz").read_text() == "old"


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float64, st.integers(1, 6), elements=FLOATS))
@settings(max_examples=200, deadline=None)
def test_a_cast_keeps_every_value_or_refuses(values):
    largest = np.abs(values).max()
    try:
        changed = cast("file", "key", values, np.dtype(np.float32))
    except InputError:
        # Only what float32 cannot hold: too large, or all too small.
        assert largest > np.finfo(np.float32).max or largest < np.finfo(np.float32).tiny * 2**23
    else:
        assert changed.dtype == np.float32
        assert (np.abs(changed.astype(np.float64) - values) <= ROUNDING * largest).all()


@given(hnp.arrays(hnp.integer_dtypes(endianness="="), st.integers(1, 6)))
@settings(max_examples=100, deadline=None)
def test_an_integer_is_exact_or_refused(values):
    for wanted in (np.int64, np.float64, np.float32):
        try:
            changed = cast("file", "key", values, np.dtype(wanted))
        except InputError:
            limit = 2**63 - 1 if wanted is np.int64 else 2 ** (np.finfo(wanted).nmant + 1)
            assert max(abs(int(value)) for value in values) > limit
        else:
            assert [int(value) for value in changed] == [int(value) for value in values]


def test_frames_of_half_precision_keep_their_counts(bare, sound, tmp_path):
    """Low counts are whole to within float16; the amplitude that comes out is that of float16."""
    scale = json.loads(str(sound["_metadata"]))["physics"]["intensity_scale"]
    counts = np.rint(np.square(bare["diffraction"].astype(np.float64) * scale))
    bare["diffraction"] = np.sqrt(counts).astype(np.float16)
    bare["probeGuess"] = (bare["probeGuess"] * scale).astype(np.complex64)
    run_import(save(tmp_path / "old.npz", bare), tmp_path / "new.npz")
    found = metadata_of(tmp_path / "new.npz")["physics"]["intensity_scale"]
    amplitude = read_npz(tmp_path / "new.npz")["diffraction"].astype(np.float64)
    np.testing.assert_allclose(np.square(amplitude * found), counts, rtol=2e-3)
