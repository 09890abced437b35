"""What each report of a finished condition says: its files in, contexts of templates out.

Every number is read from those files and shown as it is; nothing is computed here but shares and
the comparison with the sanity threshold. Words and layout are in ``templates/``, formats of
numbers in ``documents/formatting.py``, what reports share in ``report_parts.py``, the digest in
``digest.py``, who is better in ``winners.py``, intervals in ``interval_table.py``, the better
direction of a metric in ``ptychography/scoring/metrics.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.comparison import CENSORED, ROW_NAMES, STRICT_SUFFIX
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES, OTHERS, SUBJECT
from fly64_assets.reports.condition.digest import digest_context
from fly64_assets.reports.condition.interval_table import MEAN, how_sure
from fly64_assets.reports.condition.rendering import Table
from fly64_assets.reports.condition.report_parts import (
    HEADLINE,
    MS_SSIM_SANITY,
    Context,
    Sources,
    direction_of,
    sanity_status,
    shown_scores,
    title_of,
    with_unit,
)
from fly64_assets.reports.condition.winners import better_of_two
from fly64_assets.study.model import SPLITS


def contexts(sources: Sources) -> dict[str, Context]:
    """File name -> context of its template, for every file of ``metrics_report``."""
    common = _common(sources)
    return {
        "comparison_summary.txt": {**common, "jobs": _jobs(sources.manifest)},
        "metrics_summary.md": {**common, **_metrics_summary(sources)},
        "metrics_delta_highlights.txt": {
            "lines": numbers.delta_lines(sources.deltas["deltas"], "delta")
        },
        "metrics_delta_highlights_preview.txt": {
            "lines": numbers.preview_lines(sources.deltas["deltas"])
        },
        "aggregate_report.md": {**common, **_aggregate_report(sources)},
        "aggregate_highlights.txt": {**common, **_aggregate_highlights(sources)},
        "metrics_digest.md": {**common, **digest_context(sources)},
        "ssim_grid_summary.md": {**common, "grids": _grids(sources)},
    }


def without_times(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metrics summary in which no computation took time, as its data version sees it."""

    def of_model(scores: Mapping[str, Any]) -> dict[str, Any]:
        return {**scores, "computation_time_s": {"value": 0.0}}

    jobs = [
        {**job, "metrics": {model: of_model(rows) for model, rows in job["metrics"].items()}}
        for job in summary["jobs"]
    ]
    return {**summary, "jobs": jobs}


def _common(sources: Sources) -> Context:
    """Return what several reports show: title, counts, datasets with their photons."""
    manifest = sources.manifest
    dose, view = manifest["filters"]["dose"], manifest["filters"]["view"]
    outcomes = (manifest["n_jobs"], *(manifest[f"n_{name}"] for name in OUTCOMES))
    return {
        "title": numbers.condition(dose, view),
        "view_title": view.title(),
        "counts_line": numbers.counts_line(*outcomes),
        "counts": Table(
            ("comparisons", "total", *OUTCOMES), [["both splits", *map(numbers.count, outcomes)]]
        ),
        "datasets": _datasets(sources),
        "photons": _photon_lines(sources.views),
        "subject": SUBJECT,
        "threshold": numbers.threshold(MS_SSIM_SANITY),
    }


OUTCOMES = ("executed", "success", "failed")


def _jobs(manifest: Mapping[str, Any]) -> list[str]:
    """Each job on a line: what was compared, how it ended, where its log is."""
    results = {_identity(result): result for result in manifest["execution_results"]}
    lines = []
    for job in manifest["jobs"]:
        what = f"dose {job['dose']}, view {job['view']}, split {job['split']}"
        result = results.get(_identity(job))
        if result is None:
            lines.append(f"{what}: not executed")
            continue
        ended = "failed" if result["returncode"] else "success"
        error = f", error {' '.join(result['error'].split())}" if "error" in result else ""
        lines.append(
            f"{what}: {ended}, returncode {result['returncode']}, log {result['log_path']}{error}"
        )
    return lines


def _identity(job: Mapping[str, Any]) -> tuple[Any, ...]:
    return job["dose"], job["view"], job["split"]


