"""The study report as a browser reads it, with the numbers that say which row they are from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset(("br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))


@dataclass
class Page(HTMLParser):
    """What a page says of itself.

    Attributes:
        conditions: ``dose|view`` -> state, of every article.
        shown: (attribute that names the source, its value, field) -> texts shown for it.
        ids, targets: names of elements, and those that links lead to.
        texts: everything that a reader reads.
        unbalanced: tags that do not close what is open.
    """

    conditions: dict[str, str] = field(default_factory=dict)
    shown: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    ids: Counter[str] = field(default_factory=Counter)
    targets: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids[given["id"]] += 1
        if "data-condition" in given:
            self.conditions[given["data-condition"]] = given.get("data-state", "")
        for name in ("href", "xlink:href"):
            if given.get(name, "").startswith("#"):
                self.targets.add(given[name][1:])
        if tag not in VOID:
            self._open.append((tag, given))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        else:
            self.unbalanced.append(f"</{tag}> closes {self._open[-1][0] if self._open else '-'}")

    def handle_data(self, data: str) -> None:
        tag = self._open[-1][0] if self._open else ""
        if tag not in ("style", "script") and data.strip():
            self.texts.append(data)
            self._note(data.strip())

    def _note(self, text: str) -> None:
        """A text with the source that it, or the row that it stands in, names."""
        named = [
            (name, given[name])
            for _, given in reversed(self._open)
            for name in ("data-row", "data-needed", "data-made", "data-cost", "data-file")
            if name in given
        ]
        column = self._open[-1][1].get("data-field", "")
        if named and (column or named[0][0] == "data-file"):
            self.shown.setdefault((*named[0], column), []).append(text)

    def close(self) -> None:
        super().close()
        self.unbalanced += [f"<{tag}> is not closed" for tag, _ in self._open]


def read_page(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    return page


def agrees(shown: str, source: str) -> bool:
    """Whether a text is its source's number, to the digits that it shows."""
    digits = shown.replace(",", "")
    decimals = len(digits.partition(".")[2])
    try:
        return abs(float(digits) - float(source)) <= 0.5001 * 10.0**-decimals
    except ValueError:
        return False


def of_kind(page: Page, wanted: str) -> Iterator[tuple[str, str, str]]:
    """(row, column, text) of everything shown from one kind of source."""
    for (kind, key, column), texts in page.shown.items():
        if kind == wanted:
            yield from ((key, column, text) for text in texts)
