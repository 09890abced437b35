"""What each report of a finished condition says: its JSON files in, contexts of templates out.

Every number is read from those files and shown as it is; nothing is computed here but shares,
ranks and the comparison with the sanity threshold. Words and layout are in ``templates/``, formats
of numbers in ``numbers.py``, the better direction of a metric in ``ptychography.metrics.METRICS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fly64_assets.catalogue import product
from fly64_assets.hub import numbers
from fly64_assets.hub.deltas import METRICS as COMPARED
from fly64_assets.hub.deltas import OTHERS, SUBJECT
from fly64_assets.hub.interval_table import confidence, interval_table
from fly64_assets.hub.layout import hub_path
from fly64_assets.hub.rendering import Table
from fly64_assets.partitions import Condition
from fly64_assets.ptychography.metrics import COMPONENTS, METRICS
from fly64_assets.ptychography.scoring import CENSORED, ROW_NAMES, STRICT_SUFFIX
from fly64_assets.study import SPLITS

Context = dict[str, Any]
MS_SSIM_SANITY = 0.80
"""A mean MS-SSIM below this is called LOW: the model did not reconstruct the object."""
HEADLINE_SPLIT, HEADLINE = "test", "phase"
SHORT = {"amplitude": "amp", "phase": "phase"}
MEAN = "mean of train and test"


@dataclass(frozen=True)
class Sources:
    """The contents of the files that every number comes from.

    Attributes:
        manifest: comparison_manifest.json.
        summary: metrics_summary.json.
        deltas: metrics_delta_summary.json.
        views: split -> {split}_metrics.json of phase D.
    """

    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    deltas: Mapping[str, Any]
    views: Mapping[str, Mapping[str, Any]]

    @property
    def condition(self) -> Condition:
        filters = self.manifest["filters"]
        return Condition(filters["dose"], filters["view"])

    @property
    def models(self) -> tuple[str, ...]:
        """The arms that were compared, the published first."""
        return tuple(self.summary["aggregate_metrics"])

    def aggregate(self, model: str, metric: str, name: str) -> float | None:
        """``name`` is ``mean_phase``, ``best_amplitude``, ...; None where it is missing."""
        return self.summary["aggregate_metrics"].get(model, {}).get(metric, {}).get(name)

    def score(self, split: str, model: str, metric: str, column: str) -> float | None:
        """One number of a split's table; None where it is missing."""
        for job in self.summary["jobs"]:
            if job["split"] == split:
                return job["metrics"].get(model, {}).get(metric, {}).get(column)
        return None

    def delta(self, split: str | None, other: str, metric: str, component: str) -> float | None:
        """PtychoPINN minus another model, on one split or (None) of the means."""
        table = self.deltas["deltas"] if split is None else self.deltas["deltas_by_split"][split]
        return table[f"vs_{other}"][metric][component]


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
        "metrics_digest.md": {**common, **_digest(sources)},
        "ssim_grid_summary.md": {**common, "grids": _grids(sources)},
    }


