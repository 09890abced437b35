"""What the study report shows: from tables, records and arrays to texts and pictures.

Every number is a row of the study's own tables and says which one (`Score.row`), so that a check
can hold the page against them. What does not belong here: where files lie (the asset), words and
layout (the templates), numbers of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fly64_assets.hub import numbers
from fly64_assets.ptychography.metrics import METRICS
from fly64_assets.ptychography.scoring import STRICT_SUFFIX, phases
from fly64_assets.report.pictures import Scale, data_uri, ink, shared_scales
from fly64_assets.report.plots import FrcCurve, frc_svg, inline_svg
from fly64_assets.study import SPLITS

Row = Mapping[str, str]
KEY = ("dose", "view", "split", "model", "reference", "metric", "component")
"""Columns of ``study_metrics.csv`` that name a row."""
NEEDED_KEY = ("view", "split", "model", "component", "quality")
"""Columns of ``dose_for_quality.csv`` that name a row."""
HEADLINE = ("ms_ssim", "phase")
COMPONENTS = ("phase", "amplitude")
SHOWN_SPLITS = tuple(reversed(SPLITS))
"""The test half first: it is the half that no network has seen."""
TRUTH = "truth"
FINISHED = "fresh"
STATES = {
    FINISHED: ("✔", "finished"),
    "missing": ("○", "missing"),
    "stale": ("↻", "stale"),
    "altered": ("✖", "altered"),
    "failed": ("✖", "failed"),
    "unchecked": ("?", "unchecked"),
}
"""State of a condition -> its mark and its word; the mark says it without colour."""
CHECK_MARKS = {"passed": "✔", "warning": "⚠", "failed": "✖", "not run": "○"}
"""Status of an asset check -> its mark."""
SETTLED = {
    ("yes", True): ("▲", "better, settled"),
    ("yes", False): ("▼", "worse, settled"),
    ("no", True): ("≈", "not settled"),
    ("no", False): ("≈", "not settled"),
    ("", True): ("·", "no interval"),
    ("", False): ("·", "no interval"),
}
"""(whether the sign is settled, whether the difference is an advantage) -> mark and words."""
PLOTS = {
    "quality_by_dose": "Quality against dose: MS-SSIM, MAE and FRC50 of the test half, phase on "
    "the left and amplitude on the right, an arm a colour and marker, a view a line style, with "
    "intervals.",
    "quality_by_photons": "MS-SSIM of the test half against photons per px² of the scanned area: "
    "dense and sparse views compared at equal light.",
    "quality_by_overlap": "MS-SSIM of the phase, test half, against the overlap that the views "
    "reached; one panel a dose.",
}
"""Name of a stored plot -> what it shows, in words; the captions of the page."""
BUDGET_FIGURES = ("seconds", "cpu_seconds", "peak_memory_mb")
UNFIGURED = "comparison"
"""Whose further figures are scores, shown elsewhere."""


@dataclass(frozen=True)
class Split:
    """One half of a finished condition.

    Attributes:
        objects: ``truth`` and every arm -> (H, W) complex in the scoring area, ambiguities removed.
        curves: FRC by arm.
        seconds: of each arm's reconstruction of this half, as the comparison's table has it.
    """

    objects: Mapping[str, np.ndarray]
    curves: Mapping[str, FrcCurve]
    seconds: Mapping[str, str]


@dataclass(frozen=True)
class CheckLine:
    """One asset check as it was evaluated last; ``status`` is one of ``CHECK_MARKS``."""

    asset: str
    check: str
    partition: str
    blocking: bool
    status: str
    reason: str


@dataclass(frozen=True)
class Made:
    """One materialization; ``files`` are (path relative to the store, sha256, bytes)."""

    asset: str
    partition: str
    generated_at: str
    data_version: str
    git_commit: str
    versions: Mapping[str, str]
    files: Sequence[tuple[str, str, int]]
    budget: Mapping[str, float]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class ConditionData:
    """A cell of the matrix: how it stands and, where it is finished, what was found."""

    dose: int
    view: str
    state: str
    reason: str
    splits: Mapping[str, Split] = field(default_factory=dict)
    checks: Sequence[CheckLine] = ()
    made: Sequence[Made] = ()

    @property
    def anchor(self) -> str:
        return f"c-{self.dose}-{self.view}"


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
    """The name of a table's row: its key columns, joined."""
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


