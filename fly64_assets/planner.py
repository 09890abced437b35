"""The planner: what is fresh, what is not and why, and therefore what a run has to make.

Dagster's own staleness is one link deep, knows one code version per asset and does not see bytes.
So every materialization carries a fingerprint of its code, of the settings that it read and of its
inputs' data versions, and freshness is decided here by propagating expected fingerprints from the
specimen down. The command line, the input loader and the schedule all ask this module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from fly64_assets import blockers
from fly64_assets.catalogue import BY_KEY, LEVELS, Product, gathers_in, inputs_in, products_in
from fly64_assets.errors import NotTrusted
from fly64_assets.ledger import CheckState, InputRecord, Ledger, Provenance, Record
from fly64_assets.partitions import Condition
from fly64_assets.store import sha256_of
from fly64_assets.study import Study, specimen_path


class State(StrEnum):
    FRESH = "fresh"
    MISSING = "missing"
    STALE = "stale"
    ALTERED = "altered"
    FAILED = "failed"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Verdict:
    """What the planner says of one product in one condition, with the reason in words."""

    product: Product
    condition: Condition
    state: State
    reason: str
    record: Record | None = None

    @property
    def must_run(self) -> bool:
        return self.state not in (State.FRESH, State.UNCHECKED)

    def __str__(self) -> str:
        return f"{self.product.name} {self.condition}: {self.state} ({self.reason})"


def digest(content: Any) -> str:
    """sha256 of JSON with sorted keys: equal for equal content, whatever the order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def input_version(consumer: Product, made: Provenance) -> str:
    """What has to stay the same of an input for its consumer to stay fresh.

    Its data version; for a consumer that quotes the files themselves, their bytes.
    """
    files = {path: record.sha256 for path, record in made.files.items()}
    return digest(files) if consumer.quotes_files else made.data_version


def consumed_version(consumer: Product, given: InputRecord) -> str:
    """`input_version` of an input as a consumer has recorded it."""
    return digest(dict(given.files)) if consumer.quotes_files else given.data_version


def fingerprint(
    code_version: str, settings: Mapping[str, Any], input_versions: Mapping[str, str]
) -> str:
    """Hash of all that decides what a product is.

    Raises:
        ValueError: the settings hold a number that JSON does not know.
    """
    return digest(
        {"code_version": code_version, "settings": settings, "inputs": dict(input_versions)}
    )


