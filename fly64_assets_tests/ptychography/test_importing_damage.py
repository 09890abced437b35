"""Import: values that are no photons, and frames never written, are named and then left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.ptychography.foreign_files import (
    Arrays,
    N,
    asked,
    counts_of,
    import_record,
    legacy,
    metadata_of,
    refused,
    run_import,
    save,
    simulate,
)

GAP = (slice(None), slice(34, 36))


@pytest.fixture
def counted(bright) -> Arrays:
    """Intensities, whole counts, 16 bits."""
    bare = {key: array for key, array in legacy(bright, [], "missing").items() if key != "Y"}
    bare["diffraction"] = np.rint(counts_of(bright)).astype(np.uint16)
    return bare


def _require_filled(bright: Arrays, target: Path, masked: np.ndarray) -> None:
    """Counts are untouched where nothing is masked, and near the model's, whole, elsewhere."""
    exact, true = counts_of(read_npz(target)), np.rint(counts_of(bright))
    found = np.rint(exact)
    assert np.abs(exact - found).max() < 0.01
    np.testing.assert_array_equal(found[~masked], true[~masked])
    scatter = np.square(found[masked] - true[masked]).mean() / true[masked].mean()
    assert scatter < 1.5 and found[masked].max() > 30


MARKS = {
    "uint16": (np.uint16, 65535, "65535"),
    "minus one": (np.int32, -1, "-1"),
    "not finite": (np.float32, np.nan, "not finite"),
    "big endian": (np.dtype(">u4"), 2**32 - 2, "4294967295"),
}


@pytest.mark.parametrize("kind", MARKS)
def test_marks_of_a_detector_are_no_counts(bright, counted, tmp_path, kind):
    dtype, mark, named = MARKS[kind]
    patterns = counted["diffraction"].astype(dtype)
    patterns[GAP] = mark
    source = save(tmp_path / "old.npz", {**counted, "diffraction": patterns})
    options = asked(source, "no photons", named, "--mask found", "--mask none", values="intensity")
    assert options == "--values intensity --mask found"
    run_import(source, tmp_path / "new.npz", values="intensity", mask=("found",))
    masked = np.zeros(patterns.shape, bool)
    masked[GAP] = True
    _require_filled(bright, tmp_path / "new.npz", masked)
    record = import_record(tmp_path / "new.npz")["parameters"]
    (change,) = [one for one in record["changes"] if one["change"] == "masked values replaced"]
    assert change["before"].startswith(f"{masked.sum()} values") and "model" in change["after"]
    assert record["answers"]["mask"] == ["found"]


def test_square_roots_of_marks_do_not_set_the_scale(bright, counted, tmp_path):
    """As amplitude they were the largest: everything was divided by them."""
    patterns = np.rint(counts_of(bright))
    patterns[GAP] = 2**32 - 1
    spoilt = {**counted, "diffraction": np.sqrt(patterns).astype(np.float32)}
    source = save(tmp_path / "old.npz", spoilt)
    assert asked(source, "of 65535.99999") == "--mask found"
    run_import(source, tmp_path / "new.npz", mask=("found",))
    run_import(save(tmp_path / "good.npz", counted), tmp_path / "same.npz", values="intensity")
    scale, good = (
        metadata_of(tmp_path / f"{name}.npz")["physics"]["intensity_scale"]
        for name in ("new", "same")
    )
    assert scale == pytest.approx(good, rel=0.02)


def test_a_high_count_is_a_count(counted, tmp_path):
    """A number that marks elsewhere may be counted; who says none is believed."""
    patterns = counted["diffraction"].astype(np.uint32)
    patterns *= 60_000 // patterns.max()
    patterns.flat[np.argmax(patterns)] = 65535
    source = save(tmp_path / "old.npz", {**counted, "diffraction": patterns})
    run_import(source, None, values="intensity")
    refused(source, "every value may be a count: leave it out", values="intensity", mask=("found",))
    patterns[5, 3, 3] = 2**32 - 1
    source = save(tmp_path / "old.npz", {**counted, "diffraction": patterns})
    asked(source, "1 of 4294967295", values="intensity")
    stated = {"zero_frequency": "centre", "lag": 0}
    run_import(source, None, values="intensity", mask=("none",), **stated)
    refused(source, "beside other masks", values="intensity", mask=("none", "found"))


