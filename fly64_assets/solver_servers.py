"""Servers that steps of solvers are forked from: each has loaded one large library, once for a run.

Loading TensorFlow takes 5 s of CPU time and pty-chi with torch 8 s; a condition has eight steps
that need one of them. Python's own fork server (``multiprocessing.forkserver``) loads the same
modules for all processes, and these two libraries must not meet in one process: so each has a
server of its own, beside Python's for all other steps. Nothing is computed in a server, because
neither library's threads nor a GPU survive a fork: it imports, and that is all.

What does not belong here: which step needs what (the catalogue), how a library is set up
(``solvers/``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, popen_forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess

from dagster._core.executor import multiprocess
from dagster._core.executor.child_process_executor import execute_child_process_command

from fly64_assets.accelerator import hidden_from
from fly64_assets.catalogue import PRODUCTS
from fly64_assets.process import thread_limits
from fly64_assets.study import Study

LOADERS = {
    "tensorflow": "fly64_assets.solvers.preload_tensorflow",
    "torch": "fly64_assets.solvers.preload_torch",
}
"""Library -> the module whose import loads it and what its steps need besides."""
LIBRARIES = {
    "_".join(item.key): library
    for item in PRODUCTS
    for library in LOADERS
    if library in item.libraries
}
"""Step -> the large library that it computes with."""


class _Server(forkserver.ForkServer):
    """A fork server with modules and environment variables of its own."""

    def __init__(self, modules: list[str], environment: Mapping[str, str]) -> None:
        super().__init__()
        self.set_forkserver_preload(modules)
        self.environment = dict(environment)

    def ensure_running(self) -> None:
        with _environment(self.environment):
            super().ensure_running()


_servers: dict[str, _Server] = {}


class _Process(ForkServerProcess):
    """A process that is forked from the server of a library."""

    library: str

    @staticmethod
    def _Popen(process_obj: _Process) -> _Popen:
        return _Popen(process_obj)


class _Popen(popen_forkserver.Popen):
    def _launch(self, process_obj: _Process) -> None:
        usual = forkserver.connect_to_new_process
        forkserver.connect_to_new_process = _servers[process_obj.library].connect_to_new_process
        try:
            super()._launch(process_obj)
        finally:
            forkserver.connect_to_new_process = usual


class _Context(ForkServerContext):
    def __init__(self, library: str) -> None:
        super().__init__()
        self._library = library

    def Process(self, *args: object, **more: object) -> _Process:  # noqa: N802
        process = _Process(*args, **more)
        process.library = self._library
        return process


def start_servers(study: Study, steps: list[str], modules: list[str]) -> None:
    """Let servers of the libraries that these steps need begin to load; returns at once.

    Servers live as long as this process, for the runs that follow; one that was started for other
    threads or another device is replaced.

    Args:
        study: with its threads and device, which libraries read when they are loaded.
        steps: keys of the steps that a run carries out.
        modules: what every step needs.
    """
    needed = {LIBRARIES[step] for step in steps if step in LIBRARIES}
    environment = thread_limits(study.threads) | hidden_from(study.device)
    for library in sorted(needed):
        server = _servers.get(library)
        if server is None or server.environment != environment:
            if server is not None:
                server._stop()
            _servers[library] = server = _Server([*modules, LOADERS[library]], environment)
        server.ensure_running()


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
    """Dagster's own, with the context of the server that the command's step belongs to."""
    library = LIBRARIES.get(command.step_key)
    if library in _servers:
        context = _Context(library)
    return execute_child_process_command(context, command)


multiprocess.execute_child_process_command = _execute
