"""A study made up to its overlap views, in this process, for tests of what provenance says of it.

No solver runs here, so a store with its event log takes seconds; tests copy it and change the copy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from dagster import AssetKey, DagsterInstance

from fly64_assets.definitions import JOBS, build_definitions
from fly64_assets.hub.ro_crate import HubFile, write_ro_crate
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.pipeline.records import Record
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hub_layout import hub_path
from fly64_assets.study.model import PROJECT_ROOT, STUDY_VARIABLE
from fly64_assets.study.products import LEVELS, PRODUCTS, Product
from fly64_assets_tests.conftest import TINY

AT = Condition(1000, "dense")
STUDY = {**TINY, "simulation": {"positions": 400}, "specimen": "mine.npz"}
STEPS = {"specimen": Condition(), "datasets": Condition(1000), "views": AT}
VIEWS = (("train", "overlap_view"), ("test", "overlap_view"))


@dataclass(frozen=True)
class TracedStore:
    """A folder with a study file, its specimen, and the results of a few of its assets."""

    folder: Path

    @property
    def study_file(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    @property
    def store(self) -> Path:
        return self.results / "store"

    def path(self, name: str) -> Path:
        return self.store / name

    def copy_to(self, folder: Path) -> TracedStore:
        shutil.copytree(self.folder, folder)
        return TracedStore(folder)

    def write_study(self, **changes: object) -> None:
        self.study_file.write_text(yaml.safe_dump({**STUDY, **changes}), "utf-8")

    @contextmanager
    def opened(self) -> Iterator[tuple[StudyContext, DagsterInstance]]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("DAGSTER_HOME", STUDY_VARIABLE, "DAGSTER_DISABLE_TELEMETRY"):
                patch.setenv(name, os.environ.get(name, ""))
            patch.setenv(RESULTS_VARIABLE, str(self.folder / "results"))
            context = StudyContext.load(self.study_file)
            with study_instance(context.study, self.study_file) as instance:
                yield context, instance

    def make(self, *steps: str) -> None:
        """Materialize ``specimen``, ``datasets`` or ``views`` anew."""
        with self.opened() as (context, instance):
            definitions = build_definitions(context)
            for level, (step, condition) in zip(LEVELS, STEPS.items(), strict=False):
                if step in steps:
                    definitions.resolve_job_def(JOBS[level]).execute_in_process(
                        instance=instance,
                        partition_key=dagster_key(condition),
                        asset_selection=[AssetKey(k) for k in VIEWS] if step == "views" else None,
                    )


def write_own_specimen(path: Path, **more: np.ndarray) -> None:
    """A specimen that is nobody's shipped one: a shipped object, conjugated."""
    shipped = read_npz(PROJECT_ROOT / "fly64_assets/study/specimens" / "siemens_star.npz")
    arrays = {**shipped, "objectGuess": shipped["objectGuess"].conj()}
    write_npz(path, {**arrays, **more})


def make_store(folder: Path) -> TracedStore:
    made = TracedStore(folder)
    made.write_study()
    write_own_specimen(folder / "mine.npz")
    made.make(*STEPS)
    return made


def lay_out_hub(
    context: StudyContext, instance: DagsterInstance, hub: Path
) -> dict[Product, Record]:
    """Everything that was made of the condition, laid out and described as export does it."""
    ledger = context.ledger(instance)
    found = {item: ledger.latest(item, AT.restricted_to(item.per)) for item in PRODUCTS}
    records = {item: record for item, record in found.items() if record is not None}
    files = []
    for item, record in records.items():
        for path, stored in record.provenance.files.items():
            target = hub_path(item, AT, Path(path).name)
            if target is not None:
                (hub / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(context.store.root / path, hub / target)
                files.append(HubFile(target, item, path, stored.sha256, stored.bytes))
    write_ro_crate(hub, study=context.study, condition=AT, records=records, files=files)
    return records
