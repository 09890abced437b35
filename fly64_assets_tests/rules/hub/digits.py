"""One digit changed in a number of a text: which numbers there are, and who has to see it.

Every number of every text is held by the crate's hashes. Those of `RECOMPUTED` are held by a check
of the content as well, so that a forger who knows the hashes is found too; what a hub holds no
second source for (how long a network took, what a solver's loss was) is listed in `HELD_BY_HASH`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
SIGNIFICANT = 8
"""Digits of a float in a JSON file that are changed; those after are rounding, and not recomputed
but where the contract asks for the very double."""

RECOMPUTED: dict[str, tuple[str, ...]] = {
    "analysis/artifact_inventory.txt": ("inventory",),
    "analysis/comparison_manifest.json": ("manifest", "hub.one_condition", "crate.settings"),
    "analysis/metrics_summary.json": ("summary",),
    "analysis/metrics_delta_summary.json": ("deltas", "times"),
    "analysis/comparison_statistics.csv": ("statistics", "deltas"),
    "analysis/comparison_summary.txt": ("reports",),
    "analysis/metrics_summary.md": ("reports",),
    "analysis/metrics_delta_highlights.txt": ("reports",),
    "analysis/metrics_delta_highlights_preview.txt": ("reports",),
    "analysis/aggregate_report.md": ("reports",),
    "analysis/aggregate_highlights.txt": ("reports",),
    "analysis/metrics_digest.md": ("reports",),
    "analysis/ssim_grid_summary.md": ("reports",),
    "analysis/check_report.md": ("check_report",),
    "analysis/check_report.json": ("check_report", "times"),
    "analysis/DOSE/VIEW/test/comparison_metrics.csv": ("manifest",),
    "analysis/DOSE/VIEW/test/PtychoPINN_frc_curve.csv": ("manifest",),
    "analysis/DOSE/VIEW/train/PtyChi_frc_curve.csv": ("manifest",),
    "analysis/DOSE/VIEW/test/scoring.json": (
        *("scores", "manifest", "crate.settings", "crate.versions"),
    ),
    "analysis/DOSE/VIEW/train/comparison.log": ("manifest",),
    "data/phase_c/run_manifest.json": ("phase_c.run_manifest",),
    "data/phase_d/DOSE/VIEW/train_metrics.json": ("phase_d", "crate.data_versions"),
    "data/phase_d/DOSE/VIEW/metrics_bundle.json": ("phase_d.metrics_bundle",),
    "data/phase_e/training_manifest.json": ("phase_e.training_manifest",),
    "data/phase_e/DOSE/VIEW/Baseline/bundle.json": (
        *("phase_e", "crate.settings", "crate.versions"),
    ),
    "data/phase_f/reconstruction_manifest.json": ("phase_f.manifest",),
    "summary/summary.md": ("summary_page",),
}
"""File -> checks or groups of checks that find any digit of it."""

TIMES = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
HELD_BY_HASH: dict[str, str] = {
    "metrics_delta_summary.json": TIMES,
    "check_report.json": TIMES + r"|\"\d+ rules hold\"",
    # PtyChi's duration is in phase F's file; of a network's the log has two decimals.
    "comparison_metrics.csv": r"(?:PtychoPINN|Baseline),computation_time_s,,,\d+\.\d{6}",
    "scoring.json": TIMES + r"|\"message\": .*",
    "comparison.log": TIMES + r"|\d+\.\d % of the scored pixels|central \d+ px|warning: .*",
    "bundle.json": TIMES,
}
"""End of a file's name -> what of it has no second source in the hub."""


@dataclass(frozen=True)
class Change:
    """One digit of a text changed.

    Attributes:
        line: number of the line, from 1.
        before, after: the number.
        text: the whole text with the change.
    """

    line: int
    before: str
    after: str
    text: str


def _spared(name: str, text: str) -> list[tuple[int, int]]:
    pattern = next((p for end, p in HELD_BY_HASH.items() if name.endswith(end)), None)
    return [found.span() for found in re.finditer(pattern, text)] if pattern else []


def changes(name: str, text: str, *, most: int, recomputed: bool) -> Iterator[Change]:
    """Evenly spread over the text's numbers, each with one digit changed.

    Args:
        name: of the file; the numbers of a JSON file are as precise as `SIGNIFICANT`.
        text: its content.
        most: how many numbers at most.
        recomputed: leave out what is held by its hash alone.
    """
    spared = _spared(name, text) if recomputed else []
    found = [
        match
        for match in NUMBER.finditer(text)
        if not any(start <= match.start() < end for start, end in spared)
    ]
    step = max(1, -(-len(found) // most))
    for count, match in enumerate(found[::step]):
        number = match[0]
        digits = [place for place, letter in enumerate(number) if letter.isdigit()]
        if name.endswith(".json") and "." in number:
            first = next((n for n, p in enumerate(digits) if number[p] != "0"), 0)
            digits = digits[: first + SIGNIFICANT]
        place = digits[(7 * count + 3) % len(digits)]
        changed = (
            number[:place] + str((int(number[place]) + 1 + count % 8) % 10) + number[place + 1 :]
        )
        if changed == number or _same(name, number, changed):
            continue
        line = text.count("\n", 0, match.start()) + 1
        edited = text[: match.start()] + changed + text[match.end() :]
        yield Change(line, number, changed, edited)


def _same(name: str, before: str, after: str) -> bool:
    """Whether two numbers of a JSON file are one: 0.10 and 0.1, or equal doubles."""
    if not name.endswith(".json"):
        return False
    try:
        return json.loads(before) == json.loads(after)
    except ValueError:
        return False
