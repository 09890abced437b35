"""Physics operations, losses and networks, in a process of their own.

An ordinary pytest file whose name keeps it from being collected: TensorFlow must not meet torch in
one process. ``test_networks.py`` runs it.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import xlogy

from fly64_assets.errors import SolverEnvironmentError
from fly64_assets.solvers.grouping import TURNS, split_positions
from fly64_assets.solvers.inference import predict_patches
from fly64_assets.solvers.interface import Measurement
from fly64_assets.solvers.resampling import central_patches
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow
from fly64_assets.study.model import load_study
from fly64_assets_tests.solvers import closed_form_scan as closed
from fly64_assets_tests.solvers.closed_form_scan import SIDE

start_tensorflow(2)

import keras  # noqa: E402 - the process is claimed first
import tensorflow as tf  # noqa: E402

from fly64_assets.solvers import physics_operations as physics  # noqa: E402
from fly64_assets.solvers.losses import PhysicsLoss, SupervisedLoss  # noqa: E402
from fly64_assets.solvers.networks import (  # noqa: E402
    Misfit,
    NetworkDesign,
    Turn,
    build_baseline,
    build_refiner,
)
from fly64_assets.solvers.training import (  # noqa: E402
    TrainingDiverged,
    TrainingResult,
    TrainingRows,
    epoch_rows,
    fit,
)


def design(group_size: int = 1, **changes: object) -> NetworkDesign:
    given = {
        "patch_size": SIDE,
        "group_size": group_size,
        "frame_px": 24,
        "width": 8,
        "depth": 1,
        "regularisation": 0.02,
    }
    return NetworkDesign(**{**given, **changes})


def baseline_network(group_size: int = 1) -> keras.Model:
    made = design(group_size)
    return build_baseline(made, closed.probe(), amplitude_limit=2.0, name="new", seed=1)


def refiner(group_size: int, *, moved: bool = False, seed: int = 1) -> keras.Model:
    """A new one, which changes nothing, or one that changes everything."""
    made = design(group_size)
    model = build_refiner(made, closed.probe(), misfit_floor=1e-4, name="refiner", seed=seed)
    if moved:
        kernel = model.get_layer("change_logits").kernel
        kernel.assign(np.random.default_rng([6]).normal(size=kernel.shape))
    return model


def test_threads_cannot_change_once_tensorflow_runs():
    tf.constant(1.0) + 1.0
    start_tensorflow(2)
    with pytest.raises(SolverEnvironmentError, match="2 threads, 3 were asked for"):
        start_tensorflow(3)


def test_a_cut_is_a_slice_and_goes_on_as_zero_or_as_a_mirror_image():
    image = np.random.default_rng([1]).normal(size=(20, 20)).astype(np.float32)
    for offset in ([0, 0], [3, -2], [-9, 11]):
        dy, dx = offset
        for mirror, mode in ((False, "constant"), (True, "symmetric")):
            found = physics.cut(tf.constant(image), tf.constant(offset), 16, mirror=mirror)
            padded = np.pad(image, 15, mode=mode)
            top, left = 15 + 10 - 8 + dy, 15 + 10 - 8 + dx
            np.testing.assert_allclose(found, padded[top : top + 16, left : left + 16], rtol=1e-6)


def test_cutting_with_zeros_is_the_adjoint_of_cutting_back():
    """<cut a, b> = <a, paste b>: what gathers a gradient must be what spreads the object."""
    random = np.random.default_rng([2])
    whole, part = random.normal(size=(20, 20)), random.normal(size=(16, 16))
    offset = tf.constant([5, -3])
    cut = physics.cut(tf.constant(whole, tf.float32), offset, 16, mirror=False)
    pasted = physics.cut(tf.constant(part, tf.float32), -offset, 20, mirror=False)
    assert np.sum(cut * part) == pytest.approx(np.sum(whole * pasted), rel=1e-5)


def test_the_probe_moves_by_the_sub_pixel_rest():
    rest = np.array([[0.3, -0.45], [0.0, 0.0], [-0.5, 0.2]], np.float32)
    found = physics.shifted_probes(tf.constant(closed.probe()), tf.constant(rest)).numpy()
    steps = np.arange(SIDE) - SIDE // 2
    y = steps[None, :, None] - rest[:, 0, None, None].astype(float)
    x = steps[None, None, :] - rest[:, 1, None, None].astype(float)
    np.testing.assert_allclose(found, closed.probe_at(y, x), atol=2e-4)


def test_the_forward_model_on_the_pixel_grid_is_that_of_patches_at_sub_pixel_positions():
    positions = np.random.default_rng([3]).uniform(30, 40, (6, 2))
    pixel, rest = split_positions(positions)
    windows = closed.patches_at(pixel.astype(float))
    probes = physics.shifted_probes(tf.constant(closed.probe()), tf.constant(rest))
    found = np.sqrt(physics.intensity(physics.far_field(probes * windows)))
    expected = np.fft.ifftshift(closed.diffraction_of(closed.patches_at(positions)), axes=(1, 2))
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())
    swapped = closed.patches_at(positions[:, ::-1])
    wrong = np.fft.ifftshift(closed.diffraction_of(swapped), axes=(1, 2))
    assert np.abs(found - wrong).max() > 0.02 * expected.max()


def test_half_the_deviance_is_the_log_likelihood_up_to_what_the_counts_alone_decide():
    random = np.random.default_rng([4])
    expected = random.uniform(0, 5, (3, 8, 8))
    counts = random.poisson(expected).astype(float)
    found = physics.half_poisson_deviance(
        tf.constant(counts, tf.float32), tf.constant(expected, tf.float32), 1e-3
    )
    likelihood = expected - xlogy(counts, expected + 1e-3) + 1e-3
    best = counts - xlogy(counts, counts)
    np.testing.assert_allclose(found, (likelihood - best).sum(axis=(1, 2)), rtol=1e-4)
    perfect = physics.half_poisson_deviance(counts, counts, 1e-12)
    np.testing.assert_allclose(perfect, 0.0, atol=1e-6)


def test_a_new_network_predicts_a_flat_object_and_the_illumination():
    measurement = closed.scan(6, dose=1e4, seed=1)
    model = baseline_network(3)
    offset = np.array([[[0, 0], [2, -1], [-3, 4]]], np.float32)
    frames = model([measurement.diffraction[None, :3], np.zeros((1, 3, 2)), offset]).numpy()
    np.testing.assert_allclose(frames[..., 0], 1.0, atol=1e-6)
    np.testing.assert_allclose(frames[..., 1], 0.0, atol=1e-6)
    power = np.abs(measurement.probe) ** 2
    moved = sum(np.roll(power, move.astype(int), (0, 1)) for move in offset[0])
    np.testing.assert_allclose(frames[0, ..., 2], moved[4:-4, 4:-4] / power.max(), atol=1e-4)


def test_the_misfit_vanishes_at_the_truth_and_leads_towards_it():
    positions = np.array([[36.0, 40.0], [34.0, 43.0]])
    truth = closed.patches_at(positions[:1], SIDE)
    measured = closed.diffraction_of(closed.patches_at(positions))[None]
    probes = np.broadcast_to(closed.probe(), (1, 2, SIDE, SIDE))
    packed_probes = np.stack([probes.real, probes.imag], axis=-1)
    offset = (positions - positions[:1])[None].astype(np.float32)
    layer = Misfit(floor=1e-6, frame_px=SIDE, regularisation=0.02)

    def misfit(estimate: np.ndarray) -> np.ndarray:
        packed = np.stack([estimate.real, estimate.imag], axis=-1)
        result = layer([packed, measured, packed_probes, offset]).numpy()
        return result[..., 0] + 1j * result[..., 1]

    lit = np.zeros((1, SIDE, SIDE), bool)
    lit[:, 10:22, 10:22] = True
    wrong = truth * np.exp(0.05j * np.cos(np.arange(SIDE)))
    assert np.abs(misfit(truth)[lit]).max() < 0.02 * np.abs(misfit(wrong)[lit]).max()
    towards = np.vdot((truth - wrong)[lit], misfit(wrong)[lit]).real
    assert towards > 0.5 * np.linalg.norm((truth - wrong)[lit]) ** 2


def test_a_turned_image_is_turned_back():
    images = np.random.default_rng([5]).normal(size=(8, 6, 6, 2)).astype(np.float32)
    turned = Turn(back=False)([images, TURNS]).numpy()
    ways = {turn.tobytes() for turn in turned[:, :3, :2, 0]}
    assert len(ways) == 8
    for image, found in zip(images, turned, strict=True):
        corners = [found[0, 0], found[0, -1], found[-1, 0], found[-1, -1]]
        wanted = [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]]
        np.testing.assert_array_equal(np.sort(corners, axis=0), np.sort(wanted, axis=0))
    np.testing.assert_array_equal(Turn(back=True)([turned, TURNS]), images)
    same = np.stack([images[0]] * 8)
    assert len({turn.tobytes() for turn in Turn(back=False)([same, TURNS]).numpy()}) == 8


def physics_loss(model: keras.Model, measurement: Measurement, fields: int) -> PhysicsLoss:
    return PhysicsLoss(
        model,
        measurement,
        fields=fields,
        group_size=2,
        frame_px=24,
        canvas_px=48,
        loss_floor_counts=1e-3,
    )


def field_of(estimate: np.ndarray) -> np.ndarray:
    """(H, W, 6), nothing wanted changed, all pixels measured equally well."""
    ones = np.ones(estimate.shape)
    parts = [estimate.real, estimate.imag, 0 * ones, 0 * ones, ones, ones]
    return np.stack(parts, axis=-1).astype(np.float32)


def test_the_physics_loss_of_an_estimate_left_as_it_is_is_what_numpy_computes():
    """Each row by its own field: a flat one and the truth."""
    measurement = closed.scan(24, dose=2000, seed=2)
    loss = physics_loss(refiner(2), measurement, 2)
    y, x = np.mgrid[: closed.CANVAS[0], : closed.CANVAS[1]]
    flat = np.ones(closed.CANVAS, complex)
    for number, estimate in enumerate((flat, closed.object_at(y, x))):
        loss.set_field(number, field_of(estimate))
    random = np.random.default_rng([5])
    rows = random.integers(0, 8, (3, 2 + 2 + 4))
    rows[:, 1] = field = np.array([0, 1, 0])
    targets = rows[:, 4:]
    scale = measurement.intensity_scale
    counts = (measurement.diffraction[targets].astype(float) * scale) ** 2
    known = closed.diffraction_of(closed.patches_at(measurement.positions_px)).astype(float)
    empty = closed.diffraction_of(np.ones((1, SIDE, SIDE))).astype(float)
    amplitude = np.where(field[:, None, None, None] == 1, known[targets], empty)
    expected = (amplitude * scale) ** 2 + 1e-3
    deviance = (expected - counts + xlogy(counts, counts / expected)).sum(axis=(2, 3)).mean()
    everything = (measurement.diffraction.astype(float) * scale) ** 2
    mean_counts = everything.sum(axis=(1, 2)).mean()
    assert float(loss(tf.constant(rows, tf.int32))) == pytest.approx(
        deviance / np.sqrt(mean_counts), rel=2e-4
    )


def test_a_predicted_frame_lies_in_the_field_where_its_position_is():
    measurement = closed.scan(24, dose=2000, seed=2)
    model = refiner(2, moved=True)
    loss = physics_loss(model, measurement, 1)
    y, x = np.mgrid[: closed.CANVAS[0], : closed.CANVAS[1]]
    field = field_of(closed.object_at(y, x))
    loss.set_field(0, field)
    pixel, rest = split_positions(measurement.positions_px)
    centre, members = pixel[5], np.array([5, 6])
    found = loss._predicted_object(
        tf.constant([3]), tf.constant([0]), tf.constant(members[None]), tf.constant(centre[None])
    )[0].numpy()
    window = tuple(slice(at - 12, at + 12) for at in centre)
    frame = model(
        [
            measurement.diffraction[None, members],
            rest[None, members],
            (pixel[members] - centre)[None].astype(np.float32),
            field[window][None],
            TURNS[None, 3],
        ]
    ).numpy()[0]
    expected = field[..., 0] + 1j * field[..., 1]
    inside = frame[..., 0] + 1j * frame[..., 1]
    assert np.abs(inside - expected[window]).max() > 0.01
    expected[window] = inside
    around = np.pad(expected, 24, mode="edge")
    wanted = around[centre[0] : centre[0] + 48, centre[1] : centre[1] + 48]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_supervised_loss_of_a_flat_object_is_what_numpy_computes():
    measurement = closed.scan(10, dose=2000, seed=3)
    truth = closed.patches_at(measurement.positions_px)
    model = baseline_network()
    loss = SupervisedLoss(model, measurement, truth, frame_px=24, smoothing=1e-3)
    core = slice(4, 28)
    weight = np.abs(measurement.probe[core, core]) ** 2
    difference = np.abs(truth[:, core, core] - 1)
    expected = (difference * weight).sum(axis=(1, 2)) / weight.sum()
    found = float(loss(tf.constant([[1, 0, 0], [4, 0, 0], [7, 0, 0]])))
    assert found == pytest.approx(expected[[1, 4, 7]].mean(), rel=1e-3)
    # A flat prediction cannot tell what was exposed anew: what is left is the turned truth.
    turned = np.abs(truth[4, ::-1, :].T[core, core] - 1)
    assert np.abs((turned * weight).sum() / weight.sum() - expected[4]) > 1e-3
    turn = int(np.flatnonzero((TURNS == [1, 0, 1]).all(axis=1))[0])
    found = float(loss(tf.constant([[4, turn, 9]])))
    assert found == pytest.approx((turned * weight).sum() / weight.sum(), rel=1e-3)


def test_a_new_exposure_differs_from_the_measured_one_by_its_noise_alone():
    model = baseline_network()
    kernel = model.get_layer("estimate_logits").kernel
    kernel.assign(np.random.default_rng([8]).normal(size=kernel.shape))

    def losses(dose: float, *rows: list[list[int]]) -> list[float]:
        measurement = closed.scan(10, dose=dose, seed=3)
        truth = closed.patches_at(measurement.positions_px)
        loss = SupervisedLoss(model, measurement, truth, frame_px=24, smoothing=1e-3)
        return [float(loss(tf.constant(batch))) for batch in rows]

    measured, drawn, again, other = losses(2000, [[2, 0, 0]], [[2, 0, 5]], [[2, 0, 5]], [[2, 0, 6]])
    assert drawn == again
    assert len({measured, drawn, other}) == 3
    measured, drawn, both, turned = losses(
        1e9, [[2, 0, 0]], [[2, 0, 5]], [[2, 0, 0], [2, 0, 5]], [[2, 3, 5]]
    )
    assert drawn == pytest.approx(measured, rel=1e-3)
    assert both == pytest.approx(measured, rel=1e-3)
    assert turned != pytest.approx(measured, rel=1e-3)


def test_exposures_are_poisson_counts_of_the_forward_model():
    random = np.random.default_rng([7])
    patches = closed.patches_at(random.uniform(30, 40, (40, 2)))
    expected = closed.diffraction_of(patches).astype(float) ** 2

    def counts(dose: float, seed: int) -> np.ndarray:
        scale = float(np.sqrt(dose))
        found = physics.exposures(patches, closed.probe(), scale, tf.constant([1, seed]))
        return (found.numpy().astype(float) * scale) ** 2

    np.testing.assert_allclose(counts(1e9, 1) / 1e9, expected, atol=1e-3 * expected.max())
    drawn, rate = counts(500, 1), 500 * expected
    np.testing.assert_allclose(drawn, np.rint(drawn), atol=1e-3)
    assert drawn.sum() == pytest.approx(rate.sum(), abs=4 * np.sqrt(rate.sum()))
    spread = np.sqrt((rate + 2 * rate**2).sum()) / rate.sum()
    assert ((drawn - rate) ** 2).sum() / rate.sum() == pytest.approx(1, abs=5 * spread)
    np.testing.assert_array_equal(drawn, counts(500, 1))
    assert (drawn != counts(500, 2)).any(axis=(1, 2)).all()


def test_patches_are_predicted_in_batches_of_one_size_that_are_traced_once():
    measurement = closed.scan(11, dose=2000, seed=4)
    model = baseline_network()
    kernel = model.get_layer("estimate_logits").kernel
    kernel.assign(np.random.default_rng([8]).normal(size=kernel.shape))
    centred, sizes, told = np.zeros((11, 1, 2), np.float32), [], []

    def inputs_of(index: np.ndarray) -> list[np.ndarray]:
        sizes.append(len(index))
        return [measurement.diffraction[index][:, None], centred[index], centred[index]]

    traced = []

    def network(inputs: list[tf.Tensor]) -> tf.Tensor:
        traced.append(inputs[0].shape)
        return model(inputs)

    patches = predict_patches(
        network, inputs_of, centred[:, 0], 16, batch_size=4, progress=lambda p: told.append(p.done)
    )
    assert sizes == [4, 4, 4] and told == [4, 8, 11] and len(traced) == 1
    frames = model(inputs_of(np.arange(11))).numpy()
    whole = central_patches(frames[..., 0] + 1j * frames[..., 1], centred[:, 0], 16)
    assert np.abs(whole - 1).max() > 0.01
    np.testing.assert_allclose(patches, whole, atol=1e-5)


def test_weights_come_from_the_seed_alone():
    def kernel(seed: int) -> np.ndarray:
        model = refiner(2, seed=seed)
        return np.concatenate([weight.numpy().ravel() for weight in model.trainable_weights])

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert np.any(kernel(1) != kernel(2))


@pytest.mark.parametrize("frame_px", [26, 36])
def test_a_frame_that_the_network_cannot_have_is_refused(frame_px):
    with pytest.raises(ValueError, match=f"frame_px is {frame_px}"):
        design(frame_px=frame_px)


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_epochs_of_any_length_string_passes_together(size):
    def rows_of_pass(number: int) -> np.ndarray:
        order = np.random.default_rng([9, number]).permutation(7)
        return np.stack([order, np.full(7, number)], axis=1)

    strung = np.concatenate([rows_of_pass(number) for number in range(12)])
    for epoch in range(4):
        found = epoch_rows(epoch, size, rows_of_pass)
        np.testing.assert_array_equal(found, strung[epoch * size : (epoch + 1) * size])


class OneNumber:
    """A model of one weight ``w`` and the loss ``mean((w - target[row])^2)``: all is known."""

    def __init__(self, targets: list[float]) -> None:
        self.targets = tf.constant(targets, tf.float32)
        self.model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.model.layers[0].kernel.assign([[0.0]])
        self.sizes: list[int] = []

    @property
    def weight(self) -> float:
        return float(self.model.layers[0].kernel[0, 0])

    def loss(self, rows: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda count: self.sizes.append(int(count)), [tf.shape(rows)[0]], [])
        weight = self.model.layers[0].kernel[0, 0]
        return tf.reduce_mean(tf.square(weight - tf.gather(self.targets, rows[:, 0])))

    def fit(
        self,
        validation: list[int],
        *,
        batch_size: int,
        epochs: int,
        rate: float,
        rows: int,
        averaging: float = 1e-9,
    ) -> TrainingResult:
        settings = load_study().baseline.model_copy(
            update={
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": rate,
                "final_rate_fraction": 0.5,
                "weight_averaging": averaging,
                "width": 4,
            }
        )
        order = np.arange(rows, dtype=np.int32)[:, None]
        held_out = np.array(validation, np.int32)[:, None]
        plan = TrainingRows(lambda epoch: order, held_out, 1)
        return fit(self.model, self.loss, plan, settings, lambda progress: None)


def test_the_weights_of_the_least_validation_loss_are_kept_not_the_last():
    """Fitting runs to 10 and passes the validation's 1 on the way."""
    case = OneNumber([10.0, 10.0, 10.0, 1.0])
    result = case.fit([3], batch_size=3, epochs=20, rate=0.2, rows=3)
    losses = [row["validation_loss"] for row in result.history]
    assert 1 < result.best_epoch == 1 + int(np.argmin(losses)) < 20
    assert (case.weight - 1) ** 2 == pytest.approx(min(losses), abs=1e-6)
    assert losses[-1] > 1 > min(losses)
    assert [row["epoch"] for row in result.history] == list(range(1, 21))
    rates = [row["learning_rate"] for row in result.history]
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(0.1)


