"""Every asset check of chosen partitions with its latest state: what ``fly64 checks`` and the
check report show. Nothing is evaluated here (``checks/``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fly64_assets.catalogue import Product, products_in
from fly64_assets.ledger import NOT_RUN, STATES, Ledger, Record
from fly64_assets.partitions import Condition
from fly64_assets.study import Study


@dataclass(frozen=True)
class CheckRow:
    """One check of one asset in one partition.

    Attributes:
        partition: ``1000``, ``1000|dense`` or ``study``.
        blocking: whether nothing may consume the asset unless the check passed.
        severity: of the latest evaluation, ERROR or WARN; empty when there is none.
        status: one of `ledger.STATES`.
        time: of the evaluation, UTC; empty when there is none.
        reason: what the evaluation said.
    """

    asset: str
    check: str
    partition: str
    blocking: bool
    severity: str
    status: str
    time: str
    reason: str


def rows_of_record(ledger: Ledger, record: Record) -> list[CheckRow]:
    """The checks of one materialization."""
    return [
        CheckRow(
            record.product.name,
            check.name,
            str(record.condition),
            check.blocking,
            check.severity if check.passed is not None else "",
            check.state,
            check.checked_at,
            check.description if check.passed is not None else "not run for what is there now",
        )
        for check in ledger.checks(record)
    ]


def rows_of_conditions(
    study: Study, ledger: Ledger, conditions: Iterable[Condition]
) -> list[CheckRow]:
    """Every check of every product of some conditions, each once, in the catalogue's order."""
    wanted = list(conditions)
    rows = []
    for item in products_in(study):
        for condition in dict.fromkeys(c.restricted_to(item.per) for c in wanted):
            rows += _rows(ledger, item, condition)
    return rows


def _rows(ledger: Ledger, item: Product, condition: Condition) -> list[CheckRow]:
    record = ledger.latest(item, condition)
    if record is not None:
        return rows_of_record(ledger, record)
    return [
        CheckRow(
            item.name,
            name,
            str(condition),
            name in item.blocking_checks,
            "",
            NOT_RUN,
            "",
            "no data",
        )
        for name in item.checks
    ]


def tally(rows: Iterable[CheckRow]) -> dict[str, int]:
    """Number of checks in each state, all four of them."""
    states = [row.status for row in rows]
    return {state: states.count(state) for state in STATES}
