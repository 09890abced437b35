"""Signals to end: one of them stops all that a command was asked for, whenever it comes.

While a run goes on Dagster catches them and takes them for the end of that run, of a step, or,
where they meet the start of a step's process, for nothing; nobody means that who says stop. So
Python also writes the number of each signal into a pipe of ours (``signal.set_wakeup_fd``), whoever
handles it, and whoever would start something asks here first.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODE = 130
"""Of a command that a signal has ended, whichever it was."""
TOLD = "stopped; what was finished is kept, the same command goes on from there"
_pipe: int | None = None
_received = 0


def reset_inherited() -> None:
    """Let signals do what they usually do, whatever the parent has set for itself.

    A shell that is not interactive starts ``command &`` with SIGINT and SIGQUIT ignored, others
    block signals or ignore their children's end; all of it is inherited, also by what is started
    from here. An ignored SIGHUP stays ignored: that is ``nohup``, and meant.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def received() -> int:
    """How many signals to end have come since they are listened to."""
    global _received
    try:
        numbers = os.read(_pipe, 4096) if _pipe is not None else b""
    except BlockingIOError:
        numbers = b""
    _received += sum(number in ENDING for number in numbers)
    return _received


def check() -> None:
    """End here if a signal to end has come. Raises SystemExit."""
    if received():
        sys.exit(EXIT_CODE)


def ignore() -> None:
    """From here on this process is ending, and further signals do not disturb it."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def listening() -> Iterator[None]:
    """Count signals to end, whoever handles them; in the main thread, which alone gets them."""
    global _pipe, _received
    if _pipe is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _received = 0
    _pipe, written = os.pipe()
    for end in (_pipe, written):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    try:
        yield
    finally:
        received()
        signal.set_wakeup_fd(before)
        for end in (_pipe, written):
            os.close(end)
        _pipe = None


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """Do what ^C would do now: Dagster changes that while a run goes on."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(number, frame)


@contextmanager
def heeded(*, to_the_end: bool = False) -> Iterator[None]:
    """Let a signal to end end the program with its exit code, and say so, wherever it is now.

    A hang-up is one too, except where it is ignored (``nohup``).

    Args:
        to_the_end: the program ends with this: what comes afterwards does not change how.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True  # whoever catches what is raised here
        sys.exit(EXIT_CODE)

    with listening():
        signal.signal(signal.SIGINT, end)
        for number in ENDING[1:]:
            if number is not signal.SIGHUP or before[number] is not signal.SIG_IGN:
                signal.signal(number, _as_interrupt)
        try:
            yield
        except BaseException as error:
            code = error.code if isinstance(error, SystemExit) else None
            by_code = isinstance(error, SystemExit)
            ended = ended or (code == EXIT_CODE if by_code else received() > 0)
            if not ended:
                raise
        finally:
            if to_the_end:
                ignore()
            elif not ended:
                for number, handler in before.items():
                    signal.signal(number, handler)
        if ended:
            ignore()
            print(TOLD, file=sys.stderr, flush=True)
            sys.exit(EXIT_CODE)


def not_heard_by_servers() -> None:
    """Let this process, which others are forked from, outlive ^C and what else ends a whole group.

    Called in it as soon as it can; until then `held_back` keeps signals from it.
    """
    ignore()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


@contextmanager
def held_back() -> Iterator[None]:
    """Let signals to end wait, for this thread and for the processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
