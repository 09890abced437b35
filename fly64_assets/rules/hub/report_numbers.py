"""The numbers of the reports as text, from tables, arrays and coordinates.

Formats are those of the contract and of the reports' readers; nothing is shared with what writes
them. Which number stands where is in ``reports.py`` and ``pages.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.crate_graph import setting
from fly64_assets.rules.hub.datasets import counts_in, positions
from fly64_assets.rules.hub.delta_intervals import BETTER, OTHERS, SUBJECT
from fly64_assets.rules.hub.markdown import Item, Row
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.statistics import table as statistics_table
from fly64_assets.rules.hub.summaries import mean_deltas, split_deltas
from fly64_assets.rules.hub.views import counts, metrics_path, overlap_numbers
from fly64_assets.study.model import BOTH, SPLITS

LABELS = {"ms_ssim": "MS-SSIM", "mae": "MAE"}
FAVOURS = {"ms_ssim": "positive", "mae": "negative"}
SANE = 0.80
MEAN = "mean of train and test"
METRIC_TITLES = {
    "mae": ("MAE", "lower", "1 / rad"),
    "mse": ("MSE", "lower", "1 / rad^2"),
    "psnr": ("PSNR", "higher", "dB"),
    "ssim": ("SSIM", "higher", "1"),
    "ms_ssim": ("MS-SSIM", "higher", "1"),
    "frc50": ("FRC50", "higher", "fraction of Nyquist"),
}
PHOTON_NOTE = (
    "A dense view has several times the photons of a sparse one at the same dose: when views are "
    "compared, compare photons/px² too."
)


def title(hub: Hub) -> str:
    return f"{hub.dose:,d} photons per exposure, {hub.view} view"


def as_text(value: float | None, spec: str) -> str:
    return "N/A" if value is None else format(value, spec)


def delta_text(value: float | None, metric: str) -> str:
    return as_text(value, "+.3f" if metric == "ms_ssim" else "+.6f")


def comparison_counts(hub: Hub) -> dict[str, int]:
    """Numbers of comparisons, counted in the manifest's lists."""
    manifest = hub.json(contract.MANIFEST)
    results = manifest["execution_results"]
    failed = sum(result["returncode"] != 0 for result in results)
    return {
        "total": len(manifest["jobs"]),
        "executed": len(results),
        "success": len(results) - failed,
        "failed": failed,
    }


def counts_line(hub: Hub) -> str:
    return "comparisons: " + ", ".join(
        f"{key} {value}" for key, value in comparison_counts(hub).items()
    )


def counts_table(hub: Hub) -> list[Row]:
    found = comparison_counts(hub)
    return [("comparisons", *found), ("both splits", *(f"{n:,d}" for n in found.values()))]


def photons_text(hub: Hub, split: str) -> tuple[str, str]:
    """Total photons and photons per px^2 of a split's view, as text."""
    total = counts_in(hub, hub.overlap_view(split))
    whole = positions(hub, hub.dataset(split))
    (y0, x0), (y1, x1) = whole.min(axis=0), whole.max(axis=0)
    return f"{total:,.0f}", f"{total / ((y1 - y0) * (x1 - x0)):,.1f}"


def photon_lines(hub: Hub) -> list[str]:
    (train, train_density), (test, test_density) = (photons_text(hub, split) for split in SPLITS)
    return [
        f"total photons: train {train}  test {test}",
        f"photons/px²: train {train_density}  test {test_density}",
    ]


def target_overlap(hub: Hub, split: str) -> float | None:
    return hub.json(metrics_path(hub, split)).get("target_overlap")


def datasets_table(hub: Hub) -> list[Row]:
    rows: list[Row] = [
        (
            *("split", "images in the half", "images in the view", "share", "group centres"),
            *("overlap target", "overlap reached", "total photons", "photons/px²"),
        )
    ]
    for split in SPLITS:
        numbers = counts(hub, split)
        total, kept = numbers["n_images_total"], numbers["n_images_kept"]
        reached = overlap_numbers(hub, split)["reached_overlap"]
        rows.append(
            (
                split,
                f"{total:,d}",
                f"{kept:,d}",
                f"{100 * kept / total:.1f} %",
                f"{numbers['n_centres']:,d}",
                as_text(target_overlap(hub, split), ".3f"),
                as_text(reached, ".3f"),
                *photons_text(hub, split),
            )
        )
    return rows


