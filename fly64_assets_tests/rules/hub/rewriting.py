"""Reports written anew from an edited table, with the project's own writers: a consistent lie."""

from __future__ import annotations

import json
import re
from typing import Any

from fly64_assets.study.model import SPLITS
from fly64_assets_tests.rules.hub.forging import PAGE, Forgery, sha256_of

MANIFEST, SUMMARY = "analysis/comparison_manifest.json", "analysis/metrics_summary.json"
DELTAS = "analysis/metrics_delta_summary.json"


def rewrite_reports(f: Forgery) -> None:
    """Summary, deltas, reports and log lines of a hub, from its tables as they are now."""
    from fly64_assets.documents.deltas import metrics_delta_summary
    from fly64_assets.documents.metrics_summary import metrics_summary
    from fly64_assets.ptychography.scoring.comparison import read_csv
    from fly64_assets.ptychography.scoring.statistics import read_statistics
    from fly64_assets.reports.condition.rendering import render
    from fly64_assets.reports.condition.texts import Sources, contexts

    manifest, old = (json.loads(f.read(path)) for path in (MANIFEST, SUMMARY))
    views = {
        split: json.loads(f.read(f"data/phase_d/DOSE/VIEW/{split}_metrics.json"))
        for split in SPLITS
    }
    tables = {
        split: read_csv(f.path(f"analysis/DOSE/VIEW/{split}/comparison_metrics.csv"))
        for split in SPLITS
    }
    (compliance,) = old["phase_c_metadata_compliance"].values()
    summary = metrics_summary(manifest, tables, views, compliance)
    f.json(SUMMARY, lambda _: summary)
    deltas = metrics_delta_summary(
        summary,
        summary_sha256=sha256_of(f.path(SUMMARY)),
        generated_at=json.loads(f.read(DELTAS))["generated_at"],
        intervals=json.loads(f.read(DELTAS))["intervals"],
    )
    f.json(DELTAS, lambda _: deltas)
    statistics = read_statistics(f.path("analysis/comparison_statistics.csv"))
    sources = Sources(manifest, summary, deltas, statistics, views)
    for name, context in contexts(sources).items():
        f.write(f"analysis/{name}", render(name, context))
    _rewrite_page(f, summary, deltas)
    _rewrite_logs(f, summary)


def _rewrite_page(f: Forgery, summary: dict[str, Any], deltas: dict[str, Any]) -> None:
    from fly64_assets.reports.condition import summary as page

    tables = {"## Scores": page._scores(summary), "## Deltas": page._deltas(deltas)}
    lines, written, fresh = f.read(PAGE).decode().split("\n"), [], []
    for line in lines:
        for heading, table in tables.items():
            if line.startswith(heading):
                fresh = list(table.lines)
        written.append(fresh.pop(0) if line.startswith("|") and fresh else line)
    f.write(PAGE, "\n".join(written))


def _rewrite_logs(f: Forgery, summary: dict[str, Any]) -> None:
    for job in summary["jobs"]:
        path = f"analysis/DOSE/VIEW/{job['split']}/comparison.log"
        text = f.read(path).decode()
        for model, rows in job["metrics"].items():
            scores = rows["ms_ssim"]
            said = (
                f"{model} MS-SSIM phase {scores['phase']:.3f} amplitude {scores['amplitude']:.3f}"
            )
            pattern = rf"{model} MS-SSIM phase [\d.]+ amplitude [\d.]+"
            text = re.sub(pattern, said, text)
        f.write(path, text)
