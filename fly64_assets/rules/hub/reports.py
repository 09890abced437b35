"""Checks of the reports for people: every word, and every number, recomputed from the arrays."""

from __future__ import annotations

from collections.abc import Iterator

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Finding, check
from fly64_assets.rules.hub.delta_intervals import named_best, settled_winner
from fly64_assets.rules.hub.markdown import Item, Row, compare_lines, compare_sections
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.report_numbers import (
    BETTER,
    LABELS,
    MEAN,
    METRIC_TITLES,
    OTHERS,
    PHOTON_NOTE,
    SANE,
    SUBJECT,
    counts_line,
    counts_table,
    datasets_table,
    delta_label,
    delta_text,
    direction_text,
    highlight_lines,
    how_sure,
    metric_title,
    photon_lines,
    sanity_status,
    tables_of_deltas,
    title,
)
from fly64_assets.rules.hub.scores import as_text
from fly64_assets.rules.hub.summaries import aggregates, mean_deltas, scores_of
from fly64_assets.study.model import BOTH, SPLITS


@check(
    "reports.comparison_summary",
    "analysis/comparison_summary.txt",
    "counts and jobs of the manifest, line by line",
)
def comparison_summary(hub: Hub) -> Iterator[Finding]:
    path = "analysis/comparison_summary.txt"
    lines = [f"Comparison summary: {title(hub)}", counts_line(hub), ""]
    for number, result in enumerate(hub.json(contract.MANIFEST)["execution_results"], start=1):
        split = result["split"]
        lines.append(
            f"{number}. dose {hub.dose}, view {hub.view}, split {split}: success, returncode 0, "
            f"log {hub.comparison(split, 'comparison.log')}"
        )
    yield from compare_lines(path, lines, hub.text(path))


@check(
    "reports.highlights",
    "analysis/metrics_delta_highlights.txt",
    "exactly the four delta lines, recomputed",
)
def highlights(hub: Hub) -> Iterator[Finding]:
    path = "analysis/metrics_delta_highlights.txt"
    yield from compare_lines(path, highlight_lines(hub), hub.text(path))


@check(
    "reports.preview",
    "analysis/metrics_delta_highlights_preview.txt",
    "exactly four delta lines, phase only, recomputed",
)
def preview(hub: Hub) -> Iterator[Finding]:
    path, deltas = "analysis/metrics_delta_highlights_preview.txt", mean_deltas(hub)
    phases = {(m, other): deltas[f"vs_{other}"][m]["phase"] for m in LABELS for other in OTHERS}
    lines = [
        f"{delta_label(metric, other)}: {delta_text(value, metric)}"
        for (metric, other), value in phases.items()
    ]
    yield from compare_lines(path, lines, hub.text(path))


Part = tuple[str, list[Item]]
NUMBERS_OF = (
    "Numbers are those of `analysis/metrics_summary.json` and of the view's overlap metrics."
)
STRICT_ROWS = (
    '"Strict" rows are scored with only the global phase removed; the others also without the '
    "phase plane, the mean amplitude scale and a shift. FRC50 is a fraction of Nyquist; "
    '"never crossing" says that the curve stays above the threshold and FRC50 is 1 for that reason.'
)
FITTED_TO = (
    "Registration to the truth (bounded; an offset that was not applied is not corrected for), and "
    "what the reconstruction took:"
)


def _scores_table(hub: Hub, split: str) -> list[Row]:
    table = scores_of(hub, split)
    header = ("metric", "better", "unit (amplitude / phase)")
    rows: list[Row] = [
        (*header, *(f"{model} {name}" for model in arms(hub) for name in contract.COMPONENTS))
    ]
    fitted = [(metric, "") for metric in contract.FITTED]
    strict = [(metric, " strict") for metric in contract.FITTED]
    for metric, suffix in (*fitted, *strict, ("frc50", "")):
        name, better, unit = METRIC_TITLES[metric]
        key = metric + suffix.replace(" ", "_")
        rows.append(
            (
                name + suffix,
                better,
                unit,
                *(as_text(table[m][key][c], ".4f") for m in arms(hub) for c in contract.COMPONENTS),
            )
        )
    flags = (table[m]["frc50_censored"][c] for m in arms(hub) for c in contract.COMPONENTS)
    told = ("not defined" if flag is None else "yes" if flag else "no" for flag in flags)
    never = ("FRC50 never crossing", "-", "-", *told)
    return [*rows, never]


