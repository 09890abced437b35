"""The frame around every check: finds what was materialized, reads it, shows a table of rules.

All checks of one product are judged in one step, because starting a process costs more than most
of them; each stays a check of its own, with its own result and severity.
"""

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MetadataValue,
    Output,
    TableRecord,
    multi_asset_check,
)

from fly64_assets.documents.provenance import FileRecord, Provenance
from fly64_assets.pipeline.accelerator import limit_device
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.dagster_internals import EvaluationTarget
from fly64_assets.pipeline.freshness import Planner, State
from fly64_assets.pipeline.partitions import partitions_definition
from fly64_assets.pipeline.process import end_with_parent, limit_threads
from fly64_assets.pipeline.records import JUDGED_BY, Ledger, Record
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import AS_WRITTEN, Check, Severity
from fly64_assets.rules.files import Files, T
from fly64_assets.rules.store import checks_of
from fly64_assets.study.conditions import Condition, conditions_of
from fly64_assets.study.model import Study
from fly64_assets.study.products import BY_KEY, FILES, Product, products_in

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import Dataset


@dataclass(frozen=True)
class StoreCheckRun:
    """The files of a study's store as a judge sees them (`rules.check.CheckRun`).

    Attributes:
        study: as its file says.
        ledger: of the instance.
        record: of the product as it was made last.
        memory: what rules of one evaluation have found out, see `once`.
    """

    study: Study
    ledger: Ledger
    record: Record
    memory: dict[Any, Any] = field(default_factory=dict, compare=False)

    @property
    def product(self) -> Product:
        return self.record.product

    @property
    def condition(self) -> Condition:
        return self.record.condition

    @property
    def split(self) -> str:
        return str(self.product.split)

    @property
    def provenance(self) -> Provenance:
        return self.record.provenance

    @property
    def figures(self) -> dict[str, float]:
        return self.record.figures

    @property
    def root(self) -> Path:
        return self.ledger.store.root

    def path(self, file: str) -> Path:
        return self.ledger.store.path(self.product, self.condition, file)

    def has(self, file: str) -> bool:
        return self.path(file).is_file()

    def text(self, file: str) -> str:
        return self.path(file).read_text("utf-8")

    def json(self, file: str) -> dict[str, Any]:
        return json.loads(self.text(file))

    def table(self, file: str) -> list[dict[str, str]]:
        with self.path(file).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def arrays(self, file: str, *keys: str) -> "dict[str, np.ndarray]":
        from fly64_assets.ptychography.data001 import npz

        return npz.read_npz(self.path(file), keys or None)

    def mapped(self, file: str, key: str) -> "np.ndarray":
        from fly64_assets.ptychography.data001 import npz

        return npz.open_array(self.path(file), key)

    def dataset(self) -> "Dataset":
        from fly64_assets.ptychography.data001.dataset import read_dataset

        return read_dataset(self.path(self.product.files[0]))

    def once(self, what: str, files: Mapping[str, Files], make: Callable[[], T]) -> T:
        key = (what, *((file, owner.product.key) for file, owner in files.items()))
        if key not in self.memory:
            self.memory[key] = make()
        found: T = self.memory[key]
        return found

    def other(self, *key: str) -> "StoreCheckRun":
        product = BY_KEY[key]
        found = self.at(product, self.condition.restricted_to(product.per))
        if found is None:
            raise LookupError(f"{product.name} was never made")
        return found

    def at(self, product: Product, condition: Condition) -> "StoreCheckRun | None":
        return self._of(self.ledger.latest(product, condition))

    def previous(self) -> "StoreCheckRun | None":
        return self._of(self.ledger.previous(self.record))

    def altered(self, file: FileRecord) -> str | None:
        return self.ledger.store.altered({file.path: file})

    def _of(self, record: Record | None) -> "StoreCheckRun | None":
        return None if record is None else replace(self, record=record)


def check_step(product: Product) -> str:
    """Name of the one step that evaluates all checks of a product."""
    return f"check_{'_'.join(product.key)}"


