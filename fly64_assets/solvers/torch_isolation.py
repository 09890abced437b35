"""Keeps a torch library's side effects on the process inside: device, dtype, random streams, logs.

What does not belong here: anything about ptychography. torch is imported only inside functions.
"""

from __future__ import annotations

import contextlib
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


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
        self._inside: list[Any] | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        import torch

        state = _process_state()
        outside = [get() for get, _ in state]
        for (_, put), value in zip(state, self._inside or outside, strict=True):
            put(value)
        torch.set_num_threads(self._threads)
        try:
            with _quiet(self._package):
                yield
        finally:
            self._inside = [get() for get, _ in state]
            for (_, put), value in zip(state, outside, strict=True):
                put(value)


def _process_state() -> tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...]:
    """How to read and to set each piece of state that pty-chi changes."""
    import torch

    def set_device(device: torch.device) -> None:
        # None is the CPU too, without the hook into every call that naming it would leave behind.
        torch.set_default_device(None if device.type == "cpu" else device)

    return (
        (torch.get_default_device, set_device),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.random.get_rng_state, torch.random.set_rng_state),
        (torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all),
        (np.random.get_state, np.random.set_state),
        (random.getstate, random.setstate),
    )


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
