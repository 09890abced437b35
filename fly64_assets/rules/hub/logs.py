"""Checks of the logs: their lines, their times, and that each is the log of its step.

What the comparison's own log says about scores is in ``comparisons.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Finding, check, shown
from fly64_assets.rules.hub.crate_graph import Step, steps
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.texts import CAPTURED, is_moment

STARTED = re.compile(r'DEBUG Started execution of step "([^"]*)"\.')
FINISHED = re.compile(
    r'DEBUG Finished execution of step "([^"]*)" in '
    r"(?:\d+(?:\.\d+)?m?s|\d+m\d+s|\d+h\d+m)\."
)
MADE = re.compile(r"DEBUG Materialized value (.*)\.")


def own_logs(hub: Hub) -> Iterator[str]:
    for path in hub.files:
        if path.endswith(".log"):
            yield path


@check("logs.lines", "cli", "a log's lines begin with their UTC time, or with '| ' when captured")
def log_lines(hub: Hub) -> Iterator[Finding]:
    for path in own_logs(hub):
        lines = hub.text(path).split("\n")[:-1]
        for number, line in enumerate(lines, start=1):
            if line.startswith(CAPTURED):
                if number == 1:
                    yield Finding(path, "line 1", "is captured output; a log begins with a time")
            elif not (is_moment(line[:20]) and line[20:21] == " " and line[21:].strip()):
                yield Finding(path, f"line {number}", f"{shown(line)} begins with no UTC time")


@check("logs.order", "cli", "times in a log do not go back")
def log_order(hub: Hub) -> Iterator[Finding]:
    for path in own_logs(hub):
        before = ""
        for number, line in enumerate(hub.text(path).split("\n"), start=1):
            moment = line[:20]
            if not is_moment(moment):
                continue
            if moment < before:
                yield Finding(path, f"line {number}", f"{moment} stands after {before}")
            before = moment


@check(
    "logs.step",
    "cli",
    "a log is that of its step: it started, made its asset when the crate says so, and finished",
)
def log_step(hub: Hub) -> Iterator[Finding]:
    made = steps(hub)
    for name, (asset, step) in contract.STEPS.items():
        path = f"cli/{name}"
        if path in hub.files and contract.has(asset, arms(hub)):
            for reason in _step_problems(hub.lines(path), asset, step, made.get(asset, Step()).end):
                yield Finding(path, "", reason)


def _step_problems(lines: list[str], asset: str, step: str, end: str) -> Iterator[str]:
    """Yield what keeps a log from being the one of a step that made an asset at ``end``."""
    own = [(line[:20], line[21:]) for line in lines if not line.startswith(CAPTURED)]
    started = [(time, found[1]) for time, text in own if (found := STARTED.fullmatch(text))]
    finished = [(time, found[1]) for time, text in own if (found := FINISHED.fullmatch(text))]
    products = [found[1] for _, text in own if (found := MADE.fullmatch(text))]
    for what, events in (("started", started), ("finished", finished)):
        if not events:
            yield f"does not say that step {step!r} was {what}"
        for _, name in events:
            if name != step:
                yield f"says that step {name!r} was {what}, it is the log of {step!r}"
    if asset.replace("/", " ") not in products:
        yield f"does not say that {asset} was made"
    if started and finished and not started[-1][0] <= end <= finished[-1][0]:
        moments = f"from {started[-1][0]} to {finished[-1][0]}"
        yield f"is of a step that ran {moments}; by the crate {asset} was made at {end or '-'}"
