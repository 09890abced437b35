"""Import: positions come back whatever they were turned into, in files as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.ptychography.importing.frames import turned
from fly64_assets.ptychography.importing.orientation import mean_root
from fly64_assets.ptychography.importing.positions import Way
from fly64_assets.ptychography.importing.questions import PATTERN_TURNS
from fly64_assets_tests.ptychography.foreign_files import CANVAS, run_import, save


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


@pytest.mark.parametrize("turn", PATTERN_TURNS)
def test_a_turn_of_patterns_is_undone(turn):
    patterns = np.random.default_rng(3).normal(size=(2, 6, 6))
    np.testing.assert_array_equal(turned(turned(patterns, turn), turn, back=True), patterns)
    centre = np.zeros((1, 6, 6))
    centre[0, 3, 3] = 1
    stays = turn in ("none", "t") or turn.endswith("0")
    assert np.array_equal(turned(centre, turn), centre) == stays


def test_the_mean_root_of_counts():
    counts = np.random.default_rng(5)
    for mean in (0.01, 0.7, 4.0, 35.0, 37.0, 900.0):
        drawn = np.sqrt(counts.poisson(mean, 200_000))
        assert mean_root(np.array([mean]))[0] == pytest.approx(drawn.mean(), abs=0.004)


@pytest.mark.parametrize(
    "way",
    [Way("yx", 0.02, "centre", "x", "canvas"), Way("yx", 0.02, "corner", "xy", "scan")],
)
def test_what_is_stated_is_followed_in_files(bare, tmp_path, way):
    places = np.stack([bare["ycoords"], bare["xcoords"]], axis=1)
    arrays = {key: array for key, array in bare.items() if "coords" not in key}
    arrays["pairs"] = foreign(places, way, CANVAS)
    stated = {"axes": way.axes, "flip": way.flip, "flip_about": way.about, "origin": way.origin}
    source, target = save(tmp_path / "old.npz", arrays), tmp_path / "new.npz"
    report = run_import(source, target, keys={"positions": "pairs"}, pixel_size=0.02, **stated)
    for key in ("xcoords", "ycoords"):
        np.testing.assert_allclose(read_npz(target)[key], bare[key], atol=1e-9)
    assert any(change.change.startswith("mirrored") for change in report.changes)
