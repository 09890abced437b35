"""Iterative reconstruction: pty-chi's least-squares maximum likelihood (LSQML), phase F.

Belongs here: the translation between DATA-001 conventions and pty-chi's, the choice of pty-chi's
options, and what keeps pty-chi's process-wide side effects (default device and dtype, random
streams, logging) from reaching the caller. Does not belong here: scoring, files, the study matrix.

The algorithm is that of M. Odstrcil, A. Menzel and M. Guizar-Sicairos, "Iterative least-squares
solver for generalized maximum-likelihood ptychography", Optics Express 26, 3108 (2018).
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy

from fly64_assets.errors import InputError
from fly64_assets.solvers.interface import (
    Measurement,
    Progress,
    ProgressCallback,
    claim_process_for,
)

if TYPE_CHECKING:
    from fly64_assets.study import PtyChiSettings

SOURCE = "measurement"


class SolverDivergedError(RuntimeError):
    """The iteration produced something that is not a reconstruction; nothing is returned.

    Args:
        epoch: the epoch, counted from 1, in which it happened.
        problem: what was found.
    """

    def __init__(self, epoch: int, problem: str) -> None:
        self.epoch, self.problem = epoch, problem
        super().__init__(epoch, problem)

    def __str__(self) -> str:
        return f"LSQML diverged in epoch {self.epoch}: {self.problem}"


@dataclass(frozen=True, eq=False)
class IterativeReconstruction:
    """What an iterative solver delivers.

    Attributes:
        object: (H, W) complex64 on the measurement's canvas; 1 where no probe ever was.
        probe: (N, N) complex64 in the measurement's scaling: the known one, or the refined one.
        loss_history: (epoch counted from 1, loss) for every epoch. The loss is the negative
            log-likelihood per detector pixel above that of a perfect prediction (for Poisson data
            half the mean deviance), dimensionless, averaged over the epoch's mini-batches as each
            was before its update.
        epochs: how many were run.
        computation_time_s: seconds in the solver, without imports and without the callback.
        library_version: the version of pty-chi.
        batch_size: diffraction patterns in a mini-batch, at most.
        probe_refined: whether the probe was optimised together with the object.
        device: the type of torch device that was used, ``cpu`` or ``cuda``.
        algorithm: the published identifier of the algorithm.
    """

    object: np.ndarray
    probe: np.ndarray
    loss_history: list[tuple[int, float]]
    epochs: int
    computation_time_s: float
    library_version: str
    batch_size: int
    probe_refined: bool
    device: str
    algorithm: str = "LSQML"


def reconstruct(
    measurement: Measurement,
    settings: PtyChiSettings,
    *,
    seed: int,
    threads: int,
    progress: ProgressCallback,
) -> IterativeReconstruction:
    """Reconstruct the object of one split from a constant object of 1 with pty-chi's LSQML.

    The probe is held fixed unless ``settings.refine_probe``; a refined probe keeps the power of
    the given one, since the dose is known and object and probe would otherwise trade a factor.
    The same arguments give the same bits on the same type of processor.

    Args:
        measurement: see `Measurement`; every patch must lie inside the canvas.
        settings: the study's section for pty-chi.
        seed: of pty-chi's batches and of the perturbation of its Poisson step sizes, >= 0.
        threads: CPU threads of torch.
        progress: called after every ``epochs_per_chunk`` epochs and after the last one, with the
            figures ``loss`` and ``epochs_per_s``. What it raises ends the reconstruction.

    Raises:
        InputError: the measurement breaks DATA-001 or holds no counts.
        SolverDivergedError: a loss or a pixel is not finite, or the fit ended worse than it began.
        SolverEnvironmentError: TensorFlow is loaded in this process.
    """
    _refuse_unusable(measurement)
    claim_process_for("torch", forbidden="tensorflow")
    solver = _Solver(measurement, settings, seed=seed, threads=threads)
    while solver.epochs_done < settings.epochs:
        solver.advance(min(settings.epochs_per_chunk, settings.epochs - solver.epochs_done))
        figures = {
            "loss": solver.loss_history[-1][1],
            "epochs_per_s": solver.epochs_done / solver.run_s,
        }
        progress(Progress(solver.epochs_done, settings.epochs, "epochs", figures))
    solver.refuse_worse_than_start()
    return IterativeReconstruction(
        object=solver.object(),
        probe=solver.probe(),
        loss_history=solver.loss_history,
        epochs=solver.epochs_done,
        computation_time_s=solver.build_s + solver.run_s,
        library_version=solver.library_version,
        batch_size=solver.batch_size,
        probe_refined=settings.refine_probe,
        device=solver.device,
    )


def batch_size_for(n_images: int, batch_fraction: float) -> int:
    """Images in a mini-batch so that all mini-batches of an epoch are about equally large.

    ``ceil(1 / batch_fraction)`` batches, or fewer where there are not enough images; a remainder of
    a few images in a batch of its own would step the whole object by what those few say.

    Args:
        n_images: at least 1.
        batch_fraction: wanted part of the images in one mini-batch, 0 < fraction <= 1.
    """
    rounding = 1e-9  # 1 / 0.2 may come out a hair above 5
    n_batches = min(n_images, math.ceil(1 / batch_fraction - rounding))
    return math.ceil(n_images / n_batches)


def _refuse_unusable(measurement: Measurement) -> None:
    """Refuse what pty-chi would pad, broadcast or turn into NaN without a word."""

    def refuse(key: str, problem: str) -> None:
        raise InputError(SOURCE, key, problem)

    diffraction, positions = measurement.diffraction, measurement.positions_px
    shape = diffraction.shape
    if len(shape) != 3 or shape[0] == 0 or shape[1] != shape[2]:
        refuse("diffraction", f"shape is {shape}, (n, N, N) with n >= 1 is wanted")
    n, size = len(diffraction), measurement.patch_size
    if size % 2 or any(side % 2 or side < size for side in measurement.canvas_shape):
        refuse(
            "canvas_shape",
            f"canvas {tuple(measurement.canvas_shape)} and patch size {size} must be even, "
            "the canvas at least as large as a patch",
        )
    if measurement.probe.shape != (size, size):
        refuse("probe", f"shape is {measurement.probe.shape}, {(size, size)} is wanted")
    if positions.shape != (n, 2):
        refuse("positions_px", f"shape is {positions.shape}, {(n, 2)} is wanted")
    for key in ("diffraction", "positions_px", "probe", "intensity_scale"):
        if not np.isfinite(getattr(measurement, key)).all():
            refuse(key, "holds values that are not finite")
    limits = np.asarray(measurement.canvas_shape) - size / 2
    outside = ((positions < size / 2) | (positions > limits)).any(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        refuse(
            "positions_px",
            f"{int(outside.sum())} of {n} patches reach outside the canvas "
            f"{tuple(measurement.canvas_shape)}, the first at y, x = {positions[first].tolist()}",
        )
    if not measurement.intensity_scale > 0 or not diffraction.any():
        refuse("diffraction", "holds no counts at all")
    if not measurement.probe.any():
        refuse("probe", "is zero everywhere")


class _Solver:
    """A pty-chi task that is advanced some epochs at a time.

    All that a later resume from a chunk would have to save is in here: the task (object, probe,
    preconditioner, step-size buffers, epoch counter) and `_Isolation` (the random streams).
    """

    def __init__(
        self, measurement: Measurement, settings: PtyChiSettings, *, seed: int, threads: int
    ) -> None:
        import ptychi  # all of it before the clock starts
        import ptychi.api.task
        import torch

        self._isolation = _Isolation(threads, Path(ptychi.__file__).parent)
        self._to_counts_amplitude = measurement.intensity_scale / measurement.patch_size
        self.library_version = ptychi.__version__
        self.batch_size = batch_size_for(len(measurement), settings.batch_fraction)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.run_s = 0.0
        self.loss_history: list[tuple[int, float]] = []

        started = time.perf_counter()
        counts = np.square(measurement.diffraction * np.float32(measurement.intensity_scale))
        self._loss_floor = _loss_of_perfect_prediction(counts, settings.noise_model)
        probe = measurement.probe * self._to_counts_amplitude
        centred = measurement.positions_px - np.asarray(measurement.canvas_shape) / 2
        with self._isolation.entered():
            self._task = ptychi.api.task.PtychographyTask(
                _options(settings, float(np.sum(np.abs(probe) ** 2)), self.batch_size, seed),
                diffraction_data=counts,
                object_data=np.ones((1, *measurement.canvas_shape), np.complex64),
                probe_data=probe.astype(np.complex64)[None, None],
                probe_position_y_px=centred[:, 0].astype(np.float32),
                probe_position_x_px=centred[:, 1].astype(np.float32),
            )
        self.build_s = time.perf_counter() - started

    @property
    def epochs_done(self) -> int:
        return len(self.loss_history)

    def advance(self, epochs: int) -> None:
        """Run ``epochs`` more.

        Raises:
            SolverDivergedError: a loss, the object or the probe is no longer finite.
        """
        from torch.linalg import LinAlgError

        started = time.perf_counter()
        with self._isolation.entered():
            try:
                self._task.run(epochs)
            except LinAlgError as error:
                epoch = self._task.reconstructor.current_epoch + 1
                raise SolverDivergedError(epoch, f"step sizes cannot be solved, {error}") from error
        self.run_s += time.perf_counter() - started
        table = self._task.reconstructor.loss_tracker.table
        for epoch, loss in zip(table["epoch"], table["loss"], strict=True):
            if epoch >= self.epochs_done:
                if not math.isfinite(loss):
                    raise SolverDivergedError(int(epoch) + 1, f"the loss is {loss}")
                self.loss_history.append((int(epoch) + 1, float(loss) - self._loss_floor))
        for name in ("object", "probe"):
            if not np.isfinite(self._data(name)).all():
                raise SolverDivergedError(
                    self.epochs_done, f"the {name} holds values that are not finite"
                )

    def refuse_worse_than_start(self) -> None:
        """Refuse a fit that ended worse than it began.

        Raises:
            SolverDivergedError: names the epoch in which the loss first rose above the first one.
        """
        (_, first), (_, last) = self.loss_history[0], self.loss_history[-1]
        if last > first:
            epoch = next(epoch for epoch, loss in self.loss_history if loss > first)
            raise SolverDivergedError(
                epoch, f"the loss rose above that of the first epoch, from {first:g} to {last:g}"
            )

    def object(self) -> np.ndarray:
        """(H, W) complex64, a copy."""
        return self._data("object")[0].astype(np.complex64)

    def probe(self) -> np.ndarray:
        """(N, N) complex64 in the measurement's scaling, a copy."""
        return (self._data("probe")[0, 0] / self._to_counts_amplitude).astype(np.complex64)

    def _data(self, name: str) -> np.ndarray:
        return self._task.get_data_to_cpu(name, as_numpy=True)


