"""The servers behind the web UI of a study, kept alive: web server, daemon and code server.

Each is a process of its own, and one that ends is started again while the others go on, so that a
night outlives any of them. They end with this process, however it ends; a run that they have
started ends with it when it is told to stop, and goes on when it is killed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fly64_assets.pipeline.process_identity import (
    PROC,
    ProcessIdentity,
    descendants,
    end_descendants,
    sign_children,
)
from fly64_assets.runs.interrupts import ENDING
from fly64_assets.study.model import PROJECT_ROOT

WORKSPACE = PROJECT_ROOT / "workspace.yaml"
HOST = "127.0.0.1"
TICK_S = 0.5
SETTLED_S = 60.0
"""A server that has lived for so long has started; its next end is the first in a row."""
START_TRIES = 3
"""A server that has never settled and ended so often by itself cannot be started."""
LONGEST_PAUSE_S = 60.0
END_S = 15.0
"""Given to the servers and to runs in progress to end in order; then they are killed."""
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
"""Signals by which a process ends itself, rather than somebody else."""
PR_SET_PDEATHSIG = 1
QUIET = {"DAGSTER_IS_DEV_CLI": "1"}
"""As `dagster dev` sets it: who cannot reach the code server says so in a line, not in hundreds."""

Tell = Callable[[str], None]


def listening_at(port: int) -> socket.socket:
    """Return a socket that listens at a port of 127.0.0.1, or raise OSError."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def free_port_near(port: int) -> int:
    """Return a port that can be listened at now: one of the next twenty, else any."""
    for candidate in [*range(max(port + 1, 1024), min(port + 21, 65536)), 0]:
        with suppress(OSError), listening_at(candidate) as probe:
            return probe.getsockname()[1]
    return 0


@dataclass
class Server:
    """One of the servers, and how it has fared.

    Attributes:
        name: for people.
        command: that starts it.
        ready: whether what it needs is there, so that it can be started.
        descriptors: of this process that it inherits.
        works_through_child: a server that answers by a process of its own, and is worth nothing
            without that.
    """

    name: str
    command: list[str]
    ready: Callable[[], bool] = lambda: True
    descriptors: tuple[int, ...] = ()
    works_through_child: bool = False
    process: subprocess.Popen | None = None
    child: int | None = None
    began: float = 0.0
    due: float = 0.0
    ends: int = 0
    failures: int = 0
    settled: bool = False
    next_look: float = field(default=0.0, repr=False)


