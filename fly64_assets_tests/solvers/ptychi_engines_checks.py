"""Real reconstructions with pty-chi. Run by ``test_ptychi_engines.py`` in a process of its own.

The specimen is an analytic function of continuous coordinates, so that the pattern at a fractional
position is known without any interpolation, and the direct forward model below is an oracle that
shares neither code nor conventions with pty-chi. Probe, specimen, canvas and scan are all
asymmetric: a swapped axis, a flip or a half-pixel error cannot cancel.
"""

from __future__ import annotations

import logging
import random
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from skimage.registration import phase_cross_correlation

from fly64_assets.ptychography.forward import extract_patches, far_field
from fly64_assets.solvers import ptychi_engines, ptychi_subpixel, ptychi_variation
from fly64_assets.solvers.interface import Measurement, Progress
from fly64_assets.solvers.ptychi_engines import SolverDivergedError
from fly64_assets.study.model import PtyChiSettings
from fly64_assets_tests.solvers.memory_checkpoint import MemoryCheckpoint

N = 32
CANVAS = (60, 76)
SEED = 456
SETTINGS = PtyChiSettings(
    engine="LSQML",
    noise_model="POISSON",
    epochs=50,
    epochs_per_chunk=20,
    batch_fraction=0.1,
    batch_limit=250,
    batching="UNIFORM",
    refine_probe=False,
    refine_from=0.25,
    damping=0.1,
    total_variation=0.0,
)
put_off = partial(pytest.param, marks=pytest.mark.long)
FEW_EPOCHS = SETTINGS.model_copy(update={"epochs": 6, "epochs_per_chunk": 3, "batch_fraction": 0.2})


