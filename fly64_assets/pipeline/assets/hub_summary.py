"""The last page of a condition: its summary with every hash, and the inventory of its hub."""

from __future__ import annotations

from pathlib import Path

from dagster import MetadataValue

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.reports.condition.costs import costs_of
from fly64_assets.reports.condition.summary import (
    MadeBy,
    artifact_inventory,
    is_hashed,
    summary_context,
)
from fly64_assets.study import hub_layout as layout
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS


def _hub_files(run: PhaseRun) -> dict[str, str]:
    """Hub path -> sha256 of every file that the condition's inputs own."""
    files = {}
    for given in run.inputs.values():
        for path, record in given.record.provenance.files.items():
            target = layout.hub_path(given.record.product, run.condition, Path(path).name)
            if target is not None:
                files[target] = record.sha256
    return files


@phase_asset(
    "hub_summary",
    "Summary of the condition for people (both splits' scores, deltas, overlap, photons, "
    "provenance, sha256 of every log and model) and the inventory of its hub.",
    "markdown",
)
def make_hub_summary(run: PhaseRun) -> Outcome:
    from fly64_assets.ptychography.scoring.statistics import read_statistics
    from fly64_assets.reports.condition.rendering import render

    files = _hub_files(run)
    made = [
        MadeBy(
            given.record.product.name,
            given.record.provenance.generated_at,
            given.data_version,
            given.record.provenance.code_version.split()[0],
            given.record.provenance.git_commit,
        )
        for given in run.inputs.values()
    ]
    summary = run.input("metrics_summary").json("metrics_summary.json")
    content = summary_context(
        study=next(iter(run.inputs.values())).record.provenance.study,
        dose=run.settings["dose"],
        view=run.settings["view"],
        metrics_summary=summary,
        delta_summary=run.input("metrics_delta_summary").json("metrics_delta_summary.json"),
        statistics=read_statistics(
            run.input("comparison_statistics").path("comparison_statistics.csv")
        ),
        view_metrics={
            split: run.input(split, "overlap_view").json(f"{split}_metrics.json")
            for split in SPLITS
        },
        costs=costs_of(summary["aggregate_metrics"], run.input),
        made=made,
        hashes={path: sha256 for path, sha256 in files.items() if is_hashed(path)},
    )
    owned = (layout.hub_path(run.product, run.condition, name) for name in run.product.files)
    inventory = artifact_inventory([*files, *(path for path in owned if path)])
    text = render("summary.md", content)
    for name, body in (("summary.md", text), ("artifact_inventory.txt", inventory)):
        run.write_text(name, body)
    versions = {name: given.data_version for name, given in run.inputs.items()}
    shown = {"files_in_hub": inventory.count("\n"), "summary": MetadataValue.md(text)}
    return Outcome(digest([versions, inventory]), shown)
