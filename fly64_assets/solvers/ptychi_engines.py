"""Iterative reconstruction with pty-chi, phase F: LSQML (PtyChi) and ePIE.

Belongs here: the translation between DATA-001 conventions and pty-chi's, and the choice of
pty-chi's options. Does not belong here: pty-chi's side effects on the process
(``torch_isolation.py``), sub-pixel positions (``ptychi_subpixel.py``), smoothing
(``ptychi_variation.py``), what a task holds between two epochs (``ptychi_state.py``), scoring,
files, the study matrix.

LSQML is that of M. Odstrcil, A. Menzel and M. Guizar-Sicairos, "Iterative least-squares solver for
generalized maximum-likelihood ptychography", Optics Express 26, 3108 (2018); ePIE that of A. Maiden
and J. Rodenburg, "An improved ptychographical phase retrieval algorithm for diffractive imaging",
Ultramicroscopy 109, 1256 (2009).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import xlogy

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import release
from fly64_assets.solvers import ptychi_state, ptychi_subpixel, ptychi_variation
from fly64_assets.solvers.interface import (
    NO_CHECKPOINT,
    Checkpoint,
    IterativeReconstruction,
    Measurement,
    Progress,
    ProgressCallback,
    Snapshot,
    require_finite,
)
from fly64_assets.solvers.torch_isolation import Isolation, start_torch
from fly64_assets.study.model import EpieSettings, PtyChiSettings

Settings = PtyChiSettings | EpieSettings
SETTINGS: Mapping[str, type[Settings]] = {"ptychi": PtyChiSettings, "epie": EpieSettings}
"""Section of the study -> what it may say."""
AMPLITUDE = "AMPLITUDE"
"""What ePIE's loss looks at: the mean squared difference of amplitudes."""


class SolverDivergedError(RuntimeError):
    """The iteration produced something that is not a reconstruction; nothing is returned.

    Args:
        engine: of pty-chi.
        epoch: the epoch, counted from 1, in which it happened.
        problem: what was found.
    """

    def __init__(self, engine: str, epoch: int, problem: str) -> None:
        self.engine, self.epoch, self.problem = engine, epoch, problem
        super().__init__(engine, epoch, problem)

    def __str__(self) -> str:
        return f"{self.engine} diverged in epoch {self.epoch}: {self.problem}"


