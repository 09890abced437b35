"""What passes between the platform and a solver. Plain arrays and numbers only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from fly64_assets.errors import InputError, SolverEnvironmentError

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import Dataset
    from fly64_assets.solvers.model_bundle import LoadedModel, TrainedModel
    from fly64_assets.study.arms import Iterative, Network


@dataclass(frozen=True, eq=False)
class Measurement:
    """One split of one view as a solver sees it: no truth, one convention for all solvers.

    The forward model is ``counts = (intensity_scale * abs(F(probe * patch)))**2`` with the
    orthonormal FFT, zero frequency at the centre; ``patch = object[y-N/2:y+N/2, x-N/2:x+N/2]``.

    Attributes:
        diffraction: (n, N, N) float32, DATA-001 amplitude, normalised; frames first.
        positions_px: (n, 2) float64, scan positions in canvas pixels, y then x.
        probe: (N, N) complex64, known.
        intensity_scale: counts = (diffraction * intensity_scale)**2.
        canvas_shape: (H, W) of the object canvas, even.
    """

    diffraction: np.ndarray
    positions_px: np.ndarray
    probe: np.ndarray
    intensity_scale: float
    canvas_shape: tuple[int, int]

    @property
    def patch_size(self) -> int:
        return self.diffraction.shape[-1]

    def __len__(self) -> int:
        return len(self.diffraction)


def measurement_of(dataset: Dataset) -> Measurement:
    """Take what a solver may see of a DATA-001 dataset: all but object and true patches."""
    import numpy as np

    return Measurement(
        diffraction=np.asarray(dataset.diffraction),
        positions_px=dataset.positions_px,
        probe=np.asarray(dataset.probe_guess),
        intensity_scale=float(dataset.metadata["physics"]["intensity_scale"]),
        canvas_shape=dataset.object_guess.shape,
    )


def require_finite(measurement: Measurement) -> None:
    """Refuse numbers that are none before a solver sees them.

    On some processors an activation turns NaN into 0, and a network trains on as if nothing were.

    Raises:
        InputError: a value of the measurement is not finite; the array is named.
    """
    import numpy as np

    from fly64_assets.ptychography.data001.npz import chunks

    for key in ("diffraction", "positions_px", "probe", "intensity_scale"):
        values = np.asarray(getattr(measurement, key))
        if not all(np.isfinite(part).all() for part in chunks(values)):
            raise InputError("measurement", key, "holds values that are not finite")


@dataclass(frozen=True, eq=False)
class Patches:
    """Object patches that a network predicted, one per scan position.

    Attributes:
        values: (n, F, F) complex64, F even, F <= N; pixel F/2 lies at the scan position.
        positions_px: (n, 2) float64, y then x.
    """

    values: np.ndarray
    positions_px: np.ndarray


@dataclass(frozen=True, eq=False)
class IterativeReconstruction:
    """What an iterative solver delivers.

    Attributes:
        object: (H, W) complex64 on the measurement's canvas; 1 where no patch ever was.
        probe: (N, N) complex64 in the measurement's scaling, as the solver held it at the end.
        loss_history: (epoch counted from 1, loss) for every epoch, per detector pixel,
            dimensionless, 0 for a perfect prediction, each mini-batch taken before its update; what
            is measured is the solver's own.
        epochs: how many were run.
        computation_time_s: seconds in the solver, without imports, callback and checkpoints; of all
            attempts together, where a checkpoint carried over what was done.
        library_version: the version of the library that computed.
        batch_size: diffraction patterns in a mini-batch, at most.
        probe_refined: whether the probe was optimised together with the object.
        total_variation_weight: of the step after each epoch, in the library's units; 0 for none.
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
    total_variation_weight: float
    device: str
    algorithm: str


@dataclass(frozen=True)
class Progress:
    """How far a solver is: ``done`` of ``total`` ``unit`` with the figures to show beside it."""

    done: int
    total: int
    unit: str
    figures: Mapping[str, float]


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a solver needs to go on in another process, to the same bits.

    Attributes:
        done, total, unit: how far it is, as in `Progress`; ``unit`` in the singular.
        arrays: name (no slash) -> array of plain values.
        state: JSON values.
    """

    done: int
    total: int
    unit: str
    arrays: Mapping[str, np.ndarray]
    state: Mapping[str, Any] = field(default_factory=dict)


class Checkpoint(Protocol):
    """Where a solver leaves its latest snapshot and finds that of an interrupted run.

    Whoever makes one answers for it that a snapshot only comes back to the same solver with the
    same inputs, settings and code, and whole.
    """

    def load(self) -> Snapshot | None:
        """Return what an interrupted run left, ``None`` to start from nothing."""

    def save(self, snapshot: Snapshot) -> None:
        """Keep this one instead of the one before."""


class NoCheckpoint:
    """Keeps nothing: every run starts from nothing."""

    def load(self) -> Snapshot | None:
        return None

    def save(self, snapshot: Snapshot) -> None:
        pass


NO_CHECKPOINT = NoCheckpoint()


def claim_process_for(library: str, *, forbidden: str) -> None:
    """Refuse to import ``library`` where ``forbidden`` already runs: together they crash.

    Raises:
        SolverEnvironmentError: the other library is loaded in this process.
    """
    if forbidden in sys.modules:
        raise SolverEnvironmentError(
            f"{library} cannot run in a process that has loaded {forbidden}; "
            "run each solver step in a process of its own (the default executor does)"
        )


class NetworkModule(Protocol):
    """What the module of a network has to have.

    ``settings`` are those of the model's product: the network's section of the study under its own
    name, ``gridsize``, ``seed`` and ``threads``. ``kind`` is the arm's name: two arms may share a
    module, and neither takes the other's bundle.
    """

    def train_on(
        self,
        dataset: Dataset,
        settings: Mapping[str, Any],
        *,
        kind: str,
        seed: int,
        progress: ProgressCallback,
        checkpoint: Checkpoint,
    ) -> TrainedModel:
        """Return the network, trained on a view of the train half with this seed."""

    def patches_of(
        self,
        loaded: LoadedModel,
        measurement: Measurement,
        *,
        kind: str,
        seed: int,
        threads: int,
        progress: ProgressCallback,
    ) -> Patches:
        """Object patches of any view, one per scan position."""


class IterativeModule(Protocol):
    """What the module of an iterative solver has to have.

    ``settings`` are those of the reconstruction's product: the solver's section of the study under
    its own name, ``seed`` and ``threads``.
    """

    def reconstruct_from(
        self,
        measurement: Measurement,
        settings: Mapping[str, Any],
        section: str,
        *,
        progress: ProgressCallback,
        checkpoint: Checkpoint,
    ) -> IterativeReconstruction:
        """Return the object of one half of a view."""


def network_module(arm: Network) -> NetworkModule:
    """Import the module of a network; TensorFlow is loaded only when it computes."""
    return cast(NetworkModule, import_module(arm.module_name))


def iterative_module(arm: Iterative) -> IterativeModule:
    """Import the module of an iterative solver; torch is loaded only when it computes."""
    return cast(IterativeModule, import_module(arm.module_name))
