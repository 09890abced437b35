"""Reading the reports: headings, tables, other lines. What they must say does not belong here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fly64_assets.hub.verify.checks import Finding, shown

HEADING = re.compile(r"#+ ")
RULE = re.compile(r":?-+:?")
BAR = re.compile(r"(?<!\\)\|")
DIGIT = re.compile(r"\d")

Row = tuple[str, ...]


@dataclass
class Section:
    """What stands under one heading: tables as rows of stripped cells, and all other lines."""

    heading: str
    tables: list[list[Row]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text in order; what stands before any heading is under ``""``."""
    found = [Section("")]
    in_table = False
    for line in text.split("\n"):
        if HEADING.match(line):
            found.append(Section(line))
        elif line.startswith("|"):
            cells = tuple(cell.strip().replace("\\|", "|") for cell in BAR.split(line)[1:-1])
            if not in_table:
                found[-1].tables.append([cells])
            elif not all(RULE.fullmatch(cell) for cell in cells):
                found[-1].tables[-1].append(cells)
        elif line.strip():
            found[-1].lines.append(line.strip())
        in_table = line.startswith("|")
    return found[1:] if not (found[0].tables or found[0].lines) else found


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
    file: str,
    text: str,
    expected: Sequence[tuple[str, Sequence[Sequence[Row]]]],
    *,
    lines: Iterable[str] = (),
    phrases: Iterable[str] = (),
) -> Iterator[Finding]:
    """Findings wherever a report is not what it must be: headings, tables, every number.

    Args:
        file: the report.
        text: its content.
        expected: per heading, in order, its tables with their headers.
        lines: lines that must stand there as they are.
        phrases: the only texts with digits that other lines may hold.
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
    for section, (heading, tables) in zip(found, expected, strict=True):
        if len(section.tables) != len(tables):
            reason = f"has {len(section.tables)} tables, expected {len(tables)}"
            yield Finding(file, heading, reason)
            continue
        for table, rows in zip(section.tables, tables, strict=True):
            yield from compare_rows(file, heading, rows, table)
    there = [line for section in found for line in section.lines]
    fixed = list(lines)
    for line in fixed:
        if line not in there:
            yield Finding(file, line.split(":")[0], f"expected the line {line!r}")
    for line in there:
        rest = line
        for phrase in phrases:
            rest = rest.replace(phrase, "")
        if line not in fixed and DIGIT.search(rest):
            yield Finding(file, shown(line), "holds a number that nothing accounts for")


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
