"""One signal to end stops a whole command: at chosen moments, and at random ones."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from dagster import DagsterRunStatus
from dagster._utils.interrupts import capture_interrupts

from fly64_assets.runs import interrupts
from fly64_assets_tests.conftest import TINY
from fly64_assets_tests.recovery.daemon_kinds import processes_of
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.servers import wait_for

ENDS_S = 2.0
"""So long a program may take to end after its last line."""
AT_A_START = """
import os, signal, sys
from multiprocessing.forkserver import ForkServer

moment = sys.argv.pop(1)
ask = ForkServer.connect_to_new_process

def stop():
    os.killpg(0, signal.SIGINT)  # as a terminal does

def connect(self, descriptors):
    if moment == "asked":
        stop()
    self.ensure_running()
    if moment == "loads":
        stop()
    ends = ask(self, descriptors)
    if moment == "forks":
        stop()
    return ends

ForkServer.connect_to_new_process = connect
from fly64_assets.cli import main
main(prog_name="fly64")
"""


@pytest.fixture
def handlers():
    """What signals do in the tests' own process is put back."""
    before = {number: signal.getsignal(number) for number in interrupts.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def site(tmp_path) -> Site:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(TINY), "utf-8")
    (tmp_path / "results").mkdir()
    return Site(file, tmp_path / "results")


def start(site: Site, command: list[str]) -> tuple[subprocess.Popen, Path]:
    log = site.results.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=site.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # A shell's background job and nohup, in which pytest itself may run, ignore some.
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in interrupts.ENDING],
        )
    return process, log


def assert_nothing_is_left(site: Site, log: Path, asked: float) -> None:
    """No process, no run in progress, none that was begun afterwards, and one line that says so."""
    assert log.read_text("utf-8").splitlines()[-1] == interrupts.TOLD
    wait_for("the processes to end", lambda: not processes_of(site), 5)
    with site.opened() as (_, instance):
        records = instance.get_run_records()
    assert all(record.dagster_run.is_finished for record in records)
    late = [one for one in records if one.create_timestamp.timestamp() > asked + 0.2]
    assert not late


def was_too_early_or_too_late(code: int, number: int, log: Path, asked: float) -> bool:
    """Whether a signal came before the program listened, or after its last line."""
    said = log.read_text("utf-8")
    loading = not said or (said.endswith("KeyboardInterrupt\n") and "in heeded" not in said)
    return (code == -number and loading) or (
        code == 0 and bool(said) and time.time() - asked < ENDS_S
    )


def swallow(sent: signal.Signals) -> None:
    try:
        os.kill(os.getpid(), sent)
        time.sleep(1)
    except BaseException:
        return


@pytest.mark.parametrize("number", interrupts.ENDING)
def test_a_signal_that_code_swallows_still_ends_the_program(handlers, capsys, number):
    with pytest.raises(SystemExit) as ended, interrupts.heeded():
        swallow(number)
        sys.exit(0)
    assert ended.value.code == 130 and capsys.readouterr().err == f"{interrupts.TOLD}\n"
    os.kill(os.getpid(), number)  # a second one, while the program ends, does not disturb it


def test_what_dagster_takes_for_itself_is_counted(handlers, capsys):
    with pytest.raises(SystemExit) as ended, interrupts.heeded():
        with capture_interrupts():
            for number in interrupts.ENDING:
                os.kill(os.getpid(), number)
        assert interrupts.received() == 3
        interrupts.check()
    assert ended.value.code == 130 and capsys.readouterr().err == f"{interrupts.TOLD}\n"


def test_without_a_signal_nothing_is_changed(handlers):
    before = [signal.getsignal(number) for number in interrupts.ENDING]
    with interrupts.heeded():
        interrupts.check()
    assert [signal.getsignal(number) for number in interrupts.ENDING] == before
    with pytest.raises(ValueError), interrupts.heeded():
        raise ValueError
    assert [signal.getsignal(number) for number in interrupts.ENDING] == before