def specimen(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Object transmission at continuous canvas coordinates, waves of 7 to 23 px."""
    waves = np.random.default_rng([3])
    phase, absorption = np.zeros(np.broadcast(y, x).shape), np.zeros(np.broadcast(y, x).shape)
    for period in (7, 9, 12, 16, 23):
        for field, strength in ((phase, 0.25), (absorption, 0.06)):
            angle, offset = waves.uniform(0, 2 * np.pi, 2)
            along = y * np.sin(angle) + x * np.cos(angle)
            field += strength * np.cos(2 * np.pi * along / period + offset)
    return np.exp(1j * phase - 0.2 + absorption)


def probe_function(curvature: float = 0.012) -> np.ndarray:
    """Unit power, off the centre, elliptic, curved and tilted."""
    y, x = np.mgrid[:N, :N] - N / 2.0
    envelope = np.exp(-(((y - 1) / 4.0) ** 2) / 2 - ((x + 1.5) / 5.0) ** 2 / 2)
    wave = envelope * np.exp(1j * (curvature * (y**2 + 0.6 * x**2) + 0.15 * x - 0.05 * y))
    return (wave / np.linalg.norm(wave)).astype(np.complex64)


def intensities(positions: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """(n, N, N) float64, of the unit-power probe, with the Fourier sum written out."""
    steps = np.arange(N) - N // 2
    kernel = np.exp(-2j * np.pi * np.outer(steps, np.arange(N)) / N) / np.sqrt(N)
    grid = np.arange(N) - N / 2
    patches = np.array([specimen(y + grid[:, None], x + grid[None, :]) for y, x in positions])
    return np.abs(kernel @ (probe * patches) @ kernel.T) ** 2


def measure(
    n: int = 80, dose: float = 1e6, noise: bool = False, low: tuple[float, float] = (N / 2, N / 2)
) -> Measurement:
    """A random scan between ``low`` and the far corner; its extremes touch the canvas edge."""
    draw = np.random.default_rng([n, 5])
    high = np.array(CANVAS) - N / 2
    positions = draw.uniform(low, high, (n, 2))
    positions[0] = high
    probe = probe_function()
    expected = intensities(positions, probe)
    expected *= dose / expected.sum(axis=(1, 2)).mean()
    scale = float(np.sqrt(expected.sum() / intensities(positions, probe).sum()))
    counts = draw.poisson(expected) if noise else expected
    return Measurement(
        (np.sqrt(counts) / scale).astype(np.float32), positions, probe, scale, CANVAS
    )


def ignore(_: Progress) -> None:
    pass


def run(
    measurement, settings=FEW_EPOCHS, *, seed=SEED, progress=ignore, checkpoint=None, **changes
):
    return ptychi_engines.reconstruct(
        measurement,
        settings.model_copy(update=changes),
        seed=seed,
        threads=1,
        progress=progress,
        checkpoint=checkpoint or MemoryCheckpoint(),
    )


def on_scanned_area(measurement: Measurement, canvas: np.ndarray) -> np.ndarray:
    low = np.ceil(measurement.positions_px.min(axis=0)).astype(int)
    high = np.floor(measurement.positions_px.max(axis=0)).astype(int)
    return canvas[low[0] : high[0], low[1] : high[1]]


def error_without_global_phase(measurement: Measurement, reconstructed: np.ndarray) -> float:
    """Relative root-mean-square error on the scanned area; scale, tilt and shift are errors."""
    truth = on_scanned_area(measurement, specimen(*np.ogrid[: CANVAS[0], : CANVAS[1]]))
    found = on_scanned_area(measurement, reconstructed)
    turned = found * np.exp(-1j * np.angle(np.vdot(truth, found)))
    return float(np.linalg.norm(turned - truth) / np.linalg.norm(truth))


@pytest.mark.long
def test_the_forward_model_of_ptychi_at_the_truth_is_the_measurement():
    measurement = measure(n=12)
    solver = ptychi_engines._Solver(measurement, SETTINGS, seed=SEED, threads=1)
    truth = specimen(*np.ogrid[: CANVAS[0], : CANVAS[1]])
    reconstructor = solver._task.reconstructor
    with torch.no_grad():
        reconstructor.parameter_group.object.set_data(
            torch.from_numpy(truth.astype(np.complex64)[None])
        )
        predicted = reconstructor.forward_model(torch.arange(12)).numpy()
    predicted = np.fft.fftshift(predicted, axes=(1, 2))
    counts = (measurement.diffraction.astype(float) * measurement.intensity_scale) ** 2
    assert np.abs(predicted - counts).sum() / counts.sum() < 2e-3
    flipped = predicted[:, ::-1, ::-1]
    assert np.abs(flipped - counts).sum() / counts.sum() > 0.1  # and the oracle can tell


@pytest.mark.parametrize(
    "low",
    [(N / 2, N / 2), put_off((CANVAS[0] / 2, N / 2)), put_off((N / 2, CANVAS[1] / 2))],
    ids=["all", "y", "x"],
)
def test_whole_and_half_canvas_come_out_in_place_and_to_scale(low):
    measurement = measure(low=low)
    # Without noise the amplitude fit, GAUSSIAN, converges in a third of the epochs.
    noiseless = {"noise_model": "GAUSSIAN", "epochs": 90}
    result = run(measurement, SETTINGS.model_copy(update=noiseless))
    truth = on_scanned_area(measurement, specimen(*np.ogrid[: CANVAS[0], : CANVAS[1]]))
    found = on_scanned_area(measurement, result.object)
    turned = found * np.exp(-1j * np.angle(np.vdot(truth, found)))
    shift, *_ = phase_cross_correlation(truth, turned, upsample_factor=50, normalization=None)
    assert np.abs(shift).max() < 0.05
    assert np.abs(turned).mean() / np.abs(truth).mean() == pytest.approx(1, abs=0.005)
    assert error_without_global_phase(measurement, result.object) < 0.03
    assert result.object.shape == CANVAS and result.object.dtype == np.complex64
    if low[0] > N or low[1] > N:
        assert result.object[0, 0] == 1  # nothing was invented where no probe was


def test_result_says_how_it_was_made():
    result = run(measure(n=23))
    assert (result.algorithm, result.library_version, result.device) == ("LSQML", "2.2.0", "cpu")
    assert (result.epochs, result.batch_size, result.probe_refined) == (6, 5, False)
    assert [epoch for epoch, _ in result.loss_history] == [1, 2, 3, 4, 5, 6]
    losses = [loss for _, loss in result.loss_history]
    assert losses[-1] < 0.2 * losses[0] and min(losses) > 0
    assert result.total_variation_weight == 0
    assert result.computation_time_s > 0


@pytest.mark.parametrize("noise_model", ["POISSON", "GAUSSIAN"])
def test_first_loss_is_that_of_the_starting_object(noise_model):
    chosen = {"noise_model": noise_model, "epochs": 1, "batch_fraction": 1.0}
    measurement = measure(n=9, dose=3000, noise=True)
    settings = SETTINGS.model_copy(update=chosen)
    solver = ptychi_engines._Solver(measurement, settings, seed=SEED, threads=1)
    solver.advance(1)
    assert solver.loss_history[0][1] == pytest.approx(solver._start_loss, rel=1e-3)


def test_a_known_probe_is_returned_as_it_was():
    measurement = measure(n=30)
    scaled = replace(measurement, probe=3 * measurement.probe)
    for given in (measurement, scaled):
        result = run(given, SETTINGS.model_copy(update={"epochs": 12}))
        assert result.probe.dtype == np.complex64
        np.testing.assert_allclose(result.probe, given.probe, rtol=1e-5, atol=1e-8)


def test_only_the_counts_matter_not_how_they_are_normalised():
    measurement = measure(n=30)
    other = replace(
        measurement,
        diffraction=measurement.diffraction * 4,
        probe=measurement.probe * 4,
        intensity_scale=measurement.intensity_scale / 4,
    )
    np.testing.assert_array_equal(run(measurement).object, run(other).object)


def mismatch(probe: np.ndarray, reference: np.ndarray) -> float:
    """1 - normalised overlap, the best over shift and tilt, which object and probe can trade."""
    frequency, place = np.fft.fftfreq(N), np.arange(N) - N / 2
    spectrum = np.fft.fft2(probe / np.linalg.norm(probe))

    def remaining(trade: np.ndarray) -> float:
        dy, dx, tilt_y, tilt_x = trade
        shift = np.exp(2j * np.pi * np.add.outer(frequency * dy, frequency * dx))
        tilt = np.exp(1j * np.add.outer(place * tilt_y, place * tilt_x))
        return 1 - float(np.abs(np.vdot(reference, np.fft.ifft2(spectrum * shift) * tilt)))

    return float(minimize(remaining, np.zeros(4), method="Nelder-Mead").fun)


@pytest.mark.long
def test_a_wrong_probe_is_refined_at_constant_power():
    truth = measure()
    wrong = replace(
        truth,
        probe=1.5 * probe_function(curvature=0.02),
        intensity_scale=truth.intensity_scale / 1.5,
        diffraction=truth.diffraction * 1.5,
    )
    held = run(wrong, SETTINGS)
    refined = run(wrong, SETTINGS.model_copy(update={"refine_probe": True}))
    assert (held.probe_refined, refined.probe_refined) == (False, True)
    assert mismatch(refined.probe, truth.probe) < 0.05 * mismatch(held.probe, truth.probe)
    assert refined.loss_history[-1][1] < 0.05 * held.loss_history[-1][1]
    assert np.linalg.norm(refined.probe) == pytest.approx(1.5, rel=1e-4)


def test_a_refined_probe_first_waits_for_the_object():
    settings = SETTINGS.model_copy(update={"refine_probe": True, "epochs": 8})
    measurement = measure(n=20)
    waiting = run(measurement, settings, refine_from=1.0)
    moving = run(measurement, settings, refine_from=0.5)
    np.testing.assert_allclose(waiting.probe, measurement.probe, rtol=1e-4, atol=1e-7)
    assert np.abs(moving.probe - measurement.probe).max() > 1e-3
    losses = [[loss for _, loss in result.loss_history] for result in (waiting, moving)]
    assert losses[0][:4] == losses[1][:4] and losses[0][6:] != losses[1][6:]


def test_same_seed_same_bits_however_it_is_chunked():
    measurement = measure(n=40, dose=1000, noise=True)
    chunked = [
        run(measurement, FEW_EPOCHS.model_copy(update={"epochs_per_chunk": size}))
        for size in (1, 4, 100)
    ]
    for result in chunked[1:]:
        np.testing.assert_array_equal(chunked[0].object, result.object)
        assert chunked[0].loss_history == result.loss_history
    assert not np.array_equal(chunked[0].object, run(measurement, seed=SEED + 1).object)


@pytest.mark.parametrize("noise_model", ["POISSON", put_off("GAUSSIAN")])
@pytest.mark.parametrize("batching", ["UNIFORM", put_off("RANDOM"), put_off("COMPACT")])
@pytest.mark.parametrize("refine_probe", [False, put_off(True)])
def test_going_on_from_any_chunk_gives_the_same_bits(refine_probe, batching, noise_model):
    """The random streams of this process stand elsewhere each time, as in another process."""
    changes = {
        "refine_probe": refine_probe,
        "batching": batching,
        "noise_model": noise_model,
        "epochs": 16,  # probe and preconditioner change from the fourth on
        "epochs_per_chunk": 5,
        "total_variation": 0.5,
    }
    measurement = measure(n=20, dose=3000, noise=True)
    whole = MemoryCheckpoint()
    uninterrupted = run(measurement, checkpoint=whole, **changes)
    assert [snapshot.done for snapshot in whole.saved] == [5, 10, 15, 16]
    for snapshot in whole.saved:
        torch.rand(3), np.random.rand(5), random.gauss(0, 1)
        rest = MemoryCheckpoint(snapshot)
        resumed = run(measurement, checkpoint=rest, **changes)
        assert [later.done for later in rest.saved] == [
            later.done for later in whole.saved if later.done > snapshot.done
        ]
        np.testing.assert_array_equal(resumed.object, uninterrupted.object)
        np.testing.assert_array_equal(resumed.probe, uninterrupted.probe)
        assert resumed.loss_history == uninterrupted.loss_history
        assert resumed.computation_time_s > snapshot.state["computation_time_s"]


OTHER_STREAM = torch.Generator().manual_seed(1).get_state().numpy()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("psi_step_sizes", lambda values: values[::-1]),
        ("preconditioner.object", lambda values: 2 * values),
        ("parameter.object.tensor.data", lambda values: values[:, ::-1]),
        ("random.torch", lambda values: OTHER_STREAM),
        ("random.numpy", lambda values: values[::-1]),
    ],
)
def test_what_a_snapshot_holds_decides_what_follows(name, change):
    """And so the comparison above can fail."""
    measurement, whole = measure(n=20, dose=3000, noise=True), MemoryCheckpoint()
    uninterrupted = run(measurement, checkpoint=whole)
    first = whole.saved[0]
    arrays = {**first.arrays, name: change(first.arrays[name])}
    changed = run(measurement, checkpoint=MemoryCheckpoint(replace(first, arrays=arrays)))
    assert not np.array_equal(changed.object, uninterrupted.object)


def scan_that_fills_its_frame() -> tuple[Measurement, np.ndarray]:
    """White object and probe at positions up to the canvas edge: nothing hides a wrap or a flip."""
    random = np.random.default_rng([11])
    canvas = random.normal(size=(*CANVAS, 2)) @ [1, 1j]
    probe = (random.normal(size=(N, N, 2)) @ [1, 1j]).astype(np.complex64)
    low, high = np.full(2, N / 2), np.array(CANVAS) - N / 2
    positions = np.concatenate([random.uniform(low, high, (9, 2)), [low, high, low + 3]])
    frames = np.ones((len(positions), N, N), np.float32)
    return Measurement(frames, positions, probe, 1.0, CANVAS), canvas.astype(np.complex64)


def test_patches_lie_where_the_simulator_cuts_them():
    measurement, canvas = scan_that_fills_its_frame()
    solver = ptychi_engines._Solver(measurement, SETTINGS, seed=SEED, threads=1)
    model = solver._task.reconstructor.forward_model
    padding = ptychi_subpixel.PADDING_PX
    cut = extract_patches(canvas, measurement.positions_px, N, padding_px=padding)
    expected = far_field(cut, measurement.probe) ** 2
    with torch.no_grad():
        model.object.set_data(torch.from_numpy(canvas[None]))
        patches = model.extract_object_patches(torch.arange(12)).numpy()[:, 0]
        predicted = np.fft.fftshift(model(torch.arange(12)).numpy(), axes=(1, 2))
    # Shifts go to the nearest pixel here and down there; only what wraps around may differ.
    whole = (measurement.positions_px % 1 < 0.5).all(axis=1)
    assert 2 < whole.sum() < 12
    np.testing.assert_allclose(patches[whole], cut[whole], atol=1e-4)
    np.testing.assert_allclose(predicted[whole], expected[whole], rtol=1e-3, atol=1e-2)


def test_putting_patches_back_is_the_adjoint_of_cutting_them():
    measurement, canvas = scan_that_fills_its_frame()
    windows = ptychi_subpixel._Windows(measurement, torch.device("cpu"))
    random, chosen = torch.Generator().manual_seed(3), torch.tensor([0, 7, 10, 11])
    image = torch.from_numpy(canvas)
    patches = torch.randn((4, N, N), dtype=torch.complex64, generator=random)
    forwards = torch.vdot(patches.reshape(-1), windows.cut(image, chosen).reshape(-1))
    backwards = torch.vdot(windows.put(patches, chosen).reshape(-1), image.reshape(-1))
    assert abs(forwards) > 1
    assert abs(forwards - backwards) < 1e-4 * abs(forwards)


def test_total_variation_of_a_complex_image_is_its_own_whatever_its_phase():
    """pty-chi's own step fails here: it would push a real image and a turned one differently."""
    _, canvas = scan_that_fills_its_frame()
    image = torch.from_numpy(canvas)
    plain = ptychi_variation.smoothed(image, 0.3)
    turned = ptychi_variation.smoothed(1j * image, 0.3)
    np.testing.assert_allclose(turned, 1j * plain, atol=1e-5)
    np.testing.assert_allclose(plain.mean(), image.mean(), atol=1e-6)


def test_total_variation_step_lowers_what_it_minimises():
    _, canvas = scan_that_fills_its_frame()
    image, weight = torch.from_numpy(canvas), 0.3

    def cost(candidate: torch.Tensor) -> float:
        variation = torch.linalg.vector_norm(ptychi_variation._gradient(candidate), dim=0).sum()
        return float((candidate - image).abs().square().sum() / 2 + weight * variation)

    found = ptychi_variation.smoothed(image, weight)
    assert cost(found) < 0.9 * cost(image)
    for other in (0.5, 1.5):  # of the way: the step is neither too short nor too long
        assert cost(found) < cost(image + other * (found - image))


def process_state() -> list[bytes]:
    return [
        repr((torch.get_default_device(), torch.get_default_dtype())).encode(),
        repr(torch.get_num_threads()).encode(),
        torch.random.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),
        repr(random.getstate()).encode(),
        repr((logging.getLogger().handlers, logging.getLogger().filters)).encode(),
        repr(logging.getLogger("ptychi").level).encode(),
    ]


