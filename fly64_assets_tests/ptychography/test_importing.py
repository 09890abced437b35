"""Import: any combination of legacy forms comes back to the same data, and says what it did."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset import axis_residuals, check_data001, data_version
from fly64_assets.ptychography.data001.npz import read_npz
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
@example(forms=set(), metadata_form="kept", container="h5")
@example(forms=set(), metadata_form="bytes", container="npz")
@settings(max_examples=40, deadline=None)
def test_any_combination_of_legacy_forms_imports_back(
    tmp_path_factory, sound, forms, metadata_form, container
):
    folder = tmp_path_factory.mktemp("forms")
    source = save(folder / "scan.data", legacy(sound, forms, metadata_form), container)
    before = source.read_bytes()
    if not forms and metadata_form == "kept" and container != "h5":
        with pytest.raises(InputError, match="DATA-001 already"):
            run_import(source, folder / "imported.npz")
        return
    run_import(source, folder / "imported.npz")
    found = read_npz(folder / "imported.npz")
    assert all(row.ok for row in check_data001(folder / "imported.npz"))
    assert source.read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"scan.data", "imported.npz"}
    assert set(found) == set(sound)
    for key in UNTOUCHED:
        assert found[key].dtype == sound[key].dtype
        np.testing.assert_array_equal(found[key], sound[key], key)
    index = sound["scan_index"]
    if "without index" in forms:
        index = np.arange(len(index))
    np.testing.assert_array_equal(found["scan_index"], index)
    # Counts are the physics: they survive whatever the amplitudes were divided by.
    np.testing.assert_array_equal(np.rint(counts_of(found)), np.rint(counts_of(sound)))
    described = metadata_form in ("kept", "bytes")
    unnormalised = bool({"counts", "counts and probe"} & forms)
    if not unnormalised:
        np.testing.assert_array_equal(found["diffraction"], sound["diffraction"])
        np.testing.assert_array_equal(found["probeGuess"], sound["probeGuess"])
    else:
        # Without metadata and with a probe in other units, only the power says what was divided.
        tolerance = 1e-6 if described or "counts and probe" in forms else 0.01
        for key in ("diffraction", "probeGuess"):
            np.testing.assert_allclose(found[key], sound[key], rtol=tolerance, atol=1e-9)
    metadata = json.loads(str(found["_metadata"]))
    tools = [record["tool"] for record in metadata["transformations"]]
    assert tools == (["simulate", "import"] if described else ["import"])
    assert metadata["physics"]["nphotons"] == (2000 if described else None)
    assert metadata["physics"]["seed"] == (42 if described else None)
    inputs = metadata["transformations"][-1]["inputs"]
    assert inputs == {"scan.data": hashlib.sha256(before).hexdigest()}


def test_earlier_records_are_kept_and_every_change_is_in_the_new_one(sound, tmp_path):
    source = save(tmp_path / "old.npz", legacy(sound, FORMS, "kept"))
    report = run_import(source, tmp_path / "new.npz")
    old, new = (
        json.loads(str(stored["_metadata"]))["transformations"]
        for stored in (sound, read_npz(tmp_path / "new.npz"))
    )
    assert new[:-1] == old
    record = new[-1]
    assert (record["tool"], record["version"]) == ("import", "1.2.3")
    listed = [(change["key"], change["change"]) for change in record["parameters"]["changes"]]
    assert listed == [(change.key, change.change) for change in report.changes]
    assert [change for change in listed if "by" not in change[1]] == [
        ("diffraction", "renamed"),
        ("ground_truth_note", "dropped"),
        ("probeGuess", "axes dropped"),
        ("probeGuess", "cast"),
        ("diffraction", "reordered"),
        ("Y", "reordered"),
        ("xcoords", "flattened"),
        ("xcoords", "cast"),
        ("scan_index", "made"),
        ("diffraction", "zero frequency moved"),
        ("objectGuess", "padded"),
        ("objectGuess", "cast"),
        ("xcoords_start", "made"),
        ("ycoords_start", "made"),
        ("diffraction", "cast"),
        ("Y", "cast"),
    ]
    for change in record["parameters"]["changes"]:
        assert set(change) == {"key", "change", "before", "after", "reason"}
        assert change["reason"] and change["before"] != change["after"]


def test_pickled_metadata_are_never_loaded_and_their_bytes_are_recorded(sound, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    spoilt = legacy(sound, ["extra key"], "pickled")
    spoilt["_metadata"] = np.array(Trap(), dtype=object)
    source = save(tmp_path / "old.npz", spoilt)
    run_import(source, tmp_path / "new.npz")
    assert not (tmp_path / "executed").exists()
    import zipfile

    with zipfile.ZipFile(source) as archive:
        digest = hashlib.sha256(archive.read("_metadata.npy")).hexdigest()
    changes = import_record(tmp_path / "new.npz")["parameters"]["changes"]
    (dropped,) = [change for change in changes if change["key"] == "_metadata"]
    assert "pickled" in dropped["before"] and digest in dropped["before"]


def test_foreign_metadata_text_is_kept_word_by_word(sound, tmp_path):
    source = save(tmp_path / "old.npz", legacy(sound, [], "foreign"))
    run_import(source, tmp_path / "new.npz")
    parameters = import_record(tmp_path / "new.npz")["parameters"]
    assert parameters["source_metadata"] == '{"nphotons": 1e9, "wavelength": NaN}'


def test_same_file_same_answers_same_data_whatever_the_container(sound, tmp_path):
    versions = set()
    for container in CONTAINERS:
        source = save(tmp_path / container, legacy(sound, FORMS, "missing"), container)
        run_import(source, tmp_path / "new.npz")
        found = read_npz(tmp_path / "new.npz")
        found.pop("_metadata")
        versions.add(hashlib.sha256(b"".join(found[key].tobytes() for key in sorted(found))))
        repeated = run_import(source, tmp_path / "again.npz")
        assert repeated.rules
        assert data_version(tmp_path / "again.npz") == data_version(tmp_path / "new.npz")
    assert len({version.hexdigest() for version in versions}) == 1


def test_a_views_groups_are_kept(sound, tmp_path):
    spoilt = legacy(sound, ["frames last", "counts"], "kept")
    groups = {
        "centre_index": np.array([3, 8], np.int32),
        "full_groups": np.array([[3, 4, 5], [8, 1, 2]], np.float64),
        "training_groups": np.array([[3, 4], [8, 2], [8, 1]], np.int64),
    }
    run_import(save(tmp_path / "old.npz", spoilt | groups), tmp_path / "new.npz")
    new = read_npz(tmp_path / "new.npz")
    for key, expected in groups.items():
        assert new[key].dtype == np.int64
        np.testing.assert_array_equal(new[key], expected)


def test_attributes_of_an_hdf5_file_are_named(sound, tmp_path):
    import h5py

    source = save(tmp_path / "old.h5", legacy(sound, [], "kept"), "h5")
    with h5py.File(source, "a") as file:
        file.attrs["beamline"] = "x"
        file["xcoords"].attrs["units"] = "px"
    run_import(source, tmp_path / "new.npz")
    changes = import_record(tmp_path / "new.npz")["parameters"]["changes"]
    (dropped,) = [change for change in changes if change["change"] == "attributes dropped"]
    assert dropped["before"] == ["@beamline", "xcoords@units"]


def test_a_dry_run_tells_the_same_and_writes_nothing(sound, tmp_path):
    source = save(tmp_path / "old.npz", legacy(sound, FORMS, "missing"))
    told = run_import(source, None)
    assert list(tmp_path.iterdir()) == [source]
    done = run_import(source, tmp_path / "new.npz")
    assert told.changes == done.changes and not told.rules and done.rules


@pytest.mark.long
@pytest.mark.parametrize("path", [MEASURED, WHOLE_SCAN], ids=["64 frames", "whole scan"])
def test_the_measured_scan_imports_without_an_answer(path, tmp_path):
    if not path.exists():
        pytest.skip("the whole measured scan is not beside this checkout")
    report = run_import(path, tmp_path / "new.npz")
    old, new = np.load(path, allow_pickle=False), read_npz(tmp_path / "new.npz")
    assert all(row.ok for row in check_data001(tmp_path / "new.npz"))
    height, width = old["objectGuess"].shape
    assert new["objectGuess"].shape == (height + height % 2, width + width % 2)
    np.testing.assert_array_equal(new["objectGuess"][:height, :width], old["objectGuess"])
    np.testing.assert_array_equal(new["objectGuess"][:, -1], old["objectGuess"][:, -1])
    counts = np.square(old["diffraction"].astype(np.float64))
    np.testing.assert_allclose(counts_of(new), counts, rtol=1e-6)
    physics = json.loads(str(new["_metadata"]))["physics"]
    assert (physics["nphotons"], physics["seed"], physics["N"]) == (None, None, 128)
    power = np.square(np.abs(new["probeGuess"].astype(np.complex128))).sum()
    assert power == pytest.approx(1, rel=1e-6)
    stored, swapped = _residuals(new)
    assert stored == pytest.approx(0.162, abs=0.01)
    assert swapped == pytest.approx(0.34, abs=0.02)
    assert report.finding.residual == pytest.approx(stored, abs=0.02)
    assert report.finding.others["x and y exchanged"] == pytest.approx(swapped, abs=0.02)
    assert report.finding.better is None and report.finding.clear
    # The forward model fits as well as it did in the units of the file.
    assert _residuals({**dict(old), "objectGuess": new["objectGuess"]}) == pytest.approx(
        (stored, swapped), rel=1e-4
    )


def _residuals(arrays: Arrays) -> tuple[float, float]:
    positions = np.stack([arrays["ycoords"], arrays["xcoords"]], axis=1)
    return axis_residuals(
        arrays["diffraction"], positions, arrays["objectGuess"], arrays["probeGuess"], padding_px=4
    )


@pytest.mark.long
@pytest.mark.parametrize("last", [False, True], ids=["frames first", "frames last"])
def test_a_large_hdf5_file_is_read_in_parts(tmp_path, sound, last):
    import h5py

    source, repeats = tmp_path / "large.h5", 120
    count = repeats * len(sound["diffraction"])
    bytes_of_all = count * N * N * 4
    with h5py.File(source, "w") as file:
        for key in ("objectGuess", "probeGuess"):
            file[key] = sound[key]
        for key in ("xcoords", "ycoords"):
            file[key] = np.tile(sound[key], repeats)
        shape = (N, N, count) if last else (count, N, N)
        stack = file.create_dataset("diffraction", shape, np.float32)
        for start in range(0, count, len(sound["diffraction"])):
            stop = start + len(sound["diffraction"])
            if last:
                stack[..., start:stop] = np.moveaxis(sound["diffraction"], 0, -1)
            else:
                stack[start:stop] = sound["diffraction"]
    tracemalloc.start()
    run_import(source, tmp_path / "new.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bytes_of_all > 70e6 and peak < 0.8 * bytes_of_all
    assert len(read_npz(tmp_path / "new.npz", ["scan_index"])["scan_index"]) == count
