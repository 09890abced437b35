"""``fly64``: the command line, a thin face on what the web UI shows as well.

Commands live beside this file by what they are about; ``options.py`` holds what they share. Each
imports what it needs when it is called, so that ``fly64 --help`` is quick.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import click

from fly64_assets.cli import (
    data_commands,
    help_commands,
    hub_commands,
    lineage_command,
    record_commands,
    report_command,
    run_commands,
    verify_command,
)
from fly64_assets.cli.options import STORAGE_ERRORS, say
from fly64_assets.errors import InputError, harmless
from fly64_assets.pipeline.environment import settle
from fly64_assets.runs.interrupts import heeded, reset_inherited


class _InOrderOfUse(click.Group):
    """Commands are listed as they are used one after the other, each with its whole first words.

    The way in and out of every command too: what is wrong with the standard streams or with the
    usage is told as harmlessly as all else.
    """

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command as a program: it ends with `SystemExit`, unless not ``standalone_mode``."""
        if not standalone_mode:
            main: Any = super().main  # whose overloads know no options of others
            return main(*args, standalone_mode=False, **options)
        reset_inherited()
        # As a program it is given no arguments: click takes those of the process.
        with heeded(to_the_end=not args and options.get("args") is None):
            self._run(*args, **options)

    def _run(self, *args: Any, **options: Any) -> None:
        _require_streams()
        try:
            try:
                main: Any = super().main
                sys.exit(main(*args, standalone_mode=False, **options))
            finally:
                sys.stdout.flush()
        except click.Abort:
            sys.exit(1)
        except click.ClickException as error:
            usage = click.UsageError(harmless(error.format_message()), getattr(error, "ctx", None))
            usage.show()
            sys.exit(error.exit_code)
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.EPIPE, *STORAGE_ERRORS):
                raise
            # What could not be written must not be tried again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if not isinstance(error, BrokenPipeError):
                say(f"error: standard output: {error.strerror or error}", err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if cmd.help and not cmd.short_help:
            cmd.short_help = " ".join(cmd.help.split("\n\n", 1)[0].split())
        super().add_command(cmd, name)


def _require_streams() -> None:
    """Require standard streams to write to; a file opened later must not become one.

    Whoever closed standard error is told nothing; without standard output there is nothing to do.
    """
    if sys.stderr is None:
        descriptor = os.open(os.devnull, os.O_RDWR)
        while descriptor < 2:
            descriptor = os.dup(descriptor)
        sys.stderr = os.fdopen(descriptor, "w")
    if sys.stdout is None:
        say("error: standard output: is closed", err=True)
        sys.exit(1)
    if isinstance(sys.stdout, io.TextIOWrapper):  # some encodings lack our letters
        sys.stdout.reconfigure(errors="backslashreplace")


@click.group(cls=_InOrderOfUse, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fly64_assets", prog_name="fly64")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Plan the fly64 dose/overlap study, run it, see where it stands.

    Without --study FILE or $FLY64_STUDY a command is about study.yaml, also after `make demo`,
    whose study is studies/demo.yaml.

    \b
    Exit codes: 0 done; 1 something failed, does not hold or is not to be
    trusted; 2 bad usage or input. NO_COLOR=1 turns colours off.

    Example: fly64 run --study studies/demo.yaml --dose 1000 --view dense
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    try:
        settle()
    except InputError as error:
        say(f"error: {error}", err=True)
        ctx.exit(2)


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
    record_commands.restore,
    record_commands.clean,
    data_commands.data001,
    data_commands.import_,
    help_commands.schema,
    help_commands.completion,
):
    main.add_command(command)
