"""Training, bundles and reconstruction of both networks, in a process of their own.

An ordinary pytest file whose name keeps it from being collected: TensorFlow must not meet torch in
one process. ``test_networks.py`` runs it.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fly64_assets.errors import InputError
from fly64_assets.solvers import baseline, model_bundle, ptychopinn
from fly64_assets.solvers.interface import Measurement, Progress
from fly64_assets.solvers.model_bundle import LoadedModel, TrainedModel
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow
from fly64_assets.study.model import load_study
from fly64_assets_tests.solvers import closed_form_scan as closed
from fly64_assets_tests.solvers.closed_form_scan import DIAMETER_PX
from fly64_assets_tests.solvers.memory_checkpoint import MemoryCheckpoint

start_tensorflow(2)

from fly64_assets.solvers.training import TrainingDiverged  # noqa: E402 - TensorFlow at its top

pytestmark = pytest.mark.long
SEED = 123
COMMON = {
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 3e-3,
    "final_rate_fraction": 0.1,
    "weight_averaging": 0.9,
    "width": 8,
    "frame_px": 24,
}
STUDY = load_study()
PINN_SETTINGS = STUDY.ptychopinn.model_copy(
    update={
        **COMMON,
        "loss_group_size": 4,
        "loss_neighbours": 6,
        "field": STUDY.ptychopinn.field.model_copy(update=closed.SMALL_FIELD),
        "samples_per_epoch": 32,
    }
)
BASELINE_SETTINGS = STUDY.baseline.model_copy(update={**COMMON, "samples_per_epoch": 48})


def told(report: Progress) -> tuple[int, int, str, dict[str, float]]:
    return report.done, report.total, report.unit, dict(report.figures)


def quiet(progress: Progress) -> None:
    """Progress that nobody looks at."""


def train_pinn(
    gridsize: int = 2,
    *,
    measurement: Measurement | None = None,
    groups: int = 24,
    seed: int = SEED,
    progress: Callable[[Progress], None] = quiet,
    checkpoint: MemoryCheckpoint | None = None,
    **changes: object,
) -> TrainedModel:
    measurement = measurement or closed.scan(48, dose=1e4, seed=1)
    count = len(measurement)
    members = (
        closed.clustered_groups(count, 4, groups, seed=1)
        if gridsize == 2
        else np.arange(count)[:, None]
    )
    return ptychopinn.train(
        measurement,
        members,
        PINN_SETTINGS.model_copy(update=changes),
        gridsize=gridsize,
        probe_diameter_px=DIAMETER_PX,
        grouping_seed=seed,
        threads=2,
        progress=progress,
        checkpoint=checkpoint or MemoryCheckpoint(),
    )


def train_baseline(
    measurement: Measurement | None = None,
    patches: np.ndarray | None = None,
    *,
    checkpoint: MemoryCheckpoint | None = None,
    **changes: object,
) -> TrainedModel:
    measurement = measurement or closed.scan(48, dose=1e4, seed=1)
    return baseline.train(
        measurement,
        closed.patches_at(measurement.positions_px) if patches is None else patches,
        BASELINE_SETTINGS.model_copy(update=changes),
        seed=SEED,
        threads=2,
        progress=quiet,
        checkpoint=checkpoint or MemoryCheckpoint(),
    )


def stored(model: TrainedModel, folder: Path) -> LoadedModel:
    folder.mkdir(parents=True, exist_ok=True)
    model_bundle.save(model, folder, extra={"train/overlap_view": "0" * 64})
    return model_bundle.load(folder, expected_kind=model.kind)


@pytest.fixture(scope="module")
def pinn() -> TrainedModel:
    return train_pinn()


@pytest.fixture(scope="module")
def single() -> TrainedModel:
    return train_pinn(1)


@pytest.fixture(scope="module")
def supervised() -> TrainedModel:
    return train_baseline()


@pytest.fixture
def bundle(pinn: TrainedModel, tmp_path: Path) -> Path:
    stored(pinn, tmp_path)
    return tmp_path


def predict(model: LoadedModel, measurement: Measurement, batch_size: int = 64) -> np.ndarray:
    options = {"threads": 2, "progress": quiet, "batch_size": batch_size}
    if model.kind == "Baseline":
        patches = baseline.reconstruct(model, measurement, **options)
    else:
        patches = ptychopinn.reconstruct(model, measurement, grouping_seed=SEED, **options)
    np.testing.assert_array_equal(patches.positions_px, measurement.positions_px)
    assert patches.values.dtype == np.complex64 and patches.values.shape[1:] == (16, 16)
    return patches.values


def part(measurement: Measurement, index: np.ndarray) -> Measurement:
    return replace(
        measurement,
        diffraction=measurement.diffraction[index],
        positions_px=measurement.positions_px[index],
    )


# Training


def test_ptychopinn_is_not_given_the_truth():
    assert "true" not in str(inspect.signature(ptychopinn.train))
    assert "true_patches" in inspect.signature(baseline.train).parameters


def test_ptychopinn_finds_the_object_without_the_truth(tmp_path):
    measurement = closed.scan(160, dose=1e4, seed=1)
    reports: list[Progress] = []
    model = train_pinn(
        1,
        measurement=measurement,
        progress=reports.append,
        epochs=6,
        samples_per_epoch=144,
        width=16,
    )
    folds, steps = closed.SMALL_FIELD["folds"], closed.SMALL_FIELD["first_steps"]
    prepared, epochs = reports[: folds * steps], reports[folds * steps :]
    assert [told(report) for report in prepared] == [
        (number, folds * steps, "step", {"estimate": 1 + (number - 1) // steps, "of": folds})
        for number in range(1, folds * steps + 1)
    ]
    assert [report.done for report in epochs] == list(range(1, 7))
    assert {report.total for report in epochs} == {6} and epochs[0].unit == "epoch"
    assert set(epochs[0].figures) == {"loss", "validation_loss", "patterns_per_s"}
    losses = [row["validation_loss"] for row in model.history]
    assert model.best_epoch == 1 + int(np.argmin(losses)) > 1
    unseen = closed.scan(64, dose=1e4, seed=2)
    found = predict(stored(model, tmp_path), unseen)[:, 4:12, 4:12]
    truth = closed.patches_at(unseen.positions_px)[:, 12:20, 12:20]
    # A pattern says nothing of the global phase: one may be fitted per patch.
    phase = np.exp(1j * np.angle((truth * found.conj()).sum(axis=(1, 2), keepdims=True)))
    flat = np.exp(1j * np.angle(truth.sum(axis=(1, 2), keepdims=True)))
    error = np.linalg.norm(found * phase - truth)
    assert error < 0.6 * np.linalg.norm(0.9 * flat - truth)


def test_epochs_of_ptychopinn_are_validated_on_the_same_estimates():
    """A network that does not change has one validation loss, though the estimates go on."""
    still = train_pinn(epochs=4, learning_rate=1e-12)
    losses = [row["validation_loss"] for row in still.history]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)
    fitted = [row["loss"] for row in still.history]
    assert max(fitted) - min(fitted) > 1e-4 * fitted[0]


def test_baseline_learns_the_object(tmp_path):
    measurement = closed.scan(160, dose=1e4, seed=1)
    model = train_baseline(measurement, epochs=12, width=16)
    unseen = closed.scan(64, dose=1e4, seed=2)
    found = predict(stored(model, tmp_path), unseen)[:, 4:12, 4:12]
    truth = closed.patches_at(unseen.positions_px)[:, 12:20, 12:20]
    error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    assert error < 0.6 * np.linalg.norm(0.9 - truth) / np.linalg.norm(truth)


def test_baseline_trains_on_measured_images_on_new_exposures_and_on_both():
    losses = [
        [train_baseline(epochs=1, new_exposures=part).final_loss for _ in range(2)]
        for part in (0.0, 0.5, 1.0)
    ]
    assert np.isfinite(losses).all()
    assert all(first == again for first, again in losses)
    assert len({first for first, _ in losses}) == 3


@pytest.mark.parametrize(
    ("gridsize", "groups", "batch_size", "samples"),
    [
        (2, 18, 16, 16),  # sixteen groups of four in one batch
        (2, 6, 32, 5),  # fewer groups than a batch holds
        (1, 0, 7, 9),  # the last batch is smaller
    ],
)
def test_any_batch_size_trains(gridsize, groups, batch_size, samples):
    model = train_pinn(
        gridsize, groups=groups, batch_size=batch_size, samples_per_epoch=samples, epochs=1
    )
    assert np.isfinite(model.final_loss) and model.n_validation >= 1
    moved = model.model.get_layer("change_logits").kernel.numpy()
    assert np.abs(moved).max() > 0


def test_the_same_seed_gives_the_same_bytes(pinn, supervised, tmp_path):
    for model, again in ((pinn, train_pinn()), (supervised, train_baseline())):
        first, second = tmp_path / f"{model.kind}1", tmp_path / f"{model.kind}2"
        stored(model, first), stored(again, second)
        for name in ("model.keras", "bundle.json"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("train", [train_pinn, train_baseline])
def test_going_on_from_any_epoch_gives_the_same_bytes(train, tmp_path):
    whole = MemoryCheckpoint()
    uninterrupted = train(epochs=4, checkpoint=whole)
    stored(uninterrupted, tmp_path / "whole")
    assert [(s.done, s.total, s.unit) for s in whole.saved] == [
        (n, 4, "epoch") for n in (1, 2, 3, 4)
    ]
    for snapshot in whole.saved:
        rest = MemoryCheckpoint(snapshot)
        resumed = train(epochs=4, checkpoint=rest)
        assert [later.done for later in rest.saved] == list(range(snapshot.done + 1, 5))
        stored(resumed, tmp_path / "resumed")
        for name in ("model.keras", "bundle.json"):
            whole_bytes = (tmp_path / "whole" / name).read_bytes()
            assert (tmp_path / "resumed" / name).read_bytes() == whole_bytes, name
        for row, other in zip(resumed.history, uninterrupted.history, strict=True):
            assert {**row, "seconds": 0} == {**other, "seconds": 0}
        assert resumed.history[: snapshot.done] == uninterrupted.history[: snapshot.done]


def test_the_best_weights_outlive_an_interruption():
    """A snapshot taken after the best epoch still knows its weights."""
    whole = MemoryCheckpoint()
    train_pinn(epochs=3, checkpoint=whole)
    last = whole.saved[-1]
    history = [{**row, "validation_loss": float(row["epoch"])} for row in last.state["history"]]
    best = whole.saved[0].arrays
    arrays = {k: best.get(k, v) if k.startswith("best_") else v for k, v in last.arrays.items()}
    snapshot = replace(last, arrays=arrays, state={"history": history})
    resumed = train_pinn(epochs=3, checkpoint=MemoryCheckpoint(snapshot))
    assert resumed.best_epoch == 1
    first = [values for key, values in sorted(best.items()) if key.startswith("best_")]
    for found, wanted in zip(resumed.model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_stored_network_names_its_shared_objects_by_number(pinn, tmp_path):
    """Keras names them by address, which differs between processes while the weights do not."""
    config = zipfile.ZipFile(io.BytesIO(stored(pinn, tmp_path).archive)).read("config.json")
    numbers = [int(found) for found in re.findall(rb'"shared_object_id": (\d+)', config)]
    assert numbers and set(numbers) == set(range(1, max(numbers) + 1))


@pytest.mark.parametrize("train", [train_pinn, train_baseline])
def test_a_pattern_that_is_no_number_is_refused(train):
    """Some processors' activations turn NaN into 0: the loss would not tell."""
    measurement = closed.scan(48, dose=1e4, seed=1)
    measurement.diffraction[3, 5, 5] = np.nan
    with pytest.raises(InputError, match="diffraction: holds values that are not finite"):
        train(measurement=measurement)


