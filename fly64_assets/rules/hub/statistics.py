"""Checks of comparison_statistics.csv: every number of it, computed again from the arrays.

Maps and alignment are the definitions of this package; what is drawn, how often, what is made of
it and what it covers is derived here a second time, by running sums over all blocks instead of a
table of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms, networks
from fly64_assets.rules.hub.checks import Broken, Finding, check, shown
from fly64_assets.rules.hub.crate_graph import setting, study
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.recomputed import (
    alignments,
    fitted_scores,
    phase_pair,
    scores_of_area,
    sigma_of,
    strict_scores,
)
from fly64_assets.rules.hub.replicates import number_of_trainings, replicates_file
from fly64_assets.rules.hub.scores import CANVAS, area_of
from fly64_assets.study.model import BOTH, SPLITS

COLUMNS = [
    *("split", "model", "reference", "metric", "component"),
    *("value", "mean", "low", "high", "settled", "covers", "replicates"),
]
NAMED = 5
METRICS = (*contract.FITTED, *contract.STRICT, "frc50")
LAST_DIGIT = 0.5e-6 + 1e-8
"""Half a unit of the sixth decimal, and what summing in another order can change."""
Row = dict[str, Any]
Key = tuple[str, str]


def _pairs(hub: Hub) -> list[tuple[str, str]]:
    subject, *others = models = arms(hub)
    return [*((model, "") for model in models), *((subject, other) for other in others)]


def _names(hub: Hub) -> list[tuple[str, ...]]:
    return [
        (split, model, reference, metric, component)
        for split in (*SPLITS, BOTH)
        for model, reference in _pairs(hub)
        for metric in METRICS
        for component in contract.COMPONENTS
    ]


def table(hub: Hub) -> dict[tuple[str, ...], dict[str, str]]:
    """(split, model, reference, metric, component) -> the other cells by column."""
    return hub.once("statistics", [contract.STATISTICS], lambda: _table(hub))


def _table(hub: Hub) -> dict[tuple[str, ...], dict[str, str]]:
    header, *lines = hub.table(contract.STATISTICS) or [[]]
    if header != COLUMNS:
        raise Broken(contract.STATISTICS, "header", f"is {header}, expected {COLUMNS}")
    for number, cells in enumerate(lines, start=2):
        if len(cells) != len(COLUMNS):
            raise Broken(contract.STATISTICS, f"line {number}", f"has {len(cells)} cells")
    return {
        tuple(cells[:NAMED]): dict(zip(COLUMNS[NAMED:], cells[NAMED:], strict=True))
        for cells in lines
    }


@check(
    "statistics.rows",
    contract.STATISTICS,
    "each score and each difference of both splits and of their mean has one row, in order",
)
def rows(hub: Hub) -> Iterator[Finding]:
    lines = hub.table(contract.STATISTICS)[1:]
    found = [tuple(cells[:NAMED]) for cells in lines]
    for number, (one, other) in enumerate(zip(found, _names(hub), strict=False), start=2):
        if one != other:
            reason = f"is {','.join(one)}, expected {','.join(other)}"
            yield Finding(contract.STATISTICS, f"line {number}", reason)
            return
    if len(found) != len(_names(hub)):
        yield Finding(
            contract.STATISTICS, "", f"has {len(found)} rows, expected {len(_names(hub))}"
        )


@check(
    "statistics.recomputed",
    contract.STATISTICS,
    "values, means and ends of intervals are those of the arrays, blocks drawn again",
)
def recomputed(hub: Hub) -> Iterator[Finding]:
    stated = table(hub)
    halves = {split: _expected(hub, split) for split in SPLITS}
    for split, made in {**halves, BOTH: _means(list(halves.values()))}.items():
        for where in (name for name in _names(hub) if name[0] == split):
            _, model, reference, *key = where
            wanted = _row(hub, made, model, reference, (key[0], key[1]))
            for name, value in wanted.items():
                found = stated.get(where, {}).get(name, "nothing")
                if not _same(found, value):
                    yield Finding(
                        contract.STATISTICS,
                        f"{' '.join(part for part in where if part)} {name}",
                        f"is {shown(found)}, expected {_text(value)}",
                    )


def _text(value: Any) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _same(found: str, value: Any) -> bool:
    if not isinstance(value, float):
        return found == value
    if not contract.NUMBER.fullmatch(found) and found not in ("inf", "-inf"):
        return False
    return float(found) == value or abs(float(found) - value) <= LAST_DIGIT


def _row(hub: Hub, made: dict[str, Any], model: str, reference: str, key: Key) -> Row:
    """What a row has to say; where an end rounds to zero, whether it is settled is left open.

    Of what is not defined, nothing but its trainings.
    """
    arms = [made[name] for name in (model, reference) if name]
    signs = (1, -1)
    if any(key not in scores for arm in arms for scores, _ in arm["trainings"]):
        blank = dict.fromkeys(("value", "mean", "low", "high", "settled"), "")
        trainings = max(len(arm["trainings"]) for arm in arms)
        return {**blank, "covers": "nothing", "replicates": str(trainings)}
    values = [np.array([scores[key] for scores, _ in arm["trainings"]]) for arm in arms]
    trainings = max(len(each) for each in values)
    expected: Row = {
        "value": float(sum(sign * each[0] for sign, each in zip(signs, values, strict=False))),
        "mean": float(sum(sign * each.mean() for sign, each in zip(signs, values, strict=False))),
        "replicates": str(trainings),
    }
    confidence = float(setting(hub, "statistics", "confidence"))
    if key[0] == "frc50":
        ends = _student(values, signs, confidence)
        expected["covers"] = "training seed" if trainings > 1 else "nothing"
    else:
        drawn = [
            np.choose(arm["drawn"], [redrawn[key] for _, redrawn in arm["trainings"]])
            for arm in arms
        ]
        with np.errstate(invalid="ignore"):
            together = sum(sign * each for sign, each in zip(signs, drawn, strict=False))
        number = next(iter(made.values()))["blocks"]
        tail = _tail(confidence, number)
        ends = _ends(together, tail)
        expected["covers"] = "space and training seed" if trainings > 1 else "space"
    expected["low"], expected["high"] = ends or ("", "")
    if not reference or not ends:
        expected["settled"] = ""
    elif min(abs(ends[0]), abs(ends[1])) > LAST_DIGIT:
        expected["settled"] = "no" if ends[0] <= 0 <= ends[1] else "yes"
    return expected


def _ends(values: np.ndarray, tail: float) -> tuple[float, float]:
    """The values below which ``tail`` and all but ``tail`` of them lie, NaN left out."""
    ordered = np.sort(values[~np.isnan(values)])
    first, last = (max(math.ceil(len(ordered) * share) - 1, 0) for share in (tail, 1 - tail))
    return float(ordered[first]), float(ordered[last])


def _tail(confidence: float, blocks: int) -> float:
    """Share of resamples beyond each end, moved out because the blocks are few."""
    from scipy.stats import norm
    from scipy.stats import t as student

    reach = student.isf((1 - confidence) / 2, blocks - 1) * math.sqrt(blocks / (blocks - 1))
    return float(norm.sf(reach))


def _student(values: list[np.ndarray], signs: tuple[int, ...], confidence: float) -> Any:
    """Ends of Welch's interval over trainings; None where nothing was trained twice."""
    from scipy.stats import t as student

    squares = [each.var(ddof=1) / len(each) for each in values if len(each) > 1]
    degrees = [len(each) - 1 for each in values if len(each) > 1]
    if not squares:
        return None
    middle = float(sum(sign * each.mean() for sign, each in zip(signs, values, strict=False)))
    total = math.fsum(squares)
    if not total:
        return middle, middle
    freedom = total**2 / math.fsum(s * s / d for s, d in zip(squares, degrees, strict=True))
    reach = float(student.isf((1 - confidence) / 2, freedom)) * math.sqrt(total)
    return middle - reach, middle + reach


