"""Texts for people, from Jinja2 templates: one template a file, named after it.

A template holds words and layout. What it shows arrives as text (``documents/formatting.py``) in a
context made by ``texts.py`` or by the asset that owns the file; a name that is missing is an error,
not a gap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Table:
    """A table of texts, for the macro ``table`` in ``_tables.j2``.

    Attributes:
        header: one text a column.
        rows: as many texts a row.
        words: header of the columns that hold words and are set flush left; the others hold numbers
            and are set flush right. The first column always holds words.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Collection[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"{len(row)} cells in a table of {len(self.header)}: {row}")

    @property
    def lines(self) -> list[str]:
        """The table in Markdown, padded so that it reads well as plain text too."""
        columns = []
        for index, (name, *texts) in enumerate(zip(self.header, *self.rows, strict=True)):
            cells = [_cell(text) for text in (name, *texts)]
            width = max(3, *map(len, cells))
            is_words = index == 0 or name in self.words
            rule = "-" * width if is_words else "-" * (width - 1) + ":"
            first, *others = (c.ljust(width) if is_words else c.rjust(width) for c in cells)
            columns.append((first, rule, *others))
        return [f"| {' | '.join(row)} |" for row in zip(*columns, strict=True)]


def _cell(text: str) -> str:
    """One line, in which no bar ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("fly64_assets.reports.condition"),  # its folder templates
        undefined=StrictUndefined,
        autoescape=False,  # plain text and Markdown, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(file_name: str, context: Mapping[str, Any]) -> str:
    """Return the text of a file: template ``<file_name>.j2`` filled from ``context``.

    Raises:
        jinja2.TemplateNotFound: no such template.
        jinja2.UndefinedError: the template uses a name that the context does not hold.
    """
    return _environment().get_template(f"{file_name}.j2").render(**context)