def test_a_loss_that_is_no_number_stops_the_training():
    measurement = closed.scan(16, dose=1e4, seed=1)
    patches = closed.patches_at(measurement.positions_px)
    patches[3] = np.nan
    with pytest.raises(TrainingDiverged, match="Baseline: loss .*nan in epoch 1 of 2"):
        train_baseline(measurement, patches)


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        (np.zeros((5, 3), np.int64), r"shape is \(5, 3\); \(n, 4\)"),
        (np.zeros((0, 4), np.int64), r"shape is \(0, 4\)"),
        (np.array([[0, 1, 2, 48]]), "indices 0 to 48 do not fit 48 images"),
        (np.array([[0, 1, 2, 3]]), "1 groups leave none to fit"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, problem):
    with pytest.raises(InputError, match=f"train view: training_groups: {problem}"):
        ptychopinn.train(
            closed.scan(48, dose=1e4, seed=1),
            groups,
            PINN_SETTINGS,
            gridsize=2,
            probe_diameter_px=DIAMETER_PX,
            grouping_seed=SEED,
            threads=2,
            progress=quiet,
        )


def test_baseline_without_a_true_patch_per_image_is_refused():
    measurement = closed.scan(9, dose=1e4, seed=1)
    truth = closed.patches_at(measurement.positions_px)[:8]
    with pytest.raises(InputError, match="Y: shape is .*true patch of every image"):
        baseline.train(measurement, truth, BASELINE_SETTINGS, seed=SEED, threads=2, progress=quiet)


