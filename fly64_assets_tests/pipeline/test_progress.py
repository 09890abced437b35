"""How far a computation is, in words: throughput and time left, by a clock that the test holds."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fly64_assets.cli.live_line import LiveLine
from fly64_assets.pipeline.progress import INTERVAL_S, Speed, reporter
from fly64_assets.solvers.interface import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told():
    """Reports at given seconds, and the lines that they make."""

    def tell(*reports: tuple[float, Progress], patterns: int | None = None) -> list[str]:
        clock, lines = Clock(), []
        callback = reporter("PtyChi", lines.append, patterns_in=lambda _: patterns, clock=clock)
        for seconds, progress in reports:
            clock.now = 100.0 + seconds
            callback(progress)
        return lines

    return tell


def _epoch(done: int, total: int = 10, **figures: float) -> Progress:
    return Progress(done, total, "epochs", figures)


def test_time_left_is_what_remains_at_the_speed_of_late(told):
    lines = told((7, _epoch(2, loss=0.25)), (17, _epoch(4, loss=0.125)), patterns=1000)
    # Two epochs took ten seconds; the seven before the first report are imports.
    assert lines == [
        "PtyChi: epochs 2/10  loss 0.25",
        "PtyChi: epochs 4/10  loss 0.125  200 patterns/s  30 s left",
    ]


def test_a_computation_that_goes_on_from_a_checkpoint_is_not_thought_fast(told):
    lines = told((1, _epoch(90, 100)), (11, _epoch(91, 100)))
    assert lines[1] == "PtyChi: epochs 91/100  0.1 epochs/s  1 min 30 s left"


def test_a_solver_s_own_throughput_goes_before_that_between_reports(told):
    lines = told((0, _epoch(1, patterns_per_s=812.4)), (5, _epoch(2, patterns_per_s=800.0)))
    assert lines == [
        "PtyChi: epochs 1/10  812 patterns/s",
        "PtyChi: epochs 2/10  800 patterns/s  40 s left",
    ]


def test_a_solver_that_tells_its_speed_has_a_time_left_at_once(told):
    lines = told((9, _epoch(2, loss=0.25, epochs_per_s=0.5)), patterns=290)
    assert lines == ["PtyChi: epochs 2/10  loss 0.25  145 patterns/s  16 s left"]


def test_lines_are_rare_and_the_last_always_comes(told):
    reports = [(0.1 * number, _epoch(number, 50)) for number in range(1, 51)]
    lines = told(*reports)
    assert len(lines) == 2 + int(0.1 * 48 / INTERVAL_S)
    assert lines[-1] == "PtyChi: epochs 50/50  10 epochs/s"
    assert "left" in lines[1] and "left" not in lines[-1]


def test_a_preparation_is_told_and_its_speed_is_not_that_of_what_follows(told):
    steps = [Progress(done, 12, "step", {"estimate": 1 + done // 7, "of": 2}) for done in (6, 12)]
    lines = told((0, steps[0]), (3, steps[1]), (63, _epoch(20, 40)), (123, _epoch(21, 40)))
    assert lines == [
        "PtyChi: step 6/12  estimate 1  of 2",
        "PtyChi: step 12/12  estimate 2  of 2  2 step/s",
        "PtyChi: epochs 20/40",
        "PtyChi: epochs 21/40  0.0167 epochs/s  19 min 00 s left",
    ]


def test_large_numbers_are_readable(told):
    lines = told(
        (0, Progress(1000, 10304, "exposures", {})),
        (10, Progress(3500, 10304, "exposures", {})),
        patterns=1,
    )
    assert lines[1] == "PtyChi: exposures 3,500/10,304  250 patterns/s  27 s left"


def test_speed_forgets_what_is_long_ago():
    speed = Speed()
    for second in range(101):
        speed.add(float(second), second * 100)
    for second in range(101, 261):
        latest = speed.add(float(second), 10_000 + (second - 100) * 2)
    assert latest == pytest.approx(2.0)


def test_speed_begins_anew_with_another_part_and_is_unknown_while_nothing_moves():
    speed = Speed()
    assert speed.add(0.0, 5) is None
    assert speed.add(1.0, 5) is None
    assert speed.add(2.0, 9) == 2.0
    assert speed.add(3.0, 1) is None
    assert speed.add(4.0, 2) == 1.0


def _rendered(line: LiveLine) -> str:
    console = Console(width=110, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(line)
    return captured.get().strip()


def test_the_live_line_tells_every_step_at_work_and_for_how_long():
    clock = Clock()
    line = LiveLine(clock)
    clock.now += 2
    assert _rendered(line) == "starting 2.0 s"
    line.started("pinn_model")
    clock.now += 65
    assert _rendered(line) == "pinn_model 1 min 05 s"
    line.started("train_ptychi_reconstruction")
    line.said("train_ptychi_reconstruction", "PtyChi train: epochs 2/4  [bold] is no markup\nmore")
    clock.now += 3
    assert _rendered(line) == (
        "pinn_model 1 min 08 s | train_ptychi_reconstruction 3.0 s: PtyChi train: epochs 2/4  "
        "[bold] is no markup"
    )
    line.ended("pinn_model")
    line.ended("never_started")
    assert _rendered(line).startswith("train_ptychi_reconstruction 3.0 s")
    line.ended("train_ptychi_reconstruction")
    clock.now += 1
    assert _rendered(line) == "starting 1.0 s"


def test_the_live_line_keeps_to_one_line():
    line = LiveLine(Clock())
    line.said("pinn_model", "x" * 300)
    assert len(_rendered(line).splitlines()) == 1


def test_rich_asks_the_live_line_anew_at_every_refresh():
    clock = Clock()
    line = LiveLine(clock)
    line.started("pinn_model")
    line.said("pinn_model", "y" * 200)
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    spinner = console.status(line).renderable
    for seconds in ("0.0 s", "7.0 s"):
        with console.capture() as captured:
            console.print(spinner)
        (shown,) = captured.get().splitlines()
        assert f"pinn_model {seconds}: yyy" in shown
        clock.now += 7