def test_what_is_validated_and_kept_is_the_running_mean_of_the_weights():
    """Targets 1 and 3 by turns: a mean of weights lies between, the last of them does not."""
    case = OneNumber([1.0, 3.0, 2.0])
    result = case.fit([2], batch_size=1, epochs=40, rate=0.5, rows=2, averaging=0.9)
    assert case.weight == pytest.approx(2.0, abs=0.15)
    losses = [row["validation_loss"] for row in result.history]
    assert min(losses) == pytest.approx((case.weight - 2) ** 2, abs=1e-6)
    last = OneNumber([1.0, 3.0, 2.0])
    last.fit([2], batch_size=1, epochs=40, rate=0.5, rows=2)
    assert abs(last.weight - 2) > abs(case.weight - 2)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 64])
def test_every_row_counts_once_whatever_the_batch_size(batch_size):
    case = OneNumber([0.0, 1.0, 2.0, 3.0, 40.0])
    rows = 5
    result = case.fit(list(range(rows)), batch_size=batch_size, epochs=1, rate=1e-9, rows=rows)
    mean = (0 + 1 + 4 + 9 + 1600) / 5
    assert result.history[0]["loss"] == pytest.approx(mean, rel=1e-5)
    assert result.history[0]["validation_loss"] == pytest.approx(mean, rel=1e-5)
    assert sum(case.sizes) == 2 * rows and max(case.sizes) == min(batch_size, rows)


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_epoch():
    case = OneNumber([1.0, float("nan")])
    with pytest.raises(TrainingDiverged, match="validation loss nan in epoch 1 of 3"):
        case.fit([1], batch_size=1, epochs=3, rate=0.1, rows=1)
