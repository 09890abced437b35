"""Which function shows which product; one that is not here has its numbers and texts alone."""

from __future__ import annotations

from collections.abc import Mapping

from fly64_assets.reports.previews import measurements, scores, solving
from fly64_assets.reports.previews.preview import Exhibitor
from fly64_assets.study.products import Product

BY_NAME: Mapping[str, Exhibitor] = {
    "specimen": measurements.specimen,
    "dataset": measurements.dataset,
    "overlap_view": measurements.overlap_view,
    "comparison": scores.comparison,
    "comparison_statistics": scores.comparison_statistics,
    "metrics_summary": scores.metrics_summary,
    "metrics_delta_summary": scores.metrics_delta_summary,
    "check_report": scores.check_report,
    "heatmaps": scores.heatmaps,
    "study_metrics": scores.study_metrics,
    "dose_response": scores.dose_response,
}
"""By the last part of an asset's key."""
BY_GROUP: Mapping[str, Mapping[str, Exhibitor]] = {
    "e_models": {"model": solving.model, "replicates": solving.replicates},
    "f_reconstructions": {"reconstruction": solving.reconstruction},
}
"""Of the products of arms: by group, then by the end of the key."""


def exhibitor_of(product: Product) -> Exhibitor | None:
    """Return the function that shows a product; None where there is nothing more to see."""
    name: str = product.key[-1]
    if name in BY_NAME:
        return BY_NAME[name]
    for ending, exhibitor in BY_GROUP.get(product.group, {}).items():
        if name.endswith(ending):
            return exhibitor
    return None
