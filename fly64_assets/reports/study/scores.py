"""Numbers of the study's tables as text, each with the name of the row that it is from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.comparison import STRICT_SUFFIX
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.reports.study.inputs import ConditionData
from fly64_assets.reports.study_tables import REACHED, dose_text
from fly64_assets.study.relations import COMPONENTS as COMPONENTS
from fly64_assets.study.relations import SHOWN_SPLIT

Row = Mapping[str, str]
KEY = ("dose", "view", "split", "model", "reference", "metric", "component")
"""Columns of ``study_metrics.csv`` that name a row."""
NEEDED_KEY = ("view", "split", "model", "component", "quality")
"""Columns of ``dose_for_quality.csv`` that name a row."""
SETTLED = {
    ("yes", True): ("▲", "better, settled"),
    ("yes", False): ("▼", "worse, settled"),
    ("no", True): ("≈", "not settled"),
    ("no", False): ("≈", "not settled"),
    ("", True): ("·", "no interval"),
    ("", False): ("·", "no interval"),
}
"""(whether the sign is settled, whether the difference is an advantage) -> mark and words."""


@dataclass(frozen=True)
class Score:
    """A number with its interval, as text; ``row`` names its row of the study's table."""

    row: str
    mean: str
    low: str
    high: str
    mark: str = ""
    words: str = ""
    style: str = ""


def row_key(row: Row, columns: Sequence[str] = KEY) -> str:
    """Return the name of a table's row: its key columns, joined."""
    return "|".join(row[column] for column in columns)


class Scores:
    """Rows of ``study_metrics.csv`` by name."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = {row_key(row): row for row in rows}

    def of(self, condition: ConditionData, split: str, *rest: str) -> Row | None:
        """``rest``: model, reference, metric, component."""
        return self.rows.get("|".join((str(condition.dose), condition.view, split, *rest)))

    def first_of(self, condition: ConditionData, split: str) -> Row | None:
        """Any row, for what all rows of a half share."""
        begin = f"{condition.dose}|{condition.view}|{split}|"
        return next((row for key, row in self.rows.items() if key.startswith(begin)), None)


def score_of(row: Row, *, signed: bool = False, style: str = "") -> Score:
    """Return a row's mean and interval; of a difference, with sign and whether it is settled."""
    ends = [_number(row, end, signed=signed) if row[end] else "" for end in ("low", "high")]
    mark = words = ""
    if row["reference"] and row["mean"]:
        better = (float(row["mean"]) > 0) == (row["better"] == "higher")
        settled = {"True": "yes", "False": "no"}.get(row["settled"], "")
        mark, words = SETTLED[settled, better]
    return Score(row_key(row), _number(row, "mean", signed=signed), *ends, mark, words, style)


def _number(row: Row, column: str, *, signed: bool) -> str:
    if not row[column]:
        return numbers.UNDEFINED
    value, metric = float(row[column]), row["metric"]
    return numbers.delta(value, metric, "job") if signed else numbers.score(value, "job", metric)


def needed_doses(needed: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the dose that each arm needs, of the test half, a line a row of the table."""
    for row in needed:
        if row["split"] == SHOWN_SPLIT:
            yield {
                **{name: row[name] for name in ("view", "component", "model")},
                "row": row_key(row, NEEDED_KEY),
                "quality": numbers.threshold(float(row["quality"])),
                **{column: dose_text(row, column) for column in REACHED},
            }


def metric_lines(
    condition: ConditionData,
    split: str,
    arms: Sequence[str],
    scores: Scores,
    metric: str,
    strict: bool,
) -> Iterator[dict[str, Any]]:
    """Yield a line a component: every arm's score, then the first arm's differences."""
    definition = METRICS[metric]
    subject, *others = arms
    name = f"{metric}{STRICT_SUFFIX}" if strict else metric
    for component in COMPONENTS:
        found = [scores.of(condition, split, model, "", name, component) for model in arms]
        apart = [scores.of(condition, split, subject, other, name, component) for other in others]
        unit = definition.units[component]
        yield {
            "title": definition.title + (", strict" if strict else ""),
            "strict": strict,
            "component": component,
            "unit": "" if unit == "1" else unit.replace("^2", "²"),
            "better": definition.direction,
            "scores": [score_of(row) if row else None for row in found],
            "deltas": [score_of(row, signed=True) if row else None for row in apart],
        }
