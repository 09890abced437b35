"""Servers that steps are forked from: each has loaded what its steps need, once for a run.

Loading TensorFlow takes 5 s of CPU time, pty-chi with torch 8 s, and numpy, pandas, SciPy and
matplotlib 3 s; a condition has eight steps that need one of the first two and thirty that need
some of the others. Python's fork server (``multiprocessing.forkserver``) loads the same modules for
all processes; but TensorFlow and torch must not meet in one process, and what reads tables and
draws has one thread. So each kind has a server of its own, and there is one for all other steps.
Nothing is computed in a server, because threads and a GPU do not survive a fork: it imports, and
that is all.

What does not belong here: how a library is set up (``solvers/``).
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import connection, forkserver, popen_forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import read_signed

from dagster import DagsterExecutionInterruptedError

from fly64_assets.pipeline.accelerator import hidden_from
from fly64_assets.pipeline.check_frame import check_step
from fly64_assets.pipeline.dagster_internals import multiprocess
from fly64_assets.pipeline.process import thread_limits
from fly64_assets.runs import interrupts
from fly64_assets.study.model import Study
from fly64_assets.study.products import PRODUCTS, Product

LIGHT = "light"
"""The server of all steps that have none of their own."""
TABLES = "tables"
"""The server of steps that compute with numpy and tables, and draw."""
LOADERS = {
    "tensorflow": "fly64_assets.runs.preload_tensorflow",
    "torch": "fly64_assets.runs.preload_torch",
    TABLES: "fly64_assets.runs.preload_tables",
}
"""Server -> the module whose import loads what its steps need."""
LEAST_STEPS = {TABLES: 4}
"""Of a run, from which on it is worth a server."""


def _steps() -> Iterator[tuple[str, str]]:
    for item in PRODUCTS:
        # A dose's are simulated with the study's threads.
        if item.per != "dose":
            yield "_".join(item.key), _server_of(item)
        yield check_step(item), TABLES


def _server_of(product: Product) -> str:
    return next((name for name in LOADERS if name in product.libraries), TABLES)


SERVERS = dict(_steps())
"""Step -> the server that it is forked from, where that is worth it."""


class _Server(forkserver.ForkServer):
    """A fork server with modules and environment variables of its own, which no ^C ends.

    One that ends while a step's process is asked of it takes that step with it.
    """

    def __init__(self, modules: list[str], environment: Mapping[str, str]) -> None:
        super().__init__()
        self.set_forkserver_preload(["fly64_assets.runs.preload_server", *modules])
        self.environment = dict(environment)

    def ensure_running(self) -> None:
        resource_tracker.ensure_running()  # which would let signals through that are held back
        with _environment(self.environment), interrupts.held_back():
            super().ensure_running()

    def read_signed(self, descriptor: int) -> int:
        """Return the number of the process that was asked for, once the server has loaded.

        Raises:
            EOFError: the server has ended, or a signal to end came before it had loaded.
        """
        while not connection.wait([descriptor], ANSWER_S):
            if interrupts.received():
                self.kill()
        return read_signed(descriptor)

    def kill(self) -> None:
        """End it now, also while it loads."""
        if self._forkserver_pid is not None:
            os.kill(self._forkserver_pid, signal.SIGKILL)
            self._stop()


ANSWER_S = 0.1
"""So often it is looked whether a signal to end came while a server loads."""
_running: dict[str, _Server] = {}


class _Process(ForkServerProcess):
    """A process that is forked from one of these servers."""

    server: str

    @staticmethod
    def _Popen(process_obj: _Process) -> _Popen:
        return _Popen(process_obj)


class _Popen(popen_forkserver.Popen):
    def _launch(self, process_obj: _Process) -> None:
        server, usual = _running[process_obj.server], forkserver.connect_to_new_process
        forkserver.connect_to_new_process = server.connect_to_new_process
        forkserver.read_signed = server.read_signed
        try:
            super()._launch(process_obj)
        finally:
            forkserver.connect_to_new_process, forkserver.read_signed = usual, read_signed


class ServerContext(ForkServerContext):
    """Of ``multiprocessing``: its processes are forked from a running server."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server

    def Process(self, *args: object, **more: object) -> _Process:  # noqa: N802
        process = _Process(*args, **more)
        process.server = self._server
        return process


def start_servers(study: Study, steps: Iterable[str], modules: list[str]) -> None:
    """Have the servers that are worth it for these steps; returns at once.

    The server of tables begins to load now. Those of solvers wait for their first step, so that
    three do not load at once beside the first steps of a run.

    Servers live as long as this process, for the runs that follow; one that was started for other
    threads or another device is replaced.

    Args:
        study: with its threads and device, which libraries read when they are loaded.
        steps: keys of the steps that a run carries out.
        modules: what every step needs.
    """
    needed = Counter(SERVERS[step] for step in steps if step in SERVERS)
    solvers = thread_limits(study.threads) | hidden_from(study.device)
    others = thread_limits(1) | hidden_from("cpu")
    _running.setdefault(LIGHT, _Server(modules, {}))
    for name, n_steps in sorted(needed.items()):
        environment = others if name == TABLES else solvers
        server = _running.get(name)
        if server is None and n_steps < LEAST_STEPS.get(name, 1):
            continue
        if server is None or server.environment != environment:
            if server is not None:
                server._stop()
            _running[name] = server = _Server([*modules, LOADERS[name]], environment)
        if name == TABLES:
            server.ensure_running()


def end_servers() -> None:
    """End all servers of this process, whatever they are at."""
    while _running:
        _running.popitem()[1].kill()


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _execute(context, command):
    """Dagster's own, with the context of the server that the command's step belongs to.

    Dagster would begin a step that it was about to begin as a signal to end came, and let it run to
    its end.
    """
    server, begun = SERVERS.get(command.step_key), False
    context = ServerContext(server if server in _running else LIGHT)
    try:
        if interrupts.received():
            raise EOFError
        for event in _DAGSTERS(context, command):
            begun = True
            yield event
    except EOFError:
        if begun or not interrupts.received():
            raise
        try:
            raise DagsterExecutionInterruptedError from None
        except DagsterExecutionInterruptedError:
            info = multiprocess.serializable_error_info_from_exc_info(sys.exc_info())
        yield multiprocess.ChildProcessSystemErrorEvent(0, info)


_DAGSTERS = multiprocess.execute_child_process_command
multiprocess.execute_child_process_command = _execute