def _score(row: Row, *, signed: bool = False, style: str = "") -> Score:
    ends = [_number(row, end, signed=signed) if row[end] else "" for end in ("low", "high")]
    mark = words = ""
    if row["reference"]:
        better = (float(row["mean"]) > 0) == (row["better"] == "higher")
        settled = {"True": "yes", "False": "no"}.get(row["settled"], "")
        mark, words = SETTLED[settled, better]
    return Score(row_key(row), _number(row, "mean", signed=signed), *ends, mark, words, style)


def _number(row: Row, column: str, *, signed: bool) -> str:
    value, metric = float(row[column]), row["metric"]
    return numbers.delta(value, metric, "job") if signed else numbers.score(value, "job", metric)


def report_content(
    study: Mapping[str, Any],
    study_sha256: str,
    study_text: str,
    conditions: Sequence[ConditionData],
    rows: Sequence[Row],
    needed: Sequence[Row],
    plots: Mapping[str, str],
    made_of_study: Sequence[Made],
) -> dict[str, Any]:
    """All that the templates show.

    Args:
        study: the validated study as JSON values.
        study_sha256: its hash, as materializations carry it.
        study_text: a study file of the same content.
        conditions: every cell of the study's matrix, in its order.
        rows: of ``study_metrics.csv``.
        needed: rows of ``dose_for_quality.csv``.
        plots: name -> SVG file's text, of those in `PLOTS`.
        made_of_study: specimen, study table and answer.
    """
    scores = Scores(rows)
    truths = [
        phase_and_amplitude(split.objects[TRUTH], split.objects[TRUTH])
        for condition in conditions
        for split in condition.splits.values()
    ]
    scales = shared_scales(truths)
    quality = _quality_scale(scores)
    finished = [condition for condition in conditions if condition.state == FINISHED]
    everything = [*made_of_study, *(made for each in conditions for made in each.made)]
    return {
        "study": study,
        "study_sha256": study_sha256,
        "study_text": study_text,
        "n_conditions": len(conditions),
        "n_finished": len(finished),
        "arms": study["arms"],
        "confidence": f"{100 * study['statistics']['confidence']:g} %",
        "splits": SHOWN_SPLITS,
        "scales": scales,
        "quality": quality,
        "matrix": _matrix(study, conditions, scores, quality),
        "plots": [
            {"name": name, "caption": caption, "svg": inline_svg(plots[name], name, caption)}
            for name, caption in PLOTS.items()
        ],
        "headline": [_headline(study, condition, scores) for condition in finished],
        "needed": list(_needed(needed)),
        "conditions": [_condition(study, each, scores, scales) for each in conditions],
        "versions": _versions(everything),
        "commits": sorted({made.git_commit for made in everything}),
        "last_made": max((made.generated_at for made in everything), default=""),
        "made_of_study": made_of_study,
    }