class Planner:
    """Freshness of a study's products. One instance is one look: verdicts are kept.

    Args:
        study: the validated study.
        study_file: where it was read from; a specimen given by path lies beside it.
        ledger: what has been recorded.
    """

    def __init__(self, study: Study, study_file: Path, ledger: Ledger) -> None:
        self.study, self.study_file, self.ledger = study, study_file, ledger
        self._records: dict[tuple[Product, Condition], Record | None] = {}
        self._staleness: dict[tuple[Product, Condition], str | None] = {}
        self._verdicts: dict[tuple[Product, Condition], Verdict] = {}
        self._checks: dict[int, list[CheckState]] = {}

    @cached_property
    def study_sha256(self) -> str:
        return digest(self.study.model_dump(mode="json"))

    @cached_property
    def specimen_sha256(self) -> str:
        path = specimen_path(self.study, self.study_file)
        return sha256_of(path) if path.is_file() else "missing"

    def settings(self, product: Product, condition: Condition) -> dict[str, Any]:
        """What the product reads of the study, as JSON values; the specimen's with its bytes."""
        settings = dict(product.settings(self.study, condition))
        if not product.inputs and not product.gathers:
            settings["specimen_sha256"] = self.specimen_sha256
        if product.gathers:
            settings["gathered"] = {
                str(condition): {
                    r.product.name: input_version(product, r.provenance) for r in records
                }
                for condition, records in self.gathered(product).items()
            }
        if product.reads_checks:
            settings["checks"] = self._check_states(product, condition)
        if product.surveys:
            settings["conditions"] = {str(at): self.standing(at) for at in self.conditions}
        return json.loads(json.dumps(settings))

    def _check_states(self, product: Product, condition: Condition) -> dict[str, str]:
        """The latest state of every check of the product's inputs, in a word each."""
        states = {}
        for upstream, at in self.inputs_of(product, condition):
            record = self.record(upstream, at)
            for check in self.checks(record) if record else ():
                states[f"{upstream.name} {check.name}"] = check.state
        return states

    def gathered(self, product: Product) -> dict[Condition, list[Record]]:
        """The records of every condition that such a product is made from now.

        A condition counts when all that is asked of it is not stale and passed its blocking checks;
        bytes are looked at when it is read.
        """
        found = {}
        for condition in self.conditions:
            keys = gathers_in(product, self.study)
            records = [self._sound(BY_KEY[key], condition) for key in keys]
            if all(records):
                found[condition] = [record for record in records if record is not None]
        return found

    def _sound(self, product: Product, condition: Condition) -> Record | None:
        if self.staleness(product, condition) is not None:
            return None
        record = self.record(product, condition)
        assert record is not None  # it is not stale
        sound = all(c.passed for c in self.checks(record) if c.blocking)
        return record if sound else None

    @property
    def conditions(self) -> list[Condition]:
        """Every cell of the study's matrix."""
        return [Condition(dose, view) for dose in self.study.doses for view in self.study.views]

    def checks(self, record: Record) -> list[CheckState]:
        """The record's checks, looked up once."""
        if record.storage_id not in self._checks:
            self._checks[record.storage_id] = self.ledger.checks(record)
        return self._checks[record.storage_id]

    def standing(self, condition: Condition) -> dict[str, str]:
        """How a condition's scores stand, as JSON values.

        Reads records, checks and blockers, no bytes.

        Returns:
            ``state``, one of `State`, and ``reason``: of the first product that is not fresh, or
            what stopped it; ``checks``: hash of what the checks of all its products say.
        """
        scored = [item for item in products_in(self.study) if item.stage == "score"]
        found = [(item, condition.restricted_to(item.per)) for item in scored]
        records = [record for record in (self.record(*each) for each in found) if record]
        said = [
            [record.product.name, check.name, check.state, check.description]
            for record in records
            for check in self.checks(record)
        ]
        state, reason = next(filter(None, (self._lacks(*each) for each in found)), (None, ""))
        if state is not None and state is not State.FAILED:
            # It may be missing or stale because making it failed.
            levels = [level for level in LEVELS if level.stage == "score"]
            for _, text in blockers.of(self.ledger.store, condition, levels):
                state, reason = State.FAILED, blockers.in_a_line(text)
                break
        return {"state": str(state or State.FRESH), "reason": reason, "checks": digest(said)}

    def _lacks(self, product: Product, condition: Condition) -> tuple[State, str] | None:
        """What keeps a product from being consumed; None when nothing does."""
        record = self.record(product, condition)
        if record is None:
            return State.MISSING, f"{product.name} was never made"
        stale = self.staleness(product, condition)
        if stale is not None:
            return State.STALE, f"{product.name}: {stale}"
        for check in self.checks(record):
            if check.blocking and check.failed:
                return State.FAILED, f"{product.name}: check {check.name}: {check.description}"
            if check.blocking and check.passed is None:
                return State.UNCHECKED, f"{product.name}: check {check.name} has not run"
        return None

    def fingerprint(
        self,
        product: Product,
        condition: Condition,
        input_versions: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Hash of all that decides what the product is.

        Args:
            product, condition: what is made.
            input_versions: see `input_version`, by the input's name.
            settings: that it was made with, where others may hold by now.
        """
        read = self.settings(product, condition) if settings is None else settings
        return fingerprint(product.code_version, read, input_versions)

    def inputs_of(
        self, product: Product, condition: Condition
    ) -> Iterable[tuple[Product, Condition]]:
        for key in inputs_in(product, self.study):
            upstream = BY_KEY[key]
            yield upstream, condition.restricted_to(upstream.per)

    def record(self, product: Product, condition: Condition) -> Record | None:
        """The product's latest record, looked up once."""
        if (product, condition) not in self._records:
            self._records[product, condition] = self.ledger.latest(product, condition)
        return self._records[product, condition]

    def staleness(self, product: Product, condition: Condition) -> str | None:
        """Why the latest record is not what a run would make now; None when it is.

        Reads records only: neither bytes nor checks.
        """
        if (product, condition) not in self._staleness:
            self._staleness[product, condition] = self._why_stale(product, condition)
        return self._staleness[product, condition]

    def _why_stale(self, product: Product, condition: Condition) -> str | None:
        record = self.record(product, condition)
        if record is None:
            return "never made"
        versions = {}
        for upstream, at in self.inputs_of(product, condition):
            stale = self.staleness(upstream, at)
            if stale is not None:
                return f"{upstream.name} is stale: {stale}"
            made = self.record(upstream, at)
            assert made is not None  # it is not stale
            versions[upstream.name] = input_version(product, made.provenance)
        expected = self.fingerprint(product, condition, versions)
        if record.provenance.fingerprint == expected:
            return None
        return self._difference(record)

    def _difference(self, record: Record) -> str:
        made = record.provenance
        product = record.product
        changed = []
        for upstream, at in self.inputs_of(product, record.condition):
            now, then = self.record(upstream, at), made.inputs.get(upstream.name)
            same = now is not None and then is not None and _same_input(product, then, now)
            changed += [] if same else [f"{upstream.name} changed"]
        now = self.settings(product, record.condition)
        changed += [_told(*difference) for difference in _differences(made.settings, now)]
        if made.code_version != product.code_version:
            changed.append(f"code {made.code_version} -> {product.code_version}")
        return "; ".join(changed) or "made from other inputs"

    def verdict(self, product: Product, condition: Condition) -> Verdict:
        """State of one product, bytes and checks included."""
        if (product, condition) not in self._verdicts:
            state, reason = self._judge(product, condition)
            self._verdicts[product, condition] = Verdict(
                product, condition, state, reason, self.record(product, condition)
            )
        return self._verdicts[product, condition]

    def _judge(self, product: Product, condition: Condition) -> tuple[State, str]:
        record = self.record(product, condition)
        if record is None:
            return State.MISSING, "never made"
        for upstream, at in self.inputs_of(product, condition):
            above = self.verdict(upstream, at)
            if above.must_run:
                return State.STALE, f"{upstream.name} is {above.state}: {above.reason}"
        stale = self.staleness(product, condition)
        if stale is not None:
            return State.STALE, stale
        altered = self.ledger.altered(record)
        if altered is not None:
            return State.ALTERED, altered
        checks = self.checks(record)
        for check in checks:
            if check.failed:
                return State.FAILED, f"check {check.name}: {check.description or 'failed'}"
        for check in checks:
            if check.passed is None:
                return State.UNCHECKED, f"check {check.name} has not run for it"
        return State.FRESH, f"made {record.provenance.generated_at}"

    def trusted(self, product: Product, condition: Condition) -> Record:
        """The record of an input that may be consumed. This is the guard of every consumer.

        Raises:
            NotTrusted: it was never made, is stale, a blocking check did not pass for this very
                materialization, or its bytes are not what was written.
        """
        name = f"{product.name} ({condition})"
        record = self.record(product, condition)
        if record is None:
            raise NotTrusted(f"{name} was never made")
        stale = self.staleness(product, condition)
        if stale is not None:
            raise NotTrusted(f"{name} is stale: {stale}; make it again first")
        for check in self.ledger.checks(record):
            if check.blocking and check.failed:
                raise NotTrusted(f"{name} failed its check {check.name}: {check.description}")
            if check.blocking and check.passed is None:
                raise NotTrusted(
                    f"{name}: its check {check.name} has not run for what is there now"
                )
        altered = self.ledger.altered(record)
        if altered is not None:
            raise NotTrusted(f"{name}: {altered}")
        return record

    def survey(self, conditions: Iterable[Condition]) -> list[Verdict]:
        """Verdicts on everything that the conditions need, each once, inputs first."""
        wanted = list(conditions)
        seen: dict[tuple[Product, Condition], None] = {}
        for product in (item for item in products_in(self.study) if item.stage != "study"):
            for condition in wanted:
                seen[product, condition.restricted_to(product.per)] = None
        return [self.verdict(product, condition) for product, condition in seen]


def _same_input(consumer: Product, then: InputRecord, now: Record) -> bool:
    if not consumer.quotes_files:
        return then.data_version == now.provenance.data_version
    files = now.provenance.files.items()
    return dict(then.files) == {path: record.sha256 for path, record in files}


def _told(key: str, old: Any, new: Any) -> str:
    if not key.startswith("gathered."):
        return f"{key}: {old} -> {new}"
    # What was gathered is known by hashes, which tell a reader nothing.
    return f"{key} {'left out' if new is None else 'new' if old is None else 'changed'}"


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, Any, Any]]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", before, after
