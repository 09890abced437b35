"""The assets, one module per phase. Each is thin: open inputs, call the science, stage files.

``phase_asset.py`` is the frame around them; the catalogue says what they are.
"""

from __future__ import annotations

from dagster import AssetsDefinition

from fly64_assets.assets import (
    comparisons,
    datasets,
    models,
    overlap_views,
    reconstructions,
    specimen,
    summaries,
)
from fly64_assets.context import StudyContext


def build_all(context: StudyContext) -> list[AssetsDefinition]:
    """Every asset of the study, phases B to G."""
    phases = (specimen, datasets, overlap_views, models, reconstructions, comparisons, summaries)
    return [asset for phase in phases for asset in phase.build(context)]
