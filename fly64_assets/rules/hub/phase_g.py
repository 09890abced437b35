"""Checks of phase G in a hub: rules of comparisons, manifest, statistics, summary and deltas."""

from __future__ import annotations

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.of_products import register_as
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import product

FOLDER = "analysis/dose_{dose}/{view}/{{train,test}}"
SETTINGS = ("effective_settings", "provenance")

register_as(
    "scores",
    FOLDER,
    [product(split, "comparison") for split in SPLITS],
    *("reconstructions", *SETTINGS),
)
register_as(
    "manifest",
    contract.MANIFEST,
    [product("comparison_manifest")],
    *("completeness", "invariant", "input_identity", "counts", "scores"),
)
register_as(
    "statistics", contract.STATISTICS, [product("comparison_statistics")], "scores", "intervals"
)
register_as("summary", contract.SUMMARY, [product("metrics_summary")], "recomputed", "counts")
register_as(
    "deltas",
    contract.DELTAS,
    [product("metrics_delta_summary")],
    *("recomputed", "source_hash", "intervals"),
)
