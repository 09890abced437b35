"""``make screenshots``: take every picture of the web UI and of the study report in ``docs/images``
anew.

The UI is started on a finished study, and ended; nothing is changed in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.store import results_folder
from fly64_assets_tests.browser import browser_of, page_of, save_picture, why_no_browser
from fly64_assets_tests.servers import ui_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
LARGEST = 150_000
"""Bytes of a picture."""
PICTURES = {
    "ui_lineage": ("/asset-groups", "h_study"),
    "ui_asset": ("/assets/test/comparison?view=overview", "Latest materialization"),
    "ui_checks": ("/assets/test/dataset?view=checks", "poisson_noise"),
    "ui_automation": ("/automation", "complete_study_nightly"),
}
"""File name -> the page, and a text that it shows once it is complete."""
SETTLING_MS = 6000
"""For the graph to be laid out and numbers to arrive."""
REPORT = "report"
REPORT_FILE = "store/study/study_report.html"
REPORT_PAGE = {"width": 1000, "height": 800}
REPORT_COLOURS = 256
"""Its scales have more colours than the UI."""
AT_ONCE = "one => one.scrollIntoView({behavior: 'instant'})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/demo.yaml"))
    parser.add_argument("names", nargs="*", help="only these pictures")
    options = parser.parse_args()
    problem = why_no_browser()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    results = results_folder(StudyContext.load(options.study).study)
    wanted = options.names or [*PICTURES, REPORT]
    too_large = []

    def save(page: Page, name: str, **more: int) -> None:
        size = save_picture(page, IMAGES / f"{name}.png", **more)
        print(f"docs/images/{name}.png: {size // 1000} kB")
        if size > LARGEST:
            too_large.append(name)

    with browser_of() as browser:
        if REPORT in wanted:
            with page_of(browser, **REPORT_PAGE) as page:
                page.goto((results / REPORT_FILE).resolve().as_uri())
                page.locator("article h3").first.evaluate(AT_ONCE)
                save(page, REPORT, colours=REPORT_COLOURS)
        pictures = {name: of for name, of in PICTURES.items() if name in wanted}
        if pictures:
            with ui_of(options.study, results.parent) as ui, page_of(browser) as page:
                for name, (address, text) in pictures.items():
                    page.goto(f"http://127.0.0.1:{ui.port}{address}")
                    page.get_by_text(text).first.wait_for()
                    page.wait_for_timeout(SETTLING_MS)
                    save(page, name)
    for name in too_large:
        print(f"error: {name} is larger than {LARGEST // 1000} kB", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
