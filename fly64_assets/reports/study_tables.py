"""Tables of a whole study as a paper could print them: three relations, and the doses needed.

Files for programs keep numbers as numbers; `page` is for people. What does not belong here: numbers
(``study_metrics``), plots (``study.py``), interpolation (``ptychography``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.study.relations import (
    BY_DOSE,
    BY_OVERLAP,
    BY_PHOTONS,
    COMPONENTS,
    QUALITY,
    SHOWN_SPLIT,
    Relation,
)

if TYPE_CHECKING:
    import pandas as pd

REACHED = {"dose": "reached", "dose_low": "low_reached", "dose_high": "high_reached"}
"""Column with a needed dose -> the one that says whether it is within the measured doses."""
BEYOND = {"everywhere": ("≤", "lowest_dose"), "nowhere": (">", "highest_dose")}
"""Where it is not: the sign, and the column of the measured dose that it is said of."""
COLUMNS = {
    "view": ("view", str),
    "dose": ("photons per exposure", numbers.count),
    "photons_per_px2": ("photons per px²", numbers.photon_density),
    "reached_overlap": ("overlap", numbers.overlap),
}
"""Column of ``study_metrics`` -> heading and form for people."""
SECTIONS = {
    BY_DOSE: ("Quality against dose", ""),
    BY_PHOTONS: (
        "Quality against photons per px²",
        "Photons of all exposures of the test half per px² of the scanned area: views compared at "
        "equal light.",
    ),
    BY_OVERLAP: (
        "Quality against overlap",
        "The overlap is the mean, over centres, of the probe disc's with that of the nearest other "
        "centre, as a fraction of a disc's area. A view of less overlap has fewer photons too.",
    ),
}


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``study_metrics`` that are scores, not differences of two arms."""
    return table[table["reference"].isna()]


