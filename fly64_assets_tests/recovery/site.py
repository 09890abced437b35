"""A study that may be damaged, and what is there: read without the code that is on trial.

Records are read from the event log and files are hashed here; only what the planner *says* is asked
of the planner, because that is what may be false.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from dagster import AssetKey, DagsterInstance

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import instance_folder
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import STUDY_VARIABLE
from fly64_assets.study.products import STUDY_LEVEL

Place = tuple[str, str | None]
"""An asset's name and its partition's key."""


@dataclass(frozen=True)
class Made:
    """A materialization as the event log has it."""

    storage_id: int
    run_id: str
    data_version: str
    files: dict[str, str]


@dataclass(frozen=True)
class Standing:
    """How a study stands at one moment.

    Attributes:
        made: the latest materialization of each place.
        whole: places whose files are there with the recorded sha256.
        fresh: places that the planner calls fresh.
    """

    made: dict[Place, Made]
    whole: frozenset[Place]
    fresh: frozenset[Place]
    runs: dict[str, str] = field(default_factory=dict)

    def versions(self) -> dict[Place, str]:
        return {place: made.data_version for place, made in self.made.items()}


@dataclass(frozen=True)
class Site:
    """A study file and the folder that its results are in."""

    study_file: Path
    results: Path

    @property
    def store(self) -> Path:
        (folder,) = self.results.glob("*/store")
        return folder

    @property
    def instance_folder(self) -> Path:
        (folder,) = self.results.glob("*/dagster")
        return folder

    @contextmanager
    def opened(self) -> Iterator[tuple[StudyContext, DagsterInstance]]:
        """The study and its instance, in this process."""
        with patch.dict(os.environ, {RESULTS_VARIABLE: str(self.results)}):
            context = StudyContext.load(self.study_file)
            with DagsterInstance.from_config(str(instance_folder(context.study))) as instance:
                yield context, instance

    def command(self, *arguments: str | Path) -> list[str]:
        """``fly64 ...`` for this study."""
        program = [sys.executable, "-m", "fly64_assets.cli"]
        return [*program, *map(str, arguments), "--study", str(self.study_file)]

    def environment(self) -> dict[str, str]:
        places = {RESULTS_VARIABLE: str(self.results), STUDY_VARIABLE: str(self.study_file)}
        return {**os.environ, **places}

    def start(self, command: list[str], log: Path, prefix: tuple[str, ...] = ()):
        """Start a command with its output in ``log``; the caller ends it."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*prefix, *command],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def standing(self) -> Standing:
        with self.opened() as (context, instance):
            made = latest_materializations(instance)
            whole = frozenset(place for place, one in made.items() if self._is_whole(one))
            verdicts = context.planner(instance).survey(_conditions(context))
            fresh = frozenset(
                (v.product.name, v.condition.partition_key)
                for v in verdicts
                if v.state is State.FRESH
            )
            runs = {run.run_id: run.status.value for run in instance.get_runs()}
        return Standing(made, whole, fresh, runs)

    def _is_whole(self, made: Made) -> bool:
        return all(sha256(self.store / path) == wanted for path, wanted in made.files.items())


def _conditions(context: StudyContext) -> list[Condition]:
    study = context.study
    return [Condition(dose, view) for dose in study.doses for view in study.views]


def latest_materializations(instance: DagsterInstance) -> dict[Place, Made]:
    found: dict[Place, Made] = {}
    for place, made in all_materializations(instance):
        if place not in found or found[place].storage_id < made.storage_id:
            found[place] = made
    return found


def all_materializations(instance: DagsterInstance) -> Iterator[tuple[Place, Made]]:
    """Every one that was ever recorded."""
    # What is made of all fresh conditions is remade after any of them; it has tests of its own.
    whole = {AssetKey(item.key) for item in STUDY_LEVEL.products}
    for key in set(instance.get_asset_keys()) - whole:
        for record in instance.fetch_materializations(AssetKey(key.path), limit=5000).records:
            place = ("/".join(key.path), record.partition_key)
            carried = record.asset_materialization.metadata["provenance"].value
            files = {path: one["sha256"] for path, one in carried["files"].items()}
            yield place, Made(record.storage_id, record.run_id, carried["data_version"], files)


def sha256(path: Path) -> str | None:
    """In hex; None where there is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def false_claims(standing: Standing, undisturbed: dict[Place, str]) -> list[str]:
    """What is called fresh and is not what an undisturbed run makes.

    Args:
        standing: of the study now.
        undisturbed: data versions, of the places that are known.
    """
    claims = []
    for place in sorted(standing.fresh, key=str):
        if place not in standing.whole:
            claims.append(f"{place} is called fresh, its files are not those recorded")
        elif undisturbed.get(place, standing.made[place].data_version) != (
            standing.made[place].data_version
        ):
            claims.append(f"{place} is called fresh, its data are not the undisturbed run's")
    return claims
