"""Every benchmark, one after the other, then all of their ratios as one table (``make bench``).

A benchmark measures itself against something bare, side by side in its own run, and tells the
ratio with :func:`note`. Names after the command choose benchmarks: ``python benchmarks/ratios.py
ptychi loading``. Left out unless named is ``memory``, which makes a study of 10 GB. A benchmark
that fails does not stop the others; it is named at the end, and the exit code is 1. A missed goal
is told and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from fly64_assets.study.model import STUDY_VARIABLE

HERE = Path(__file__).parent
NOTES = "FLY64_BENCHMARK_NOTES"
"""Variable that names the file to which a benchmark started from here adds its ratios."""
LARGE = {"memory"}
OF_A_RUN = {"condition", "hub"}
"""Those whose study can be chosen; the others have one of their own, whatever the shell says."""


@dataclass(frozen=True)
class Ratio:
    """``value`` of ``what``, against something bare; at most one of the goals."""

    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self) -> str:
        """The goal and whether it is met, as a cell of the table."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}{'' if self.value <= self.at_most else ': missed'}"
        if self.at_least is not None:
            return f"at least {self.at_least:g}{'' if self.value >= self.at_least else ': missed'}"
        return "-"


def note(
    what: str, value: float, *, at_most: float | None = None, at_least: float | None = None
) -> None:
    """Add a ratio to the table; without one (a benchmark run by itself) nothing happens."""
    if path := os.environ.get(NOTES):
        with Path(path).open("a", encoding="utf-8") as file:
            row = asdict(Ratio(what, float(value), at_most, at_least))
            file.write(json.dumps(row) + "\n")


def noted(path: Path) -> list[Ratio]:
    """The ratios that a benchmark told."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [Ratio(**json.loads(line)) for line in lines]


def table(ratios: list[Ratio]) -> str:
    """The ratios in Markdown, a row each."""
    rows = [f"| {one.what} | {one.value:.2f} | {one.goal} |" for one in ratios]
    return "\n".join(("| ratio of | measured | goal |", "|---|---|---|", *rows))


def main() -> int:
    """Run what was chosen; 1 if a benchmark failed."""
    known = [path.stem.removeprefix("bench_") for path in sorted(HERE.glob("bench_*.py"))]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--study", help=f"for {' and '.join(sorted(OF_A_RUN))}; default: the demo")
    given = parser.parse_args()
    names = given.names or [name for name in known if name not in LARGE]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    found, failed = [], []
    environment = {name: value for name, value in os.environ.items() if name != STUDY_VARIABLE}
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            print(f"== {name}", flush=True)
            notes = Path(scratch, name)
            command = [sys.executable, str(HERE / f"bench_{name}.py")]
            if given.study and name in OF_A_RUN:
                command += ["--study", given.study]
            done = subprocess.run(command, env={**environment, NOTES: str(notes)})
            found += noted(notes)
            if done.returncode:
                failed.append(name)
    print(f"\n{table(found)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
