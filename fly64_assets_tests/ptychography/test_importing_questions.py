"""Import: a foreign file raises its question, and the command that answers it gives the right data.

One table of files: how each is spoilt, what is asked, what is suggested, what is said.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fly64_assets.cli.data_commands import import_
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.importing.questions import QUESTIONS, Answers, option
from fly64_assets_tests.ptychography.foreign_files import (
    CANVAS,
    MEASURED,
    ROOT,
    Arrays,
    N,
    asked,
    counts_of,
    import_record,
    legacy,
    metadata_of,
    refused,
    require_same_data,
    run_import,
    save,
    simulate,
    without_none,
)


class Case(NamedTuple):
    """One foreign file: arrays that differ from a good one's (``None``: left out), and a dialogue.

    ``said`` is what is suggested where that is right.
    """

    spoil: Callable[[Arrays], dict[str, Any]]
    words: str | tuple[str, ...]
    suggested: str
    said: str = ""
    kept: slice = slice(None)


def _pairs(arrays: Arrays, name: str = "positions", **columns: np.ndarray) -> dict[str, Any]:
    gone = dict.fromkeys(("xcoords", "ycoords", "xcoords_start", "ycoords_start"))
    return {**gone, name: np.stack(list(columns.values()), axis=1)}


def _moved(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {"xcoords": x, "ycoords": y, "xcoords_start": x, "ycoords_start": y}


def _with(array: np.ndarray, where: Any, value: float) -> np.ndarray:
    changed = array.copy()
    changed[where] = value
    return changed


def _scaled_metadata(a: Arrays) -> dict[str, np.ndarray]:
    """Counts whose metadata state another scale that gives whole counts as well."""
    metadata = json.loads(str(a["_metadata"]))
    counts = a["diffraction"] * metadata["physics"]["intensity_scale"]
    metadata["physics"]["intensity_scale"] = 2.0
    return {"diffraction": counts, "_metadata": np.array(json.dumps(metadata))}


def _rolled(a: Arrays, by: int) -> dict[str, np.ndarray]:
    return _moved(np.roll(a["xcoords"], by), np.roll(a["ycoords"], by))


def _from_centre(a: Arrays, key: str) -> np.ndarray:
    return a[key] - CANVAS["yx".index(key[0])] // 2


def _in_range(x: np.ndarray) -> np.ndarray:
    """Mirrored about the middle of the scan."""
    return x.min() + x.max() - x


STATED_ONE = "--intensity-scale 1"
GAINS = np.random.default_rng([7]).uniform(0.9, 1.1, (N, N)).astype(np.float32)
WRONG = {
    "y inverted": Case(
        lambda a: _moved(a["xcoords"], a["objectGuess"].shape[0] - a["ycoords"]),
        "positions mirrored in y?",
        "--flip y",
    ),
    "x inverted in its range": Case(
        lambda a: _moved(_in_range(a["xcoords"]), a["ycoords"]),
        "mirrored in x about the middle of the scan",
        "--flip x --flip-about scan",
    ),
    "patterns transposed": Case(
        lambda a: {"diffraction": a["diffraction"].swapaxes(1, 2)},
        "patterns turned (t)",
        "--flip-frames t",
    ),
    "object conjugated": Case(
        lambda a: {"objectGuess": a["objectGuess"].conj()},
        "the object conjugated",
        "--conjugate object",
    ),
    "one frame late": Case(
        lambda a: _rolled(a, 1), "positions 1 frame later", "--lag 1", kept=slice(None, -1)
    ),
    "two frames early": Case(
        lambda a: _rolled(a, -2), "positions 2 frames earlier", "--lag -2", kept=slice(2, None)
    ),
}
CASES = {
    **WRONG,
    "exchanged and inverted, off the canvas": Case(
        lambda a: _moved(a["ycoords"], _in_range(a["xcoords"])),
        "leave the 118 x 126 canvas",
        "--axes yx --flip x --flip-about scan",
    ),
    "whole numbers": Case(
        lambda a: {"diffraction": np.rint(counts_of(a)).astype(np.uint16)},
        "holds whole numbers up to",
        "--values intensity",
    ),
    "evenly spaced": Case(
        lambda a: {"diffraction": np.square(a["diffraction"])},
        "holds multiples of",
        "--values intensity",
    ),
    "metres": Case(
        lambda a: _moved(*(_from_centre(a, key) * 2.5e-8 for key in ("xcoords", "ycoords"))),
        "metres, not px?",
        "--pixel-size L",
        "--pixel-size 2.5e-8 --origin centre",
    ),
    "unnamed pairs about the centre": Case(
        lambda a: _pairs(a, y=_from_centre(a, "ycoords"), x=_from_centre(a, "xcoords")),
        "counted from the canvas' centre?",
        "--origin centre --axes yx",
        "--origin centre",
    ),
    "probe modes": Case(
        lambda a: {"probeGuess": np.stack([0.2 * a["probeGuess"][::-1], a["probeGuess"]])[None]},
        "holds 2 modes, DATA-001 has one: which? mode 1 has 96 % of the power",
        "--probe-mode strongest",
        "--probe-mode 1",
    ),
    "start positions": Case(
        lambda a: {"xcoords_start": a["xcoords"] + np.linspace(-0.5, 0.5, len(a["xcoords"]))},
        "differs from xcoords by up to 0.5 px: simulated position errors?",
        "--start drop",
    ),
    "two arrays": Case(
        lambda a: {"diff3d": 0 * a["diffraction"]},
        "the file holds diffraction and diff3d: which one?",
        "--key diffraction=diffraction",
    ),
    "another name": Case(
        lambda a: {"diffraction": None, "a b;rm": a["diffraction"]},
        "missing: which array is it?",
        "--key 'diffraction=a b;rm'",
    ),
    "a frame that is not finite": Case(
        lambda a: {"diffraction": _with(a["diffraction"], (0, 4, 5), np.nan)},
        "1 of 45 frames, the first 0, hold values that are not finite",
        "--bad-frames drop",
        kept=slice(1, None),
    ),
    "a position that is not finite": Case(
        lambda a: {"ycoords": _with(a["ycoords"], 0, np.nan), "ycoords_start": None},
        "leave these out with their positions?",
        "--bad-frames drop",
        kept=slice(1, None),
    ),
    "object and probe conjugated: no data can tell that from turned patterns": Case(
        lambda a: {key: a[key].conj() for key in ("objectGuess", "probeGuess")},
        "(or object and probe both conjugated)",
        "--flip-frames xy0",
        "--conjugate both",
    ),
    "metadata and values give counts": Case(
        _scaled_metadata, "which one? say --intensity-scale", "--intensity-scale S", STATED_ONE
    ),
    "no counts at all": Case(
        lambda a: {"diffraction": a["diffraction"] * GAINS},
        ("neither the values nor their squares", "how many counts are these amplitudes?"),
        "--values amplitude --intensity-scale S",
        "--values amplitude --intensity-scale 40",
    ),
}


def _cli(source: Path, target: Path, said: str = "") -> Result:
    return CliRunner().invoke(import_, [str(source), "--to", str(target), *shlex.split(said)])


def _held(case: Case, sound: Arrays, folder: Path) -> None:
    """What is asked, what is suggested, and the data that the answer gives."""
    good = legacy(sound, [], "missing") if "_metadata" in sound else sound
    file = without_none({**good, **case.spoil(sound), "Y": None})
    source, target = save(folder / "old.npz", file), folder / "new.npz"
    told = _cli(source, target)
    assert told.exit_code == 2 and told.stdout == "" and list(folder.iterdir()) == [source]
    *questions, suggested = told.stderr.splitlines()
    words = (case.words,) if isinstance(case.words, str) else case.words
    assert all(part in one for part, one in zip(words, questions, strict=True)), questions
    assert suggested == f"suggested: fly64 import {source} --to {target} {case.suggested}"
    done = _cli(source, target, case.said or case.suggested)
    assert done.exit_code == 0, done.stderr
    if case.said == "--conjugate both":
        sound = {**sound, **case.spoil(sound)}
        sound |= {key: sound[key].conj() for key in ("objectGuess", "probeGuess")}
    if "40" not in case.said:
        require_same_data(read_npz(target), sound, case.kept)
    else:
        assert metadata_of(target)["physics"]["intensity_scale"] == 40
        np.testing.assert_array_equal(read_npz(target)["diffraction"], file["diffraction"])


@pytest.mark.parametrize("name", CASES)
def test_a_question_and_its_answer(sound, tmp_path, name):
    _held(CASES[name], sound, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", ["y inverted", "patterns transposed", "one frame late"])
def test_a_wrong_measured_scan_is_asked_about(tmp_path, name):
    measured = read_npz(MEASURED)
    _held(WRONG[name], {key: measured[key] for key in measured if key != "frame_index"}, tmp_path)


def test_as_many_frames_as_pixels(bare, tmp_path):
    chosen = np.resize(np.arange(45), N)
    file = {key: one[chosen] if len(one) == 45 else one for key, one in bare.items() if key != "Y"}
    stack = file["diffraction"]
    file["diffraction"] = np.moveaxis(stack, 0, -1)
    source = save(tmp_path / "old.npz", file)
    asked(source, "which axis counts the frames")
    run_import(source, tmp_path / "new.npz", frames="last")
    np.testing.assert_array_equal(read_npz(tmp_path / "new.npz")["diffraction"], stack)


@pytest.mark.parametrize("place", ["centre", "corner"])
def test_a_zero_frequency_that_the_probe_does_not_tell(bare, tmp_path, place):
    bare["probeGuess"] = np.zeros((N, N), np.complex64)
    bare["probeGuess"][N // 2, N // 2] = 1  # its pattern is flat
    patterns = bare["diffraction"]
    if place == "corner":
        bare["diffraction"] = np.fft.ifftshift(patterns, axes=(1, 2))
    source = save(tmp_path / "old.npz", bare)
    asked(source, "where is the zero frequency", axes="xy")
    run_import(source, tmp_path / "new.npz", zero_frequency=place, axes="xy")
    np.testing.assert_array_equal(read_npz(tmp_path / "new.npz")["diffraction"], patterns)


def test_unnamed_pairs_of_an_empty_canvas(bare, tmp_path):
    """With the object the order is found; without it, it is asked for."""
    pairs = _pairs(bare, y=bare["ycoords"], x=bare["xcoords"])
    source = save(tmp_path / "old.npz", without_none({**bare, **pairs, "Y": None}))
    run_import(source, tmp_path / "found.npz")
    require_same_data(read_npz(tmp_path / "found.npz"), bare)
    asked(source, "which column is x?", object="ones")
    run_import(source, tmp_path / "new.npz", object="ones", axes="yx")
    new = read_npz(tmp_path / "new.npz")
    np.testing.assert_array_equal(new["xcoords"], bare["xcoords"])
    highest = np.array([bare["ycoords"].max(), bare["xcoords"].max()]) + N / 2
    assert (new["objectGuess"] == 1).all() and (new["objectGuess"].shape >= highest).all()
    assert (new["objectGuess"].shape < highest + 2).all()


@pytest.mark.parametrize(("key", "name"), [("probeGuess", "probe"), ("objectGuess", "object")])
def test_missing_probe_or_object(bare, sound, tmp_path, key, name):
    other = str(save(tmp_path / "other.npz", {key: bare.pop(key)}))
    source = save(tmp_path / "old.npz", bare)
    asked(source, key, "missing", f"--{name} FILE", f"--key {key}=NAME")
    refused(source, f"was stated, but --{name} other.npz says", **{name: other}, keys={key: key})
    run_import(source, tmp_path / "new.npz", **{name: other})
    require_same_data(read_npz(tmp_path / "new.npz"), sound)
    record = import_record(tmp_path / "new.npz")
    assert set(record["inputs"]) == {"old.npz", "other.npz"}
    assert record["parameters"]["answers"] == {name: "other.npz"}
    assert str(tmp_path) not in json.dumps(record)


def test_position_errors_are_kept(bare, tmp_path):
    bare["xcoords_start"] = bare["xcoords"] + np.linspace(-0.5, 0.5, len(bare["xcoords"]))
    run_import(save(tmp_path / "old.npz", bare), tmp_path / "new.npz", start="keep")
    new = read_npz(tmp_path / "new.npz")
    np.testing.assert_array_equal(new["xcoords_start"], bare["xcoords_start"])
    errors = import_record(tmp_path / "new.npz")["parameters"]["position_errors_px"]
    assert errors == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answers", "parts"),
    [
        ({"probe_mode": 0}, ("--probe-mode: 0 was stated", "one mode")),
        ({"bad_frames": "drop"}, ("--bad-frames: drop was stated", "every frame is finite")),
        ({"mask": ("found",)}, ("--mask: found was stated", "every value may be a count")),
        ({"flip_about": "scan"}, ("--flip-about: scan was stated", "nothing is mirrored")),
        ({"start": "keep"}, ("--start: keep was stated", "no start positions that differ")),
        (
            {"keys": {"xcoords": "xcoords", "positions": "pairs"}},
            ("--key: xcoords=xcoords was stated", "--key positions=pairs"),
        ),
    ],
)
def test_an_answer_to_a_question_that_nobody_asked(bare, tmp_path, answers, parts):
    bare["pairs"] = np.stack([bare["xcoords"], bare["ycoords"]], axis=1)
    refused(save(tmp_path / "old.npz", bare), *parts, "leave", **answers)


def test_an_answer_that_only_confirms_is_taken(bare, tmp_path):
    stated = {"values": "amplitude", "frames": "first", "zero_frequency": "centre", "axes": "xy"}
    stated |= {"origin": "corner", "keys": {"diffraction": "diffraction"}}
    run_import(save(tmp_path / "old.npz", bare), None, **stated)


def test_a_shuffled_scan_is_taken_only_if_it_is_insisted_on(bare, tmp_path):
    shuffled = np.random.default_rng(1).permutation(len(bare["xcoords"]))
    moved = _moved(bare["xcoords"][shuffled], bare["ycoords"][shuffled])
    source = save(tmp_path / "old.npz", without_none({**bare, **moved, "Y": None}))
    assert asked(source, "belong together, in this order", "none stands out") == "--lag 0"
    run_import(source, tmp_path / "new.npz", lag=0)
    np.testing.assert_array_equal(read_npz(tmp_path / "new.npz")["xcoords"], moved["xcoords"])


def test_positions_that_no_origin_brings_onto_the_canvas(bare, tmp_path):
    source = save(tmp_path / "old.npz", {**bare, **_moved(3 * bare["xcoords"], bare["ycoords"])})
    assert asked(source, "which unit, origin and axes? say --pixel-size") == "--origin ORIGIN"


def test_one_coordinate_alone(bare, tmp_path):
    del bare["ycoords"]
    asked(save(tmp_path / "old.npz", bare), "ycoords: missing: which array is it? say --key")


@pytest.mark.parametrize(("dose", "contrast"), [(100, 1.0), (1000, 0.3), (1e5, 0.02)])
def test_a_good_scan_is_taken_without_a_question(tmp_path, dose, contrast):
    sound = read_npz(simulate(tmp_path, dose=int(dose), contrast=contrast))
    report = run_import(save(tmp_path / "old.npz", legacy(sound, [], "missing")), None)
    assert report.finding.better is None and not report.finding.unrelated


def test_exchanged_axes_of_a_faint_object(tmp_path):
    """Where the residuals are equal, the likelihood of the counts still tells."""
    faint = read_npz(simulate(tmp_path, dose=1000, positions=300, contrast=0.1))
    highest = min(CANVAS) - N / 2
    inside = (faint["xcoords"] <= highest) & (faint["ycoords"] <= highest)
    file = {
        key: array[inside] if len(array) == len(inside) else array
        for key, array in legacy(faint, ["diff3d"], "missing").items()
    }
    report = run_import(save(tmp_path / "good.npz", file), None)
    assert report.finding.others["x and y exchanged"] > 0.98 * report.finding.residual
    exchanged = _moved(file["ycoords"], file["xcoords"])
    assert asked(save(tmp_path / "old.npz", {**file, **exchanged})) == "--axes yx"


def test_single_photons_are_believed_where_metadata_say_so(tmp_path):
    sound = read_npz(simulate(tmp_path, dose=1, positions=300))
    assert len(np.unique(sound["diffraction"])) == 2
    asked(save(tmp_path / "old.npz", legacy(sound, ["diff3d"], "missing")), "multiples of")
    run_import(save(tmp_path / "old.npz", legacy(sound, ["diff3d"], "kept")), tmp_path / "new.npz")
    require_same_data(read_npz(tmp_path / "new.npz"), sound)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("--object ones", "the data cannot tell orientation, order or lag"),
        ("--flip none", "what is stated is followed all the same"),
    ],
)
def test_the_last_lines_say_what_the_data_say(bare, tmp_path, said, told):
    spoilt = without_none({**bare, **WRONG["y inverted"].spoil(bare), "Y": None})
    done = _cli(save(tmp_path / "old.npz", spoilt), tmp_path / "new.npz", f"{said} --dry-run")
    assert done.exit_code == 0 and told in " ".join(done.output.split()), done.output


def test_every_question_at_once_and_one_command_that_answers_them(bright, tmp_path):
    """Names, kind of values, a gap, lost frames, order and origin: one run asks for all."""
    file = {key: bright[key] for key in ("objectGuess", "scan_index")}
    file["detector"] = np.rint(counts_of(bright)).astype(np.int32)
    file["detector"][:, 34:36] = -1
    file["detector"][0] = 0
    y, x = _from_centre(bright, "ycoords"), _from_centre(bright, "xcoords")
    file["stage"] = np.stack([y, -x], axis=0)
    file["probeGuess"] = np.stack([bright["probeGuess"], 0.2 * bright["probeGuess"][::-1]])
    source, target = save(tmp_path / "old scan.h5", file, "h5"), tmp_path / "new.npz"
    told = _cli(source, target)
    assert told.exit_code == 2 and told.stdout == "" and list(tmp_path.iterdir()) == [source]
    *questions, suggested = told.stderr.splitlines()
    wanted = ("mode", "detector", "stage", "photons", "no light", "amplitude or", "canvas' centre")
    assert all(part in question for part, question in zip(wanted, questions, strict=True))
    done = CliRunner().invoke(import_, shlex.split(suggested)[3:])
    assert done.exit_code == 0, done.stderr
    for key in ("xcoords", "ycoords"):
        np.testing.assert_allclose(read_npz(target)[key], bright[key][1:], atol=1e-9)


def test_the_document_names_every_option_and_what_may_be_answered():
    text = (ROOT / "docs" / "import.md").read_text()
    for name, row in QUESTIONS.items():
        assert f"`{option(name)}" in text, name
        choices = () if name == "flip_frames" else row.choices  # its rule is told instead
        assert all(choice in text for choice in choices), name
    assert set(QUESTIONS) == {one.name for one in fields(Answers)}
