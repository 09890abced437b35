"""Checks of intervals: they belong to the scores in the tables, and say what they can say."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun, Severity
from fly64_assets.rules.store.common_checks import equals, json_file
from fly64_assets.rules.store.contrast import contrast_rules
from fly64_assets.solvers.replicates import array_name
from fly64_assets.study.arms import networks
from fly64_assets.study.model import BOTH, MODELS, SPLITS

SUBJECT, *PUBLISHED = MODELS
TOLERANCE = 2e-6
"""Of numbers that were rounded to six decimals by two files; of a difference twice."""
Cells = dict[str, str]


def _rows(path: Path) -> list[Cells]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _statistics(run: CheckRun) -> list[Cells]:
    return _rows(run.path("comparison_statistics.csv"))


def _tables(run: CheckRun) -> dict[tuple[str, ...], float | None]:
    """(split, model, metric, component) -> the score in a comparison's CSV; then their means.

    None where one is blank.

    Of the metrics that have intervals.
    """
    from fly64_assets.ptychography.scoring.statistics import NAMES

    found: dict[tuple[str, ...], float | None] = {
        (split, row["model"], row["metric"], component): _number(row[component])
        for split in SPLITS
        for row in _rows(run.other(split, "comparison").path("comparison_metrics.csv"))
        if row["metric"] in NAMES
        for component in ("amplitude", "phase")
    }
    for _, *score in [key for key in found if key[0] == SPLITS[0]]:
        of_splits = [found[split, *score] for split in SPLITS if (split, *score) in found]
        known = [value for value in of_splits if value is not None]
        whole = len(known) == len(of_splits)
        found[BOTH, *score] = math.fsum(known) / len(known) if whole else None
    return found


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)


def _scores(run: CheckRun) -> Iterable[RuleOutcome]:
    rows, tables = _statistics(run), _tables(run)
    _, *others = run.study.arms
    expected = {
        (split, model, reference, metric, component)
        for split, model, metric, component in tables
        for reference in ("", *(others if model == SUBJECT else ()))
    }
    named = [
        (row["split"], row["model"], row["reference"], row["metric"], row["component"])
        for row in rows
    ]
    yield equals("rows", "each score and difference once", len(expected), len(named))
    yield equals("rows", "of the tables", "all", "all" if set(named) == expected else "others")
    if set(named) != expected:
        return
    wrong = []
    for row in rows:
        score = row["metric"], row["component"]
        value = tables[row["split"], row["model"], *score]
        if row["reference"]:
            other = tables[row["split"], row["reference"], *score]
            value = None if value is None or other is None else value - other
        unknown = value is not None and math.isnan(value)
        if not (_close(value, _number(row["value"])) or unknown):
            told = "blank" if value is None else f"{value:.6f}"
            wrong.append(f"{' '.join(named[rows.index(row)])}: {row['value']}, table {told}")
    told = "all" if not wrong else "; ".join(wrong[:3])
    yield RuleOutcome("value", "as in the tables", "all", told, not wrong)


def _intervals(run: CheckRun) -> Iterable[RuleOutcome]:
    trained = {network.name for network in networks(run.study.arms)}
    replicates = run.study.replicates
    rules = {
        "ends in order, or both blank": _ends,
        "one training: mean is the value": _mean,
        "settled where zero lies outside": _settled,
        "covers what was varied": lambda row: row["covers"] == _covers(row, trained, replicates),
        "trainings as in the study": lambda row: (
            int(row["replicates"]) == _trainings(row, trained, replicates)
        ),
    }
    rows = _statistics(run)
    for rule, holds in rules.items():
        wrong = [row for row in rows if not holds(row)]
        told = f"{len(wrong)} not, first {wrong[0]}" if wrong else "all"
        yield RuleOutcome("rows", rule, "all", told, not wrong)


def _ends(row: Cells) -> bool:
    if not row["value"]:
        return not row["mean"] and not row["low"] and not row["high"]
    if not row["low"] or not row["high"]:
        return row["low"] == row["high"] and row["covers"] == "nothing"
    return float(row["low"]) <= float(row["high"])


def _mean(row: Cells) -> bool:
    return row["replicates"] != "1" or row["mean"] == row["value"]


def _settled(row: Cells) -> bool:
    if not row["reference"] or not row["low"]:
        return row["settled"] == ""
    outside = not float(row["low"]) <= 0 <= float(row["high"])
    # An end that rounds to zero can lie on either side of it.
    if min(abs(float(row["low"])), abs(float(row["high"]))) < TOLERANCE:
        return row["settled"] in ("yes", "no")
    return row["settled"] == ("yes" if outside else "no")


def _trainings(row: Cells, networks: set[str], replicates: int) -> int:
    trained = row["model"] in networks or row["reference"] in networks
    return replicates if trained else 1


def _covers(row: Cells, networks: set[str], replicates: int) -> str:
    several = _trainings(row, networks, replicates) > 1
    if not row["value"]:
        return "nothing"
    if row["metric"] == "frc50":
        return "training seed" if several else "nothing"
    return "space and training seed" if several else "space"


def _contrast(run: CheckRun) -> Iterable[RuleOutcome]:
    """Of further trainings; the published ones are judged with their comparison."""
    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.ptychography.scoring.alignment import DegenerateReconstruction, align

    numbers = range(2, run.study.replicates + 1)
    if not numbers:
        return
    bound = run.study.scoring.max_shift_px
    for split in SPLITS:
        compared = run.other(split, "comparison")
        truth = read_npz(compared.path("reconstructions.npz"), ["truth"])["truth"]
        scored = read_npz(compared.path("reconstructions_aligned.npz"), ["area", "truth"])
        y0, y1, x0, x1 = scored["area"].tolist()
        further = [array_name(split, number) for number in numbers]
        for network in networks(run.study.arms):
            path = run.other(*network.replicates_key).path("replicates.npz")
            made = read_npz(path, further)
            for number, array in zip(numbers, further, strict=True):
                name = f"{network.name} {split} {number}"
                area = slice(y0, y1), slice(x0, x1)
                try:
                    found = align(made[array], truth, area, max_shift_px=bound)
                except DegenerateReconstruction as error:
                    yield RuleOutcome(name, "can be aligned", "not constant", str(error), False)
                else:
                    yield from contrast_rules(name, found.object, scored["truth"])


def _delta_intervals(run: CheckRun) -> Iterable[RuleOutcome]:
    """The delta file quotes the CSV: the published differences of the headline metrics."""
    stored = json_file(run.path("metrics_delta_summary.json"))["intervals"]
    found = dict(_flat({BOTH: stored["of_means"], **stored["by_split"]}))
    expected = {}
    source = run.other("comparison_statistics").path("comparison_statistics.csv")
    for row in _rows(source):
        if row["reference"] in PUBLISHED and row["metric"] in ("ms_ssim", "mae"):
            where = (row["split"], f"vs_{row['reference']}", row["metric"], row["component"])
            expected[where] = (
                *(_number(row[name]) for name in ("mean", "low", "high")),
                {"yes": True, "no": False, "": None}[row["settled"]],
                row["covers"],
            )
    told = "all" if found == expected else f"{len(found)}, {len(expected)} expected"
    yield RuleOutcome("intervals", "as in comparison_statistics.csv", "all", told, told == "all")
    confidence = run.study.statistics.confidence
    yield equals("confidence", "as in the study", confidence, stored["confidence"])


def _flat(by_split: Any) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    for split, others in by_split.items():
        for other, metrics in others.items():
            for metric, components in metrics.items():
                for component, given in components.items():
                    yield (
                        (split, other, metric, component),
                        tuple(given[k] for k in ("mean", "low", "high", "settled", "covers")),
                    )


CHECKS = (
    Check("scores", _scores, "Every score and difference of the tables is there, with its value."),
    Check("intervals", _intervals, "Ends, sign and what is covered agree with each other."),
    Check(
        "contrast",
        _contrast,
        "No further training made an amplitude or phase that is nearly constant.",
        Severity.WARN,
    ),
)
DELTA_CHECK = Check(
    "intervals",
    _delta_intervals,
    "The intervals of the delta file are those of comparison_statistics.csv.",
)
