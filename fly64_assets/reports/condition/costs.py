"""What each arm of a condition cost: what it learned from, for how long, and what a half takes.

Read beside the scores: an arm that was given ten times the computing is not better for it. The
condition's summary and the study report both take it from here. Formats of numbers are in
``formatting.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fly64_assets.documents import formatting as numbers
from fly64_assets.documents.files import read_json
from fly64_assets.documents.provenance import Provenance
from fly64_assets.reports.condition.rendering import Table
from fly64_assets.study.arms import iterative, networks
from fly64_assets.study.model import SPLITS


@dataclass(frozen=True)
class Cost:
    """Of one arm.

    Attributes:
        model: the arm's name.
        parameters: trained numbers; None for a solver that is not trained.
        images: of the train view, fitted to or held out; None likewise.
        epochs: of the training, or of each reconstruction.
        training_cpu_s: CPU-seconds of the training step, its library loaded; None likewise.
        reconstruction_cpu_s: split -> CPU-seconds of its reconstruction: of a network, prediction
            and stitching; of an iterative solver, its step likewise.
    """

    model: str
    parameters: int | None
    images: int | None
    epochs: int
    training_cpu_s: float | None
    reconstruction_cpu_s: Mapping[str, float]

    def figure(self, column: str) -> float | None:
        """Return what a column of `COLUMNS` holds."""
        by_split = column in self.reconstruction_cpu_s
        return self.reconstruction_cpu_s[column] if by_split else getattr(self, column)


COLUMNS = {
    "parameters": "parameters",
    "images": "images learned from",
    "epochs": "epochs",
    "training_cpu_s": "training (CPU s)",
    **{split: f"reconstruction, {split} (CPU s)" for split in SPLITS},
}
"""Figures of a cost -> their titles."""
COUNTS = ("parameters", "images", "epochs")


class Stored(Protocol):
    """A product of the condition with its provenance."""

    @property
    def provenance(self) -> Provenance: ...

    def path(self, file: str) -> Path:
        """Where one of its files lies."""


class Products(Protocol):
    """The condition's products by their keys."""

    def __call__(self, *key: str) -> Stored:
        """Return the product of a key."""


def costs_of(models: Iterable[str], product: Products) -> list[Cost]:
    """Return what each arm of a condition cost, from bundles, scoring and records."""
    wanted = list(models)
    inference = {
        split: read_json(product(split, "comparison").path("scoring.json"))["cpu_seconds"]
        for split in SPLITS
    }
    view = read_json(product("train", "overlap_view").path("train_metrics.json"))
    costs = {}
    for network in networks(wanted):
        bundle = read_json(product(*network.model_key).path("bundle.json"))
        costs[network.name] = Cost(
            network.name,
            bundle["n_parameters"],
            view["n_images_kept"],
            bundle["epochs_completed"],
            product(*network.model_key).provenance.cpu_seconds,
            {split: inference[split][network.name] for split in SPLITS},
        )
    for arm in iterative(wanted):
        steps = {split: product(*arm.key(split)).provenance for split in SPLITS}
        costs[arm.name] = Cost(
            arm.name,
            None,
            None,
            steps[SPLITS[0]].settings[arm.section]["epochs"],
            None,
            {split: step.cpu_seconds for split, step in steps.items()},
        )
    return [costs[model] for model in wanted]


def total_costs(conditions: Iterable[Sequence[Cost]]) -> list[Cost]:
    """Every arm's costs in all conditions together; parameters are those of one network.

    Args:
        conditions: the costs of each, with the same arms in the same order.
    """
    return [_total(costs) for costs in zip(*conditions, strict=True)]


def _total(costs: Sequence[Cost]) -> Cost:
    def added(column: str) -> Any:
        found = [cost.figure(column) for cost in costs]
        return None if None in found else sum(found)

    first = costs[0]
    by_split = {split: added(split) for split in SPLITS}
    sums = (added(column) for column in ("images", "epochs", "training_cpu_s"))
    return Cost(first.model, first.parameters, *sums, by_split)


def cost_table(costs: Sequence[Cost]) -> Table:
    """One row an arm."""
    rows = [(cost.model, *(figure_text(cost, name) for name in COLUMNS)) for cost in costs]
    return Table(("model", *COLUMNS.values()), rows)


def figure_text(cost: Cost, column: str) -> str:
    """Return a figure of `COLUMNS` as it is shown."""
    value = cost.figure(column)
    return _count(value) if column in COUNTS else numbers.cpu_seconds(value)


def _count(value: int | None) -> str:
    return numbers.INAPPLICABLE if value is None else numbers.count(value)