class Supervisor:
    """Starts servers, starts again what ends, and ends all of them.

    Args:
        servers: in the order of their start.
        tell: is given a line for people.
    """

    def __init__(self, servers: Iterable[Server], tell: Tell) -> None:
        self._servers, self._tell = list(servers), tell
        self._signals: list[int] = []
        self._libc = ctypes.CDLL(None)  # looked up here: not between fork and exec

    def run(self) -> bool:
        """Keep the servers alive until a signal to end comes.

        Returns:
            False when one of them cannot be started at all, which has been told.
        """
        mine = sign_children()
        with self._heeding():
            try:
                while not self._signals:
                    for server in self._servers:
                        self._look_after(server)
                        if server.failures >= START_TRIES and not server.settled:
                            self._tell(
                                f"error: the {server.name} cannot be started: it has ended "
                                f"{server.failures} times; what it said last stands above"
                            )
                            return False
                    time.sleep(TICK_S)
                return True
            finally:
                self._end(mine)

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Note signals to end; a hang-up only where it is not ignored (``nohup``)."""
        before = {number: signal.getsignal(number) for number in ENDING}
        for number in ENDING:
            if number is not signal.SIGHUP or before[number] is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _look_after(self, server: Server) -> None:
        now = time.monotonic()
        if server.process is None:
            if now >= server.due and server.ready():
                self._start(server)
            return
        code = server.process.poll()
        if code is not None:
            self._ended(server, code)
            return
        if server.ends and now - server.began >= SETTLED_S:
            server.ends = server.failures = 0
        server.settled = server.settled or now - server.began >= SETTLED_S
        if server.works_through_child and now >= server.next_look:
            server.next_look = now + 2.0
            self._look_at_child(server)

    def _start(self, server: Server) -> None:
        parent = os.getpid()

        def end_with_parent() -> None:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        # A session of its own: ^C at the terminal is for this process, which ends the others.
        server.process = subprocess.Popen(
            server.command,
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            pass_fds=server.descriptors,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        server.began, server.child = time.monotonic(), None

    def _ended(self, server: Server, code: int) -> None:
        """Say so and set when it is started again, later each time that it ends in a row."""
        server.process = None
        if time.monotonic() - server.began >= SETTLED_S:
            server.ends = server.failures = 0
        server.ends += 1
        server.failures += code > 0 or -code in CRASHES
        pause = min(2.0 ** (server.ends - 2), LONGEST_PAUSE_S) if server.ends > 1 else 0.0
        server.due = time.monotonic() + pause
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        when = f"in {pause:.0f} s" if pause else "now"
        self._tell(f"the {server.name} has ended {how}; it is started again {when}")

    def _look_at_child(self, server: Server) -> None:
        assert server.process is not None
        children = living_children(server.process.pid)
        if children:
            server.child = max(children)
        elif server.child is not None:
            self._tell(f"the {server.name} has lost process {server.child}, which did its work")
            server.process.kill()

    def _end(self, mine: ProcessIdentity) -> None:
        """End the servers and what they have started, in order first; a second signal hurries."""
        started = descendants(mine)
        runs = [one for one in map(ProcessIdentity.of, started) if one is not None]
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while descendants(mine) and time.monotonic() < deadline and len(self._signals) < 2:
            time.sleep(0.1)
        for one in (mine, *runs):  # what a run starts carries the run's mark
            end_descendants(one)
        for server in self._servers:
            if server.process is not None:
                server.process.wait()


def living_children(pid: int) -> list[int]:
    """Numbers of the processes that a process has started and that have not ended."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state not in "ZX":
                found.append(int(folder.name))
    return found


def servers_of(
    folder: Path,
    listener: socket.socket,
    origins: Iterable[str],
    results: Path,
    any_user: bool = False,
) -> list[Server]:
    """Return the servers of one study.

    Args:
        folder: for the socket at which the code server answers, and what points at it.
        listener: listens at the web server's port.
        origins: of the web UI (`request_guard.origins_at`).
        results: the study's folder of results.
        any_user: other users of this machine are answered, too: a proxy is often another one.
    """
    code_socket, workspace = folder / "code", folder / "workspace.yaml"
    (location,) = yaml.safe_load(WORKSPACE.read_text("utf-8"))["load_from"]
    module, name = (location["python_module"][key] for key in ("module_name", "location_name"))
    server = {"location_name": name, "socket": str(code_socket), "host": "localhost"}
    target = {"grpc_server": {**server, "additional_metadata": {"module_name": module}}}
    workspace.write_text(yaml.safe_dump({"load_from": [target]}), "utf-8")
    python = [sys.executable, "-m"]
    quiet = ["--log-level", "warning"]
    code = ["dagster", "code-server", "start", "-m", module, "--location-name", name, *quiet]
    web = ["--listener", str(listener.fileno()), "--workspace", str(workspace)]
    web += ["--code-server", str(code_socket), "--results", str(results)]
    web += [part for one in sorted(origins) for part in ("--origin", one)]
    web += ["--any-user"] if any_user else []
    return [
        Server(
            "code server",
            [*python, *code, "--socket", str(code_socket)],
            works_through_child=True,
        ),
        Server(
            "web server",
            [*python, "fly64_assets.runs.servers.web_server", *web],
            descriptors=(listener.fileno(),),
        ),
        Server(
            "daemon",
            [*python, "dagster._daemon", "run", "-w", str(workspace)],
            ready=lambda: answers(code_socket),
        ),
    ]


def answers(path: Path) -> bool:
    """Whether somebody listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def serve(
    listener: socket.socket,
    origins: Iterable[str],
    results: Path,
    tell: Tell,
    any_user: bool = False,
) -> bool:
    """Keep the servers of a study alive until told to end; arguments as of `servers_of`.

    Returns:
        False when one of them cannot be started, which has been told.
    """
    folder = Path(tempfile.mkdtemp(prefix="fly64-ui-"))  # of this user alone
    try:
        return Supervisor(servers_of(folder, listener, origins, results, any_user), tell).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
