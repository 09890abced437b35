"""One study as the platform holds it: the settings, the file they came from, and its store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterInstance

from fly64_assets.pipeline.freshness import Planner
from fly64_assets.pipeline.records import Ledger
from fly64_assets.pipeline.store import Store
from fly64_assets.study.model import Study, load_study, study_path


@dataclass(frozen=True)
class StudyContext:
    """What assets, checks and the command line share."""

    study: Study
    study_file: Path
    store: Store

    @classmethod
    def load(cls, path: str | Path | None = None) -> StudyContext:
        """Read the study; InputError for one that breaks a rule, or a store of another version."""
        study = load_study(path)
        store = Store.of(study)
        store.require_schema()
        return cls(study, study_path(path), store)

    def ledger(self, instance: DagsterInstance) -> Ledger:
        return Ledger(instance, self.store)

    def planner(self, instance: DagsterInstance) -> Planner:
        return Planner(self.study, self.study_file, self.ledger(instance))
