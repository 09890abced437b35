"""What ``check_report.md`` says: the state of every asset check of a condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.reports.condition.rendering import Table

COLUMNS = ("asset", "check", "partition", "status", "severity", "blocking", "time", "reason")


def check_report_context(content: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the template of ``check_report.md`` from the content of ``check_report.json``."""
    rows = [
        (
            row["asset"],
            row["check"],
            row["partition"],
            row["status"],
            row["severity"] or numbers.INAPPLICABLE,
            numbers.yes_no(row["blocking"]),
            row["time"] or numbers.INAPPLICABLE,
            row["reason"],
        )
        for row in content["checks"]
    ]
    return {
        "title": numbers.condition(content["dose"], content["view"]),
        "counts": content["counts"],
        "checks": Table(COLUMNS, rows, words=COLUMNS),
    }
