"""``fly64``: the command line, a thin face on what the web UI shows as well.

Commands live beside this file by what they are about; ``options.py`` holds what they share. Each
imports what it needs when it is called, so that ``fly64 --help`` is quick.
"""

from __future__ import annotations

import os

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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fly64_assets", prog_name="fly64")
@click.pass_context
def main(ctx: click.Context) -> None:
    """The fly64 dose/overlap study: plan it, run it, see where it stands.

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
    data_commands.data001,
    data_commands.import_,
    lineage_command.lineage,
    hub_commands.checks,
    hub_commands.export,
    report_command.report,
    verify_command.verify,
    run_commands.ui,
    help_commands.schema,
    help_commands.completion,
):
    main.add_command(command)
