"""Import: what would need a guess is refused with the question, and the answer it names settles it.

Every case shows both: the refusal without the answer, and the right data with it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.ptychography.foreign_files import (
    CANVAS,
    MEASURED,
    Arrays,
    N,
    import_record,
    legacy,
    run_import,
    save,
    simulate,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Arrays:
    return read_npz(simulate(tmp_path_factory.mktemp("sound")))


@pytest.fixture
def bare(sound: Arrays) -> Arrays:
    """Without metadata."""
    return legacy(sound, [], "missing")


def _scale(arrays: Arrays) -> float:
    return json.loads(str(arrays["_metadata"]))["physics"]["intensity_scale"]


def _counts(arrays: Arrays) -> np.ndarray:
    return np.square(arrays["diffraction"].astype(np.float64) * _scale(arrays))


def _refused(source: Path, *parts: str, **answers: object) -> None:
    """Nothing is written; these parts stand in the questions, one line each."""
    before = set(source.parent.iterdir())
    with pytest.raises(InputError) as refused:
        run_import(source, source.parent / "new.npz", **answers)
    text = str(refused.value)
    for part in (source.name, "?", *parts):
        assert part in text, text
    lines = getattr(refused.value, "questions", [text])
    assert text.count("\n") == len(lines) - 1
    assert set(source.parent.iterdir()) == before


def _imported(source: Path, **answers: object) -> Arrays:
    run_import(source, source.parent / "new.npz", **answers)
    assert import_record(source.parent / "new.npz")["parameters"]["answers"] == answers
    return read_npz(source.parent / "new.npz")


@pytest.mark.parametrize(
    ("dtype", "evidence"), [(np.uint16, "whole numbers"), (np.float32, "whole numbers")]
)
def test_whole_numbers_may_be_amplitudes_or_intensities(bare, sound, tmp_path, dtype, evidence):
    bare["diffraction"] = np.rint(_counts(sound)).astype(dtype)
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "diffraction", "amplitude or intensity", "--values", evidence)
    new = _imported(source, values="intensity")
    np.testing.assert_allclose(_counts(new), _counts(sound), rtol=1e-5, atol=1e-6)
    # As amplitudes, nobody knows how many counts they are.
    _refused(source, "--intensity-scale", values="amplitude")
    new = _imported(source, values="amplitude", intensity_scale=0.5)
    expected = np.square(np.rint(_counts(sound)) * 0.5)
    np.testing.assert_allclose(_counts(new), expected, rtol=1e-5, atol=1e-6)


def test_evenly_spaced_values_may_be_scaled_intensities(bare, sound, tmp_path):
    bare["diffraction"] = np.square(sound["diffraction"])
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "multiples of", "amplitude or intensity", "--values")
    new = _imported(source, values="intensity")
    np.testing.assert_allclose(new["diffraction"], sound["diffraction"], rtol=1e-5)
    assert _scale(new) == pytest.approx(_scale(sound), rel=1e-5)


def test_values_that_are_no_counts_at_all(bare, sound, tmp_path):
    gains = np.random.default_rng([7]).uniform(0.9, 1.1, (N, N)).astype(np.float32)
    bare["diffraction"] = bare["diffraction"] * gains
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "neither the values nor their squares", "--values")
    _refused(source, "how many counts", "--intensity-scale", values="amplitude")
    _refused(source, "how many counts", "--intensity-scale", values="intensity")
    new = _imported(source, values="amplitude", intensity_scale=40.0)
    np.testing.assert_array_equal(new["diffraction"], bare["diffraction"])
    assert _scale(new) == 40.0


def test_metadata_of_data001_settle_what_the_values_cannot(sound, tmp_path):
    measured = legacy(sound, ["diff3d"], "kept")
    metadata = json.loads(str(measured["_metadata"]))
    metadata["transformations"][0]["tool"] = "import"
    measured["_metadata"] = np.array(json.dumps(metadata))
    gains = np.random.default_rng([7]).uniform(0.9, 1.1, (N, N)).astype(np.float32)
    measured["diff3d"] = measured["diff3d"] * gains
    new = _imported(save(tmp_path / "old.npz", measured))
    np.testing.assert_array_equal(new["diffraction"], measured["diff3d"])
    assert _scale(new) == _scale(sound)


def test_two_intensity_scales_that_both_give_counts(sound, tmp_path):
    spoilt = legacy(sound, ["counts"], "kept")
    metadata = json.loads(str(spoilt["_metadata"]))
    metadata["physics"]["intensity_scale"] = 2.0
    spoilt["_metadata"] = np.array(json.dumps(metadata))
    source = save(tmp_path / "old.npz", spoilt)
    _refused(source, "diffraction", "which one", "--intensity-scale")
    new = _imported(source, intensity_scale=1.0)
    np.testing.assert_allclose(_counts(new), _counts(sound), rtol=1e-5, atol=1e-6)


def _as_many_frames_as_pixels(sound: Arrays) -> Arrays:
    chosen = np.resize(np.arange(len(sound["diffraction"])), N)
    return {
        key: array[chosen] if array.shape[:1] == sound["diffraction"].shape[:1] else array
        for key, array in sound.items()
    }


@pytest.mark.parametrize("order", ["first", "last"])
def test_as_many_frames_as_pixels(sound, tmp_path, order):
    square = legacy(_as_many_frames_as_pixels(sound), [], "missing")
    stack = square["diffraction"]
    if order == "last":
        for key in ("diffraction", "Y"):
            square[key] = np.moveaxis(square[key], 0, -1)
    source = save(tmp_path / "old.npz", square)
    _refused(source, "diffraction", "which axis counts the frames", "--frames")
    new = _imported(source, frames=order)
    np.testing.assert_array_equal(new["diffraction"], stack)


def test_a_frame_order_that_the_shape_contradicts(bare, tmp_path):
    source = save(tmp_path / "old.npz", bare)
    with pytest.raises(InputError, match="cannot be last"):
        run_import(source, tmp_path / "new.npz", frames="last")


@pytest.mark.parametrize("place", ["centre", "corner"])
def test_a_zero_frequency_that_the_probe_does_not_tell(bare, tmp_path, place):
    point = np.zeros((N, N), np.complex64)
    point[N // 2, N // 2] = 1  # its pattern is flat
    bare["probeGuess"] = point
    patterns = bare["diffraction"]
    if place == "corner":
        bare["diffraction"] = np.fft.ifftshift(patterns, axes=(1, 2))
    source = save(tmp_path / "old.npz", bare)
    stated = {"axes": "xy"}
    _refused(source, "diffraction", "where is the zero frequency", "--zero-frequency", **stated)
    new = _imported(source, zero_frequency=place, **stated)
    np.testing.assert_array_equal(new["diffraction"], patterns)


def _exchanged(arrays: Arrays) -> Arrays:
    names = {"xcoords": "ycoords", "ycoords": "xcoords"}
    names |= {f"{key}_start": f"{other}_start" for key, other in names.items()}
    return {names.get(key, key): array for key, array in arrays.items()}


def test_exchanged_axes_of_the_measured_scan(tmp_path):
    measured = read_npz(MEASURED)
    source = save(tmp_path / "old.npz", _exchanged(measured))
    _refused(source, "xcoords, ycoords", "exchanged", "--axes", "0.3")
    new = _imported(source, axes="yx")
    for key in ("xcoords", "ycoords", "xcoords_start", "ycoords_start"):
        np.testing.assert_array_equal(new[key], measured[key])
    new = _imported(source, axes="xy")  # whoever says so is followed
    np.testing.assert_array_equal(new["xcoords"], measured["ycoords"])


@pytest.mark.parametrize("metadata_form", ["kept", "missing"])
def test_exchanged_axes_of_a_simulated_scan(tmp_path, metadata_form):
    """At 100 photons the residual is mostly noise, but not only."""
    sound = read_npz(simulate(tmp_path, dose=100, positions=300))
    square = _inside_either_way(sound)
    source = save(tmp_path / "old.npz", _exchanged(legacy(square, ["diff3d"], metadata_form)))
    _refused(source, "xcoords, ycoords", "exchanged", "--axes")
    new = _imported(source, axes="yx")
    np.testing.assert_array_equal(new["xcoords"], square["xcoords"])


def test_exchanged_axes_of_a_faint_object(tmp_path):
    """Where the residuals are equal, the likelihood of simulated counts still tells."""
    sound = read_npz(simulate(tmp_path, dose=1000, positions=300, contrast=0.1))
    faint = legacy(_inside_either_way(sound), ["diff3d"], "kept")
    report = run_import(save(tmp_path / "old.npz", faint), None)
    assert report.finding.others["x and y exchanged"] > 0.98 * report.finding.residual
    source = save(tmp_path / "old.npz", _exchanged(faint))
    _refused(source, "xcoords, ycoords", "exchanged", "--axes")
    new = _imported(source, axes="yx")
    np.testing.assert_array_equal(new["xcoords"], faint["xcoords"])


def test_single_photons_are_believed_where_metadata_say_so(tmp_path):
    sound = read_npz(simulate(tmp_path, dose=1, positions=300))
    assert len(np.unique(sound["diffraction"])) == 2
    source = save(tmp_path / "old.npz", legacy(sound, ["diff3d"], "missing"))
    _refused(source, "multiples of", "--values")
    source = save(tmp_path / "old.npz", legacy(sound, ["diff3d"], "kept"))
    np.testing.assert_array_equal(_imported(source)["diffraction"], sound["diffraction"])


def _inside_either_way(arrays: Arrays) -> Arrays:
    highest = min(CANVAS) - N / 2
    inside = (arrays["xcoords"] <= highest) & (arrays["ycoords"] <= highest)
    count = len(inside)
    return {
        key: array[inside] if array.shape[:1] == (count,) else array
        for key, array in arrays.items()
    }


def test_positions_in_one_array(sound, tmp_path):
    measured = read_npz(MEASURED)
    for first, second in (("xcoords", "ycoords"), ("ycoords", "xcoords")):
        pairs = {key: array for key, array in measured.items() if "coords" not in key}
        pairs["positions"] = np.stack([measured[first], measured[second]], axis=1)
        source = save(tmp_path / "old.npz", pairs)
        new = _imported(source)  # the residual tells
        np.testing.assert_array_equal(new["xcoords"], measured["xcoords"])
        np.testing.assert_array_equal(new["ycoords"], measured["ycoords"])
        _refused(source, "which column is x", "--axes", object="ones")
        new = _imported(source, object="ones", axes="xy" if first == "xcoords" else "yx")
        np.testing.assert_array_equal(new["xcoords"], measured["xcoords"])


def test_positions_that_are_lengths_from_the_centre(bare, sound, tmp_path):
    for key in ("xcoords", "ycoords"):
        bare[key] = (sound[key] - CANVAS["yx".index(key[0])] // 2) * 2.5e-8
        del bare[f"{key}_start"]
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "xcoords, ycoords", "metres, not px", "--pixel-size")
    _refused(source, "leave the 118 x 126 canvas", "--origin centre", pixel_size=2.5e-8)
    new = _imported(source, pixel_size=2.5e-8, origin="centre")
    np.testing.assert_allclose(new["xcoords"], sound["xcoords"], atol=1e-9)
    np.testing.assert_allclose(new["ycoords"], sound["ycoords"], atol=1e-9)


def test_positions_outside_the_canvas(bare, tmp_path):
    bare["xcoords"] = bare["xcoords"] + 40
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "patches leave the 118 x 126 canvas", "--pixel-size", "--origin", "--axes")


@pytest.mark.parametrize(("key", "option"), [("probeGuess", "probe"), ("objectGuess", "object")])
def test_missing_probe_or_object(bare, sound, tmp_path, key, option):
    other = save(tmp_path / "other.npz", {key: bare.pop(key)})
    source = save(tmp_path / "old.npz", bare)
    _refused(source, key, "missing", f"--{option} FILE", f"--key {key}=NAME")
    run_import(source, tmp_path / "new.npz", **{option: str(other)})
    np.testing.assert_array_equal(read_npz(tmp_path / "new.npz")[key], sound[key])
    record = import_record(tmp_path / "new.npz")
    assert set(record["inputs"]) == {"old.npz", "other.npz"}
    assert record["parameters"]["answers"] == {option: "other.npz"}
    assert str(tmp_path) not in json.dumps(record)


def test_an_empty_canvas_where_there_is_no_object(bare, sound, tmp_path):
    del bare["objectGuess"], bare["Y"]
    new = _imported(save(tmp_path / "old.npz", bare), object="ones")
    assert (new["objectGuess"] == 1).all()
    highest = np.array([sound["ycoords"].max(), sound["xcoords"].max()]) + N / 2
    assert (new["objectGuess"].shape >= highest).all()
    assert (new["objectGuess"].shape < highest + 2).all()


def test_a_zero_object_or_probe_is_none(bare, tmp_path):
    for key, option in (("objectGuess", "--object"), ("probeGuess", "--probe")):
        spoilt = {**bare, key: np.zeros_like(bare[key])}
        _refused(save(tmp_path / "old.npz", spoilt), key, "zero everywhere", option)


def test_several_probe_modes(bare, sound, tmp_path):
    bare["probeGuess"] = np.stack([0.1 * sound["probeGuess"][::-1], sound["probeGuess"]])
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "probeGuess", "2 modes", "--probe-mode")
    new = _imported(source, probe_mode=1)
    np.testing.assert_array_equal(new["probeGuess"], sound["probeGuess"])


@pytest.mark.parametrize("key", ["diffraction", "ycoords"])
def test_frames_that_are_not_finite(bare, sound, tmp_path, key):
    bare[key] = bare[key].copy()
    bare[key][(3, 4, 5) if key == "diffraction" else 3] = np.nan
    source = save(tmp_path / "old.npz", bare)
    _refused(source, key, "1 of", "the first 3", "--bad-frames drop")
    new = _imported(source, bad_frames="drop")
    kept = np.delete(np.arange(len(sound["diffraction"])), 3)
    for name in ("diffraction", "xcoords", "ycoords", "scan_index", "Y"):
        np.testing.assert_array_equal(new[name], sound[name][kept])


@pytest.mark.parametrize(
    ("key", "option"), [("objectGuess", "--object"), ("probeGuess", "--probe")]
)
def test_object_or_probe_that_is_not_finite(bare, tmp_path, key, option):
    bare[key] = bare[key].copy()
    bare[key][2, 3] = np.inf
    _refused(save(tmp_path / "old.npz", bare), key, "1 values are not finite", option)


def test_start_positions_that_differ(bare, sound, tmp_path):
    bare["xcoords_start"] = sound["xcoords"] + np.linspace(-0.5, 0.5, len(sound["xcoords"]))
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "xcoords_start", "0.5 px", "position errors", "--start keep", "--start drop")
    kept = _imported(source, start="keep")
    np.testing.assert_array_equal(kept["xcoords_start"], bare["xcoords_start"])
    errors = import_record(tmp_path / "new.npz")["parameters"]["position_errors_px"]
    assert errors == pytest.approx(0.5)
    dropped = _imported(source, start="drop")
    np.testing.assert_array_equal(dropped["xcoords_start"], sound["xcoords"])


def test_two_arrays_for_one_key(bare, sound, tmp_path):
    bare["diff3d"] = np.zeros_like(bare["diffraction"])
    source = save(tmp_path / "old.npz", bare)
    _refused(source, "diffraction", "diffraction and diff3d", "which one", "--key diffraction=")
    new = _imported(source, keys={"diffraction": "diffraction"})
    np.testing.assert_array_equal(new["diffraction"], sound["diffraction"])


@pytest.mark.parametrize("container", ["npz", "h5"])
def test_an_array_of_another_name(bare, sound, tmp_path, container):
    name = "entry/detector/frames" if container == "h5" else "frames"
    bare[name] = bare.pop("diffraction")
    source = save(tmp_path / "old.data", bare, container)
    _refused(source, "diffraction", "missing: which array", f"--key diffraction={name}")
    new = _imported(source, keys={"diffraction": name})
    np.testing.assert_array_equal(new["diffraction"], sound["diffraction"])


def test_metadata_of_another_probe(sound, tmp_path):
    spoilt = legacy(sound, ["diff3d"], "kept")
    metadata = json.loads(str(spoilt["_metadata"]))
    metadata["physics"]["N"] = 32
    spoilt["_metadata"] = np.array(json.dumps(metadata))
    _refused(save(tmp_path / "old.npz", spoilt), "_metadata", "physics.N is 32", "--probe")


@pytest.mark.parametrize(
    ("answers", "parts"),
    [
        ({"probe_mode": 3}, ("--probe-mode: 3 was stated", "one mode")),
        ({"probe_mode": 0}, ("--probe-mode: 0 was stated", "one mode")),
        ({"bad_frames": "drop"}, ("--bad-frames: drop was stated", "every frame is finite")),
        ({"mask": ("found",)}, ("--mask: found was stated", "every value may be a count")),
        ({"flip_about": "scan"}, ("--flip-about: scan was stated", "nothing is mirrored")),
        ({"start": "keep"}, ("--start: keep was stated", "no start positions that differ")),
        (
            {"object": "ones", "keys": {"objectGuess": "objectGuess"}},
            ("--key: objectGuess=objectGuess was stated", "--object ones"),
        ),
        (
            {"keys": {"xcoords": "xcoords", "positions": "pairs"}},
            ("--key: xcoords=xcoords was stated", "--key positions=pairs"),
        ),
    ],
)
def test_an_answer_to_a_question_that_nobody_asked(bare, tmp_path, answers, parts):
    bare["probeGuess"] = bare["probeGuess"][None]
    bare["pairs"] = np.stack([bare["xcoords"], bare["ycoords"]], axis=1)
    source = save(tmp_path / "old.npz", bare)
    for target in (tmp_path / "new.npz", None):
        with pytest.raises(InputError) as refused:
            run_import(source, target, **answers)
        for part in (*parts, "leave"):
            assert part in str(refused.value)
        assert list(tmp_path.iterdir()) == [source]


def test_a_key_beside_another_file_for_the_same(bare, tmp_path):
    other = save(tmp_path / "other.npz", {"probeGuess": bare["probeGuess"]})
    source = save(tmp_path / "old.npz", bare)
    with pytest.raises(InputError, match="probeGuess=probeGuess was stated, but --probe other.npz"):
        run_import(source, None, probe=str(other), keys={"probeGuess": "probeGuess"})


def test_an_answer_that_only_confirms_is_taken(bare, tmp_path):
    bare["pairs"] = np.zeros(3)
    stated = {"values": "amplitude", "frames": "first", "zero_frequency": "centre", "axes": "xy"}
    stated |= {"origin": "corner", "keys": {"diffraction": "diffraction"}}
    _imported(save(tmp_path / "old.npz", bare), **stated)
