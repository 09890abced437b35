"""Servers that tests start on 127.0.0.1 and end: the UI with its daemon, and Postgres."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fly64_assets.pipeline.process_identity import ProcessIdentity, end_descendants
from fly64_assets.pipeline.store import RESULTS_VARIABLE

DEBIANS = "/usr/lib/postgresql"
USER, PASSWORD = "fly64", "not a secret"
DAEMONS = {"BACKFILL", "SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"}

REPOSITORIES = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name}}}}}"
LAUNCH_RUN = """
mutation Launch($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
LAUNCH_BACKFILL = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
START_SCHEDULE = """
mutation StartThisSchedule($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    ... on ScheduleStateResult { scheduleState { status } }
    ... on PythonError { message }
  }
}
"""
SCHEDULES = """
query Schedules($repository: RepositorySelector!) {
  schedulesOrError(repositorySelector: $repository) {
    ... on Schedules { results { name scheduleState { status } } }
  }
}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: str, true: Callable[[], Any], seconds: float, interval: float = 0.5) -> Any:
    """What ``true`` returns once that is true; fails naming ``what`` when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(interval)


@dataclass(frozen=True)
class Ui:
    """``fly64 ui`` of a study, answering."""

    port: int
    process: subprocess.Popen

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that the web UI's own interface answers a query or mutation with."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", "Origin": self.origin}
        request = urllib.request.Request(f"{self.origin}/graphql", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = json.load(answer)
        except urllib.error.HTTPError as refused:  # its answer says why
            raise ConnectionError(refused.read().decode()) from refused
        assert not content.get("errors"), content["errors"]
        return content["data"]

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "fly64 ui has ended"
        try:
            data = self.ask(
                "{instance {daemonHealth {allDaemonStatuses {daemonType healthy}}}"
                " repositoriesOrError {... on RepositoryConnection {nodes {name}}}}"
            )
        except (urllib.error.URLError, ConnectionError):
            return False
        found = data["instance"]["daemonHealth"]["allDaemonStatuses"]
        healthy = {daemon["daemonType"] for daemon in found if daemon["healthy"]}
        return healthy >= DAEMONS and bool(data["repositoriesOrError"].get("nodes"))


@contextmanager
def ui_of(study_file: Path, results: Path, **environment: str) -> Iterator[Ui]:
    """Web server, daemon and code server of a study, as a user starts them."""
    port = free_port()
    results.mkdir(parents=True, exist_ok=True)
    log = results / "ui.log"
    with log.open("ab") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "fly64_assets.cli", "ui", "--study", study_file]
            + ["--port", str(port)],
            env={**os.environ, RESULTS_VARIABLE: str(results), **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            ui = Ui(port, process)
            wait_for(f"the UI, see {log}", ui.is_ready, 180)
            yield ui
        finally:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """Ctrl-C, as its user would; then whatever is left of what it has started."""
    started = ProcessIdentity.of(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if started is not None:
        end_descendants(started)


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl: of Debian's newest version, else that of PATH."""
    debian = sorted(Path(DEBIANS).glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def why_no_postgres() -> str | None:
    """Why tests against Postgres cannot run here; None when they can."""
    if find_spec("dagster_postgres") is None:
        return "dagster-postgres is not installed: the extra 'postgres' of this package"
    if postgres_programs() is None:
        return "initdb and pg_ctl are neither in PATH nor below /usr/lib/postgresql"
    return None


@dataclass(frozen=True)
class Cluster:
    """A Postgres server; ``timezone`` is what a database of it would write times in."""

    programs: Path
    port: int
    timezone: str

    def environment(self, database: str) -> dict[str, str]:
        """The variables that psql and the example settings read."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": database,
        }

    def create(self, database: str) -> None:
        subprocess.run(
            [self.programs / "createdb", "--maintenance-db=postgres", database],
            env={**os.environ, **self.environment(database)},
            check=True,
        )


def _unprivileged() -> dict[str, int]:
    """Postgres refuses to run as root."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid}


@contextmanager
def postgres(timezone: str = "America/New_York") -> Iterator[Cluster]:
    """A server with an empty folder of its own, on 127.0.0.1 only, with passwords."""
    programs, owner, port = postgres_programs(), _unprivileged(), free_port()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="fly64-postgres-"))
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD, "utf-8")
    if owner:
        for path in (folder, password):
            os.chown(path, owner["user"], owner["group"])

    def run(program: str, *arguments: str | Path, **more: Any) -> None:
        command = [programs / program, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **owner, **more)

    login: Mapping[str, str] = {"A": "scram-sha-256", "U": USER, "E": "UTF8", "D": str(data)}
    try:
        run("initdb", f"--pwfile={password}", "--locale=C.UTF-8", "-N", *_short(login))
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        options += f" -c fsync=off -c timezone={timezone}"
        run("pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
        try:
            yield Cluster(programs, port, timezone)
        finally:
            run("pg_ctl", "stop", "-m", "immediate", "-D", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _short(options: Mapping[str, str]) -> list[str]:
    return [part for key, value in options.items() for part in (f"-{key}", value)]
