"""Edits of the reports for people."""

from __future__ import annotations

import re
from typing import Any

from fly64_assets_tests.rules.hub.forging import PAGE, Forgery
from fly64_assets_tests.rules.hub.mutants import add

A = "analysis/"
SUMMARY, METRICS = f"{A}comparison_summary.txt", f"{A}metrics_summary.md"
HIGHLIGHTS, PREVIEW = (f"{A}metrics_delta_highlights{end}.txt" for end in ("", "_preview"))
REPORT, SHORT = f"{A}aggregate_report.md", f"{A}aggregate_highlights.txt"
DIGEST, GRID = f"{A}metrics_digest.md", f"{A}ssim_grid_summary.md"
CHECKS, CHECKS_PAGE = f"{A}check_report.json", f"{A}check_report.md"


def _sub(path: str, pattern: str, new):  # noqa: ANN001, ANN202
    """Replace the first match of a pattern in a text."""
    return lambda f: f.text(path, lambda text: re.sub(pattern, new, text, count=1, flags=re.M))


def _lines(path: str, edit):  # noqa: ANN001, ANN202
    return lambda f: f.text(path, lambda t: "".join(edit(t.splitlines(keepends=True))))


for check, edits in (
    (
        "reports.comparison_summary",
        {
            "another count": _sub(SUMMARY, "success 2", "success 1"),
            "a job less": _lines(SUMMARY, lambda rows: rows[:-1]),
            "a failed job": _sub(SUMMARY, "success, returncode 0", "failed, returncode 1"),
            "the jobs exchanged": _lines(SUMMARY, lambda rows: [*rows[:-2], rows[-1], rows[-2]]),
            "another dose": _sub(SUMMARY, r"dose \d+", "dose 77"),
        },
    ),
    (
        "reports.highlights",
        {
            "a line less": _lines(HIGHLIGHTS, lambda rows: rows[:-1]),
            "no sign": _sub(HIGHLIGHTS, r" [+-](\d)", r" \1"),
            "four decimals": _sub(HIGHLIGHTS, r"(\d\.\d{3}) ", r"\g<1>0 "),
            "N/A": _sub(HIGHLIGHTS, r"[+-]\d\.\d{3}", "N/A"),
            "lines exchanged": _lines(HIGHLIGHTS, lambda rows: [rows[1], rows[0], *rows[2:]]),
            "a blank more": _sub(HIGHLIGHTS, " : ", "  : "),
        },
    ),
    (
        "reports.preview",
        {
            "amplitude instead of phase": lambda f: f.write(PREVIEW, _preview_of_amplitude(f)),
            "a line more": _lines(PREVIEW, lambda rows: [*rows, rows[0]]),
            "the sign turned": lambda f: f.text(
                PREVIEW,
                lambda t: (
                    t.translate(
                        str.maketrans("+", "-"),
                    )
                    if "+" in t
                    else t.replace("-0", "+0")
                ),
            ),
        },
    ),
    (
        "reports.metrics_summary",
        {
            "another score": _sub(METRICS, r"(\| MAE strict .*?)\d\.\d{4}", r"\g<1>0.1234"),
            "another share": _sub(METRICS, r"\d+\.\d %", "12.3 %"),
            "more photons": _sub(METRICS, r"\d{3},\d{3}", "999,999"),
            "a row less": _lines(
                METRICS, lambda rows: [x for x in rows if not x.startswith("| SSIM ")]
            ),
            "a table less": lambda f: f.text(
                METRICS,
                lambda t: t.split("## Metadata")[0] + "## Metadata of the simulated datasets\n",
            ),
            "a heading less": _lines(
                METRICS, lambda rows: [x for x in rows if x != "## Datasets\n"]
            ),
            "a number in the words": _sub(METRICS, "Numbers are those", "All 37 numbers are those"),
            "a number for an aggregate that is missing": _sub(
                METRICS, r"\| Baseline .*", "| Baseline | N/A | N/A | N/A | N/A | N/A | N/A |"
            ),
            "not compliant": _sub(METRICS, r"yes( +\| -)", r"no \1"),
            "another view in the title": _sub(METRICS, "dense view", "sparse view"),
        },
    ),
    (
        "reports.aggregate_report",
        {
            "OK for a LOW score, or LOW for an OK one": lambda f: f.text(
                REPORT,
                lambda t: (
                    t.replace("LOW (amp,phase)", "OK", 1)
                    if "LOW (amp,phase)" in t
                    else t.replace("OK", "LOW (amp,phase)", 1)
                ),
            ),
            "another winner, or one where none is settled": _sub(
                REPORT,
                r"(\| Baseline +\| train .*\| )(PtychoPINN|Baseline|not settled) *\|$",
                lambda m: f"{m[1]}{'Baseline' if m[2] == 'PtychoPINN' else 'PtychoPINN'} |",
            ),
            "another delta": _sub(REPORT, r"[+-]\d\.\d{6}", "+0.123456"),
            "another threshold": _sub(REPORT, r"0\.80", "0.70"),
            "another best": _sub(
                REPORT, r"(\| MS-SSIM phase +\| higher \| +\d\.\d{3} \| +)\d\.\d{3}", r"\g<1>0.999"
            ),
            "a model less": lambda f: f.text(REPORT, lambda t: t.replace("### PtyChi\n", "")),
            "a renamed model": _sub(REPORT, "### PtyChi", "### Pty-chi (pty-chi)"),
        },
    ),
    (
        "reports.aggregate_highlights",
        {
            "another status": lambda f: f.text(
                SHORT,
                lambda t: (
                    t.replace("LOW (amp,phase)", "OK", 1)
                    if "LOW (amp,phase)" in t
                    else t.replace("  OK", "  LOW (amp)", 1)
                ),
            ),
            "another density": _sub(SHORT, r"train \d+\.\d", "train 1.0"),
            "a line less": _lines(SHORT, lambda rows: rows[:-1]),
        },
    ),
    (
        "reports.digest",
        {
            "the title of the other view": _sub(DIGEST, "Dense", "Sparse"),
            "another best model": _sub(DIGEST, r"(- Best phase MS-SSIM .*: )\w+", r"\1Baseline"),
            "a lead that is settled, or not, the other way": lambda f: f.text(DIGEST, _other_lead),
            "a reference that does not exist": _sub(
                DIGEST, r"- `analysis/metrics_summary.md`", "- `analysis/metrics.md`"
            ),
            "no references": _lines(
                DIGEST, lambda rows: [x for x in rows if not x.startswith("- `")]
            ),
            "a heading less": _sub(DIGEST, "## Key Deltas\n\n", ""),
            "a delta less": _lines(
                DIGEST,
                lambda rows: [x for x in rows if not x.startswith("| MAE Δ (PtychoPINN - PtyChi)")],
            ),
        },
    ),
    (
        "reports.ssim_grid",
        {
            "a table less": lambda f: f.text(
                GRID, lambda t: t.split("## MAE")[0].rstrip("\n") + "\n"
            ),
            "another delta": _sub(GRID, r"[+-]\d\.\d{3} ", "+0.123 "),
            "a word of amplitude": _sub(GRID, "Phase only.", "Phase, not amplitude."),
            "another dose in a row": _sub(GRID, r"^\| 1000", "| 2000"),
        },
    ),
    (
        "reports.direction",
        {
            "positive is better for MAE": _sub(
                REPORT, "a negative delta favours", "a positive delta favours"
            ),
            "higher is better for MAE": _sub(
                METRICS, "MAE: lower is better", "MAE: higher is better"
            ),
            "lower is better for MS-SSIM": _sub(SHORT, r"\(MS-SSIM: higher", "(MS-SSIM: lower"),
            "a positive MAE delta in favour": _sub(
                PAGE, "a negative MAE delta", "a positive MAE delta"
            ),
        },
    ),
):
    for what, edit in edits.items():
        add(check, what, edit)


