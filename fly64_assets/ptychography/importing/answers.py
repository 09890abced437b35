"""What a person may state about a file, and what an import changed. No arrays here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fly64_assets.errors import InputError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many frames are done, and of how many."""

UNNEEDED = {
    "probe_mode": "the probe has one mode",
    "nan": "every frame is finite",
    "start": "there are no start positions that differ from the positions",
}
"""Answers that only some files need -> why a file does not."""

STATED = "stated"
"""The reason of a change that an answer decided."""


@dataclass(frozen=True)
class Answers:
    """What only the person who made the file can know; ``None`` where nothing was stated.

    Attributes:
        keys: DATA-001 key -> name of the array in the file.
        values: what ``diffraction`` holds.
        intensity_scale: counts = (amplitude in the file * intensity_scale)**2.
        frames: which axis of ``diffraction`` (and ``Y``) counts the frames.
        zero_frequency: where the zero frequency lies in a pattern.
        axes: what the first coordinate (``xcoords``, or the first column of ``positions``) runs
            along: ``xy`` columns, ``yx`` rows.
        pixel_size: size of an object pixel in the unit of the positions.
        origin: which canvas pixel the positions count from.
        probe: NPZ file that holds ``probeGuess``.
        object: NPZ file that holds ``objectGuess``, or ``ones``: an empty canvas.
        probe_mode: which of several probe modes to keep.
        nan: what to do with frames that hold values that are not finite.
        start: whether start positions that differ from the positions are simulated position errors
            (``keep``) or something else (``drop``).
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    values: Literal["amplitude", "intensity"] | None = None
    intensity_scale: float | None = None
    frames: Literal["first", "last"] | None = None
    zero_frequency: Literal["centre", "corner"] | None = None
    axes: Literal["xy", "yx"] | None = None
    pixel_size: float | None = None
    origin: Literal["corner", "centre"] | None = None
    probe: str | None = None
    object: str | None = None
    probe_mode: int | None = None
    nan: Literal["drop-frames"] | None = None
    start: Literal["keep", "drop"] | None = None

    def stated(self) -> dict[str, Any]:
        """What was stated, as JSON values; file names without their folders."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, {})}
        for name in ("probe", "object"):
            if name in given:
                given[name] = given[name].replace("\\", "/").rsplit("/", 1)[-1]
        return given


@dataclass(frozen=True)
class Change:
    """One step from the foreign file to DATA-001.

    Attributes:
        key: the DATA-001 key, or the name in the file of what was dropped.
        change: what was done, in a word or two.
        before, after: as JSON values.
        reason: why, or how it was known.
    """

    key: str
    change: str
    before: Any
    after: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.change}: {self.before} -> {self.after} ({self.reason})"


class ChangeLog:
    """Every change, in the order in which it is made, and which answers were needed for them."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._needed: set[str] = set()

    def add(self, key: str, change: str, before: Any, after: Any, reason: str) -> None:
        self.changes.append(Change(key, change, before, after, reason))

    def need(self, option: str) -> None:
        """Note that the file raises the question that ``option`` answers."""
        self._needed.add(option)

    def refuse_unneeded(self, answers: Answers) -> None:
        """Refuse an answer to a question that the file did not raise: something was misunderstood.

        Only of the options that `UNNEEDED` lists; every other answer is followed wherever it is
        given, and one that the file contradicts is refused where it is read.

        Raises:
            InputError: names the option, its value and why there is no such question.
        """
        stated = answers.stated()
        for option, reason in UNNEEDED.items():
            if option in stated and option not in self._needed:
                problem = f"{stated[option]} was stated, but {reason}: leave it out"
                raise InputError(f"--{option.replace('_', '-')}", "", problem)
