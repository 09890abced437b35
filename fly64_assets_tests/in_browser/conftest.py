"""Tests in a real browser: skipped where there is none; a picture of each page is kept.

The pictures are in ``build/screenshots``, one a test, named ``..._failed`` when the test failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets_tests.browser import browser_of, page_of, save_picture, watch, why_no_browser

PICTURES = PROJECT_ROOT / "build" / "screenshots"
FAILED = pytest.StashKey[bool]()
PAGE_TIMEOUT_S = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """One for all tests of a file: it takes longest to start."""
    problem = why_no_browser()
    if problem:
        pytest.skip(problem)
    with browser_of() as opened:
        yield opened


@pytest.fixture
def page(request, browser) -> Iterator:
    """A page that is watched as ``page.seen``; parametrised, with what the browser says of itself.

    Nothing may have gone wrong on it when the test ends.
    """
    given = {"timeout_s": PAGE_TIMEOUT_S, **getattr(request, "param", {})}
    with page_of(browser, **given) as opened:
        opened.seen = watch(opened)
        yield opened
        failed = request.node.stash.get(FAILED, True) or bool(opened.seen.errors)
        name = re.sub(r"\W+", "_", request.node.name).strip("_")
        PICTURES.mkdir(parents=True, exist_ok=True)
        for outdated in (name, f"{name}_failed"):
            (PICTURES / f"{outdated}.png").unlink(missing_ok=True)
        save_picture(opened, PICTURES / f"{name}{'_failed' if failed else ''}.png")
        assert not opened.seen.errors, opened.seen.errors
        assert not opened.seen.foreign, opened.seen.foreign
