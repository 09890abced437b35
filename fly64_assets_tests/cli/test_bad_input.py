"""Bad input on the command line: one clear error with file, key and rule, exit code 2, no harm.

A user's own specimen and a DATA-001 file are what people bring; the study file and the command line
are what they type.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets_tests.conftest import PRODUCTS, TINY, fly64

MEASURED = Path(__file__).parents[1] / "data" / "siemens_star_measured_64frames.npz"


def _assert_refused(done, *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line, line
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def specimen():
    """Arrays of the shipped specimen, to be spoilt."""
    return read_npz(PROJECT_ROOT / "fly64_assets/study/specimens/labyrinth.npz")


@pytest.fixture
def run_with(tmp_path):
    """``fly64 run`` of a study on a specimen beside it; also what it left behind."""

    def run(content: dict[str, np.ndarray] | bytes):
        path = tmp_path / "mine.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_npz(path, content)
        study = tmp_path / "study.yaml"
        study.write_text(yaml.safe_dump({**TINY, "specimen": "mine.npz"}), "utf-8")
        arguments = ("run", "--study", study, "--dose", "1000", "--view", "dense")
        done = fly64(*arguments, results=tmp_path / "results")
        assert not list(tmp_path.glob("results/tiny/store/**/*.npz")), "something was written"
        return done

    return run


def _spoil(arrays, key, change):
    return {**arrays, key: change(arrays[key])}


def _with_nan(array):
    spoilt = array.copy()
    spoilt[3, 3] = np.nan
    return spoilt


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "change", "rule"),
    [
        ("objectGuess", lambda a: a[:, :-1], "even"),
        ("objectGuess", lambda a: a[:60, :60], "64"),
        ("objectGuess", lambda a: a.real.copy(), "complex64"),
        ("objectGuess", lambda a: a.astype(np.complex128), "complex64"),
        ("objectGuess", _with_nan, "finite"),
        ("objectGuess", lambda a: a[None], "dimension"),
        ("probeGuess", lambda a: a[:32, :32], "64"),
        ("probeGuess", np.zeros_like, "zero"),
        ("probeGuess", _with_nan, "finite"),
    ],
)
def test_a_spoilt_specimen_is_refused_before_anything_runs(run_with, specimen, key, change, rule):
    done = run_with(_spoil(specimen, key, change))
    _assert_refused(done, "mine.npz", key, rule)


def test_a_specimen_without_a_probe_is_refused(run_with, specimen):
    done = run_with({"objectGuess": specimen["objectGuess"]})
    _assert_refused(done, "mine.npz", "probeGuess", "missing")


@pytest.mark.long
def test_truncated_empty_and_foreign_files_are_refused(run_with, specimen, tmp_path):
    write_npz(tmp_path / "whole.npz", specimen)
    whole = (tmp_path / "whole.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not an archive at all"):
        _assert_refused(run_with(content), "mine.npz")


def test_a_pickled_array_is_refused_unread(run_with, specimen, tmp_path):
    """Unpickling would create the file; refusing must not."""
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header = header.ljust(127) + b"\n"
    archive = tmp_path / "pickled.npz"
    write_npz(archive, {"objectGuess": specimen["objectGuess"]})
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("probeGuess.npy", header + pickle.dumps(Trap()))
    done = run_with(archive.read_bytes())
    _assert_refused(done, "mine.npz", "probeGuess", "pickle")
    assert not trap.exists()


@pytest.mark.long
def test_a_users_own_good_specimen_is_planned(specimen, tmp_path):
    """What the refusals above must not refuse: another even canvas, not square."""
    own = _spoil(specimen, "objectGuess", lambda a: np.ascontiguousarray(a[:200, 10:230]))
    write_npz(tmp_path / "mine.npz", own)
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "specimen": "mine.npz"}), "utf-8")
    done = fly64("plan", "--study", study, results=tmp_path / "results")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(PRODUCTS)} to make, unknown time" in done.stdout
    assert not (tmp_path / "results").exists(), "plan touches nothing"


def test_a_missing_specimen_is_refused(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "specimen": "nowhere.npz"}), "utf-8")
    done = fly64("plan", "--study", study, results=tmp_path / "results")
    _assert_refused(done, "nowhere.npz")


@pytest.fixture
def dataset(finished):
    """Arrays of a real DATA-001 file, to be spoilt."""
    return read_npz(finished.results / "tiny/store/data/phase_c/dose_1000/patched_train.npz")


def _set(index, value):
    def change(array):
        spoilt = array.copy()
        spoilt[index] = value
        return spoilt

    return change


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "change", "rule"),
    [
        ("diffraction", lambda a: a.astype(np.uint16), "dtype is uint16"),
        ("diffraction", lambda a: a.astype(np.float64), "dtype is float64"),
        ("diffraction", lambda a: (a * 31.6) ** 2, "amplitude"),
        ("diffraction", lambda a: np.ascontiguousarray(np.moveaxis(a, 0, -1)), "frames first"),
        ("diffraction", _set((0, 0, 0), np.nan), "finite"),
        ("diffraction", _set((0, 0, 0), -1), ">= 0"),
        ("xcoords", _set(0, 500.0), "inside"),
        ("ycoords", _set(0, 3.0), "inside"),
        ("probeGuess", lambda a: a[:32, :32], "N = 32 as in probeGuess"),
        ("objectGuess", lambda a: a[:, :-1], "even"),
        ("scan_index", lambda a: a.astype(np.int32), "int64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_breaks_data001_is_refused_by_key_and_rule(
    dataset, tmp_path, key, change, rule
):
    path = tmp_path / "spoilt.npz"
    write_npz(path, _spoil(dataset, key, change))
    before = path.read_bytes()
    _assert_refused(fly64("data001", path, results=tmp_path), "spoilt.npz", key, rule)
    assert path.read_bytes() == before


@pytest.mark.long
def test_a_missing_key_and_a_legacy_file_are_refused(dataset, tmp_path):
    path = tmp_path / "spoilt.npz"
    del dataset["scan_index"]
    write_npz(path, dataset)
    done = fly64("data001", path, results=tmp_path)
    _assert_refused(done, "spoilt.npz", "scan_index", "missing")
    done = fly64("data001", MEASURED, results=tmp_path)
    _assert_refused(done, MEASURED.name)


def test_a_good_file_is_accepted(finished, tmp_path):
    path = finished.results / "tiny/store/data/phase_d/dose_1000/dense/test.npz"
    done = fly64("data001", path, results=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--dose", "1,000"), ("--dose", "'1,000' is read as a list; write --dose 1000")),
        (("--dose", "3000"), ("--dose", "'3000' is none of the study's doses: 1000")),
        (("--dose", "1e3"), ("--dose", "'1e3'")),
        (("--dose", "1000", "--view", "middling"), ("--view", "'middling'", "dense")),
        (("--dose", ","), ("--dose", "names nothing")),
    ],
)
def test_unknown_doses_and_views_are_refused(write_study, tmp_path, arguments, parts):
    done = fly64("run", "--study", write_study(), *arguments, results=tmp_path / "results")
    _assert_refused(done, *parts)
    assert not (tmp_path / "results").exists()


def test_a_typo_in_the_study_file_is_refused(write_study, tmp_path):
    study = write_study(ovrelap={"n_groups": 3})
    done = fly64("plan", "--study", study, results=tmp_path / "results")
    _assert_refused(done, "study.yaml", "ovrelap", "unknown key")


def test_an_infeasible_view_is_refused_with_its_numbers(write_study, tmp_path):
    study = write_study(simulation={"positions": 40})
    done = fly64("run", "--study", study, "--all", results=tmp_path / "results")
    _assert_refused(done, "study.yaml", "views.dense", "train")
    assert not (tmp_path / "results").exists()


def test_a_run_needs_to_be_told_what(write_study, tmp_path):
    done = fly64("run", "--study", write_study(), results=tmp_path / "results")
    assert done.returncode == 2 and "--all" in done.stderr


def test_an_unwritable_store_is_refused(write_study, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    done = fly64("run", "--study", write_study(), "--all", results=blocked)
    _assert_refused(done, "blocked", "is a file, no folder")
    assert blocked.read_text() == "a file where a folder should be"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_keeps_what_it_holds(finished, tmp_path):
    copy = finished.copy_to(tmp_path / "results")
    store = copy.results / "tiny" / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    store.chmod(0o500)
    try:
        arguments = ("run", "--study", copy.study_file, "--all", "--force")
        done = fly64(*arguments, results=copy.results)
    finally:
        store.chmod(0o700)
    _assert_refused(done, "cannot be written")
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_bad_input_leaves_earlier_results_intact(finished, tmp_path):
    copy = finished.copy_to(tmp_path / "results")
    store = copy.results / "tiny" / "store"
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "doses": [0]}), "utf-8")
    done = fly64("run", "--study", study, "--all", "--force", results=copy.results)
    _assert_refused(done, "doses.0", "greater than 0")
    after = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    assert after == before
