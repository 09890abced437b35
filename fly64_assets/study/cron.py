"""Cron expressions that a study may name: five fields of numbers and names, in UTC.

A part of what Dagster's schedules take, and nothing that they do not: no seconds, ``L``, ``#`` or
random parts. Plain text rules: read with the study, without Dagster.
"""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?")


def cron_problem(text: str) -> str:
    """Return what is wrong with a cron expression, to be read after it; empty where nothing is."""
    fields = text.lower().split(" ")
    if len(fields) != len(_FIELDS):
        return "is no cron expression of five fields with a space between them, such as '0 2 * * *'"
    found = []
    for field, (name, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
        values: set[int] = set()
        for part in field.split(","):
            matched = _PART.fullmatch(part)
            ends = [
                lowest + names.index(end) if end in names else int(end) if end.isdigit() else -1
                for end in (matched.groups()[:2] if matched else ())
                if end
            ]
            step = int(matched[3]) if matched and matched[3] else 1
            first, last = (ends[0], ends[-1]) if ends else (lowest, highest)
            # A step after a single number is read in two ways.
            single = len(ends) == 1 and matched is not None and matched[3] is not None
            if matched is None or not lowest <= first <= last <= highest or not step or single:
                return f"has the {name} {part!r}: {lowest} to {highest}, or *, is wanted"
            values |= set(range(first, last + 1, step))
        found.append(values)
    _, _, days, months, _ = found
    never = all(day > _LONGEST_MONTH[month - 1] for day in days for month in months)
    if never and fields[4] == "*":
        return "names a day that its months do not have"
    return ""