# Reconstruction


@pytest.mark.parametrize("name", ["pinn", "single", "supervised"])
def test_the_batch_size_changes_no_patch(name, request, tmp_path):
    model = stored(request.getfixturevalue(name), tmp_path)
    measurement = closed.scan(19, dose=1e4, seed=4)
    expected = predict(model, measurement, 64)
    assert np.ptp(np.abs(expected)) > 0
    for batch_size in (1, 5, 16, 19):
        np.testing.assert_allclose(
            predict(model, measurement, batch_size), expected, rtol=0, atol=2e-6
        )


@pytest.mark.parametrize("name", ["pinn", "single", "supervised"])
def test_patches_follow_their_positions(name, request, tmp_path):
    model = stored(request.getfixturevalue(name), tmp_path)
    measurement = closed.scan(21, dose=1e4, seed=4)
    order = np.random.default_rng([1]).permutation(21)
    np.testing.assert_allclose(
        predict(model, part(measurement, order)), predict(model, measurement)[order], atol=2e-6
    )


@pytest.mark.parametrize(("name", "least"), [("pinn", 4), ("single", 1), ("supervised", 1)])
def test_as_few_images_as_a_group_has_are_enough(name, least, request, tmp_path):
    model = stored(request.getfixturevalue(name), tmp_path)
    measurement = closed.scan(8, dose=1e4, seed=4)
    assert len(predict(model, part(measurement, np.arange(least)))) == least
    if least > 1:
        with pytest.raises(InputError, match=r"3 images cannot make groups of C = 4"):
            predict(model, part(measurement, np.arange(3)))


