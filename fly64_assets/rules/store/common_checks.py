"""Checks that any product can have: files that travel, and drift from what was made before."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import AS_WRITTEN, Check, CheckRun, Severity
from fly64_assets.rules.files import equals
from fly64_assets.study.arms import NAMES
from fly64_assets.study.products import FILES

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ANY_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
ABSOLUTE = re.compile(
    r"(?<![\w.~/*-])/(?:[\w.+-]+/)+[\w.+-]*|\bfile:/|~/\w|\b[A-Za-z]:[\\/]\w|\w\\\w"
)
"""A POSIX path from the root, a home folder, a drive letter, a backslash between names."""
TEXT_SUFFIXES = frozenset({".json", ".csv", ".log", ".md", ".txt"})
MS_SSIM_DRIFT = 0.02
MAE_DRIFT = 0.1
"""Changes of a headline score that a reader should hear of: absolute, and relative."""


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def _texts(path: Path) -> Iterator[str]:
    """Yield what a file says in words: text, decoded JSON strings, strings inside an archive."""
    if path.suffix == ".json":
        yield from _strings(json.loads(path.read_text("utf-8")))
    elif path.suffix in TEXT_SUFFIXES:
        yield path.read_text("utf-8")
    elif path.suffix == ".npz":
        yield from _npz_texts(path)
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield from _strings(json.loads(archive.read(name)))


def _npz_texts(path: Path) -> Iterator[str]:
    from fly64_assets.ptychography.data001.npz import describe_npz, read_npz

    worded = [key for key, header in describe_npz(path).items() if header.dtype.kind == "U"]
    for array in read_npz(path, worded).values():
        for text in array.ravel().tolist():
            try:
                yield from _strings(json.loads(text))
            except ValueError:
                yield text


def _times_and_paths(run: CheckRun) -> Iterable[RuleOutcome]:
    made = run.provenance
    yield RuleOutcome(
        "materialization",
        "time is UTC",
        "YYYY-MM-DDTHH:MM:SSZ",
        made.generated_at,
        UTC_TIME.fullmatch(made.generated_at) is not None,
    )
    paths = [*made.files, *(path for given in made.inputs.values() for path in given.files)]
    wrong = [path for path in paths if path.startswith("/") or "\\" in path or ".." in path]
    yield equals("materialization", "paths relative to the store, POSIX", "all", _few(wrong))
    for path in made.files:
        texts = list(_texts(run.root / path))
        times = [found for text in texts for found in ANY_TIME.findall(text)]
        wrong = [time for time in times if not UTC_TIME.fullmatch(time)]
        yield equals(Path(path).name, "times are UTC, YYYY-MM-DDTHH:MM:SSZ", "all", _few(wrong))
        # The traceback of a failed comparison names program files; such a log is never exported.
        if path.endswith(".log") and any("Traceback" in text for text in texts):
            continue
        wrong = [found for text in texts for found in ABSOLUTE.findall(text)]
        yield equals(Path(path).name, "paths are relative, POSIX", "all", _few(wrong))


def _files(run: CheckRun) -> Iterable[RuleOutcome]:
    for path, written in run.provenance.files.items():
        altered = run.altered(written)
        expected = f"sha256 {written.sha256[:12]}…"
        yield RuleOutcome(path, AS_WRITTEN, expected, altered or "equal", altered is None)


def _few(wrong: list[str]) -> str:
    return f"{len(wrong)} not: {', '.join(wrong[:3])}" if wrong else "all"


def _drift(run: CheckRun) -> Iterable[RuleOutcome]:
    before = run.previous()
    if before is None:
        yield RuleOutcome("previous", "comparable", "if there is one", "none", True)
        return
    now, then = run.provenance, before.provenance
    if (now.code_version, now.settings) != (then.code_version, then.settings):
        told = f"made {then.generated_at} by other code or settings"
        yield RuleOutcome("previous", "comparable", "if made alike", told, True)
        return
    changed = [
        name
        for name, given in now.inputs.items()
        if name not in then.inputs or then.inputs[name].data_version != given.data_version
    ]
    if not changed:
        yield equals(
            "data version",
            f"as made {then.generated_at} by the same code from the same",
            then.data_version[:12],
            now.data_version[:12],
        )
    whence = f"as made {then.generated_at}" + (f"; {', '.join(changed)} changed" if changed else "")
    yield from _headline_drift(run, before.figures, whence)


def _headline_drift(
    run: CheckRun, before: Mapping[str, float], whence: str
) -> Iterator[RuleOutcome]:
    """Only a comparison has such figures; of others nothing is compared."""
    for model in NAMES:
        for metric in ("ms_ssim", "mae"):
            for component in ("phase", "amplitude"):
                name = f"{model} {metric} {component}"
                old, new = before.get(name), run.figures.get(name)
                if old is None or new is None:
                    continue
                allowed = MS_SSIM_DRIFT if metric == "ms_ssim" else MAE_DRIFT * old
                yield RuleOutcome(
                    name,
                    whence,
                    f"{old:.4f} within {allowed:.4f}",
                    f"{new:.4f}",
                    abs(new - old) <= allowed,
                )


CHECKS = (
    Check(FILES, _files, "Every byte of its files is as it was written."),
    Check(
        "times_and_paths",
        _times_and_paths,
        "Every time in its files is UTC, every path relative and POSIX.",
    ),
    Check(
        "drift",
        _drift,
        "The same code and settings gave the same data, and scores near those, as last time.",
        Severity.WARN,
    ),
)
