"""What the study report is given: how each condition stands and, where it is finished, its data.

Plain data, made by the asset from the store and the event log. What does not belong here: anything
that turns it into text or pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fly64_assets.reports.condition.costs import Cost
from fly64_assets.reports.figures.panels import Curve

TRUTH = "truth"
FINISHED = "fresh"
CHECK_MARKS = {"passed": "✔", "warning": "⚠", "failed": "✖", "not run": "○"}
"""Status of an asset check -> its mark."""
BUDGET = ("seconds", "cpu_seconds", "peak_memory_mb")
"""What every step records of its time and memory."""


@dataclass(frozen=True)
class Split:
    """One half of a finished condition.

    Attributes:
        objects: ``truth`` and every arm -> (H, W) complex in the scoring area, ambiguities removed.
        curves: FRC by arm.
        seconds: of each arm's reconstruction of this half, as the comparison's table has it.
    """

    objects: Mapping[str, np.ndarray]
    curves: Mapping[str, Curve]
    seconds: Mapping[str, str]


@dataclass(frozen=True)
class CheckLine:
    """One asset check as it was evaluated last; ``status`` is one of ``CHECK_MARKS``."""

    asset: str
    check: str
    partition: str
    blocking: bool
    status: str
    reason: str


@dataclass(frozen=True)
class Made:
    """One materialization.

    Attributes:
        files: (path relative to the store, sha256, bytes).
        budget: the figures of `BUDGET`.
        figures: what else it recorded of itself.
    """

    asset: str
    partition: str
    generated_at: str
    data_version: str
    git_commit: str
    versions: Mapping[str, str]
    files: Sequence[tuple[str, str, int]]
    budget: Mapping[str, float]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class ConditionData:
    """A cell of the matrix: how it stands and, where it is finished, what was found."""

    dose: int
    view: str
    state: str
    reason: str
    splits: Mapping[str, Split] = field(default_factory=dict)
    checks: Sequence[CheckLine] = ()
    made: Sequence[Made] = ()
    costs: Sequence[Cost] = ()

    @property
    def anchor(self) -> str:
        return f"c-{self.dose}-{self.view}"
