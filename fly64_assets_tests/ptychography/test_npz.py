"""NPZ reading and writing: bytes that depend on arrays alone, and one clear refusal per damage."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import npz

ARRAYS = {
    "amplitude": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "object": (np.arange(6) + 1j).astype(np.complex64).reshape(2, 3),
    "big_endian": np.arange(5, dtype=">f8"),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.int64).reshape(3, 4)),
    "flag": np.array([True, False]),
    "text": np.array("µ-metadata"),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 7), np.float32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    npz.write_npz(tmp_path / "arrays.npz", ARRAYS)
    return tmp_path / "arrays.npz"


def test_what_is_written_is_read(path: Path) -> None:
    for source in (npz.read_npz(path), dict(np.load(path, allow_pickle=False))):
        assert set(source) == set(ARRAYS)
        for key, array in ARRAYS.items():
            assert source[key].dtype == array.dtype
            np.testing.assert_array_equal(source[key], array)


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
@settings(max_examples=40, deadline=None)
def test_any_plain_array_survives(tmp_path_factory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("any") / "a.npz"
    npz.write_npz(path, {"a": array})
    for read in (npz.read_npz(path)["a"], npz.open_array(path, "a")):
        assert read.shape == array.shape
        assert read.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
        assert read.tobytes() == array.tobytes()


def test_bytes_depend_on_the_arrays_alone(path: Path, tmp_path: Path) -> None:
    turned = {key: np.array(ARRAYS[key], order="C") for key in reversed(ARRAYS)}
    npz.write_npz(tmp_path / "turned.npz", turned)
    assert (tmp_path / "turned.npz").read_bytes() == path.read_bytes()


def test_arrays_of_many_chunks_are_streamed_unchanged(tmp_path: Path, monkeypatch) -> None:
    array = np.arange(40_000, dtype=np.float64).reshape(400, 100)
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", array.dtype, array.shape)
    mapped[:] = array
    npz.write_npz(tmp_path / "whole.npz", {"a": array})
    whole = npz.array_digest({"a": array})
    monkeypatch.setattr(npz, "CHUNK_BYTES", 4096)
    npz.write_npz(tmp_path / "streamed.npz", {"a": mapped})
    assert (tmp_path / "streamed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert npz.array_digest({"a": mapped}) == whole
    np.testing.assert_array_equal(npz.read_npz(tmp_path / "streamed.npz")["a"], array)
    np.testing.assert_array_equal(mapped, array)


def test_open_array_maps_aligned_and_read_only(path: Path) -> None:
    mapped = npz.open_array(path, "amplitude")
    assert isinstance(mapped, np.memmap)
    assert mapped.flags.aligned
    assert mapped.ctypes.data % npz.ALIGNMENT == 0
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_of_numpy_are_read(tmp_path: Path, save) -> None:
    save(tmp_path / "numpy.npz", **ARRAYS)
    read = npz.read_npz(tmp_path / "numpy.npz")
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(read[key], array)
        opened = npz.open_array(tmp_path / "numpy.npz", key)
        np.testing.assert_array_equal(opened, array)
        assert not opened.flags.writeable or opened.size == 0
    headers = npz.describe_npz(tmp_path / "numpy.npz")
    assert headers["amplitude"].compressed == (save is np.savez_compressed)


def test_keys_are_selected_and_missing_ones_named(path: Path) -> None:
    assert list(npz.read_npz(path, ["flag"])) == ["flag"]
    with pytest.raises(InputError, match="diff3d: missing; the file holds amplitude, big_endian"):
        npz.read_npz(path, ["diff3d"])
    with pytest.raises(InputError, match="diff3d: missing"):
        npz.open_array(path, "diff3d")


class _WritesWhenUnpickled:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return self.target.write_text, ("unpickled",)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pickled_content_is_refused_without_unpickling(tmp_path: Path, save) -> None:
    path, trace = tmp_path / "pickled.npz", tmp_path / "trace"
    save(path, good=np.arange(3), bad=np.array([_WritesWhenUnpickled(trace)]))
    np.testing.assert_array_equal(npz.read_npz(path, ["good"])["good"], np.arange(3))
    assert npz.describe_npz(path)["bad"].dtype.hasobject
    for read in (lambda: npz.read_npz(path), lambda: npz.open_array(path, "bad")):
        with pytest.raises(InputError, match=r"pickled.npz: bad: is pickled"):
            read()
    assert not trace.exists()
    with np.load(path, allow_pickle=True) as careless:
        assert careless["bad"].size == 1
    assert trace.exists(), "the payload must work, or this test proves nothing"


def test_object_arrays_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bad: is pickled"):
        npz.write_npz(tmp_path / "a.npz", {"bad": np.array([{}])})
    assert not (tmp_path / "a.npz").exists()
    with pytest.raises(InputError, match="bad"):
        npz.array_digest({"bad": np.array([{}])})
    with pytest.raises(InputError, match="no valid array name"):
        npz.write_npz(tmp_path / "a.npz", {"../a": np.zeros(1)})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "file is empty"),
        (b"\x80\x04K\x01.", "is a pickle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
        (b"\x93NUMPY\x01\x00" + bytes(64), "is a single NPY array"),
        (b"y,x\n1,2\n", "is not an NPZ"),
        (b"PK\x03\x04" + bytes(64), "is truncated or damaged"),
    ],
)
def test_files_that_are_no_archive(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    for read in (npz.read_npz, npz.describe_npz, npz.verify_npz):
        with pytest.raises(InputError, match=problem) as caught:
            read(path)
        assert caught.value.source == str(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        npz.read_npz(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="is not a file"):
        npz.read_npz(tmp_path)


def test_every_truncation_is_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    cut = tmp_path / "cut.npz"
    for length in [*range(1, len(content), 97), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(InputError, match="truncated|not an NPZ"):
            npz.read_npz(cut)


@pytest.mark.parametrize("save", [npz.write_npz, None])
def test_a_flipped_bit_is_refused(tmp_path: Path, save) -> None:
    path, array = tmp_path / "a.npz", np.random.default_rng(0).random(500)
    if save:
        save(path, {"a": array})
    else:
        np.savez_compressed(path, a=array)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for read in (npz.read_npz, npz.verify_npz):
        with pytest.raises(InputError, match=r"a\.npz: a: is truncated or corrupted"):
            read(path)


@pytest.mark.parametrize("save", [npz.write_npz, np.savez, np.savez_compressed])
def test_random_damage_is_refused_or_harmless_never_another_error(tmp_path: Path, save) -> None:
    """Also in the zip's own structures, whose damage surfaces as half a dozen exceptions."""
    path, generator = tmp_path / "damaged.npz", np.random.default_rng(0)
    arrays = {"a": np.arange(20.0), "b": np.zeros((3, 4), np.complex64)}
    if save is npz.write_npz:
        save(path, arrays)
    else:
        save(path, **arrays)
    sound, refused = path.read_bytes(), 0
    for _ in range(300):
        content = bytearray(sound)
        content[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(content)
        for read in (npz.read_npz, npz.verify_npz, npz.describe_npz):
            try:
                read(path)
            except InputError:
                refused += 1
    assert refused > 100


def _archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_members_that_lie_about_themselves(tmp_path: Path) -> None:
    header = (
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9,)}".ljust(117)
        + b"\n"
    )
    for name, size in (("short", 8 * 8), ("long", 10 * 8)):
        path = _archive(tmp_path / f"{name}.npz", {"a.npy": header + bytes(size)})
        for read in (npz.read_npz, lambda path: npz.open_array(path, "a")):
            with pytest.raises(InputError, match=r"a: is truncated or corrupted: float64 \(9,\)"):
                read(path)
    path = _archive(tmp_path / "text.npz", {"notes.txt": b"hello"})
    with pytest.raises(InputError, match=r"notes.txt: is no NPY member"):
        npz.read_npz(path)
    path = _archive(tmp_path / "other.npz", {"a.npy": b"hello world, no array"})
    with pytest.raises(InputError, match="a: is no NPY array"):
        npz.read_npz(path)


def test_digest_sees_names_types_shapes_and_every_bit() -> None:
    base = {"a": np.arange(6, dtype=np.int64), "b": np.zeros(2, np.float32)}
    variants = [
        base,
        {"a": base["a"]},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"].view(np.uint64), "b": base["b"]},
        {"a": base["a"], "b": np.array([0, -0.0], np.float32)},
        {"a": base["a"] ^ 1, "b": base["b"]},
    ]
    assert len({npz.array_digest(variant) for variant in variants}) == len(variants)
    turned = {"b": base["b"].copy(), "a": base["a"].copy()}
    assert npz.array_digest(turned) == npz.array_digest(base)
    plane = np.arange(6.0).reshape(2, 3)
    assert npz.array_digest({"a": np.asfortranarray(plane)}) == npz.array_digest({"a": plane})
