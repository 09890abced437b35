"""What commands share: the study and matrix options, the choice of conditions, JSON, exit codes.

Exit codes: 0 done, 1 something failed or nothing matched, 2 bad usage or input. An error is one
line on standard error that ends with what to do next.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fly64_assets.errors import InputError, NotTrusted, did_you_mean, harmless

if TYPE_CHECKING:
    from fly64_assets.study.conditions import Condition
    from fly64_assets.study.model import Study

Command = Callable[..., int]
STORAGE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
)
"""Of a file system that takes nothing more, or does not let one in."""
SAYS_WHAT_TO_DO = ("`fly64", " --", "did you mean", "pip install", " aside ")
"""In a problem that names a command, an option, a value, or what to move out of the way."""


def study_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--study",
        "study_file",
        type=click.Path(),
        metavar="FILE",
        help="Study file; default: $FLY64_STUDY, else study.yaml.",
    )(command)


def _completed(what: str) -> Callable[..., list[CompletionItem]]:
    """Shell completion from the study's doses or views."""

    def complete(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        from fly64_assets.study.model import load_study

        try:
            study = load_study(ctx.params.get("study_file"))
        except InputError:  # a shell has no place for it
            return []
        before, comma, last = typed.rpartition(",")
        names = (str(name) for name in getattr(study, what))
        return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]

    return complete


def _with(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command options, in this order, after that of the study."""
    for option in reversed(options):
        command = option(command)
    return study_option(command)


def _key_option(kind: str, *more: str, **how: Any) -> Callable[..., Any]:
    return click.option(f"--{kind}", *more, shell_complete=_completed(f"{kind}s"), **how)


def one_condition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return _with(
        command,
        _key_option("dose", required=True, metavar="D", help="Photons per exposure."),
        _key_option("view", required=True, metavar="V", help="The overlap view."),
    )


def matrix_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return _with(
        command,
        _key_option("dose", "doses", metavar="D[,D]", help="Doses; default: all."),
        _key_option("view", "views", metavar="V[,V]", help="Views; default: all."),
    )


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(content: Any) -> None:
    """One JSON value on standard output, in ASCII: its escapes keep whatever a name holds."""
    click.echo(json.dumps(content, indent=2))


def say(text: str, *, err: bool = False, lines: bool = False, **style: Any) -> None:
    """Print a line (or ``lines``), made harmless; ``style`` is that of `click.style`."""
    click.secho(harmless(text, lines=lines), err=err, **style)


def exit_code(command: Command) -> Callable[..., None]:
    """Turn a command's result or its clear errors into the exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            sys.exit(command(*args, **kwargs))
        except InputError as error:
            say(f"error: {with_next_step(str(error), next_step(error))}", err=True)
            sys.exit(2)
        except NotTrusted as error:
            advice = "`fly64 status` says where everything stands"
            say(f"error: {with_next_step(str(error), advice)}", err=True, lines=True)
            sys.exit(1)
        except Exception as error:
            problem = storage_problem(error)
            if problem is None:
                raise
            kept = "what was finished is kept"
            advice = "mend that and repeat the command"
            say(f"error: {with_next_step(f'{problem}; {kept}', advice)}", err=True)
            sys.exit(1)

    return run


def with_next_step(problem: str, advice: str) -> str:
    """Return the problem and what to do, unless it says so itself."""
    told = any(part in problem for part in SAYS_WHAT_TO_DO) or not advice
    return problem if told else f"{problem}; next: {advice}"


def next_step(error: InputError) -> str:
    """Return what to do about bad input, by where it stands."""
    if error.next_step:
        return error.next_step
    if error.source.startswith("--"):
        return f"see `fly64 {click.get_current_context().info_name} --help`"
    if error.source.endswith((".yaml", ".yml")):
        return "mend the file; `fly64 schema study` says what each key may hold"
    if error.source.endswith((".npz", ".h5", ".hdf5")):
        return "mend or choose the file; `fly64 import` converts foreign ones"
    return f"see `fly64 {click.get_current_context().info_name} --help`"


def storage_problem(error: BaseException | None) -> str | None:
    """Return what the file system or Dagster's database refused, in a line; None for another error.

    A disk that runs full and a database that stays locked may end a command anywhere.
    """
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            where = os.environ.get("DAGSTER_HOME", "the study's Dagster instance")
            return f"{where}: its database cannot be used: {error} (is the disk full?)"
        if isinstance(error, sqlite3.DatabaseError):
            where = os.environ.get("DAGSTER_HOME", "the study's folder dagster")
            aside = f"move {where} aside, `fly64 restore` makes its records again from the store"
            return f"{where}: its database is damaged: {error}; {aside}"
        if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
            return f"{error.filename or 'disk'}: {error.strerror}"
        error = error.__cause__ or error.__context__
    return None


def choose(option: str, asked: str | None, known: Iterable[str]) -> list[str]:
    """Return the asked keys, each one that the study names.

    Raises:
        InputError: a key that the study does not name, or none at all.
    """
    keys, kind = list(known), f"{option.removeprefix('--')}s"
    if asked is None:
        return keys
    chosen = [part.strip() for part in asked.split(",") if part.strip()]
    number = asked.replace(",", "")
    if number in keys and not set(chosen) <= set(keys):
        raise InputError(option, "", f"{asked!r} is read as a list; write {option} {number}")
    for key in chosen:
        if key not in keys:
            named = ", ".join(keys) + did_you_mean(key, keys)
            raise InputError(option, "", f"{key!r} is none of the study's {kind}: {named}")
    if not chosen:
        raise InputError(option, "", "names nothing")
    return [key for key in keys if key in chosen]


def chosen_conditions(study: Study, doses: str | None, views: str | None) -> list[Condition]:
    """Return the cells of the matrix that ``--dose`` and ``--view`` name; all by default."""
    from fly64_assets.study.conditions import Condition, dose_keys, view_keys

    chosen_doses = choose("--dose", doses, dose_keys(study))
    chosen_views = choose("--view", views, view_keys(study))
    return [Condition(int(dose), view) for dose in chosen_doses for view in chosen_views]