def test_neither_the_caller_nor_the_callback_shares_state_with_ptychi():
    measurement = measure(n=40, dose=1000, noise=True)
    undisturbed = run(measurement)
    torch.set_default_dtype(torch.float64)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before, seen = process_state(), []

    def disturb(_: Progress) -> None:
        seen.append(process_state())
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        torch.set_default_dtype(torch.float16)

    try:
        quiet = run(measurement)
        assert process_state() == before
        disturbed = run(measurement, progress=disturb)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert seen[0] == before
    for result in (quiet, disturbed):
        np.testing.assert_array_equal(undisturbed.object, result.object)


def test_silent_but_for_the_callback(capfd, caplog, recwarn):
    measurement = measure(n=30)  # touches the edge, which pty-chi warns of through the root logger
    logging.getLogger().setLevel(logging.INFO)
    run(measurement, progress=lambda progress: logging.info("epoch %d", progress.done))
    assert [record.getMessage() for record in caplog.records] == ["epoch 3", "epoch 6"]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_progress_after_every_chunk_and_at_the_end():
    reports: list[Progress] = []
    settings = SETTINGS.model_copy(update={"epochs": 7, "epochs_per_chunk": 3})
    result = run(measure(n=20), settings, progress=reports.append)
    assert [(report.done, report.total, report.unit) for report in reports] == [
        (3, 7, "epochs"),
        (6, 7, "epochs"),
        (7, 7, "epochs"),
    ]
    history = dict(result.loss_history)
    assert [report.figures["loss"] for report in reports] == [history[3], history[6], history[7]]
    assert all(report.figures["epochs_per_s"] > 0 for report in reports)


