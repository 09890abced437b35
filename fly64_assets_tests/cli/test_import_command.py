"""``fly64 import`` as a user types it, and pty-chi on what it made of a measured scan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.conftest import fly64
from fly64_assets_tests.ptychography.foreign_files import (
    MEASURED,
    WHOLE_SCAN,
    import_record,
    legacy,
    save,
    simulate,
)

RECONSTRUCT = Path(__file__).parents[1] / "solvers" / "imported_scan_checks.py"


def _import(*arguments: str | Path, results: Path) -> subprocess.CompletedProcess:
    return fly64("import", *arguments, results=results, timeout=120)


def _assert_refused(done: subprocess.CompletedProcess, *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    *lines, last = done.stderr.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert last.startswith("suggested: fly64 import " if lines else "error: ")
    for part in parts:
        assert part in done.stderr


@pytest.mark.long
def test_import_shows_rules_and_changes_and_what_it_made_passes(tmp_path):
    done = _import(MEASURED, "--to", tmp_path / "new.npz", results=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    for part in (
        "normalised amplitude",
        "64 frames of 128 x 128 px on a 254 x 256 canvas",
        "1. frame_index: dropped",
        "intensity_scale: set: None ->",
        "orientation: forward residual 0.158 as imported; the best of ",
        "of 34 others 0.337, x and y exchanged",
        "new.npz, DATA-001 holds",
    ):
        assert part in text, text
    checked = fly64("data001", tmp_path / "new.npz", results=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    record = import_record(tmp_path / "new.npz")
    assert record["tool"] == "import" and record["parameters"]["changes"]
    assert str(tmp_path) not in json.dumps(record)


def test_an_answer_is_taken_and_a_file_is_not_made_twice(tmp_path):
    sound = read_npz(simulate(tmp_path))
    bare = legacy(sound, [], "missing")
    scale = json.loads(str(sound["_metadata"]))["physics"]["intensity_scale"]
    bare["detector"] = np.rint((bare.pop("diffraction") * scale) ** 2).astype(np.uint16)
    source, target = save(tmp_path / "old.h5", bare, "h5"), tmp_path / "new.npz"
    said = ("--to", target, "--values", "intensity")
    _assert_refused(_import(source, *said, results=tmp_path), "--key diffraction=detector")
    done = _import(source, *said, "--key", "diffraction=detector", results=tmp_path)
    assert done.returncode == 0, done.stderr
    _assert_refused(_import(source, *said, results=tmp_path), "--force")
    _assert_refused(_import(target, "--to", tmp_path / "b.npz", results=tmp_path), "already")


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "--to OUT.npz"),
        (("--to", "out.npz", "--values", "field"), "amplitude"),
        (("--dry-run", "--key", "diffraction"), "KEY=NAME"),
        (("--dry-run", "--intensity-scale", "0"), "0"),
        (("--dry-run", "--intensity-scale", "nan"), "finite"),
        (("--dry-run", "--pixel-size", "inf"), "finite"),
    ],
)
def test_bad_usage(tmp_path, arguments, part):
    done = _import(MEASURED, *arguments, results=tmp_path)
    assert done.returncode == 2 and part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named_before_anything_else(tmp_path):
    done = _import(tmp_path / "nothere.npz", "--to", "bad.h5", results=tmp_path)
    _assert_refused(done, "nothere.npz: does not exist")


@pytest.mark.long
def test_data001_says_in_a_sentence_why_a_file_is_none(tmp_path):
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("text\n")
    for name, problem in (
        ("none.npz", "does not exist"),
        ("empty.npz", "file is empty (0 bytes)"),
        ("text.npz", "is not an NPZ (zip) archive"),
    ):
        done = fly64("data001", tmp_path / name, results=tmp_path)
        assert done.returncode == 2
        advice = "mend or choose the file; `fly64 import` converts foreign ones"
        if name == "none.npz":
            advice = "mend the path, or `specimen` where a study names it"
        assert done.stderr == f"error: {tmp_path / name}: {problem}; next: {advice}\n"


@pytest.mark.long
@pytest.mark.parametrize(("path", "epochs"), [(MEASURED, 6), (WHOLE_SCAN, 6)], ids=["part", "all"])
def test_ptychi_on_the_imported_scan_is_a_siemens_star(tmp_path, path, epochs):
    if not path.exists():
        pytest.skip("the whole measured scan is not beside this checkout")
    imported = tmp_path / "new.npz"
    done = _import(path, "--to", imported, results=tmp_path)
    assert done.returncode == 0, done.stderr
    solved = subprocess.run(
        [sys.executable, RECONSTRUCT, imported, str(epochs)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert solved.returncode == 0, solved.stderr
    found = json.loads(solved.stdout.splitlines()[-1])
    assert found["correlation"] > 0.9
    assert found["correlation_turned"] < 0.5
    assert found["last_loss"] < found["first_loss"]
    assert found["mean_amplitude"] == pytest.approx(1, abs=0.1)
