"""``fly64``: plan, run, status and ui. A thin face on the planner, the runner and the instance.

Exit codes: 0 done, 1 something failed or nothing matched, 2 bad usage or input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click

from fly64_assets.errors import InputError, NotTrusted
from fly64_assets.study import PROJECT_ROOT

Command = Callable[..., int]


def _study_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--study",
        "study_file",
        metavar="FILE",
        help="Study file; default: $FLY64_STUDY, else study.yaml.",
    )(command)


def _matrix_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--view", "views", metavar="V[,V]", help="Views; default: all."),
        click.option("--dose", "doses", metavar="D[,D]", help="Doses; default: all."),
    ):
        command = option(command)
    return _study_option(command)


def _exit_code(command: Command) -> Callable[..., None]:
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

    return run


def _choose(option: str, asked: str | None, known: Iterable[str]) -> list[str]:
    """The asked keys, each one that the study names.

    Raises:
        InputError: a key that the study does not name, or none at all.
    """
    keys = list(known)
    if asked is None:
        return keys
    chosen = [part.strip() for part in asked.split(",") if part.strip()]
    for key in chosen:
        if key not in keys:
            raise InputError(option, "", f"{key!r} is not one of the study's {', '.join(keys)}")
    if not chosen:
        raise InputError(option, "", "names nothing")
    return [key for key in keys if key in chosen]


def _conditions(study, doses: str | None, views: str | None):
    from fly64_assets.partitions import Condition, dose_keys, view_keys

    chosen_doses = _choose("--dose", doses, dose_keys(study))
    chosen_views = _choose("--view", views, view_keys(study))
    return [Condition(int(dose), view) for dose in chosen_doses for view in chosen_views]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fly64_assets", prog_name="fly64")
def main() -> None:
    """The fly64 dose/overlap study: plan it, run it, see where it stands.

    Example: fly64 run --study studies/demo.yaml --dose 1000 --view dense
    """


@main.command()
@_matrix_options
@_exit_code
def plan(study_file: str | None, doses: str | None, views: str | None) -> int:
    """Say what would run, what is fresh, stale or missing. Touches nothing.

    Example: fly64 plan --dose 1000
    """
    from fly64_assets import console
    from fly64_assets.context import StudyContext
    from fly64_assets.feasibility import ViewPreview
    from fly64_assets.instance import read_only_instance

    context = StudyContext.load(study_file)
    conditions = _conditions(context.study, doses, views)
    preview = ViewPreview(context.study, context.study_file)
    shown_views = dict.fromkeys(str(condition.view) for condition in conditions)
    counts = {view: preview.counts(view) for view in shown_views}
    with read_only_instance(context.study) as instance:
        console.show_plan(context, context.planner(instance), conditions, counts)
    return 0


@main.command()
@_matrix_options
@click.option("--all", "everything", is_flag=True, help="The whole matrix of the study.")
@click.option("--force", is_flag=True, help="Make phases C to G again, fresh or not.")
@_exit_code
def run(
    study_file: str | None, doses: str | None, views: str | None, everything: bool, force: bool
) -> int:
    """Make what is not fresh, phases B to G, then compare.

    Example: fly64 run --dose 1000 --view dense
    """
    if not everything and doses is None and views is None:
        raise click.UsageError("say which: --dose and --view, or --all")
    from fly64_assets import console
    from fly64_assets.context import StudyContext
    from fly64_assets.feasibility import ViewPreview
    from fly64_assets.instance import study_instance
    from fly64_assets.runner import run_conditions
    from fly64_assets.store import results_folder

    context = StudyContext.load(study_file)
    conditions = _conditions(context.study, doses, views)
    preview = ViewPreview(context.study, context.study_file)
    for view in dict.fromkeys(str(condition.view) for condition in conditions):
        preview.counts(view)  # an infeasible view is refused before anything runs
    context.store.require_writable()
    with study_instance(context.study, context.study_file) as instance:
        log = results_folder(context.study) / "console.log"
        with console.library_output_to(log), console.RunProgress() as progress:
            outcomes = run_conditions(context, instance, conditions, progress.tell, force=force)
        return console.show_results(context, context.planner(instance), conditions, outcomes)


@main.command()
@_matrix_options
@_exit_code
def status(study_file: str | None, doses: str | None, views: str | None) -> int:
    """Where each condition stands, and what stopped it. Exit 1 when something failed.

    Example: fly64 status
    """
    from fly64_assets import console
    from fly64_assets.context import StudyContext
    from fly64_assets.instance import read_only_instance

    context = StudyContext.load(study_file)
    conditions = _conditions(context.study, doses, views)
    with read_only_instance(context.study) as instance:
        return console.show_status(context, context.planner(instance), conditions)


@main.command()
@click.argument("file")
@_exit_code
def data001(file: str) -> int:
    """Hold FILE against DATA-001 and show every rule. Exit 2 when one is broken.

    Example: fly64 data001 results/demo/store/data/phase_c/dose_1000/patched_train.npz
    """
    from fly64_assets import console
    from fly64_assets.ptychography.data001 import check_data001, require_data001

    console.show_rules(check_data001(file))
    require_data001(file)
    return 0


@main.command()
@_study_option
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
@_exit_code
def ui(study_file: str | None, port: int) -> int:
    """Serve the Dagster UI of the study on 127.0.0.1 until interrupted.

    Example: fly64 ui --study studies/demo.yaml
    """
    from fly64_assets.context import StudyContext
    from fly64_assets.instance import prepare_instance

    context = StudyContext.load(study_file)
    prepare_instance(context.study, context.study_file)
    click.echo(f"study {context.study.name}: http://127.0.0.1:{port} (stop with Ctrl-C)")
    os.chdir(PROJECT_ROOT)
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml"]
    os.execv(sys.executable, [*command, "-h", "127.0.0.1", "-p", str(port)])


if __name__ == "__main__":
    main()
