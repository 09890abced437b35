"""Edits of the words of reports: claims that no table holds, and words that a table belies."""

from __future__ import annotations

from fly64_assets_tests.rules.hub.forging import PAGE, Forgery
from fly64_assets_tests.rules.hub.mutants import add
from fly64_assets_tests.rules.hub.mutants.reports import CHECKS_PAGE, DIGEST, GRID, METRICS, REPORT

CLAIM = "PtychoPINN has the best MAE.\n\n"
PAGES = {
    "reports.aggregate_report": (REPORT, "## MS-SSIM sanity\n"),
    "reports.digest": (DIGEST, "## Key Deltas\n"),
    "reports.metrics_summary": (METRICS, "## Aggregate metrics\n"),
    "reports.ssim_grid": (GRID, "## MS-SSIM Δ"),
    "check_report.page": (CHECKS_PAGE, "| asset "),
    "summary_page.numbers": (PAGE, "## Deltas"),
}


def _before(f: Forgery, path: str, mark: str) -> None:
    f.replace(path, mark, CLAIM + mark)


def _last_paragraph_first(text: str) -> str:
    head, best, rest = text.partition("- Best phase MAE")
    line, _, rest = rest.partition("\n")
    return head.replace("- Best phase MS-SSIM", f"{best}{line}\n- Best phase MS-SSIM") + rest


for check, (path, mark) in PAGES.items():
    add(check, "a claim more", lambda f, p=path, m=mark: _before(f, p, m))
    add(
        check,
        "words behind a row",
        lambda f, p=path: f.text(p, lambda t: t.replace(" |\n", " | the best of all\n", 1)),
    )
for check, path, old, new in (
    ("summary_page.numbers", PAGE, "phase in rad", "phase in degrees"),
    ("summary_page.numbers", PAGE, "fitted to the truth", "fitted to nothing"),
    ("reports.aggregate_report", REPORT, "amplitude is dimensionless", "amplitude is in volts"),
    ("reports.metrics_summary", METRICS, "was not applied", "was applied"),
    ("reports.digest", DIGEST, "on the test split", "on the train split"),
    ("reports.ssim_grid", GRID, "Phase only. ", ""),
    ("check_report.page", CHECKS_PAGE, "nothing\nis made", "much\nis made"),
):
    add(check, f"{new!r} for {old!r}", lambda f, p=path, a=old, b=new: f.replace(p, a, b))
add("reports.digest", "two lines exchanged", lambda f: f.text(DIGEST, _last_paragraph_first))
add(
    "reports.digest",
    "a reference to another file of the hub",
    lambda f: f.replace(DIGEST, "`analysis/aggregate_report.md`", "`analysis/check_report.md`"),
)