def _datasets(sources: Sources) -> Table:
    rows = []
    for split in SPLITS:
        counts, view = sources.summary["dataset_counts"][split], sources.views[split]
        total, kept = counts["n_images_total"], counts["n_images_kept"]
        rows.append(
            (
                split,
                numbers.count(total),
                numbers.count(kept),
                numbers.percent(kept, total),
                numbers.count(counts["n_centres"]),
                numbers.overlap(view["target_overlap"]),
                numbers.overlap(view["reached_overlap"]),
                numbers.photons(view["total_photons"]),
                numbers.photon_density(view["photons_per_px2"]),
            )
        )
    header = (
        "split",
        "images in the half",
        "images in the view",
        "share",
        "group centres",
        "overlap target",
        "overlap reached",
        "total photons",
        "photons/px²",
    )
    return Table(header, rows)


def _photon_lines(views: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Total photons and photons per square pixel, each on a line with both splits."""
    figures = (
        ("total photons", "total_photons", numbers.photons),
        ("photons/px²", "photons_per_px2", numbers.photon_density),
    )
    return [
        f"{label}: " + "  ".join(f"{split} {text(views[split][key])}" for split in SPLITS)
        for label, key, text in figures
    ]


def _metrics_summary(sources: Sources) -> Context:
    columns = [(c, f"{kind}_{c}", kind) for c in COLUMNS for kind in ("mean", "best")]
    aggregates = [
        (
            model,
            *shown_scores(sources, model, "ms_ssim", [name for _, name, _ in columns]),
            *shown_scores(sources, model, "mae", [f"mean_{c}" for c in COLUMNS]),
        )
        for model in sources.models
    ]
    header = (
        "model",
        *(f"{title_of('ms_ssim')} {c} {kind}" for c, _, kind in columns),
        *(f"{title_of('mae')} {with_unit('mae', c)} mean" for c in COLUMNS),
    )
    return {
        "aggregates": Table(header, aggregates),
        "directions": [
            f"{title_of(metric)}: {METRICS[metric].direction} is better" for metric in HEADLINES
        ],
        "splits": [
            {"name": split, "scores": _job_scores(sources, split), "fits": _fits(sources, split)}
            for split in SPLITS
        ],
        "compliance": _compliance(sources.summary["phase_c_metadata_compliance"]),
    }


def _job_scores(sources: Sources, split: str) -> Table:
    """Every metric of a split that has an amplitude and a phase, all models side by side."""
    rows = []
    for name in ROW_NAMES:
        base = name.removesuffix(STRICT_SUFFIX)
        if base not in METRICS and name != CENSORED:
            continue
        values = [
            sources.score(split, model, name, component)
            for model in sources.models
            for component in COLUMNS
        ]
        if name == CENSORED:
            shown = [
                numbers.UNDEFINED if value is None else numbers.yes_no(value) for value in values
            ]
            rows.append((f"{title_of('frc50')} never crossing", *["-"] * 2, *shown))
            continue
        strict = " strict" if name != base else ""
        units = METRICS[base].units
        unit = " / ".join(dict.fromkeys(units[component] for component in COLUMNS))
        shown = [numbers.score(value, "job", name) for value in values]
        rows.append((title_of(base) + strict, METRICS[base].direction, unit, *shown))
    header = (
        "metric",
        "better",
        "unit (amplitude / phase)",
        *(f"{model} {component}" for model in sources.models for component in COLUMNS),
    )
    return Table(header, rows, words=header[:3])


def _fits(sources: Sources, split: str) -> Table:
    """Per model: the registration that was applied, and the time that its computation took."""
    rows = []
    for model in sources.models:
        dy, dx, applied, seconds = (
            sources.score(split, model, name, "value")
            for name in (
                "registration_offset_dy",
                "registration_offset_dx",
                "registration_applied",
                "computation_time_s",
            )
        )
        rows.append(
            (
                model,
                numbers.score(dy, "job", "registration_offset_dy"),
                numbers.score(dx, "job", "registration_offset_dx"),
                numbers.yes_no(applied),
                numbers.score(seconds, "job", "computation_time_s"),
            )
        )
    header = ("model", "offset dy (px)", "offset dx (px)", "applied", "computation time (s)")
    return Table(header, rows, words=("applied",))


def _compliance(compliance: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    rows = [
        (
            dose.removeprefix("dose_"),
            split,
            found["npz_path"],
            *(
                numbers.yes_no(found[name])
                for name in ("has_metadata", "has_canonical_transform", "compliant")
            ),
            found.get("error", numbers.INAPPLICABLE),
        )
        for dose, splits in compliance.items()
        for split, found in splits.items()
    ]
    header = (
        "dose",
        "split",
        "file",
        "has metadata",
        "has canonical transform",
        "compliant",
        "error",
    )
    return Table(header, rows, words=header)


def _aggregate_report(sources: Sources) -> Context:
    return {
        "sanity": Table(
            ("model", *(f"mean {component}" for component in COLUMNS), "status"),
            [
                (
                    model,
                    *shown_scores(sources, model, "ms_ssim", [f"mean_{c}" for c in COLUMNS]),
                    sanity_status(sources, model),
                )
                for model in sources.models
            ],
            words=("status",),
        ),
        "models": [
            {"name": model, "scores": _model_scores(sources, model)} for model in sources.models
        ],
        "deltas": [
            {
                "title": title_of(metric),
                "direction": direction_of(metric),
                "table": _delta_table(sources, metric),
            }
            for metric in HEADLINES
        ],
        "sure": how_sure(sources.deltas, sources.statistics),
    }


def _model_scores(sources: Sources, model: str) -> Table:
    rows = []
    for metric in HEADLINES:
        for component in COLUMNS:
            best = sources.aggregate(model, metric, f"best_{component}")
            rows.append(
                (
                    f"{title_of(metric)} {with_unit(metric, component)}",
                    METRICS[metric].direction,
                    *shown_scores(sources, model, metric, [f"mean_{component}"]),
                    numbers.INAPPLICABLE
                    if METRICS[metric].direction == "lower"
                    else numbers.score(best, "aggregate", metric),
                    *(
                        numbers.score(sources.score(split, model, metric, component), "job", metric)
                        for split in SPLITS
                    ),
                )
            )
    return Table(("metric", "better", "mean", "best", *SPLITS), rows, words=("better",))


def _delta_table(sources: Sources, metric: str) -> Table:
    """Signed deltas with the better model beside each, where that is settled."""
    rows = []
    for other in OTHERS:
        for split in (None, *SPLITS):
            row = [other, split or MEAN]
            for component in COLUMNS:
                of = split, other, metric, component
                value = sources.delta(*of)
                better = better_of_two(value, sources.interval(*of), other, metric)
                row += [numbers.delta(value, metric), better]
            rows.append(row)
    header = ["minus", "over"]
    for component in COLUMNS:
        header += [f"Δ {with_unit(metric, component)}", f"better in {component}"]
    return Table(header, rows, words=("over", *(f"better in {c}" for c in COLUMNS)))


def _aggregate_highlights(sources: Sources) -> Context:
    width = max(map(len, sources.models))
    sanity = []
    for model in sources.models:
        amplitude, phase = shown_scores(sources, model, "ms_ssim", [f"mean_{c}" for c in COLUMNS])
        status = sanity_status(sources, model)
        sanity.append(f"{model:<{width}}: amplitude {amplitude}  phase {phase}  {status}")
    return {
        "sanity": sanity,
        "ms_ssim_direction": METRICS["ms_ssim"].direction,
        "directions": ", ".join(
            f"{title_of(metric)}: {METRICS[metric].direction} is better" for metric in HEADLINES
        ),
        "lines": numbers.delta_lines(sources.deltas["deltas"], "delta"),
    }


def _grids(sources: Sources) -> list[Context]:
    """Return the two tables of phase deltas: a row for the means and one a split."""
    condition = sources.condition
    return [
        {
            "title": f"{title_of(metric)} Δ, {with_unit(metric, HEADLINE)}",
            "direction": direction_of(metric),
            "table": Table(
                ("dose", "view", "over", *(f"vs {other}" for other in OTHERS)),
                [
                    (
                        str(condition.dose),
                        str(condition.view),
                        split or MEAN,
                        *(
                            numbers.delta(sources.delta(split, other, metric, HEADLINE), metric)
                            for other in OTHERS
                        ),
                    )
                    for split in (None, *SPLITS)
                ],
                words=("view", "over"),
            ),
        }
        for metric in HEADLINES
    ]
