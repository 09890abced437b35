"""Reports written anew from an edited table, with the project's own writers: a consistent lie."""

from __future__ import annotations

import json
from pathlib import Path

from fly64_assets_tests.hub.verify.forging import Forgery
from fly64_assets.study import SPLITS

MANIFEST, SUMMARY = "analysis/comparison_manifest.json", "analysis/metrics_summary.json"
DELTAS = "analysis/metrics_delta_summary.json"


def rewrite_reports(f: Forgery) -> None:
    """Summary, deltas and every report of the hub, from its tables as they are now."""
    from fly64_assets.hub.deltas import metrics_delta_summary
    from fly64_assets.hub.metrics_summary import metrics_summary
    from fly64_assets.hub import reports
    from fly64_assets.ptychography.scoring import read_csv

    manifest, old = (json.loads(f.read(path)) for path in (MANIFEST, SUMMARY))
    views = {
        split: json.loads(f.read(f"data/phase_d/DOSE/VIEW/{split}_metrics.json")) for split in SPLITS
    }
    tables = {
        split: read_csv(f.path(f"analysis/DOSE/VIEW/{split}/comparison_metrics.csv"))
        for split in SPLITS
    }
    (compliance,) = old["phase_c_metadata_compliance"].values()
    summary = metrics_summary(manifest, tables, views, compliance)
    f.json(SUMMARY, lambda _: summary)
    from fly64_assets_tests.hub.verify.forging import sha256_of

    deltas = metrics_delta_summary(
        summary,
        summary_sha256=sha256_of(f.path(SUMMARY)),
        generated_at=json.loads(f.read(DELTAS))["generated_at"],
    )
    f.json(DELTAS, lambda _: deltas)
    del reports, Path
