"""Import: positions come back whatever they were turned into, and a wrong scan is not taken."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fly64_assets.cli.data_commands import import_
from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.importing.change_log import OpenQuestions
from fly64_assets.ptychography.importing.frames import turned
from fly64_assets.ptychography.importing.orientation import mean_root
from fly64_assets.ptychography.importing.positions import Way
from fly64_assets.ptychography.importing.questions import PATTERN_TURNS
from fly64_assets_tests.ptychography.foreign_files import (
    CANVAS,
    MEASURED,
    Arrays,
    import_record,
    legacy,
    run_import,
    save,
    simulate,
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Arrays:
    """Without metadata and true patches, on a canvas that is not square."""
    sound = read_npz(simulate(tmp_path_factory.mktemp("sound")))
    return {key: array for key, array in legacy(sound, [], "missing").items() if key != "Y"}


def foreign(places: np.ndarray, way: Way, canvas: tuple[int, int]) -> np.ndarray:
    """Coordinates that ``way`` reads as these places, (n, 2) of y and x: the steps undone."""
    columns = {}
    for axis, name in enumerate("yx"):
        values, side = places[:, axis], canvas[axis]
        if name in way.flip:
            if way.about == "scan":
                values = values.min() + values.max() - values
            else:
                values = (side if way.origin == "corner" else 2 * (side // 2)) - values
        if way.origin == "centre":
            values = values - side // 2
        elif way.origin == "scan":
            values = values + 1234.5
        columns[name] = values * way.pixel_size
    return np.stack([columns[name] for name in way.axes], axis=1)


WAYS = st.builds(
    Way,
    axes=st.sampled_from(["xy", "yx"]),
    pixel_size=st.sampled_from([1.0, 2.5e-8, 0.012, 3.0]),
    origin=st.sampled_from(["corner", "centre", "scan"]),
    flip=st.sampled_from(["none", "x", "y", "xy"]),
    about=st.sampled_from(["canvas", "scan"]),
)


@given(
    way=WAYS,
    canvas=st.tuples(st.integers(66, 600), st.integers(66, 600)),
    places=hnp.arrays(np.float64, (7, 2), elements=st.floats(0, 600, width=32)),
)
@settings(max_examples=300, deadline=None)
def test_every_conversion_of_positions_is_undone_in_its_order(way, canvas, places):
    if way.origin == "scan":  # then the middle of the scan lies at the centre
        middle = (places.min(axis=0) + places.max(axis=0)) / 2
        places = places - middle + np.asarray(canvas) // 2
    read = way.place(foreign(places, way, canvas), canvas)
    np.testing.assert_allclose(read, places, atol=1e-4)


@pytest.mark.parametrize("first", ["xy", "yx"])
def test_an_origin_at_the_centre_belongs_to_x_and_y_not_to_columns(bare, tmp_path, first):
    """The order of an unnamed array is settled before the sides of the canvas are added."""
    places = np.stack([bare["ycoords"], bare["xcoords"]], axis=1)
    arrays = {key: array for key, array in bare.items() if "coords" not in key}
    arrays["positions"] = foreign(places, Way(axes=first, origin="centre"), CANVAS)
    run_import(save(tmp_path / "old.npz", arrays), tmp_path / "new.npz", origin="centre")
    new = read_npz(tmp_path / "new.npz")
    for key in ("xcoords", "ycoords"):
        np.testing.assert_allclose(new[key], bare[key], atol=1e-9)


def test_what_is_stated_is_followed_in_files(bare, tmp_path):
    places = np.stack([bare["ycoords"], bare["xcoords"]], axis=1)
    ways = itertools.product(["xy", "yx"], ["x", "y", "xy"], ["centre", "corner"])
    for axes, flip, origin in list(ways)[::2]:
        about = "scan" if (axes, flip) == ("xy", "y") else "canvas"
        way = Way(axes, 0.02, origin, flip, about)
        arrays = {key: array for key, array in bare.items() if "coords" not in key}
        arrays["pairs"] = foreign(places, way, CANVAS)
        run_import(
            save(tmp_path / "old.npz", arrays),
            tmp_path / "new.npz",
            keys={"positions": "pairs"},
            axes=axes,
            flip=flip,
            flip_about=about,
            origin=origin,
            pixel_size=0.02,
        )
        new = read_npz(tmp_path / "new.npz")
        np.testing.assert_allclose(new["xcoords"], bare["xcoords"], atol=1e-9)
        np.testing.assert_allclose(new["ycoords"], bare["ycoords"], atol=1e-9)
        changes = [
            one["change"] for one in import_record(tmp_path / "new.npz")["parameters"]["changes"]
        ]
        assert any(change.startswith("mirrored") for change in changes)


@pytest.mark.parametrize("turn", PATTERN_TURNS)
def test_a_turn_of_patterns_is_undone(turn):
    patterns = np.random.default_rng(3).normal(size=(2, 6, 6))
    np.testing.assert_array_equal(turned(turned(patterns, turn), turn, back=True), patterns)
    if turn.endswith("0"):
        centre = np.zeros((1, 6, 6))
        centre[0, 3, 3] = 1
        np.testing.assert_array_equal(turned(centre, turn), centre)


def test_the_mean_root_of_counts():
    counts = np.random.default_rng(5)
    for mean in (0.01, 0.7, 4.0, 35.0, 37.0, 900.0):
        drawn = np.sqrt(counts.poisson(mean, 200_000))
        assert mean_root(np.array([mean]))[0] == pytest.approx(drawn.mean(), abs=0.004)


def _spoilt(arrays: Arrays, kind: str) -> Arrays:
    x, y = arrays["xcoords"], arrays["ycoords"]
    height, width = arrays["objectGuess"].shape
    patterns, canvas = arrays["diffraction"], arrays["objectGuess"]
    changed = {
        "y inverted": {"ycoords": height - y},
        "x inverted in its range": {"xcoords": x.min() + x.max() - x},
        "turned by 180": {"xcoords": width - x, "ycoords": height - y},
        "exchanged and inverted": {"xcoords": y, "ycoords": x.min() + x.max() - x},
        "patterns upside down": {"diffraction": patterns[:, ::-1]},
        "patterns transposed": {"diffraction": patterns.swapaxes(1, 2)},
        "object conjugated": {"objectGuess": canvas.conj()},
        "both conjugated": {
            "objectGuess": canvas.conj(),
            "probeGuess": arrays["probeGuess"].conj(),
        },
        "one frame late": {"xcoords": np.roll(x, 1), "ycoords": np.roll(y, 1)},
        "two frames early": {"xcoords": np.roll(x, -2), "ycoords": np.roll(y, -2)},
    }[kind]
    for key in ("xcoords", "ycoords"):
        if key in changed:
            changed[f"{key}_start"] = changed[key]
    return {**arrays, **changed}


WRONG = {
    "y inverted": "--flip y",
    "x inverted in its range": "--flip x --flip-about scan",
    "turned by 180": "--flip xy",
    "exchanged and inverted": "--axes yx --flip x --flip-about scan",
    "patterns upside down": "--flip-frames y",
    "patterns transposed": "--flip-frames t",
    "object conjugated": "--conjugate object",
    "both conjugated": "--flip-frames xy0",
    "one frame late": "--lag 1",
    "two frames early": "--lag -2",
}


def _asked_and_answered(arrays: Arrays, folder: Path, kind: str) -> None:
    """The right way is offered; the command that is suggested gives the right data."""
    source, target = save(folder / "old.npz", _spoilt(arrays, kind)), folder / "new.npz"
    asked = CliRunner().invoke(import_, [str(source), "--to", str(target)])
    assert asked.exit_code == 2 and not target.exists()
    *questions, suggested = asked.stderr.splitlines()
    assert len(questions) == 1 and f"say {WRONG[kind]}, or" in questions[0], questions
    program, command, *arguments = shlex.split(suggested.removeprefix("suggested: "))
    assert (program, command) == ("fly64", "import")
    done = CliRunner().invoke(import_, arguments)
    assert done.exit_code == 0, done.stderr
    new = read_npz(target)
    lost = 1 if kind == "one frame late" else 2 if kind == "two frames early" else 0
    count = len(arrays["xcoords"])
    assert len(new["xcoords"]) == count - lost
    kept = np.isin(arrays["scan_index"], new["scan_index"])
    if kind == "both conjugated":  # of one pair of truths the other was taken
        np.testing.assert_array_equal(new["objectGuess"], arrays["objectGuess"].conj())
        return
    for key in ("xcoords", "ycoords"):
        np.testing.assert_allclose(new[key], arrays[key][kept], atol=1e-9)
    ratio = new["diffraction"] / np.where(arrays["diffraction"] > 0, arrays["diffraction"], 1)[kept]
    lit = arrays["diffraction"][kept] > 0
    np.testing.assert_allclose(ratio[lit], ratio[lit][0], rtol=1e-5)
    height, width = arrays["objectGuess"].shape
    np.testing.assert_array_equal(new["objectGuess"][:height, :width], arrays["objectGuess"])


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_simulated_scan_is_asked_about(bare, tmp_path, kind):
    if kind == "exchanged and inverted":  # told by the canvas as well: see below
        reach = max(CANVAS)
        pad = [(0, reach - side) for side in CANVAS]
        bare = {**bare, "objectGuess": np.pad(bare["objectGuess"], pad, mode="edge")}
    _asked_and_answered(bare, tmp_path, kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_measured_scan_is_asked_about(tmp_path, kind):
    measured = read_npz(MEASURED)
    del measured["frame_index"]
    _asked_and_answered(measured, tmp_path, kind)


def test_patches_that_leave_the_canvas_are_placed_by_the_patterns(bare, tmp_path):
    source = save(tmp_path / "old.npz", _spoilt(bare, "exchanged and inverted"))
    with pytest.raises(OpenQuestions, match="leave the 118 x 126 canvas") as asked:
        run_import(source, None)
    assert asked.value.options == "--axes yx --flip x --flip-about scan"


@pytest.mark.parametrize("scan", ["simulated", pytest.param("measured", marks=pytest.mark.long)])
def test_a_shuffled_scan_is_asked_about_and_taken_only_if_it_is_insisted_on(bare, tmp_path, scan):
    arrays = bare if scan == "simulated" else read_npz(MEASURED)
    shuffled = np.random.default_rng(1).permutation(len(arrays["xcoords"]))
    spoilt = {key: array[shuffled] if "coords" in key else array for key, array in arrays.items()}
    source = save(tmp_path / "old.npz", spoilt)
    with pytest.raises(OpenQuestions, match="belong together, in this order") as asked:
        run_import(source, tmp_path / "new.npz")
    assert "none stands out" in str(asked.value) and asked.value.options == "--lag 0"
    assert list(tmp_path.iterdir()) == [source]
    run_import(source, tmp_path / "new.npz", lag=0)
    np.testing.assert_array_equal(read_npz(tmp_path / "new.npz")["xcoords"], spoilt["xcoords"])


@pytest.mark.parametrize(("dose", "contrast"), [(100, 1.0), (1000, 0.3), (1e5, 1.0), (1e5, 0.02)])
def test_a_good_scan_is_taken_without_a_question(tmp_path, dose, contrast):
    sound = read_npz(simulate(tmp_path, dose=int(dose), contrast=contrast))
    report = run_import(save(tmp_path / "old.npz", legacy(sound, [], "missing")), None)
    assert report.finding.better is None and not report.finding.unrelated


def test_the_measured_scan_is_taken_without_a_question():
    report = run_import(MEASURED, None)
    assert report.finding.clear and report.finding.residual == pytest.approx(0.159, abs=0.002)
    assert min(report.finding.others.values()) > 0.3


def test_an_empty_object_tells_nothing_and_says_so(bare, tmp_path):
    source = save(tmp_path / "old.npz", _spoilt(bare, "y inverted"))
    report = run_import(source, None, object="ones")
    assert report.finding.silent and report.finding.better is None
    done = CliRunner().invoke(import_, [str(source), "--object", "ones", "--dry-run"])
    assert "the data cannot tell orientation, order or lag" in " ".join(done.output.split())


def test_what_is_stated_against_the_data_is_followed_and_said(bare, tmp_path):
    source = save(tmp_path / "old.npz", _spoilt(bare, "y inverted"))
    done = CliRunner().invoke(import_, [str(source), "--flip", "none", "--dry-run"])
    assert done.exit_code == 0, done.stderr
    assert "what is stated is followed all the same" in " ".join(done.output.split())
    with pytest.raises(InputError, match="nothing is mirrored"):
        run_import(source, None, flip="none", flip_about="scan")


def test_a_lag_leaves_out_what_has_no_partner(bare, tmp_path):
    source = save(tmp_path / "old.npz", _spoilt(bare, "one frame late"))
    run_import(source, tmp_path / "new.npz", lag=1)
    new = read_npz(tmp_path / "new.npz")
    np.testing.assert_array_equal(new["scan_index"], bare["scan_index"][:-1])
    np.testing.assert_array_equal(new["xcoords"], bare["xcoords"][:-1])
    np.testing.assert_array_equal(new["diffraction"], bare["diffraction"][:-1])
