"""The web UI's server: Dagster's own, guarded, which also hands out the study's files.

Started by the supervisor (``supervisor.py``), which holds the port: what is asked for while this
process is started again waits, and is answered.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from dagster import DagsterInstance
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from fly64_assets.pipeline.dagster_internals import workspace
from fly64_assets.runs.servers.request_guard import RequestGuard
from fly64_assets.runs.servers.served_files import routes
from fly64_assets.runs.servers.supervisor import answers

CODE_SERVER_S = 60.0
"""Waited for the code server at the start; without one the pages say so, and find it later."""
POLL_MS = 2000
"""How often pages ask for what is new, as `dagster dev` has it."""
DATABASE = {"statement_timeout": 15_000, "pool_recycle": 3600, "max_overflow": 20}
"""Limits for the web server's requests to a database (ms, s, connections), Dagster's defaults."""
LAST_ANSWERS_S = 2


class GuardedWebserver(DagsterWebserver):
    """Dagster's web server for the study's own pages only.

    Args:
        context: of `workspace`: the instance and the code location.
        origins: that the server has (`request_guard.origins_at`).
        results: the study's folder of results.
        own_user_only: as of `RequestGuard`.
    """

    def __init__(
        self,
        context: Any,
        origins: frozenset[str],
        results: Path,
        own_user_only: bool = False,
    ) -> None:
        self._results = results
        self._guard = Middleware(RequestGuard, origins=origins, own_user_only=own_user_only)
        super().__init__(context, live_data_poll_rate=POLL_MS)

    def build_middleware(self) -> list[Middleware]:
        return [self._guard, *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        return [*routes(self._results), *super().build_routes()]


def main(arguments: list[str]) -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m fly64_assets.runs.servers.web_server")
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the port")
    parser.add_argument("--origin", action="append", required=True, help="that the UI has")
    parser.add_argument("--any-user", action="store_true", help="answer other users, too")
    parser.add_argument("--workspace", required=True, help="Dagster's workspace.yaml")
    parser.add_argument("--code-server", type=Path, required=True, help="its Unix socket")
    parser.add_argument("--results", type=Path, required=True, help="the study's folder")
    given = parser.parse_args(arguments)
    deadline = time.monotonic() + CODE_SERVER_S
    while not answers(given.code_server) and time.monotonic() < deadline:
        time.sleep(0.1)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(**DATABASE)
        with workspace(instance, given.workspace, __version__) as context:
            webserver = GuardedWebserver(
                context, frozenset(given.origin), given.results, not given.any_user
            )
            config = uvicorn.Config(
                webserver.create_asgi_app(),
                log_level="warning",
                timeout_graceful_shutdown=LAST_ANSWERS_S,
                forwarded_allow_ips="",
            )
            uvicorn.Server(config).run(sockets=[socket.socket(fileno=given.listener)])


if __name__ == "__main__":
    main(sys.argv[1:])