def _fits_table(hub: Hub, split: str) -> list[Row]:
    table = scores_of(hub, split)
    rows: list[Row] = [
        ("model", "offset dy (px)", "offset dx (px)", "applied", "computation time (s)")
    ]
    for model in arms(hub):
        dy, dx, applied, seconds = (table[model][name]["value"] for name in contract.RECORDED)
        rows.append((model, f"{dy:.4f}", f"{dx:.4f}", "yes" if applied else "no", f"{seconds:.4f}"))
    return rows


@check(
    "reports.metrics_summary",
    "analysis/metrics_summary.md",
    "every number is that of tables, arrays and coordinates, 3 and 4 decimals, no word more",
)
def metrics_summary(hub: Hub) -> Iterator[Finding]:
    path, means = "analysis/metrics_summary.md", aggregates(hub)
    columns = [("ms_ssim", c, k) for c in contract.COMPONENTS for k in ("mean", "best")]
    columns += [("mae", c, "mean") for c in contract.COMPONENTS]
    aggregate: list[Row] = [("model", *(f"{metric_title(m, c)} {kind}" for m, c, kind in columns))]
    for model in arms(hub):
        values = (means[model][metric][f"{kind}_{c}"] for metric, c, kind in columns)
        aggregate.append((model, *(as_text(value, ".3f") for value in values)))
    compliance: list[Row] = [
        (
            *("dose", "split", "file", "has metadata", "has canonical transform", "compliant"),
            "error",
        )
    ]
    compliance += [
        (str(hub.dose), split, hub.dataset(split), "yes", "yes", "yes", "-") for split in SPLITS
    ]
    directions = " ".join(f"{LABELS[m]}: {BETTER[m]} is better." for m in LABELS)
    expected: list[Part] = [
        (f"# Metrics summary: {title(hub)}", [NUMBERS_OF]),
        ("## Comparisons", [counts_table(hub)]),
        ("## Datasets", [datasets_table(hub), PHOTON_NOTE]),
        ("## Aggregate metrics", [f"Mean and best of train and test. {directions}", aggregate]),
        ("## Metrics by split", [STRICT_ROWS]),
        *(
            (f"### {split}", [_scores_table(hub, split), FITTED_TO, _fits_table(hub, split)])
            for split in SPLITS
        ),
        ("## Metadata of the simulated datasets", [compliance]),
    ]
    yield from compare_sections(path, hub.text(path), expected)


NAMED_WHERE = "A better model is named where the interval of the delta, below, leaves zero out."
MEAN_AND_BEST = "Mean and best are of train and test; amplitude is dimensionless."


def _model_table(hub: Hub, model: str) -> list[Row]:
    means, tables = aggregates(hub)[model], [scores_of(hub, split)[model] for split in SPLITS]
    rows: list[Row] = [("metric", "better", "mean", "best", *SPLITS)]
    for metric in LABELS:
        for component in contract.COMPONENTS:
            best = means[metric].get(f"best_{component}", "-")
            rows.append(
                (
                    metric_title(metric, component),
                    BETTER[metric],
                    as_text(means[metric][f"mean_{component}"], ".3f"),
                    best if best == "-" else as_text(best, ".3f"),
                    *(as_text(table[metric][component], ".4f") for table in tables),
                )
            )
    return rows


def _winner(hub: Hub, value: float | None, split: str, other: str, metric: str, name: str) -> str:
    """Who is better where that is settled."""
    if value is None:
        return "N/A"
    winner = settled_winner(hub, split, other, metric, name)
    return winner or ("equal" if value == 0 else "not settled")


