"""What an asset check is to those who write its rules: a name, a judge, a sentence, a severity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fly64_assets.documents.provenance import FileRecord
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.files import Files
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import Product


class Severity(StrEnum):
    """ERROR where scores or files would be wrong, WARN where a run should go on."""

    ERROR = "ERROR"
    WARN = "WARN"


AS_WRITTEN = "bytes as written"
"""The rule of the check `products.FILES`."""


class CheckRun(Files, Protocol):
    """A product in a store: its `Files`, and what only a store knows of it.

    Attributes:
        figures: the numbers that its materialization shows, by name.
        root: folder that the paths in its provenance are relative to.
    """

    @property
    def figures(self) -> Mapping[str, float]: ...
    @property
    def root(self) -> Path: ...

    def other(self, *key: str) -> CheckRun:
        """Return another product of the same condition; LookupError where it was never made."""

    def at(self, product: Product, condition: Condition) -> CheckRun | None:
        """Return any product as it was made last, or None."""

    def previous(self) -> CheckRun | None:
        """Return the product as it was made before, or None."""

    def altered(self, file: FileRecord) -> str | None:
        """Return how a file differs from its record, in words, or None."""


Judge = Callable[[CheckRun], Iterable[RuleOutcome]]
"""One that only asks for `Files` judges a hub's product as well."""


@dataclass(frozen=True)
class Check:
    """One named check. Whether it blocks stands in the table of products.

    Attributes:
        judge: yields the rules; a broken one gives the check's severity, an exception is an ERROR.
        description: one sentence: what holds when it passes.
    """

    name: str
    judge: Judge
    description: str
    severity: Severity = Severity.ERROR
