"""A real browser for tests and pictures of the web UI: the system's Chromium, driven by Playwright.

Needs the extra ``browser`` and a Chromium or Chrome in PATH; neither is downloaded here.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
COLOURS = 128
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:", "ws://127.0.0.1:")
GIVEN_UP = "net::ERR_ABORTED"
"""What the browser says of a request that it dropped itself, as it left the page."""


def program() -> str | None:
    """Path of the system's browser; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def why_no_browser() -> str | None:
    """Why no page can be opened here; None when one can."""
    if find_spec("playwright") is None:
        return "playwright is not installed: the extra 'browser' of this package"
    if program() is None:
        return f"none of {', '.join(NAMES)} is in PATH"
    return None


@contextmanager
def browser_of() -> Iterator[Browser]:
    """A browser without a window, ended afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(
    browser: Browser, width: int = 1440, height: int = 900, timeout_s: float = 120, **context: Any
) -> Iterator[Page]:
    """A page that shares nothing with any other, closed afterwards.

    Args:
        browser: that opens it.
        width, height: of the window, px.
        timeout_s: how long anything on the page is waited for.
        context: what the browser says of its user, in Playwright's words: ``color_scheme``, ...
    """
    page = browser.new_page(
        viewport={"width": width, "height": height}, timezone_id="UTC", locale="en-GB", **context
    )
    page.set_default_timeout(1000 * timeout_s)
    try:
        yield page
    finally:
        page.close()


@dataclass
class Watch:
    """What went wrong on a page, and what it asked for: filled as it happens."""

    errors: list[str] = field(default_factory=list)
    """In the console, uncaught, or of requests."""
    requests: list[str] = field(default_factory=list)
    """Addresses."""

    @property
    def foreign(self) -> list[str]:
        """Addresses of other computers."""
        return [one for one in self.requests if not one.startswith(LOCAL)]

    def console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"console: {message.text}")

    def failed(self, request: Request) -> None:
        if request.failure != GIVEN_UP:
            self.errors.append(f"{request.url[:200]}: {request.failure}")

    def answered(self, response: Response) -> None:
        if response.status >= 400:
            self.errors.append(f"{response.url[:200]}: status {response.status}")


def watch(page: Page) -> Watch:
    """Note everything that goes wrong on a page from now on."""
    seen = Watch()
    page.on("console", seen.console)
    page.on("pageerror", lambda error: seen.errors.append(f"uncaught: {error}"))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("requestfailed", seen.failed)
    page.on("response", seen.answered)
    return seen


def save_picture(page: Page, path: Path, colours: int = COLOURS) -> int:
    """What the page shows as a PNG of few colours; its size in bytes."""
    from PIL import Image

    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size