def _options(settings: PtyChiSettings, probe_power: float, batch_size: int, seed: int) -> Any:
    """pty-chi's options for one reconstruction; needs an isolated process state."""
    import torch
    from ptychi import api

    options = api.LSQMLOptions()
    solver = options.reconstructor_options
    solver.num_epochs = settings.epochs
    solver.batch_size = batch_size
    solver.batching_mode = api.BatchingModes[settings.batching]
    solver.noise_model = api.NoiseModels[settings.noise_model]
    solver.displayed_loss_function = None  # the noise model's own: what LSQML minimises
    solver.random_seed = seed
    solver.allow_nondeterministic_algorithms = False
    solver.default_device = api.Devices.GPU if torch.cuda.is_available() else api.Devices.CPU
    # Both rescale the probe, by default even one that is not optimised.
    solver.rescale_probe_intensity_in_first_epoch = False
    options.object_options.remove_object_probe_ambiguity.enabled = False

    options.probe_options.optimizable = settings.refine_probe
    options.probe_options.power_constraint.enabled = settings.refine_probe
    options.probe_options.power_constraint.probe_power = probe_power
    # With even sides position 0 is then the canvas centre in pty-chi's convention and in ours.
    support = api.ObjectPosOriginCoordsMethods.SUPPORT
    options.object_options.determine_position_origin_coords_by = support
    return options