def _expected(hub: Hub, split: str) -> dict[str, Any]:
    """model -> its trainings as (scores, scores in each resample), and which is drawn for each."""
    from fly64_assets.ptychography.scoring.alignment import DegenerateReconstruction, align

    path, box = hub.comparison(split, CANVAS), area_of(hub, split)
    sigma, further = sigma_of(hub, split), range(2, number_of_trainings(hub) + 1)
    chosen = {name: int(setting(hub, "statistics", name)) for name in ("block_px", "resamples")}
    seed = study(hub)["seeds"]["subsampling"] + SPLITS.index(split)
    trained = [network.name for network in networks(hub)]
    sources = [path, *(replicates_file(hub, model) for model in trained)]

    def measure() -> dict[str, Any]:
        inside = slice(box[0], box[1]), slice(box[2], box[3])
        truth = hub.arrays(path, "truth")["truth"]
        shape = (box[1] - box[0], box[3] - box[2])
        blocks = _Blocks(shape, seed, **chosen)
        area = truth[inside].astype(np.complex128)
        generator = np.random.default_rng([seed, 1])
        made: dict[str, Any] = {}
        for model, aligned in alignments(hub, split).items():
            images = [(aligned.object, aligned.strict)]
            for number in further if model in trained else ():
                again = hub.arrays(replicates_file(hub, model))[f"{split}_{number}"]
                bound = float(setting(hub, "scoring", "max_shift_px"))
                try:
                    moved = align(again, truth, inside, max_shift_px=bound)
                except (DegenerateReconstruction, ValueError) as error:
                    where, key = replicates_file(hub, model), f"{split}_{number}"
                    raise Broken(where, key, f"cannot be aligned: {error}") from None
                images.append((moved.object, moved.strict))
            first = {**fitted_scores(hub, split)[model], **strict_scores(hub, split)[model]}
            trainings = [
                (
                    _whole(hub, area, pair, sigma, None if number else first),
                    blocks.of(area, pair, sigma),
                )
                for number, pair in enumerate(images)
            ]
            made[model] = {
                "trainings": trainings,
                "blocks": blocks.drawn.shape[1],
                "drawn": generator.integers(len(trainings), size=chosen["resamples"]),
            }
        return made

    also = (tuple(box), sigma, seed, tuple(chosen.items()), arms(hub))
    return hub.once("bootstrap", sources, measure, *also)


