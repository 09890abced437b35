"""The files of a study that the web UI's server hands out: those of its store and its pictures.

Only to read, only regular files below those two folders, nothing hidden, nothing that a link leads
out to. What a browser would run is kept from doing anything: no file may load or send anything, and
the study report runs its own script alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from importlib.resources import files
from pathlib import Path

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from fly64_assets.pipeline.store import PICTURES, SERVED, STORE, Store, served_address
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import product

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
"""Of what a browser shows; everything else is downloaded."""
DOWNLOADED = {".pdf": "application/pdf"}
LOCKED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
"""A file loads nothing, runs nothing and is of no origin."""


@cache
def report_policy() -> str:
    """Return the report's Content-Security-Policy: its own script, styles and pictures."""
    # Between the tags of the page stands the template's line break, then the script.
    script = (
        b"\n" + files("fly64_assets.reports.study").joinpath("templates/_compare.js").read_bytes()
    )
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "sandbox allow-scripts allow-modals allow-popups"
    )


class Files(StaticFiles):
    """The files below one folder.

    Args:
        folder: that need not be there yet.
        report: path of the study report below it, if it is there.
    """

    def __init__(self, folder: Path, report: str = "") -> None:
        super().__init__(directory=folder, check_dir=False)
        self._root, self._report = folder, report

    async def check_config(self) -> None:
        """Ask nothing of the folder, which comes with the first result."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        nothing = ("", None)
        try:
            found, status = super().lookup_path(path)
        except OSError:  # a name too long, a ring of links, no right to look
            return nothing
        if status is None:
            return nothing
        parts = Path(found).relative_to(self._root.resolve()).parts
        return nothing if any(part.startswith(".") for part in parts) else (found, status)

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        relative = Path(full_path).relative_to(self._root.resolve()).as_posix()
        kind = Path(full_path).suffix.lower()
        usual = DOWNLOADED.get(kind, "application/octet-stream")
        response.headers["Content-Type"] = TYPES.get(kind, usual)
        if kind not in TYPES:
            response.headers["Content-Disposition"] = "attachment"
        is_report = relative == self._report
        response.headers["Content-Security-Policy"] = report_policy() if is_report else LOCKED
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"  # asks each time whether it is still that
        return response


def routes(results: Path) -> list[BaseRoute]:
    """``/fly64/store/…``, ``/fly64/pictures/…`` and ``/fly64/report`` of one study.

    Args:
        results: the study's folder of results.
    """
    item = product("study_report")
    store = Store(results / STORE)
    report = store.relative(store.path(item, Condition(), item.files[0]))
    there = RedirectResponse(served_address(f"{STORE}/{report}"))
    return [
        Mount(f"{SERVED}/{STORE}", Files(results / STORE, report)),
        Mount(f"{SERVED}/{PICTURES}", Files(results / PICTURES)),
        Route(f"{SERVED}/report", lambda _: there),
    ]
