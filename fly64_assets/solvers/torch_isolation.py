"""Keeps a torch library's side effects on the process inside: device, dtype, random streams, logs.

What does not belong here: anything about ptychography. torch is imported only inside functions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.solvers.interface import claim_process_for


def start_torch() -> None:
    """Claim this process for torch; call it before anything imports torch.

    Its OpenMP threads sleep while they wait for each other instead of turning in a circle. Alone on
    the cores that costs nothing that can be measured; beside other work the default takes 15 times
    as long (docs/results.md).

    Raises:
        SolverEnvironmentError: TensorFlow is loaded in this process.
    """
    claim_process_for("torch", forbidden="tensorflow")
    # Read once, when the library is loaded; a user's own setting wins.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Isolation:
    """Swaps the process-wide state that pty-chi changes in while it runs, and out again.

    pty-chi draws from the global random streams of torch, numpy and Python and sets torch's default
    device and dtype. Its state is kept between two entries, so that a callback can neither see it
    nor disturb its random numbers.

    Args:
        threads: of torch while pty-chi runs.
        package: the folder of pty-chi.
    """

    def __init__(self, threads: int, package: Path) -> None:
        self._threads, self._package = threads, package
        self._inside: dict[str, Any] | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        import torch

        state = _process_state()
        outside = {name: get() for name, (get, _) in state.items()}
        for name, value in (self._inside or outside).items():
            state[name][1](value)
        torch.set_num_threads(self._threads)
        try:
            with _quiet(self._package):
                yield
        finally:
            self._inside = {name: get() for name, (get, _) in state.items()}
            for name, value in outside.items():
                state[name][1](value)

    def random_streams(self) -> dict[str, np.ndarray]:
        """Where pty-chi's random streams stand, as plain arrays; call it after an entry."""
        assert self._inside is not None
        _, words, *rest = self._inside["numpy"]
        _, python_words, gauss = self._inside["python"]
        devices = [state.numpy() for state in self._inside["cuda"]]
        return {
            "torch": self._inside["torch"].numpy().copy(),
            "cuda": np.stack(devices) if devices else np.zeros((0, 0), np.uint8),
            "numpy": words.copy(),
            "numpy_rest": np.array(rest, np.float64),
            "python": np.array(python_words, np.uint32),
            "python_gauss": np.array([] if gauss is None else [gauss], np.float64),
        }

    def continue_streams(self, streams: Mapping[str, np.ndarray]) -> None:
        """Let pty-chi draw on from where `random_streams` of another process stood."""
        import torch

        assert self._inside is not None
        position, has_gauss, cached = streams["numpy_rest"].tolist()
        words = tuple(streams["python"].tolist())
        gauss = streams["python_gauss"].tolist()
        self._inside |= {
            "torch": torch.from_numpy(streams["torch"].copy()),
            "numpy": ("MT19937", streams["numpy"], int(position), int(has_gauss), cached),
            "python": (3, words, gauss[0] if gauss else None),
        }
        # On a machine with other devices there is nothing to continue, nor equal bits to promise.
        if len(streams["cuda"]) == len(self._inside["cuda"]):
            self._inside["cuda"] = [torch.from_numpy(state.copy()) for state in streams["cuda"]]


def _process_state() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """How to read and to set each piece of state that pty-chi changes, by name."""
    import torch

    def set_device(device: torch.device) -> None:
        # None is the CPU too, without the hook into every call that naming it would leave behind.
        torch.set_default_device(None if device.type == "cpu" else device)

    return {
        "device": (torch.get_default_device, set_device),
        "dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "threads": (torch.get_num_threads, torch.set_num_threads),
        "torch": (torch.random.get_rng_state, torch.random.set_rng_state),
        "cuda": (torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all),
        "numpy": (np.random.get_state, np.random.set_state),
        "python": (random.getstate, random.setstate),
    }


@contextlib.contextmanager
def _quiet(package: Path) -> Iterator[None]:
    """Hold back what ``package`` logs below ERROR, and its progress bars, which follow the level.

    pty-chi logs through loggers of its own and through the root logger, whose convenience functions
    install a handler in a process that has none.
    """

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or package not in Path(record.pathname).parents

    root, own, placeholder = logging.getLogger(), logging.getLogger("ptychi"), logging.NullHandler()
    level = own.level
    own.setLevel(logging.ERROR)
    root.addFilter(from_elsewhere)
    root.addHandler(placeholder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True")
            yield
    finally:
        root.removeHandler(placeholder)
        root.removeFilter(from_elsewhere)
        own.setLevel(level)
