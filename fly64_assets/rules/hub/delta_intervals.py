"""The check of the intervals in the delta file, and what they say of who is better.

Nothing is drawn here: the intervals are those of comparison_statistics.csv, whose own checks
(``statistics.py``) compute them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.crate_graph import setting
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.statistics import table
from fly64_assets.study.model import BOTH, MODELS, SPLITS

SUBJECT, *OTHERS = MODELS
BETTER = {"ms_ssim": "higher", "mae": "lower"}


@check(
    "deltas.intervals",
    contract.DELTAS,
    "the intervals of the deltas are those of comparison_statistics.csv",
)
def delta_intervals(hub: Hub) -> Iterator[Finding]:
    stated = table(hub)

    def of(where: tuple[str, ...]) -> dict[str, Any]:
        cells = stated[where]
        return {
            **{
                name: float(cells[name]) if cells[name] else None
                for name in ("mean", "low", "high")
            },
            "settled": cells["settled"] == "yes" if cells["mean"] else None,
            "covers": cells["covers"],
        }

    def quoted(split: str) -> dict[str, Any]:
        return {
            f"vs_{other}": {
                metric: {c: of((split, SUBJECT, other, metric, c)) for c in contract.COMPONENTS}
                for metric in BETTER
            }
            for other in OTHERS
        }

    expected = {
        "confidence": setting(hub, "statistics", "confidence"),
        "source": contract.STATISTICS,
        "of_means": quoted(BOTH),
        "by_split": {split: quoted(split) for split in SPLITS},
    }
    found = hub.json(contract.DELTAS)["intervals"]
    yield from compare(contract.DELTAS, expected, found, key="intervals")


def settled_winner(hub: Hub, split: str, other: str, metric: str, component: str) -> str | None:
    """The better one of PtychoPINN and another model; None where zero lies in the interval."""
    cells = table(hub)[split, SUBJECT, other, metric, component]
    if cells["settled"] != "yes":
        return None
    return SUBJECT if (float(cells["high"]) > 0) == (BETTER[metric] == "higher") else other


def named_best(
    hub: Hub, split: str, given: dict[str, float | None], metric: str, component: str
) -> str:
    """Who has the best score, and of whom no interval says that they are worse.

    Two models that are not PtychoPINN have no interval of their difference; then those of their
    scores must not meet.
    """
    scores = {model: value for model, value in given.items() if value is not None}
    if not scores:
        return "not defined"
    wanted = max(scores.values()) if BETTER[metric] == "higher" else min(scores.values())
    leaders = [model for model, value in scores.items() if value == wanted]

    def winner(other: str) -> str | None:
        return settled_winner(hub, split, other, metric, component)

    def ends(model: str) -> tuple[float, float]:
        cells = table(hub)[split, model, "", metric, component]
        return float(cells["low"]), float(cells["high"])

    def ahead(leader: str, rival: str) -> bool:
        if SUBJECT in (leader, rival):
            return winner(rival if leader == SUBJECT else leader) == leader
        above, below = (leader, rival) if BETTER[metric] == "higher" else (rival, leader)
        return ends(above)[0] > ends(below)[1]

    text = " and ".join(leaders)
    behind = [model for model in arms(hub) if model not in leaders]
    open_to = [r for r in behind if not all(ahead(leader, r) for leader in leaders)]
    unknown = [
        rival
        for rival in open_to
        if rival != SUBJECT and any(one != SUBJECT and not ahead(one, rival) for one in leaders)
    ]
    for words, names in (
        ("not settled", [r for r in open_to if r not in unknown]),
        ("no interval", unknown),
    ):
        text += f", {words} against {' and '.join(names)}" if names else ""
    return text
