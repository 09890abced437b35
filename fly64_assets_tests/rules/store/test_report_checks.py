"""Faults of the study report: each is what its check says, and nothing else breaks."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "a score of another number": (
        lambda text: re.sub(
            r'(\|ms_ssim\|phase"[^>]*>\s*<span data-field="mean">)[\d.]+',
            r"\g<1>0.1234",
            text,
            count=1,
        ),
        "unlike study_metrics.csv",
    ),
    "an end of an interval": (
        lambda text: re.sub(r'(data-field="low">)[-+]?[\d.]+', r"\g<1>9.9999", text, count=1),
        "unlike study_metrics.csv",
    ),
    "a dose": (
        lambda text: re.sub(r'(data-field="dose">)[^<]+', r"\g<1>12", text, count=1),
        "unlike dose_for_quality.csv",
    ),
    "seconds of a step": (
        lambda text: re.sub(r'(data-field="seconds">)[\d.,]+', r"\g<1>99999.9", text, count=1),
        "budgets: unlike the materialization",
    ),
    "a sha256": (
        lambda text: re.sub(r'(data-file="[^"]+">)\w{8}', r"\g<1>00000000", text, count=1),
        "sha256: unlike the materialization",
    ),
    "a condition left out": (
        lambda text: text.replace("data-condition=", "data-kondition="),
        "every one of the study's",
    ),
    "a score left out": (
        lambda text: text.replace("|frc50|amplitude", "|frc50|gone"),
        "rows of the table that are not shown",
    ),
    "another state": (
        lambda text: text.replace('data-state="fresh"', 'data-state="missing"'),
        "state as the planner saw it",
    ),
    "a picture from elsewhere": (
        lambda text: text.replace("<main>", '<main><img src="https://example.org/x.png" alt="x">'),
        "refers to nothing outside itself",
    ),
    "a style from elsewhere": (
        lambda text: text.replace("<style>", "<style>@import 'x.css';"),
        "refers to nothing outside itself",
    ),
    "a script that asks the network": (
        lambda text: text.replace("<script>", "<script>fetch('x');"),
        "refers to nothing outside itself",
    ),
    "a tag that is not closed": (
        lambda text: text.replace("<main>", "<main><div>"),
        "every tag closes",
    ),
    "a link that leads nowhere": (
        lambda text: text.replace('href="#answer"', 'href="#nowhere"'),
        "links that lead nowhere",
    ),
    "a local time": (
        lambda text: text.replace("<main>", "<main><p>2026-01-01 10:00:00</p>"),
        "not UTC",
    ),
    "a cost that is no product's": (
        lambda text: re.sub('(data-cost=.*?data-field="epochs">)[0-9]+', r"\g<1>99", text),
        "epochs shows 99",
    ),
    "an arm whose cost is left out": (
        lambda text: text.replace("data-cost=", "data-none=", 1),
        "is not shown",
    ),
    "an absolute path": (
        lambda text: text.replace("<main>", "<main><p>see /home/user/data</p>"),
        "absolute ones",
    ),
    "ten megabytes": (
        lambda text: text.replace("<main>", f"<main><p>{'x' * 10_000_000}</p>"),
        "below the limit",
    ),
}


def test_as_made_it_is_whole(bench):
    assert bench.broken("study_report") == {}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_page_is_named(bench, fault):
    change, told = FAULTS[fault]

    def spoil(path):
        text = path.read_text("utf-8")
        changed = change(text)
        assert changed != text, "the fault must be there to be found"
        path.write_text(changed, "utf-8")

    bench.spoil("study_report", file="study_report.html", change=spoil)
    assert told in bench.broken("study_report")["report_is_whole"]