def reconstruct(
    measurement: Measurement,
    settings: Settings,
    *,
    seed: int,
    threads: int,
    progress: ProgressCallback,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> IterativeReconstruction:
    """Reconstruct the object of one split from a constant object of 1 with an engine of pty-chi.

    The probe is held fixed unless ``settings.refine_probe``; a refined probe keeps the power of
    the given one, since the dose is known and object and probe would otherwise trade a factor.
    The same arguments give the same bits on the same type of processor.

    The loss of LSQML is the negative log-likelihood per detector pixel above that of a perfect
    prediction (for Poisson data half the mean deviance), that of ePIE the mean squared difference
    of amplitudes.

    Args:
        measurement: see `Measurement`; every patch must lie inside the canvas.
        settings: the study's section for the engine.
        seed: of pty-chi's batches and of the perturbation of its Poisson step sizes, >= 0.
        threads: CPU threads of torch.
        progress: called after every ``epochs_per_chunk`` epochs and after the last one, with the
            figures ``loss`` and ``epochs_per_s``. What it raises ends the reconstruction.
        checkpoint: saved after each chunk, before ``progress`` tells of it; where it holds a
            snapshot, the reconstruction goes on from there, to the bits of an uninterrupted one.

    Raises:
        InputError: the measurement breaks DATA-001 or holds no counts.
        SolverDivergedError: a loss or a pixel is not finite, or the fit ended worse than it began.
        SolverEnvironmentError: TensorFlow is loaded in this process.
    """
    _refuse_unusable(measurement)
    start_torch()
    solver = _Solver(measurement, settings, seed=seed, threads=threads)
    saved = checkpoint.load()
    if saved is not None:
        solver.restore(saved)
    while solver.epochs_done < settings.epochs:
        solver.advance(min(settings.epochs_per_chunk, settings.epochs - solver.epochs_done))
        checkpoint.save(solver.snapshot(settings.epochs))
        figures = {
            "loss": solver.loss_history[-1][1],
            "epochs_per_s": solver.epochs_run / solver.run_s,
        }
        progress(Progress(solver.epochs_done, settings.epochs, "epochs", figures))
    solver.refuse_worse_than_start()
    return IterativeReconstruction(
        object=solver.object(),
        probe=solver.probe(),
        loss_history=solver.loss_history,
        epochs=solver.epochs_done,
        computation_time_s=solver.computation_time_s,
        library_version=solver.library_version,
        batch_size=solver.batch_size,
        probe_refined=settings.refine_probe,
        total_variation_weight=solver.total_variation_weight,
        device=solver.device,
        algorithm=settings.engine,
    )


def reconstruct_from(
    measurement: Measurement,
    settings: Mapping[str, Any],
    section: str,
    *,
    progress: ProgressCallback,
    checkpoint: Checkpoint,
) -> IterativeReconstruction:
    """See `arms.IterativeModule`."""
    return reconstruct(
        measurement,
        SETTINGS[section].model_validate(settings[section]),
        seed=settings["seed"],
        threads=settings["threads"],
        progress=progress,
        checkpoint=checkpoint,
    )


def batch_size_for(n_images: int, batch_fraction: float, batch_limit: int) -> int:
    """Images in a mini-batch so that all mini-batches of an epoch are about equally large.

    ``ceil(1 / batch_fraction)`` batches, fewer where there are not enough images and more where one
    would exceed the limit; a remainder of a few images in a batch of its own would step the whole
    object by what those few say.

    Args:
        n_images: at least 1.
        batch_fraction: wanted part of the images in one mini-batch, 0 < fraction <= 1.
        batch_limit: images in one mini-batch at most, at least 1.
    """
    rounding = 1e-9  # 1 / fraction may come out a hair above an integer
    n_batches = min(n_images, math.ceil(1 / batch_fraction - rounding))
    n_batches = max(n_batches, math.ceil(n_images / batch_limit))
    return math.ceil(n_images / n_batches)


def photons_per_pixel(measurement: Measurement) -> float:
    """Mean photons that an object pixel received, each pixel weighted with what it received.

    Weighted, it does not depend on where the object's margin is drawn, and one image has one too.
    """
    size = measurement.patch_size
    counts = float(np.sum(np.square(measurement.diffraction), dtype=np.float64))
    counts *= measurement.intensity_scale**2 / len(measurement)
    footprint = np.abs(measurement.probe.astype(np.complex128)) ** 2
    footprint *= counts / footprint.sum()
    received = np.zeros(measurement.canvas_shape)
    for y, x in np.rint(measurement.positions_px).astype(int) - size // 2:
        received[y : y + size, x : x + size] += footprint
    return float(np.sum(received**2) / np.sum(received))


def measured_pixels(measurement: Measurement) -> np.ndarray:
    """(H, W) bool: pixels of the patch, at the nearest whole pixel, of at least one position."""
    size = measurement.patch_size
    measured = np.zeros(measurement.canvas_shape, bool)
    for y, x in np.floor(measurement.positions_px - size / 2 + 0.5).astype(int):
        measured[y : y + size, x : x + size] = True
    return measured


def _refuse_unusable(measurement: Measurement) -> None:
    """Refuse what pty-chi would pad, broadcast or turn into NaN without a word."""

    def refuse(key: str, problem: str) -> None:
        raise InputError("measurement", key, problem)

    shape, positions = measurement.diffraction.shape, measurement.positions_px
    if len(shape) != 3 or shape[0] == 0 or shape[1] != shape[2]:
        refuse("diffraction", f"shape is {shape}, (n, N, N) with n >= 1 is wanted")
    n, size, canvas = shape[0], shape[1], tuple(measurement.canvas_shape)
    if size % 2 or any(side % 2 or side < size for side in canvas):
        refuse("canvas_shape", f"{canvas} with N = {size}: even and no smaller than N is wanted")
    for key, wanted in (("probe", (size, size)), ("positions_px", (n, 2))):
        if getattr(measurement, key).shape != wanted:
            refuse(key, f"shape is {getattr(measurement, key).shape}, {wanted} is wanted")
    require_finite(measurement)
    for key in ("diffraction", "probe", "intensity_scale"):
        if not np.any(getattr(measurement, key)):
            refuse(key, "is zero everywhere; there is nothing to reconstruct from")
    outside = ((positions < size / 2) | (positions > np.asarray(canvas) - size / 2)).any(axis=1)
    if outside.any():
        first = positions[np.argmax(outside)].tolist()
        refuse(
            "positions_px",
            f"{outside.sum()} of {n} patches reach outside the canvas {canvas}, "
            f"the first at (y, x) = {first}",
        )


class _Solver:
    """A pty-chi task that is advanced some epochs at a time, and can go on in another process."""

    def __init__(
        self,
        measurement: Measurement,
        settings: Settings,
        *,
        seed: int,
        threads: int,
    ) -> None:
        import ptychi  # all of it before the clock starts
        import ptychi.api.task
        import torch

        self.library_version = ptychi.__version__
        self._engine = settings.engine
        self.batch_size = batch_size_for(
            len(measurement), settings.batch_fraction, settings.batch_limit
        )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.run_s, self.earlier_s = 0.0, 0.0
        self.epochs_run = 0
        self.loss_history: list[tuple[int, float]] = []
        self._isolation = Isolation(threads, Path(ptychi.__file__).parent)
        # pty-chi's FFT is not normalised (DATA-001's is orthonormal) and its data are counts.
        self._probe_scale = measurement.intensity_scale / measurement.patch_size

        started = time.perf_counter()
        weight = settings.total_variation
        self.total_variation_weight = weight / photons_per_pixel(measurement) if weight else 0.0
        counts = measurement.diffraction * np.float32(measurement.intensity_scale)
        np.square(counts, out=counts)
        release(measurement.diffraction)
        probe = (measurement.probe * self._probe_scale).astype(np.complex64)
        # Behind an object of 1 every pattern is that of the bare probe.
        bare = np.abs(np.fft.fftshift(np.fft.fft2(probe))) ** 2
        self._start_loss, self._loss_offset = _losses(
            counts, bare, settings.noise_model if settings.engine == "LSQML" else AMPLITUDE
        )
        self._measured = measured_pixels(measurement)
        centred = measurement.positions_px - np.asarray(measurement.canvas_shape) / 2
        with self._isolation.entered():
            options = _options(settings, self.device, self.batch_size, seed)
            options.object_options.total_variation.enabled = weight > 0
            options.object_options.total_variation.weight = self.total_variation_weight
            refine_after = int(settings.refine_from * settings.epochs)
            options.probe_options.optimization_plan.start = refine_after
            options.probe_options.power_constraint.probe_power = float(np.sum(np.abs(probe) ** 2))
            self._task: Any = ptychi.api.task.PtychographyTask(
                options,
                diffraction_data=counts,
                object_data=np.ones((1, *measurement.canvas_shape), np.complex64),
                probe_data=probe[None, None],
                probe_position_y_px=centred[:, 0].astype(np.float32),
                probe_position_x_px=centred[:, 1].astype(np.float32),
            )
            # It has a shifted copy; the task would keep this one to its end.
            data: Any = self._task._task_data
            self._task._task_data = replace(data, diffraction_data=None)
            del counts
            reconstructor = self._task.reconstructor
            if settings.engine == "LSQML":
                ptychi_subpixel.move_object(reconstructor, measurement)
            elif not settings.refine_probe:
                _shift_probe_once(reconstructor)
            if weight:
                ptychi_variation.use_in(reconstructor, self.total_variation_weight)
        self.build_s = time.perf_counter() - started

    @property
    def epochs_done(self) -> int:
        return len(self.loss_history)

    @property
    def computation_time_s(self) -> float:
        """Of this process and of those whose work was restored."""
        return self.earlier_s + self.build_s + self.run_s

    def advance(self, epochs: int) -> None:
        """Run ``epochs`` more.

        Raises:
            SolverDivergedError: a loss, the object or the probe is no longer finite.
        """
        from torch.linalg import LinAlgError

        reconstructor: Any = self._task.reconstructor
        before = self.epochs_done
        started = time.perf_counter()
        with self._isolation.entered():
            try:
                self._task.run(epochs)
            except LinAlgError as error:
                epoch = reconstructor.current_epoch + 1
                problem = f"no step size exists, {error}"
                raise SolverDivergedError(self._engine, epoch, problem) from error
        self.run_s += time.perf_counter() - started
        self.epochs_run += epochs
        losses = reconstructor.loss_tracker.table["loss"].to_numpy(np.float64)
        for epoch, loss in enumerate(losses[-epochs:], start=before + 1):
            if not math.isfinite(loss):
                raise SolverDivergedError(self._engine, epoch, f"the loss is {loss}")
            self.loss_history.append((epoch, float(loss) - self._loss_offset))
        names: tuple[Literal["object", "probe"], ...] = ("object", "probe")
        for name in names:
            if not np.isfinite(self._data(name)).all():
                raise SolverDivergedError(
                    self._engine, self.epochs_done, f"the {name} is not finite"
                )

    def snapshot(self, epochs: int) -> Snapshot:
        """Where this solver stands, of ``epochs`` to be run."""
        state = {"losses": [*self.loss_history], "computation_time_s": self.computation_time_s}
        arrays = ptychi_state.read(self._task.reconstructor, self._isolation)
        return Snapshot(self.epochs_done, epochs, "epoch", arrays, state)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from where `snapshot` was taken; not a bit of what follows will differ."""
        reconstructor = self._task.reconstructor
        ptychi_state.write(reconstructor, self._isolation, snapshot.arrays, epoch=snapshot.done)
        self.loss_history = [(int(epoch), float(loss)) for epoch, loss in snapshot.state["losses"]]
        self.earlier_s = float(snapshot.state["computation_time_s"])

    def refuse_worse_than_start(self) -> None:
        """Refuse a fit that ended worse than the constant object it began with.

        Raises:
            SolverDivergedError: names the first epoch with such a loss.
        """
        start, offset = self._start_loss, self._loss_offset
        # pty-chi's single-precision loss cannot tell a perfect start from a perfect end.
        limit = start + 10 * float(np.finfo(np.float32).resolution) * (abs(start) + abs(offset))
        if self.loss_history[-1][1] > limit:
            epoch, loss = next(item for item in self.loss_history if item[1] > limit)
            raise SolverDivergedError(
                self._engine,
                epoch,
                f"the loss rose to {loss:g}, above the {start:g} of no object",
            )

    def object(self) -> np.ndarray:
        """(H, W) complex64, a copy; 1 where no patch is.

        Shifts and smoothing carry something over a patch's edge, which no pattern has measured.
        """
        found = self._data("object")[0].astype(np.complex64)
        return np.where(self._measured, found, np.complex64(1))

    def probe(self) -> np.ndarray:
        """(N, N) complex64 in the measurement's scaling, a copy."""
        return (self._data("probe")[0, 0] / self._probe_scale).astype(np.complex64)

    def _data(self, name: Literal["object", "probe"]) -> np.ndarray:
        return self._task.get_data_to_cpu(name, as_numpy=True)


def _options(settings: Settings, device: str, batch_size: int, seed: int) -> Any:
    """pty-chi's options, with every default off that would rescale a known probe."""
    from ptychi import api

    if isinstance(settings, PtyChiSettings):
        options = _lsqml_options(settings)
    else:
        options = api.EPIEOptions()
        options.object_options.alpha = settings.object_step
        options.probe_options.alpha = settings.probe_step
    solver, of_object, of_probe = (
        options.reconstructor_options,
        options.object_options,
        options.probe_options,
    )
    solver.num_epochs = settings.epochs
    solver.batch_size = batch_size
    solver.batching_mode = api.BatchingModes[settings.batching]
    solver.displayed_loss_function = None  # then the engine's own
    solver.random_seed = seed
    solver.default_device = api.Devices.GPU if device == "cuda" else api.Devices.CPU
    # Its faster scatter is nondeterministic on a GPU only.
    solver.allow_nondeterministic_algorithms = device == "cpu"
    of_object.remove_object_probe_ambiguity.enabled = False
    # Position 0 is then the centre of an even canvas, in pty-chi's convention and in DATA-001's.
    of_object.determine_position_origin_coords_by = api.ObjectPosOriginCoordsMethods.SUPPORT
    of_probe.optimizable = settings.refine_probe
    of_probe.power_constraint.enabled = settings.refine_probe
    return options


def _lsqml_options(settings: PtyChiSettings) -> Any:
    """Return the options of LSQML, with those that it alone has."""
    from ptychi import api

    options = api.LSQMLOptions()
    solver = options.reconstructor_options
    solver.noise_model = api.NoiseModels[settings.noise_model]
    # With a probe that stays as it is, its share in a joint step size only blurs the object's.
    solver.single_slice_solve_obj_prb_step_size_jointly = settings.refine_probe
    solver.rescale_probe_intensity_in_first_epoch = False
    solver.preconditioning_damping_factor = settings.damping
    # There is one mode: spares its update a second time.
    options.object_options.multimodal_update = False
    return options


def _shift_probe_once(reconstructor: Any) -> None:
    """Spare a known probe its two sub-pixel shifts per mini-batch, half of an engine's time.

    The shifted probes are kept, (n, 1, N, N) complex64; the shift of the probe's update has no
    reader and is left out. Every number that remains is the same to the bit.
    """
    import torch

    model = reconstructor.forward_model
    count, shifted = len(reconstructor.dataset), torch.empty(0)
    with torch.no_grad():
        for some in torch.arange(count).split(reconstructor.batch_size):
            probes = model.get_unique_probes(some)
            moved = model.shift_unique_probes(some, probes, first_mode_only=True)
            if not len(shifted):
                shifted = moved.new_empty((count, *moved.shape[1:]))
            shifted[some] = moved
    model.shift_unique_probes = lambda indices, *_, **__: shifted[indices]
    reconstructor.adjoint_shift_probe_update_direction = lambda _, update, **__: update


def _losses(counts: np.ndarray, predicted: np.ndarray, noise_model: str) -> tuple[float, float]:
    """(loss of a prediction, what pty-chi's loss has on top of it), both per detector pixel.

    Args:
        counts: (n, N, N) float32.
        predicted: (N, N), the same counts for every frame.
        noise_model: of LSQML, or `AMPLITUDE`.
    """
    if noise_model in ("GAUSSIAN", AMPLITUDE):
        apart = float(np.mean((np.sqrt(counts) - np.sqrt(predicted)) ** 2, dtype=np.float64))
        # Gaussian is of the amplitude, with a standard deviation of 1/2.
        return (2 if noise_model == "GAUSSIAN" else 1) * apart, 0
    terms = xlogy(counts, counts)
    offset = float(np.mean(np.subtract(counts, terms, out=terms), dtype=np.float64))
    floor = 1e-8  # of a prediction, as in torch's Poisson loss
    mean = counts.mean(axis=0, dtype=np.float64)
    return float(np.mean(predicted - mean * np.log(predicted + floor))) - offset, offset
