"""What a pty-chi task holds between two epochs, as plain arrays, out and in again.

Belongs here: the inside of the LSQML and PIE reconstructors of pty-chi 2.2.0, of which its API
promises neither names nor meaning; the version is pinned. Does not belong here: what is
reconstructed and how (``ptychi_engines.py``), files. torch is imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.solvers.torch_isolation import Isolation

if TYPE_CHECKING:
    import torch

BATCHES = ("batches_of_indices", "clusters_of_indices")
"""Where a batch sampler keeps what it drew once: UNIFORM's, COMPACT's. RANDOM's draws anew."""
STEP_SIZES = "alpha_psi_far_all_pos"
"""LSQML's, of each pattern's exit wave; a PIE has none."""


def read(reconstructor: Any, isolation: Isolation) -> dict[str, np.ndarray]:
    """All that the next epoch depends on and that a new task would not have; copies.

    Momentum, step sizes of a mini-batch, gradients and accumulated intensities are not among it:
    momentum is off, and pty-chi sets the others anew in every epoch.

    Args:
        reconstructor: of a task that has run at least one epoch and uses plain gradient steps.
        isolation: holds the task's random streams.
    """
    arrays = {f"random.{name}": values for name, values in isolation.random_streams().items()}
    for name, parameter in vars(reconstructor.parameter_group).items():
        for key, tensor in parameter.state_dict().items():
            arrays[f"parameter.{name}.{key}"] = _to_numpy(tensor)
        if parameter.preconditioner is not None:
            arrays[f"preconditioner.{name}"] = _to_numpy(parameter.preconditioner)
    if hasattr(reconstructor, STEP_SIZES):
        arrays["psi_step_sizes"] = _to_numpy(getattr(reconstructor, STEP_SIZES))
    arrays["loader"] = _to_numpy(reconstructor.dataloader.generator.get_state())
    sampler = reconstructor.dataloader.batch_sampler
    for attribute in BATCHES:
        for number, batch in enumerate(getattr(sampler, attribute, ())):
            arrays[f"{attribute}.{number:05d}"] = _to_numpy(batch)
    return arrays


def write(
    reconstructor: Any, isolation: Isolation, arrays: Mapping[str, np.ndarray], *, epoch: int
) -> None:
    """Put what `read` gave into a new task of the same data and options.

    Args:
        epoch: how many the other task had run.
    """
    for name, parameter in vars(reconstructor.parameter_group).items():
        # In place, since optimizers hold on to these tensors.
        own = _within(arrays, f"parameter.{name}.")
        parameter.load_state_dict({key: _to_tensor(values) for key, values in own.items()})
        if f"preconditioner.{name}" in arrays:
            device = next(parameter.parameters()).device
            tensor = _to_tensor(arrays[f"preconditioner.{name}"])
            parameter.preconditioner = tensor.to(device)
    if hasattr(reconstructor, STEP_SIZES):
        getattr(reconstructor, STEP_SIZES).copy_(_to_tensor(arrays["psi_step_sizes"]))
    reconstructor.dataloader.generator.set_state(_to_tensor(arrays["loader"]))
    for attribute in BATCHES:
        batches = [_to_tensor(batch) for batch in _within(arrays, f"{attribute}.").values()]
        if batches:
            setattr(reconstructor.dataloader.batch_sampler, attribute, batches)
    reconstructor.current_epoch = epoch
    isolation.continue_streams(_within(arrays, "random."))


def _within(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin so, by the rest of their names, in order."""
    names = sorted(name for name in arrays if name.startswith(prefix))
    return {name.removeprefix(prefix): arrays[name] for name in names}


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _to_tensor(values: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(values.copy())
