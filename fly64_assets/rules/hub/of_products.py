"""The frame that runs the rules of products on a hub: `Files` of a hub, and a check for each rule.

A product's rules are those of its asset checks (``rules/store``); those that only warn are not
asked of a hub. What reads a hub is bounded by ``reading.py``; rules do not belong here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import ValidationError

from fly64_assets.documents.provenance import FileRecord, InputRecord, Provenance
from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset import Dataset, read_dataset
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun, Severity
from fly64_assets.rules.files import Files, T
from fly64_assets.rules.hub import contract, crate_graph
from fly64_assets.rules.hub.checks import Broken, Finding, Judge, check, shown
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.store import checks_of
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hub_layout import hub_path
from fly64_assets.study.model import Study
from fly64_assets.study.products import BY_KEY, PHASES, PRODUCTS, Product, products_in


def study_in(hub: Hub) -> Study:
    """Return the study that the crate states.

    Raises:
        Broken: it is not one.
    """

    def parse() -> Study:
        try:
            return Study.model_validate_json(json.dumps(crate_graph.study(hub)))
        except ValidationError as error:
            first = error.errors()[0]
            place = "/".join(map(str, ("#study", *first["loc"])))
            raise Broken(contract.CRATE, place, first["msg"]) from None

    return hub.once("study", [contract.CRATE], parse)


@dataclass(frozen=True)
class HubFiles:
    """One product in an exported hub (`rules.files.Files`)."""

    hub: Hub
    product: Product

    @property
    def study(self) -> Study:
        return study_in(self.hub)

    @property
    def condition(self) -> Condition:
        return Condition(self.hub.dose, self.hub.view).restricted_to(self.product.per)

    @property
    def split(self) -> str:
        return str(self.product.split)

    @property
    def provenance(self) -> Provenance:
        name = self.product.name
        step = crate_graph.steps(self.hub).get(name)
        if step is None:
            raise Broken(contract.CRATE, f"#make/{name}", "is missing")
        consumed: dict[str, dict[str, str]] = {asset: {} for asset in step.versions}
        for label, sha256 in step.consumed.items():
            asset, _, file = label.rpartition("/")
            consumed[asset][file] = sha256

        def stated(key: str) -> str:
            return str(step.stated.get(key))

        at = Condition(self.hub.dose, self.hub.view)
        places = (hub_path(self.product, at, file) for file in self.product.files)
        there = [path for path in places if path in self.hub.files]
        return Provenance(
            asset=name,
            partition=self.condition.partition_key,
            generated_at=step.end,
            study=stated("study"),
            study_sha256=stated("study_sha256"),
            fingerprint=stated("fingerprint"),
            code_version=stated("code_version"),
            data_version=stated("data_version"),
            settings=_settings(name, step.stated.get("settings")),
            files={
                path: FileRecord(path, self.hub.sha256(path), self.hub.files[path].st_size)
                for path in there
            },
            inputs={
                asset: InputRecord(asset, None, version, 0, consumed[asset])
                for asset, version in step.versions.items()
            },
            versions=step.versions_used,
            git_commit=stated("git_commit"),
            seconds=0,
            cpu_seconds=0,
            peak_memory_mb=0,
        )

    def place(self, file: str) -> str:
        """Return the path of a file relative to the hub; LookupError where no hub has it."""
        found = hub_path(self.product, Condition(self.hub.dose, self.hub.view), file)
        if found is None:
            raise LookupError(f"no hub holds {file} of {self.product.name}")
        return found

    def has(self, file: str) -> bool:
        return self.place(file) in self.hub.files

    def path(self, file: str) -> Path:
        return self.hub.path(self.place(file))

    def text(self, file: str) -> str:
        return self.hub.text(self.place(file))

    def json(self, file: str) -> dict[str, Any]:
        return self.hub.json(self.place(file))

    def table(self, file: str) -> list[dict[str, str]]:
        path = self.place(file)
        header, *rows = self.hub.table(path) or [[]]
        for number, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise Broken(path, f"line {number}", f"has {len(row)} cells of {len(header)}")
        return [dict(zip(header, row, strict=True)) for row in rows]

    def arrays(self, file: str, *keys: str) -> Mapping[str, np.ndarray]:
        return self.hub.arrays(self.place(file), *keys)

    def mapped(self, file: str, key: str) -> np.ndarray:
        return self.hub.mapped(self.place(file), key)

    def dataset(self) -> Dataset:
        path = self.place(self.product.files[0])
        try:
            return read_dataset(self.hub.path(path))
        except InputError as error:
            raise Broken(path, error.key, error.problem) from None

    def other(self, *key: str) -> HubFiles:
        return HubFiles(self.hub, BY_KEY[key])

    def once(self, what: str, files: Mapping[str, Files], make: Callable[[], T]) -> T:
        paths = [files.place(file) for file, files in files.items() if isinstance(files, HubFiles)]
        return self.hub.once(what, paths, make)

    def found(self, outcome: RuleOutcome) -> Finding:
        """Return a broken rule as a finding.

        It is in the file that its key begins with, where that is one of the product's or, as
        ``test/comparison.log``, one of a split's; else in the product's first.
        """
        reason = f"{outcome.rule}: is {shown(outcome.actual)}, expected {shown(outcome.expected)}"
        name, _, key = outcome.key.partition(" ")
        split, _, file = name.rpartition("/")
        for item in (self.product, *PRODUCTS):
            if file in item.files and split in ("", item.split):
                return Finding(HubFiles(self.hub, item).place(file), key, reason)
        return Finding(self.place(self.product.files[0]), outcome.key, reason)


def _settings(asset: str, stated: Any) -> dict[str, Any]:
    try:
        found = json.loads(str(stated))
    except (ValueError, RecursionError) as error:
        raise Broken(contract.CRATE, f"#make/{asset}/settings", f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Broken(contract.CRATE, f"#make/{asset}/settings", f"is {shown(found)}")
    return found


def _broken(check: Check, files: HubFiles) -> Iterator[Finding]:
    """Yield what one product breaks; what its files make a rule raise is a finding in the first."""
    try:
        outcomes = check.judge(cast(CheckRun, files))  # whose rules ask for `Files` alone
        yield from (files.found(outcome) for outcome in outcomes if not outcome.ok)
    except Broken as error:
        yield error.finding
    except InputError as error:
        yield Finding(files.place(files.product.files[0]), error.key, error.problem)
    except Exception as error:  # anything may lie in a hub
        problem = " ".join(str(error).split())[:200]
        reason = f"{check.name} cannot be judged: {type(error).__name__}: {problem}"
        yield Finding(files.place(files.product.files[0]), "", reason)


def register(group: str, *names: str) -> None:
    """Make a check of a hub of each of the named asset checks of a group of products.

    Args:
        group: of `study.products.PHASES`.
        names: of asset checks; in a hub ``phase_<letter>.<name>``.
    """
    prefix = f"phase_{PHASES[group]}"
    items = [item for item in PRODUCTS if item.group == group]
    register_as(prefix, f"data/{prefix}", items, *names)


def register_as(prefix: str, place: str, items: Iterable[Product], *names: str) -> None:
    """Make a check of a hub, ``<prefix>.<name>``, of each of the named asset checks of products.

    Args:
        prefix: group of the hub's checks.
        place: folder or file that they are about.
        items: the products.
        names: of their asset checks.
    """
    items = list(items)
    for name in names:
        owned = [(item, one) for item in items for one in checks_of(item) if one.name == name]
        assert owned and all(one.severity is Severity.ERROR for _, one in owned)
        rule = "; ".join(dict.fromkeys(one.description for _, one in owned))
        check(f"{prefix}.{name}", place, rule)(_judge(owned))


def warns(hub: Hub) -> dict[str, bool]:
    """Return ``asset check`` -> whether a hub's own files are what a check of WARN warns of.

    Whether anything drifted from what was made before is no hub's to tell.
    """
    return {
        f"{item.name} {one.name}": bool(list(_broken(one, HubFiles(hub, item))))
        for item in products_in(study_in(hub))
        if item.group in PHASES
        for one in checks_of(item)
        if one.severity is Severity.WARN and one.name != "drift"
    }


def _judge(owned: list[tuple[Product, Check]]) -> Judge:
    def judge(hub: Hub) -> Iterator[Finding]:
        there = products_in(study_in(hub))
        for item, one in owned:
            if item in there:
                yield from _broken(one, HubFiles(hub, item))

    return judge
