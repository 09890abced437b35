"""What a check is, and the table of all of them. No rule of the contract stands here.

A judge reads a hub and yields one `Finding` for each place where its rule is broken; a rule that
holds yields nothing. A judge that cannot go on raises `Broken`, which is a finding as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fly64_assets.rules.values import NOTHING, differing
from fly64_assets.rules.values import close as close

if TYPE_CHECKING:
    from fly64_assets.rules.hub.reading import Hub


@dataclass(frozen=True)
class Finding:
    """One place where a rule is broken: file relative to the hub, key or line in it, and why."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.reason) if part)


class Broken(Exception):
    """Something that a judge needs is missing or unreadable."""

    def __init__(self, file: str, key: str, reason: str) -> None:
        self.finding = Finding(file, key, reason)
        super().__init__(str(self.finding))


Judge = Callable[["Hub"], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """A rule of the contract.

    Attributes:
        name: ``group.rule``.
        file: what it is about, relative to the hub; ``{dose}`` and ``{view}`` are filled in.
        rule: in one sentence what must hold.
        judge: yields where it does not.
    """

    name: str
    file: str
    rule: str
    judge: Judge

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


GROUPS = (
    *("hub", "layout", "inventory", "text", "json", "paths", "times", "logs", "npz", "pictures"),
    *("phase_c", "phase_d", "phase_e", "phase_f", "scores", "manifest", "statistics"),
    *(
        "summary",
        "deltas",
        "reports",
        "check_report",
        "summary_page",
        "crate",
        "verification_report",
    ),
)
"""In the order of a report: what is there, what it holds phase by phase, what is said about it."""
CHECKS: dict[str, Check] = {}
"""Every check by name."""


def in_order() -> list[Check]:
    """Every check, in the order of a report."""
    return sorted(CHECKS.values(), key=lambda one: GROUPS.index(one.group))


def check(name: str, file: str, rule: str) -> Callable[[Judge], Judge]:
    """Register the decorated judge as the check ``name``."""

    def register(judge: Judge) -> Judge:
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        CHECKS[name] = Check(name, file, rule, judge)
        return judge

    return register


def differences(
    expected: Any, found: Any, *, relative: float = 0.0, key: str = ""
) -> Iterator[tuple[str, str]]:
    """(key, reason) of every place where a JSON value is not the expected one; see `differing`."""
    for place, wanted, stated in differing(expected, found, relative=relative, key=key):
        if stated is NOTHING:
            yield place, "is missing"
        elif wanted is NOTHING:
            yield place, "is no key of this file"
        else:
            yield place, f"is {shown(stated)}, expected {shown(wanted)}"


def shown(value: Any) -> str:
    """Return a value on one line, cut short."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def compare(
    file: str, expected: Any, found: Any, *, relative: float = 0.0, key: str = ""
) -> Iterator[Finding]:
    """`differences` as findings in ``file``."""
    for place, reason in differences(expected, found, relative=relative, key=key):
        yield Finding(file, place, reason)
