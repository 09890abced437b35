"""The study's answer: quality against dose, photons and overlap, and the dose each arm needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dagster import AssetsDefinition, MetadataValue

from fly64_assets.assets.phase_asset import Outcome, PhaseRun, build_phase_asset
from fly64_assets.catalogue import Key, product
from fly64_assets.context import StudyContext
from fly64_assets.planner import digest

if TYPE_CHECKING:
    import pandas as pd

PRODUCT = product("dose_response")
QUALITY = "ms_ssim"


def _needed(table: pd.DataFrame, levels: list[float]) -> Iterator[dict[str, Any]]:
    """The dose that each arm needs for each quality; its range from the ends of the intervals."""
    from fly64_assets.ptychography.dose_response import needed_dose

    quality = table[(table["metric"] == QUALITY) & table["reference"].isna()]
    for (view, split, model, component), rows in quality.groupby(
        ["view", "split", "model", "component"], sort=False
    ):
        rows = rows.sort_values("dose")
        doses = rows["dose"].tolist()
        for level in levels:
            best = needed_dose(doses, rows["mean"].tolist(), level)
            # A curve that lies higher needs fewer photons.
            fewest, most = (
                needed_dose(doses, rows[end].tolist(), level) for end in ("high", "low")
            )
            yield {
                "view": view,
                "split": split,
                "model": model,
                "component": component,
                "metric": QUALITY,
                "quality": level,
                "reached": best.reached,
                "dose": best.dose,
                "dose_low": fewest.dose,
                "low_reached": fewest.reached,
                "dose_high": most.dose,
                "high_reached": most.reached,
                "measured_doses": len(doses),
            }


def _dose_text(row: Mapping[str, Any], dose: str, reached: str) -> str:
    if row[reached] == "within":
        return f"{row[dose]:,.0f}"
    return "at most the lowest" if row[reached] == "everywhere" else "more than the highest"


def _page(run: PhaseRun, table: pd.DataFrame, needed: list[dict[str, Any]]) -> str:
    doses = sorted(table["dose"].unique())
    views = list(table["view"].unique())
    lines = [
        f"# Dose response of study `{run.settings['study']}`",
        "",
        f"{table.groupby(['dose', 'view']).ngroups} conditions: doses "
        f"{', '.join(f'{dose:,d}' for dose in doses)}; views {', '.join(views)}.",
        "",
        "## Dose that a quality needs, test half",
        "",
        "Photons per exposure from which on MS-SSIM is reached, linear in the logarithm of the "
        "dose between measured doses; in brackets from the ends of the intervals. A dense view has "
        "several times the photons of a sparse one at the same dose.",
        "",
        "| view | component | MS-SSIM | model | dose |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for row in needed:
        if row["split"] == "test":
            ends = (
                _dose_text(row, "dose_low", "low_reached"),
                _dose_text(row, "dose_high", "high_reached"),
            )
            lines.append(
                f"| {row['view']} | {row['component']} | {row['quality']:.2f} | {row['model']} "
                f"| {_dose_text(row, 'dose', 'reached')} ({ends[0]} to {ends[1]}) |"
            )
    return "\n".join(lines) + "\n"


def make_dose_response(run: PhaseRun) -> Mapping[Key, Outcome]:
    import pandas as pd

    from fly64_assets import study_pictures

    table = pd.read_csv(run.input("study_metrics").path("study_metrics.csv"))
    needed = list(_needed(table, run.settings["quality_levels"]))
    text = pd.DataFrame(needed).to_csv(index=False, lineterminator="\n")
    (run.staging / "dose_for_quality.csv").write_text(text, encoding="utf-8", newline="\n")
    page = _page(run, table, needed)
    (run.staging / "dose_response.md").write_text(page, encoding="utf-8", newline="\n")
    study_pictures.draw_all(run.staging, table)
    return {PRODUCT.key: Outcome(digest([text, page]), {"answer": MetadataValue.md(page)})}


def build(context: StudyContext) -> list[AssetsDefinition]:
    description = (
        "MS-SSIM, MAE and FRC of each arm and view against dose (photons per exposure), MS-SSIM "
        "against photons per px^2 and against overlap, with intervals, as SVG and PNG; and the "
        "dose that each arm needs for a given MS-SSIM."
    )
    return [
        build_phase_asset(
            context,
            (PRODUCT,),
            make_dose_response,
            descriptions={PRODUCT.key: description},
            kinds={"matplotlib", "csv"},
        )
    ]
