"""Checks of the form of a split's comparison: its table, its arrays, its area, its truth.

Whether the numbers are right is ``recomputed.py``, what is said about them ``comparisons.py``;
summaries do not belong here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from fly64_assets.rules import geometry
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Broken, Finding, check
from fly64_assets.rules.hub.crate_graph import study
from fly64_assets.rules.hub.datasets import physics, positions
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.reconstructions import each, image_problem, reconstruction
from fly64_assets.study.model import SPLITS

FOLDER = "analysis/dose_{dose}/{view}/{{train,test}}"
TABLE = FOLDER + "/comparison_metrics.csv"
CANVAS, ALIGNED = "reconstructions.npz", "reconstructions_aligned.npz"

Table = dict[tuple[str, str], dict[str, float | None]]
"""(model, metric) -> {amplitude, phase} or {value}; None where a score is blank."""


def as_text(value: float | None, spec: str) -> str:
    """A score for people; it is not defined where the truth has no contrast."""
    return "not defined" if value is None else format(value, spec)


def score_table(hub: Hub, split: str) -> Table:
    """A split's comparison_metrics.csv.

    Raises:
        Broken: a line is not (model, metric, six-decimal numbers where they apply, blank else; and
            blank, if at all, where contrast is needed).
    """
    path = hub.comparison(split, "comparison_metrics.csv")
    models = arms(hub)
    return hub.once("scores", [path], lambda: _parse(path, hub.table(path), models), models)


def has_reference(hub: Hub) -> bool:
    """Whether the study asks for the published MS-SSIM; hubs made before it could do not say."""
    scoring = study(hub).get("scoring")
    return isinstance(scoring, dict) and scoring.get(contract.REFERENCE) is True


def metric_rows(hub: Hub) -> tuple[str, ...]:
    """The rows of one model."""
    return (*contract.METRIC_ROWS, *([contract.REFERENCE] if has_reference(hub) else []))


def _parse(path: str, cells: list[list[str]], models: Collection[str]) -> Table:
    if not cells or cells[0] != contract.COLUMNS:
        raise Broken(path, "header", f"is not {','.join(contract.COLUMNS)}")
    found: Table = {}
    for number, row in enumerate(cells[1:], start=2):
        line = f"line {number}"
        if len(row) != len(contract.COLUMNS):
            raise Broken(path, line, f"has {len(row)} cells")
        model, metric, *numbers = row
        if model not in models:
            raise Broken(path, line, f"model {model!r} is none of {', '.join(models)}")
        if metric not in (*contract.METRIC_ROWS, contract.REFERENCE):
            raise Broken(path, line, f"metric {metric!r} is none of the contract's")
        applies = ("value",) if metric in contract.RECORDED else contract.COMPONENTS
        values: dict[str, float | None] = {}
        for column, cell in zip(contract.COLUMNS[2:], numbers, strict=True):
            if column in applies and not cell and metric in contract.NEED_CONTRAST:
                values[column] = None
                continue
            if (column in applies) != bool(cell):
                raise Broken(path, line, f"{metric} {column} is {cell!r}; filled are {applies}")
            if cell:
                infinite = cell == "inf" and metric.startswith("psnr")
                if not (contract.NUMBER.fullmatch(cell) or infinite):
                    raise Broken(path, line, f"{metric} {column} {cell!r} has not six decimals")
                values[column] = float(cell)
        if (model, metric) in found:
            raise Broken(path, line, f"{model} {metric} stands there twice")
        found[model, metric] = values
    return found


@check(
    "scores.table",
    TABLE,
    "every model has every metric, once, in order, six decimals, blank where it does not apply",
)
def table(hub: Hub) -> Iterator[Finding]:
    wanted = [(model, metric) for model in arms(hub) for metric in metric_rows(hub)]
    for split in SPLITS:
        path = hub.comparison(split, "comparison_metrics.csv")
        found = list(score_table(hub, split))
        for model, metric in wanted:
            if (model, metric) not in found:
                yield Finding(path, f"{model} {metric}", "is missing")
        for model, metric in sorted(set(found) - set(wanted)):
            yield Finding(path, f"{model} {metric}", "is a row that the study does not ask for")
        if found != wanted and set(found) == set(wanted):
            yield Finding(path, "", "the rows are not in order")


@check("scores.range", TABLE, "every number is possible for its metric")
def ranges(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, "comparison_metrics.csv")
        for (model, metric), values in score_table(hub, split).items():
            for column, value in values.items():
                if value is not None and not _possible(metric, value):
                    yield Finding(path, f"{model} {metric} {column}", f"cannot be {value:g}")


def _possible(metric: str, value: float) -> bool:
    name = metric.removesuffix("_strict")
    if name in ("frc50_censored", "registration_applied"):
        return value in (0.0, 1.0)
    if name in ("mae", "mse", "computation_time_s"):
        return 0 <= value < math.inf
    if name == "ssim":
        return -1 <= value <= 1
    if name in ("ms_ssim", "frc50", contract.REFERENCE):
        return 0 <= value <= 1
    return not math.isnan(value)


@check(
    "scores.arrays",
    FOLDER,
    "reconstructions of all models and the truth, complex64, on canvas and area",
)
def arrays(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        canvas = hub.arrays(hub.overlap_view(split), "objectGuess")["objectGuess"].shape
        area = area_of(hub, split)
        inside = (area[1] - area[0], area[3] - area[2])
        for name, shape, keys in (
            (CANVAS, canvas, {*arms(hub), "truth"}),
            (ALIGNED, inside, {*arms(hub), "truth", "area"}),
        ):
            path = hub.comparison(split, name)
            found = hub.arrays(path)
            if set(found) != keys:
                yield Finding(path, "", f"holds {sorted(found)}, expected {sorted(keys)}")
            for key in sorted(set(found) & keys - {"area"}):
                if problem := image_problem(found[key], shape):
                    yield Finding(path, key, problem)


def area_of(hub: Hub, split: str) -> list[int]:
    """[y0, y1, x0, x1] from the view's centres and the split line."""
    path = hub.overlap_view(split)
    stated = physics(hub, path)
    centres = hub.arrays(path, "centre_index")["centre_index"]
    return geometry.scoring_area(
        positions(hub, path)[centres], split, stated["split_line_y_px"], stated["probe_diameter_px"]
    )