PER_PARTITION = (
    "One evaluation a partition: the list shows the last of any; the tab Partitions and "
    "`fly64 checks` show each."
)
"""Of the UI's list of checks, said with each check of a partitioned asset."""
BOUND = re.compile(r"[<>]|\bwithin\b")
MEASURED = re.compile(r"([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?: [^\W\d_].*)?")
"""A number, and perhaps words after it: ``0.9712``, ``3.1 px``, ``998.20 over 600 exposures``."""


def measured(outcomes: Iterable[RuleOutcome]) -> dict[str, float]:
    """Return what was held against a bound, as numbers, which the UI plots over time.

    What has to be equal to something is left out: it does not move.
    """
    found = {}
    for outcome in outcomes:
        number = MEASURED.fullmatch(str(outcome.actual))
        if number is not None and BOUND.search(str(outcome.expected)):
            found[f"{outcome.key}: {outcome.rule}"] = float(number[1])
    return found


def _result(
    planner: Planner,
    product: Product,
    check: Check,
    outcomes: Collection[RuleOutcome],
    severity: Severity,
) -> AssetCheckResult:
    broken = [outcome for outcome in outcomes if not outcome.ok]
    description = "; ".join(map(_in_words, broken[:3]))
    rows = [
        TableRecord({name: value if name == "ok" else str(value) for name, value in row.items()})
        for row in map(asdict, outcomes)
    ]
    return AssetCheckResult(
        passed=not broken,
        asset_key=AssetKey(product.key),
        check_name=check.name,
        severity=AssetCheckSeverity(severity),
        description=description or f"{len(outcomes)} rules hold",
        metadata={
            "rules": MetadataValue.table(rows) if rows else MetadataValue.text("none"),
            "n_rules": len(outcomes),
            "n_broken": len(broken),
            JUDGED_BY: MetadataValue.text(planner.study_sha256),
            **{name: MetadataValue.float(value) for name, value in measured(outcomes).items()},
        },
    )


def _in_words(broken: RuleOutcome) -> str:
    if broken.rule == AS_WRITTEN:  # what is found is a sentence, and the planner's own
        return str(broken.actual)
    return f"{broken.key}: {broken.rule}, expected {broken.expected}, found {broken.actual}"


def evaluate(
    planner: Planner,
    product: Product,
    condition: Condition,
    checks: Iterable[Check],
    log: Callable[[str], None],
) -> Iterator[AssetCheckResult]:
    """Judge what is there of a product, where there is something to judge.

    What is missing or stale is not evaluated: what a check would say of it, or of what it was made
    from, would be recorded and outlive the change. Of altered bytes only the check `FILES` says
    that they are, and the others are not evaluated. What is not evaluated has not passed.
    """
    lack, chosen = planner.lack(product, condition), list(checks)
    if lack is not None and lack.state is State.ALTERED:
        first = [check for check in chosen if check.name == FILES]
        yield from judge(planner, product, condition, first)
        chosen = [check for check in chosen if check.name != FILES]
    elif lack is None:
        yield from judge(planner, product, condition, chosen)
        return
    if chosen:
        names = ", ".join(check.name for check in chosen)
        log(f"not evaluated: {names}: {lack.passed_on(product)}")


def judge(
    planner: Planner, product: Product, condition: Condition, checks: Iterable[Check]
) -> Iterator[AssetCheckResult]:
    """Judge the product's latest materialization; one result a check, whatever a judge raises."""
    record, ledger = planner.record(product, condition), planner.ledger
    assert record is not None  # something was made
    run = StoreCheckRun(planner.study, ledger, record)
    for check in checks:
        outcomes: list[RuleOutcome] = []
        severity = check.severity
        try:
            outcomes += check.judge(run)
        except Exception as error:  # whatever a file makes a judge raise is a finding
            problem = f"{type(error).__name__}: {error}"
            # Descriptions enter reports, and no report holds an absolute path.
            problem = problem.replace(f"{ledger.store.root}/", "")
            outcomes += [RuleOutcome("check", "can be evaluated", "no error", problem, False)]
            severity = Severity.ERROR
        if not outcomes:
            outcomes = [RuleOutcome(check.name, "has something to judge", "-", "nothing", True)]
        yield _result(planner, product, check, outcomes, severity)