def test_what_the_callback_raises_ends_the_run():
    calls = []

    def cancel(progress: Progress) -> None:
        calls.append(progress.done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(measure(n=20), progress=cancel)
    assert calls == [3]


@pytest.mark.parametrize("n", range(1, 11))
def test_a_handful_of_images(n):
    result = run(measure(n=n, dose=1000, noise=True))
    assert result.loss_history[-1][1] < result.loss_history[0][1]
    assert np.isfinite(result.object).all()


@pytest.mark.parametrize(
    ("batching", "noise_model"), [("RANDOM", "POISSON"), ("COMPACT", "GAUSSIAN")]
)
def test_the_other_batchings_and_noise_model_improve_on_no_object(batching, noise_model):
    settings = SETTINGS.model_copy(
        update={"batching": batching, "noise_model": noise_model, "epochs": 20}
    )
    measurement = measure(dose=1e5, noise=True)
    result = run(measurement, settings)
    no_object = error_without_global_phase(measurement, np.ones(CANVAS, np.complex64))
    assert error_without_global_phase(measurement, result.object) < 0.8 * no_object


def test_overflowing_counts_are_a_divergence_in_the_first_epoch():
    measurement = replace(measure(n=10), intensity_scale=1e19)
    with pytest.raises(SolverDivergedError, match="diverged in epoch 1") as diverged:
        run(measurement)
    assert diverged.value.epoch == 1


def test_a_pixel_that_is_not_finite_is_a_divergence():
    # Without damping, a pixel that no probe reaches is 0 / 0, and a shift spreads it.
    with pytest.raises(SolverDivergedError, match="the loss is nan"):
        run(measure(n=10, low=(CANVAS[0] / 2, N / 2)), damping=0.0)


def test_a_fit_that_runs_away_is_a_divergence():
    # A probe a thousand times too strong is first mended by the object.
    measurement = measure(n=40, dose=300, noise=True)
    measurement = replace(measurement, probe=1000 * measurement.probe)
    with pytest.raises(SolverDivergedError, match="diverged in epoch") as diverged:
        run(measurement, SETTINGS.model_copy(update={"epochs": 12}))
    assert 1 < diverged.value.epoch <= 12


def test_a_fit_that_ends_worse_than_it_began_is_a_divergence():
    solver = ptychi_engines._Solver(measure(n=10), SETTINGS, seed=SEED, threads=1)
    solver.loss_history += [(1, 3 * solver._start_loss), (2, solver._start_loss / 2)]
    solver.refuse_worse_than_start()  # it came back
    solver.loss_history.append((3, 2 * solver._start_loss))
    with pytest.raises(SolverDivergedError, match="in epoch 1: .*above the .* of no object"):
        solver.refuse_worse_than_start()


def test_a_perfect_start_is_no_divergence():
    measurement = measure(n=20)
    bare = np.abs(np.fft.fftshift(np.fft.fft2(measurement.probe, norm="ortho")))
    empty = replace(measurement, diffraction=np.repeat(bare[None], 20, 0).astype(np.float32))
    np.testing.assert_allclose(run(empty).object, 1, atol=0.01)


@pytest.mark.long
def test_total_variation_smooths_at_low_dose_and_vanishes_at_high_dose():
    def variation(result: ptychi_engines.IterativeReconstruction) -> float:
        scanned = on_scanned_area(noisy, result.object)
        return sum(float(np.abs(np.diff(scanned, axis=axis)).sum()) for axis in (0, 1))

    noisy = measure(dose=300, noise=True)
    settings = SETTINGS.model_copy(update={"epochs": 20})
    plain, smoothed = run(noisy, settings), run(noisy, settings, total_variation=1.0)
    assert variation(smoothed) < 0.9 * variation(plain)
    assert smoothed.loss_history[-1][1] > plain.loss_history[-1][1]
    expected = 1 / ptychi_engines.photons_per_pixel(noisy)
    assert smoothed.total_variation_weight == pytest.approx(expected)
    bright = run(measure(dose=3e5, noise=True), total_variation=1.0)
    assert bright.total_variation_weight < 2e-3 * smoothed.total_variation_weight


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_gpu_is_asked_for_by_name_and_has_to_repeat_itself(device):
    """pty-chi's scatter is deterministic on a CPU anyway; on a GPU it has to be told."""
    from ptychi import api

    asked = ptychi_engines._options(SETTINGS, device, 10, SEED).reconstructor_options
    gpu = device == "cuda"
    assert asked.default_device == (api.Devices.GPU if gpu else api.Devices.CPU)
    assert asked.allow_nondeterministic_algorithms == (not gpu)


def test_tensorflow_was_never_here():
    assert "tensorflow" not in sys.modules
