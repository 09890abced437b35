"""Check of the study report: it is whole, needs nothing else, and its numbers are the tables'.

The page is read back as a browser would read it, and every number that says where it comes from is
held against that row of that file, to the digits that it shows.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from fly64_assets.documents.formatting import INAPPLICABLE, UNDEFINED
from fly64_assets.documents.provenance import Provenance
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.reports.condition.costs import COLUMNS, costs_of, total_costs
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.store.common_checks import ABSOLUTE, ANY_TIME, UTC_TIME, equals
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import product, products_in

FILE = "study_report.html"
LIMIT_BYTES = 10_000_000
SCORE_KEY = ("dose", "view", "split", "model", "reference", "metric", "component")
NEEDED_KEY = ("view", "split", "model", "component", "quality")
REACHED = {"dose": "reached", "dose_low": "low_reached", "dose_high": "high_reached"}
BEYOND = {"everywhere": ("≤", "lowest_dose"), "nowhere": (">", "highest_dose")}
REFERENCES = frozenset(
    ("src", "href", "xlink:href", "srcset", "action", "formaction", "poster", "data", "background")
)
FOREIGN_STYLE = re.compile(r"@import|url\(\s*['\"]?(?!#|data:)", re.IGNORECASE)
FOREIGN_SCRIPT = re.compile(r"\bfetch\s*\(|XMLHttpRequest|WebSocket|\bimport\b|sendBeacon|https?:")
VOID = frozenset(("br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))
Cells = Mapping[str, str]


@dataclass
class Page(HTMLParser):
    """What a page says of itself.

    Attributes:
        conditions: ``dose|view`` -> state, of every article.
        shown: (attribute that names the source, its value, field) -> texts shown for it.
        foreign: references to anything outside the page.
        ids, targets: names of elements, and those that links lead to.
        texts: everything that a reader reads.
        unbalanced: tags that do not close what is open.
    """

    conditions: dict[str, str] = field(default_factory=dict)
    shown: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
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
        for name in REFERENCES & given.keys():
            value = given[name].strip()
            if value.startswith("#"):
                self.targets.add(value[1:])
            elif not value.startswith("data:image/"):
                self.foreign.append(f"{tag} {name}={value[:60]}")
        if FOREIGN_STYLE.search(given.get("style", "")):
            self.foreign.append(f"{tag} style={given['style'][:60]}")
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
        if tag == "style":
            self.foreign += FOREIGN_STYLE.findall(data)
        elif tag == "script":
            self.foreign += FOREIGN_SCRIPT.findall(data)
        elif data.strip():
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


def _table(path: Path, key: tuple[str, ...]) -> dict[str, Cells]:
    with path.open(encoding="utf-8", newline="") as file:
        return {"|".join(row[name] for name in key): row for row in csv.DictReader(file)}


def _few(wrong: Iterable[str]) -> str:
    found = list(wrong)
    return f"{len(found)}: {'; '.join(found[:3])}" if found else "none"


def _whole(run: CheckRun) -> Iterable[RuleOutcome]:
    path = run.path(FILE)
    page = read_page(path.read_text("utf-8"))
    size = path.stat().st_size
    yield RuleOutcome("size", "below the limit", f"< {LIMIT_BYTES}", size, size < LIMIT_BYTES)
    yield equals("page", "every tag closes", "none", _few(page.unbalanced))
    yield equals("page", "refers to nothing outside itself", "none", _few(page.foreign))
    twice = sorted(name for name, count in page.ids.items() if count > 1)
    yield equals("page", "names given twice", "none", _few(twice))
    lost = sorted(page.targets - page.ids.keys())
    yield equals("page", "links that lead nowhere", "none", _few(lost))
    yield from _conditions(run, page)
    yield from _texts(page)
    yield from _numbers(run, page)


def _conditions(run: CheckRun, page: Page) -> Iterator[RuleOutcome]:
    study = run.study
    expected = [f"{dose}|{view}" for dose in study.doses for view in study.views]
    yield equals("conditions", "every one of the study's", expected, list(page.conditions))
    told = run.provenance.settings["conditions"]
    states = {key: standing["state"] for key, standing in told.items()}
    yield equals("conditions", "state as the planner saw it", states, page.conditions)


def _texts(page: Page) -> Iterator[RuleOutcome]:
    times = [found for text in page.texts for found in ANY_TIME.findall(text)]
    wrong = [time for time in times if not UTC_TIME.fullmatch(time)]
    yield equals("times", "not UTC, YYYY-MM-DDTHH:MM:SSZ", "none", _few(wrong))
    paths = [found for text in page.texts for found in ABSOLUTE.findall(text)]
    yield equals("paths", "absolute ones", "none", _few(paths))


def _numbers(run: CheckRun, page: Page) -> Iterator[RuleOutcome]:
    scores = _table(run.other("study_metrics").path("study_metrics.csv"), SCORE_KEY)
    needed = _table(run.other("dose_response").path("dose_for_quality.csv"), NEEDED_KEY)
    finished = {key for key, state in page.conditions.items() if state == "fresh"}
    expected = {key for key in scores if "|".join(key.split("|")[:2]) in finished}
    named = {key for kind, key, _ in page.shown if kind == "data-row"}
    gone, more = sorted(expected - named), sorted(named - expected)
    yield equals("scores", "rows of the table that are not shown", "none", _few(gone))
    yield equals("scores", "shown without a row of the table", "none", _few(more))
    of_test = {key for key, row in needed.items() if row["split"] == "test"}
    named = {key for kind, key, _ in page.shown if kind == "data-needed"}
    yield equals("doses", "rows shown", sorted(of_test), sorted(named))
    yield equals("scores", "unlike study_metrics.csv", "none", _few(_unlike(page, scores)))
    yield equals("doses", "unlike dose_for_quality.csv", "none", _few(_doses(page, needed)))
    made = _records(run, finished)
    yield equals("budgets", "unlike the materialization", "none", _few(_budgets(page, made)))
    yield equals(
        "costs", "unlike those of the products", "none", _few(unlike_costs(run, page, finished))
    )
    files = {path: file.sha256 for one in made.values() for path, file in one.files.items()}
    shown = {key: texts for (kind, key, _), texts in page.shown.items() if kind == "data-file"}
    wrong = sorted(path for path, texts in shown.items() if set(texts) != {files.get(path)})
    yield equals("sha256", "unlike the materialization", "none", _few(wrong))
    yield equals("sha256", "files not named", "none", _few(sorted(files.keys() - shown.keys())))


def _of_kind(page: Page, wanted: str) -> Iterator[tuple[str, str, str]]:
    for (kind, key, column), texts in page.shown.items():
        if kind == wanted:
            for text in texts:
                yield key, column, text


def _unlike(page: Page, scores: Mapping[str, Cells]) -> Iterator[str]:
    for key, column, text in _of_kind(page, "data-row"):
        source = scores.get(key, {}).get(column, "")
        if not (agrees(text, source) if source or key not in scores else text == UNDEFINED):
            yield f"{key} {column} shows {text}, is {source or 'nothing'}"


def _doses(page: Page, needed: Mapping[str, Cells]) -> Iterator[str]:
    for key, column, text in _of_kind(page, "data-needed"):
        row = needed.get(key)
        if row is None or not _is_dose(text, row, column):
            yield f"{key} {column} shows {text}"


def _is_dose(text: str, row: Cells, column: str) -> bool:
    reached = row[REACHED[column]]
    if reached == "within":
        return agrees(text, row[column])
    if reached not in BEYOND:
        return text == INAPPLICABLE
    sign, bound = BEYOND[reached]
    shown, _, number = text.partition(" ")
    return shown == sign and agrees(number, row[bound])


def _records(run: CheckRun, finished: Iterable[str]) -> dict[str, Provenance]:
    """``partition asset`` -> its record, of finished conditions and of what the page is made of."""
    conditions = [Condition.from_partition_key(key) for key in finished]
    scored = [item for item in products_in(run.study) if item.stage == "score"]
    cells = {(item, at.restricted_to(item.per)) for item in scored for at in conditions}
    found = [run.at(*cell) for cell in cells]
    found += [run.other(*key) for key in (("specimen",), *run.product.inputs)]
    made = [record.provenance for record in found if record is not None]
    return {f"{one.partition or 'study'} {one.asset}": one for one in made}


def _budgets(page: Page, made: Mapping[str, Provenance]) -> Iterator[str]:
    for key, column, text in _of_kind(page, "data-made"):
        if key not in made or not agrees(text, str(getattr(made[key], column))):
            yield f"{key} {column} shows {text}"


def unlike_costs(run: CheckRun, page: Page, finished: Iterable[str]) -> Iterator[str]:
    """Costs shown that are not the products', and rows of them that are not shown."""
    conditions = {key: costs_of(run.study.arms, partial(_stored, run, key)) for key in finished}
    conditions["all"] = total_costs(list(conditions.values()))
    costs = {f"{key}|{one.model}": one for key, found in conditions.items() for one in found}
    shown = set()
    for key, column, text in _of_kind(page, "data-cost"):
        shown.add((key, column))
        value = costs[key].figure(column) if key in costs else None
        if text != INAPPLICABLE if value is None else not agrees(text, str(value)):
            yield f"{key} {column} shows {text}, is {value}"
    for key, column in sorted({(key, column) for key in costs for column in COLUMNS} - shown):
        yield f"{key} {column} is not shown"


def _stored(run: CheckRun, condition: str, *key: str) -> CheckRun:
    item = product(*key)
    found = run.at(item, Condition.from_partition_key(condition))
    if found is None:
        raise LookupError(f"{item.name} was never made")
    return found


CHECKS = (
    Check(
        "report_is_whole",
        _whole,
        "Every condition of the study is in it, it needs no other file and no network, is below "
        "10 MB, and every number in its tables is its source's.",
    ),
)
