"""Hold what a file states against what it has to state: JSON values and cells of a CSV file.

What is expected does not belong here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome

ROUNDING = 1e-13
SIX_DECIMALS = re.compile(r"-?\d+\.\d{6}")
LAST_DIGIT = 0.5e-6 + 2e-9
"""Half a unit of the sixth decimal, and what summing in another order can change."""
NOTHING = "nothing"
"""Stands for a value where there is none."""


def close(expected: float, found: Any, relative: float) -> bool:
    """Whether ``found`` is a finite number within ``relative`` of ``expected``; 0: equal.

    A tolerance also lets pass what rounding leaves of a zero.
    """
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return False
    rounding = ROUNDING if relative else 0.0
    return abs(found - expected) <= relative * max(abs(expected), abs(found)) + rounding


def differing(
    expected: Any, found: Any, *, relative: float = 0.0, key: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key, expected, found) of every place where a JSON value is not the expected one.

    Args:
        expected: dictionaries, lists and scalars.
        found: a parsed JSON value; whole keys count, and so does whether a number is a float.
        relative: tolerance of floats; 0 asks for the very double.
        key: where both stand.
    """
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            yield key, "an object", found
            return
        for name in [*expected, *(name for name in found if name not in expected)]:
            place = f"{key}.{name}" if key else str(name)
            if name not in found or name not in expected:
                yield place, expected.get(name, NOTHING), found.get(name, NOTHING)
            else:
                yield from differing(expected[name], found[name], relative=relative, key=place)
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list) or len(found) != len(expected):
            yield key, f"a list of {len(expected)}", found
            return
        for number, pair in enumerate(zip(expected, found, strict=True)):
            yield from differing(*pair, relative=relative, key=f"{key}[{number}]")
    elif isinstance(expected, float):
        if not isinstance(found, float) or not close(expected, found, relative):
            yield key, expected, found
    elif type(found) is not type(expected) or found != expected:
        yield key, expected, found


def agree(
    key: str, rule: str, expected: Any, found: Any, *, relative: float = 0.0
) -> Iterator[RuleOutcome]:
    """Yield an outcome of the whole, or one of each place that is not as expected.

    Args:
        key: of both; a place is named behind it.
        rule: in a few words.
        expected, found, relative: see `differing`.
    """
    wrong = list(differing(expected, found, relative=relative))
    if not wrong:
        yield RuleOutcome(key, rule, "all", "all", True)
    for place, wanted, stated in wrong:
        yield RuleOutcome(f"{key} {place}".rstrip(), rule, wanted, stated, False)


def same_number(stated: float | None, value: float | None) -> bool:
    """Whether a number with six decimals, or a blank, is a value, or that there is none."""
    if stated is None or value is None:
        return stated is value
    return stated == value or abs(stated - value) <= LAST_DIGIT


def same_cell(cell: str, value: float | None) -> bool:
    """Whether a cell is a value with six decimals, infinite, or blank where there is none."""
    if value is None or not cell:
        return value is None and not cell
    written = SIX_DECIMALS.fullmatch(cell) or cell in ("inf", "-inf")
    return bool(written) and same_number(float(cell), value)


def cell(value: float | None) -> str:
    """Return how a cell shows a value."""
    return "" if value is None else f"{value:.6f}"
