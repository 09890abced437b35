"""Checks of the study's table: it is the tables of its conditions, and no other numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.files import equals
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import product

NAMES = ("split", "model", "reference", "metric", "component")
NUMBERS = ("value", "mean", "low", "high")


def _rows(run: CheckRun) -> Iterable[RuleOutcome]:
    import pandas as pd

    stored = run.table("study_metrics.csv")
    by_condition: dict[str, list[dict[str, str]]] = {}
    for row in stored:
        by_condition.setdefault(f"{row['dose']}|{row['view']}", []).append(row)
    gathered = run.provenance.settings["gathered"]
    # Records do not keep the order in which they were gathered.
    yield equals("conditions", "those that were gathered", sorted(gathered), sorted(by_condition))
    source = product("comparison_statistics")
    for key, rows in by_condition.items():
        found = run.at(source, Condition.from_partition_key(key))
        if found is None:
            yield RuleOutcome(key, "has statistics", "a record", "none", False)
            continue
        statistics = found.table("comparison_statistics.csv")
        expected = [row for row in statistics if row["split"] in SPLITS]
        yield equals(key, "rows", len(expected), len(rows))
        wrong = [
            " ".join(one[name] for name in NAMES if one[name])
            for one, other in zip(expected, rows, strict=False)
            if not _same(one, other)
        ]
        told = f"{len(wrong)} differ: {'; '.join(wrong[:3])}" if wrong else "all"
        yield RuleOutcome(key, "rows as in comparison_statistics.csv", "all", told, not wrong)
    parquet = pd.read_parquet(run.path("study_metrics.parquet"))
    yield equals("parquet", "rows", len(stored), len(parquet))
    means = [float(row["mean"]) for row in stored if row["mean"]], parquet["mean"].dropna()
    yield equals("parquet", "the same means", *map(math.fsum, means))


def _same(one: dict[str, str], other: dict[str, str]) -> bool:
    if any(one[name] != other[name] for name in NAMES):
        return False
    return all(
        one[name] == other[name] == ""
        or (one[name] and other[name] and float(one[name]) == float(other[name]))
        for name in NUMBERS
    )


CHECKS = (
    Check("rows", _rows, "Every row is one of a condition's statistics, and none is missing."),
)