def without_times(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A metrics summary in which every computation took no time: what its data version sees."""

    def of_model(scores: Mapping[str, Any]) -> dict[str, Any]:
        return {**scores, "computation_time_s": {"value": 0.0}}

    jobs = [
        {**job, "metrics": {model: of_model(rows) for model, rows in job["metrics"].items()}}
        for job in summary["jobs"]
    ]
    return {**summary, "jobs": jobs}


def _common(sources: Sources) -> Context:
    """What several reports show: title, counts, datasets with their photons."""
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
    columns = [(c, f"{kind}_{c}", kind) for c in COMPONENTS for kind in ("mean", "best")]
    aggregates = [
        (
            model,
            *_scores(sources, model, "ms_ssim", [name for _, name, _ in columns]),
            *_scores(sources, model, "mae", [f"mean_{c}" for c in COMPONENTS]),
        )
        for model in sources.models
    ]
    header = (
        "model",
        *(f"{_title('ms_ssim')} {c} {kind}" for c, _, kind in columns),
        *(f"{_title('mae')} {_with_unit('mae', c)} mean" for c in COMPONENTS),
    )
    return {
        "aggregates": Table(header, aggregates),
        "directions": [
            f"{_title(metric)}: {METRICS[metric].direction} is better" for metric in COMPARED
        ],
        "splits": [
            {"name": split, "scores": _job_scores(sources, split), "fits": _fits(sources, split)}
            for split in SPLITS
        ],
        "compliance": _compliance(sources.summary["phase_c_metadata_compliance"]),
    }


def _scores(sources: Sources, model: str, metric: str, names: Iterable[str]) -> list[str]:
    return [
        numbers.score(sources.aggregate(model, metric, name), "aggregate", metric) for name in names
    ]


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
            for component in COMPONENTS
        ]
        if name == CENSORED:
            shown = [numbers.yes_no(value) for value in values]
            rows.append((f"{_title('frc50')} never crossing", *["-"] * 2, *shown))
            continue
        strict = " strict" if name != base else ""
        units = METRICS[base].units
        unit = " / ".join(dict.fromkeys(units[component] for component in COMPONENTS))
        shown = [numbers.score(value, "job", name) for value in values]
        rows.append((_title(base) + strict, METRICS[base].direction, unit, *shown))
    header = (
        "metric",
        "better",
        "unit (amplitude / phase)",
        *(f"{model} {component}" for model in sources.models for component in COMPONENTS),
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
            ("model", *(f"mean {component}" for component in COMPONENTS), "status"),
            [
                (
                    model,
                    *_scores(sources, model, "ms_ssim", [f"mean_{c}" for c in COMPONENTS]),
                    _sanity(sources, model),
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
                "title": _title(metric),
                "direction": _direction(metric),
                "table": _delta_table(sources, metric),
            }
            for metric in COMPARED
        ],
        "intervals": interval_table(sources.deltas),
        "confidence": confidence(sources.deltas),
    }


def _sanity(sources: Sources, model: str) -> str:
    """OK, LOW with what is low, or MISSING: the mean MS-SSIM against `MS_SSIM_SANITY`."""
    means = {c: sources.aggregate(model, "ms_ssim", f"mean_{c}") for c in COMPONENTS}
    if any(value is None for value in means.values()):
        return "MISSING"
    metric = METRICS["ms_ssim"]
    low = [SHORT[c] for c, value in means.items() if metric.is_better(MS_SSIM_SANITY, value)]
    return f"LOW ({','.join(low)})" if low else "OK"


def _model_scores(sources: Sources, model: str) -> Table:
    rows = []
    for metric in COMPARED:
        for component in COMPONENTS:
            best = sources.aggregate(model, metric, f"best_{component}")
            rows.append(
                (
                    f"{_title(metric)} {_with_unit(metric, component)}",
                    METRICS[metric].direction,
                    *_scores(sources, model, metric, [f"mean_{component}"]),
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
    """Signed deltas with the name of the better model beside each."""
    rows = []
    for other in OTHERS:
        for split in (None, *SPLITS):
            row = [other, split or MEAN]
            for component in COMPONENTS:
                value = sources.delta(split, other, metric, component)
                row += [numbers.delta(value, metric), _better_of_two(value, other, metric)]
            rows.append(row)
    header = ["minus", "over"]
    for component in COMPONENTS:
        header += [f"Δ {_with_unit(metric, component)}", f"better in {component}"]
    return Table(header, rows, words=("over", *(f"better in {c}" for c in COMPONENTS)))


def _better_of_two(value: float | None, other: str, metric: str) -> str:
    if value is None:
        return numbers.MISSING
    if value == 0:
        return "equal"
    return SUBJECT if METRICS[metric].is_better(value, 0.0) else other


def _aggregate_highlights(sources: Sources) -> Context:
    width = max(map(len, sources.models))
    sanity = []
    for model in sources.models:
        amplitude, phase = _scores(sources, model, "ms_ssim", [f"mean_{c}" for c in COMPONENTS])
        status = _sanity(sources, model)
        sanity.append(f"{model:<{width}}: amplitude {amplitude}  phase {phase}  {status}")
    return {
        "sanity": sanity,
        "ms_ssim_direction": METRICS["ms_ssim"].direction,
        "directions": ", ".join(
            f"{_title(metric)}: {METRICS[metric].direction} is better" for metric in COMPARED
        ),
        "lines": numbers.delta_lines(sources.deltas["deltas"], "delta"),
    }


def _digest(sources: Sources) -> Context:
    header = ["model"]
    for metric in COMPARED:
        name = f"{_title(metric)} {_with_unit(metric, HEADLINE)}"
        header += [f"{name} {HEADLINE_SPLIT}", f"{name} mean"]
    rows = []
    for model in sources.models:
        row = [model]
        for metric in COMPARED:
            of_split = sources.score(HEADLINE_SPLIT, model, metric, HEADLINE)
            row.append(numbers.score(of_split, "job", metric))
            row += _scores(sources, model, metric, [f"mean_{HEADLINE}"])
        rows.append((*row, _sanity(sources, model)))
    return {
        "headline_split": HEADLINE_SPLIT,
        "best": [
            f"Best {HEADLINE} {_title(metric)} on {HEADLINE_SPLIT} "
            f"({METRICS[metric].direction} is better): {_best(sources, metric)}"
            for metric in COMPARED
        ],
        "scores": Table((*header, "sanity"), rows, words=("sanity",)),
        "deltas": _key_deltas(sources),
        "references": _references(sources.condition),
    }


def _best(sources: Sources, metric: str) -> str:
    """The model, or the models, that no other beats in the headline number."""
    values = {
        model: value
        for model in sources.models
        if (value := sources.score(HEADLINE_SPLIT, model, metric, HEADLINE)) is not None
    }
    is_better = METRICS[metric].is_better
    best = [
        model
        for model, value in values.items()
        if not any(is_better(rival, value) for rival in values.values())
    ]
    return " and ".join(best) or numbers.MISSING


def _key_deltas(sources: Sources) -> Table:
    columns = [(c, split) for c in reversed(COMPONENTS) for split in (HEADLINE_SPLIT, None)]
    rows = [
        (
            f"{_title(metric)} Δ ({SUBJECT} - {other})",
            METRICS[metric].direction,
            *(
                numbers.delta(sources.delta(split, other, metric, c), metric)
                for c, split in columns
            ),
        )
        for metric in COMPARED
        for other in OTHERS
    ]
    header = ("delta", "better", *(f"{c} {split or 'mean'}" for c, split in columns))
    return Table(header, rows, words=("better",))


REFERENCES = (
    (("comparison_manifest",), ("comparison_manifest.json",)),
    (("metrics_summary",), ("metrics_summary.json",)),
    (("metrics_delta_summary",), ("metrics_delta_summary.json",)),
    (
        ("metrics_report",),
        (
            "metrics_summary.md",
            "metrics_delta_highlights.txt",
            "aggregate_report.md",
            "ssim_grid_summary.md",
        ),
    ),
    *(
        ((split, name), files)
        for split in SPLITS
        for name, files in (
            ("overlap_view", (f"{split}_metrics.json",)),
            ("comparison", ("comparison_metrics.csv", "comparison_plot.png")),
            ("heatmaps", ("ms_ssim_heatmap.png", "correlation_heatmap.png")),
        )
    ),
)
"""The files that the digest points to, by the product that owns them."""


def _references(condition: Condition) -> list[str]:
    """Paths relative to the hub, POSIX."""
    return [
        str(hub_path(product(*key), condition, file)) for key, files in REFERENCES for file in files
    ]


def _grids(sources: Sources) -> list[Context]:
    """The two tables of phase deltas: a row for the means and one a split."""
    condition = sources.condition
    return [
        {
            "title": f"{_title(metric)} Δ, {_with_unit(metric, HEADLINE)}",
            "direction": _direction(metric),
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
        for metric in COMPARED
    ]


def _title(metric: str) -> str:
    return METRICS[metric].title


def _with_unit(metric: str, component: str) -> str:
    """``phase (rad)``; the bare component where the metric has no unit."""
    unit = METRICS[metric].units[component]
    return component if unit == "1" else f"{component} ({unit})"


def _direction(metric: str) -> str:
    """Which sign of a delta favours PtychoPINN, from the metric's own direction."""
    direction = METRICS[metric].direction
    sign = "positive" if direction == "higher" else "negative"
    return f"{direction} is better, a {sign} delta favours {SUBJECT}"
