"""Read and write JSON, CSV and text files as the hub has them: UTF-8, LF, no number but a number.

What does not belong here: what a file holds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Read a JSON file that this program wrote."""
    return json.loads(path.read_text("utf-8"))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as one dictionary a row, every cell a text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_columns(path: Path) -> dict[str, list[float]]:
    """Read a CSV file of numbers by column; a blank is NaN.

    Raises:
        ValueError: a cell holds no number.
    """
    rows = read_rows(path)
    return {name: [float(row[name] or "nan") for row in rows] for name in (rows or [{}])[0]}


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with LF."""
    path.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON; a number that JSON does not know is an error."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file with LF; None is a blank cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
