"""Who may ask the web UI for what: its own pages everything, pages of other origins nothing.

A browser sends whatever any page tells it to, to 127.0.0.1 as well, and under any name that a
stranger lets resolve to it. So a request is answered only where its ``Host`` is an address that the
UI is served at, and may change something only as JSON by POST from a page of the UI itself: what
another page can send (pictures, scripts, forms, fetch without asking first) is never that. Nor do
other users of this machine get an answer, who reach 127.0.0.1 with any header they like. A plain
ASGI application around another; nothing here knows of Dagster.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
READING = ("GET", "HEAD")
QUERIES = "/graphql"
"""Where Dagster takes queries and mutations alike, by GET too."""
POLICY_VIOLATION = 1008
CONNECTIONS = Path("/proc/net/tcp")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer: a foreign page neither shows it in a frame, to be clicked on, nor loads it."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered: an HTTP status and one plain line."""

    status: int
    reason: str


def origins_at(port: int, more: Iterable[str] = ()) -> frozenset[str]:
    """Return the origins that the UI has: those of this machine, and further names.

    Args:
        port: that the UI is served at.
        more: ``NAME`` (at the same port), ``NAME:PORT``, or an origin (``https://NAME``).

    Raises:
        ValueError: one of the names is none; its text says which.
    """
    origins = [f"http://{name}:{port}" for name in LOOPBACK]
    for name in more:
        origin = urlsplit(name if "://" in name else f"http://{name}")
        try:
            own, host = origin.port, origin.hostname
        except ValueError:
            own, host = None, None
        plain = origin.path in ("", "/") and not origin.query and not origin.fragment
        if not host or not plain or origin.username or origin.scheme not in ("http", "https"):
            raise ValueError(f"{name!r} is none of NAME, NAME:PORT and https://NAME")
        host = f"[{host}]" if ":" in host else host
        own = own or (None if "://" in name else port)
        origins.append(f"{origin.scheme}://{host}" + (f":{own}" if own else ""))
    # No browser says the port that its scheme implies.
    usual = {"http": ":80", "https": ":443"}
    return frozenset(one.removesuffix(usual[one.split(":")[0]]) for one in origins)


def user_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the user whose process has a connection open to a server of this machine.

    Args:
        client, server: addresses of both ends, IPv4.

    Returns:
        None when nobody has it open, any more: the kernel calls what is left of it root's.
    """
    ends = [
        f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
        for host, port in (client, server)
    ]
    for line in CONNECTIONS.read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == ends and fields[9] != "0":
            return int(fields[7])
    return None


def refusal(scope: Scope, origins: frozenset[str]) -> Refusal | None:
    """Why a request or a WebSocket is refused; None when it is not.

    Args:
        scope: of ASGI, its type ``http`` or ``websocket``.
        origins: of `origins_at`.
    """
    host, origin = (_header(scope, name) for name in ("host", "origin"))
    own = {one for one in origins if host and one.split("://")[1] == host.lower()}
    if not own:
        known = ", ".join(sorted(one.split("://")[1] for one in origins))
        return Refusal(
            421, f"served as {known} only; fly64 ui --host-name NAME[:PORT] adds another name"
        )
    foreign = Refusal(403, f"only pages of {', '.join(sorted(own))} may ask for this (Origin)")
    if scope["type"] == "websocket":
        return None if origin in own else foreign
    if origin is not None and origin not in own:
        return foreign
    if scope["method"] in READING:
        if scope["path"].rstrip("/") == QUERIES:
            return Refusal(405, "queries are taken as JSON by POST only")
        return None
    if scope["method"] != "POST":
        return Refusal(405, "only GET, HEAD and POST are answered")
    if origin is None:
        return foreign
    if (_header(scope, "content-type") or "").split(";")[0].strip().lower() != "application/json":
        return Refusal(415, "only JSON is taken (Content-Type: application/json)")
    return None


def _header(scope: Scope, name: str) -> str | None:
    """Return a header's value; None where it is missing, an impossible one where repeated."""
    values = [value for key, value in scope["headers"] if key.lower() == name.encode()]
    if not values:
        return None
    return values[0].decode("latin-1") if len(values) == 1 else "\0"


class RequestGuard:
    """An ASGI application that answers what is refused itself and hands on the rest.

    Args:
        app: that is guarded.
        origins: of `origins_at`.
        own_user_only: nobody but this process's user and root is answered.
    """

    def __init__(
        self, app: Application, origins: frozenset[str], own_user_only: bool = False
    ) -> None:
        self.app, self.origins, self.own_user_only = app, origins, own_user_only

    def _refusal(self, scope: Scope) -> Refusal | None:
        asked_for_own = self.own_user_only and CONNECTIONS.exists()
        if asked_for_own and user_of(scope["client"], scope["server"]) not in (os.getuid(), 0):
            return Refusal(403, "only the user who serves this may ask for it")
        return refusal(scope, self.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):  # the server's start and end
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is None:
            await self.app(scope, receive, _with(HEADERS, send))
        elif scope["type"] == "websocket":
            await send(
                {
                    "type": "websocket.close",
                    "code": POLICY_VIOLATION,
                    "reason": refused.reason[:120],
                }
            )
        else:
            body = f"{refused.reason}\n".encode()
            headers = {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
                **HEADERS,
            }
            start = {"type": "http.response.start", "status": refused.status, "headers": []}
            await _with(headers, send)(start)
            await send({"type": "http.response.body", "body": body})


def _with(headers: Mapping[str, str], send: Send) -> Send:
    """``send`` with further headers on every answer, unless it has them."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = [*message.get("headers", ())]
            names = {key.lower() for key, _ in given}
            more = {key.lower().encode(): value.encode() for key, value in headers.items()}
            given += [(key, value) for key, value in more.items() if key not in names]
            message = {**message, "headers": given}
        await send(message)

    return sending
