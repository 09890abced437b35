"""What the study report shows: from tables, records and arrays to texts and pictures.

Every number is a row of the study's own tables and says which one (`Score.row`), so that a check
can hold the page against them. What does not belong here: where files lie (the asset), words and
layout (the templates), numbers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.comparison import phases
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.reports.condition.costs import COLUMNS, Cost, figure_text, total_costs
from fly64_assets.reports.figures import style
from fly64_assets.reports.study.inputs import (
    BUDGET,
    CHECK_MARKS,
    FINISHED,
    TRUTH,
    CheckLine,
    ConditionData,
    Made,
    Split,
)
from fly64_assets.reports.study.pictures import Scale, data_uri, ink, shared_scales
from fly64_assets.reports.study.plots import frc_svg, inline_svg
from fly64_assets.reports.study.scores import (
    COMPONENTS,
    Row,
    Score,
    Scores,
    metric_lines,
    needed_doses,
    score_of,
)
from fly64_assets.study.model import SPLITS
from fly64_assets.study.relations import BY_DOSE, BY_OVERLAP, BY_PHOTONS

HEADLINE = ("ms_ssim", "phase")
SHOWN_SPLITS = tuple(reversed(SPLITS))
"""The test half first: it is the half that no network has seen."""
STATES = {
    FINISHED: ("✔", "finished"),
    "missing": ("○", "missing"),
    "stale": ("↻", "stale"),
    "altered": ("✖", "altered"),
    "failed": ("✖", "failed"),
    "unchecked": ("?", "unchecked"),
}
"""State of a condition -> its mark and its word; the mark says it without colour."""
PLOTS = {
    BY_DOSE.name: "Quality against dose: MS-SSIM, MAE and FRC50 of the test half, phase on "
    "the left and amplitude on the right, an arm a colour and marker, a view a line style and a "
    "filling of the markers, with intervals.",
    BY_PHOTONS.name: "MS-SSIM and MAE of the test half against photons per px² of the "
    "scanned area: dense and sparse views compared at equal light.",
    BY_OVERLAP.name: "MS-SSIM of the phase, above, and of the amplitude, test half, against "
    "the overlap of neighbouring centres that the views reached; one column a dose.",
}
"""Name of a stored plot -> what it shows, in words; the captions of the page."""
ALL = "all"
"""Stands for the condition where costs are those of all that are finished."""
UNFIGURED = "comparison"
"""Whose further figures are scores, shown elsewhere."""


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
        "plots": [_plot(name, plots[name]) for name in telling_plots(rows)],
        "headline": [_headline(study, condition, scores) for condition in finished],
        "needed": list(needed_doses(needed)),
        "cost_columns": list(COLUMNS.values()),
        "costs": _costs(ALL, total_costs(condition.costs for condition in finished)),
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


def _plot(name: str, source: str) -> dict[str, str]:
    caption = PLOTS[name]
    return {"name": name, "caption": caption, "svg": inline_svg(source, name, caption)}


def telling_plots(rows: Sequence[Row]) -> list[str]:
    """Return the plots that have more than one point a curve."""
    doses, views = ({row[key] for row in rows} for key in ("dose", "view"))
    several = {
        "quality_by_dose": len(doses) > 1,
        "quality_by_photons": len(doses) > 1 or len(views) > 1,
        "quality_by_overlap": len(views) > 1,
    }
    return [name for name in PLOTS if several[name]]


def _quality_scale(scores: Scores) -> Scale:
    """Of the matrix: from the lowest to the highest headline score."""
    values = [
        float(row["mean"])
        for row in scores.rows.values()
        if (row["metric"], row["component"]) == HEADLINE and not row["reference"] and row["mean"]
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return Scale("quality", "MS-SSIM of the phase", "", low, high, style.QUALITY_MAP)


def _matrix(
    study: Mapping[str, Any],
    conditions: Sequence[ConditionData],
    scores: Scores,
    quality: Scale,
) -> list[dict[str, Any]]:
    """Return a row a dose, a cell a view."""
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
    if not row["mean"]:
        return score_of(row)
    paper = quality.colour(quality.fraction(float(row["mean"])))
    return score_of(row, style=f"background-color: {paper}; color: {ink(paper)}")


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
        "deltas": [score_of(row, signed=True) if row else None for row in found],
    }


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
        "costs": _costs(f"{condition.dose}|{condition.view}", condition.costs),
    }


def _costs(where: str, costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Return a line an arm; its row is named by the condition, or by all of them, and the arm."""
    return [
        {
            "model": cost.model,
            "row": f"{where}|{cost.model}",
            "cells": [(column, figure_text(cost, column)) for column in COLUMNS],
        }
        for cost in costs
    ]


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
        **{name: f"{made.budget[name]:,.1f}" for name in BUDGET},
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
    lines = [metric_lines(condition, name, arms, scores, *each) for each in metrics]
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