def _in_order(rows: pd.DataFrame, columns: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Sorted by columns: numbers ascending, names as people are shown them."""
    first = {
        "split": (SHOWN_SPLIT,),
        "metric": metrics,
        "component": COMPONENTS,
        # As the study lists them: conditions and arms are in its order.
        "view": (),
        "model": (),
    }

    def rank(column: pd.Series) -> pd.Series:
        if column.name not in first:
            return column
        names = dict.fromkeys([*first[column.name], *column.unique()])
        return column.map({name: place for place, name in enumerate(names)})

    return rows.sort_values(list(columns), key=rank, kind="stable")


def relation_table(table: pd.DataFrame, relation: Relation) -> pd.DataFrame:
    """Return the points of a relation, a row each, sorted along it.

    Args:
        table: ``study_metrics``.
        relation: see `Relation`.

    Returns:
        Both halves: split, metric, component, ``relation.columns``, model, then mean, low and high
        (empty where there is no interval) in ``unit``, and what the interval covers.
    """
    names = ("split", "metric", "component", *relation.columns, "model")
    rows = _scores(table)
    rows = rows[rows["metric"].isin(relation.metrics)]
    values = ("mean", "low", "high", "unit", "covers")
    return _in_order(rows, names, relation.metrics)[[*names, *values]]


def needed_rows(table: pd.DataFrame, levels: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Yield the dose that each arm needs for each quality, with its range.

    Args:
        table: ``study_metrics``.
        levels: qualities asked for, in the unit of `QUALITY`.

    Yields:
        Rows of ``dose_for_quality.csv``, by view, split, component, quality and arm; doses in
        photons per exposure.
    """
    rows = _scores(table)
    curves = ["view", "split", "component", "model"]
    rows = _in_order(rows[rows["metric"] == QUALITY], [*curves, "dose"], (QUALITY,))
    grouped: dict[tuple[str, ...], list[tuple[str, pd.DataFrame]]] = {}
    for (*where, model), curve in rows.groupby(curves, sort=False):
        grouped.setdefault(tuple(where), []).append((model, curve))
    for (view, split, component), arms in grouped.items():
        for level in levels:
            for model, curve in arms:
                yield {
                    "view": view,
                    "split": split,
                    "model": model,
                    "component": component,
                    "metric": QUALITY,
                    "quality": level,
                    **_needed(curve, level),
                }


def _needed(curve: pd.DataFrame, level: float) -> dict[str, Any]:
    from fly64_assets.ptychography.dose_response import needed_dose

    doses, found = curve["dose"].tolist(), {}
    # A curve that lies higher needs fewer photons.
    for end, column in (("mean", "dose"), ("high", "dose_low"), ("low", "dose_high")):
        scores = curve[end].tolist()
        # Of a curve with a point that has no interval, the ends are unknown.
        known = not any(math.isnan(score) for score in scores)
        need = needed_dose(doses, scores, level) if known else None
        found[column] = need.dose if need else None
        found[REACHED[column]] = need.reached if need else None
    first = {name: found.pop(name) for name in ("reached", "dose")}
    measured = {"lowest_dose": doses[0], "highest_dose": doses[-1], "measured_doses": len(doses)}
    return {**first, **found, **measured}


def dose_text(row: Mapping[str, Any], column: str) -> str:
    """Return a needed dose for people: ``2,503``, or ``≤ 1,000`` beyond what is measured.

    Args:
        row: of ``dose_for_quality.csv``, numbers as numbers or as text.
        column: one of `REACHED`.
    """
    reached = row[REACHED[column]]
    if not reached:
        return numbers.INAPPLICABLE
    if reached == "within":
        return numbers.photons(float(row[column]))
    sign, bound = BEYOND[reached]
    return f"{sign} {numbers.photons(float(row[bound]))}"


def needed_text(row: Mapping[str, Any]) -> str:
    """Return a needed dose with its range: ``2,503 (≤ 1,000 to > 10,000)``.

    A range that says no more than the dose does is left out.
    """
    dose, low, high = (dose_text(row, column) for column in REACHED)
    if dose == low == high or numbers.INAPPLICABLE in (low, high):
        return dose
    return f"{dose} ({low} to {high})"


def score_text(mean: float, low: float, high: float, metric: str) -> str:
    """Return a score with its interval: ``0.969 (0.954 to 0.981)``; alone where it has none."""
    if math.isnan(mean):
        return numbers.UNDEFINED
    shown, *ends = (numbers.score(value, "brief", metric) for value in (mean, low, high))
    return shown if math.isnan(low) or math.isnan(high) else f"{shown} ({ends[0]} to {ends[1]})"


def _markdown(
    names: Sequence[str], arms: Sequence[str], cells: Mapping[tuple[str, ...], Mapping[str, str]]
) -> list[str]:
    """Lines of a table with the arms side by side.

    Args:
        names: headings of what names a row.
        arms: headings of the other columns.
        cells: name of a row -> arm -> text.
    """
    return [
        f"| {' | '.join([*names, *arms])} |",
        f"|{' --- |' * len(names)}{' ---: |' * len(arms)}",
        *(
            f"| {' | '.join([*name, *(row.get(arm, numbers.INAPPLICABLE) for arm in arms)])} |"
            for name, row in cells.items()
        ),
    ]


def _relation_lines(table: pd.DataFrame, relation: Relation, arms: Sequence[str]) -> list[str]:
    rows = relation_table(table, relation)
    rows = rows[(rows["split"] == SHOWN_SPLIT) & (rows["metric"] == QUALITY)]
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows.to_dict("records"):
        name = (row["component"], *(COLUMNS[key][1](row[key]) for key in relation.columns))
        text = score_text(row["mean"], row["low"], row["high"], QUALITY)
        cells.setdefault(name, {})[row["model"]] = text
    return _markdown(["of", *(COLUMNS[key][0] for key in relation.columns)], arms, cells)


def _needed_lines(needed: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> list[str]:
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for row in needed:
        if row["split"] == SHOWN_SPLIT:
            name = (row["view"], row["component"], numbers.threshold(row["quality"]))
            cells.setdefault(name, {})[row["model"]] = needed_text(row)
    return _markdown(["view", "of", numbers.LABELS[QUALITY]], arms, cells)


def page(
    study: str, table: pd.DataFrame, needed: Sequence[Mapping[str, Any]], confidence: float
) -> str:
    """Return the study's answer in Markdown: needed doses, then relations, of the test half.

    Args:
        study: its name.
        table: ``study_metrics``.
        needed: of `needed_rows`.
        confidence: of the intervals, a fraction.
    """
    arms = list(_scores(table)["model"].unique())
    doses = ", ".join(numbers.count(dose) for dose in sorted(table["dose"].unique()))
    metric, sure = numbers.LABELS[QUALITY], interval_name(confidence)
    lines = [
        f"# Dose response of study `{study}`",
        "",
        f"{table.groupby(['dose', 'view']).ngroups} conditions: doses {doses}; views "
        f"{', '.join(table['view'].unique())}.",
        "",
        "## Dose that a quality needs",
        "",
        f"Photons per exposure from which on {metric} is reached, {SHOWN_SPLIT} half, linear in "
        "the logarithm of the dose between measured doses. ≤: the lowest measured dose suffices; "
        ">: the highest measured dose does not. In brackets the same from the ends of the "
        f"{sure}s; no brackets where these say the same. A dense view has several times the "
        "photons of a sparse one at the same dose.",
        "",
        *_needed_lines(needed, arms),
    ]
    for relation, (title, about) in SECTIONS.items():
        what = f"{metric}, {SHOWN_SPLIT} half: mean, in brackets its {sure}."
        lines += ["", f"## {title}", "", f"{what} {about}".rstrip()]
        lines += ["", *_relation_lines(table, relation, arms), ""]
        lines += [f"In full, with both halves and every metric drawn: `{relation.name}.csv`."]
    return "\n".join(lines) + "\n"


def interval_name(confidence: float) -> str:
    """``95 % interval``."""
    return f"{100 * confidence:g} % interval"
