"""How far a computation is, in words: units done, figures, throughput, time left.

A solver says how much it has done and what it sees (`solvers.interface.Progress`); how fast that
is, and how long it will take, is worked out here, the same for all of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from fly64_assets.solvers.interface import Progress, ProgressCallback

INTERVAL_S = 2.0
"""A line at most this often, so that a long run does not fill the event log."""
WINDOW_S = 60.0
"""What came before this does not count for the speed: a machine may have become busier."""
PER_SECOND = "_per_s"
RATE = f"patterns{PER_SECOND}"
"""The figure of a solver that knows its own throughput, without what lies between two reports."""


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


class Speed:
    """Units a second, from the reports of about the last minute.

    Two reports are the least: the time before the first holds imports and preparation, and a
    computation that goes on from a checkpoint does not begin at nothing.
    """

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> float | None:
        """Units a second as of ``now`` (seconds of any clock); None while that is not known."""
        if self._reports and done < self._reports[-1][1]:
            self._reports.clear()  # another part of the work began
        self._reports.append((now, done))
        while len(self._reports) > 2 and now - self._reports[1][0] > WINDOW_S:
            self._reports.popleft()
        begun, before = self._reports[0]
        return (done - before) / (now - begun) if now > begun and done > before else None


def reporter(
    label: str,
    log: Callable[[str], None],
    *,
    patterns_in: Callable[[str], int | None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> ProgressCallback:
    """Return a callback that logs how far ``label`` is, at most every few seconds and at the end.

    Args:
        label: what is computed.
        log: takes a line.
        patterns_in: diffraction patterns in one unit of progress, by the unit's name; None where
            that is not known, and then the throughput is told in units, or is the solver's own.
        clock: seconds that only grow.
    """
    speed, last, unit = Speed(), float("-inf"), ""

    def tell(progress: Progress) -> None:
        nonlocal speed, last, unit
        now = clock()
        if progress.unit != unit:
            # The speed of a preparation says nothing of what comes after it.
            speed, unit = Speed(), progress.unit
        own = progress.figures.get(f"{progress.unit}{PER_SECOND}")
        rate = speed.add(now, progress.done) or own
        finished = progress.done >= progress.total
        if not finished and now - last < INTERVAL_S:
            return
        last = now
        told = [f"{progress.unit} {progress.done:,}/{progress.total:,}"]
        told += [f"{name} {value:.4g}" for name, value in _seen(progress)]
        told += _throughput(progress, rate, patterns_in(progress.unit))
        if rate and not finished:
            told.append(f"{duration((progress.total - progress.done) / rate)} left")
        log(f"{label}: " + "  ".join(told))

    return tell


def _seen(progress: Progress) -> Iterator[tuple[str, float]]:
    """Yield the figures that are no speeds."""
    for name, value in progress.figures.items():
        if not name.endswith(PER_SECOND):
            yield name, value


def _throughput(progress: Progress, rate: float | None, patterns: int | None) -> list[str]:
    """Return the solver's own throughput, else patterns a second, else units a second."""
    if RATE in progress.figures:
        return [f"{progress.figures[RATE]:,.0f} patterns/s"]
    if rate is None:
        return []
    if patterns is not None:
        return [f"{rate * patterns:,.0f} patterns/s"]
    return [f"{rate:.3g} {progress.unit}/s"]
