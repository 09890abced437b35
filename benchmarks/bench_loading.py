"""Loading the code location against loading an empty one, whole processes, side by side.

Goal: a ratio of at most 1.5, with neither TensorFlow nor torch imported.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from ratios import note

EMPTY = "import dagster; dagster.Definitions().get_repository_def()"
OURS = (
    "import fly64_assets.definitions as location, sys; location.defs.get_repository_def();"
    "assert not {'tensorflow', 'torch'} & set(sys.modules)"
)
PAIRS = 7


def _seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the median times and the median of the paired ratios."""
    for code in (EMPTY, OURS):
        _seconds(code)  # warm the file cache
    pairs = [(_seconds(EMPTY), _seconds(OURS)) for _ in range(PAIRS)]
    empty, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(ours / empty for empty, ours in pairs)
    print(f"empty location {empty:.2f} s   fly64_assets {ours:.2f} s   ratio {ratio:.2f}")
    note("loading the code location to an empty one", ratio, at_most=1.5)


if __name__ == "__main__":
    main()