def sanity_status(means: Mapping[str, float | None]) -> str:
    low = [
        short
        for short, component in (("amp", "amplitude"), ("phase", "phase"))
        if (mean := means[f"mean_{component}"]) is not None and mean < SANE
    ]
    return f"LOW ({','.join(low)})" if low else "OK"


def metric_title(metric: str, component: str) -> str:
    return f"{LABELS[metric]} {component}" + (
        " (rad)" if metric == "mae" and component == "phase" else ""
    )


def delta_label(metric: str, other: str) -> str:
    return f"{LABELS[metric]} Δ ({SUBJECT} - {other})"


def direction_text(metric: str) -> str:
    return f"{BETTER[metric]} is better, a {FAVOURS[metric]} delta favours {SUBJECT}"


def tables_of_deltas(hub: Hub) -> dict[str, Any]:
    return {MEAN: mean_deltas(hub), **{split: split_deltas(hub, split) for split in SPLITS}}


NOMINAL = (
    "The level is nominal: in trials, intervals of 95 % held the truth in about 95 % (MAE), 90 % "
    "(MS-SSIM) and 80 % (differences of MS-SSIM) of cases (docs/statistics.md)."
)


def how_sure(hub: Hub) -> list[tuple[str, list[Item]]]:
    """Two sections: the scores with their intervals, then the deltas with theirs."""
    level = f"{100 * float(setting(hub, 'statistics', 'confidence')):g} %"
    scores = (
        f"Means over all trainings of a network, with intervals of {level} in brackets. "
        '"Space" is where in the scored area one looks (block bootstrap), "training seed" which '
        "training of a network; nothing here covers another specimen. "
        f"`{contract.STATISTICS}` has every metric."
    )
    deltas = (
        f"Means over all trainings, with the ends of intervals of {level} (both models in the same "
        "blocks); a delta that is told without an interval is of the first training alone, and can "
        "differ. A sign is settled where the interval leaves zero out."
    )
    return [
        ("## How sure the scores are", [scores, _score_intervals(hub), NOMINAL]),
        ("## How sure the deltas are", [deltas, _delta_intervals(hub), NOMINAL]),
    ]


OVER = {BOTH: MEAN, **{split: split for split in SPLITS}}


def _score_intervals(hub: Hub) -> list[Row]:
    """Every model's MS-SSIM and MAE with their intervals, from the table of statistics."""
    columns = [(metric, component) for metric in LABELS for component in contract.COMPONENTS]
    rows: list[Row] = [
        ("over", "model", *(f"{LABELS[metric]} {name}" for metric, name in columns), "covers")
    ]
    stated = statistics_table(hub)
    for split, over in OVER.items():
        for model in arms(hub):
            found = [stated[split, model, "", *column] for column in columns]
            numbers = [
                [float(cells[k]) for k in ("mean", "low", "high")] if cells["mean"] else None
                for cells in found
            ]
            texts = (
                "{:.4f} [{:.4f}, {:.4f}]".format(*ends) if ends else "not defined"
                for ends in numbers
            )
            covers = next(c["covers"] for c, ends in zip(found, numbers, strict=True) if ends)
            rows.append((over, model, *texts, covers))
    return rows


def _delta_intervals(hub: Hub) -> list[Row]:
    """Every delta of MS-SSIM and MAE with its interval, from the table of statistics."""
    rows: list[Row] = [("over", "minus", "metric", "mean", "low", "high", "sign settled", "covers")]
    stated = statistics_table(hub)
    for split, over in OVER.items():
        for other in OTHERS:
            for metric in LABELS:
                for component in contract.COMPONENTS:
                    found = stated[split, SUBJECT, other, metric, component]
                    ends = (
                        delta_text(float(found[k]) if found[k] else None, metric)
                        for k in ("mean", "low", "high")
                    )
                    name = f"{LABELS[metric]} {component}"
                    settled = found["settled"] or "N/A"
                    rows.append((over, other, name, *ends, settled, found["covers"]))
    return rows


def highlight_lines(hub: Hub) -> list[str]:
    deltas, lines = mean_deltas(hub), []
    for metric in LABELS:
        width = max(len(delta_label(metric, other)) for other in OTHERS) + 2
        for other in OTHERS:
            values = deltas[f"vs_{other}"][metric]
            shown = "  ".join(
                f"{name} {delta_text(values[name], metric)}" for name in contract.COMPONENTS
            )
            lines.append(f"{delta_label(metric, other):<{width}}: {shown}")
    return lines