def _deltas_table(hub: Hub, metric: str) -> list[Row]:
    phase = "Δ phase (rad)" if metric == "mae" else "Δ phase"
    rows: list[Row] = [
        ("minus", "over", "Δ amplitude", "better in amplitude", phase, "better in phase")
    ]
    for other in OTHERS:
        for over, deltas in tables_of_deltas(hub).items():
            split, row = (BOTH if over == MEAN else over), [other, over]
            for name in contract.COMPONENTS:
                value = deltas[f"vs_{other}"][metric][name]
                winner = _winner(hub, value, split, other, metric, name)
                row += [delta_text(value, metric), winner]
            rows.append(tuple(row))
    return rows


def _sanity(hub: Hub) -> list[tuple[str, str, str, str]]:
    """(model, mean amplitude, mean phase, status) of MS-SSIM."""
    return [
        (
            model,
            as_text(means["ms_ssim"]["mean_amplitude"], ".3f"),
            as_text(means["ms_ssim"]["mean_phase"], ".3f"),
            sanity_status(means["ms_ssim"]),
        )
        for model, means in aggregates(hub).items()
    ]


@check(
    "reports.aggregate_report",
    "analysis/aggregate_report.md",
    "every number, status and winner is that of the tables, and no word more",
)
def aggregate_report(hub: Hub) -> Iterator[Finding]:
    path = "analysis/aggregate_report.md"
    sanity: list[Row] = [("model", "mean amplitude", "mean phase", "status"), *_sanity(hub)]
    low = f"Mean of train and test against {SANE:.2f}: LOW names what lies below it."
    expected: list[Part] = [
        (f"# Aggregate report: {title(hub)}", []),
        ("## Comparisons", [counts_table(hub)]),
        ("## Datasets", [datasets_table(hub), PHOTON_NOTE]),
        ("## MS-SSIM sanity", [low, sanity]),
        ("## Scores by model", [MEAN_AND_BEST]),
        *((f"### {model}", [_model_table(hub, model)]) for model in arms(hub)),
        (f"## Deltas: {SUBJECT} minus the other model", [NAMED_WHERE]),
        *(
            (f"### {LABELS[metric]}: {direction_text(metric)}", [_deltas_table(hub, metric)])
            for metric in LABELS
        ),
        *how_sure(hub),
    ]
    yield from compare_sections(path, hub.text(path), expected)


@check(
    "reports.aggregate_highlights",
    "analysis/aggregate_highlights.txt",
    "counts, photons, MS-SSIM against 0.80 and deltas, line by line",
)
def aggregate_highlights(hub: Hub) -> Iterator[Finding]:
    path = "analysis/aggregate_highlights.txt"
    width = max(map(len, arms(hub)))
    lines = [
        f"Aggregate highlights: {title(hub)}",
        counts_line(hub),
        *photon_lines(hub),
        "",
        f"MS-SSIM, {MEAN}, against {SANE:.2f} (higher is better)",
        *(
            f"{model:<{width}}: amplitude {amplitude}  phase {phase}  {status}"
            for model, amplitude, phase, status in _sanity(hub)
        ),
        "",
        "Deltas of the means (MS-SSIM: higher is better, MAE: lower is better)",
        *highlight_lines(hub),
    ]
    yield from compare_lines(path, lines, hub.text(path))


