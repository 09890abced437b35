"""Checks of the check report and of summary/summary.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fly64_assets.hub.verify import contract
from fly64_assets.hub.verify.checks import Broken, Finding, check, compare
from fly64_assets.hub.verify.crate import study_name
from fly64_assets.hub.verify.crate_graph import steps
from fly64_assets.hub.verify.markdown import Row, compare_sections
from fly64_assets.hub.verify.reading import Hub
from fly64_assets.hub.verify.report_numbers import (
    LABELS,
    OTHERS,
    delta_text,
    photons_text,
    target_overlap,
    title,
)
from fly64_assets.hub.verify.summaries import mean_deltas, scores_of, split_deltas
from fly64_assets.hub.verify.views import counts, overlap_numbers
from fly64_assets.study import MODELS, SPLITS

CHECKS_JSON, CHECKS_MD = "analysis/check_report.json", "analysis/check_report.md"
STATES = ("passed", "warning", "failed", "not run")
ROW = ("asset", "check", "partition", "status", "severity", "blocking", "time", "reason")
JUDGED = (
    *(f"{split}/{name}" for name in ("dataset", "overlap_view") for split in SPLITS),
    "pinn_model",
    "baseline_model",
    *(f"{split}/{name}" for name in ("ptychi_reconstruction", "comparison") for split in SPLITS),
    "comparison_manifest",
)
"""Assets of a condition that have checks."""
SUMMARY_MD = "summary/summary.md"


def _rows(hub: Hub) -> list[dict[str, Any]]:
    rows = hub.json(CHECKS_JSON).get("checks")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Broken(CHECKS_JSON, "checks", "is no list of checks")
    return rows


@check(
    "check_report.passed",
    CHECKS_JSON,
    "every asset of the condition was checked, nothing failed, what blocks has passed",
)
def checks_passed(hub: Hub) -> Iterator[Finding]:
    passed = set()
    for row in _rows(hub):
        name = f"{row.get('asset')} {row.get('check')}"
        status, blocking = row.get("status"), row.get("blocking")
        if status not in STATES[:2] or (blocking and status != "passed"):
            yield Finding(CHECKS_JSON, name, f"is {status!r}: {row.get('reason')}")
        if status == "warning" and row.get("severity") != "WARN":
            yield Finding(CHECKS_JSON, name, "is a warning of another severity than WARN")
        if status == "passed":
            passed.add(row.get("asset"))
    for asset in JUDGED:
        if asset not in passed:
            yield Finding(CHECKS_JSON, asset, "has no check that passed")


@check(
    "check_report.rows",
    CHECKS_JSON,
    "each row is whole, of this condition, once, with a UTC time; the counts are theirs",
)
def check_rows(hub: Hub) -> Iterator[Finding]:
    content, rows = hub.json(CHECKS_JSON), _rows(hub)
    seen = Counter((row.get("asset"), row.get("check"), row.get("partition")) for row in rows)
    for (asset, name, partition), number in seen.items():
        place = f"{asset} {name}"
        if number > 1:
            yield Finding(CHECKS_JSON, place, "stands there twice")
        if partition not in (str(hub.dose), f"{hub.dose}|{hub.view}", "study"):
            yield Finding(CHECKS_JSON, place, f"is of partition {partition!r}")
    for row in rows:
        time = row.get("time")
        if set(row) != set(ROW):
            yield Finding(CHECKS_JSON, f"{row.get('asset')} {row.get('check')}", "is not whole")
        elif not (isinstance(time, str) and contract.TIME.fullmatch(time)):
            yield Finding(CHECKS_JSON, f"{row['asset']} {row['check']} time", f"is {time!r}")
    found = Counter(row.get("status") for row in rows)
    expected = {
        "dose": hub.dose,
        "view": hub.view,
        "counts": {state: found[state] for state in STATES},
    }
    for key, value in expected.items():
        yield from compare(CHECKS_JSON, value, content.get(key), key=key)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split()) if value else "-"


@check("check_report.page", CHECKS_MD, "the page shows the rows and the counts of the JSON")
def check_page(hub: Hub) -> Iterator[Finding]:
    content, rows = hub.json(CHECKS_JSON), _rows(hub)
    table: list[Row] = [ROW]
    for row in rows:
        cells = {key: _cell(row.get(key)) for key in ROW}
        table.append(tuple(cells[key] if key != "reason" or row.get(key) else "" for key in ROW))
    counted = ", ".join(f"{content['counts'][state]} {state}" for state in STATES) + "."
    expected = [(f"# Asset checks: {title(hub)}", [table])]
    yield from compare_sections(CHECKS_MD, hub.text(CHECKS_MD), expected, lines=[counted])


def _headers() -> list[str]:
    return [f"{label} {name}" for label in LABELS.values() for name in contract.COMPONENTS]


def _scores(hub: Hub) -> list[Row]:
    rows: list[Row] = [("split", "model", *_headers())]
    for split in SPLITS:
        table = scores_of(hub, split)
        for model in MODELS:
            cells = (f"{table[model][m][c]:.4f}" for m in LABELS for c in contract.COMPONENTS)
            rows.append((split, model, *cells))
    return rows


def _deltas(hub: Hub) -> list[Row]:
    tables = {"mean": mean_deltas(hub), **{split: split_deltas(hub, split) for split in SPLITS}}
    rows: list[Row] = [("over", "minus", *_headers())]
    for over, deltas in tables.items():
        for other in OTHERS:
            values = deltas[f"vs_{other}"]
            cells = (delta_text(values[m][c], m) for m in LABELS for c in contract.COMPONENTS)
            rows.append((over, other, *cells))
    return rows


def _overlap(hub: Hub) -> list[Row]:
    def column(split: str) -> list[str]:
        numbers, found = counts(hub, split), overlap_numbers(hub, split)
        overlaps = (
            target_overlap(hub, split),
            found["reached_overlap"],
            *(found[f"metric_{name}_avg"] for name in ("1_group_based", "2_image_based")),
            found["metric_3_group_to_group_avg"],
        )
        return [
            f"{numbers['n_images_total']:,d}",
            f"{numbers['n_images_kept']:,d}",
            f"{numbers['n_centres']:,d}",
            *("-" if value is None else f"{value:.3f}" for value in overlaps),
            *photons_text(hub, split),
        ]

    titles = [
        "images in the half",
        "images in the view",
        "group centres",
        "overlap target",
        "overlap reached",
        "overlap metric 1, within groups",
        "overlap metric 2, between images",
        "overlap metric 3, between groups",
        "total photons",
        "photons/px²",
    ]
    columns = [column(split) for split in SPLITS]
    return [("", *SPLITS), *zip(titles, *columns, strict=True)]


def _provenance(hub: Hub, found: list[Row]) -> list[Row]:
    """The rows for the assets that the page names, from the crate."""
    made = steps(hub)
    rows: list[Row] = [("asset", "made at", "data version", "code version", "commit")]
    for asset, *_ in found[1:]:
        if asset not in made:
            raise Broken(SUMMARY_MD, f"## Provenance {asset}", "is no asset of the crate")
        stated = made[asset].stated
        commit, dash, dirty = str(stated.get("git_commit")).partition("-")
        rows.append(
            (
                asset,
                made[asset].end,
                str(stated.get("data_version"))[:12],
                str(stated.get("code_version")).split(" ")[0],
                "-" if commit == "unknown" else commit[:12] + dash + dirty,
            )
        )
    return rows


def _hashes(hub: Hub) -> list[Row]:
    hashed = sorted(path for path in hub.files if path.endswith(("model.keras", ".log")))
    return [("file", "sha256"), *((path, hub.sha256(path)) for path in hashed)]


PHRASES = (
    "MS-SSIM: higher is better, 0 to 1.",
    "Disc overlaps, 0 to 1.",
    "Metric 3 tends to about 0.25",
    "sha256",
)


@check(
    "summary_page.numbers",
    SUMMARY_MD,
    "scores, deltas, overlap, photons, provenance and hashes are those of the hub",
)
def summary_page(hub: Hub) -> Iterator[Finding]:
    from fly64_assets.hub.verify.markdown import sections

    text = hub.text(SUMMARY_MD)
    shown = [s.tables for s in sections(text) if s.heading == "## Provenance"]
    provenance = _provenance(hub, shown[0][0] if shown and shown[0] else [()])
    expected = [
        (f"# {title(hub)}", []),
        ("## Scores", [_scores(hub)]),
        ("## Deltas: PtychoPINN minus the other", [_deltas(hub)]),
        ("## Overlap and photons", [_overlap(hub)]),
        ("## Provenance", [provenance]),
        ("## Hashes of logs and models", [_hashes(hub)]),
    ]
    line = (
        f"Study `{study_name(hub)}`: PtychoPINN, Baseline and PtyChi against the truth, "
        "on both halves of the scan."
    )
    yield from compare_sections(SUMMARY_MD, text, expected, lines=[line], phrases=PHRASES)
    listed = {row[0] for row in provenance}
    for asset in (*JUDGED, "metrics_summary", "metrics_delta_summary"):
        if asset not in listed:
            yield Finding(SUMMARY_MD, "## Provenance", f"does not say how {asset} was made")
