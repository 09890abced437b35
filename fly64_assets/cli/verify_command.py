"""``fly64 verify``: an exported hub held against every rule of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fly64_assets.cli.options import exit_code, json_option, print_json, say
from fly64_assets.process import utc_now

if TYPE_CHECKING:
    from fly64_assets.hub.verify import Outcome


class _Lines:
    """One line a check, under the heading of its group; beneath a failed one its reasons."""

    def __init__(self) -> None:
        self.group = ""

    def __call__(self, outcome: Outcome) -> None:
        if outcome.check.group != self.group:
            self.group = outcome.check.group
            say(self.group, bold=True)
        name = outcome.check.name.removeprefix(f"{self.group}.")
        if outcome.ok:
            say(f"  ok      {name}")
            return
        say(f"  FAILED  {name}: {outcome.check.rule}", fg="red")
        shown = 8
        for finding in outcome.findings[:shown]:
            say(f"          {finding}")
        if len(outcome.findings) > shown:
            say(f"          ... and {len(outcome.findings) - shown} more")


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
    from fly64_assets.hub.verify import verify_hub, write_report

    report = verify_hub(hub, *(() if quiet else (_Lines(),)))
    content = report.to_json(utc_now())
    try:
        write_report(hub, content)
    except OSError as error:  # a read-only hub can be verified as well
        reason = error.strerror or str(error)
        say(f"warning: {hub}: verification_report.json: not written: {reason}", err=True)
    n_checks = len(report.outcomes)
    if report.failed and not quiet:
        say(f"FAILED: {len(report.failed)} of {n_checks} checks", fg="red", bold=True)
    elif not quiet:
        say(f"verified: {n_checks} checks hold", fg="green", bold=True)
    return bool(report.failed), content
