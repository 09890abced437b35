"""The last line of a terminal while runs go on: each step at work, for how long, and its last word.

Its times grow by themselves, so a step that prepares in silence is seen to be at work, and so is
the next run while no step has begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.text import Text

from fly64_assets.errors import harmless
from fly64_assets.pipeline.progress import duration


class LiveLine:
    """What rich renders anew at every refresh.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: dict[str, tuple[float, str]] = {}
        self._idle_since = clock()

    def started(self, step: str) -> None:
        self._steps[step] = (self._clock(), "")

    def said(self, step: str, text: str) -> None:
        """Its last word; one that was never seen to start starts now."""
        begun, _ = self._steps.get(step, (self._clock(), ""))
        self._steps[step] = (begun, text.splitlines()[0] if text else "")

    def ended(self, step: str) -> None:
        self._steps.pop(step, None)
        if not self._steps:
            self._idle_since = self._clock()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        line = self._text()
        line.truncate(options.max_width, overflow="ellipsis")
        yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def _text(self) -> Text:
        now = self._clock()
        told = [
            f"{step} {duration(now - begun)}" + (f": {text}" if text else "")
            for step, (begun, text) in self._steps.items()
        ]
        return Text(harmless(" | ".join(told)) or f"starting {duration(now - self._idle_since)}")
