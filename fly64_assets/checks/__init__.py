"""Asset checks, mirroring ``assets/``. Every check reads the stored files and can fail.

A check's metadata is a table: key, rule, expected, actual, ok. Blocking checks guard consumption
(``planner.py``); which product has which checks stands in the catalogue.
"""

from __future__ import annotations

from dagster import AssetChecksDefinition

from fly64_assets.checks import comparison_checks, data_checks, solver_checks
from fly64_assets.context import StudyContext


def build_all(context: StudyContext) -> list[AssetChecksDefinition]:
    """Every check of the study."""
    modules = (data_checks, solver_checks, comparison_checks)
    return [check for module in modules for check in module.build(context)]