@pytest.mark.parametrize("name", ["pinn", "single"])
def test_a_patch_is_predicted_from_the_whole_view(name, request, tmp_path):
    """From the estimate of the view, also where one pattern enters the network at a time."""
    measurement = closed.scan(8, dose=1e4, seed=4)
    changed = measurement.diffraction.copy()
    changed[1:] = changed[1:, ::-1]
    model = stored(request.getfixturevalue(name), tmp_path)
    other = replace(measurement, diffraction=changed)
    assert np.abs(predict(model, other)[0] - predict(model, measurement)[0]).max() > 1e-4


def test_baseline_predicts_a_patch_from_its_pattern_alone(supervised, tmp_path):
    measurement = closed.scan(8, dose=1e4, seed=4)
    changed = measurement.diffraction.copy()
    changed[1:] = changed[1:, ::-1]
    model = stored(supervised, tmp_path)
    other = replace(measurement, diffraction=changed)
    np.testing.assert_allclose(predict(model, other)[0], predict(model, measurement)[0], atol=2e-6)


def test_reconstruction_reports_progress(pinn, tmp_path):
    reports: list[Progress] = []
    ptychopinn.reconstruct(
        stored(pinn, tmp_path),
        closed.scan(20, dose=1e4, seed=4),
        grouping_seed=SEED,
        threads=2,
        progress=reports.append,
        batch_size=8,
    )
    first, further = (closed.SMALL_FIELD[name] for name in ("first_steps", "further_steps"))
    rounds = [1] * first + [2] * further
    assert [told(report) for report in reports] == [
        *(
            (number, len(rounds), "step", {"round": of, "of": closed.SMALL_FIELD["rounds"]})
            for number, of in enumerate(rounds, start=1)
        ),
        *((done, 20, "pattern", {}) for done in (7, 14, 20)),
    ]


def test_a_measurement_that_the_network_was_not_made_for_is_refused(pinn, supervised, tmp_path):
    measurement = closed.scan(8, dose=1e4, seed=4)
    model = stored(pinn, tmp_path / "pinn")
    with pytest.raises(InputError, match="probe: differs from the measurement's by 0.5"):
        predict(model, replace(measurement, probe=0.5 * measurement.probe))
    smaller = replace(
        measurement,
        diffraction=measurement.diffraction[:, 4:-4, 4:-4],
        probe=measurement.probe[4:-4, 4:-4],
    )
    with pytest.raises(InputError, match="N: is 32, but the measurement has N = 24"):
        predict(model, smaller)
    wrong = stored(supervised, tmp_path / "baseline")
    with pytest.raises(InputError, match="kind: is Baseline, PtychoPINN wanted"):
        ptychopinn.reconstruct(wrong, measurement, grouping_seed=SEED, threads=2, progress=quiet)


# Bundles


