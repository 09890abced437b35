"""Asset checks, a module a subject. Every check reads the stored files and can fail.

A check's metadata is a table: key, rule, expected, actual, ok. Blocking checks guard consumption
(``pipeline/freshness.py``); which product has which checks stands in ``study/products.py``, what
they judge here, and which mishap each is for in ``docs/checks.md``.
"""

from __future__ import annotations

from collections.abc import Mapping

from fly64_assets.rules import (
    comparison_manifest,
    comparisons,
    datasets,
    models,
    provenance,
    reconstructions,
    replicates,
    statistics,
    summaries,
    views,
)
from fly64_assets.rules.check import Check
from fly64_assets.rules.store import (
    common_checks,
    report_checks,
    study_checks,
)
from fly64_assets.study.arms import ITERATIVE, NETWORKS
from fly64_assets.study.products import Product

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "dataset": datasets.CHECKS,
    "overlap_view": views.CHECKS,
    **{network.model_key[-1]: models.checks_of(network) for network in NETWORKS},
    **{network.replicates_key[-1]: replicates.CHECKS for network in NETWORKS},
    **{f"{arm.asset}_reconstruction": reconstructions.checks_of(arm) for arm in ITERATIVE},
    "comparison": comparisons.CHECKS,
    "comparison_manifest": comparison_manifest.CHECKS,
    "comparison_statistics": statistics.CHECKS,
    "study_metrics": study_checks.CHECKS,
    "study_report": report_checks.CHECKS,
    "metrics_summary": summaries.SUMMARY_CHECKS,
    "metrics_delta_summary": summaries.DELTA_CHECKS,
}
"""Last part of a product's key -> the checks that only such a product has."""


def checks_of(product: Product) -> tuple[Check, ...]:
    """Return the product's checks in the order of the catalogue.

    Raises:
        KeyError: the catalogue names a check that nothing judges.
    """
    shared = (*common_checks.CHECKS, *provenance.CHECKS)
    known = {check.name: check for check in shared}
    known |= {check.name: check for check in CHECKS.get(product.key[-1], ())}
    return tuple(known[name] for name in product.checks)
