"""The study's answer: quality against dose, photons and overlap, and the dose each arm needs."""

from __future__ import annotations

from dagster import MetadataValue

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.study.hashing import digest


@phase_asset(
    "dose_response",
    "MS-SSIM, MAE and FRC of each arm and view against dose (photons per exposure), MS-SSIM "
    "and MAE against photons per px^2, MS-SSIM against overlap, with intervals, as CSV, SVG, "
    "PDF and PNG; and the dose that each arm needs for a given MS-SSIM.",
    "matplotlib",
    "csv",
)
def make_dose_response(run: PhaseRun) -> Outcome:
    import pandas as pd

    from fly64_assets.reports import study_tables
    from fly64_assets.reports.figures import study as study_pictures
    from fly64_assets.study.relations import RELATIONS

    table = pd.read_csv(
        run.input("study_metrics").path("study_metrics.csv"), float_precision="round_trip"
    )
    confidence = run.settings["confidence"]
    needed = list(study_tables.needed_rows(table, run.settings["quality_levels"]))
    tables = {"dose_for_quality.csv": pd.DataFrame(needed)} | {
        f"{relation.name}.csv": study_tables.relation_table(table, relation)
        for relation in RELATIONS
    }
    page = study_tables.page(run.settings["study"], table, needed, confidence)
    texts = {
        name: rows.to_csv(index=False, lineterminator="\n") for name, rows in tables.items()
    } | {"dose_response.md": page}
    for name, text in texts.items():
        run.write_text(name, text)
    study_pictures.draw_all(run.staging, table, confidence)
    version = digest(list(texts.values()))
    return Outcome(version, {"answer": MetadataValue.md(page)})
