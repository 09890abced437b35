"""``fly64``: the command line, a thin face on what the web UI shows as well.

Commands live beside this file by what they are about; ``options.py`` holds what they share. Each
imports what it needs when it is called, so that ``fly64 --help`` is quick.
"""

from __future__ import annotations

import os
from typing import Any

import click

from fly64_assets.cli import (
    data_commands,
    help_commands,
    hub_commands,
    lineage_command,
    report_command,
    run_commands,
    verify_command,
)
from fly64_assets.interrupts import heeded


class _InOrderOfUse(click.Group):
    """Commands are listed as they are used one after the other, each with its whole first words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if cmd.help and not cmd.short_help:
            cmd.short_help = " ".join(cmd.help.split("\n\n", 1)[0].split())
        super().add_command(cmd, name)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # As a program it is given no arguments: click takes those of the process.
        with heeded(to_the_end=not args and kwargs.get("args") is None):
            return super().main(*args, **kwargs)


@click.group(cls=_InOrderOfUse, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fly64_assets", prog_name="fly64")
@click.pass_context
def main(ctx: click.Context) -> None:
    """The fly64 dose/overlap study: plan it, run it, see where it stands.

    Without --study FILE or $FLY64_STUDY a command is about study.yaml, also after `make demo`,
    whose study is studies/demo.yaml.

    \b
    Exit codes: 0 done; 1 something failed, does not hold or is not to be
    trusted; 2 bad usage or input. NO_COLOR=1 turns colours off.

    Example: fly64 run --study studies/demo.yaml --dose 1000 --view dense
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


for command in (
    run_commands.plan,
    run_commands.run,
    run_commands.status,
    hub_commands.checks,
    run_commands.ui,
    report_command.report,
    hub_commands.export,
    verify_command.verify,
    lineage_command.lineage,
    data_commands.data001,
    data_commands.import_,
    help_commands.schema,
    help_commands.completion,
):
    main.add_command(command)
