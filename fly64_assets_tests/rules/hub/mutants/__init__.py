"""Mutated hubs: each edits a hub so that one rule is broken, and names the check that must see it.

One module a subject, as in `fly64_assets.rules.hub`. How an edit is hidden is in ``forging.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fly64_assets_tests.rules.hub.forging import Forgery

Edit = Callable[[Forgery], None]


@dataclass(frozen=True)
class Mutant:
    """One edit.

    Attributes:
        check: the check that must fail.
        what: the edit in a few words.
        edit: makes it.
        hidden: whether hashes, inventory and crate are made to fit afterwards; where not, the
            check is about just those.
    """

    check: str
    what: str
    edit: Edit
    hidden: bool = True

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


MUTANTS: list[Mutant] = []


def mutant(check: str, what: str, *, hidden: bool = True) -> Callable[[Edit], Edit]:
    """Register the decorated edit."""

    def register(edit: Edit) -> Edit:
        MUTANTS.append(Mutant(check, what, edit, hidden))
        return edit

    return register


def add(check: str, what: str, edit: Edit, *, hidden: bool = True) -> None:
    """Register an edit that fits on a line."""
    MUTANTS.append(Mutant(check, what, edit, hidden))


from fly64_assets_tests.rules.hub.mutants import (  # noqa: E402 - they register themselves
    archives,
    check_report,
    crate,
    data,
    lists,
    reports,
    scores,
    solvers,
    statistics,
    summaries,
)

SUBJECTS = (
    *(archives, check_report, crate, data, lists),
    *(reports, scores, solvers, statistics, summaries),
)
__all__ = ["MUTANTS", "SUBJECTS", "Mutant"]
