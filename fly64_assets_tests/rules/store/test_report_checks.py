"""Faults of the study report: each is what its check says, and nothing else breaks."""

from __future__ import annotations

import pytest

FAULTS = {
    "a condition left out": ("data-condition=", "data-kondition=", "every one of the study's"),
    "another state": ('state="fresh"', 'state="missing"', "state as the planner saw it"),
    "a picture from elsewhere": (
        "<main>",
        '<main><img src="https://example.org/x.png" alt="x">',
        "refers to nothing outside itself",
    ),
    "a style from elsewhere": ("<style>", "<style>@import 'x.css';", "nothing outside itself"),
    "a script that asks": ("<script>", "<script>fetch('x');", "nothing outside itself"),
    "its end lost": ("</html>\n", "", "begins and ends as a page"),
    "a local time": ("<main>", "<main><p>2026-01-01 10:00:00</p>", "not UTC"),
    "an absolute path": ("<main>", "<main><p>see /home/user/data</p>", "absolute ones"),
    "ten megabytes": ("<main>", f"<main><p>{'x' * 10_000_000}</p>", "below the limit"),
}


def test_as_made_it_is_whole(bench):
    assert bench.broken("study_report") == {}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_page_is_named(bench, fault):
    old, new, told = FAULTS[fault]

    def spoil(path):
        text = path.read_text("utf-8")
        assert old in text, "the fault must be there to be found"
        path.write_text(text.replace(old, new), "utf-8")

    bench.spoil("study_report", file="study_report.html", change=spoil)
    assert told in bench.broken("study_report")["report_is_whole"]