def phase_and_amplitude(truth: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phase in rad, as it is scored, and amplitude of an (H, W) complex image."""
    wide = truth.astype(np.complex128)
    return phases(wide, image.astype(np.complex128))[1], np.abs(image).astype(np.float64)


def _quality_scale(scores: Scores) -> Scale:
    """Of the matrix: from the lowest to the highest headline score."""
    values = [
        float(row["mean"])
        for row in scores.rows.values()
        if (row["metric"], row["component"]) == HEADLINE and not row["reference"]
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return Scale("quality", "MS-SSIM of the phase", "", low, high, "cividis")


def _matrix(
    study: Mapping[str, Any],
    conditions: Sequence[ConditionData],
    scores: Scores,
    quality: Scale,
) -> list[dict[str, Any]]:
    """A row a dose, a cell a view."""
    return [
        {
            "dose": numbers.count(dose),
            "cells": [
                _cell(study, condition, scores, quality)
                for condition in conditions
                if condition.dose == dose
            ],
        }
        for dose in study["doses"]
    ]


def _cell(
    study: Mapping[str, Any], condition: ConditionData, scores: Scores, quality: Scale
) -> dict[str, Any]:
    lines = []
    for model in study["arms"]:
        found = [scores.of(condition, split, model, "", *HEADLINE) for split in SHOWN_SPLITS]
        if condition.state == FINISHED and all(found):
            lines.append((model, [_coloured(row, quality) for row in found if row]))
    return {**_standing(condition), "lines": lines}


def _coloured(row: Row, quality: Scale) -> Score:
    paper = quality.colour(quality.fraction(float(row["mean"])))
    return _score(row, style=f"background-color: {paper}; color: {ink(paper)}")


def _standing(condition: ConditionData) -> dict[str, Any]:
    mark, word = STATES[condition.state]
    statuses = [line.status for line in condition.checks]
    counts = [(CHECK_MARKS[name], statuses.count(name), name) for name in CHECK_MARKS]
    return {
        "anchor": condition.anchor,
        "title": numbers.condition(condition.dose, condition.view),
        "view": condition.view,
        "state": condition.state,
        "mark": mark,
        "word": word,
        "reason": condition.reason,
        "counts": [(mark, count, name) for mark, count, name in counts if count],
    }


def _headline(study: Mapping[str, Any], condition: ConditionData, scores: Scores) -> dict[str, Any]:
    """PtychoPINN against every other arm: phase MS-SSIM of the test half."""
    subject, *others = study["arms"]
    found = [scores.of(condition, "test", subject, other, *HEADLINE) for other in others]
    return {
        **_standing(condition),
        "deltas": [_score(row, signed=True) if row else None for row in found],
    }


def _needed(needed: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in needed:
        if row["split"] == "test":
            ends = ("dose", "reached"), ("dose_low", "low_reached"), ("dose_high", "high_reached")
            yield {
                **{name: row[name] for name in ("view", "component", "model")},
                "row": row_key(row, NEEDED_KEY),
                "quality": numbers.threshold(float(row["quality"])),
                **{dose: _dose_text(row[dose], row[reached]) for dose, reached in ends},
            }


def _dose_text(dose: str, reached: str) -> str:
    if reached == "within":
        return numbers.photons(float(dose))
    return "at most the lowest" if reached == "everywhere" else "more than the highest"


def _condition(
    study: Mapping[str, Any], condition: ConditionData, scores: Scores, scales: Mapping[str, Scale]
) -> dict[str, Any]:
    return {
        **_standing(condition),
        "dose_key": condition.dose,
        "splits": [
            _half(study, condition, split, scores, scales)
            for split in SHOWN_SPLITS
            if split in condition.splits
        ],
        "budgets": [_budget(made) for made in condition.made if made.budget],
        "bad_checks": [_check(line) for line in condition.checks if line.status != "passed"],
        "passed_checks": [_check(line) for line in condition.checks if line.status == "passed"],
        "made": condition.made,
    }


def _check(line: CheckLine) -> dict[str, Any]:
    return {
        "mark": CHECK_MARKS[line.status],
        "words": line.status,
        "asset": line.asset,
        "partition": line.partition,
        "check": line.check,
        "blocking": numbers.yes_no(line.blocking),
        "reason": line.reason,
    }


def _budget(made: Made) -> dict[str, Any]:
    more = {} if made.asset.endswith(UNFIGURED) else made.figures
    return {
        "asset": made.asset,
        "row": f"{made.partition} {made.asset}",
        **{name: f"{made.budget[name]:,.1f}" for name in BUDGET_FIGURES},
        "more": "; ".join(f"{name.replace('_', ' ')} {_figure(v)}" for name, v in more.items()),
    }


def _figure(value: float) -> str:
    return f"{value:,d}" if isinstance(value, int) else f"{value:,.4g}"


def _half(
    study: Mapping[str, Any],
    condition: ConditionData,
    name: str,
    scores: Scores,
    scales: Mapping[str, Scale],
) -> dict[str, Any]:
    split, arms = condition.splits[name], study["arms"]
    prefix = f"{condition.anchor}-{name}"
    shared = scores.first_of(condition, name)
    about = f"{numbers.condition(condition.dose, condition.view)}, {name} half"
    metrics = [
        (metric, strict)
        for strict in (False, True)
        for metric in METRICS
        if not strict or METRICS[metric].strict
    ]
    lines = [_metric_lines(condition, name, arms, scores, *each) for each in metrics]
    svg = frc_svg(split.curves, study["scoring"]["frc_threshold"]) if split.curves else ""
    described = f"Fourier ring correlation of every arm with the truth, {about}."
    return {
        "name": name,
        "prefix": prefix,
        "about": about,
        "facts": _facts(shared) if shared else [],
        "seconds": [(model, split.seconds.get(model, "")) for model in arms],
        "rows": list(_pictures(split, arms, prefix, about, scales)),
        "scores": [line for found in lines for line in found],
        "frc": inline_svg(svg, f"{prefix}-frc", described) if svg else "",
    }


def _facts(row: Row) -> list[tuple[str, str]]:
    overlap = float(row["reached_overlap"]) if row["reached_overlap"] else None
    return [
        ("images", numbers.count(int(row["n_images"]))),
        ("overlap reached", numbers.overlap(overlap)),
        ("photons in all", numbers.photons(float(row["total_photons"]))),
        ("photons per px²", numbers.photon_density(float(row["photons_per_px2"]))),
    ]


def _metric_lines(
    condition: ConditionData,
    split: str,
    arms: Sequence[str],
    scores: Scores,
    metric: str,
    strict: bool,
) -> Iterator[dict[str, Any]]:
    """A line a component: every arm's score, then the first arm's differences to the others."""
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
            "scores": [_score(row) if row else None for row in found],
            "deltas": [_score(row, signed=True) if row else None for row in apart],
        }


def _pictures(
    split: Split,
    arms: Sequence[str],
    prefix: str,
    about: str,
    scales: Mapping[str, Scale],
) -> Iterator[dict[str, Any]]:
    """Rows of pictures on one scale each: both components, then their errors."""
    truth = split.objects[TRUTH]
    names = [TRUTH, *(arm for arm in arms if arm in split.objects)]
    values = {name: phase_and_amplitude(truth, split.objects[name]) for name in names}
    for index, component in enumerate(COMPONENTS):
        images = {name: pair[index] for name, pair in values.items()}
        errors = {name: image - images[TRUTH] for name, image in images.items() if name != TRUTH}
        for scale, shown in ((scales[component], images), (scales[f"{component}_error"], errors)):
            yield {
                "scale": scale,
                "images": [
                    {
                        "id": f"{prefix}-{scale.name}-{name}",
                        "name": name,
                        "src": data_uri(image, scale),
                        "width": image.shape[1],
                        "height": image.shape[0],
                        "alt": f"{scale.label}, {name}, {about}",
                    }
                    for name, image in shown.items()
                ],
            }


def _versions(everything: Sequence[Made]) -> list[tuple[str, str]]:
    """Every library with its version; with all of them where materializations differ."""
    found: dict[str, set[str]] = {}
    for made in everything:
        for name, version in made.versions.items():
            found.setdefault(name, set()).add(version)
    return [(name, ", ".join(sorted(found[name]))) for name in sorted(found)]
