"""Who may change a study's records through its web server: every way in, against the real server.

The server is Dagster's with our guard, in this process; the instance is a real one, and every row
of its databases is compared. Pages in a real browser are in ``in_browser/test_foreign_page.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

import pytest
from dagster import AssetMaterialization, DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.webserver import DagsterWebserver
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from fly64_assets.runs.servers.request_guard import (
    CONNECTIONS,
    RequestGuard,
    origins_at,
    refusal,
    user_of,
)
from fly64_assets.runs.servers.supervisor import listening_at
from fly64_assets.runs.servers.web_server import GuardedWebserver

PORT = 3000
OWN = f"http://127.0.0.1:{PORT}"
WIPE = """mutation {wipeAssets(assetPartitionRanges: [{assetKey: {path: ["specimen"]}}])
    {__typename}}"""
JSON = {"content-type": "application/json"}
MINE = {**JSON, "origin": OWN}
BODY = json.dumps({"query": WIPE})
FORM = "application/x-www-form-urlencoded"
BOUNDARY = f'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n{WIPE}\r\n--x--\r\n'
REPORTS = ("report_asset_materialization", "report_asset_check", "report_asset_observation")
REPORTED = json.dumps({"check_name": "files", "passed": True, "data_version": "1"})
FOREIGN = ("http://evil.example", "http://127.0.0.1:3001", "http://localhost:3000", "null", "")
FOREIGN += ("https://127.0.0.1:3000", "http://127.0.0.1", f"{OWN}.evil.example", f"{OWN}/", "\0")
HOSTS = ("evil.example", "evil.example:3000", "127.0.0.1", "127.0.0.1:3001", "localhost:80", "")
HOSTS += (
    "127.0.0.1:3000.evil.example",
    "evil.example@127.0.0.1:3000",
    "127.1:3000",
    "0.0.0.0:3000",
)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


class Server:
    """A server in this process that is asked as one on the network is, header by header.

    Args:
        app: Dagster's, guarded or not.
        folder: of its instance.
    """

    def __init__(self, app: Starlette, folder: Path) -> None:
        self.app, self.folder = app, folder

    def records(self) -> list[tuple]:
        """Every row of every table of the instance's databases."""
        rows = []
        for file in sorted(self.folder.rglob("*.db")):
            with closing(sqlite3.connect(file)) as database:
                names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
                for (table,) in database.execute(names).fetchall():
                    found = database.execute(f"SELECT * FROM {table}").fetchall()
                    rows += [(file.name, table, *row) for row in found]
        return rows

    def ask(self, method, path, headers=(), content="", query="") -> Answer:
        """What a request is answered with; its Host is the usual one unless the headers say one."""
        scope = {"type": "http", "method": method, **_asked(path, headers, query)}
        came = [{"type": "http.request", "body": content.encode()}]
        start, *body = asyncio.run(self._talk(scope, came))
        text = b"".join(one["body"] for one in body).decode()
        return Answer(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, text)

    def connect(self, headers) -> list[str]:
        """The kinds of message that a WebSocket is answered with, which says hello and goes."""
        scope = {"type": "websocket", "subprotocols": ["graphql-ws"], **_asked("/graphql", headers)}
        hello = {"type": "websocket.receive", "text": '{"type": "connection_init"}'}
        gone = {"type": "websocket.disconnect", "code": 1000}
        return [
            one["type"]
            for one in asyncio.run(self._talk(scope, [{"type": "websocket.connect"}, hello, gone]))
        ]

    async def _talk(self, scope, messages) -> list[dict[str, Any]]:
        sent, waiting = [], iter(messages)

        async def receive():
            return next(waiting, {"type": "http.disconnect"})

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        return sent


def _asked(path: str, headers, query: str = "") -> dict[str, Any]:
    given = [*(headers.items() if isinstance(headers, dict) else headers)]
    if "host" not in dict(given):
        given.insert(0, ("host", f"127.0.0.1:{PORT}"))
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in given]
    parameters = urlencode({"query": query} if query else {}).encode()
    asked = {"path": unquote(path), "raw_path": path.encode(), "query_string": parameters}
    return {**asked, "headers": encoded, "http_version": "1.1", "scheme": "http", "root_path": ""}


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Iterator[WorkspaceProcessContext]:
    folder = tmp_path_factory.mktemp("instance")
    workspace = folder / "workspace.yaml"
    workspace.write_text("load_from: []\n", "utf-8")
    target = WorkspaceFileTarget([str(workspace)])
    with (
        DagsterInstance.local_temp(str(folder)) as instance,
        WorkspaceProcessContext(instance, target) as context,
    ):
        yield context


@pytest.fixture(scope="module")
def served(context, tmp_path_factory) -> Server:
    """With something to lose: one materialization."""
    context.instance.report_runless_asset_event(AssetMaterialization("specimen"))
    webserver = GuardedWebserver(context, origins_at(PORT), tmp_path_factory.mktemp("results"))
    return Server(webserver.create_asgi_app(), Path(context.instance.root_directory))


