"""The relations that a study is about: quality against dose, against photons, against overlap.

Each is a table, a plot and a file name; catalogue, tables and plots read them here. What does not
belong here: how a relation is laid out as text (``study_tables.py``) or drawn
(``study.py``). Plain data: it is imported with the code location.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPONENTS = ("phase", "amplitude")
"""In the order in which people are shown them."""
SHOWN_SPLIT = "test"
"""The half that no network has seen: what plots and pages for people are about."""
QUALITY = "ms_ssim"
"""The metric that a needed dose is asked for in."""
FORMATS = ("csv", "svg", "pdf", "png")
"""Files of a relation: its table, then its plot for the web, for print and for everything else."""


@dataclass(frozen=True)
class Relation:
    """Quality against something that a study varies.

    Attributes:
        name: of its files, without suffix.
        x: column of ``study_metrics`` that quality stands against.
        label: what ``x`` is, with its unit, as an axis names it.
        metrics: that are tabulated and drawn, in order.
        columns: of ``study_metrics`` that order and name the rows of its table; ``x`` is one.
    """

    name: str
    x: str
    label: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]


BY_DOSE = Relation(
    "quality_by_dose",
    "dose",
    "dose (photons per exposure)",
    (QUALITY, "mae", "frc50"),
    ("view", "dose"),
)
BY_PHOTONS = Relation(
    "quality_by_photons",
    "photons_per_px2",
    "total photons per px² of the scanned area",
    (QUALITY, "mae"),
    ("photons_per_px2", "view", "dose"),
)
BY_OVERLAP = Relation(
    "quality_by_overlap",
    "reached_overlap",
    "overlap of neighbouring centres' probe discs (mean, fraction of a disc's area)",
    (QUALITY,),
    ("dose", "reached_overlap", "view"),
)
RELATIONS = (BY_DOSE, BY_PHOTONS, BY_OVERLAP)
