"""What each arm of a condition cost: what it learned from, for how long, and what a half takes.

Read beside the scores: an arm that was given ten times the computing is not better for it. Formats
of numbers are in ``numbers.py``; where the numbers come from is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fly64_assets.hub import numbers
from fly64_assets.hub.rendering import Table
from fly64_assets.study import SPLITS


@dataclass(frozen=True)
class Cost:
    """Of one arm.

    Attributes:
        model: the arm's name.
        parameters: trained numbers; None for a solver that is not trained.
        images: of the train view, fitted to or held out; None likewise.
        epochs: of the training, or of each reconstruction.
        training_cpu_s: CPU-seconds of the training step, imports included; None likewise.
        reconstruction_cpu_s: split -> CPU-seconds of its reconstruction: of a network, prediction
            and stitching; of an iterative solver, its step, imports included.
    """

    model: str
    parameters: int | None
    images: int | None
    epochs: int
    training_cpu_s: float | None
    reconstruction_cpu_s: Mapping[str, float]


def cost_table(costs: Sequence[Cost]) -> Table:
    """One row an arm."""
    header = (
        "model",
        "parameters",
        "images learned from",
        "epochs",
        "training (CPU s)",
        *(f"reconstruction, {split} (CPU s)" for split in SPLITS),
    )
    rows = [
        (
            cost.model,
            *map(_count, (cost.parameters, cost.images, cost.epochs)),
            numbers.cpu_seconds(cost.training_cpu_s),
            *(numbers.cpu_seconds(cost.reconstruction_cpu_s[split]) for split in SPLITS),
        )
        for cost in costs
    ]
    return Table(header, rows)


def _count(value: int | None) -> str:
    return numbers.INAPPLICABLE if value is None else numbers.count(value)