def _loss_of_perfect_prediction(counts: np.ndarray, noise_model: str) -> float:
    """pty-chi's loss where prediction and counts agree; its Poisson loss is not 0 there.

    Args:
        counts: (n, N, N) float32.
    """
    if noise_model != "POISSON":
        return 0.0
    return float(np.mean(counts - xlogy(counts, counts), dtype=np.float64))


@dataclass
class _Isolation:
    """Keeps what pty-chi changes in the process to the time it runs, and its log lines back.

    pty-chi draws from torch's, numpy's and Python's global random streams and sets torch's default
    device and dtype. Between two entries its state is kept here and the caller's is in place, so
    that a callback can neither see pty-chi's settings nor disturb its random numbers.
    """

    threads: int
    package: Path
    _inside: _ProcessState | None = field(default=None, init=False)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        import torch

        outside = _ProcessState.capture()
        if self._inside is not None:
            self._inside.install()
        torch.set_num_threads(self.threads)
        try:
            with _quiet(self.package):
                yield
        finally:
            self._inside = _ProcessState.capture()
            outside.install()


@dataclass(frozen=True, eq=False)
class _ProcessState:
    """torch's defaults and the global random streams of torch, numpy and Python."""

    device: Any
    dtype: Any
    threads: int
    torch_stream: Any
    cuda_streams: list[Any]
    numpy_stream: Any
    python_stream: Any

    @classmethod
    def capture(cls) -> _ProcessState:
        import torch

        return cls(
            device=torch.get_default_device(),
            dtype=torch.get_default_dtype(),
            threads=torch.get_num_threads(),
            torch_stream=torch.random.get_rng_state(),
            cuda_streams=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            numpy_stream=np.random.get_state(),
            python_stream=random.getstate(),
        )

    def install(self) -> None:
        import torch

        # None removes torch's hook into every call; a default of "cpu" would keep it.
        torch.set_default_device(None if self.device == torch.device("cpu") else self.device)
        torch.set_default_dtype(self.dtype)
        torch.set_num_threads(self.threads)
        torch.random.set_rng_state(self.torch_stream)
        if self.cuda_streams:
            torch.cuda.set_rng_state_all(self.cuda_streams)
        np.random.set_state(self.numpy_stream)
        random.setstate(self.python_stream)


@contextlib.contextmanager
def _quiet(package: Path) -> Iterator[None]:
    """Hold back what ``package`` logs below ERROR, and its progress bars, which follow the level.

    pty-chi logs through its own loggers and through the root logger, whose convenience functions
    install a handler in a process that has none; both are undone.
    """

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or package not in Path(record.pathname).parents

    root, own = logging.getLogger(), logging.getLogger(package.name)
    level, placeholder = own.level, logging.NullHandler()
    own.setLevel(logging.ERROR)
    root.addFilter(from_elsewhere)
    root.addHandler(placeholder)
    try:
        yield
    finally:
        root.removeHandler(placeholder)
        root.removeFilter(from_elsewhere)
        own.setLevel(level)
