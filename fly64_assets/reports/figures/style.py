"""How every picture looks: colours and markers of arms, colour maps and limits, fonts, saving.

What does not belong here: what is drawn (`panels`, and the modules that use it).
"""

from __future__ import annotations

from typing import Any

ARMS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#56B4E9", "v"))
"""Colour (Okabe and Ito's palette for colour-blind readers) and marker of the arms, in order."""
PHASE_MAP, AMPLITUDE_MAP, ERROR_MAP = "viridis", "gray", "RdBu_r"
COUNTS_MAP, QUALITY_MAP, SIGNED_MAP = "inferno", "cividis", "managua_r"
"""Of counts, of scores from 0 to 1, of scores from -1 to 1."""
ERRORS = {"phase": (-0.5, 0.5), "amplitude": (-0.3, 0.3)}
"""Ends of the scales of the errors by component; phase in rad."""
UNITS = {"phase": "rad", "amplitude": ""}
"""By component; empty where dimensionless."""
AMPLITUDE_QUANTILE = 0.999
"""Of the truth, at the end of the amplitude's scale: a few bright pixels darken no others."""
DPI, PRINT_DPI = 110, 300
NO_PROGRAM, NO_TIME = {"Software": None}, {"Date": None}
"""Metadata of PNG and SVG files: equal data, equal bytes."""
_COMMON = {"axes.spines.top": False, "axes.spines.right": False}
PREVIEW: dict[str, Any] = {
    **_COMMON,
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "axes.titlepad": 4,
}
"""Settings of matplotlib for the pictures of the UI."""
PRINT: dict[str, Any] = {
    **_COMMON,
    "svg.hashsalt": "fly64",  # element names are hashes; without a salt of the time
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # TrueType, embedded: publishers refuse Type 3
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
"""The same for plots that a paper could print."""


def arm(number: int) -> tuple[str, str]:
    """Return colour and marker of the arm with this number, from 0."""
    return ARMS[number % len(ARMS)]