WAYS = {
    "picture": ("GET", "/graphql", {}, None, WIPE),
    "picture with a slash": ("GET", "/graphql/", {}, None, WIPE),
    "picture, escaped": ("GET", "/%67raphql", {}, None, WIPE),
    "page": ("GET", "/graphql", {"accept": "text/html"}, None, WIPE),
    "GET of our own": ("GET", "/graphql", {"origin": OWN}, None, WIPE),
    "HEAD": ("HEAD", "/graphql", {}, None, WIPE),
    "form": ("POST", "/graphql", {"content-type": FORM, "origin": OWN}, f"query={WIPE}", WIPE),
    "form of another page": (
        "POST",
        "/graphql",
        {"content-type": FORM, "origin": FOREIGN[0]},
        "",
        WIPE,
    ),
    "multipart": (
        "POST",
        "/graphql",
        {"content-type": "multipart/form-data; boundary=x", "origin": OWN},
        BOUNDARY,
        WIPE,
    ),
    "text": ("POST", "/graphql", {"content-type": "text/plain", "origin": OWN}, BODY, WIPE),
    "text that says JSON": (
        "POST",
        "/graphql",
        {"content-type": "text/plain; application/json", "origin": OWN},
        BODY,
        None,
    ),
    "GraphQL": (
        "POST",
        "/graphql",
        {"content-type": "application/graphql", "origin": OWN},
        WIPE,
        None,
    ),
    "no type": ("POST", "/graphql", {"origin": OWN}, BODY, WIPE),
    "two types": ("POST", "/graphql", [*MINE.items(), ("content-type", "text/plain")], BODY, None),
    "two origins": ("POST", "/graphql", [*MINE.items(), ("origin", FOREIGN[0])], BODY, None),
    "no origin": ("POST", "/graphql", JSON, BODY, None),
    **{
        f"origin {one!r}": ("POST", "/graphql", {**JSON, "origin": one}, BODY, None)
        for one in FOREIGN
    },
    **{f"host {one!r}": ("POST", "/graphql", {**MINE, "host": one}, BODY, None) for one in HOSTS},
    "host and origin": (
        "POST",
        "/graphql",
        {**JSON, "host": "evil.example:3000", "origin": "http://evil.example:3000"},
        BODY,
        None,
    ),
    "two hosts": (
        "POST",
        "/graphql",
        [*MINE.items(), ("host", f"127.0.0.1:{PORT}"), ("host", "evil.example")],
        BODY,
        None,
    ),
    **{
        name: (name, "/graphql", MINE, BODY, WIPE)
        for name in ("PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
    },
    **{
        f"{report}, {kind}": (
            "POST",
            f"/{report}/specimen",
            headers,
            content,
            None,
        )
        for report in REPORTS
        for kind, headers, content in (
            ("of another page", {**JSON, "origin": FOREIGN[0]}, REPORTED),
            ("as a form", {"content-type": FORM, "origin": OWN}, ""),
            ("without a body", {"origin": FOREIGN[0]}, None),
            ("without an origin", JSON, REPORTED),
            ("under another name", {**MINE, "host": "evil.example:3000"}, REPORTED),
        )
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_in_but_the_own_page(served, way):
    method, path, headers, content, query = WAYS[way]
    before = served.records()
    answer = served.ask(method, path, headers, content or "", query or "")
    assert answer.status in (403, 405, 415, 421), answer.text
    if method != "HEAD":
        assert answer.text.count("\n") == 1 and answer.text.endswith("\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert served.records() == before


@pytest.mark.parametrize(
    "path", ["/", "/assets", "/server_info", "/fly64/store/x", "/logs/a/b.out"]
)
@pytest.mark.parametrize("host", HOSTS)
def test_nothing_is_read_under_another_name(served, path, host):
    assert served.ask("GET", path, {"host": host}).status == 421


def test_another_page_reads_nothing(served):
    assert served.ask("GET", "/server_info", {"origin": FOREIGN[1]}).status == 403
    answer = served.ask("GET", "/server_info")
    assert answer.status == 200 and "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("headers", [*({"origin": one} for one in FOREIGN), {}])
def test_a_web_socket_of_another_page_is_closed(served, headers):
    assert served.connect(headers) == ["websocket.close"]


def test_a_web_socket_under_another_name_is_closed(served):
    name = "evil.example:3000"
    assert served.connect({"host": name, "origin": f"http://{name}"}) == ["websocket.close"]


def test_the_own_page_may(served):
    """And so the tests above can fail: the same requests change the records."""
    for host in ("127.0.0.1", "localhost", "[::1]"):
        headers = {"host": f"{host}:{PORT}", "origin": f"http://{host}:{PORT}"}
        headers["content-type"] = "application/json; charset=utf-8"
        answer = served.ask("POST", "/graphql", headers, json.dumps({"query": "{version}"}))
        assert answer.status == 200 and "version" in json.loads(answer.text)["data"]
    for report in REPORTS:
        before = served.records()
        assert served.ask("POST", f"/{report}/specimen", MINE, REPORTED).status == 200
        assert served.records() != before
    assert served.connect({"origin": OWN}) == ["websocket.accept", "websocket.send"]
    before = served.records()
    assert served.ask("POST", "/graphql", MINE, BODY).status == 200
    assert served.records() != before


def test_dagsters_own_server_takes_what_ours_refuses(context):
    context.instance.report_runless_asset_event(AssetMaterialization("specimen"))
    folder = Path(context.instance.root_directory)
    bare = Server(DagsterWebserver(context).create_asgi_app(), folder)
    before = bare.records()
    assert bare.ask("GET", "/graphql", query=WIPE).status == 200
    assert bare.records() != before


@pytest.mark.parametrize(
    "given, origin",
    [
        ("lab", "http://lab:3000"),
        ("lab:8080", "http://lab:8080"),
        ("lab:80", "http://lab"),
        ("https://lab", "https://lab"),
        ("https://lab:443/", "https://lab"),
        ("https://lab:8443", "https://lab:8443"),
        ("[fe80::1]", "http://[fe80::1]:3000"),
        ("LAB", "http://lab:3000"),
    ],
)
def test_further_names(given, origin):
    assert origins_at(PORT, [given]) - origins_at(PORT) == {origin}
    host = origin.split("://")[1].encode()
    asked = {"type": "http", "method": "POST", "path": "/graphql"}
    headers = [
        (b"host", host),
        (b"origin", origin.encode()),
        (b"content-type", b"application/json"),
    ]
    assert refusal({**asked, "headers": headers}, origins_at(PORT, [given])) is None
    other = origin.replace("http", "ftp").encode()
    headers[1] = (b"origin", other)
    assert refusal({**asked, "headers": headers}, origins_at(PORT, [given])).status == 403


@pytest.mark.parametrize(
    "name", ["", "lab/x", "lab:x", "lab:70000", "ftp://lab", "a@lab", "lab?x", "http://"]
)
def test_what_is_no_name(name):
    with pytest.raises(ValueError, match="is none of NAME"):
        origins_at(PORT, [name])


names = st.sampled_from(["host", "origin", "content-type", "accept", "x-http-method-override"])
values = st.sampled_from(
    [f"127.0.0.1:{PORT}", f"localhost:{PORT}", OWN, "http://evil.example", "null", "evil.example"]
    + ["application/json", "text/plain", "application/json; charset=utf-8", FORM, ""]
)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    path=st.sampled_from(["/graphql", "/graphql/", "/", "/report_asset_check/x"]),
    headers=st.lists(st.tuples(names, values), max_size=6),
)
def test_whatever_passes_is_a_read_or_json_of_the_own_page(method, path, headers):
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": encoded}
    if refusal(scope, origins_at(PORT)) is not None:
        return
    said = {
        name: [v for n, v in headers if n == name] for name in ("host", "origin", "content-type")
    }
    (host,) = said["host"]
    assert host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}")
    if method == "POST":
        assert said["origin"] == [f"http://{host}"]
        assert [one.split(";")[0] for one in said["content-type"]] == ["application/json"]
    else:
        assert method in ("GET", "HEAD") and path.rstrip("/") != "/graphql"
        assert said["origin"] in ([], [f"http://{host}"])


CONNECT = """
import os, socket, sys
if int(sys.argv[2]):
    os.setuid(int(sys.argv[2]))
with socket.socket() as mine:
    mine.connect(("127.0.0.1", int(sys.argv[1])))
    mine.sendall(b"x")
    sys.stdin.read()
"""


@pytest.mark.skipif(not CONNECTIONS.exists(), reason="the kernel names no connection's user")
@pytest.mark.parametrize("user", [0, 65534])
def test_other_users_of_the_machine_are_not_answered(user):
    if os.getuid() and user:
        pytest.skip("only root can ask as somebody else")
    with listening_at(0) as listener:
        listener.settimeout(30)
        server = listener.getsockname()
        command = [sys.executable, "-c", CONNECT, str(server[1]), str(user)]
        other = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            connection, client = listener.accept()
            with connection:
                assert connection.recv(1) == b"x"
                assert user_of(client, server) == (user or os.getuid())
                scope = {"client": client, "server": server, "type": "http", "method": "GET"}
                scope |= {"path": "/", "headers": [(b"host", f"127.0.0.1:{server[1]}".encode())]}
                assert status_of(scope, server[1]) == (403 if user else 200)
                other.communicate()
                assert user_of(client, server) is None, "what is left is root's in name only"
                assert status_of(scope, server[1]) == 403
        finally:
            other.kill()
            other.wait()


def status_of(scope: dict[str, Any], port: int) -> int:
    """What the guard lets through is answered 200."""
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def answer(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})

    guard = RequestGuard(answer, origins_at(port), own_user_only=True)
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"]
