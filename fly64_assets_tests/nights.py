"""A year of nights without its computations: runs with as many and as large events as real ones.

Each night makes every scored product of one condition, with all checks, through Dagster itself;
what the products carry is taken from a finished study. Then the calendar moves on by a day.
``python -m fly64_assets_tests.nights --runs 400 [--clean]`` prints what lies beside the store.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetKey,
    AssetsDefinition,
    DagsterInstance,
    IOManager,
    MetadataValue,
    Output,
    asset,
    materialize,
)

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import instance_folder, read_only_instance, study_instance
from fly64_assets.pipeline.partitions import dagster_key, partitions_definition
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.runs.cleaning import A_NIGHT, clean
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import LEVELS, Product

SCORED = LEVELS[2]
Shown = Mapping[Product, Mapping[str, MetadataValue]]


class _Carrying(IOManager):
    """Attaches what a product carries as `StoreIOManager` does; nothing is stored."""

    def __init__(self, shown: Shown) -> None:
        self.shown = {item.key: metadata for item, metadata in shown.items()}

    def handle_output(self, context, obj) -> None:
        context.add_output_metadata(dict(self.shown[tuple(context.asset_key.path)]))

    def load_input(self, context) -> None:
        raise NotImplementedError


def carried(context: StudyContext, condition: Condition) -> Shown:
    """What every scored product of a finished condition carries, its pictures as links."""
    with read_only_instance(context.study) as instance:
        ledger = context.ledger(instance)
        found = {}
        for item in SCORED.products_in(context.study):
            record = ledger.latest(item, condition)
            assert record is not None
            found[item] = {name: _linked(value) for name, value in record.metadata.items()}
        return found


def _linked(value: MetadataValue) -> MetadataValue:
    text = getattr(value, "md_str", "")
    return MetadataValue.md("![p](/fly64/pictures/p.png)") if "base64," in text else value


def night_of(context: StudyContext, item: Product, rules: MetadataValue) -> AssetsDefinition:
    """An asset that takes the place of a product, with its checks."""

    @asset(
        key=AssetKey(item.key),
        partitions_def=partitions_definition(context.study, item.per),
        check_specs=[
            AssetCheckSpec(
                name,
                asset=AssetKey(item.key),
                partitions_def=partitions_definition(context.study, item.per),
            )
            for name in item.checks
        ],
    )
    def made() -> Iterator[Any]:
        yield Output(None)
        for name in item.checks:
            yield AssetCheckResult(passed=True, check_name=name, metadata={"rules": rules})

    return made


def pass_a_day(context: StudyContext) -> None:
    """Make every run a day older than it is."""
    database = instance_folder(context.study) / "history" / "runs.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE runs SET update_timestamp = datetime(update_timestamp, '-1 day')"
        )
    connection.close()


def nights(
    context: StudyContext, instance: DagsterInstance, shown: Shown, runs: int, *, cleaned: bool
) -> Iterator[int]:
    """Bytes beside the store after each of some nights."""
    rows = [{"key": f"rule {n}", "rule": "holds " * 5, "expected": "1", "actual": "1", "ok": True}
            for n in range(12)]  # fmt: skip
    rules = MetadataValue.json(rows)  # 4 kB an evaluation, as in the demo
    assets = [night_of(context, item, rules) for item in shown]
    conditions = [Condition(d, v) for d in context.study.doses for v in context.study.views]
    context.store.root.mkdir(parents=True, exist_ok=True)
    for number in range(runs):
        if cleaned:
            clean(context, instance, most_runs=A_NIGHT)
        done = materialize(
            assets,
            instance=instance,
            partition_key=dagster_key(conditions[number % len(conditions)]),
            resources={"io_manager": _Carrying(shown)},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert done.success
        pass_a_day(context)
        yield beside_the_store(context)


def beside_the_store(context: StudyContext) -> int:
    """Bytes of all that a study has outside its store."""
    results = context.store.root.parent
    files = (path for path in results.rglob("*") if path.is_file())
    return sum(p.stat().st_size for p in files if context.store.root not in p.parents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--clean", action="store_true", help="begin each night with cleaning")
    options = parser.parse_args()
    demo = StudyContext.load(PROJECT_ROOT / "studies" / "demo.yaml")
    shown = carried(demo, Condition(1000, "dense"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ[RESULTS_VARIABLE] = folder
        study = Path(folder, "study.yaml")
        study.write_text(
            yaml.safe_dump({"extends": str(PROJECT_ROOT / "study.yaml"), "name": "year"}), "utf-8"
        )
        context, began = StudyContext.load(study), time.monotonic()
        with study_instance(context.study, context.study_file) as instance:
            sizes = list(nights(context, instance, shown, options.runs, cleaned=options.clean))
    every = max(1, options.runs // 20)
    told = {"mb": [round(size / 1e6, 1) for size in sizes[every - 1 :: every]]}
    print(json.dumps({**vars(options), "seconds": round(time.monotonic() - began), **told}))


if __name__ == "__main__":
    main()