def test_a_hang_up_that_is_ignored_stays_so(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with interrupts.heeded():
        os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupts.received()


@pytest.mark.parametrize(
    "moment",
    [
        "loads",
        pytest.param("asked", marks=pytest.mark.long),
        pytest.param("forks", marks=pytest.mark.long),
    ],
)
def test_control_c_while_a_steps_process_is_started(site, moment):
    command = site.command("run", "--all")
    asked = time.time()
    process, log = start(site, [sys.executable, "-c", AT_A_START, moment, *command[3:]])
    assert process.wait(120) == 130, log.read_text("utf-8")
    assert_nothing_is_left(site, log, time.time())
    with site.opened() as (_, instance):
        (run,) = instance.get_runs()
        assert run.status is DagsterRunStatus.FAILURE and run.job_name == "prepare_specimen"
        assert not list(instance.get_asset_keys()) or not site.standing().made
    assert time.time() - asked < 120


@pytest.mark.long
def test_signals_at_random_moments_of_a_run(site, finished):
    """Each stops it, the next run goes on, and in the end all is what it is without them."""
    draw, code, sent = random.Random(7), None, 0
    while code != 0:
        process, log = start(site, site.command("run", "--all"))
        limit = draw.choice([3, 10, 40]) if sent < 12 else 900
        try:
            code = process.wait(draw.uniform(2.0, limit))
            assert code == 0, log.read_text("utf-8")
        except subprocess.TimeoutExpired:
            number, send = draw.choice(interrupts.ENDING), draw.choice([os.kill, os.killpg])
            asked, sent = time.time(), sent + 1
            for _ in range(draw.choice([1, 1, 2])):
                if process.poll() is None:
                    send(process.pid, number)
                time.sleep(draw.choice([0.0, 0.3]))
            code = process.wait(120)
            if was_too_early_or_too_late(code, number, log, asked):
                continue
            assert code == 130, log.read_text("utf-8")
            assert_nothing_is_left(site, log, asked)
    assert sent >= 5
    undisturbed = Site(finished.study_file, finished.results).standing()
    now = site.standing()
    assert now.fresh == now.whole == set(now.made) and now.versions() == undisturbed.versions()


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        ("checks", "--rerun"),
        ("report",),
        ("export", "--dose", "1000", "--view", "dense", "--to", "hub"),
        ("verify", "hub"),
        ("plan",),
        ("status",),
    ],
    ids=lambda command: command[0],
)
def test_signals_at_random_moments_of_the_other_commands(finished, tmp_path, command, monkeypatch):
    site = Site(finished.study_file, finished.copy_to(tmp_path / "results").results)
    if command[0] == "report":  # so that there is something to make
        (site.store / "study/study_report.html").unlink()
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    if command[0] == "verify":
        export = site.command("export", "--dose", "1000", "--view", "dense", "--to", "hub")
        subprocess.run(export, env=site.environment(), check=True, stdout=subprocess.DEVNULL)
    whole = site.command(*command)
    if command[0] == "verify":
        whole = whole[:-2]
    began = time.monotonic()
    draw, stopped = random.Random(3), 0
    for _ in range(6):
        process, log = start(site, whole)
        try:
            process.wait(draw.uniform(0.5, 6.0))
            break
        except subprocess.TimeoutExpired:
            number, asked = draw.choice(interrupts.ENDING), time.time()
            os.killpg(process.pid, number)
            code = process.wait(60)
            if was_too_early_or_too_late(code, number, log, asked):
                continue
            assert code == 130, log.read_text("utf-8")
            assert_nothing_is_left(site, log, asked)
            stopped += 1
    assert time.monotonic() - began < 300
    if command[0] == "export":
        assert not any(path.name != "hub" for path in folder.iterdir())
    process, log = start(site, whole)
    assert process.wait(300) == 0, log.read_text("utf-8")