def test_a_bundle_states_what_it_is(pinn, bundle):
    stated = json.loads((bundle / "bundle.json").read_text("utf-8"))
    assert stated["kind"] == "PtychoPINN"
    assert (stated["gridsize"], stated["N"], stated["seeds"]) == (2, 32, {"grouping": SEED})
    assert stated["inputs"] == {"train/overlap_view": "0" * 64}
    assert stated["n_parameters"] == pinn.n_parameters > 1000
    assert stated["epochs_completed"] == 2 and stated["best_epoch"] == pinn.best_epoch
    assert stated["final_loss"] == pinn.history[-1]["loss"]
    assert stated["best_validation_loss"] == pinn.best_validation_loss
    assert set(stated["frameworks"]) == {"keras", "numpy", "tensorflow"}
    assert "second" not in (bundle / "bundle.json").read_text("utf-8")
    lines = (bundle / "history.csv").read_bytes().decode("utf-8").split("\n")
    assert lines[0] == "epoch,loss,validation_loss,learning_rate,seconds"
    assert len(lines) == 4 and lines[-1] == ""


def test_a_bundle_predicts_what_the_trained_model_predicts(pinn, bundle):
    network = model_bundle.load(bundle, expected_kind="PtychoPINN").network(2)
    measurement = closed.scan(4, dose=1e4, seed=4)
    positions = np.zeros((1, 4, 2))
    inputs = [measurement.diffraction[None], positions, positions]
    inputs += [np.ones((1, 24, 24, 6)), np.zeros((1, 3))]
    np.testing.assert_array_equal(network(inputs), pinn.model(inputs))


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Rewrite the archive with changed members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    path.write_bytes(content.getvalue())


def change_a_weight(members: dict[str, bytes]) -> None:
    import h5py

    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        file["layers/known_probe/vars/0"][3, 4, 0] += 1e-3
    members["model.weights.h5"] = content.getvalue()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def state(path: Path, **changes: object) -> None:
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, **changes}))


@pytest.mark.parametrize(
    ("file", "damage", "problem"),
    [
        ("model.keras", Path.unlink, "cannot be read: No such file"),
        ("bundle.json", Path.unlink, "cannot be read: No such file"),
        ("model.keras", lambda path: path.write_bytes(b""), "is empty"),
        ("bundle.json", lambda path: path.write_bytes(b""), "is empty"),
        (
            "model.keras",
            lambda path: path.write_bytes(path.read_bytes()[:-100]),
            "no whole .keras archive",
        ),
        ("model.keras", flip_a_byte, "is altered|checksum is wrong|no whole .keras archive"),
        ("model.keras", lambda path: rewrite(path, change_a_weight), "weights_sha256: is"),
        (
            "model.keras",
            lambda path: rewrite(path, lambda members: members.pop("model.weights.h5")),
            "no whole .keras archive",
        ),
        ("bundle.json", lambda path: path.write_text("{"), "is not valid JSON"),
        ("bundle.json", lambda path: path.write_text("[]"), "holds no JSON object"),
        ("bundle.json", lambda path: state(path, kind="Baseline"), "kind: is Baseline"),
        ("bundle.json", lambda path: state(path, N=True), "N: is True, int wanted"),
        ("bundle.json", lambda path: state(path, core_px=None), "core_px: is None, int wanted"),
        ("bundle.json", lambda path: state(path, weights_sha256="0" * 64), "states 000000000000"),
    ],
)
def test_a_damaged_bundle_is_refused_by_file_key_and_rule(bundle, file, damage, problem):
    damage(bundle / file)
    with pytest.raises(InputError, match=problem) as refusal:
        model_bundle.load(bundle, expected_kind="PtychoPINN")
    named = "model.keras" if problem.startswith("states") else file
    assert str(bundle / named) == refusal.value.source


def test_a_lambda_in_the_archive_is_never_run(bundle):
    def add_lambda(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        config["config"]["layers"][0]["class_name"] = "Lambda"
        members["config.json"] = json.dumps(config).encode()

    rewrite(bundle / "model.keras", add_lambda)
    loaded = model_bundle.load(bundle, expected_kind="PtychoPINN")
    with pytest.raises(InputError, match="config.json: names Lambda, which no network here uses"):
        loaded.network(2)


def test_a_configuration_that_makes_no_network_is_refused(bundle):
    def cut_short(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        del config["config"]["layers"][1:]
        members["config.json"] = json.dumps(config).encode()

    rewrite(bundle / "model.keras", cut_short)
    loaded = model_bundle.load(bundle, expected_kind="PtychoPINN")
    with pytest.raises(InputError, match="config.json: is no network that Keras can make"):
        loaded.network(2)
