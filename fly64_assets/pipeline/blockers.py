"""What stopped a partition, as a file beside it: there until the next success, and no longer.

A blocker says which step stopped, when, why and where its log is. ``fly64 status`` shows it, an
export refuses a partition that has one, and no hub ever holds one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fly64_assets.pipeline.process import utc_now
from fly64_assets.pipeline.store import Store, write_whole
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import LEVELS, Level

FILE = "blocker.log"


@dataclass(frozen=True)
class Stop:
    """One step that failed, or one check of severity ERROR that did not pass."""

    step: str
    exception: str
    log_path: str


def path_of(store: Store, level: Level, condition: Condition) -> Path:
    """Beside the last product of the level, one file for reports and one for scores."""
    last = level.products[-1]
    name = FILE if level.stage == "score" else f"{level.stage}_{FILE}"
    return store.folder(last, condition.restricted_to(level.per)) / name


def write(
    store: Store, level: Level, condition: Condition, run_id: str, stops: Sequence[Stop]
) -> None:
    """Replace the level's blocker."""
    path = path_of(store, level, condition)
    lines = [f"time: {utc_now()}", f"run: {run_id}"]
    for stop in stops or [Stop("-", "the run ended without saying why", "-")]:
        lines += [f"step: {stop.step}", f"exception: {stop.exception}", f"log: {stop.log_path}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join(lines) + "\n")


def steps(store: Store, level: Level, condition: Condition) -> list[str]:
    """Return the steps that the level's blocker names; [] where there is none."""
    path = path_of(store, level, condition)
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines()
    return [line.removeprefix("step: ") for line in lines if line.startswith("step: ")]


def in_a_line(text: str) -> str:
    """Return a blocker's text as one sentence: when, in which steps, why; without run and logs."""
    parts = [line.partition(": ") for line in text.splitlines()]
    told = [(name, value) for name, _, value in parts if name in ("time", "step", "exception")]
    (_, time), *stops = told or [("time", "an unknown time")]
    words = [value if name == "step" else f"({value})" for name, value in stops]
    return f"stopped at {time} in {' '.join(words)}"


def clear(store: Store, level: Level, condition: Condition) -> None:
    path_of(store, level, condition).unlink(missing_ok=True)


def of(
    store: Store, condition: Condition, levels: Iterable[Level] = LEVELS
) -> Iterator[tuple[str, str]]:
    """(path relative to the store, text) of every blocker that a condition stands behind."""
    for level in levels:
        path = path_of(store, level, condition)
        if path.is_file():
            yield store.relative(path), path.read_text("utf-8")
