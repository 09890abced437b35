"""What there is to see of phases G and H: scores, curves, intervals, differences, the study."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fly64_assets.reports.previews import drawing
from fly64_assets.reports.previews.preview import (
    Exhibit,
    Kind,
    Picture,
    Row,
    StoredPicture,
    Subject,
    Table,
)
from fly64_assets.study.model import BOTH
from fly64_assets.study.relations import RELATIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fly64_assets.ptychography.scoring.comparison import ScoreRow
    from fly64_assets.ptychography.scoring.statistics import Statistic

HEADLINES = ("ms_ssim", "mae")
PLOTTED = ("ssim", "psnr", "frc50")
"""Plotted over time beside the headlines, which the asset itself states."""
SCORE_COLUMNS: Mapping[str, Kind] = {
    "model": "string",
    "metric": "string",
    "phase": "float",
    "amplitude": "float",
    "value": "float",
    "unit": "string",
    "better": "string",
}


def _finite(value: float | None) -> float | None:
    """An infinite score (PSNR of an equal image) has no place on an axis or in JSON."""
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
    """The comparison plot with its errors, FRC curves, every score; nothing of a failed one."""
    from fly64_assets.ptychography.scoring.comparison import read_csv

    table = subject.path("comparison_metrics.csv")
    if not table.is_file():
        return Exhibit()
    rows = read_csv(table)
    curves = {model: _curve(subject, model) for model in dict.fromkeys(row.model for row in rows)}

    def draw() -> Figure:
        figure, axes = drawing.new_figure(
            f"{subject.title}: Fourier ring correlation with the truth", 1, 2, (9.5, 3.4),
            sharey=True,
        )  # fmt: skip
        threshold = subject.study.scoring.frc_threshold
        for axis, component in zip(axes[0], ("phase", "amplitude"), strict=True):
            for number, (model, curve) in enumerate(curves.items()):
                drawing.curves(
                    axis, curve["frequency_nyquist"], {model: curve[component]}, first=number
                )
            axis.axhline(threshold, color="black", linestyle="--", linewidth=0.8)
            axis.set(xlabel="spatial frequency (fraction of Nyquist)", title=component, xlim=(0, 1))
        axes[0][0].set_ylabel(f"correlation (dashed: {threshold:g})")
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
        {"scores": Table(SCORE_COLUMNS, list(_score_rows(rows)))},
        numbers,
    )


def _curve(subject: Subject, model: str) -> dict[str, list[float]]:
    path = subject.path(f"{model}_frc_curve.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def _intervals(axis: Axes, labels: Sequence[str], rows: Sequence[Any]) -> None:
    """A mark and a bar for each row with ``mean``, ``low`` and ``high``, the first at the top."""
    for place, row in enumerate(rows):
        colour = drawing.STYLES[0 if row.settled else 1][0]
        if row.low is not None and row.high is not None:
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
        if row.mean is not None:
            axis.plot(row.mean, place, "o", color=colour, markersize=4)
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.grid(axis="x", alpha=0.3)


def comparison_statistics(subject: Subject) -> Exhibit:
    """The headline differences with their intervals."""
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
            for axis, component in zip(row_of_axes, ("phase", "amplitude"), strict=True):
                shown = [
                    (split, row)
                    for split, row in differences
                    if row.metric == metric and row.component == component
                ]
                labels = [f"{split}: {row.model} - {row.reference}" for split, row in shown]
                _intervals(axis, labels, [row for _, row in shown])
                unit = " (rad)" if (metric, component) == ("mae", "phase") else ""
                better = "higher" if metric == "ms_ssim" else "lower"
                name = "MS-SSIM" if metric == "ms_ssim" else "MAE"
                axis.set_xlabel(f"{name} {component}{unit}, {better} is better for the first")
        return figure

    columns: Mapping[str, Kind] = {
        "split": "string",
        "model": "string",
        "minus": "string",
        "metric": "string",
        "component": "string",
        "mean": "float",
        "low": "float",
        "high": "float",
        "settled": "bool",
        "covers": "string",
    }
    rows = [
        {
            "split": split,
            "model": row.model,
            "minus": row.reference,
            "metric": row.metric,
            "component": row.component,
            "mean": row.mean,
            "low": row.low,
            "high": row.high,
            "settled": row.settled,
            "covers": row.covers,
        }
        for split, row in headline
    ]
    return Exhibit(
        (
            Picture(
                "differences",
                "Differences of the headline scores with their intervals; an interval that leaves "
                "zero out (blue) settles the sign.",
                draw,
            ),
        ),
        {"scores_with_intervals": Table(columns, rows)},
    )


def metrics_summary(subject: Subject) -> Exhibit:
    """Every score of both splits, as a table."""
    content = json.loads(subject.path("metrics_summary.json").read_text("utf-8"))
    columns: Mapping[str, Kind] = {
        "split": "string",
        "model": "string",
        "metric": "string",
        "phase": "float",
        "amplitude": "float",
        "value": "float",
    }
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
    return Exhibit(tables={"scores": Table(columns, rows)})


def metrics_delta_summary(subject: Subject) -> Exhibit:
    """The deltas as a table, with intervals: of the means over the splits, and of each split."""
    from fly64_assets.ptychography.scoring.metrics import METRICS

    content = json.loads(subject.path("metrics_delta_summary.json").read_text("utf-8"))
    columns: Mapping[str, Kind] = {
        "split": "string",
        "minus": "string",
        "metric": "string",
        "component": "string",
        "delta": "float",
        "low": "float",
        "high": "float",
        "sign_settled": "bool",
        "better": "string",
        "unit": "string",
    }
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
    return Exhibit(tables={"deltas_table": Table(columns, rows)})


def check_report(subject: Subject) -> Exhibit:
    """The state of every check of the condition."""
    content = json.loads(subject.path("check_report.json").read_text("utf-8"))
    columns: Mapping[str, Kind] = {
        "asset": "string",
        "check": "string",
        "status": "string",
        "severity": "string",
        "blocking": "bool",
        "time": "string",
        "reason": "string",
    }
    rows = [{name: row[name] for name in columns} for row in content["checks"]]
    return Exhibit(tables={"checks": Table(columns, rows)})


def study_metrics(subject: Subject) -> Exhibit:
    """MS-SSIM of every condition on the test half, as a table and a picture."""
    import pandas as pd

    table = pd.read_csv(subject.path("study_metrics.csv"), float_precision="round_trip")
    scores = table[table["reference"].isna() & table["metric"].isin(HEADLINES)]
    scores = scores.astype({"model": str, "view": str})
    columns: Mapping[str, Kind] = {
        "dose": "int",
        "view": "string",
        "split": "string",
        "model": "string",
        "metric": "string",
        "component": "string",
        "mean": "float",
        "low": "float",
        "high": "float",
        "photons_per_px2": "float",
    }
    kept = scores[list(columns)]
    rows = kept.astype(object).where(kept.notna(), None).to_dict("records")

    def draw() -> Figure:
        of_test = scores[(scores["split"] == "test") & (scores["metric"] == "ms_ssim")]
        conditions = list(dict.fromkeys(zip(of_test["dose"], of_test["view"], strict=True)))
        figure, axes = drawing.new_figure(
            f"{subject.title}: MS-SSIM of the test half", 1, 2,
            (10.5, 1.6 + 0.4 * len(conditions)), sharey=True,
        )  # fmt: skip
        models = list(dict.fromkeys(of_test["model"]))
        for axis, component in zip(axes[0], ("phase", "amplitude"), strict=True):
            for number, model in enumerate(models):
                colour, marker = drawing.STYLES[number % len(drawing.STYLES)]
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
        {"headline_scores": Table(columns, rows)},
    )


def dose_response(_: Subject) -> Exhibit:
    """The study's plots, which are files of the product."""
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
