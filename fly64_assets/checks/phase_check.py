"""The frame around every check: finds what was materialized, reads it, shows a table of rules."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    MetadataValue,
    TableRecord,
    asset_check,
)

from fly64_assets.catalogue import BY_KEY, Product
from fly64_assets.context import StudyContext
from fly64_assets.ledger import Record
from fly64_assets.partitions import Condition, partitions_definition
from fly64_assets.process import end_with_parent
from fly64_assets.ptychography.rules import RuleOutcome
from fly64_assets.store import Store
from fly64_assets.study import Study


@dataclass(frozen=True)
class CheckRun:
    """What a check's judge works with: the record under check, and where files lie."""

    study: Study
    store: Store
    record: Record

    @property
    def condition(self) -> Condition:
        return self.record.condition

    def path(self, file: str) -> Path:
        return self.store.path(self.record.product, self.condition, file)

    def other_path(self, key: tuple[str, ...], file: str) -> Path:
        """A file of another product of the same condition."""
        product = BY_KEY[key]
        return self.store.path(product, self.condition.restricted_to(product.per), file)


Judge = Callable[[CheckRun], Iterable[RuleOutcome]]


def _result(outcomes: list[RuleOutcome], severity: AssetCheckSeverity) -> AssetCheckResult:
    broken = [outcome for outcome in outcomes if not outcome.ok]
    description = "; ".join(
        f"{row.key}: {row.rule}, expected {row.expected}, found {row.actual}" for row in broken[:3]
    )
    rows = [
        TableRecord({name: value if name == "ok" else str(value) for name, value in row.items()})
        for row in map(asdict, outcomes)
    ]
    return AssetCheckResult(
        passed=not broken,
        severity=severity,
        description=description or f"{len(outcomes)} rules hold",
        metadata={
            "rules": MetadataValue.table(rows) if rows else MetadataValue.text("none"),
            "n_rules": len(outcomes),
            "n_broken": len(broken),
        },
    )


def build_check(
    context: StudyContext,
    product: Product,
    name: str,
    judge: Judge,
    *,
    description: str,
    severity: AssetCheckSeverity = AssetCheckSeverity.ERROR,
) -> AssetChecksDefinition:
    """The check ``name`` of ``product``; blocking where the catalogue says so."""

    @asset_check(
        asset=AssetKey(product.key),
        name=name,
        description=description,
        blocking=name in product.blocking_checks,
        partitions_def=partitions_definition(context.study, product.per),
    )
    def evaluate(context_: AssetCheckExecutionContext) -> AssetCheckResult:
        end_with_parent()
        execution = context_.op_execution_context
        key = execution.partition_key if execution.has_partition_key else None
        condition = Condition.from_partition_key(key)
        ledger = context.ledger(execution.instance)
        record = ledger.latest(product, condition)
        if record is None:
            row = RuleOutcome(product.name, "is materialized", "a record", "none", False)
            return _result([row], AssetCheckSeverity.ERROR)
        altered = ledger.altered(record)
        intact = RuleOutcome(
            "files", "bytes as written", "sha256 equal", altered or "equal", not altered
        )
        if altered:
            return _result([intact], AssetCheckSeverity.ERROR)
        judged = list(judge(CheckRun(context.study, context.store, record)))
        return _result([intact, *judged], severity)

    return evaluate
