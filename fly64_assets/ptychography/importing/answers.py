"""What a person may state about a file, what an import changed, what it asks. No arrays here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fly64_assets.errors import InputError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many frames are done, and of how many."""

UNNEEDED = {
    "probe_mode": "the probe has one mode",
    "bad_frames": "every frame is finite, lit and different",
    "start": "there are no start positions that differ from the positions",
    "flip_about": "nothing is mirrored by --flip",
}
"""Answers that only some files need -> why a file does not."""

STATED = "stated"
"""The reason of a change that an answer decided."""

TURNS = ("t", "x", "y", "xy", "tx", "ty", "txy")
"""Rows and columns exchanged (t), then columns (x), rows (y) or both mirrored."""
PATTERN_TURNS = ("none", *TURNS, *(f"{turn}0" for turn in TURNS[1:]))
"""With 0 they are mirrored about the zero frequency, pixel N/2; else as the array lies there."""


@dataclass(frozen=True)
class Answers:
    """What only the person who made the file can know; ``None`` where nothing was stated.

    Attributes:
        keys: DATA-001 key -> name of the array in the file.
        values: what ``diffraction`` holds.
        intensity_scale: counts = (amplitude in the file * intensity_scale)**2.
        frames: which axis of ``diffraction`` (and ``Y``) counts the frames.
        zero_frequency: where the zero frequency lies in a pattern.
        flip_frames: how patterns must be turned to fit object and probe, one of `PATTERN_TURNS`.
        axes: what the first coordinate (``xcoords``, or the first column of ``positions``) runs
            along: ``xy`` columns, ``yx`` rows.
        pixel_size: size of an object pixel in the unit of the positions.
        origin: what the positions count from: the canvas' first pixel, its centre, or anything, the
            middle of the scan lying at the canvas' centre.
        flip: which coordinates run against the canvas.
        flip_about: what these are mirrored about: the canvas' centre or the middle of the scan.
        lag: frame i was taken at position i + lag.
        conjugate: what has the other sign of phase.
        probe: NPZ file that holds ``probeGuess``.
        object: NPZ file that holds ``objectGuess``, or ``ones``: an empty canvas.
        probe_mode: which of several probe modes to keep, or the strongest.
        mask: where pixels that count nothing are said: ``found`` (by the values themselves),
            ``none``, the name of an array or a file; ``not:`` before it where 0 marks them.
        bad_frames: what to do with frames that are not finite, empty or repeated.
        start: whether start positions that differ from the positions are simulated position errors
            (``keep``) or something else (``drop``).
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    values: Literal["amplitude", "intensity"] | None = None
    intensity_scale: float | None = None
    frames: Literal["first", "last"] | None = None
    zero_frequency: Literal["centre", "corner"] | None = None
    flip_frames: str | None = None
    axes: Literal["xy", "yx"] | None = None
    pixel_size: float | None = None
    origin: Literal["corner", "centre", "scan"] | None = None
    flip: Literal["none", "x", "y", "xy"] | None = None
    flip_about: Literal["canvas", "scan"] | None = None
    lag: int | None = None
    conjugate: Literal["none", "object", "probe", "both"] | None = None
    probe: str | None = None
    object: str | None = None
    probe_mode: int | Literal["strongest"] | None = None
    mask: tuple[str, ...] = ()
    bad_frames: Literal["drop", "keep"] | None = None
    start: Literal["keep", "drop"] | None = None

    def given(self) -> dict[str, Any]:
        """What was stated, by option."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {}, ())}

    def stated(self) -> dict[str, Any]:
        """What was stated, as JSON values; file names without their folders."""
        given = self.given()
        for name in ("probe", "object"):
            if name in given:
                given[name] = _without_folder(given[name])
        if "mask" in given:
            given["mask"] = [_without_folder(one) if is_file(one) else one for one in self.mask]
        return given


def _without_folder(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def is_file(mask: str) -> bool:
    """Whether a mask is looked for in another file rather than in the one that is imported."""
    return mask.endswith((".npz", ".npy", ".h5", ".hdf5", ".cxi", ".nxs", ".mat"))


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


class OpenQuestions(InputError):
    """Everything that a file leaves open, at once.

    Attributes:
        questions: one error a question; the last may be what comes up if all suggestions are taken.
        options: of ``fly64 import``: what was stated and what is suggested; where nothing can be
            suggested the value is in capitals.
    """

    def __init__(self, questions: list[InputError], options: str) -> None:
        first = questions[0]
        super().__init__(first.source, first.key, first.problem)
        self.questions, self.options = tuple(questions), options

    def __str__(self) -> str:
        return "\n".join(str(question) for question in self.questions)


class ChangeLog:
    """Every change, in the order in which it is made, and every question that is open."""

    def __init__(self, path: Path, answers: Answers) -> None:
        self._path, self._answers = path, answers
        self.changes: list[Change] = []
        self.questions: list[InputError] = []
        self._suggested: dict[str, Any] = {}
        self._needed: set[str] = set()

    def add(self, key: str, change: str, before: Any, after: Any, reason: str) -> None:
        self.changes.append(Change(key, change, before, after, reason))

    def need(self, option: str) -> None:
        """Note that the file raises the question that ``option`` answers."""
        self._needed.add(option)

    def ask(self, key: str, question: str, **suggested: Any) -> None:
        """Note a question, and the answers with which the conversion goes on to find others.

        Args:
            key: what it is about.
            question: the evidence, the question, and the options that answer it.
            suggested: option -> answer; a name in capitals where there is none to go on with.
        """
        if suggested and "keys" not in suggested and suggested.keys() <= self._suggested.keys():
            return  # the same of another array
        self.questions.append(InputError(self._path, key, question))
        for option, answer in suggested.items():
            if option == "keys":
                answer = {**self._suggested.get("keys", {}), **answer}
            self._suggested[option] = answer

    def refuse_open(self, consequence: InputError | None = None) -> None:
        """Raise every open question, if there is one, and what came up after them."""
        if self.questions:
            follows = [] if consequence is None else [consequence]
            for error in follows:
                error.problem = f"with what is suggested: {error.problem}"
            raise OpenQuestions([*self.questions, *follows], self._options())

    def _options(self) -> str:
        given = self._answers.given()
        keys = {**given.pop("keys", {}), **self._suggested.pop("keys", {})}
        parts = [("--key", f"{key}={name}") for key, name in keys.items()]
        for option, value in {**given, **self._suggested}.items():
            for one in value if isinstance(value, list | tuple) else [value]:
                parts.append((f"--{option.replace('_', '-')}", str(one)))
        return " ".join(
            f"{option} {shlex.quote(value) if value.isprintable() else 'NAME'}"
            for option, value in parts
        )

    def refuse_unneeded(self) -> None:
        """Refuse an answer to a question that the file did not raise: something was misunderstood.

        Only of the options that `UNNEEDED` lists; every other answer is followed wherever it is
        given, and one that the file contradicts is refused where it is read.

        Raises:
            InputError: names the option, its value and why there is no such question.
        """
        stated = self._answers.stated()
        for option, reason in UNNEEDED.items():
            if option in stated and option not in self._needed:
                problem = f"{stated[option]} was stated, but {reason}: leave it out"
                raise InputError(f"--{option.replace('_', '-')}", "", problem)
