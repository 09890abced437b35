"""Partitions: every dose and view that exists comes from the study file, through here.

A `Condition` names what one partition key names: nothing (study-wide), a dose, or a dose and a
view. Dagster's two-dimensional keys read ``dose|view`` (dimensions sorted by name).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fly64_assets.errors import InputError
from fly64_assets.study.model import NAME_PATTERN, Study

Per = Literal["study", "dose", "condition"]
DOSE_PATTERN = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True)
class Condition:
    """One cell of the study's matrix, or a row (``view`` None), or all of it (both None)."""

    dose: int | None = None
    view: str | None = None

    @property
    def partition_key(self) -> str | None:
        """The Dagster key: ``None``, ``"1000"`` or ``"1000|dense"``."""
        parts = [str(part) for part in (self.dose, self.view) if part is not None]
        return "|".join(parts) or None

    @classmethod
    def from_partition_key(cls, key: str | None) -> Condition:
        """Return the condition that a Dagster key names.

        Raises:
            InputError: it is neither a dose in decimal nor a dose and a view: no path is ever made
                of anything else.
        """
        if key is None:
            return cls()
        dose, bar, view = str(key).partition("|")
        if not DOSE_PATTERN.fullmatch(dose) or (bar and not NAME_PATTERN.fullmatch(view)):
            raise InputError(
                "partition", str(key), "is not a dose, or a dose and a view: 1000 or 1000|dense"
            )
        return cls(int(dose), view or None)

    def restricted_to(self, per: Per) -> Condition:
        """Return the part of this condition that an asset partitioned ``per`` sees."""
        if per == "study":
            return Condition()
        return Condition(self.dose) if per == "dose" else self

    def __str__(self) -> str:
        return self.partition_key or "study"


def dose_keys(study: Study) -> list[str]:
    """Ascending, in decimal. All doses cost the same, so no order shortens a backfill's tail."""
    return [str(dose) for dose in study.doses]


def view_keys(study: Study) -> list[str]:
    """As the study file orders them; the published order is dense before sparse."""
    return list(study.views)


def conditions_of(study: Study, per: Per) -> list[Condition]:
    """Every condition that an asset which exists once per study, dose or condition has."""
    whole = (Condition(dose, view) for dose in study.doses for view in study.views)
    return list(dict.fromkeys(condition.restricted_to(per) for condition in whole))
