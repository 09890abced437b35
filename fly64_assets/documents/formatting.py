"""The one place where a number of a report becomes text: decimals, signs, thousands, yes and no.

Templates lay text out and the console colours it; neither formats a number itself. What does not
belong here: which number goes where (``reports.py``), and files for programs (JSON, CSV), which
keep numbers as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES, OTHERS, SUBJECT

Kind = Literal["aggregate", "job", "delta", "brief", "brief_delta"]

MISSING = "N/A"
"""A difference that cannot be told, and any other number that should be there and is not."""
UNDEFINED = "not defined"
"""A score of a component in which the truth has no contrast."""
INAPPLICABLE = "-"
"""A cell for which there is no number to give."""
LABELS = {"ms_ssim": "MS-SSIM", "mae": "MAE"}
"""Titles of the metrics that deltas are made of, as in `ptychography.metrics.METRICS`; written out
because the console shows them without loading the metrics."""
ANY = ""
DECIMALS: Mapping[Kind, Mapping[str, int]] = {
    "aggregate": {ANY: 3},
    "job": {ANY: 4},
    "delta": {"ms_ssim": 3, "mae": 6},
    "brief": {"ms_ssim": 3, "mae": 4, "computation_time_s": 1},
    "brief_delta": {ANY: 3},
}
"""Decimals by kind of number, then by metric; the brief kinds are for console and pictures."""


def decimals(kind: Kind, metric: str) -> int:
    """Decimals of a metric's number of some kind."""
    by_metric = DECIMALS[kind]
    return by_metric[metric] if metric in by_metric else by_metric[ANY]


def score(value: float | None, kind: Kind, metric: str) -> str:
    """Return a metric's value: ``0.889``, or ``not defined``."""
    return UNDEFINED if value is None else f"{value:.{decimals(kind, metric)}f}"


def score_within(value: float | None, low: float | None, high: float | None, metric: str) -> str:
    """Return a mean with its interval, ``0.9737 [0.9641, 0.9803]``; alone where there is none."""
    value_text, *ends = (score(number, "job", metric) for number in (value, low, high))
    return value_text if low is None or high is None else f"{value_text} [{', '.join(ends)}]"


def delta(value: float | None, metric: str, kind: Kind = "delta") -> str:
    """Return a metric's difference, with its sign: ``+0.020``."""
    return signed(value, decimals(kind, metric))


def signed(value: float | None, digits: int) -> str:
    """``+0.020``, ``-0.020`` or ``N/A``."""
    return MISSING if value is None else f"{value:+.{digits}f}"


def count(value: int) -> str:
    """How many: ``1,175``."""
    return f"{value:,d}"


def photons(value: float | None) -> str:
    """Photons, to the whole one: ``1,171,578``."""
    return MISSING if value is None else f"{value:,.0f}"


def photon_density(value: float | None) -> str:
    """Photons per square pixel: ``86.2``."""
    return MISSING if value is None else f"{value:,.1f}"


def overlap(value: float | None) -> str:
    """Return a disc overlap, 0 to 1: ``0.700``."""
    return MISSING if value is None else f"{value:.3f}"


def correlation(value: float | None) -> str:
    """Return a correlation, -1 to 1: ``0.953``, or ``not defined``."""
    return UNDEFINED if value is None else f"{value:.3f}"


def condition(dose: int, view: str) -> str:
    """Return what a report is about: ``1,000 photons per exposure, dense view``."""
    return f"{count(dose)} photons per exposure, {view} view"


def percent(part: float, whole: float) -> str:
    """Return a share: ``58.4 %``."""
    return f"{100 * part / whole:.1f} %" if whole else MISSING


def threshold(value: float) -> str:
    """Return a limit that scores are held against: ``0.80``."""
    return f"{value:.2f}"


def cpu_seconds(value: float | None) -> str:
    """CPU time, where any was spent: ``82.4``."""
    return INAPPLICABLE if value is None else f"{value:.1f}"


def yes_no(flag: float | bool | None) -> str:
    """Return a flag that came as a truth value or as 0 and 1; ``N/A`` where there is none."""
    return MISSING if flag is None else "yes" if flag else "no"


def counts_line(total: int, executed: int, success: int, failed: int) -> str:
    """How many comparisons there are and how they ended, as ``fly64 run`` prints it too."""
    return f"comparisons: total {total}, executed {executed}, success {success}, failed {failed}"


def _delta_label(metric: str, other: str) -> str:
    return f"{LABELS[metric]} Δ ({SUBJECT} - {other})"


def delta_lines(deltas: Mapping[str, Any], kind: Kind = "brief_delta") -> list[str]:
    """One line a metric and other arm, amplitude and phase with their sign.

    Args:
        deltas: ``deltas``, or one split of ``deltas_by_split``, of a metrics delta summary.
        kind: whose decimals to use.
    """
    lines = []
    for metric in HEADLINES:
        width = max(len(_delta_label(metric, other)) for other in OTHERS) + 2
        for other in OTHERS:
            values = deltas[f"vs_{other}"][metric]
            amplitude, phase = (delta(values[name], metric, kind) for name in COLUMNS)
            label = f"{_delta_label(metric, other):<{width}}"
            lines.append(f"{label}: amplitude {amplitude}  phase {phase}")
    return lines


def preview_lines(deltas: Mapping[str, Any]) -> list[str]:
    """`delta_lines` for the phase alone: ``MS-SSIM Δ (PtychoPINN - Baseline): +0.020``."""
    return [
        f"{_delta_label(metric, other)}: {delta(deltas[f'vs_{other}'][metric]['phase'], metric)}"
        for metric in HEADLINES
        for other in OTHERS
    ]
