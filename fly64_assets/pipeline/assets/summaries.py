"""Phase G, downstream: manifest, metrics summary and delta summary as JSON files."""

from __future__ import annotations

from typing import Any

from dagster import MetadataValue

from fly64_assets.documents.comparison_manifest import ComparisonStatus, comparison_manifest
from fly64_assets.documents.deltas import intervals, metrics_delta_summary
from fly64_assets.documents.formatting import delta_lines
from fly64_assets.errors import InputError
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.process import utc_now
from fly64_assets.study.hashing import digest, timeless
from fly64_assets.study.model import SPLITS


@phase_asset(
    "comparison_manifest",
    "Which comparisons of the condition were run and how they ended, both splits; a failed "
    "one is recorded, and then nothing downstream is written.",
    "json",
)
def make_manifest(run: PhaseRun) -> Outcome:
    statuses = {
        split: ComparisonStatus(run.input(split, "comparison").json("scoring.json").get("error"))
        for split in SPLITS
    }
    settings = run.settings
    content = comparison_manifest(
        settings["dose"],
        settings["view"],
        statuses,
        ms_ssim_sigma_px=settings["ms_ssim_sigma_px"],
    )
    run.write_json("comparison_manifest.json", content)
    shown = {name: content[name] for name in ("n_jobs", "n_executed", "n_success", "n_failed")}
    return Outcome(digest(timeless(content)), shown)


def _compliance(run: PhaseRun, split: str) -> dict[str, Any]:
    from fly64_assets.ptychography.data001.dataset import read_dataset
    from fly64_assets.ptychography.data001.metadata import is_canonical

    given = run.input(split, "dataset")
    name = f"patched_{split}.npz"
    found = {"npz_path": given.relative(name), "has_metadata": False}
    try:
        metadata = read_dataset(given.path(name)).metadata
    except InputError as error:
        return {**found, "has_canonical_transform": False, "compliant": False, "error": str(error)}
    canonical = is_canonical(metadata)
    return {
        **found,
        "has_metadata": True,
        "has_canonical_transform": canonical,
        "compliant": canonical,
    }


@phase_asset(
    "metrics_summary",
    "Scores of every model on both splits, parsed from the CSVs, with their aggregates "
    "(MS-SSIM: higher is better, 0 to 1; MAE: lower is better, phase in rad).",
    "json",
)
def make_summary(run: PhaseRun) -> Outcome:
    from fly64_assets.documents.metrics_summary import metrics_summary
    from fly64_assets.ptychography.scoring.comparison import read_csv

    content = metrics_summary(
        run.input("comparison_manifest").json("comparison_manifest.json"),
        {
            split: read_csv(run.input(split, "comparison").path("comparison_metrics.csv"))
            for split in SPLITS
        },
        {split: run.input(split, "overlap_view").json(f"{split}_metrics.json") for split in SPLITS},
        {split: _compliance(run, split) for split in SPLITS},
    )
    run.write_json("metrics_summary.json", content)
    shown = {
        f"{model} {metric} {name}": value
        for model, metrics in content["aggregate_metrics"].items()
        for metric, values in metrics.items()
        for name, value in values.items()
        if name.startswith("mean_") and value is not None
    }
    return Outcome(digest(timeless(content)), shown)


@phase_asset(
    "metrics_delta_summary",
    "PtychoPINN minus Baseline and minus PtyChi, from the metrics summary that its sha256 "
    "names; positive is better for MS-SSIM, negative is better for MAE.",
    "json",
)
def make_deltas(run: PhaseRun) -> Outcome:
    from fly64_assets.ptychography.scoring.statistics import read_statistics

    given, sure = run.input("metrics_summary"), run.input("comparison_statistics")
    content = metrics_delta_summary(
        given.json("metrics_summary.json"),
        summary_sha256=given.sha256("metrics_summary.json"),
        generated_at=utc_now(),
        intervals=intervals(
            read_statistics(sure.path("comparison_statistics.csv")),
            confidence=run.settings["confidence"],
        ),
    )
    run.write_json("metrics_delta_summary.json", content)
    shown = {
        f"{metric} {other} {column}": value
        for other, metrics in content["deltas"].items()
        for metric, columns in metrics.items()
        for column, value in columns.items()
        if value is not None
    }
    lines = "\n".join(delta_lines(content["deltas"]))
    shown["deltas"] = MetadataValue.md(f"```\n{lines}\n```")
    return Outcome(digest(timeless(content)), shown)