def _means(halves: list[dict[str, Any]]) -> dict[str, Any]:
    """As `_expected`, of the mean over the splits: a training is one network, drawn once for both.

    The interval is as wide as the split with the fewest blocks makes it.
    """
    made: dict[str, Any] = {}
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


def _whole(
    hub: Hub,
    truth: np.ndarray,
    images: tuple[np.ndarray, np.ndarray],
    sigma: float,
    known: dict[str, Any] | None,
) -> dict[Key, float]:
    """Scores of a whole area, as far as defined: of the stored arrays, or a further training's."""
    if known is None:
        threshold = float(setting(hub, "scoring", "frc_threshold"))
        fitted, strict = (image.astype(np.complex128) for image in images)
        known = {
            **scores_of_area(truth, fitted, sigma, "", threshold),
            **scores_of_area(truth, strict, sigma, "_strict"),
        }
    return {
        (name, c): float(known[name][c])
        for name in METRICS
        for c in contract.COMPONENTS
        if known[name][c] is not None
    }


class _Blocks:
    """Sums over square blocks that wrap around the area, and which of them make up a resample."""

    def __init__(self, shape: tuple[int, int], seed: int, block_px: int, resamples: int) -> None:
        self.shape, self.side = shape, block_px
        number = round(shape[0] * shape[1] / block_px**2)
        self.drawn = np.random.default_rng(seed).integers(
            shape[0] * shape[1], size=(resamples, number)
        )

    def _sums(self, values: np.ndarray) -> np.ndarray:
        reached = values
        for axis in (0, 1):
            reached = sum(np.roll(reached, -step, axis=axis) for step in range(self.side))
        return reached.ravel()[self.drawn].sum(axis=1)

    def mean(self, values: np.ndarray, first: int, step: int) -> np.ndarray:
        """Means of a map whose pixels are ``step`` wide and begin at pixel ``first``."""
        laid, there = np.zeros(self.shape), np.zeros(self.shape)
        fine = np.kron(values, np.ones((step, step)))
        part = slice(first, first + fine.shape[0]), slice(first, first + fine.shape[1])
        laid[part], there[part] = fine, 1
        with np.errstate(invalid="ignore"):
            return self._sums(laid) / np.rint(self._sums(there))

    def of(
        self, truth: np.ndarray, images: tuple[np.ndarray, np.ndarray], sigma: float
    ) -> dict[Key, np.ndarray]:
        """Scores in each resample, as far as they are defined."""
        from fly64_assets.ptychography.scoring import metrics

        found: dict[Key, np.ndarray] = {}
        for suffix, image in zip(("", "_strict"), images, strict=True):
            image = image.astype(np.complex128)
            for component, (one, other) in (
                ("amplitude", (np.abs(truth), np.abs(image))),
                ("phase", phase_pair(truth, image)),
            ):
                mse = self.mean((one - other) ** 2, 0, 1)
                found["mae" + suffix, component] = self.mean(np.abs(one - other), 0, 1)
                found["mse" + suffix, component] = mse
                span = metrics.data_range(one, 1.0 if component == "phase" else None)
                if span is None:
                    continue
                edge = metrics.WINDOW_RADIUS_PX
                scales = metrics.ms_ssim_maps(one, other, data_range=span, sigma_px=sigma)
                terms = [
                    np.clip(self.mean(values, edge * 2**s, 2**s), 0, 1)
                    for s, values in enumerate(scales)
                ]
                powers = metrics.ms_ssim_weights(len(terms))
                similar = metrics.ssim_map(one, other, data_range=span)
                with np.errstate(divide="ignore"):
                    decibel = 20 * np.log10(span) - 10 * np.log10(mse)
                for name, values in {
                    "psnr": decibel,
                    "ssim": np.minimum(self.mean(similar, edge, 1), 1),
                    "ms_ssim": math.prod(t**p for t, p in zip(terms, powers, strict=True)),
                }.items():
                    found[name + suffix, component] = values
        return found
