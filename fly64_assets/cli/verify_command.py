"""``fly64 verify``: an exported hub held against every rule of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fly64_assets.cli.options import exit_code, json_option, print_json, say
from fly64_assets.pipeline.process import utc_now

if TYPE_CHECKING:
    from fly64_assets.rules.hub import Finding, Outcome


class _Lines:
    """One line a check, under the heading of its group; beneath a failed one what is new."""

    def __init__(self) -> None:
        self.group = ""
        self.told: set[Finding] = set()
        self.lacking = 0
        """Checks that could not judge for what an earlier one named: they are only counted."""

    def __call__(self, outcome: Outcome) -> None:
        new = [finding for finding in outcome.findings if finding not in self.told]
        self.told.update(new)
        if outcome.findings and not new:
            self.lacking += 1
            return
        if outcome.check.group != self.group:
            self.group = outcome.check.group
            say(self.group, bold=True)
        name = outcome.check.name.removeprefix(f"{self.group}.")
        if outcome.ok:
            say(f"  ok      {name}")
            return
        say(f"  FAILED  {name}: {outcome.check.rule}", fg="red")
        shown = 8
        for finding in new[:shown]:
            say(f"          {finding}")
        if len(new) > shown:
            say(f"          ... and {len(new) - shown} more")


@click.command()
@click.argument("hub")
@json_option
@exit_code
def verify(hub: str, as_json: bool) -> int:
    """Hold an exported HUB against every rule of the contract. Exit 1 when one is broken.

    Example: fly64 verify hubs/1000_dense
    """
    failed, content = verify_and_show(Path(hub), quiet=as_json)
    if as_json:
        print_json(content)
    return 1 if failed else 0


def verify_and_show(hub: Path, *, quiet: bool = False) -> tuple[bool, dict[str, Any]]:
    """Verify a hub, leave the report in it, say what was found.

    Returns:
        Whether a check failed, and the report.

    Raises:
        InputError: there is no hub.
    """
    from fly64_assets.hub.apart import verify_hub
    from fly64_assets.rules.hub import write_report

    lines = _Lines()
    report = verify_hub(hub, *(() if quiet else (lines,)))
    content = report.to_json(utc_now())
    try:
        write_report(hub, content)
    except OSError as error:  # a read-only hub can be verified as well
        reason = error.strerror or str(error)
        say(f"warning: {hub}: verification_report.json: not written: {reason}", err=True)
    n_checks = len(report.outcomes)
    if report.failed and not quiet:
        said = f"FAILED: {len(report.failed)} of {n_checks} checks"
        if lines.lacking:
            said += f", {lines.lacking} of them for want of what is named above"
        say(said, fg="red", bold=True)
    elif not quiet:
        say(f"verified: {n_checks} checks hold", fg="green", bold=True)
    return bool(report.failed), content
