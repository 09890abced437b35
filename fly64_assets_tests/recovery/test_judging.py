"""The judge and the table see what is wrong: standings made by hand, each with one thing wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fly64_assets_tests.recovery.scenes import BY_PHASE, place_of
from fly64_assets_tests.recovery.site import Made, Site, Standing
from fly64_assets_tests.recovery.table import render
from fly64_assets_tests.recovery.trial import CLOSING, Bench, Injection, Record, judge

SCENE = BY_PHASE["D"]
TARGET, INPUT = place_of(("train", "overlap_view")), place_of(("train", "dataset"))
OTHER = place_of(("test", "overlap_view"))
PLACES = (INPUT, TARGET, OTHER)
MADE = {place: Made(number, "earlier", f"data {number}", {}) for number, place in enumerate(PLACES)}
BEFORE = Standing(MADE, frozenset(PLACES), frozenset(PLACES), {"earlier": "SUCCESS"})
INTERRUPTED = replace(BEFORE, whole=frozenset({INPUT, OTHER}), fresh=frozenset({INPUT, OTHER}))
KNOWN = BEFORE.versions()
ANEW = Made(9, "new", KNOWN[TARGET], {})


def judged(after: Standing, **injection) -> tuple[list[str], list[str]]:
    bench = Bench(Site(Path("study.yaml"), Path("results")), KNOWN, Path("log"))
    return judge(bench, SCENE, BEFORE, after, Injection(True, **injection))


def test_an_interrupted_phase_is_no_loss_and_no_claim():
    assert judged(INTERRUPTED, exits=[1]) == ([], [])


def test_a_phase_that_was_made_is_none_either():
    made = {**MADE, TARGET: ANEW}
    after = replace(BEFORE, made=made, runs={**BEFORE.runs, "new": "SUCCESS"})
    assert judged(after, exits=[0]) == ([], [])


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (replace(INTERRUPTED, whole=frozenset({INPUT}), fresh=frozenset({INPUT})), "not whole"),
        (replace(INTERRUPTED, fresh=frozenset({INPUT})), "not fresh"),
        (replace(INTERRUPTED, made={**MADE, OTHER: Made(9, "new", "x", {})}), "other data"),
    ],
)
def test_a_loss_is_seen(after, text):
    lost, _ = judged(after, exits=[1])
    assert lost and all(str(OTHER) in one for one in lost) and text in lost[0]


@pytest.mark.parametrize(
    ("after", "injection", "text"),
    [
        (replace(INTERRUPTED, fresh=frozenset(PLACES)), {"exits": [1]}, "called fresh"),
        (INTERRUPTED, {"exits": [1, 0]}, "ended with 0"),
        (replace(INTERRUPTED, made={**MADE, TARGET: ANEW}), {"exits": [1]}, "was recorded"),
        (replace(INTERRUPTED, runs={"new": "SUCCESS"}), {"exits": [1]}, "recorded as successful"),
        (
            replace(BEFORE, made={**MADE, TARGET: ANEW}),
            {"exits": [0], "must_refuse": True},
            "from a file that is not the one recorded",
        ),
        (
            replace(BEFORE, made={**MADE, TARGET: replace(ANEW, data_version="other")}),
            {"exits": [0]},
            "other data",
        ),
    ],
)
def test_a_false_claim_is_seen(after, injection, text):
    _, false = judged(after, **injection)
    assert any(text in one for one in false), false


def test_the_table_counts_what_a_fault_that_missed_has_done_all_the_same():
    hit = Record("kill_run", "C", 1, True, [], [], True, 5.0, "")
    missed = replace(hit, injected=False, lost=["something"], seconds=500.0)
    late = replace(hit, phase="D", recovered=False, seconds=7.0)
    closing = replace(hit, phase=CLOSING, injected=False)
    lines = render([hit, missed, late, closing]).splitlines()
    assert "| `kill_run` | 2 | 1 | 0 | 1 | 6 | 7 |" in lines
    assert "| `kill_run` | 1 of 1, 5 s | 0 of 1, 7 s | - | - | - |" in lines
    assert lines[-1].startswith("1 further faults") and "1 of 1 ended with exit code 0" in lines[-1]
