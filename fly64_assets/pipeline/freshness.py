"""The planner: what is fresh, what is not and why, and therefore what a run has to make.

Dagster's own staleness is one link deep, knows one code version per asset and does not see bytes.
So every materialization carries a fingerprint of its code, of the settings that it read and of its
inputs' data versions, and freshness is decided here by propagating expected fingerprints from the
specimen down. Whoever says of a product that it is fresh, that a check of it passed or that it may
be read, asks this module: every command, report and export, the input loader, the checks and the
schedule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from fly64_assets.documents.provenance import InputRecord, Provenance
from fly64_assets.errors import NotTrusted
from fly64_assets.pipeline import blockers, stored_records
from fly64_assets.pipeline.records import CheckState, Ledger, Record
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import digest, sha256_of
from fly64_assets.study.model import Study, specimen_path
from fly64_assets.study.products import (
    BY_KEY,
    FILES,
    LEVELS,
    Product,
    collects_in,
    inputs_in,
    products_in,
)

LONGEST = 6
"""Differences named in one reason."""


class State(StrEnum):
    FRESH = "fresh"
    MISSING = "missing"
    STALE = "stale"
    ALTERED = "altered"
    FAILED = "failed"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Lack:
    """What keeps a product from being what it says, or from being consumed.

    Attributes:
        state: missing, stale or altered; of its checks, failed or unchecked.
        reason: in words; the same on every product that lacks something for one and the same cause.
        inherited: whether the reason is that of an input, which it names.
    """

    state: State
    reason: str
    inherited: bool = False

    def passed_on(self, product: Product) -> str:
        """Return the reason as it is given for what is made from ``product``."""
        return self.reason if self.inherited else f"{product.name} is {self.state}: {self.reason}"


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


def input_version(consumer: Product, made: Provenance) -> str:
    """Return what has to stay the same of an input for its consumer to stay fresh.

    Its data version; for a consumer that quotes the files themselves, their bytes.
    """
    files = {path: record.sha256 for path, record in made.files.items()}
    return digest(files) if consumer.depends_on_bytes else made.data_version


def consumed_version(consumer: Product, given: InputRecord) -> str:
    """`input_version` of an input as a consumer has recorded it."""
    return digest(dict(given.files)) if consumer.depends_on_bytes else given.data_version


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
        self._lacks: dict[tuple[Product, Condition], Lack | None] = {}
        self._verdicts: dict[tuple[Product, Condition], Verdict] = {}
        self._checks: dict[tuple[Product, Condition], list[CheckState]] = {}

    @cached_property
    def study_sha256(self) -> str:
        return digest(self.study.model_dump(mode="json"))

    @cached_property
    def specimen_sha256(self) -> str:
        path = specimen_path(self.study, self.study_file)
        return sha256_of(path) if path.is_file() else "missing"

    def settings(self, product: Product, condition: Condition) -> dict[str, Any]:
        """Return what the product reads of the study, the specimen's with its bytes, as JSON."""
        settings = dict(product.settings(self.study, condition))
        if not product.inputs and not product.collects:
            settings["specimen_sha256"] = self.specimen_sha256
        if product.collects:
            settings["gathered"] = {
                str(condition): {
                    r.product.name: input_version(product, r.provenance) for r in records
                }
                for condition, records in self.gathered(product).items()
            }
        if product.depends_on_checks:
            settings["checks"] = {
                f"{upstream.name} {check.name}": check.state
                for upstream, at in self.inputs_of(product, condition)
                for check in self.checks(upstream, at)
            }
        if product.depends_on_status:
            settings["conditions"] = {str(at): self.standing(at) for at in self.conditions}
        return json.loads(json.dumps(settings))

    def reported(self, product: Product, condition: Condition) -> list[Record]:
        """Return what there is of the products whose checks such a product reports on."""
        found = (self.record(*each) for each in self.inputs_of(product, condition))
        return [record for record in found if record is not None]

    def gathered(self, product: Product) -> dict[Condition, list[Record]]:
        """Return the records of every condition that such a product is made from now.

        A condition counts when all that is asked of it may be consumed, see `trusted`.
        """
        found, left = {}, self.left_out(product)
        for condition in (at for at in self.conditions if at not in left):
            records = (self.record(BY_KEY[k], condition) for k in collects_in(product, self.study))
            found[condition] = [record for record in records if record is not None]
        return found

    @property
    def conditions(self) -> list[Condition]:
        """Every cell of the study's matrix."""
        return [Condition(dose, view) for dose in self.study.doses for view in self.study.views]

    def checks(self, product: Product, condition: Condition) -> list[CheckState]:
        """Each check of a product as it stands for what is there now, in the catalogue's order.

        An evaluation counts for the materialization that it judged, as long as that is neither
        stale nor altered; one that failed, only for the study by which it judged and, of the bytes
        alone, only while they are wrong: it is due again otherwise.
        """
        if (product, condition) not in self._checks:
            self._checks[product, condition] = self._checks_now(product, condition)
        return self._checks[product, condition]

    def _checks_now(self, product: Product, condition: Condition) -> list[CheckState]:
        record, lack = self.record(product, condition), self.lack(product, condition)
        if lack is None:
            assert record is not None  # it is not missing
            return [self._in_force(check) for check in self.ledger.checks(record)]
        why = lack.passed_on(product) if lack.state is not State.MISSING else lack.reason
        states = [
            CheckState(name, name in product.blocking_checks, None, description=why)
            for name in product.checks
        ]
        if lack.state is State.ALTERED and states:
            states[0] = replace(states[0], passed=False, description=lack.reason)
        return states

    def _in_force(self, check: CheckState) -> CheckState:
        if not check.failed or (check.name != FILES and check.judged_by == self.study_sha256):
            return check
        why = "is due again: it failed " + (
            "before the bytes were put back" if check.name == FILES else "by another study"
        )
        return CheckState(check.name, check.blocking, None, description=why)

    def standing(self, condition: Condition) -> dict[str, str]:
        """How a condition's scores stand, as JSON values.

        Returns:
            ``state``, one of `State`, and ``reason``: of the first product that may not be
            consumed, or what stopped it; ``checks``: hash of what the checks of all its products
            say.
        """
        scored = [item for item in products_in(self.study) if item.stage == "score"]
        said = [
            [item.name, check.name, check.state, check.description]
            for item in scored
            for check in self.checks(item, condition.restricted_to(item.per))
        ]
        state, reason = self._first_distrusted(scored, condition) or (State.FRESH, "")
        if state not in (State.FRESH, State.FAILED, State.ALTERED):
            # It may be missing or stale because making it failed.
            levels = [level for level in LEVELS if level.stage == "score"]
            for _, text in blockers.of(self.ledger.store, condition, levels):
                state, reason = State.FAILED, blockers.in_a_line(text)
                break
        return {"state": str(state), "reason": reason, "checks": digest(said)}

    def _distrust(self, product: Product, condition: Condition) -> Lack | None:
        """Return what keeps a product from being consumed; None when nothing does."""
        lack = self.lack(product, condition)
        if lack is not None:
            return lack
        blocking = [check for check in self.checks(product, condition) if check.blocking]
        return next(_failures(blocking), None)

    def _first_distrusted(
        self, items: Iterable[Product], condition: Condition
    ) -> tuple[State, str] | None:
        """How the first that may not be consumed stands, and why; None when all of them may."""
        for item in items:
            lack = self._distrust(item, condition.restricted_to(item.per))
            if lack is not None:
                return lack.state, lack.passed_on(item)
        return None

    def left_out(self, product: Product) -> dict[Condition, str]:
        """Of every condition that such a product is not made from, the first reason why not."""
        needed, pending = set(), [*collects_in(product, self.study)]
        while pending:  # what a run would check first, however far up, is not finished either
            key = pending.pop()
            if key not in needed:
                needed.add(key)
                pending += inputs_in(BY_KEY[key], self.study)
        items = [item for item in products_in(self.study) if item.key in needed]
        first = {at: self._first_distrusted(items, at) for at in self.conditions}
        return {at: found[1] for at, found in first.items() if found is not None}

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
        """Return the product's latest record, looked up once."""
        if (product, condition) not in self._records:
            self._records[product, condition] = self.ledger.latest(product, condition)
        return self._records[product, condition]

    def lack(self, product: Product, condition: Condition) -> Lack | None:
        """Why the latest record is not what a run would make now, or not what lies on the disk.

        Reads records and bytes, its inputs' included, and no checks. None when it is what it says.
        """
        if (product, condition) not in self._lacks:
            self._lacks[product, condition] = self._find_lack(product, condition)
        return self._lacks[product, condition]

    def _find_lack(self, product: Product, condition: Condition) -> Lack | None:
        record = self.record(product, condition)
        if record is None:
            return Lack(State.MISSING, "never made")
        versions, inherited = {}, None
        for upstream, at in self.inputs_of(product, condition):
            above = self.lack(upstream, at)
            if above is not None and inherited is None:
                inherited = Lack(State.STALE, above.passed_on(upstream), True)
            made = self.record(upstream, at)
            if made is not None:
                versions[upstream.name] = input_version(product, made.provenance)
        if inherited is not None and not product.depends_on_checks:
            return inherited
        expected = self.fingerprint(product, condition, versions)
        if record.provenance.fingerprint != expected:
            return inherited or Lack(State.STALE, self._difference(record))
        altered = self.ledger.altered(record) or stored_records.contradiction(
            self.ledger.store, product, condition, record.provenance
        )
        return None if altered is None else Lack(State.ALTERED, altered)

    def _difference(self, record: Record) -> str:
        made = record.provenance
        product = record.product
        changed = []
        for upstream, at in self.inputs_of(product, record.condition):
            new, old = self.record(upstream, at), made.inputs.get(upstream.name)
            same = new is not None and old is not None and _same_input(product, old, new)
            changed += [] if same else [f"{upstream.name} changed"]
        now = self.settings(product, record.condition)
        changed += [_told(*difference) for difference in _differences(made.settings, now)]
        then = made.settings.get("gathered", {})
        left = self.left_out(product).items() if then else ()
        changed += [f"{at}: {why}" for at, why in left if str(at) in then]
        if made.code_version != product.code_version:
            changed.append(f"code {made.code_version} -> {product.code_version}")
        more = len(changed) - LONGEST
        told = [*changed[:LONGEST], f"and {more} more"] if more > 0 else changed
        return "; ".join(told) or "made from other inputs"

    def verdict(self, product: Product, condition: Condition) -> Verdict:
        """State of one product, bytes and checks included."""
        if (product, condition) not in self._verdicts:
            state, reason = self._judge(product, condition)
            self._verdicts[product, condition] = Verdict(
                product, condition, state, reason, self.record(product, condition)
            )
        return self._verdicts[product, condition]

    def _judge(self, product: Product, condition: Condition) -> tuple[State, str]:
        record, lack = self.record(product, condition), self.lack(product, condition)
        if lack is not None:
            return lack.state, lack.reason
        assert record is not None  # it is not missing
        for upstream, at in () if product.depends_on_checks else self.inputs_of(product, condition):
            above = self.verdict(upstream, at)
            if above.state is State.FAILED:
                return State.STALE, f"{upstream.name} is {above.state}: {above.reason}"
            if above.must_run:  # for that reason as well
                return State.STALE, above.reason
        for failure in _failures(self.checks(product, condition)):
            return failure.state, failure.reason
        return State.FRESH, f"made {record.provenance.generated_at}"

    def trusted(self, product: Product, condition: Condition) -> Record:
        """Return the record of an input that may be consumed. This is the guard of every consumer.

        Raises:
            NotTrusted: it was never made, is stale or altered, or a blocking check did not pass for
                this very materialization.
        """
        lack, record = self._distrust(product, condition), self.record(product, condition)
        if lack is not None:
            raise NotTrusted(f"{product.name} ({condition}) is {lack.state}: {lack.reason}")
        assert record is not None  # it is not missing
        return record

    def survey(self, conditions: Iterable[Condition]) -> list[Verdict]:
        """Verdicts on everything that the conditions need, each once, inputs first."""
        wanted = list(conditions)
        seen: dict[tuple[Product, Condition], None] = {}
        for product in (item for item in products_in(self.study) if item.stage != "study"):
            for condition in wanted:
                seen[product, condition.restricted_to(product.per)] = None
        return [self.verdict(product, condition) for product, condition in seen]


def _failures(checks: Iterable[CheckState]) -> Iterator[Lack]:
    """Yield what the checks of one product say against it, what failed before what is unchecked."""
    due = []
    for check in checks:
        if check.failed:
            yield Lack(State.FAILED, f"check {check.name}: {check.description or 'failed'}")
        if check.passed is None:
            why = check.description or "has not run for what is there now"
            due.append(Lack(State.UNCHECKED, f"check {check.name} {why}"))
    yield from due


def _same_input(consumer: Product, then: InputRecord, now: Record) -> bool:
    if not consumer.depends_on_bytes:
        return then.data_version == now.provenance.data_version
    files = now.provenance.files.items()
    return dict(then.files) == {path: record.sha256 for path, record in files}


def _told(key: str, old: Any, new: Any) -> str:
    of_hashes = key.startswith("gathered.")
    if not of_hashes and not (key.startswith("conditions.") and key.endswith(".checks")):
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
