"""The bodies of the assets, one module per phase: open inputs, call the science, stage files.

``asset_frame.py`` is the frame around them; the catalogue says what they are.
"""

from __future__ import annotations

from dagster import AssetsDefinition

from fly64_assets.pipeline.asset_frame import PhaseAsset
from fly64_assets.pipeline.assets import (
    check_report,
    comparison_statistics,
    comparisons,
    datasets,
    dose_response,
    heatmaps,
    hub_summary,
    metrics_report,
    models,
    overlap_views,
    phase_logs,
    phase_manifests,
    reconstructions,
    replicates,
    specimen,
    study_metrics,
    study_report,
    summaries,
)
from fly64_assets.pipeline.context import StudyContext

SCORED = (
    specimen,
    datasets,
    overlap_views,
    models,
    replicates,
    reconstructions,
    comparisons,
    comparison_statistics,
    summaries,
)
REPORTS = (heatmaps, phase_manifests, phase_logs, metrics_report, check_report, hub_summary)
OF_THE_STUDY = (study_metrics, dose_response, study_report)


def build_all(context: StudyContext) -> list[AssetsDefinition]:
    """Build every asset of the study: phases B to G, the reports on them, the study as a whole."""
    return [
        asset
        for module in (*SCORED, *REPORTS, *OF_THE_STUDY)
        for made in vars(module).values()
        if isinstance(made, PhaseAsset)
        for asset in made.build(context)
    ]
