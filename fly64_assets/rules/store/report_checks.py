"""Check of the study report: it is whole, of this study, and needs nothing but itself.

That its numbers are those of the study's tables is the test's of the page that shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.files import equals
from fly64_assets.rules.store.common_checks import ABSOLUTE, ANY_TIME, UTC_TIME

FILE = "study_report.html"
LIMIT_BYTES = 10_000_000
BEGIN, END = "<!DOCTYPE html>\n", "</body>\n</html>\n"
CONDITION = re.compile(r'<article [^>]*data-condition="([^"]*)" data-state="([^"]*)"')
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
FOREIGN = re.compile(
    r"\b(?:src|href|srcset|action|formaction|poster|data|background)=[\"']?(?![\"'#])[^\s>]+"
    r"|@import|url\(\s*['\"]?(?!#)[^)]*|\bfetch\s*\(|XMLHttpRequest|WebSocket|sendBeacon"
)
"""A reference to anything outside the page, once its own pictures are taken out."""
UNREAD = re.compile(r"<(script|style)>.*?</\1>|<[^>]*>", re.DOTALL)
"""What no reader reads."""


def _few(wrong: Iterable[str]) -> str:
    found = list(wrong)
    return f"{len(found)}: {'; '.join(found[:3])}" if found else "none"


def _whole(run: CheckRun) -> Iterator[RuleOutcome]:
    path = run.path(FILE)
    size = path.stat().st_size
    yield RuleOutcome("size", "below the limit", f"< {LIMIT_BYTES}", size, size < LIMIT_BYTES)
    if size >= LIMIT_BYTES:
        return
    page = PICTURE.sub("", path.read_text("utf-8"))
    yield equals(
        "page", "begins and ends as a page", BEGIN + END, page[: len(BEGIN)] + page[-len(END) :]
    )
    states = dict(CONDITION.findall(page))
    expected = [f"{dose}|{view}" for dose in run.study.doses for view in run.study.views]
    yield equals("conditions", "every one of the study's", expected, list(states))
    told = run.provenance.settings["conditions"]
    seen = {key: standing["state"] for key, standing in told.items()}
    yield equals("conditions", "state as the planner saw it", seen, states)
    foreign = (found[:60] for found in FOREIGN.findall(page))
    yield equals("page", "refers to nothing outside itself", "none", _few(foreign))
    text = UNREAD.sub(" ", page)
    wrong = (time for time in ANY_TIME.findall(text) if not UTC_TIME.fullmatch(time))
    yield equals("times", "not UTC, YYYY-MM-DDTHH:MM:SSZ", "none", _few(wrong))
    yield equals("paths", "absolute ones", "none", _few(ABSOLUTE.findall(text)))


CHECKS = (
    Check(
        "report_is_whole",
        _whole,
        "Every condition of the study is in it as it stood, it ends as a page does, needs no other "
        "file and no network, is below 10 MB, its times are UTC and no path is absolute.",
    ),
)
