"""Phase G: reconstruct with the networks, stitch, align, score, and draw, per split.

A comparison that fails is recorded, not raised: its outcome says so, the manifest reports it, and
the manifest's completeness check stops what is downstream.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue

from fly64_assets.documents import formatting as numbers
from fly64_assets.documents.files import write_rows
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.process import utc_now
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES
from fly64_assets.solvers.interface import Measurement, measurement_of
from fly64_assets.study import arms
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import ScoringSettings
from fly64_assets.study.relations import COMPONENTS

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import Dataset
    from fly64_assets.ptychography.scoring.comparison import Area, ModelScore
    from fly64_assets.ptychography.scoring.metrics import FrcCurve


class _Log:
    """The comparison's own log: every line in the file, in the event log, and with its UTC time."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self.path, self.tell = path, tell
        path.touch()

    def __call__(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{utc_now()} {line}\n")
        self.tell(line)


def _reconstructions(
    run: PhaseRun, split: str, measurement: Measurement, area: Area, crop_px: int, log: _Log
) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, float]]:
    """Objects on the canvas, in the study's order; seconds of each; CPU-seconds of networks."""
    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.solvers import model_bundle
    from fly64_assets.solvers.stitched_object import stitched_object

    # All are read first: what is wrong with one is told before another has computed.
    loaded = {
        network: model_bundle.load(
            run.input(*network.model_key).path("bundle.json").parent, expected_kind=network.name
        )
        for network in arms.networks(run.settings["arms"])
    }
    objects, seconds, cpu_seconds = {}, {}, {}
    for network, bundle in loaded.items():
        made = stitched_object(
            network,
            bundle,
            measurement,
            crop_px=crop_px,
            seed=run.settings["seed"],
            threads=run.settings["threads"],
            progress=run.progress(f"{network.name} inference"),
        )
        share = float(made.fallback[area.slices].mean())
        log(
            f"{network.name}: {made.n_patches} patches stitched in {made.seconds:.2f} s, "
            f"{made.cpu_seconds:.2f} CPU s, {100 * share:.1f} % of the scored pixels outside "
            f"every patch's central {crop_px} px"
        )
        objects[network.name], seconds[network.name] = made.object, made.seconds
        cpu_seconds[network.name] = round(made.cpu_seconds, 2)
    for arm in arms.iterative(run.settings["arms"]):
        made = read_npz(run.input(*arm.key(split)).path(arm.file))
        objects[arm.name] = made["reconstructed_object"]
        seconds[arm.name] = float(made["computation_time_s"])
    return {name: objects[name] for name in run.settings["arms"]}, seconds, cpu_seconds


def _compare(run: PhaseRun, split: str, dataset: Dataset, log: _Log) -> Outcome:
    """All of one split's comparison; its files are staged."""
    import numpy as np

    from fly64_assets.ptychography.data001.npz import array_digest, write_npz
    from fly64_assets.ptychography.scoring.comparison import score, scoring_area, write_csv
    from fly64_assets.reports.figures.comparison import comparison_plot

    settings = run.section("scoring", ScoringSettings)
    measurement = measurement_of(dataset)
    truth = np.asarray(dataset.object_guess)
    simulated = dataset.metadata["transformations"][0]["parameters"]
    area = scoring_area(
        dataset.positions_px[np.asarray(dataset.extra["centre_index"])],
        split,
        simulated["split_line_y_px"],
        dataset.metadata["physics"]["probe_diameter_px"],
    )
    objects, seconds, cpu_seconds = _reconstructions(
        run, split, measurement, area, settings.stitch_crop_px, log
    )
    table = score(objects, truth, area, settings, seconds)
    for warning in table.warnings:
        log(f"warning: {warning.message}")
    write_csv(run.staging / "comparison_metrics.csv", table.rows)
    write_npz(run.staging / "reconstructions.npz", {**objects, "truth": truth})
    aligned = {model: detail.aligned.object for model, detail in table.models.items()}
    stored = {**aligned, "truth": table.truth, "area": area.as_array()}
    write_npz(run.staging / "reconstructions_aligned.npz", stored)
    for model, detail in table.models.items():
        _write_curves(run.staging / f"{model}_frc_curve.csv", detail.frc)
    comparison_plot(
        run.staging / "comparison_plot.png",
        aligned,
        table.truth,
        table.rows,
        title=f"{run.condition.dose} photons, {run.condition.view}, {split}",
    )
    content = {
        "status": "success",
        "area": {"y0": area.y0, "y1": area.y1, "x0": area.x0, "x1": area.x1},
        "n_images": {model: len(measurement) for model in objects},
        "cpu_seconds": cpu_seconds,
        "data_ranges": dict(table.data_ranges),
        "fitted": {model: _fitted(detail) for model, detail in table.models.items()},
        "warnings": [asdict(warning) for warning in table.warnings],
        "transformations": run.made_from(dataset.metadata, "compare", split=split)[
            "transformations"
        ],
    }
    run.write_json("scoring.json", content)
    log(
        "scored: "
        + "; ".join(
            f"{row.model} MS-SSIM phase {numbers.score(row.phase, 'brief', 'ms_ssim')} "
            f"amplitude {numbers.score(row.amplitude, 'brief', 'ms_ssim')}"
            for row in table.rows
            if row.metric == "ms_ssim"
        )
    )
    timeless = [
        [row.model, row.metric, row.amplitude, row.phase, row.value]
        for row in table.rows
        if row.metric != "computation_time_s"
    ]
    shown: dict[str, Any] = {
        f"{row.model} {row.metric} {column}": float(getattr(row, column))
        for row in table.rows
        if row.metric in HEADLINES
        for column in COMPONENTS
        if getattr(row, column) is not None
    }
    shown["status"] = MetadataValue.text("success")
    return Outcome(digest([repr(timeless), array_digest(stored)]), shown)


