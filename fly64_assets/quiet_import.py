"""How a server of steps loads a large library: unheard, and not ended by the user's ^C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_import() -> Iterator[None]:
    """Keep what libraries say while they are loaded from the terminal, and ^C from the server.

    A run that is interrupted ends its servers itself; one that would be hit here would print a
    traceback. A library that cannot be loaded is loaded again, and heard, by the step.
    """
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
        signal.signal(signal.SIGINT, usual)
