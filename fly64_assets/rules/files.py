"""The files of a condition as a rule sees them, in a store while it is made or in an exported hub.

A rule is a function of `Files`. Two frames run it: the asset checks on a store, and ``fly64
verify`` on a hub (``hub/of_products.py``), where whatever is read is bounded and may be hostile.
What a rule asks for does not belong here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fly64_assets.documents.provenance import Provenance
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import Study
from fly64_assets.study.products import Product

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import Dataset


T = TypeVar("T")


class Files(Protocol):
    """One product of a condition as it was made last, and what was made beside it.

    Every reader takes the name of one of the product's files; what cannot be read raises, and that
    is the rule's failure in both frames. What is returned must not be changed.

    Attributes:
        study: as the store's study file says, or as the hub's crate states.
        split: of the product; "None" where it has none.
        provenance: as the materialization records it, or the crate: settings, inputs, data version,
            and the sha256 and size of each file. A hub states no seconds, memory or storage ids.
    """

    @property
    def study(self) -> Study: ...
    @property
    def product(self) -> Product: ...
    @property
    def condition(self) -> Condition: ...
    @property
    def split(self) -> str: ...
    @property
    def provenance(self) -> Provenance: ...

    def has(self, file: str) -> bool:
        """Whether a file is there: a hub may lack what the contract does not name."""

    def path(self, file: str) -> Path:
        """Return where a file lies."""

    def text(self, file: str) -> str:
        """Read a text."""

    def json(self, file: str) -> dict[str, Any]:
        """Read a JSON object."""

    def table(self, file: str) -> list[dict[str, str]]:
        """Read the rows of a CSV file by column."""

    def arrays(self, file: str, *keys: str) -> Mapping[str, np.ndarray]:
        """Read arrays of an NPZ, checksums verified; all of them by default."""

    def mapped(self, file: str, key: str) -> np.ndarray:
        """Return one array of an NPZ as a memory map."""

    def dataset(self) -> Dataset:
        """Read the dataset that the product's first file is."""

    def other(self, *key: str) -> Files:
        """Return another product of the same condition; LookupError where it was never made."""

    def once(self, what: str, files: Mapping[str, Files], make: Callable[[], T]) -> T:
        """Return ``make()``; in a hub it is remembered for the same content.

        Args:
            what: name of what is made.
            files: name of each file that it is made of -> of which product.
            make: reads nothing else.
        """


def metadata(files: Files, file: str) -> dict[str, Any]:
    """Parse the ``_metadata`` of an NPZ."""
    found: dict[str, Any] = json.loads(str(files.arrays(file, "_metadata")["_metadata"][()]))
    return found


def numbers(files: Files, file: str, *columns: str) -> dict[str, list[float]]:
    """Read columns of a CSV file as numbers.

    Raises:
        KeyError, ValueError: a column is missing or holds no numbers.
    """
    rows = files.table(file)
    return {name: [float(row[name]) for row in rows] for name in columns}


def equals(key: str, rule: str, expected: Any, actual: Any) -> RuleOutcome:
    """Return the outcome of a rule that asks for one value."""
    return RuleOutcome(key, rule, expected, actual, expected == actual)


def same_settings(
    where: str, expected: Mapping[str, Any], recorded: Mapping[str, Any]
) -> Iterator[RuleOutcome]:
    """Yield one outcome a setting: what the study says, and what was recorded as used."""
    found = flattened(recorded)
    for name, value in flattened(expected).items():
        yield equals(f"{where} {name}", "as in the study", value, found.get(name, "not recorded"))


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
