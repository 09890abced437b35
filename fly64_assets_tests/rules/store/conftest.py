"""A finished condition to put faults into, one at a time, and to judge with every check.

A fault is written faithfully: the files are changed and recorded as made, hashes and all, so that
only a check can tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckResult, DagsterInstance

from fly64_assets.pipeline.check_frame import judge
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner
from fly64_assets.pipeline.instance import instance_folder
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.rules.store import checks_of
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import Study
from fly64_assets.study.products import product
from fly64_assets_tests.faults import report_as_made

AT = Condition(1000, "dense")
Change = Callable[[Any], None]


@dataclass
class Bench:
    """The condition, its instance, and the files that a fault has replaced."""

    context: StudyContext
    instance: DagsterInstance
    changed: dict[tuple[str, ...], dict[Path, bytes]] = field(default_factory=dict)

    def path(self, *key: str, file: str) -> Path:
        item = product(*key)
        return self.context.store.path(item, AT.restricted_to(item.per), file)

    def report(self, *key: str, **changes: Any) -> None:
        """Record what is on disk as made; changes as of `report_as_made`."""
        item = product(*key)
        at = AT.restricted_to(item.per)
        report_as_made(self.context, self.instance, item, at, **changes)

    def spoil(self, *key: str, file: str, change: Change) -> None:
        """Change one file and record it as made; undone at the end of the test.

        ``change`` edits in place what the file holds: arrays of an NPZ, the object of a JSON file;
        of any other file it gets the path.
        """
        path = self.path(*key, file=file)
        self.changed.setdefault(key, {}).setdefault(path, path.read_bytes())
        if path.suffix == ".npz":
            arrays = dict(read_npz(path))
            change(arrays)
            write_npz(path, arrays)
        elif path.suffix == ".json":
            content = json.loads(path.read_text("utf-8"))
            change(content)
            path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        else:
            change(path)
        self.report(*key)

    def undo(self) -> None:
        for key, files in self.changed.items():
            for path, content in files.items():
                path.write_bytes(content)
            self.report(*key)
        self.changed.clear()

    def results(self, *key: str, study: Study | None = None) -> dict[str, AssetCheckResult]:
        """Every check of a product, judged now, by name, whatever else a fault makes stale."""
        item = product(*key)
        planner = Planner(
            study or self.context.study,
            self.context.study_file,
            self.context.ledger(self.instance),
        )
        found = judge(planner, item, AT.restricted_to(item.per), checks_of(item))
        return {str(result.check_name): result for result in found}

    def broken(self, *key: str, study: Study | None = None) -> dict[str, str]:
        """Check -> what it says, of those that do not pass; drift aside, see `test_frame`."""
        return {
            name: str(result.description)
            for name, result in self.results(*key, study=study).items()
            if not result.passed and name != "drift"
        }


def metadata_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return json.loads(str(arrays["_metadata"][()]))


@contextmanager
def edited_metadata(arrays: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """The metadata of an NPZ's arrays, put back afterwards."""
    metadata = metadata_of(arrays)
    yield metadata
    arrays["_metadata"] = np.array(json.dumps(metadata, sort_keys=True))


@pytest.fixture(scope="session")
def shared_bench(finished, tmp_path_factory) -> Iterator[Bench]:
    assert finished.run.returncode == 0, finished.run.stdout + finished.run.stderr
    copy = finished.copy_to(tmp_path_factory.mktemp("bench") / "results")
    with pytest.MonkeyPatch.context() as patch:
        context = copy.context(patch)
        folder = str(instance_folder(context.study))
    with DagsterInstance.from_config(folder) as instance:
        yield Bench(context, instance)


@pytest.fixture
def bench(shared_bench) -> Iterator[Bench]:
    """The shared bench; what a test spoils is undone after it."""
    yield shared_bench
    shared_bench.undo()
