"""How a rule was found to hold or not: one row of a check's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RuleOutcome:
    """One rule applied to one key of a file.

    Attributes:
        key: the array, column or field under the rule.
        rule: the rule in a few words.
        expected: what the rule asks for.
        actual: what is there.
        ok: whether the rule holds.
    """

    key: str
    rule: str
    expected: Any
    actual: Any
    ok: bool