@check(
    "reports.digest",
    "analysis/metrics_digest.md",
    "headings of the contract, every number that of the tables, references that exist, and no word "
    "more",
)
def digest(hub: Hub) -> Iterator[Finding]:
    path, means, test = "analysis/metrics_digest.md", aggregates(hub), scores_of(hub, "test")
    scores: list[Row] = [
        (
            "model",
            *(f"{metric_title(m, 'phase')} {over}" for m in LABELS for over in ("test", "mean")),
            "sanity",
        )
    ]
    for model in arms(hub):
        cells: list[str] = []
        for metric in LABELS:
            cells.append(as_text(test[model][metric]["phase"], ".4f"))
            cells.append(as_text(means[model][metric]["mean_phase"], ".3f"))
        scores.append((model, *cells, sanity_status(means[model]["ms_ssim"])))
    deltas: list[Row] = [
        ("delta", "better", "phase test", "phase mean", "amplitude test", "amplitude mean")
    ]
    tables = tables_of_deltas(hub)
    for metric in LABELS:
        for other in OTHERS:
            values = (
                tables[over][f"vs_{other}"][metric][name]
                for name in ("phase", "amplitude")
                for over in ("test", MEAN)
            )
            deltas.append(
                (
                    delta_label(metric, other),
                    BETTER[metric],
                    *(delta_text(v, metric) for v in values),
                )
            )
    best = []
    for metric in LABELS:
        phases = {model: test[model][metric]["phase"] for model in arms(hub)}
        leader = named_best(hub, "test", phases, metric, "phase")
        better = f"{BETTER[metric]} is better"
        best.append(f"- Best phase {LABELS[metric]} on test ({better}): {leader}")
    headline = (
        "Phase is the headline, on the test split; means are of train and test. A lead is settled "
        "where the interval of the difference leaves zero out, or, of two models whose difference "
        "has none, where those of their scores do not meet (`analysis/aggregate_report.md`). "
        f"The sanity column holds the mean MS-SSIM of amplitude and phase against {SANE:.2f}."
    )
    pipeline: list[Item] = [f"{title(hub)}.", counts_table(hub), datasets_table(hub), PHOTON_NOTE]
    references = [f"- `{name}`" for name in _references(hub)]
    expected: list[Part] = [
        (f"# Phase G {hub.view.title()} Metrics Digest", []),
        ("## Pipeline Summary", pipeline),
        ("## Highlights", [*best, headline, scores]),
        ("## Key Deltas", [deltas]),
        ("## References", ["Relative to the hub.", *references]),
    ]
    yield from compare_sections(path, hub.text(path), expected)
    for name in _references(hub):
        if name not in hub.files:
            yield Finding(path, "## References", f"{name!r} is no file of the hub")


def _references(hub: Hub) -> list[str]:
    """What the digest refers its readers to."""
    of_both = ("comparison_manifest.json", "metrics_summary.json", "metrics_delta_summary.json")
    told = ("metrics_summary.md", "metrics_delta_highlights.txt", "aggregate_report.md")
    names = [f"analysis/{name}" for name in (*of_both, *told, "ssim_grid_summary.md")]
    shown = ("comparison_plot.png", "ms_ssim_heatmap.png", "correlation_heatmap.png")
    for split in SPLITS:
        names.append(hub.named("data/phase_d/dose_{dose}/{view}/") + f"{split}_metrics.json")
        names += [hub.comparison(split, name) for name in ("comparison_metrics.csv", *shown)]
    return names


@check(
    "reports.ssim_grid",
    "analysis/ssim_grid_summary.md",
    "two tables of phase deltas, recomputed, no amplitude and no word more",
)
def ssim_grid(hub: Hub) -> Iterator[Finding]:
    path, tables = "analysis/ssim_grid_summary.md", tables_of_deltas(hub)
    text = hub.text(path)

    def grid(metric: str) -> list[Row]:
        rows: list[Row] = [("dose", "view", "over", *(f"vs {other}" for other in OTHERS))]
        for over, deltas in tables.items():
            cells = (delta_text(deltas[f"vs_{other}"][metric]["phase"], metric) for other in OTHERS)
            rows.append((str(hub.dose), hub.view, over, *cells))
        return rows

    about = f"Phase only. Each number is {SUBJECT} minus the model that the column names."
    lines = [f"- {line}" for line in photon_lines(hub)]
    expected: list[Part] = [
        (f"# SSIM grid summary: {title(hub)}", [about, *lines, PHOTON_NOTE]),
        (f"## MS-SSIM Δ, phase: {direction_text('ms_ssim')}", [grid("ms_ssim")]),
        (f"## MAE Δ, phase (rad): {direction_text('mae')}", [grid("mae")]),
    ]
    yield from compare_sections(path, text, expected)
    if "amplitude" in text.lower():
        yield Finding(path, "", "speaks of amplitude; the grid is of phases")
