"""``make screenshots``: take every picture of the web UI in ``docs/images`` anew.

The UI is started on a finished study, and ended; nothing is changed in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fly64_assets.context import StudyContext
from fly64_assets.store import results_folder
from fly64_assets_tests.browser import page_of, save_picture, why_no_browser
from fly64_assets_tests.servers import ui_of

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/demo.yaml"))
    parser.add_argument("names", nargs="*", help="only these pictures")
    options = parser.parse_args()
    problem = why_no_browser()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    results = results_folder(StudyContext.load(options.study).study).parent
    too_large = []
    with ui_of(options.study, results) as ui, page_of() as page:
        for name, (address, text) in PICTURES.items():
            if options.names and name not in options.names:
                continue
            page.goto(f"http://127.0.0.1:{ui.port}{address}")
            page.get_by_text(text).first.wait_for()
            page.wait_for_timeout(SETTLING_MS)
            size = save_picture(page, IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png: {size // 1000} kB")
            if size > LARGEST:
                too_large.append(name)
    for name in too_large:
        print(f"error: {name} is larger than {LARGEST // 1000} kB", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
