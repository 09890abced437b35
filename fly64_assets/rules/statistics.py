"""Rules of comparison_statistics.csv: every number of it, computed again from the arrays.

What is drawn, how often, what is made of it and what it covers is derived here a second time, by
running sums over all blocks (``block_sums.py``) instead of a table of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.ptychography.scoring.names import COLUMNS as COMPONENTS
from fly64_assets.rules.check import Check, Severity
from fly64_assets.rules.comparisons import contrast_rules
from fly64_assets.rules.files import Files, equals
from fly64_assets.rules.score_tables import (
    CANVAS,
    aligned_again,
    area_of,
    fitted_scores,
    number_of_trainings,
    truth_in_area,
)
from fly64_assets.rules.values import LAST_DIGIT, cell, same_cell
from fly64_assets.study.arms import networks
from fly64_assets.study.model import BOTH, SPLITS

if TYPE_CHECKING:
    from fly64_assets.rules.block_sums import Blocks, Draws, Values

    Training = tuple[Values, Draws]

FILE = "comparison_statistics.csv"
NAMED = ("split", "model", "reference", "metric", "component")
COLUMNS = (*NAMED, *("value", "mean", "low", "high", "settled", "covers", "replicates"))
GLOBAL = "frc50"
"""The metric that is no function of means over pixels."""
Row = dict[str, Any]
Half = dict[str, Any]
"""model -> its trainings, and which of them is drawn for each resample."""


def rows_of(files: Files) -> dict[tuple[str, ...], dict[str, str]]:
    """Return (split, model, reference, metric, component) -> row of the statistics."""
    return {tuple(row[name] for name in NAMED): row for row in files.table(FILE)}


def _names(files: Files) -> list[tuple[str, ...]]:
    from fly64_assets.ptychography.scoring.comparison import CENSORED, RECORDED, ROW_NAMES

    subject, *others = models = files.study.arms
    pairs = [*((model, "") for model in models), *((subject, other) for other in others)]
    return [
        (split, model, reference, metric, component)
        for split in (*SPLITS, BOTH)
        for model, reference in pairs
        for metric in ROW_NAMES
        if metric not in (CENSORED, *RECORDED)
        for component in COMPONENTS
    ]


def _scores(files: Files) -> Iterable[RuleOutcome]:
    rows = files.table(FILE)
    yield equals(FILE, "its columns", COLUMNS, tuple(rows[0]) if rows else ())
    expected, named = _names(files), [tuple(row[name] for name in NAMED) for row in rows]
    yield equals(FILE, "each score and difference once", len(expected), len(named))
    pairs = zip(named, expected, strict=False)
    other = next((" ".join(one) for one, two in pairs if one != two), "in order")
    yield equals(FILE, "rows in order", "in order", other)
    yield from _hold(files, "as the images give it", "value")


def _intervals(files: Files) -> Iterable[RuleOutcome]:
    columns = COLUMNS[COLUMNS.index("mean") :]
    yield from _hold(files, "of the arrays, blocks drawn again", *columns)


def _hold(files: Files, rule: str, *columns: str) -> Iterator[RuleOutcome]:
    stated = rows_of(files)
    wrong = [
        (where, column, found, row[column])
        for where, row in _expected(files).items()
        for column in columns
        if column in row
        and not _same(found := stated.get(where, {}).get(column, "nothing"), row[column])
    ]
    if not wrong:
        yield RuleOutcome(FILE, rule, "all", "all", True)
    for where, column, found, value in wrong:
        key = " ".join((FILE, *filter(None, where), column))
        shown = cell(value) if isinstance(value, float) else value
        yield RuleOutcome(key, rule, shown, found, False)


def _same(found: str, value: Any) -> bool:
    return same_cell(found, value) if isinstance(value, float) else found == value


def _expected(files: Files) -> dict[tuple[str, ...], Row]:
    """Return what each row has to say."""
    made: dict[str, Half] = {split: _half(files.other(split, "comparison")) for split in SPLITS}
    made[BOTH] = _means(list(made.values()))
    confidence = files.study.statistics.confidence
    return {
        where: _row([made[where[0]][name] for name in where[1:3] if name], where[3:], confidence)
        for where in _names(files)
    }


def _row(arms: list[dict[str, Any]], key: tuple[str, ...], confidence: float) -> Row:
    """Return what a row has to say; whether an end that rounds to zero settles is left open.

    Of what is not defined, nothing but its trainings.
    """
    import numpy as np

    from fly64_assets.rules.block_sums import ends, student_ends, tail

    trainings = max(len(arm["trainings"]) for arm in arms)
    if any(key not in scores for arm in arms for scores, _ in arm["trainings"]):
        blank = dict.fromkeys(("value", "mean", "low", "high", "settled"), "")
        return {**blank, "covers": "nothing", "replicates": str(trainings)}
    signs = (1, -1)
    values = [np.array([scores[key] for scores, _ in arm["trainings"]]) for arm in arms]
    expected: Row = {
        "value": float(sum(sign * each[0] for sign, each in zip(signs, values, strict=False))),
        "mean": float(sum(sign * each.mean() for sign, each in zip(signs, values, strict=False))),
        "replicates": str(trainings),
    }
    found: tuple[float, float] | None
    if key[0] == GLOBAL:
        found = student_ends(values, signs, confidence)
        expected["covers"] = "training seed" if trainings > 1 else "nothing"
    else:
        drawn = [
            np.choose(arm["drawn"], [redrawn[key] for _, redrawn in arm["trainings"]])
            for arm in arms
        ]
        with np.errstate(invalid="ignore"):
            together = sum(sign * each for sign, each in zip(signs, drawn, strict=False))
        found = ends(np.asarray(together), tail(confidence, arms[0]["blocks"]))
        expected["covers"] = "space and training seed" if trainings > 1 else "space"
    expected["low"], expected["high"] = found or ("", "")
    if len(arms) == 1 or not found:
        expected["settled"] = ""
    elif min(map(abs, found)) > LAST_DIGIT:
        expected["settled"] = "no" if found[0] <= 0 <= found[1] else "yes"
    return expected


def _half(comparison: Files) -> Half:
    """Return model -> its trainings as (scores, scores in each resample), and which is drawn."""
    import numpy as np

    from fly64_assets.rules.block_sums import Blocks

    study, area = comparison.study, area_of(comparison)
    chosen, number = study.statistics, SPLITS.index(comparison.split)
    seed = study.seeds.subsampling + number
    shape = (area[1] - area[0], area[3] - area[2])
    blocks = Blocks(shape, seed, chosen.block_px, chosen.resamples)
    generator = np.random.default_rng([seed, 1])
    return {
        model: {
            "trainings": [
                _training(comparison, model, number, blocks) for number in range(1, trainings + 1)
            ],
            "blocks": blocks.drawn.shape[1],
            "drawn": generator.integers(trainings, size=chosen.resamples),
        }
        for model, trainings in number_of_trainings(comparison).items()
    }


def _training(comparison: Files, model: str, number: int, blocks: Blocks) -> Training:
    """Return the scores of a whole area, as far as defined, and those in each resample."""
    aligned, fitted, strict = aligned_again(comparison, model, number=number)
    if number == 1:
        fitted = fitted_scores(comparison, model)
    named = {(name, component) for *_, name, component in _names(comparison)}
    values: Values = {
        (name, component): float(value)
        for scores in (fitted, strict)
        for name, found in scores.rows.items()
        for component, value in found.items()
        if value is not None and (name, component) in named
    }

    def draw() -> Draws:
        images = aligned.object, aligned.strict
        return blocks.of(truth_in_area(comparison), images, comparison.study.scoring)

    study = comparison.study
    what = f"resampled {model} {number} {blocks.seed} {study.statistics} {study.scoring}"
    sources = {CANVAS: comparison}
    if number > 1:
        (network,) = (one for one in networks(study.arms) if one.name == model)
        sources["replicates.npz"] = comparison.other(*network.replicates_key)
    return values, comparison.once(what, sources, draw)


def _means(halves: list[Half]) -> Half:
    """As `_half`, of the mean over the splits: a training is one network, drawn once for both.

    The interval is as wide as the split with the fewest blocks makes it.
    """
    made: Half = {}
    for model, first in halves[0].items():
        pairs = zip(*(half[model]["trainings"] for half in halves), strict=True)
        made[model] = {
            "trainings": [
                tuple(
                    {
                        key: sum(part[key] for part in parts) / len(parts)
                        for key in parts[0]
                        if all(key in part for part in parts)
                    }
                    for parts in zip(*training, strict=True)
                )
                for training in pairs
            ],
            "blocks": min(half[model]["blocks"] for half in halves),
            "drawn": first["drawn"],
        }
    return made


def _contrast(files: Files) -> Iterable[RuleOutcome]:
    """Of further trainings; the published ones are judged with their comparison."""
    for split in SPLITS:
        comparison = files.other(split, "comparison")
        for model, trainings in number_of_trainings(files).items():
            for number in range(2, trainings + 1):
                name = f"{model} {split} {number}"
                try:
                    made = aligned_again(comparison, model, number=number)[0]
                except ValueError as error:
                    yield RuleOutcome(name, "can be aligned", "not constant", str(error), False)
                else:
                    yield from contrast_rules(name, made.object, truth_in_area(comparison))


CHECKS = (
    Check("scores", _scores, "Every score and difference is there, once, in order, as recomputed."),
    Check(
        "intervals",
        _intervals,
        "Means, ends, signs and what is covered are those of the arrays, blocks drawn again.",
    ),
    Check(
        "contrast",
        _contrast,
        "No further training made an amplitude or phase that is nearly constant.",
        Severity.WARN,
    ),
)
