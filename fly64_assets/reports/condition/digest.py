"""What ``metrics_digest.md`` says of a condition: who leads, the headline scores, where to look."""

from __future__ import annotations

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES, OTHERS, SUBJECT
from fly64_assets.reports.condition.rendering import Table
from fly64_assets.reports.condition.report_parts import (
    HEADLINE,
    HEADLINE_SPLIT,
    Context,
    Sources,
    sanity_status,
    shown_scores,
    title_of,
    with_unit,
)
from fly64_assets.reports.condition.winners import best
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hub_layout import hub_path
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import product


def digest_context(sources: Sources) -> Context:
    header = ["model"]
    for metric in HEADLINES:
        name = f"{title_of(metric)} {with_unit(metric, HEADLINE)}"
        header += [f"{name} {HEADLINE_SPLIT}", f"{name} mean"]
    rows = []
    for model in sources.models:
        row = [model]
        for metric in HEADLINES:
            of_split = sources.score(HEADLINE_SPLIT, model, metric, HEADLINE)
            row.append(numbers.score(of_split, "job", metric))
            row += shown_scores(sources, model, metric, [f"mean_{HEADLINE}"])
        rows.append((*row, sanity_status(sources, model)))
    return {
        "headline_split": HEADLINE_SPLIT,
        "best": [
            f"Best {HEADLINE} {title_of(metric)} on {HEADLINE_SPLIT} "
            f"({METRICS[metric].direction} is better): {_best(sources, metric)}"
            for metric in HEADLINES
        ],
        "scores": Table((*header, "sanity"), rows, words=("sanity",)),
        "deltas": _key_deltas(sources),
        "references": _references(sources.condition),
    }


def _best(sources: Sources, metric: str) -> str:
    """Who has the best headline number, and against whom that is not settled."""
    values = {
        model: value
        for model in sources.models
        if (value := sources.score(HEADLINE_SPLIT, model, metric, HEADLINE)) is not None
    }
    return best(values, sources.statistics[HEADLINE_SPLIT], metric, HEADLINE)


def _key_deltas(sources: Sources) -> Table:
    columns = [(c, split) for c in reversed(COLUMNS) for split in (HEADLINE_SPLIT, None)]
    rows = [
        (
            f"{title_of(metric)} Δ ({SUBJECT} - {other})",
            METRICS[metric].direction,
            *(
                numbers.delta(sources.delta(split, other, metric, c), metric)
                for c, split in columns
            ),
        )
        for metric in HEADLINES
        for other in OTHERS
    ]
    header = ("delta", "better", *(f"{c} {split or 'mean'}" for c, split in columns))
    return Table(header, rows, words=("better",))


REFERENCES = (
    (("comparison_manifest",), ("comparison_manifest.json",)),
    (("metrics_summary",), ("metrics_summary.json",)),
    (("metrics_delta_summary",), ("metrics_delta_summary.json",)),
    (
        ("metrics_report",),
        (
            "metrics_summary.md",
            "metrics_delta_highlights.txt",
            "aggregate_report.md",
            "ssim_grid_summary.md",
        ),
    ),
    *(
        ((split, name), files)
        for split in SPLITS
        for name, files in (
            ("overlap_view", (f"{split}_metrics.json",)),
            ("comparison", ("comparison_metrics.csv", "comparison_plot.png")),
            ("heatmaps", ("ms_ssim_heatmap.png", "correlation_heatmap.png")),
        )
    ),
)
"""The files that the digest points to, by the product that owns them."""


def _references(condition: Condition) -> list[str]:
    """Paths relative to the hub, POSIX."""
    return [
        str(hub_path(product(*key), condition, file)) for key, files in REFERENCES for file in files
    ]
