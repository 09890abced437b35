"""Export and verification of a finished condition against copying and hashing the same bytes.

Run a condition first (``fly64 run --study FILE --dose 1000 --view dense``), then:
``python benchmarks/bench_hub.py --study FILE --dose 1000 --view dense``.

Goal: export and verify of a full dense condition below 10 s each.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ratios import note

from fly64_assets.hub.apart import verify_hub
from fly64_assets.hub.export import export_hub
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of

ROUNDS = 3


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _copy_and_hash(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        if path.is_file():
            sha256_of(path)


def main() -> None:
    """Print each median with its ratio to a bare copy with sha256, side by side in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="studies/demo.yaml")
    parser.add_argument("--dose", type=int, default=1000)
    parser.add_argument("--view", default="dense")
    arguments = parser.parse_args()
    context = StudyContext.load(arguments.study)
    at = Condition(arguments.dose, arguments.view)
    times: dict[str, list[float]] = {"copy and sha256": [], "export": [], "verify": []}
    with tempfile.TemporaryDirectory() as scratch, read_only_instance(context.study) as instance:
        for number in range(ROUNDS):
            hub, copy = Path(scratch, f"hub{number}"), Path(scratch, f"copy{number}")
            times["export"].append(_seconds(lambda: export_hub(context, instance, at, hub)))  # noqa: B023
            times["copy and sha256"].append(_seconds(lambda: _copy_and_hash(hub, copy)))  # noqa: B023
            times["verify"].append(_seconds(lambda: verify_hub(hub)))  # noqa: B023
        size = sum(path.stat().st_size for path in hub.rglob("*") if path.is_file())
    bare = statistics.median(times["copy and sha256"])
    print(f"{at}: {size / 1e6:.0f} MB, median of {ROUNDS}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:<18}{median:>7.2f} s{median / bare:>7.2f} x")
        if taken is not times["copy and sha256"]:
            note(f"hub {name} to a copy with sha256", median / bare)


if __name__ == "__main__":
    main()
