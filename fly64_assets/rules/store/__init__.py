"""Asset checks, a module a subject. Every check reads the stored files and can fail.

A check's metadata is a table: key, rule, expected, actual, ok. Blocking checks guard consumption
(``pipeline/freshness.py``); which product has which checks stands in ``study/products.py``, what
they judge here, and which mishap each is for in ``docs/checks.md``.
"""

from __future__ import annotations

from collections.abc import Mapping

from fly64_assets.rules import datasets, provenance, reconstructions, views
from fly64_assets.rules.check import Check
from fly64_assets.rules.store import (
    common_checks,
    comparison_checks,
    manifest_checks,
    model_checks,
    replicates_checks,
    report_checks,
    statistics_checks,
    study_checks,
    summary_checks,
)
from fly64_assets.study.arms import ITERATIVE, NETWORKS
from fly64_assets.study.products import Product

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "dataset": datasets.CHECKS,
    "overlap_view": views.CHECKS,
    **{network.model_key[-1]: model_checks.checks_of(network) for network in NETWORKS},
    **{network.replicates_key[-1]: replicates_checks.CHECKS for network in NETWORKS},
    **{f"{arm.asset}_reconstruction": reconstructions.checks_of(arm) for arm in ITERATIVE},
    "comparison": comparison_checks.CHECKS,
    "comparison_manifest": manifest_checks.CHECKS,
    "comparison_statistics": statistics_checks.CHECKS,
    "study_metrics": study_checks.CHECKS,
    "study_report": report_checks.CHECKS,
    "metrics_summary": summary_checks.SUMMARY_CHECKS,
    "metrics_delta_summary": (*summary_checks.DELTA_CHECKS, statistics_checks.DELTA_CHECK),
}
"""Last part of a product's key -> the checks that only such a product has."""


def checks_of(product: Product) -> tuple[Check, ...]:
    """The product's checks in the order of the catalogue.

    Raises:
        KeyError: the catalogue names a check that nothing judges.
    """
    shared = (*common_checks.CHECKS, *provenance.CHECKS)
    known = {check.name: check for check in shared}
    known |= {check.name: check for check in CHECKS.get(product.key[-1], ())}
    return tuple(known[name] for name in product.checks)
