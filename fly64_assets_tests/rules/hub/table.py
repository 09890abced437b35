"""``python -m fly64_assets_tests.rules.hub.table``: write the table of checks in docs/verify.md."""

from __future__ import annotations

import re

from fly64_assets.rules.hub import in_order
from fly64_assets.study.model import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "verify.md"
ROWS = re.compile(r"^\| check \| what must hold \|\n(?:\|.*\n)+", re.MULTILINE)


def table() -> str:
    """Return a row a check, in the order of a report."""
    rows = [f"| `{one.name}` | {one.rule.replace('|', chr(92) + '|')} |" for one in in_order()]
    return "\n".join(["| check | what must hold |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(ROWS.sub(lambda _: table(), text), "utf-8")
