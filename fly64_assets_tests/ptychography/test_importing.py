"""Import: any combination of legacy forms comes back to the same data, and says what it did."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset import data_version
from fly64_assets.ptychography.data001.dataset_rules import check_data001
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.forward import extract_patches, far_field
from fly64_assets_tests.ptychography.foreign_files import (
    CONTAINERS,
    FORMS,
    MEASURED,
    METADATA_FORMS,
    WHOLE_SCAN,
    Arrays,
    N,
    counts_of,
    import_record,
    legacy,
    metadata_of,
    run_import,
    save,
)

UNTOUCHED = ("objectGuess", "xcoords", "ycoords", "xcoords_start", "ycoords_start", "Y")


@pytest.mark.long
@given(
    forms=st.sets(st.sampled_from(sorted(FORMS))),
    metadata_form=st.sampled_from(METADATA_FORMS),
    container=st.sampled_from(CONTAINERS),
)
@example(forms=set(FORMS), metadata_form="pickled", container="npz")
@example(forms=set(FORMS) - {"counts and probe"}, metadata_form="missing", container="h5")
@example(forms=set(), metadata_form="kept", container="compressed npz")
@example(forms=set(), metadata_form="bytes", container="npz")
@settings(max_examples=40, deadline=None)
def test_any_combination_of_legacy_forms_imports_back(
    tmp_path_factory, sound, forms, metadata_form, container
):
    folder = tmp_path_factory.mktemp("forms")
    source, target = (
        save(folder / "a", legacy(sound, forms, metadata_form), container),
        folder / "b.npz",
    )
    before = source.read_bytes()
    if not forms and metadata_form == "kept" and container != "h5":
        with pytest.raises(InputError, match="DATA-001 already"):
            run_import(source, target)
        return
    run_import(source, target)
    found = read_npz(target)
    assert all(row.ok for row in check_data001(target)) and source.read_bytes() == before
    assert set(folder.iterdir()) == {source, target} and set(found) == set(sound)
    for key in UNTOUCHED:
        assert found[key].dtype == sound[key].dtype
        np.testing.assert_array_equal(found[key], sound[key], key)
    index = np.arange(45) if "without index" in forms else sound["scan_index"]
    np.testing.assert_array_equal(found["scan_index"], index)
    # Counts are the physics: they survive whatever the amplitudes were divided by.
    np.testing.assert_array_equal(np.rint(counts_of(found)), np.rint(counts_of(sound)))
    described = metadata_form in ("kept", "bytes")
    # Without metadata and with a probe in other units, only the power says what was divided.
    tolerance = 1e-6 if described or "counts and probe" in forms else 0.01
    if not {"counts", "counts and probe"} & forms:
        tolerance = 0
    for key in ("diffraction", "probeGuess"):
        np.testing.assert_allclose(found[key], sound[key], tolerance, 1e-9 * bool(tolerance))
    metadata = metadata_of(target)
    tools = [record["tool"] for record in metadata["transformations"]]
    assert tools == (["simulate", "import"] if described else ["import"])
    assert metadata["physics"]["nphotons"] == (2000 if described else None)
    assert metadata["physics"]["seed"] == (42 if described else None)
    assert import_record(target)["inputs"] == {"a": hashlib.sha256(before).hexdigest()}


def test_earlier_records_are_kept_and_a_dry_run_tells_every_change(sound, tmp_path):
    source, target = save(tmp_path / "old.npz", legacy(sound, FORMS, "kept")), tmp_path / "new.npz"
    told = run_import(source, None)
    assert list(tmp_path.iterdir()) == [source] and not told.rules
    report = run_import(source, target)
    assert told.changes == report.changes and report.rules
    *earlier, record = metadata_of(target)["transformations"]
    assert earlier == json.loads(str(sound["_metadata"]))["transformations"]
    assert (record["tool"], record["version"]) == ("import", "1.2.3")
    assert record["parameters"]["changes"] == [vars(change) for change in report.changes]
    listed = [(one.key, one.change) for one in report.changes if "by" not in one.change]
    assert listed == [
        ("diffraction", "renamed"),
        ("ground_truth_note", "dropped"),
        ("probeGuess", "axes dropped"),
        ("probeGuess", "cast"),
        ("diffraction", "reordered"),
        ("Y", "reordered"),
        ("xcoords", "flattened"),
        ("scan_index", "made"),
        ("diffraction", "zero frequency moved"),
        ("objectGuess", "padded"),
        ("objectGuess", "cast"),
        ("xcoords_start", "made"),
        ("ycoords_start", "made"),
        ("diffraction", "cast"),
        ("Y", "cast"),
    ]
    assert all(one.reason and one.before != one.after for one in report.changes)


def test_pickled_metadata_are_never_loaded_and_their_bytes_are_recorded(sound, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    trapped = {**legacy(sound, [], "missing"), "_metadata": np.array(Trap(), dtype=object)}
    source = save(tmp_path / "old.npz", trapped)
    report = run_import(source, tmp_path / "new.npz")
    assert not (tmp_path / "executed").exists()
    with zipfile.ZipFile(source) as archive:
        digest = hashlib.sha256(archive.read("_metadata.npy")).hexdigest()
    (dropped,) = [change for change in report.changes if change.key == "_metadata"]
    assert "pickled" in dropped.before and digest in dropped.before


@pytest.mark.parametrize("depth", [0, 65, 100_000])
def test_other_metadata_text_is_kept_word_by_word(sound, tmp_path, depth):
    text = '{"nphotons": 1e9, "wavelength": NaN}'
    if depth:
        text = f'{str(sound["_metadata"])[:-1]}, "more": {"[" * depth}{"]" * depth}}}'
    source = save(tmp_path / "old.npz", {**sound, "_metadata": np.array(text)})
    run_import(source, tmp_path / "new.npz")
    assert import_record(tmp_path / "new.npz")["parameters"]["source_metadata"] == text


def test_metadata_whose_scale_gives_no_counts_are_mended(sound, tmp_path):
    metadata = json.loads(str(sound["_metadata"]))
    expected = metadata["physics"]["intensity_scale"]
    metadata["physics"]["intensity_scale"] *= 1.001
    source = save(tmp_path / "old.npz", {**sound, "_metadata": np.array(json.dumps(metadata))})
    run_import(source, tmp_path / "new.npz")
    mended = metadata_of(tmp_path / "new.npz")["physics"]["intensity_scale"]
    assert mended == pytest.approx(expected, rel=1e-6)


def test_same_file_same_answers_same_data_whatever_the_container(sound, tmp_path):
    contents = []
    for container in CONTAINERS:
        source = save(tmp_path / container, legacy(sound, FORMS, "missing"), container)
        run_import(source, tmp_path / "new.npz")
        contents.append(read_npz(tmp_path / "new.npz"))
        run_import(source, tmp_path / "again.npz")
        assert data_version(tmp_path / "again.npz") == data_version(tmp_path / "new.npz")
    for other in contents[1:]:
        for key in set(contents[0]) - {"_metadata"}:
            np.testing.assert_array_equal(other[key], contents[0][key])


def test_a_views_groups_are_kept(sound, tmp_path):
    groups = {
        "centre_index": np.array([3, 8], np.int32),
        "full_groups": np.array([[3, 4, 5], [8, 1, 2]], np.float64),
        "training_groups": np.array([[3, 4], [8, 2], [8, 1]], np.int64),
    }
    source = save(tmp_path / "old.npz", legacy(sound, ["frames last"], "kept") | groups)
    run_import(source, tmp_path / "new.npz")
    new = read_npz(tmp_path / "new.npz")
    for key, expected in groups.items():
        assert new[key].dtype == np.int64
        np.testing.assert_array_equal(new[key], expected)


def test_attributes_of_an_hdf5_file_are_named(sound, tmp_path):
    source = save(tmp_path / "old.h5", legacy(sound, [], "kept"), "h5")
    with h5py.File(source, "a") as file:
        file.attrs["beamline"] = "x"
        file["xcoords"].attrs["units"] = "px"
    (dropped,) = [one for one in run_import(source, None).changes if "attributes" in one.change]
    assert dropped.before == ["@beamline", "xcoords@units"]


def _residuals(arrays: Arrays) -> list[float]:
    """Sum abs(model - measured) / measured, as stored and with x and y swapped."""
    positions = np.stack([arrays["ycoords"], arrays["xcoords"]], axis=1)
    side, canvas = len(arrays["probeGuess"]), arrays["objectGuess"]
    inside = (positions <= min(canvas.shape) - side / 2).all(axis=1)
    measured, residuals = arrays["diffraction"][inside], []
    for places in (positions[inside], positions[inside][:, ::-1]):
        patches = extract_patches(canvas, places, side, padding_px=4)
        off = np.abs(far_field(patches, arrays["probeGuess"]) - measured)
        residuals.append(float(off.sum() / measured.sum()))
    return residuals


@pytest.mark.parametrize(
    "path",
    [MEASURED, pytest.param(WHOLE_SCAN, marks=pytest.mark.long)],
    ids=["64 frames", "whole scan"],
)
def test_the_measured_scan_imports_without_an_answer(path, tmp_path):
    if not path.exists():
        pytest.skip("the whole measured scan is not beside this checkout")
    report = run_import(path, tmp_path / "new.npz")
    old, new = np.load(path, allow_pickle=False), read_npz(tmp_path / "new.npz")
    height, width = old["objectGuess"].shape
    assert new["objectGuess"].shape == (height + height % 2, width + width % 2)
    np.testing.assert_array_equal(new["objectGuess"][:height, :width], old["objectGuess"])
    np.testing.assert_array_equal(new["objectGuess"][:, -1], old["objectGuess"][:, -1])
    counts = np.square(old["diffraction"].astype(np.float64))
    np.testing.assert_allclose(counts_of(new), counts, rtol=1e-6)
    physics = metadata_of(tmp_path / "new.npz")["physics"]
    assert (physics["nphotons"], physics["seed"], physics["N"]) == (None, None, 128)
    power = np.square(np.abs(new["probeGuess"].astype(np.complex128))).sum()
    assert power == pytest.approx(1, rel=1e-6)
    stored, swapped = _residuals(new)
    assert (stored, swapped) == pytest.approx((0.162, 0.34), abs=0.02)
    found = report.finding
    assert found.residual == pytest.approx(stored, abs=0.02)
    assert found.others["x and y exchanged"] == pytest.approx(swapped, abs=0.02)
    assert found.better is None and found.clear and min(found.others.values()) > 0.3
    # The forward model fits as well as it did in the units of the file.
    unscaled = _residuals({**dict(old), "objectGuess": new["objectGuess"]})
    assert unscaled == pytest.approx([stored, swapped], rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("last", [False, True], ids=["frames first", "frames last"])
def test_a_large_hdf5_file_is_read_in_parts(tmp_path, sound, last):
    source, repeats = tmp_path / "large.h5", 120
    few = len(sound["diffraction"])
    with h5py.File(source, "w") as file:
        for key in ("objectGuess", "probeGuess"):
            file[key] = sound[key]
        for key in ("xcoords", "ycoords"):
            file[key] = np.tile(sound[key], repeats)
        shape = (N, N, few * repeats) if last else (few * repeats, N, N)
        stack = file.create_dataset("diffraction", shape, np.float32)
        for start in range(0, few * repeats, few):
            if last:
                stack[..., start : start + few] = np.moveaxis(sound["diffraction"], 0, -1)
            else:
                stack[start : start + few] = sound["diffraction"]
        bytes_of_all = stack.nbytes
    tracemalloc.start()
    report = run_import(source, tmp_path / "new.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bytes_of_all > 70e6 and peak < 0.8 * bytes_of_all and report.n_frames == few * repeats
