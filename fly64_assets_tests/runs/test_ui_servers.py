"""`fly64 ui` and its servers: ports, signals, what is killed and comes back, what cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorType, TickStatus

from fly64_assets.cli import main
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.pipeline.process_identity import PROC
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.runs.servers.supervisor import free_port_near, listening_at, living_children
from fly64_assets.study.model import load_study
from fly64_assets_tests.conftest import fly64
from fly64_assets_tests.servers import Ui, free_port, ui_of, wait_for

END_S = 30
"""Within which one signal ends everything, on a busy machine."""


def processes_of(results: Path) -> dict[int, str]:
    """Number -> command line, of the living processes that work on the results."""
    mark = f"{RESULTS_VARIABLE}={results}".encode()
    found = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if state in "ZX" or mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            found[int(folder.name)] = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            )
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found


@pytest.mark.parametrize("port", ["0", "-1", "65536", "x", "3000.5"])
def test_a_port_that_is_none(port):
    done = CliRunner().invoke(main, ["ui", "--port", port])
    assert done.exit_code == 2 and "--port" in done.output


@pytest.mark.parametrize("name", ["", "lab/x", "lab:70000"])
def test_a_host_name_that_is_none(write_study, name):
    done = CliRunner().invoke(main, ["ui", "--study", str(write_study()), "--host-name", name])
    assert done.exit_code == 2 and done.output.startswith("error: --host-name: ")
    assert done.output.count("\n") == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_named_and_a_free_one_offered(write_study, tmp_path, address):
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port, results = other.getsockname()[1], tmp_path / "results"
        done = fly64("ui", "--study", write_study(), "--port", str(port), results=results)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: port {port} cannot be had: ")
    offered = int(line.partition("--port ")[2].partition("`")[0])
    assert offered != port
    listening_at(offered).close()
    assert not results.exists(), "nothing else was begun"


def test_a_second_web_ui_of_a_study_is_refused(write_study, tmp_path):
    file, results = write_study(), tmp_path / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(results))
        with StudyContext.load(file).store.lock("ui", "the first"):
            done = fly64("ui", "--study", file, "--port", str(free_port()), results=results)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"error: study tiny has a web UI already: process {os.getpid()}\n"


def test_a_port_without_the_right_to_it(write_study, tmp_path):
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if not limit or os.geteuid():
        pytest.skip("any port may be had here, or no right can be given up")
    script = (
        "from fly64_assets.runs.servers.supervisor import listening_at, free_port_near\n"
        "import os; os.setuid(65534)\n"
        "print(free_port_near(70) >= 1024)\n"
        "try: listening_at(70)\n"
        "except PermissionError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "refused"], done.stderr


def test_a_port_is_had_from_the_check_on():
    """There is no moment between finding it free and listening."""
    with listening_at(free_port_near(3000)) as mine:
        with pytest.raises(OSError, match="in use"):
            listening_at(mine.getsockname()[1])
        socket.create_connection(mine.getsockname()).close()


PRINT_SIGNALS = """
import signal, sys
from fly64_assets.runs.interrupts import reset_inherited
names = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGCHLD", "SIGHUP")
def usual():
    here = [signal.getsignal(getattr(signal, one)) is not signal.SIG_IGN for one in names]
    return [*here, not signal.pthread_sigmask(signal.SIG_BLOCK, ())]
