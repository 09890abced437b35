"""Which arm is the better one, and whether that is settled: no report names a winner otherwise.

A name comes from an interval. Scores alone, of the first training, say who leads; where the
interval of the difference holds zero, another part of the object or another training could turn it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.ptychography.scoring.names import SUBJECT

if TYPE_CHECKING:
    from fly64_assets.ptychography.scoring.statistics import Statistic

NOT_SETTLED, NO_INTERVAL, EQUAL = "not settled", "no interval", "equal"


def better_of_two(
    delta: float | None, interval: Mapping[str, Any] | None, other: str, metric: str
) -> str:
    """Return the better one of PtychoPINN and another arm, or why none is named.

    Args:
        delta: PtychoPINN minus the other, of the first training; None where it is missing.
        interval: of that delta, an entry of ``intervals``. Where it settles the sign, it is the
            interval's sign that counts: the first training may lie beyond zero by chance.
        other: the other arm.
        metric: whose direction says what better is.
    """
    if delta is None:
        return numbers.MISSING
    if interval is None or interval["settled"] is None:
        return NO_INTERVAL
    if interval["settled"]:
        return SUBJECT if METRICS[metric].is_better(interval["low"], 0.0) else other
    return EQUAL if delta == 0 else NOT_SETTLED


def best(
    scores: Mapping[str, float], rows: Iterable[Statistic], metric: str, component: str
) -> str:
    """Return the arms that no other beats, and the others that it is not settled against.

    ``PtyChi, not settled against PtychoPINN, no interval against Baseline``; a bare name is settled
    against all others.

    Args:
        scores: by arm, of one split.
        rows: statistics of that split.
        metric, component: what the scores are of.
    """
    is_better = METRICS[metric].is_better
    leaders = [
        model
        for model, value in scores.items()
        if not any(is_better(rival, value) for rival in scores.values())
    ]
    if not leaders:
        return numbers.UNDEFINED
    known = {
        (row.model, row.reference): row
        for row in rows
        if (row.metric, row.component) == (metric, component)
    }
    against: dict[str, list[str]] = {NOT_SETTLED: [], NO_INTERVAL: []}
    for rival in scores:
        ahead = [_is_ahead(one, rival, known, metric) for one in leaders if one != rival]
        if rival in leaders or all(ahead):
            continue
        against[NO_INTERVAL if None in ahead else NOT_SETTLED].append(rival)
    doubts = [f"{doubt} against {' and '.join(names)}" for doubt, names in against.items() if names]
    return ", ".join([" and ".join(leaders), *doubts])


def _is_ahead(
    one: str, other: str, known: Mapping[tuple[str, str], Statistic], metric: str
) -> bool | None:
    """Whether it is settled that ``one`` is the better; None where no interval says so.

    Differences of two arms without PtychoPINN have no interval. There it is settled where the
    intervals of the scores do not meet: that of the difference is no wider than both together.
    """
    is_better = METRICS[metric].is_better
    found = known.get((one, other)) or known.get((other, one))
    if found is not None and found.settled is not None and found.low is not None:
        # The subtracted one is behind where the difference is better than none.
        return found.settled and is_better(found.low, 0.0) == (one == found.model)
    lead, rest = (known.get((arm, "")) for arm in (one, other))
    ends = [end for row in (lead, rest) if row for end in (row.low, row.high) if end is not None]
    if len(ends) < 4:
        return None
    apart = all(is_better(mine, its) for mine in ends[:2] for its in ends[2:])
    return True if apart else None
