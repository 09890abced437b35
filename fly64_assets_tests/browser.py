"""A real browser for tests and pictures of the web UI: the system's Chromium, driven by Playwright.

Needs the extra ``browser`` and a Chromium or Chrome in PATH; neither is downloaded here.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

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
def page_of(width: int = 1440, height: int = 900, timeout_s: float = 120) -> Iterator[Page]:
    """A page of a browser that is ended afterwards.

    Args:
        width, height: of the window, px.
        timeout_s: how long anything on the page is waited for.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=list(ARGUMENTS))
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height}, timezone_id="UTC", locale="en-GB"
            )
            page.set_default_timeout(1000 * timeout_s)
            yield page
        finally:
            browser.close()


def save_picture(page: Page, path: Path) -> int:
    """What the page shows as a PNG of few colours; its size in bytes."""
    from PIL import Image

    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size
