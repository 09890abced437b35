"""Every question that an import may ask: one row each, with its option, its words, its answers.

The command line makes its options from the rows, the readers ask with their words, and the record
keeps what was stated. No arrays and nothing that is slow to import belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

TURNS = ("t", "x", "y", "xy", "tx", "ty", "txy")
"""Rows and columns exchanged (t), then columns (x), rows (y) or both mirrored."""
PATTERN_TURNS = ("none", *TURNS, *(f"{turn}0" for turn in TURNS[1:]))
"""With 0 they are mirrored about the zero frequency, pixel N/2; else as the array lies there."""
LONGEST_STATED_LAG = 1000


@dataclass(frozen=True)
class Question:
    """One row of the table.

    Attributes:
        help: what the option states, for the command line.
        words: the question where the data cannot tell; in braces what a file adds to it.
        choices: what may be answered, where that is a list.
        kind: what may be answered elsewhere: a number above 0, a lag, a probe mode or a text.
        metavar: how the command line shows what may be answered.
        many: whether the option may be repeated.
        unneeded: why a file does not raise the question, where an answer to it is then refused;
            every other answer is followed wherever it is given.
        step: the part of a `positions.Way` that is stated, and what leaves all as it is.
    """

    help: str
    words: str = ""
    choices: tuple[str, ...] = ()
    kind: Literal["text", "number", "lag", "mode"] = "text"
    metavar: str | None = None
    many: bool = False
    unneeded: str = ""
    step: tuple[str, Any] | None = None


QUESTIONS = {
    "keys": Question(
        "Which array of FILE a key is, e.g. diffraction=entry/data/data. May be repeated. "
        "positions=NAME names an (n, 2) array of both coordinates.",
        "{told} say --key {key}={name}{otherwise}",
        metavar="KEY=NAME",
        many=True,
    ),
    "values": Question(
        "What diffraction holds.",
        "{told}: amplitude or intensity? say --values amplitude or --values intensity",
        choices=("amplitude", "intensity"),
    ),
    "intensity_scale": Question(
        "counts = (amplitude * S)^2, amplitude as it is in FILE.",
        "{told}? say --intensity-scale{formula}",
        kind="number",
        metavar="S",
    ),
    "frames": Question(
        "Which axis counts the frames.",
        "shape is {shape}: which axis counts the frames? say --frames first or last",
        choices=("first", "last"),
    ),
    "zero_frequency": Question(
        "Where the zero frequency lies in a pattern.",
        "where is the zero frequency? {told}; say --zero-frequency centre or --zero-frequency "
        "corner",
        choices=("centre", "corner"),
    ),
    "flip_frames": Question(
        "Turn every pattern: rows and columns exchanged (t), then columns (x), rows (y) mirrored; "
        "0: about the zero frequency.",
        choices=PATTERN_TURNS,
        metavar="[t][x][y][0]|none",
        step=("turn", "none"),
    ),
    "axes": Question(
        "What xcoords, or the first column of positions, runs along: columns (xy) or rows (yx).",
        "which column is x? {told}; say --axes xy (the first) or --axes yx",
        choices=("xy", "yx"),
        step=("axes", "xy"),
    ),
    "pixel_size": Question(
        "Size of an object pixel in the unit of the positions, where that is not px.",
        "{told} say --pixel-size L, an object pixel in the same unit",
        kind="number",
        metavar="L",
    ),
    "origin": Question(
        "What the positions count from: the canvas' corner or centre; scan: anything, the scan's "
        "middle lies at the centre.",
        "{told}: {guess}",
        choices=("corner", "centre", "scan"),
    ),
    "flip": Question(
        "Coordinates that run against the canvas.",
        "{words}? {told}; say {take}, or {keep} to keep it",
        choices=("none", "x", "y", "xy"),
        step=("flip", "none"),
    ),
    "flip_about": Question(
        "Mirror these about the canvas' centre or the scan's middle.",
        choices=("canvas", "scan"),
        unneeded="nothing is mirrored by --flip",
        step=("about", "canvas"),
    ),
    "lag": Question(
        "Frame i was taken at position i + K; 0: the order is right.",
        "do patterns and positions belong together, in this order? {told}, no better than shuffled "
        "or otherwise wrong; best of {count} other ways {best:.3f} ({words}), none stands out; "
        "mend the file, or say --lag 0 to take it as it is (or --axes, --flip, --flip-frames, "
        "--conjugate)",
        kind="lag",
        metavar="K",
        step=("lag", 0),
    ),
    "conjugate": Question(
        "What has the other sign of phase.",
        choices=("none", "object", "probe", "both"),
        step=("conjugate", "none"),
    ),
    "probe": Question("NPZ or HDF5 file to take probeGuess from.", metavar="FILE"),
    "object": Question(
        "File to take objectGuess from; ones: an empty canvas.", metavar="FILE|ones"
    ),
    "probe_mode": Question(
        "Probe mode to keep, of several.",
        "holds {count} modes, DATA-001 has one: which? mode {strongest} has {share}; say "
        "--probe-mode strongest or K, 0 to {last}",
        kind="mode",
        metavar="K|strongest",
        unneeded="the probe has one mode",
    ),
    "mask": Question(
        "Pixels that count nothing: found by their values, or an array of FILE or of another "
        "file; not:NAME where 0 marks them. May be repeated.",
        "{told}: mask them? say {options}, or --mask none where all are counts",
        metavar="found|none|NAME|FILE",
        many=True,
    ),
    "bad_frames": Question(
        "Frames that are not finite, empty, or an earlier one again.",
        "{told}: leave these out with their positions? say --bad-frames drop{otherwise}",
        choices=("drop", "keep"),
        unneeded="every frame is finite, lit and different",
    ),
    "start": Question(
        "Start positions that differ: simulated position errors (keep), or of no use (drop).",
        "differs from {key} by up to {largest:.3g} px: simulated position errors? say --start "
        "keep, or --start drop to use the positions alone",
        choices=("keep", "drop"),
        unneeded="there are no start positions that differ from the positions",
    ),
}
"""Field of `Answers` -> its row, in the order in which the command line lists them."""

STEPS = {name: row.step for name, row in QUESTIONS.items() if row.step}
"""Field of `Answers` -> what of a `positions.Way` it states, and what leaves all as it is."""


@dataclass(frozen=True)
class Answers:
    """What only the person who made the file can know; ``None`` where nothing was stated.

    Each field is the answer to the row of `QUESTIONS` of its name, which says what it means.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    values: str | None = None
    intensity_scale: float | None = None
    frames: str | None = None
    zero_frequency: str | None = None
    flip_frames: str | None = None
    axes: str | None = None
    pixel_size: float | None = None
    origin: str | None = None
    flip: str | None = None
    flip_about: str | None = None
    lag: int | None = None
    conjugate: str | None = None
    probe: str | None = None
    object: str | None = None
    probe_mode: int | Literal["strongest"] | None = None
    mask: tuple[str, ...] = ()
    bad_frames: str | None = None
    start: str | None = None

    def given(self) -> dict[str, Any]:
        """Return what was stated, by option."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {}, ())}

    def stated(self) -> dict[str, Any]:
        """Return what was stated, as JSON values; file names without their folders."""
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


def option(name: str, value: Any = "") -> str:
    """Return a field of `Answers` as the command line writes it, with its value if any."""
    flag = "--key" if name == "keys" else f"--{name.replace('_', '-')}"
    return f"{flag} {value}" if value != "" else flag
