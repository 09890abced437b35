"""What a verification found: running the checks, the report as JSON, its digest, its file.

Rules do not belong here, except the one about a stored report.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import CHECKS, Broken, Check, Finding, check, in_order
from fly64_assets.rules.hub.reading import Hub, parse_json

THREADS = min(2, os.cpu_count() or 1)
FINDINGS_KEPT = 50
"""Reasons of one check in a report; a hub of garbage would fill it with thousands."""
MOST_FINDINGS, LONGEST_PART = 1_000, 300
"""Of one check, and letters of a finding's file, key or reason: a hub may hold anything."""


@dataclass(frozen=True)
class Outcome:
    """One check applied to one hub; it holds when there are no findings."""

    check: Check
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True)
class Report:
    """All outcomes of one hub."""

    dose: int
    view: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.ok]

    def to_json(self, generated_at: str) -> dict[str, Any]:
        """Return the report with the digest of its own content."""
        content: dict[str, Any] = {
            "generated_at": generated_at,
            "hub": {"dose": self.dose, "view": self.view},
            "n_checks": len(self.outcomes),
            "n_valid": len(self.outcomes) - len(self.failed),
            "checks": [_entry(outcome, self.dose, self.view) for outcome in self.outcomes],
        }
        return {**content, "digest": digest(content)}


def _entry(outcome: Outcome, dose: int, view: str) -> dict[str, Any]:
    about = outcome.check.file.format(dose=dose, view=view)
    first = outcome.findings[0] if outcome.findings else Finding(about, "", "")
    return {
        "name": outcome.check.name,
        "ok": outcome.ok,
        "file": first.file or about,
        "key": first.key,
        "rule": outcome.check.rule,
        "reasons": [str(finding) for finding in outcome.findings[:FINDINGS_KEPT]],
    }


def digest(content: dict[str, Any]) -> str:
    """``sha256:`` of a report's canonical JSON without its own digest."""
    bare = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@check(
    "verification_report.unedited",
    contract.REPORT,
    "where there: it is the report that a verification wrote, with its digest",
)
def unedited(hub: Hub) -> Iterator[Finding]:
    if contract.REPORT not in hub.files:
        return
    try:
        content = parse_json(hub.text(contract.REPORT))
    except (ValueError, RecursionError) as error:
        yield Finding(contract.REPORT, "", f"is no valid JSON: {error}")
        return
    if not isinstance(content, dict) or content.get("digest") != digest(content):
        yield Finding(contract.REPORT, "digest", "is not that of the content: it was edited")
        return
    entries = content.get("checks")
    valid = [e for e in entries if e.get("ok")] if isinstance(entries, list) else []
    expected = {
        "hub": {"dose": hub.dose, "view": hub.view},
        "n_checks": len(entries) if isinstance(entries, list) else None,
        "n_valid": len(valid),
    }
    for key, value in expected.items():
        if content.get(key) != value:
            yield Finding(contract.REPORT, key, f"is {content.get(key)!r}, expected {value!r}")


def judge(hub: Hub, one: Check) -> Outcome:
    """Apply a check; whatever it stumbles over is a finding that names the exception."""
    findings: list[Finding] = []
    try:
        findings += islice(one.judge(hub), MOST_FINDINGS)
    except Broken as error:
        findings.append(error.finding)
    except Exception as error:  # anything may lie in a hub; a crash must not pass for a pass
        about = one.file.format(dose=hub.dose, view=hub.view)
        reason = " ".join(str(error).split())[:200]
        findings.append(Finding(about, "", f"cannot be judged: {type(error).__name__}: {reason}"))
    return Outcome(one, tuple(Finding(*map(_shortened, astuple(found))) for found in findings))


def _shortened(part: Any) -> str:
    """Text that is no longer than a person reads, and that can be written."""
    text = str(part)
    text = text if len(text) <= LONGEST_PART else f"{text[:LONGEST_PART]} ..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def run_checks(
    hub: Hub,
    names: Iterable[str] | None = None,
    tell: Callable[[Outcome], None] = lambda outcome: None,
    threads: int = THREADS,
    watch: Callable[[Check, Outcome | None], None] = lambda one, outcome: None,
) -> Report:
    """Apply checks to a hub.

    Args:
        hub: any folder.
        names: of the checks to apply, all by default.
        tell: called with each outcome, in the order of the checks.
        threads: checks at a time; they change nothing in the outcome.
        watch: called with each check when it begins, and with its outcome too when it has ended,
            in any order and from any thread.
    """

    def judged(one: Check) -> Outcome:
        watch(one, None)
        outcome = judge(hub, one)
        watch(one, outcome)
        return outcome

    chosen = [CHECKS[name] for name in names] if names is not None else in_order()
    hub.hash_all(threads)
    outcomes = []
    with ThreadPoolExecutor(threads) as pool:
        for outcome in pool.map(judged, chosen):
            tell(outcome)
            outcomes.append(outcome)
    return Report(hub.dose, hub.view, tuple(outcomes))


def write_report(root: Path, content: dict[str, Any]) -> None:
    """Replace the hub's verification report, atomically and never outside the hub.

    Args:
        root: the hub's folder.
        content: of `Report.to_json`.

    Raises:
        OSError: it cannot be written.
    """
    path = root / contract.REPORT
    if path.parent.is_symlink():
        raise OSError(f"{path.parent.name} is a link")
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("x", encoding="utf-8", newline="\n") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
