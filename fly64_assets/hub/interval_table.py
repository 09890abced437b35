"""The intervals of the deltas as a table for people, for every report that shows deltas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fly64_assets.hub import numbers
from fly64_assets.hub.rendering import Table

HEADER = ("split", "minus", "metric", "mean", "low", "high", "sign settled", "covers")


def interval_table(delta_summary: Mapping[str, Any]) -> Table:
    """One row for each delta of each split: mean, ends, whether its sign is known."""
    rows = [
        (
            split,
            other.removeprefix("vs_"),
            f"{numbers.LABELS[metric]} {component}",
            *(numbers.delta(found[end], metric) for end in ("mean", "low", "high")),
            numbers.yes_no(found["settled"]),
            found["covers"],
        )
        for split, others in delta_summary["intervals"]["by_split"].items()
        for other, metrics in others.items()
        for metric, components in metrics.items()
        for component, found in components.items()
    ]
    return Table(HEADER, rows, words=("minus", "metric", "sign settled", "covers"))


def confidence(delta_summary: Mapping[str, Any]) -> str:
    """``95 %``"""
    return f"{100 * delta_summary['intervals']['confidence']:g} %"
