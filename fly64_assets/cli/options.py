"""What commands share: the study and matrix options, the choice of conditions, exit codes.

Exit codes: 0 done, 1 something failed or nothing matched, 2 bad usage or input.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from fly64_assets.errors import InputError, NotTrusted

if TYPE_CHECKING:
    from fly64_assets.partitions import Condition
    from fly64_assets.study import Study

Command = Callable[..., int]
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Of a file system that takes nothing more."""


def study_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--study",
        "study_file",
        metavar="FILE",
        help="Study file; default: $FLY64_STUDY, else study.yaml.",
    )(command)


def matrix_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--view", "views", metavar="V[,V]", help="Views; default: all."),
        click.option("--dose", "doses", metavar="D[,D]", help="Doses; default: all."),
    ):
        command = option(command)
    return study_option(command)


def exit_code(command: Command) -> Callable[..., None]:
    """Turn a command's result or its clear errors into the exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            sys.exit(command(*args, **kwargs))
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except NotTrusted as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("stopped; what was finished is kept", err=True)
            sys.exit(130)
        except Exception as error:
            problem = storage_problem(error)
            if problem is None:
                raise
            click.echo(f"error: {problem}; what was finished is kept", err=True)
            sys.exit(1)

    return run


def storage_problem(error: BaseException | None) -> str | None:
    """What the file system or Dagster's database refused, in a line; None for another error.

    A disk that runs full and a database that stays locked may end a command anywhere.
    """
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            where = os.environ.get("DAGSTER_HOME", "the study's Dagster instance")
            return f"{where}: its database cannot be used: {error} (is the disk full?)"
        if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
            return f"{error.filename or 'disk'}: {error.strerror}"
        error = error.__cause__ or error.__context__
    return None


def choose(option: str, asked: str | None, known: Iterable[str]) -> list[str]:
    """The asked keys, each one that the study names.

    Raises:
        InputError: a key that the study does not name, or none at all.
    """
    keys, kind = list(known), f"{option.removeprefix('--')}s"
    if asked is None:
        return keys
    chosen = [part.strip() for part in asked.split(",") if part.strip()]
    for key in chosen:
        if key not in keys:
            named = ", ".join(keys)
            raise InputError(option, "", f"{key!r} is none of the study's {kind}: {named}")
    if not chosen:
        raise InputError(option, "", "names nothing")
    return [key for key in keys if key in chosen]


def chosen_conditions(study: Study, doses: str | None, views: str | None) -> list[Condition]:
    """The cells of the study's matrix that ``--dose`` and ``--view`` name; all by default."""
    from fly64_assets.partitions import Condition, dose_keys, view_keys

    chosen_doses = choose("--dose", doses, dose_keys(study))
    chosen_views = choose("--view", views, view_keys(study))
    return [Condition(int(dose), view) for dose in chosen_doses for view in chosen_views]
