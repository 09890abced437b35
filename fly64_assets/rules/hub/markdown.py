"""Reading the reports: headings, tables, paragraphs. What they must say does not belong here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fly64_assets.rules.hub.checks import Finding, shown

HEADING = re.compile(r"#+ ")
RULE = re.compile(r":?-+:?")
LONGEST = 10_000
"""Letters of a paragraph, about: what goes beyond is in no report of ours."""
BAR = re.compile(r"(?<!\\)\|")

Row = tuple[str, ...]
Item = str | list[Row]
"""A paragraph or a point of a list as one line; a table as rows of stripped cells, header first."""


@dataclass
class Section:
    """What stands under one heading, in order."""

    heading: str
    items: list[Item] = field(default_factory=list)

    @property
    def tables(self) -> list[list[Row]]:
        return [item for item in self.items if isinstance(item, list)]

    @property
    def texts(self) -> list[str]:
        return [item for item in self.items if isinstance(item, str)]


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text in order; what stands before any heading is under ``""``.

    The second row of a table is its rule; where it is another, it stays a row. A line goes on with
    the paragraph or the point before it, when no line is between them.
    """
    found, before = [Section("")], ""
    for line in text.split("\n"):
        items = found[-1].items
        if HEADING.match(line):
            found.append(Section(line))
        elif line.startswith("|"):
            if not before.startswith("|"):
                items.append([])
            items[-1].append(_cells(line))
        elif line:
            goes_on = before and not line.startswith("- ") and not HEADING.match(before)
            if goes_on and items and isinstance(items[-1], str):
                if len(items[-1]) < LONGEST:
                    items[-1] += f" {line}"
            else:
                items.append(line)
        before = line
    for section in found:
        for table in section.tables:
            if len(table) > 1 and all(RULE.fullmatch(cell) for cell in table[1]):
                del table[1]
    return found if found[0].items else found[1:]


def _cells(line: str) -> Row:
    _, *cells, rest = BAR.split(line)
    return tuple(cell.strip().replace("\\|", "|") for cell in (*cells, *([rest] if rest else [])))


def compare_rows(
    file: str, where: str, expected: Sequence[Row], found: Sequence[Row]
) -> Iterator[Finding]:
    """Findings for every cell that differs; a row is named by its first cells."""
    if len(found) != len(expected):
        yield Finding(file, where, f"the table has {len(found)} rows, expected {len(expected)}")
    for one, other in zip(expected, found, strict=False):
        if len(one) != len(other):
            yield Finding(file, where, f"row {shown(other)}, expected {shown(one)}")
            continue
        header = expected[0]
        for column, wanted, cell in zip(header, one, other, strict=True):
            if wanted != cell:
                place = " ".join(part for part in (where, one[0], column) if part)
                yield Finding(file, place, f"is {cell!r}, expected {wanted!r}")


def compare_sections(
    file: str, text: str, expected: Sequence[tuple[str, Sequence[Item]]]
) -> Iterator[Finding]:
    """Findings wherever a report is not what it must be: headings, tables, every word and number.

    Args:
        file: the report.
        text: its content.
        expected: per heading, in order, all that stands under it.
    """
    found = sections(text)
    wanted = [heading for heading, _ in expected]
    headings = [section.heading for section in found]
    if headings != wanted:
        for one, other in zip(wanted, headings, strict=False):
            if one != other:
                yield Finding(file, other, f"expected the heading {one!r}")
                return
        yield Finding(file, "headings", f"are {len(headings)}, expected {len(wanted)}")
        return
    for section, (heading, items) in zip(found, expected, strict=True):
        yield from _compare_items(file, section, Section(heading, list(items)))


def _compare_items(file: str, found: Section, expected: Section) -> Iterator[Finding]:
    heading = expected.heading
    own, wanted = set(found.texts), set(expected.texts)
    missing = [text for text in expected.texts if text not in own]
    surplus = [text for text in found.texts if text not in wanted]
    for one, other in zip_longest(missing, surplus):
        reason = f"expected {one!r}" if one else "is nothing that this report says"
        yield Finding(file, f"{heading}: {shown(other)}" if other else heading, reason)
    if len(found.tables) != len(expected.tables):
        reason = f"has {len(found.tables)} tables, expected {len(expected.tables)}"
        yield Finding(file, heading, reason)
        return
    for table, rows in zip(found.tables, expected.tables, strict=True):
        yield from compare_rows(file, heading, rows, table)
    if not (missing or surplus) and _order(found) != _order(expected):
        yield Finding(file, heading, "what stands there is in another order, or twice")


def _order(section: Section) -> list[str]:
    return [item if isinstance(item, str) else "|" for item in section.items]


def compare_lines(file: str, expected: Sequence[str], text: str) -> Iterator[Finding]:
    """Findings where a text of fixed lines is not the expected one."""
    found = text.split("\n")
    if found and found[-1] == "":
        found.pop()
    if len(found) != len(expected):
        yield Finding(file, "", f"has {len(found)} lines, expected {len(expected)}")
    for number, (one, other) in enumerate(zip(expected, found, strict=False), start=1):
        if one != other:
            yield Finding(file, f"line {number}", f"is {other!r}, expected {one!r}")
