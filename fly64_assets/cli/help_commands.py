"""``fly64 schema`` and ``fly64 completion``: what helps an editor, a program and a shell."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from fly64_assets.cli.options import exit_code, print_json
from fly64_assets.errors import InputError, did_you_mean

VARIABLE = "_FLY64_COMPLETE"


def _schema_names(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    from fly64_assets.documents.schemas import SCHEMAS

    return [CompletionItem(name) for name in SCHEMAS if name.startswith(typed)]


@click.command()
@click.argument("name", required=False, shell_complete=_schema_names)
@exit_code
def schema(name: str | None) -> int:
    """Print the schema NAME; without NAME, say which there are and of which files.

    A JSON Schema (draft 2020-12) of the study file and of each JSON file of a hub, a Table Schema
    of each CSV file.

    Example: fly64 schema metrics_summary
    """
    from fly64_assets.documents.schemas import SCHEMAS

    if name is None:
        width = max(map(len, SCHEMAS))
        for known in SCHEMAS.values():
            click.echo(f"{known.name:<{width}}  {', '.join(known.paths) or known.about}")
        return 0
    if name not in SCHEMAS:
        near = did_you_mean(name, SCHEMAS)
        raise InputError("NAME", "", f"{name!r} is no schema; `fly64 schema` lists them{near}")
    print_json(SCHEMAS[name].content())
    return 0


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@exit_code
def completion(ctx: click.Context, shell: str) -> int:
    """Print what lets a SHELL complete commands, options, doses and views.

    \b
    Examples:
      eval "$(fly64 completion bash)"
      eval "$(fly64 completion zsh)"
      fly64 completion fish | source
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "fly64", VARIABLE).source())
    return 0
