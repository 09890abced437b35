"""What a terminal shows at the end of a run."""

from __future__ import annotations

import io

from rich.console import Console

from fly64_assets.cli.display import SCORE_COLUMNS, score_table
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import SPLITS

LONGEST = "PtychoPINN-gs1"


def test_the_name_of_an_arm_is_whole_on_a_narrow_terminal():
    scores = {metric: {} for metric, _ in SCORE_COLUMNS}
    for metric, column in SCORE_COLUMNS:
        scores[metric][column] = 0.5
    summary = {"jobs": [{"split": split, "metrics": {LONGEST: scores}} for split in SPLITS]}
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(score_table(summary, Condition(1000, "dense")))
    shown = captured.get()
    assert shown.count(LONGEST) == len(SPLITS)
    assert max(map(len, shown.splitlines())) <= 80
