"""What there is to see of phases G and H: scores, curves, intervals, differences, the study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fly64_assets.documents.files import read_columns, read_json
from fly64_assets.ptychography.scoring.names import HEADLINES
from fly64_assets.reports.figures import panels, style
from fly64_assets.reports.previews import drawing
from fly64_assets.reports.previews.preview import (
    Exhibit,
    Picture,
    Row,
    StoredPicture,
    Subject,
    Table,
)
from fly64_assets.study.model import BOTH
from fly64_assets.study.relations import COMPONENTS, RELATIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fly64_assets.ptychography.scoring.comparison import ScoreRow
    from fly64_assets.ptychography.scoring.statistics import Statistic

PLOTTED = ("ssim", "psnr", "frc50")
"""Plotted over time beside the headlines, which the asset itself states."""


def _finite(value: float | None) -> float | None:
    """Return an infinite score (PSNR of an equal image) has no place on an axis or in JSON."""
    return value if value is not None and math.isfinite(value) else None


def _score_rows(rows: Sequence[ScoreRow]) -> Iterator[Row]:
    from fly64_assets.ptychography.scoring.comparison import STRICT_SUFFIX
    from fly64_assets.ptychography.scoring.metrics import METRICS

    for row in rows:
        definition = METRICS.get(row.metric.removesuffix(STRICT_SUFFIX))
        units = "" if definition is None else ", ".join(dict.fromkeys(definition.units.values()))
        yield {
            "model": row.model,
            "metric": row.metric,
            "phase": _finite(row.phase),
            "amplitude": _finite(row.amplitude),
            "value": _finite(row.value),
            "unit": units,
            "better": "" if definition is None else definition.direction,
        }


def comparison(subject: Subject) -> Exhibit:
    """Show the comparison plot with its errors, FRC curves, every score."""
    from fly64_assets.ptychography.scoring.comparison import read_csv

    table = subject.path("comparison_metrics.csv")
    if not table.is_file():
        return Exhibit()
    rows = read_csv(table)
    curves = {
        model: read_columns(subject.path(f"{model}_frc_curve.csv"))
        for model in dict.fromkeys(row.model for row in rows)
    }

    def draw() -> Figure:
        figure, axes = drawing.new_figure(
            f"{subject.title}: Fourier ring correlation with the truth", 1, 2, (9.5, 3.4),
            sharey=True,
        )  # fmt: skip
        panels.frc(axes[0], curves, subject.study.scoring.frc_threshold)
        axes[0][0].legend()
        return figure

    numbers: dict[str, float] = {}
    for row in rows:
        if row.metric == "computation_time_s" and row.value is not None:
            numbers[f"{row.model} computation_time_s"] = row.value
        if row.metric in PLOTTED:
            given = {"phase": _finite(row.phase), "amplitude": _finite(row.amplitude)}
            numbers |= {
                f"{row.model} {row.metric} {c}": v for c, v in given.items() if v is not None
            }
    return Exhibit(
        (
            StoredPicture(
                "comparison_plot",
                "Phase (rad) and amplitude (dimensionless) of truth and every arm in the scored "
                "area with their errors, ambiguities removed.",
                "comparison_plot.png",
            ),
            Picture(
                "frc_curves",
                "Fourier ring correlation with the truth by spatial frequency (fraction of "
                "Nyquist); higher is better.",
                draw,
            ),
        ),
        {"scores": Table.of("model metric phase amplitude value unit better", _score_rows(rows))},
        numbers,
    )


def _intervals(axis: Axes, labels: Sequence[str], rows: Sequence[Any]) -> None:
    """Draw a mark and a bar for each row with ``mean``, ``low`` and ``high``, from the top."""
    for place, row in enumerate(rows):
        colour = style.ARMS[0 if row.settled else 1][0]
        if row.low is not None and row.high is not None:
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
        if row.mean is not None:
            axis.plot(row.mean, place, "o", color=colour, markersize=4)
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.grid(axis="x", alpha=0.3)


def comparison_statistics(subject: Subject) -> Exhibit:
    """Return the headline differences with their intervals."""
    from fly64_assets.ptychography.scoring.metrics import METRICS
    from fly64_assets.ptychography.scoring.statistics import read_statistics

    found = read_statistics(subject.path("comparison_statistics.csv"))
    headline: list[tuple[str, Statistic]] = [
        (split, row) for split, rows in found.items() for row in rows if row.metric in HEADLINES
    ]
    differences = [(split, row) for split, row in headline if row.reference]

    def draw() -> Figure:
        figure, axes = drawing.new_figure(
            f"{subject.title}: differences with their intervals (blue: sign settled)",
            2,
            2,
            (10.5, 2.0 + 0.16 * len(differences)),
        )
        for row_of_axes, metric in zip(axes, HEADLINES, strict=True):
            for axis, component in zip(row_of_axes, COMPONENTS, strict=True):
                shown = [
                    (split, row)
                    for split, row in differences
                    if row.metric == metric and row.component == component
                ]
                labels = [f"{split}: {row.model} - {row.reference}" for split, row in shown]
                _intervals(axis, labels, [row for _, row in shown])
                found = METRICS[metric]
                unit = "" if found.units[component] == "1" else f" ({found.units[component]})"
                axis.set_xlabel(
                    f"{found.title} {component}{unit}, {found.direction} is better for the first"
                )
        return figure

    columns = "split model minus metric component mean low high settled covers"
    rows = ({"split": split, "minus": row.reference, **asdict(row)} for split, row in headline)
    return Exhibit(
        (
            Picture(
                "differences",
                "Differences of the headline scores with their intervals; an interval that leaves "
                "zero out (blue) settles the sign.",
                draw,
            ),
        ),
        {"scores_with_intervals": Table.of(columns, rows)},
    )


def metrics_summary(subject: Subject) -> Exhibit:
    """Every score of both splits, as a table."""
    content = read_json(subject.path("metrics_summary.json"))
    columns = "split model metric phase amplitude value"
    rows = [
        {
            "split": job["split"],
            "model": model,
            "metric": metric,
            **{name: _finite(values.get(name)) for name in ("phase", "amplitude", "value")},
        }
        for job in content["jobs"]
        for model, metrics in job["metrics"].items()
        for metric, values in metrics.items()
    ]
    return Exhibit(tables={"scores": Table.of(columns, rows)})


def metrics_delta_summary(subject: Subject) -> Exhibit:
    """Return the deltas as a table, with intervals: of the means, and of each split."""
    from fly64_assets.ptychography.scoring.metrics import METRICS

    content = read_json(subject.path("metrics_delta_summary.json"))
    columns = "split minus metric component delta low high sign_settled better unit"
    rows = []
    intervals = content["intervals"]
    known_of = {BOTH: intervals["of_means"], **intervals["by_split"]}
    for split, others in {BOTH: content["deltas"], **content["deltas_by_split"]}.items():
        known = known_of[split]
        for other, metrics in others.items():
            for metric, components in metrics.items():
                for component, value in components.items():
                    sure = known.get(other, {}).get(metric, {}).get(component, {})
                    rows.append(
                        {
                            "split": split,
                            "minus": other.removeprefix("vs_"),
                            "metric": METRICS[metric].title,
                            "component": component,
                            "delta": _finite(value),
                            "low": sure.get("low"),
                            "high": sure.get("high"),
                            "sign_settled": sure.get("settled"),
                            "better": METRICS[metric].direction,
                            "unit": METRICS[metric].units[component],
                        }
                    )
    return Exhibit(tables={"deltas_table": Table.of(columns, rows)})


def check_report(subject: Subject) -> Exhibit:
    """Return the state of every check of the condition."""
    content = read_json(subject.path("check_report.json"))
    columns = "asset check status severity blocking time reason"
    return Exhibit(tables={"checks": Table.of(columns, content["checks"])})


def study_metrics(subject: Subject) -> Exhibit:
    """MS-SSIM of every condition on the test half, as a table and a picture."""
    import pandas as pd

    table = pd.read_csv(subject.path("study_metrics.csv"), float_precision="round_trip")
    scores = table[table["reference"].isna() & table["metric"].isin(HEADLINES)]
    scores = scores.astype({"model": str, "view": str})
    columns = "dose view split model metric component mean low high photons_per_px2"
    kept = scores[columns.split()]
    rows = kept.astype(object).where(kept.notna(), None).to_dict("records")

    def draw() -> Figure:
        of_test = scores[(scores["split"] == "test") & (scores["metric"] == "ms_ssim")]
        conditions = list(dict.fromkeys(zip(of_test["dose"], of_test["view"], strict=True)))
        figure, axes = drawing.new_figure(
            f"{subject.title}: MS-SSIM of the test half", 1, 2,
            (10.5, 1.6 + 0.4 * len(conditions)), sharey=True,
        )  # fmt: skip
        models = list(dict.fromkeys(of_test["model"]))
        for axis, component in zip(axes[0], COMPONENTS, strict=True):
            for number, model in enumerate(models):
                colour, marker = style.arm(number)
                mine = of_test[(of_test["model"] == model) & (of_test["component"] == component)]
                by_condition = mine.set_index(["dose", "view"])
                shift = (number - (len(models) - 1) / 2) * 0.18
                for place, condition in enumerate(conditions):
                    row = by_condition.loc[condition]
                    if math.isfinite(row["low"]):
                        axis.plot([row["low"], row["high"]], [place + shift] * 2, color=colour)
                    label = model if place == 0 else None
                    axis.plot(row["mean"], place + shift, marker, color=colour, markersize=4,
                              linestyle="none", label=label)  # fmt: skip
            axis.set(xlabel=f"MS-SSIM {component}, higher is better")
            axis.grid(axis="x", alpha=0.3)
        axes[0][0].set_yticks(
            range(len(conditions)), [f"{dose:,d} photons, {view}" for dose, view in conditions]
        )
        axes[0][0].set_ylim(len(conditions) - 0.5, -0.5)
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        return figure

    return Exhibit(
        (
            Picture(
                "quality_by_condition",
                "MS-SSIM (0 to 1, higher is better) of every arm on the test half of every "
                "condition that is fresh, with intervals.",
                draw,
            ),
        ),
        {"headline_scores": Table.of(columns, rows)},
    )


def dose_response(_: Subject) -> Exhibit:
    """Return the study's plots, which are files of the product."""
    return Exhibit(
        tuple(
            StoredPicture(
                relation.name,
                f"Quality of every arm on the test half against {relation.label}; bars are "
                "intervals.",
                f"{relation.name}.png",
            )
            for relation in RELATIONS
        )
    )


def heatmaps(_: Subject) -> Exhibit:
    """Local scores, which are files of the product."""
    return Exhibit(
        tuple(
            StoredPicture(
                f"{name}_heatmap",
                f"Local {label} (dimensionless) of every arm with the truth in the scored area, "
                "phase and amplitude; higher is better.",
                f"{name}_heatmap.png",
            )
            for name, label in (("ms_ssim", "MS-SSIM"), ("correlation", "correlation"))
        )
    )
