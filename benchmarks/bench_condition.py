"""Where the wall time of a finished condition went, from what its runs recorded.

Run a condition first (``fly64 run --study FILE --dose 1000 --view dense``), then:
``python benchmarks/bench_condition.py --study FILE --dose 1000 --view dense``.

Inside counts training and further trainings with their reconstructions, from the first progress
that their step logged to the last, pty-chi, inference with scoring, and simulation. The rest is
process start, imports, reading and writing, checks and orchestration. Goal: the rest below 20 % of
the wall time of a full dense condition, and every step below 2 GB.
"""

from __future__ import annotations

import argparse
import json
import re
from datetime import datetime

from dagster import RunsFilter
from ratios import note

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.study.arms import NETWORKS
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.products import log_file, product, products_in


def _inside(context: StudyContext, at: Condition) -> dict[str, float]:
    """Seconds in solvers, simulation and metrics, as each recorded them."""
    store, seconds = context.store, {}
    published = [network for network in NETWORKS if network.name in MODELS]
    for network in published:
        for key in (network.model_key, network.replicates_key):
            log = store.path(product("phase_logs"), at, log_file(product(*key)))
            seconds["/".join(key)] = _working(log.read_text("utf-8"), network.name)
    for split in SPLITS:
        summary = json.loads(
            store.path(product("metrics_summary"), at, "metrics_summary.json").read_text("utf-8")
        )
        job = next(job for job in summary["jobs"] if job["split"] == split)
        times = {name: row["computation_time_s"]["value"] for name, row in job["metrics"].items()}
        seconds[f"{split}/ptychi_reconstruction"] = times.pop("PtyChi")
        seconds[f"{split}/comparison"] = sum(times.values())
    return seconds


def _working(log: str, solver: str) -> float:
    """Seconds between the first progress of a solver in its step's log and the last."""
    told = re.findall(rf"^(\S+) INFO {re.escape(solver)}\b", log, re.MULTILINE)
    if not told:
        return 0.0
    return (datetime.fromisoformat(told[-1]) - datetime.fromisoformat(told[0])).total_seconds()


def main() -> None:
    """Print a row a step, then the wall time and the share outside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="studies/demo.yaml")
    parser.add_argument("--dose", type=int, default=1000)
    parser.add_argument("--view", default="dense")
    arguments = parser.parse_args()
    context = StudyContext.load(arguments.study)
    at = Condition(arguments.dose, arguments.view)
    inside = _inside(context, at)
    run_ids = set()
    with read_only_instance(context.study) as instance:
        ledger = context.ledger(instance)
        print(f"{'asset':<30}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}{'inside s':>10}")
        for item in products_in(context.study):
            record = ledger.latest(item, at.restricted_to(item.per))
            if record is None:
                raise SystemExit(f"{item.name} was never made")
            run_ids.add(record.run_id)
            made = record.provenance
            if item.key == ("train", "dataset"):  # one computation makes both halves
                inside[item.name] = made.seconds
            print(
                f"{item.name:<30}{made.seconds:>9.1f}{made.cpu_seconds:>9.1f}"
                f"{made.peak_memory_mb:>9.0f}{inside.get(item.name, 0.0):>10.1f}"
            )
        records = instance.get_run_records(RunsFilter(run_ids=list(run_ids)))
    wall = sum(record.end_time - record.start_time for record in records)
    spent = sum(inside.values())
    print(f"wall {wall:.1f} s in {len(records)} runs, inside {spent:.1f} s, ", end="")
    print(f"outside {100 * (1 - spent / wall):.1f} %")
    where = f"{context.study.name}, {at.dose} photons, {at.view}"
    note(f"condition ({where}): wall time to inside", wall / spent, at_most=1.15)


if __name__ == "__main__":
    main()
