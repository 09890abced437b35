"""Every asset check of chosen partitions as it stands now, for ``fly64 checks`` and reports.

Nothing is evaluated here (``rules/``), and what still counts is the planner's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fly64_assets.documents.provenance import STATES
from fly64_assets.pipeline.freshness import Planner
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import Product, products_in


@dataclass(frozen=True)
class CheckRow:
    """One check of one asset in one partition.

    Attributes:
        partition: ``1000``, ``1000|dense`` or ``study``.
        blocking: whether nothing may consume the asset unless the check passed.
        severity: of the evaluation, ERROR or WARN; empty when there is none that counts.
        status: one of `ledger.STATES`.
        time: of the evaluation, UTC; empty when there is none that counts.
        reason: what the evaluation said, or why there is none that counts.
    """

    asset: str
    check: str
    partition: str
    blocking: bool
    severity: str
    status: str
    time: str
    reason: str


def rows_of(planner: Planner, item: Product, condition: Condition) -> list[CheckRow]:
    """Return the checks of one product as they stand for what is there now."""
    return [
        CheckRow(
            item.name,
            check.name,
            str(condition),
            check.blocking,
            check.severity if check.passed is not None else "",
            check.state,
            check.checked_at,
            check.description or "has not run for what is there now",
        )
        for check in planner.checks(item, condition)
    ]


def rows_of_conditions(planner: Planner, conditions: Iterable[Condition]) -> list[CheckRow]:
    """Every check of every product of some conditions, each once, in the catalogue's order."""
    wanted = list(conditions)
    cells = {
        (item, condition.restricted_to(item.per)): None
        for item in products_in(planner.study)
        for condition in wanted
    }
    return [row for cell in cells for row in rows_of(planner, *cell)]


def tally(rows: Iterable[CheckRow]) -> dict[str, int]:
    """Count the checks in each state, all four of them."""
    states = [row.status for row in rows]
    return {state: states.count(state) for state in STATES}
