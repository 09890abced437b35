"""Threads of every process of a small study that asks for one: none may use more.

``python benchmarks/bench_threads.py`` makes a small condition with ``threads: 1`` in a temporary
folder and prints, for each process, how many of its threads ran or waited for a core, averaged over
the two seconds in which they were most. Other load on the machine does not hide one.

Goal: no process above one thread; exit 1 when one is.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import yaml
from ratios import note
from watched import Watch, step_processes

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.study.model import PROJECT_ROOT

THREADS = 1
HANDING_OVER = 0.25
"""A thread that wakes another is runnable for a moment beside it."""
LIMIT = THREADS + HANDING_OVER
STUDY = {
    "extends": str(PROJECT_ROOT / "studies" / "demo.yaml"),
    "name": "threads",
    "threads": THREADS,
    "simulation": {"positions": 2000},
}


def main() -> None:
    """Print a row a process that lived for two seconds; exit 1 when one used too many threads."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        os.environ[RESULTS_VARIABLE] = str(folder / "results")
        study = folder / "threads.yaml"
        study.write_text(yaml.safe_dump(STUDY), "utf-8")
        run = watch.run("run", "--study", study, "--dose", "1000", "--view", "dense")
        context = StudyContext.load(study)
        with read_only_instance(context.study) as instance:
            names = {pid: step for step, pid in step_processes(instance).items()}
    names[run] = "fly64 run, without its steps"
    most = {names[pid]: s.most_threads for pid, s in watch.processes.items() if pid in names}
    rows = {step: threads for step, threads in most.items() if threads is not None}
    print(f"{'step':<42}{'threads':>9}")
    for step, threads in rows.items():
        print(f"{step:<42}{threads:>9.2f}")
    over = [step for step, threads in rows.items() if threads > LIMIT]
    print(f"{len(rows)} processes, {len(over)} above {THREADS} thread: {', '.join(over) or 'none'}")
    note("busy threads of a process that may use one, the most", max(rows.values()), at_most=LIMIT)
    if over:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
