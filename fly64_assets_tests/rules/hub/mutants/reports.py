"""Edits of the reports for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fly64_assets_tests.rules.hub.forging import PAGE, Forgery
from fly64_assets_tests.rules.hub.mutants import add

A = "analysis/"
REPORTS = {
    f"{A}comparison_summary.txt": ("success, returncode 0", "failed, returncode 1"),
    f"{A}metrics_summary.md": (r"(\| MAE strict .*?)\d\.\d{4}", r"\g<1>0.1234"),
    f"{A}metrics_delta_highlights.txt": (" : ", "  : "),
    f"{A}metrics_delta_highlights_preview.txt": (r"[+-]\d\.\d{3}", "+0.123"),
    f"{A}aggregate_report.md": ("a negative delta favours", "a positive delta favours"),
    f"{A}aggregate_highlights.txt": (r"train \d+\.\d", "train 1.0"),
    f"{A}metrics_digest.md": (r"`analysis/metrics_summary.md`", "`analysis/metrics.md`"),
    f"{A}ssim_grid_summary.md": ("Phase only. ", ""),
}
"""A report -> what one edit of it replaces, and with what."""
CHECKS, CHECKS_PAGE = f"{A}check_report.json", f"{A}check_report.md"


def _sub(path: str, pattern: str, new: str) -> Callable[[Forgery], None]:
    """Replace the first match of a pattern in a text."""
    return lambda f: f.text(path, lambda text: re.sub(pattern, new, text, count=1, flags=re.M))


def _lines(path: str, edit: Callable[[list[str]], list[str]]) -> Callable[[Forgery], None]:
    return lambda f: f.text(path, lambda t: "".join(edit(t.splitlines(keepends=True))))


for path, (old, new) in REPORTS.items():
    add("reports.rendered_again", f"{path} with {new!r} for {old!r}", _sub(path, old, new))
REPORT = f"{A}aggregate_report.md"
add("reports.rendered_again", "a claim more", lambda f: f.text(REPORT, lambda t: f"{t}All won.\n"))
add("reports.rendered_again", "a line less", _lines(REPORT, lambda rows: rows[:-1]))


# Check report and summary page.
def with_page(f: Forgery, edit) -> None:  # noqa: ANN001
    """The same edit in the JSON's rows and on the page, so that both agree."""
    from fly64_assets.reports.condition.check_report import check_report_context
    from fly64_assets.reports.condition.rendering import render

    content: dict[str, Any] = {}

    def change(found: dict[str, Any]) -> None:
        edit(found["checks"])
        states = [row["status"] for row in found["checks"]]
        found["counts"] = {state: states.count(state) for state in found["counts"]}
        content.update(found)

    f.json(CHECKS, change)
    f.write(CHECKS_PAGE, render("check_report.md", check_report_context(content)))


add(
    "check_report.passed",
    "a failed check",
    lambda f: with_page(f, lambda rows: rows[0].update(status="failed", reason="broken")),
)
add(
    "check_report.passed",
    "a check that was not run",
    lambda f: with_page(f, lambda rows: rows[0].update(status="not run")),
)
add(
    "check_report.passed",
    "a warning of a blocking check",
    lambda f: with_page(
        f,
        lambda rows: next(r for r in rows if r["blocking"]).update(
            status="warning", severity="WARN"
        ),
    ),
)
add(
    "check_report.rows",
    "an asset without checks",
    lambda f: with_page(
        f, lambda rows: [rows.remove(r) for r in list(rows) if r["asset"] == "pinn_model"]
    ),
)
add(
    "check_report.rows",
    "another count",
    lambda f: f.json(CHECKS, lambda c: c["counts"].update(passed=c["counts"]["passed"] + 1)),
)
add("check_report.rows", "another dose", lambda f: f.json(CHECKS, lambda c: c.update(dose=77)))
add(
    "check_report.rows",
    "a row of another partition",
    lambda f: with_page(f, lambda rows: rows[0].update(partition="77")),
)
add(
    "check_report.rows",
    "a row twice",
    lambda f: with_page(f, lambda rows: rows.append(dict(rows[0]))),
)
add(
    "check_report.rows",
    "a row without its reason",
    lambda f: f.json(CHECKS, lambda c: c["checks"][0].pop("reason") and None),
)
for what, edit in {
    "another status on the page": _sub(CHECKS_PAGE, r"passed( +)\|", r"failed\1|"),
    "another count on the page": _sub(CHECKS_PAGE, r"^\d+ passed", "99 passed"),
    "another reason in the JSON": lambda f: f.json(
        CHECKS, lambda c: c["checks"][0].update(reason="another")
    ),
}.items():
    add("check_report.rendered_again", what, edit)
for what, edit in {
    "another number of weights": _sub(PAGE, r"(\| PtychoPINN +\| +)[\d,]+", r"\g<1>1,234"),
    "another CPU time": _sub(PAGE, r"(\| Baseline +\|.* )\d+\.\d( \|)$", r"\g<1>0.1\2"),
    "another time of an asset": _sub(
        PAGE, r"(\| pinn_model .*?)\d{4}-\d\d-\d\d", r"\g<1>2020-01-01"
    ),
    "another hash": _sub(
        PAGE, r"(\| cli/phase_e_pinn_model.log .*\| )[0-9a-f]{12}", r"\g<1>000000000000"
    ),
    "an asset less": _lines(
        PAGE, lambda rows: [x for x in rows if not x.startswith("| pinn_model ")]
    ),
    "another study": _sub(PAGE, "Study `", "Study `my-"),
    "a claim more": lambda f: f.text(PAGE, lambda t: f"{t}All won.\n"),
}.items():
    add("summary_page.rendered_again", what, edit)
