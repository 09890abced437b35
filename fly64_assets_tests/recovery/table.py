"""The table of faults in Markdown: ``python -m fly64_assets_tests.recovery.table RECORDS.jsonl``.

A fault that missed its phase is no try; what it did all the same counts as lost or false.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from fly64_assets_tests.recovery.daemon_kinds import DAEMON_KINDS
from fly64_assets_tests.recovery.kinds import KINDS
from fly64_assets_tests.recovery.scenes import BY_PHASE
from fly64_assets_tests.recovery.trial import CLOSING, Record

ORDER = (*KINDS, *DAEMON_KINDS)


def read_records(path: Path) -> list[Record]:
    return [Record(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def _times(records: Sequence[Record]) -> tuple[str, str]:
    seconds = [one.seconds for one in records if one.seconds is not None]
    return (f"{median(seconds):.0f}", f"{max(seconds):.0f}") if seconds else ("-", "-")


def _summary(name: str, records: Sequence[Record]) -> list[object]:
    tries = [one for one in records if one.injected]
    lost = sum(bool(one.lost) for one in records)
    false = sum(bool(one.falsely_successful) for one in records)
    recovered = sum(one.recovered is True for one in tries)
    return [name, len(tries), lost, false, recovered, *_times(tries)]


def _cell(records: Sequence[Record]) -> str:
    tries = [one for one in records if one.injected]
    if not tries:
        return "-"
    recovered = sum(one.recovered is True for one in tries)
    return f"{recovered} of {len(tries)}, {_times(tries)[0]} s"


def render(records: Sequence[Record]) -> str:
    """Three parts: by kind, by kind and phase, and the closing ``fly64 run`` of each series."""
    faults = [one for one in records if one.phase != CLOSING]
    of = {kind.__name__: [r for r in faults if r.kind == kind.__name__] for kind in ORDER}
    of = {name: found for name, found in of.items() if found}
    summary = [_summary(f"`{name}`", found) for name, found in of.items()]
    summary.append(_summary("**all**", faults))
    phases = [
        [f"`{name}`", *(_cell([r for r in found if r.phase == phase]) for phase in BY_PHASE)]
        for name, found in of.items()
    ]
    closings = [one for one in records if one.phase == CLOSING]
    whole = sum(one.recovered is True for one in closings)
    missed = len(faults) - sum(one.injected for one in faults)
    head = ("fault", "tries", "lost", "falsely successful", "recovered", "median s", "max s")
    return "\n\n".join(
        [
            _table(head, summary),
            "Recovered of tries and median seconds to recover, by phase:",
            _table(("fault", *BY_PHASE), phases),
            f"{missed} further faults came too late or too early to meet their phase and are not "
            f"counted. After each series `fly64 run` over the whole study: {whole} of "
            f"{len(closings)} ended with exit code 0, all fresh, with the undisturbed run's data.",
        ]
    )


def explained() -> str:
    """What each kind does, from its own docstring."""
    rows = [(f"`{kind.__name__}`", " ".join(str(kind.__doc__).split())) for kind in ORDER]
    return _table(("fault", "what is done"), rows)


if __name__ == "__main__":
    print(f"{explained()}\n\n{render(read_records(Path(sys.argv[1])))}")