def evaluate_everywhere(
    planner: Planner,
    product: Product,
    checks: Collection[Check],
    log: Callable[[str], None],
) -> Iterator[AssetCheckEvaluation]:
    """Judge every partition that was made, for a run that names none: the UI's "Execute all".

    Each partition has an evaluation of its own then, as if its own run had made it, and one that
    belongs to none says how many hold. Those that fail come last: the UI's list shows the last.
    """
    found: dict[str, list[tuple[Record, AssetCheckResult]]] = {check.name: [] for check in checks}
    made: list[Condition] = []
    for condition in conditions_of(planner.study, product.per):
        record = planner.record(product, condition)
        if record is not None:
            made.append(condition)
            for result in evaluate(planner, product, condition, checks, log):
                found[str(result.check_name)].append((record, result))
    for name, rows in found.items():
        rows.sort(key=lambda row: not row[1].passed)
        broken = [str(record.condition) for record, result in rows if not result.passed]
        judged = {record.condition for record, _ in rows}
        left = [str(condition) for condition in made if condition not in judged]
        text = f"holds in {len(rows) - len(broken)} of {len(made)} partitions that were made"
        text += f", not in {', '.join(broken)}" if broken else ""
        text += f"; not evaluated, being stale or altered: {', '.join(left)}" if left else ""
        text = text if made else "no partition was made yet: materialize one first"
        table = [
            TableRecord({"partition": str(r.condition), "ok": one.passed, "why": one.description})
            for r, one in rows
        ]
        whole = AssetCheckResult(
            passed=bool(rows) and not broken and not left,
            severity=rows[-1][1].severity if rows else AssetCheckSeverity.ERROR,
            description=text,
            metadata={"partitions": MetadataValue.table(table)} if rows else {},
        )
        for record, result in [(None, whole), *rows]:
            yield AssetCheckEvaluation(
                asset_key=AssetKey(product.key),
                check_name=name,
                passed=result.passed,
                metadata=result.metadata,
                target_materialization_data=None if record is None else _target(record),
                severity=result.severity,
                description=result.description,
                blocking=name in product.blocking_checks,
                partition=None if record is None else record.condition.partition_key,
            )


def _target(record: Record) -> EvaluationTarget:
    made = datetime.fromisoformat(record.provenance.generated_at).timestamp()
    return EvaluationTarget(storage_id=record.storage_id, run_id=record.run_id, timestamp=made)


def build_checks(
    context: StudyContext, product: Product, checks: Collection[Check]
) -> AssetChecksDefinition:
    """Return the product's checks as one step; each blocks where the catalogue says so."""
    partitions = partitions_definition(context.study, product.per)
    specs = [
        AssetCheckSpec(
            check.name,
            asset=AssetKey(product.key),
            description=f"{check.description} {PER_PARTITION if partitions else ''}".strip(),
            blocking=check.name in product.blocking_checks,
            partitions_def=partitions,
        )
        for check in checks
    ]

    @multi_asset_check(name=check_step(product), specs=specs, can_subset=True)
    def evaluate_all(
        context_: AssetCheckExecutionContext,
    ) -> Iterator[AssetCheckResult | AssetCheckEvaluation | Output]:
        end_with_parent()
        limit_threads(1)
        limit_device("cpu")
        execution = context_.op_execution_context
        keys = context_.selected_asset_check_keys
        names = {key.name for key in keys}
        wanted = [check for check in checks if check.name in names]
        planner, log = context.planner(execution.instance), context_.log.warning
        if partitions is None or execution.has_partition_key:
            key = execution.partition_key if partitions else None
            yield from evaluate(planner, product, Condition.from_partition_key(key), wanted, log)
            return
        for spec in specs:
            if spec.key in keys:  # as Dagster does for a result of the run's one partition
                yield Output(None, output_name=spec.get_python_identifier())
        yield from evaluate_everywhere(planner, product, wanted, log)

    return evaluate_all


def build_all(context: StudyContext) -> list[AssetChecksDefinition]:
    """Build every check of the study, one definition a product."""
    items = products_in(context.study)
    return [build_checks(context, item, checks_of(item)) for item in items if item.checks]