def _other_lead(text: str) -> str:
    """The doubt taken from the best phase MS-SSIM of a digest; added where there is none."""
    (line,) = re.findall(r"- Best phase MS-SSIM .*", text)
    sure, doubt, _ = line.partition(", ")
    return text.replace(line, sure if doubt else f"{line}, not settled against PtychoPINN")


def _preview_of_amplitude(f: Forgery) -> str:
    lines = f.read(HIGHLIGHTS).decode().splitlines()
    cells = [
        (line.split(" : ")[0].rstrip(), line.split("amplitude ")[1].split(" ")[0]) for line in lines
    ]
    return "".join(f"{label}: {value}\n" for label, value in cells)


# Check report and summary page.
def _row(**changes: Any):  # noqa: ANN202
    return lambda f: f.json(CHECKS, lambda c: c["checks"][0].update(changes))


def with_page(f: Forgery, edit) -> None:  # noqa: ANN001
    """The same edit in the JSON's rows and on the page, so that both agree."""
    from fly64_assets.documents import formatting as numbers
    from fly64_assets.reports.condition.rendering import Table

    content: dict[str, Any] = {}

    def change(found: dict[str, Any]) -> None:
        edit(found["checks"])
        states = [row["status"] for row in found["checks"]]
        found["counts"] = {state: states.count(state) for state in found["counts"]}
        content.update(found)

    f.json(CHECKS, change)
    header = ("asset", "check", "partition", "status", "severity", "blocking", "time", "reason")
    rows = []
    for row in content["checks"]:
        cells = {**row, "blocking": numbers.yes_no(row["blocking"])}
        rows.append(tuple(str(cells[key]) or "-" for key in header))
    table = Table(header, rows, words=header)

    def page(text: str) -> str:
        lines = [line for line in text.split("\n") if not line.startswith("|")]
        counted = ", ".join(f"{n} {state}" for state, n in content["counts"].items()) + "."
        lines = [counted if re.match(r"\d+ passed", line) else line for line in lines]
        return "\n".join([*lines[:-1], *table.lines, ""])

    f.text(CHECKS_PAGE, page)


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
add(
    "check_report.page",
    "another status on the page",
    _sub(CHECKS_PAGE, r"passed( +)\|", r"failed\1|"),
)
add(
    "check_report.page",
    "a row less",
    _lines(CHECKS_PAGE, lambda rows: [row for row in rows if not row.startswith("| pinn_model ")]),
)
add(
    "check_report.page", "another count on the page", _sub(CHECKS_PAGE, r"^\d+ passed", "99 passed")
)
add("check_report.page", "another reason in the JSON", _row(reason="another"))
for what, edit in {
    "another score": _sub(PAGE, r"(\| test +\| Baseline .*?)\d\.\d{4}", r"\g<1>0.1234"),
    "another delta": _sub(PAGE, r"[+-]\d\.\d{6}", "+0.123456"),
    "another overlap": _sub(PAGE, r"(overlap reached .*?)\d\.\d{3}", r"\g<1>0.999"),
    "another number of weights": _sub(PAGE, r"(\| PtychoPINN +\| +)[\d,]+", r"\g<1>1,234"),
    "another CPU time": _sub(PAGE, r"(\| Baseline +\|.* )\d+\.\d( \|)$", r"\g<1>0.1\2"),
    "another time of an asset": _sub(
        PAGE, r"(\| pinn_model .*?)\d{4}-\d\d-\d\d", r"\g<1>2020-01-01"
    ),
    "another commit": _sub(PAGE, r"(\| pinn_model .*\| )[0-9a-f]{12}", r"\g<1>000000000000"),
    "another hash": _sub(
        PAGE, r"(\| cli/phase_e_pinn_model.log .*\| )[0-9a-f]{12}", r"\g<1>000000000000"
    ),
    "a hash less": _lines(
        PAGE, lambda rows: [x for x in rows if "phase_e_pinn_model.log" not in x]
    ),
    "an asset less": _lines(
        PAGE, lambda rows: [x for x in rows if not x.startswith("| pinn_model ")]
    ),
    "another study": _sub(PAGE, "Study `", "Study `my-"),
    "another dose": _sub(PAGE, r"# 1,000", "# 2,000"),
}.items():
    add("summary_page.numbers", what, edit)