def test_dead_and_stuck_pixels(counted, tmp_path):
    sound = read_npz(simulate(tmp_path, dose=2_000_000))
    counted = {**counted, **{key: sound[key] for key in counted}}
    patterns = np.rint(counts_of(sound)).astype(np.uint32)
    counted["diffraction"] = patterns
    masked = np.zeros(patterns.shape, bool)
    bright = np.unravel_index(np.argmax(patterns.sum(axis=0, dtype=int)), (N, N))
    for pixel, value in ((bright, 0), ((31, 30), 77), ((10, 50), 5)):
        patterns[(slice(None), *pixel)] = value
        masked[(slice(None), *pixel)] = True
    source = save(tmp_path / "old.npz", {**counted, "diffraction": patterns})
    asked(source, "2 pixels that never change", "1 dark pixels between lit", values="intensity")
    run_import(source, tmp_path / "new.npz", values="intensity", mask=("found",))
    _require_filled(sound, tmp_path / "new.npz", masked)


@pytest.mark.parametrize("where", ["key", "file", "inverse"])
def test_a_mask_in_the_file_or_beside_it(bright, counted, tmp_path, where):
    bad = np.zeros((N, N), np.uint8)
    bad[34:36] = 4
    patterns = counted["diffraction"].copy()
    patterns[GAP] = 9  # nothing tells that these are no counts
    spoilt = {**counted, "diffraction": patterns}
    name = "mask"
    if where == "file":
        name = str(save(tmp_path / "bad.npz", {"mask": bad}))
    else:
        spoilt["mask"] = bad == 0 if where == "inverse" else bad
        name = "not:mask" if where == "inverse" else "mask"
    source = save(tmp_path / "old.npz", spoilt)
    if where != "file":
        options = asked(source, f"{name} marks bad pixels", "--mask none", values="intensity")
        assert options == f"--values intensity --mask {name}"
    if where == "inverse":
        problem = ("marks 97 % of the pixels", "say --mask not:mask")
        refused(source, *problem, values="intensity", mask=("mask",))
    run_import(source, tmp_path / "new.npz", values="intensity", mask=(name,))
    masked = np.zeros(patterns.shape, bool)
    masked[GAP] = True
    _require_filled(bright, tmp_path / "new.npz", masked)
    record = import_record(tmp_path / "new.npz")
    assert set(record["inputs"]) == ({"old.npz", "bad.npz"} if where == "file" else {"old.npz"})
    assert str(tmp_path) not in json.dumps(record)


def test_masks_that_are_none(counted, tmp_path):
    source = save(tmp_path / "old.npz", {**counted, "wide": np.ones((3, 3)), "odd": np.ones(4)})
    for name, problem in (("wide", "patterns are 64 x 64"), ("odd", "one mask"), ("no", "missing")):
        refused(source, problem, values="intensity", mask=(name,))


def test_frames_that_were_never_written(bright, counted, tmp_path):
    patterns = counted["diffraction"].astype(np.float32)
    patterns[5] = np.nan
    patterns[[7, 8]] = 0
    patterns[20] = patterns[19]
    source = save(tmp_path / "old.npz", {**counted, "diffraction": patterns})
    options = asked(
        source,
        "1 of 45 frames, the first 5, hold values that are not finite",
        "2 of 45 frames, the first 7, hold no light",
        "1 of 45 frames, the first 20, equal an earlier one",
        values="intensity",
    )
    assert options == "--values intensity --bad-frames drop"
    refused(source, "only drop", values="intensity", bad_frames="keep")
    run_import(source, tmp_path / "new.npz", values="intensity", bad_frames="drop")
    new = read_npz(tmp_path / "new.npz")
    kept = np.setdiff1d(np.arange(45), [5, 7, 8, 20])
    for key in ("xcoords", "ycoords", "scan_index"):
        np.testing.assert_array_equal(new[key], bright[key][kept])
    np.testing.assert_array_equal(np.rint(counts_of(new)), np.rint(counts_of(bright))[kept])
    changes = import_record(tmp_path / "new.npz")["parameters"]["changes"]
    (dropped,) = [one for one in changes if one["change"] == "frames dropped"]
    assert dropped["before"] == [5, 7, 8, 20]
    patterns[5] = patterns[6]
    source = save(tmp_path / "kept.npz", {**counted, "diffraction": patterns})
    report = run_import(source, None, values="intensity", bad_frames="keep")
    assert report.n_frames == 45


def test_faint_frames_may_be_dark(tmp_path):
    """At two photons a frame some hold none, and some equal another."""
    sound = read_npz(simulate(tmp_path, dose=2, positions=200))
    assert (sound["diffraction"].max(axis=(1, 2)) == 0).any()
    run_import(save(tmp_path / "old.npz", legacy(sound, ["diff3d"], "kept")), tmp_path / "new.npz")
