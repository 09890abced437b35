"""Edits of the intervals, and of the further trainings that some of them come from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add
from fly64_assets_tests.rules.hub.mutants.scores import Cells, edit_rows, next_digit

TABLE, DELTAS = "analysis/comparison_statistics.csv", "analysis/metrics_delta_summary.json"
AGAIN = "data/phase_e/DOSE/VIEW/PtychoPINN/replicates.npz"
COLUMNS = "split model reference metric component value mean low high settled covers replicates"
SCORE = ("test", "PtychoPINN", "", "ms_ssim", "phase")
DELTA = ("test", "PtychoPINN", "PtyChi", "mae", "amplitude")
MEANS = ("both", "PtychoPINN", "Baseline", "ms_ssim", "phase")
GLOBAL = ("train", "Baseline", "", "frc50", "phase")


def _cells(edit: Callable[[Cells], object]) -> Callable[[Forgery], None]:
    return lambda f: edit_rows(f, edit, TABLE)


def _changed(
    where: tuple[str, ...], column: str, change: Callable[[str], str]
) -> Callable[[Forgery], None]:
    def edit(rows: Cells) -> None:
        row = next(row for row in rows if tuple(row[:5]) == where)
        place = COLUMNS.split().index(column)
        row[place] = change(row[place])

    return _cells(edit)


for what, edit in {
    "a row less": lambda rows: rows[:-1],
    "rows in another order": lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
    "another header": lambda rows: rows[0].__setitem__(9, "sure"),
}.items():
    add("statistics.scores", what, _cells(edit))
for check, what, where, column, change in (
    ("scores", "the last digit of a value", SCORE, "value", next_digit),
    ("scores", "five decimals", SCORE, "value", lambda text: text[:-1]),
    ("intervals", "the last digit of a mean", SCORE, "mean", next_digit),
    ("intervals", "the last digit of a lower end", DELTA, "low", next_digit),
    ("intervals", "the last digit of an end of the means", MEANS, "high", next_digit),
    ("intervals", "an interval of FRC a digit wider", GLOBAL, "high", next_digit),
    ("intervals", "an end less", SCORE, "low", lambda _: ""),
    ("intervals", "the other sign", DELTA, "settled", lambda t: "no" if t == "yes" else "yes"),
    ("intervals", "a settled score", SCORE, "settled", lambda _: "yes"),
    ("intervals", "the training seed left out", SCORE, "covers", lambda _: "space"),
    ("intervals", "one training more", SCORE, "replicates", lambda text: str(int(text) + 1)),
):
    add(f"statistics.{check}", what, _changed(where, column, change))


def _quoted(edit: Callable[[Any], object]) -> Callable[[Forgery], None]:
    return lambda f: f.json(DELTAS, lambda content: edit(content["intervals"]) and None)


def _one(intervals: Any) -> Any:
    return intervals["by_split"]["test"]["vs_PtyChi"]["ms_ssim"]["phase"]


for what, edit in {
    "an end moved": lambda i: _one(i).update(low=_one(i)["low"] - 1e-6),
    "settled the other way": lambda i: _one(i).update(settled=not _one(i)["settled"]),
    "another confidence": lambda i: i.update(confidence=0.99),
    "those of a split for the means": lambda i: i.update(of_means=i["by_split"]["test"]),
    "a key more": lambda i: _one(i).update(p_value=0.01),
}.items():
    add("deltas.intervals", what, _quoted(edit))


def _told(edit: Callable[[list[dict[str, Any]]], object]) -> Callable[[Forgery], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        told = json.loads(str(arrays["trainings"][()]))
        edit(told)
        arrays["trainings"] = np.array(json.dumps(told, sort_keys=True))

    return lambda f: f.arrays(AGAIN, change)


def _constant(arrays: dict[str, np.ndarray]) -> None:
    arrays["test_2"][:] = 1


def _same_twice(arrays: dict[str, np.ndarray]) -> None:
    arrays["test_2"] = arrays["train_2"].copy()


for what, forge in {
    "another seed": _told(lambda told: told[0].update(seed=1)),
    "a training that nobody asked for": _told(lambda told: told.append({**told[0], "training": 3})),
    "no weights": _told(lambda told: told[0].update(weights_sha256="none")),
    "a best epoch before the first": _told(lambda told: told[0].update(best_epoch=0)),
    "an object less": lambda f: f.arrays(AGAIN, lambda a: a.pop("test_2")),
    "a constant object": lambda f: f.arrays(AGAIN, _constant),
    "one object for both splits": lambda f: f.arrays(AGAIN, _same_twice),
    "an object in double precision": lambda f: f.arrays(
        AGAIN, lambda a: a.update(test_2=a["test_2"].astype(np.complex128))
    ),
}.items():
    add("phase_e.trainings", what, forge)


def _record(edit: Callable[[dict[str, Any]], object]) -> Callable[[Forgery], None]:
    return lambda f: f.metadata(AGAIN, lambda content: edit(content["transformations"][-1]))


for what, forge in {
    "another model": _record(lambda record: record["parameters"].update(model="Baseline")),
    "an input less": _record(lambda record: record["inputs"].popitem()),
    "a key more": lambda f: f.metadata(AGAIN, lambda content: content.update(note="mine")),
}.items():
    add("phase_e.provenance", what, forge)


def _another_end(text: str) -> str:
    """A digit of the first interval that a page shows."""
    before, heading, after = text.partition("## How sure the deltas are")
    line = next(line for line in after.split("\n") if line.startswith("| train"))
    changed = (
        line.replace("| yes ", "| no  ") if "| yes " in line else line.replace("| no  ", "| yes ")
    )
    return before + heading + after.replace(line, changed, 1)


def _another_score(text: str) -> str:
    """An upper end of the first score that a page shows with its interval."""
    return re.sub(
        r"(\[\d\.\d{4}, \d\.\d{3})(\d)\]", lambda m: f"{m[1]}{(int(m[2]) + 1) % 10}]", text, count=1
    )


for check, path in (
    ("reports.rendered_again", "analysis/aggregate_report.md"),
    ("summary_page.rendered_again", "summary/summary.md"),
):
    add(check, "a sign settled the other way", lambda f, path=path: f.text(path, _another_end))
    add(
        check,
        "intervals of another confidence",
        lambda f, path=path: f.replace(path, "intervals of 95 % in", "intervals of 99 % in"),
    )
    add(check, "an end of a score's interval", lambda f, path=path: f.text(path, _another_score))