before = usual()
reset_inherited()
print(before, usual())
"""


def test_inherited_signals_do_what_they_usually_do():
    def meddle() -> None:
        for number in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGCHLD", "SIGHUP"):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))

    command = [sys.executable, "-c", PRINT_SIGNALS]
    done = subprocess.run(command, preexec_fn=meddle, capture_output=True, text=True, timeout=60)
    before, after = [False] * 6, [True] * 4 + [False, True]
    assert done.stdout.strip() == f"{before} {after}", done.stderr  # SIGHUP: that is nohup


SUPERVISE = """
import sys
from fly64_assets.runs.servers.supervisor import Server, Supervisor
servers = [Server(line, ["sh", "-c", line]) for line in sys.argv[1:]]
sys.exit(0 if Supervisor(servers, lambda line: print(line, flush=True)).run() else 1)
"""


def supervise(*lines: str) -> subprocess.Popen:
    """A supervisor of shell commands, which tells on its standard output."""
    command = [sys.executable, "-c", SUPERVISE, *lines]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def two_children(pid: int) -> list[int]:
    found = living_children(pid)
    return found if len(found) == 2 else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_what_ends_is_started_again_and_all_end_together(number):
    process = supervise("exec sleep 1001", "exec sleep 1002")
    try:
        both = wait_for("both", partial(two_children, process.pid), 20)
        os.kill(both[0], signal.SIGKILL)
        assert "has ended by signal 9; it is started again now" in process.stdout.readline()
        now = wait_for("another one", partial(two_children, process.pid), 20)
        assert both[0] not in now and both[1] in now
        process.send_signal(number)
        assert process.wait(20) == (0 if number != signal.SIGKILL else -number)
        wait_for("nothing left", lambda: not any((PROC / str(pid)).is_dir() for pid in now), 20)
    finally:
        process.kill()
        process.wait()


def test_what_cannot_start_ends_all():
    process = supervise("exec sleep 1003", "exit 3")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if "has ended with exit code 3" in line]
    assert [line.split(" again ")[1] for line in lines] == ["now", "in 1 s", "in 2 s"]
    assert "error: the exit 3 cannot be started: it has ended 3 times" in said


def in_background(arguments: list[str], results: Path) -> subprocess.Popen:
    """A command as a script starts it, with ``&``: its SIGINT is ignored then."""
    line = '"$@" & echo $!; wait'
    command = [sys.executable, "-m", "fly64_assets.cli", *map(str, arguments)]
    results.mkdir(parents=True, exist_ok=True)
    with (results / "console.txt").open("ab") as log:
        return subprocess.Popen(
            ["sh", "-c", line, "sh", *command],
            env={**os.environ, RESULTS_VARIABLE: str(results)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def ends(pid: int, number: signal.Signals, results: Path) -> float:
    """Send one signal and return after how many seconds nothing is left."""
    began = time.monotonic()
    os.kill(pid, number)
    wait_for(f"{number.name} to end all", lambda: not processes_of(results), END_S, 0.2)
    return time.monotonic() - began


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", ["ui", "run"])
def test_one_signal_ends_what_a_script_started(write_study, tmp_path, what, number):
    results, port = tmp_path / "results", free_port()
    more = ["--port", port] if what == "ui" else ["--all"]
    shell = in_background([what, "--study", write_study(), *more], results)
    try:
        pid = int(shell.stdout.readline())
        if what == "ui":
            ui = Ui(port, shell)
            wait_for("the UI", ui.is_ready, 180)
        else:
            told = results / "tiny" / "store" / "data"
            wait_for("the first result", told.is_dir, 180)
        assert ends(pid, number, results) < END_S
        shell.wait(10)
    finally:
        for pid in processes_of(results):
            os.kill(pid, signal.SIGKILL)
        shell.kill()
        shell.wait()


def answered(ui: Ui, path: str = "/server_info") -> bool:
    with urllib.request.urlopen(f"{ui.origin}{path}", timeout=60) as answer:
        return answer.status == 200


def latest_tick(instance: DagsterInstance) -> float:
    """When a sensor was last asked with success, in seconds since the epoch; 0: never."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    ticks = [
        tick
        for state in states
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    ]
    good = (TickStatus.SKIPPED, TickStatus.SUCCESS)
    return max((tick.timestamp for tick in ticks if tick.status in good), default=0.0)


def child_of(ui: Ui, part: str) -> int | None:
    """The living server of `fly64 ui` whose command line holds a word."""
    for pid in living_children(ui.process.pid):
        if part in (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode():
            return pid
    return None


SERVERS = {
    "web server": "web_server",
    "daemon": "_daemon",
    "code server": "code-server start",
}


@pytest.mark.long
def test_each_server_comes_back_and_all_end_with_their_supervisor(write_study, tmp_path):
    file, results = write_study(), tmp_path / "results"

    def recovered(ui: Ui, since: float, instance: DagsterInstance) -> Callable[[], bool]:
        def look() -> bool:
            return answered(ui) and ui.is_ready() and latest_tick(instance) > since

        return look

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(results))
        with ui_of(file, results) as ui, read_only_instance(load_study(file)) as instance:
            others = {part: child_of(ui, part) for part in SERVERS.values()}
            for name, part in SERVERS.items():
                killed = child_of(ui, part)
                os.kill(killed, signal.SIGKILL)
                at = time.time()
                new = wait_for(f"another {name}", lambda p=part: child_of(ui, p), 30)
                assert new != killed
                wait_for(f"a tick after the {name}'s end", recovered(ui, at, instance), 120)
                assert all(child_of(ui, one) == others[one] for one in others if one != part)
                others[part] = new
            (worker,) = living_children(child_of(ui, "code-server start"))
            os.kill(worker, signal.SIGKILL)
            at = time.time()
            wait_for(
                "another code server",
                lambda: child_of(ui, "code-server start") != others["code-server start"],
                30,
            )
            wait_for("a tick after its worker's end", recovered(ui, at, instance), 120)
            said = (results / "ui.log").read_text("utf-8")
            assert all(f"the {name} has ended by signal 9" in said for name in SERVERS)
            assert said.count("Traceback") < 50, "a few at each end, not one at every look"
            os.kill(ui.process.pid, signal.SIGKILL)
            wait_for("all servers to end", lambda: not processes_of(results), END_S)


@pytest.mark.long
def test_a_server_that_cannot_start_is_given_up(write_study, tmp_path):
    file, results = write_study(), tmp_path / "results"
    runs = results / "tiny/dagster/history/runs.db"
    runs.parent.mkdir(parents=True)
    runs.write_bytes(b"no database at all" * 100)
    done = fly64("ui", "--study", file, "--port", str(free_port()), results=results)
    assert done.returncode == 1
    assert "file is not a database" in done.stderr
    assert "cannot be started: it has ended 3 times" in done.stderr.splitlines()[-1]
    assert not processes_of(results)
