"""The errors that a person sees. Nothing here knows of Dagster, files or solvers.

Every refusal names the file (or other source), the key, the value and the rule, so that one line is
enough to mend the input. The command line turns `InputError` into exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class InputError(Exception):
    """Input that breaks a rule: ``source: key: what is wrong, rule``.

    Args:
        source: file or other place the value came from.
        key: the key, column or option that is wrong; empty when the whole source is.
        problem: what is there and which rule it breaks.
    """

    next_step = ""
    """What to do, where every error of a class has the same answer."""

    def __init__(self, source: str | Path, key: str, problem: str) -> None:
        self.source, self.key, self.problem = str(source), key, problem
        super().__init__(source, key, problem)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.problem) if part)


class InfeasibleView(InputError):
    """A view that the scan cannot deliver, with the numbers that say so."""

    next_step = "change the view, or simulation.positions, in the study file"


class MissingFile(InputError):
    """No file where measured or specimen data should be."""

    next_step = "mend the path, or `specimen` where a study names it"


class UnreadableStudy(InputError):
    """No file, or none that can be read, where the study file should be."""

    next_step = "mend what names it: --study, FLY64_STUDY or another study's `extends`"


class UnusableInstance(InputError):
    """Settings of the Dagster instance that cannot be used, or records that are another study's."""

    next_step = (
        "mend the settings, or set FLY64_INSTANCE to others; docs/postgres.md says what they hold"
    )


class UnwritableResults(InputError):
    """A folder for results that takes no files."""

    next_step = "make it writable, or set FLY64_RESULTS to a folder that is"


class UnusableResults(InputError):
    """A path for results that no results can lie at."""

    next_step = "set FLY64_RESULTS to another folder, written out"


class NotTrusted(Exception):
    """A stored input that may not be consumed: missing, unchecked, failed or altered on disk."""


class InProgress(NotTrusted):
    """Another process is at the same work now.

    Attributes:
        pid: its number, where it has said so.
    """

    pid: int | None = None


class SolverEnvironmentError(RuntimeError):
    """TensorFlow and torch would meet in one process, which crashes the interpreter."""


LONGEST_LINE = 2000
"""Characters of a line for people; of a longer one, the middle is left out."""


def harmless(text: str, *, lines: bool = False) -> str:
    """Text for a terminal, whoever wrote it: what is not printable stands there as its escape.

    That takes the power from control characters (escape sequences that recolour, move or retitle),
    from those that turn the direction of writing or have no width, and from half characters, which
    no terminal can be sent. The command line prints nothing that has not passed through here.

    Args:
        text: of messages with what they quote: keys, values, names of files, reasons.
        lines: whether line ends stay, and lines have any length; else the result is one line.
    """
    if not lines and len(text) > LONGEST_LINE:
        half = LONGEST_LINE // 2
        text = f"{text[:half]} ... {len(text) - 2 * half:,} characters ... {text[-half:]}"
    if text.isprintable():
        return text
    kept = "\n" if lines else ""
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in text)


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """``; did you mean 'dense'?``, or nothing where nothing is near. Numbers are near by value."""
    names = list(known)
    folded = {name.lower(): name for name in names}
    near = [folded[one] for one in difflib.get_close_matches(typed.lower(), folded, n=1)]
    near = _nearest_number(typed, names) or near
    return f"; did you mean {near[0]!r}?" if near else ""


def _nearest_number(typed: str, names: list[str]) -> list[str]:
    try:
        wanted = float(typed)
        distances = {name: abs(float(name) - wanted) for name in names}
    except ValueError:
        return []
    return sorted(names, key=distances.__getitem__)[:1] if wanted == wanted else []
