"""DATA-001: each rule has a mutant that fails it alone; versions; provenance; physics checks.

A sound dataset is simulated once (N = 16); a mutant changes one thing in it and is written with
NumPy's own functions, since ours refuse to write most of them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import dataset as data001
from fly64_assets.ptychography.data001.dataset import (
    Dataset,
    data_version,
    read_dataset,
    write_dataset,
)
from fly64_assets.ptychography.data001.dataset_rules import check_data001, require_data001
from fly64_assets.ptychography.data001.metadata import is_canonical, with_transformation
from fly64_assets.ptychography.physics_checks import (
    poisson_dispersion,
    pooled_dose,
)
from fly64_assets.ptychography.simulation import simulate_split_datasets
from fly64_assets.ptychography.specimen import Specimen, load_specimen
from fly64_assets.study.model import SimulationSettings
from fly64_assets.study.specimen_origins import FOLDER

MEASURED = Path(__file__).parents[1] / "data" / "siemens_star_measured_64frames.npz"
N = 16
Arrays = dict[str, np.ndarray]
Metadata = dict[str, object]


@pytest.fixture(scope="module")
def sound_path(tmp_path_factory) -> Path:
    whole = load_specimen(FOLDER / "labyrinth.npz", patch_size=64)
    probe = whole.probe[24:40, 24:40]
    unit = (probe / np.linalg.norm(probe)).astype(np.complex64)
    folder = tmp_path_factory.mktemp("sound")
    simulate_split_datasets(
        Specimen(np.ascontiguousarray(whole.object[60:112, 70:126]), unit, 1.0, "0" * 64),
        dose=1000,
        simulation=SimulationSettings(
            positions=300, margin_px=1.5, shift_padding_px=4, split_guard_px=0.0
        ),
        patch_size=N,
        seed=42,
        threads=1,
        folder=folder,
        probe_diameter_px=9.0,
        program_version="1.2.3",
        git_commit=None,
        created="2026-01-02T03:04:05Z",
    )
    return folder / "patched_train.npz"


@pytest.fixture
def sound(sound_path: Path) -> tuple[Arrays, Metadata]:
    with np.load(sound_path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    return arrays, json.loads(str(arrays.pop("_metadata")))


def _save(path: Path, arrays: Arrays, metadata: Metadata) -> Path:
    np.savez(path, **{"_metadata": np.array(json.dumps(metadata)), **arrays})
    return path


def _broken(path: Path) -> list[tuple[str, str]]:
    return [(row.key, row.rule) for row in check_data001(path) if not row.ok]


def test_a_sound_file_has_a_row_for_every_rule(sound_path: Path) -> None:
    rows = check_data001(sound_path)
    assert all(row.ok for row in rows)
    table = {(row.key, row.rule) for row in rows}
    assert len(table) == len(rows)
    covered = {expected for *_, expected in MUTANTS} - {("diff3d", "key")}
    view_rules = {rule for rule in covered if rule[0] in data001.VIEW_KEYS}
    assert covered - view_rules <= table
    uncovered = table - covered
    assert uncovered == {
        # An archive's damage has tests of its own; the same loop serves the other keys of a rule.
        ("file", "archive"),
        *((key, "key") for key in data001.DTYPES if key not in ("Y", "diffraction")),
        ("_metadata", "key"),
        *((key, "content") for key in data001.DTYPES if key != "scan_index"),
    }
    require_data001(sound_path)


def _replaced(key: str, change: Callable[[np.ndarray], np.ndarray]):
    def mutate(arrays: Arrays, metadata: Metadata) -> None:
        arrays[key] = change(arrays[key])

    return mutate


def _pixel(key: str, value: complex, index: tuple[int, ...]):
    def mutate(arrays: Arrays, metadata: Metadata) -> None:
        arrays[key] = arrays[key].copy()
        arrays[key][index] = value

    return mutate


def _text(text: str):
    def mutate(arrays: Arrays, metadata: Metadata) -> None:
        arrays["_metadata"] = np.array(text)

    return mutate


def _described(change: Callable[[dict], object]):
    def mutate(arrays: Arrays, metadata: Metadata) -> None:
        change(metadata)

    return mutate


def _pickled_metadata(arrays: Arrays, metadata: Metadata) -> None:
    arrays["_metadata"] = np.array(metadata, dtype=object)


def _bytes_metadata(arrays: Arrays, metadata: Metadata) -> None:
    arrays["_metadata"] = np.array(json.dumps(metadata).encode())


def _without_coordinate_room(arrays: Arrays, metadata: Metadata) -> None:
    arrays["xcoords"] = arrays["xcoords"] + 4.0
    arrays["xcoords_start"] = arrays["xcoords"]


def _above_the_canvas(arrays: Arrays, metadata: Metadata) -> None:
    arrays["ycoords"] = arrays["ycoords"].copy()
    arrays["ycoords"][7] = N / 2 - 0.01
    arrays["ycoords_start"] = arrays["ycoords"]


def _unnormalised(arrays: Arrays, metadata: Metadata) -> None:
    arrays["diffraction"] = arrays["diffraction"] * np.float32(64)
    metadata["physics"]["intensity_scale"] /= 64


def _small_canvas(arrays: Arrays, metadata: Metadata) -> None:
    """A canvas of N px leaves one position; everything else is made to fit it."""
    arrays["objectGuess"] = arrays["objectGuess"][:N, :N]
    del arrays["Y"]
    for key in ("xcoords", "ycoords", "xcoords_start", "ycoords_start"):
        arrays[key] = np.full_like(arrays[key], N / 2)


def _record(**changes) -> Callable[[dict], object]:
    return lambda metadata: metadata["transformations"][0].update(changes)


def _physics(**changes) -> Callable[[dict], object]:
    return lambda metadata: metadata["physics"].update(changes)


def _drop(*path: str) -> Callable[[dict], object]:
    def change(metadata: dict) -> object:
        for key in path[:-1]:
            metadata = metadata[key]
        return metadata.pop(path[-1])

    return change


def _float(key: str):
    return _replaced(key, lambda array: array.astype(np.float32).astype(np.float64))


def _cast(key: str, dtype: type):
    return _replaced(key, lambda array: array.astype(dtype))


def _nan_coordinate(key: str):
    def mutate(arrays: Arrays, metadata: Metadata) -> None:
        arrays[key] = arrays[key].copy()
        arrays[key][3] = np.nan

    return mutate


MUTANTS = [
    # (name, mutation, the one rule that fails)
    ("no diffraction", lambda arrays, metadata: arrays.pop("diffraction"), ("diffraction", "key")),
    (
        "legacy key beside",
        lambda arrays, metadata: arrays.update(diff3d=arrays["diffraction"]),
        ("diff3d", "key"),
    ),
    ("pickled metadata", _pickled_metadata, ("_metadata", "content")),
    ("pickled index", _cast("scan_index", object), ("scan_index", "content")),
    ("diffraction float64", _cast("diffraction", np.float64), ("diffraction", "dtype")),
    ("diffraction uint16", _cast("diffraction", np.uint16), ("diffraction", "dtype")),
    ("object complex128", _cast("objectGuess", np.complex128), ("objectGuess", "dtype")),
    ("probe complex128", _cast("probeGuess", np.complex128), ("probeGuess", "dtype")),
    ("x float32", _cast("xcoords", np.float32), ("xcoords", "dtype")),
    ("y float32", _cast("ycoords", np.float32), ("ycoords", "dtype")),
    ("x start float32", _cast("xcoords_start", np.float32), ("xcoords_start", "dtype")),
    ("y start float32", _cast("ycoords_start", np.float32), ("ycoords_start", "dtype")),
    ("index int32", _cast("scan_index", np.int32), ("scan_index", "dtype")),
    ("Y complex128", _cast("Y", np.complex128), ("Y", "dtype")),
    (
        "frames last",
        _replaced("diffraction", lambda array: np.moveaxis(array, 0, -1)),
        ("diffraction", "shape"),
    ),
    (
        "frames not square",
        _replaced("diffraction", lambda array: array[:, :, :-1]),
        ("diffraction", "shape"),
    ),
    ("no frames", _replaced("diffraction", lambda array: array[:0]), ("diffraction", "shape")),
    ("object 3-d", _replaced("objectGuess", lambda array: array[None]), ("objectGuess", "shape")),
    (
        "object odd",
        _replaced("objectGuess", lambda array: np.pad(array, ((0, 1), (0, 0)), mode="edge")),
        ("objectGuess", "sides"),
    ),
    ("object no larger than N", _small_canvas, ("objectGuess", "size")),
    ("modes", _replaced("probeGuess", lambda array: array[None]), ("probeGuess", "shape")),
    ("x short", _replaced("xcoords", lambda array: array[:-1]), ("xcoords", "shape")),
    ("y short", _replaced("ycoords", lambda array: array[:-1]), ("ycoords", "shape")),
    ("x start 2-d", _replaced("xcoords_start", np.atleast_2d), ("xcoords_start", "shape")),
    ("y start 2-d", _replaced("ycoords_start", np.atleast_2d), ("ycoords_start", "shape")),
    ("index short", _replaced("scan_index", lambda array: array[1:]), ("scan_index", "shape")),
    ("Y short", _replaced("Y", lambda array: array[1:]), ("Y", "shape")),
    ("nan amplitude", _pixel("diffraction", np.nan, (4, 2, 3)), ("diffraction", "values")),
    ("negative amplitude", _pixel("diffraction", -0.01, (4, 2, 3)), ("diffraction", "sign")),
    ("un-normalised", _unnormalised, ("diffraction", "normalisation")),
    ("one wild pixel", _pixel("diffraction", 11, (4, 2, 3)), ("diffraction", "normalisation")),
    ("intensity", _replaced("diffraction", np.square), ("diffraction", "counts")),
    (
        "half precision",
        _replaced("diffraction", lambda array: array.astype(np.float16).astype(np.float32)),
        ("diffraction", "counts"),
    ),
    ("another scale", _described(_physics(intensity_scale=33.0)), ("diffraction", "counts")),
    ("nan object", _pixel("objectGuess", np.nan, (0, 0)), ("objectGuess", "values")),
    ("infinite probe", _pixel("probeGuess", np.inf, (0, 0)), ("probeGuess", "values")),
    ("no probe", _replaced("probeGuess", np.zeros_like), ("probeGuess", "power")),
    ("nan x", _nan_coordinate("xcoords"), ("xcoords", "values")),
    ("nan y", _nan_coordinate("ycoords"), ("ycoords", "values")),
    ("right of the canvas", _without_coordinate_room, ("xcoords", "range")),
    ("above the canvas", _above_the_canvas, ("ycoords", "range")),
    ("x start moved", _float("xcoords_start"), ("xcoords_start", "start")),
    ("y start moved", _float("ycoords_start"), ("ycoords_start", "start")),
    ("infinite Y", _pixel("Y", np.inf, (1, 0, 0)), ("Y", "values")),
    ("Y transposed", _replaced("Y", lambda array: array.swapaxes(1, 2)), ("Y", "patches")),
    ("Y off by a pixel", _replaced("Y", lambda array: np.roll(array, 1, 2)), ("Y", "patches")),
    ("Y of other frames", _replaced("Y", lambda array: array[::-1]), ("Y", "patches")),
    ("metadata as bytes", _bytes_metadata, ("_metadata", "array")),
    ("metadata no JSON", _text("{'N': 16}"), ("_metadata", "text")),
    ("metadata a list", _text("[1]"), ("_metadata", "text")),
    ("no schema", _described(_drop("schema_version")), ("_metadata", "schema_version")),
    (
        "other schema",
        _described(lambda m: m.update(schema_version="1")),
        ("_metadata", "schema_version"),
    ),
    ("no creation", _described(_drop("creation")), ("_metadata", "creation")),
    ("no commit", _described(_drop("creation", "git_commit")), ("_metadata", "creation")),
    (
        "local time",
        _described(lambda m: m["creation"].update(time="2026-01-02 03:04")),
        ("_metadata", "creation"),
    ),
    ("no physics", _described(_drop("physics")), ("_metadata", "physics")),
    ("no scale", _described(_drop("physics", "intensity_scale")), ("_metadata", "physics")),
    ("no diameter", _described(_drop("physics", "probe_diameter_px")), ("_metadata", "physics")),
    ("other N", _described(_physics(N=N + 2)), ("_metadata", "physics")),
    ("scale 0", _described(_physics(intensity_scale=0)), ("_metadata", "physics")),
    ("dose as text", _described(_physics(nphotons="1e3")), ("_metadata", "physics")),
    ("seed as text", _described(_physics(seed="42")), ("_metadata", "physics")),
    ("no provenance", _described(_drop("transformations")), ("_metadata", "transformations")),
    (
        "record no object",
        _described(lambda m: m.update(transformations=["x"])),
        ("_metadata", "transformations"),
    ),
    (
        "record without inputs",
        _described(_drop("transformations", 0, "inputs")),
        ("_metadata", "transformations"),
    ),
    ("record with local time", _described(_record(time="today")), ("_metadata", "transformations")),
    (
        "input no sha256",
        _described(_record(inputs={"a": "latest"})),
        ("_metadata", "transformations"),
    ),
    (
        "empty provenance",
        _described(lambda m: m.update(transformations=[])),
        ("_metadata", "canonical form"),
    ),
    (
        "starts with a view",
        _described(_record(tool="overlap_view")),
        ("_metadata", "canonical form"),
    ),
    (
        "groups as floats",
        lambda arrays, metadata: arrays.update(full_groups=np.zeros((2, 8))),
        ("full_groups", "form"),
    ),
    (
        "group of no frame",
        lambda arrays, metadata: arrays.update(training_groups=np.full((2, 4), 10_000)),
        ("training_groups", "index"),
    ),
    (
        "centre below 0",
        lambda arrays, metadata: arrays.update(centre_index=np.array([-1])),
        ("centre_index", "index"),
    ),
]


@pytest.mark.parametrize(("mutate", "rule"), [m[1:] for m in MUTANTS], ids=[m[0] for m in MUTANTS])
def test_a_mutant_fails_its_rule_alone(tmp_path: Path, sound, mutate, rule) -> None:
    arrays, metadata = copy.deepcopy(sound)
    mutate(arrays, metadata)
    path = _save(tmp_path / "mutant.npz", arrays, metadata)
    assert _broken(path) == [rule]
    with pytest.raises(InputError) as caught:
        require_data001(path)
    assert caught.value.key == rule[0]


def test_refusals_name_key_rule_and_what_is_wanted(tmp_path: Path, sound) -> None:
    arrays, metadata = sound
    changed = {
        "uint16": (
            arrays["diffraction"].astype(np.uint16),
            "diffraction: dtype is uint16, DATA-001 wants float32 amplitude",
        ),
        "last": (
            np.moveaxis(arrays["diffraction"], 0, -1),
            "(H, W, n) with the frames last, DATA-001 wants (n, N, N), frames first",
        ),
    }
    for name, (diffraction, message) in changed.items():
        path = _save(tmp_path / f"{name}.npz", {**arrays, "diffraction": diffraction}, metadata)
        with pytest.raises(InputError) as caught:
            require_data001(path)
        assert message in str(caught.value)
        assert str(caught.value).startswith(str(path))


def test_what_is_optional_may_be_missing(tmp_path: Path, sound) -> None:
    arrays, metadata = sound
    del arrays["Y"]
    view = {"centre_index": np.array([0, 2]), "full_groups": np.array([[0, 1], [2, 1]])}
    path = _save(tmp_path / "view.npz", arrays | view, metadata)
    assert _broken(path) == []
    dataset = read_dataset(path)
    assert dataset.patches is None
    assert set(dataset.extra) == set(view)


def test_position_errors_must_be_declared(tmp_path: Path, sound) -> None:
    arrays, metadata = sound
    arrays["xcoords_start"] = arrays["xcoords"] + 0.3
    metadata["transformations"][0]["parameters"]["position_errors_px"] = 0.3
    assert _broken(_save(tmp_path / "errors.npz", arrays, metadata)) == []


def test_imported_amplitudes_need_not_be_whole_counts(tmp_path: Path, sound) -> None:
    arrays, metadata = sound
    arrays["diffraction"] = arrays["diffraction"] * np.float32(0.7)
    metadata["transformations"][0]["tool"] = "import"
    metadata["physics"].update(nphotons=None, seed=None, probe_diameter_px=None)
    assert _broken(_save(tmp_path / "imported.npz", arrays, metadata)) == []


def test_an_unreadable_file_is_one_failed_row(tmp_path: Path, sound_path: Path) -> None:
    content = bytearray(sound_path.read_bytes())
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    content[len(content) // 2] ^= 4
    (tmp_path / "flipped.npz").write_bytes(content)
    (tmp_path / "empty.npz").touch()
    (tmp_path / "pickle.npz").write_bytes(b"\x80\x04}.")
    for name in ("cut", "flipped", "empty", "pickle", "absent"):
        path = tmp_path / f"{name}.npz"
        rows = check_data001(path)
        assert [(row.key, row.rule, row.ok) for row in rows] == [("file", "archive", False)]
        with pytest.raises(InputError, match="DATA-001 wants an intact NPZ archive"):
            require_data001(path)


@given(st.lists(st.sampled_from(range(len(MUTANTS))), min_size=2, max_size=5, unique=True))
@settings(max_examples=40, deadline=None)
def test_any_mixture_of_mutations_gives_a_table_never_an_exception(
    tmp_path_factory, sound_path: Path, chosen: list[int]
) -> None:
    with np.load(sound_path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    metadata = json.loads(str(arrays.pop("_metadata")))
    applied = 0
    for number in chosen:
        try:
            MUTANTS[number][1](arrays, metadata)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue  # the mutations before have removed what this one changes
        applied += 1
    path = _save(tmp_path_factory.mktemp("mixed") / "mixed.npz", arrays, metadata)
    assert bool(_broken(path)) == bool(applied)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.sampled_from(
        [
            ("schema_version",),
            ("creation",),
            ("creation", "time"),
            ("physics",),
            ("physics", "N"),
            ("physics", "seed"),
            ("physics", "intensity_scale"),
            ("physics", "nphotons"),
            ("transformations",),
            ("transformations", 0),
            ("transformations", 0, "tool"),
            ("transformations", 0, "inputs"),
            ("transformations", 0, "parameters"),
        ]
    ),
    _json,
)
@settings(max_examples=40, deadline=None)
def test_no_metadata_makes_the_check_raise(tmp_path_factory, sound_path, place, value) -> None:
    with np.load(sound_path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    metadata = json.loads(str(arrays.pop("_metadata")))
    at = metadata
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path = _save(tmp_path_factory.getbasetemp() / "described.npz", arrays, metadata)
    rows = check_data001(path)
    assert {row.rule for row in rows if row.key == "_metadata"} >= {"creation", "physics"}


def test_measured_legacy_data_are_refused_by_name() -> None:
    broken = _broken(MEASURED)
    assert ("_metadata", "key") in broken
    assert ("frame_index", "key") in broken
    assert ("diffraction", "normalisation") in broken


def test_reading_maps_what_is_large_and_keeps_everything(sound_path: Path, sound) -> None:
    arrays, metadata = sound
    dataset = read_dataset(sound_path)
    assert isinstance(dataset.diffraction, np.memmap)
    assert isinstance(dataset.patches, np.memmap)
    assert dataset.metadata == metadata
    for key, array in dataset.arrays().items():
        np.testing.assert_array_equal(array, arrays[key])
    np.testing.assert_array_equal(dataset.positions_px[:, 0], arrays["ycoords"])
    assert len(dataset) == len(arrays["diffraction"])
    assert dataset.patch_size == N


def test_writing_again_gives_the_same_bytes(tmp_path: Path, sound_path: Path) -> None:
    write_dataset(tmp_path / "again.npz", read_dataset(sound_path))
    assert (tmp_path / "again.npz").read_bytes() == sound_path.read_bytes()


def test_writing_casts_nothing(tmp_path: Path, sound_path: Path) -> None:
    dataset = read_dataset(sound_path)
    wide = replace(dataset, diffraction=dataset.diffraction.astype(np.float64))
    with pytest.raises(InputError, match="diffraction: dtype is float64, DATA-001 wants float32"):
        write_dataset(tmp_path / "wide.npz", wide)
    with pytest.raises(InputError, match="note: key is unknown"):
        write_dataset(tmp_path / "more.npz", replace(dataset, extra={"note": np.zeros(1)}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        physics = {**dataset.metadata["physics"], "nphotons": float("nan")}
        metadata = {**dataset.metadata, "physics": physics}
        write_dataset(tmp_path / "nan.npz", replace(dataset, metadata=metadata))


def test_reading_refuses_a_broken_structure(tmp_path: Path, sound) -> None:
    arrays, metadata = sound
    arrays["diffraction"] = arrays["diffraction"].astype(np.float64)
    path = _save(tmp_path / "wide.npz", arrays, metadata)
    with pytest.raises(InputError, match="diffraction: dtype is float64"):
        read_dataset(path)


def _loaded(path: Path) -> Dataset:
    dataset = read_dataset(path)
    return replace(
        dataset,
        diffraction=np.array(dataset.diffraction),
        patches=np.array(dataset.patches),
        metadata=copy.deepcopy(dict(dataset.metadata)),
    )


def test_data_version_sees_every_bit(sound_path: Path) -> None:
    dataset = _loaded(sound_path)
    version = data_version(sound_path)
    assert data_version(dataset) == version
    for array in dataset.arrays().values():
        raw = array.reshape(-1).view(np.uint8)
        for place in (0, len(raw) // 3, len(raw) - 1):
            raw[place] ^= 1
            assert data_version(dataset) != version
            raw[place] ^= 1
    assert data_version(dataset) == version
    assert data_version(replace(dataset, patches=None)) != version
    assert data_version(replace(dataset, extra={"centre_index": np.array([0])})) != version


def test_data_version_sees_what_was_done_but_not_when_and_by_what(sound_path: Path) -> None:
    dataset = _loaded(sound_path)
    version = data_version(dataset)
    creation, record = dataset.metadata["creation"], dataset.metadata["transformations"][0]
    creation.update(time="2031-01-01T00:00:00Z", version="7", git_commit="abc", host="elsewhere")
    record.update(time="2031-01-01T00:00:00Z", version="7", inputs={"specimen": "1" * 64})
    assert data_version(dataset) == version
    record["parameters"]["dose"] = 1001
    assert data_version(dataset) != version
    record["parameters"]["dose"] = 1000
    dataset.metadata["physics"]["nphotons"] = 1001
    assert data_version(dataset) != version


def test_provenance_is_only_appended_to(sound_path: Path) -> None:
    metadata = read_dataset(sound_path).metadata
    before = copy.deepcopy(metadata)
    parameters = {"K": [7]}
    later = with_transformation(
        metadata,
        tool="overlap_view",
        version="1",
        time="2026-01-03T00:00:00Z",
        parameters=parameters,
        inputs={"dataset": "2" * 64},
    )
    assert metadata == before
    assert later["transformations"][:-1] == before["transformations"]
    assert later["transformations"][-1]["tool"] == "overlap_view"
    assert is_canonical(later)
    parameters["K"].append(8)
    later["transformations"][0]["tool"] = "edited"
    assert later["transformations"][-1]["parameters"] == {"K": [7]}
    assert metadata == before
    assert not is_canonical(later)
    assert not is_canonical({})


def test_poisson_noise_is_recognised(sound_path: Path) -> None:
    dataset = _loaded(sound_path)
    assert poisson_dispersion(dataset, padding_px=4).ok
    from_object = poisson_dispersion(replace(dataset, patches=None), padding_px=4)
    assert from_object.value == pytest.approx(poisson_dispersion(dataset, padding_px=4).value)
    assert poisson_dispersion(dataset, padding_px=4, max_images=20).n_images == 20

    amplitude = dataset.diffraction.astype(np.float64) * dataset.intensity_scale
    generator = np.random.default_rng(0)
    for counts in (
        np.square(amplitude) + generator.poisson(np.square(amplitude)),  # noise twice
        np.rint(np.square(amplitude) * 1.1),  # another dose than the scale says
    ):
        wrong = (np.sqrt(counts) / dataset.intensity_scale).astype(np.float32)
        assert not poisson_dispersion(replace(dataset, diffraction=wrong), padding_px=4).ok
    expected = np.fft.fft2(dataset.patches * dataset.probe_guess, norm="ortho")
    noiseless = np.abs(np.fft.fftshift(expected, axes=(1, 2))).astype(np.float32)
    assert not poisson_dispersion(replace(dataset, diffraction=noiseless), padding_px=4).ok


def test_dispersion_is_the_formula(sound_path: Path) -> None:
    dataset = read_dataset(sound_path)
    expected = np.fft.fft2(dataset.patches * dataset.probe_guess, norm="ortho")
    mean = dataset.intensity_scale**2 * np.abs(np.fft.fftshift(expected, axes=(1, 2))) ** 2
    counts = (dataset.diffraction.astype(np.float64) * dataset.intensity_scale) ** 2
    found = poisson_dispersion(dataset, padding_px=4)
    assert found.value == pytest.approx(np.sum((counts - mean) ** 2) / mean.sum(), rel=1e-4)
    sigma = np.sqrt(np.sum(mean + 2 * mean**2)) / mean.sum()
    assert found.sigma == pytest.approx(sigma, rel=1e-4)


def test_dose_check_can_fail(sound_path: Path) -> None:
    mean = pooled_dose([sound_path], 1000).mean_counts
    assert pooled_dose([sound_path], mean).ok
    frames = len(read_dataset(sound_path))
    tolerance = max(0.01, 4 / np.sqrt(frames * 1000))
    assert pooled_dose([sound_path], 1000).tolerance == pytest.approx(tolerance)
    assert not pooled_dose([sound_path], mean * (1 + 1.1 * tolerance)).ok
    assert not pooled_dose([sound_path], mean / (1 + 1.1 * tolerance)).ok
    with pytest.raises(InputError, match="no datasets"):
        pooled_dose([], 1000)