@check(
    "scores.area",
    FOLDER + "/" + ALIGNED,
    "the area is the centres' box less D/2 along the split line",
)
def area(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        expected = area_of(hub, split)
        path = hub.comparison(split, ALIGNED)
        found = hub.arrays(path, "area")["area"]
        if found.dtype != np.int64 or found.tolist() != expected:
            yield Finding(path, "area", f"is {found.dtype} {found.tolist()}, expected {expected}")
        if min(expected[1] - expected[0], expected[3] - expected[2]) < contract.SMALLEST_AREA_PX:
            yield Finding(path, "area", f"{expected} is smaller than the metrics' window")


@check(
    "scores.truth", FOLDER, "the truth is objectGuess of the dataset, on the canvas and in the area"
)
def truth(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        known = hub.arrays(hub.dataset(split), "objectGuess")["objectGuess"]
        y0, y1, x0, x1 = area_of(hub, split)
        for name, expected in ((CANVAS, known), (ALIGNED, known[y0:y1, x0:x1])):
            path = hub.comparison(split, name)
            if not np.array_equal(hub.arrays(path, "truth")["truth"], expected):
                yield Finding(path, "truth", "is not the dataset's objectGuess")


@check(
    "scores.ptychi_object",
    FOLDER + "/" + CANVAS,
    "an iterative solver's object is the one that phase F made",
)
def ptychi_object(hub: Hub) -> Iterator[Finding]:
    for arm, split in each(hub):
        path, solved = hub.comparison(split, CANVAS), reconstruction(hub, arm, split)
        made = hub.arrays(solved, "reconstructed_object")["reconstructed_object"]
        if not np.array_equal(hub.arrays(path, arm.name)[arm.name], made):
            yield Finding(path, arm.name, f"is not that of {solved}")


@check(
    "scores.models_differ",
    FOLDER + "/" + CANVAS,
    "no two models have one reconstruction, none is the truth",
)
def models_differ(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, CANVAS)
        found = list(hub.arrays(path).items())
        for number, (one, first) in enumerate(found):
            for other, second in found[number + 1 :]:
                if np.array_equal(first, second):
                    yield Finding(path, one, f"is the same array as {other}")