def _transformations(run: PhaseRun, dataset: Dataset) -> list[dict[str, Any]]:
    """Return the view's provenance and the comparison of everything that went in."""
    return run.made_from(dataset.metadata, "compare", split=run.split)["transformations"]


def _fitted(detail: ModelScore) -> dict[str, Any]:
    """Return the ambiguities that were removed, and the MS-SSIM terms before clamping."""
    aligned = detail.aligned
    return {
        "shift_px": list(aligned.shift_px),
        "registration_applied": aligned.registration_applied,
        "phase_offset_rad": aligned.phase_offset_rad,
        "phase_plane_rad_per_px": list(aligned.phase_plane_rad_per_px),
        "amplitude_scale": aligned.amplitude_scale,
        "ms_ssim_terms": {
            f"{metric} {component}": list(result.terms)
            for (metric, component), result in detail.ms_ssim.items()
        },
    }


def _write_curves(path: Path, curves: Mapping[str, FrcCurve]) -> None:
    """Shells by frequency; a component in which the truth has no contrast is blank."""
    frequency = next(iter(curves.values())).frequency
    columns = [frequency.tolist()] + [
        curves[name].correlation.tolist() if name in curves else [None] * len(frequency)
        for name in COLUMNS
    ]
    rows = (
        ["" if value is None else f"{value:.6f}" for value in row]
        for row in zip(*columns, strict=True)
    )
    write_rows(path, ("frequency_nyquist", *COLUMNS), rows)


@phase_asset(
    "comparison",
    "{arms} on the {split} view against the truth, in one area: metrics CSV (amplitude "
    "dimensionless, phase in rad), aligned arrays complex64, FRC curves, picture.",
    "tensorflow",
    "scikit-image",
    solver=True,
)
def compare(run: PhaseRun) -> Outcome:
    from fly64_assets.ptychography.data001.dataset import read_dataset

    split = run.split
    dataset = read_dataset(run.input(split, "overlap_view").path(f"{split}.npz"))
    log = _Log(run.staging / "comparison.log", run.log)
    log(f"comparing {split} of {run.condition}: {len(dataset.xcoords)} images")
    try:
        return _compare(run, split, dataset, log)
    except Exception as error:  # whatever it was: the manifest has to say that it failed
        reason = f"{type(error).__name__}: {error}"
        for line in traceback.format_exc().splitlines():
            log(line)
        for name in set(run.product.files) - {"comparison.log"}:
            (run.staging / name).unlink(missing_ok=True)
        content = {
            "status": "failed",
            "error": reason,
            "transformations": run.made_from(dataset.metadata, "compare", split=split)[
                "transformations"
            ],
        }
        run.write_json("scoring.json", content)
        return Outcome(digest(reason), {"status": f"failed: {reason}"})
