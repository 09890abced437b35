"""What an exhibit is, and what a function that makes one works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fly64_assets.study.model import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["string", "int", "float", "bool"]
Row = Mapping[str, Any]


KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("dose", "training", "seed", "best_epoch"), "int"),
    **dict.fromkeys(("phase", "amplitude", "value", "mean", "low", "high", "delta"), "float"),
    **dict.fromkeys(("final_loss", "best_validation_loss", "photons_per_px2"), "float"),
    **dict.fromkeys(("settled", "sign_settled", "blocking"), "bool"),
}
"""Kinds of columns by name; any other holds text."""


@dataclass(frozen=True)
class Table:
    """Rows for people, with the kind of each column; None is an empty cell."""

    columns: Mapping[str, Kind]
    rows: Sequence[Row]

    @classmethod
    def of(cls, columns: str, rows: Iterable[Row]) -> Table:
        """Make a table of these columns of rows that may have more; kinds are those of `KINDS`."""
        kinds = {name: KINDS.get(name, "string") for name in columns.split()}
        return cls(kinds, [{name: row[name] for name in kinds} for row in rows])


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that is drawn for the UI and kept as a file beside the store.

    Attributes:
        name: of its file, without the suffix, and of its entry in the UI.
        caption: what is to be seen, with units and axes, in one sentence.
        draw: makes the figure.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class StoredPicture:
    """A picture that is one of the product's own files: only shown, never drawn again."""

    name: str
    caption: str
    file: str


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What there is to see of one product. ``numbers`` are plotted over time by the UI."""

    pictures: Sequence[Picture | StoredPicture] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """The product that is shown.

    Attributes:
        study: whose product it is.
        split: ``train``, ``test`` or None for both.
        title: what it is and of which condition, above its pictures.
        path: where one of its own files lies now, by name.
        input: where a file of one of its inputs lies: asset name, file name.
        arm: name of the arm that it belongs to, if any.
    """

    study: Study
    split: str | None
    title: str
    path: Callable[[str], Path]
    input: Callable[[str, str], Path]
    arm: str | None = None


Exhibitor = Callable[[Subject], Exhibit]
