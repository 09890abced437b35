"""``fly64 plan``, ``run``, ``status`` and ``ui``: a thin face on planner, runner and instance."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from fly64_assets.cli.options import (
    chosen_conditions,
    exit_code,
    json_option,
    matrix_options,
    print_json,
    say,
    study_option,
)
from fly64_assets.errors import InputError


@click.command()
@matrix_options
@json_option
@exit_code
def plan(study_file: str | None, doses: str | None, views: str | None, as_json: bool) -> int:
    """Say what would run, on how much and for how long, and what is fresh. Touches nothing.

    Example: fly64 plan --dose 1000
    """
    from fly64_assets.cli import display as console
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import read_only_instance
    from fly64_assets.pipeline.view_preview import ViewPreview
    from fly64_assets.runs.forecast import Forecast

    context = StudyContext.load(study_file)
    conditions = chosen_conditions(context.study, doses, views)
    preview = ViewPreview(context.study, context.study_file)
    shown_views = dict.fromkeys(str(condition.view) for condition in conditions)
    counts = {view: preview.counts(view) for view in shown_views}
    with read_only_instance(context.study) as instance:
        planner = context.planner(instance)
        forecast = Forecast(planner, conditions, counts, preview.scan_counts())
    if as_json:
        splits = {view: {s: asdict(c) for s, c in counts[view].items()} for view in counts}
        print_json({"study": context.study.name, "views": splits, **forecast.to_json()})
    else:
        console.show_plan(context, forecast, counts, preview.undefined(counts))
    return 0


@click.command()
@matrix_options
@click.option("--all", "everything", is_flag=True, help="The whole matrix of the study.")
@click.option("--force", is_flag=True, help="Make phases C to G again, fresh or not.")
@json_option
@exit_code
def run(
    study_file: str | None,
    doses: str | None,
    views: str | None,
    everything: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Make what is not fresh, phases B to G, then compare.

    Example: fly64 run --dose 1000 --view dense
    """
    if not everything and doses is None and views is None:
        raise click.UsageError("say which: --dose and --view, or --all")
    from fly64_assets.cli import display as console
    from fly64_assets.pipeline.accelerator import require_device
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import study_instance
    from fly64_assets.pipeline.report_notice import settled_planner
    from fly64_assets.pipeline.view_preview import ViewPreview
    from fly64_assets.runs.outcomes import matrix_results
    from fly64_assets.runs.runner import run_conditions

    context = StudyContext.load(study_file)
    require_device(context.study.device, context.study_file)
    conditions = chosen_conditions(context.study, doses, views)
    preview = ViewPreview(context.study, context.study_file)
    for view in dict.fromkeys(str(condition.view) for condition in conditions):
        preview.counts(view)  # an infeasible view is refused before anything runs
    context.store.require_writable()
    with study_instance(context.study, context.study_file) as instance:
        with console.progress_of(context.study, quiet=as_json) as progress:
            matrix = run_conditions(context, instance, conditions, progress.tell, force=force)
        results = matrix_results(context, settled_planner(context, instance), conditions, matrix)
    if as_json:
        print_json(results.to_json())
    else:
        console.show_results(context, results)
    return 0 if results.complete else 1


@click.command()
@matrix_options
@json_option
@exit_code
def status(study_file: str | None, doses: str | None, views: str | None, as_json: bool) -> int:
    """Say where each condition stands, and what stopped it. Exit 1 when something failed.

    Example: fly64 status
    """
    from fly64_assets.cli import display as console
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import read_only_instance
    from fly64_assets.pipeline.report_notice import settled_planner
    from fly64_assets.runs.outcomes import standing

    context = StudyContext.load(study_file)
    conditions = chosen_conditions(context.study, doses, views)
    with read_only_instance(context.study) as instance:
        found = standing(context, settled_planner(context, instance), conditions)
    if as_json:
        print_json(found.to_json())
    else:
        console.show_status(context, found)
    return 1 if found.failed else 0


@click.command()
@study_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port on 127.0.0.1.",
)
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    metavar="NAME[:PORT]",
    help="A further name that browsers reach it by, through a tunnel or proxy; https://NAME, too. "
    "Other users of this machine are answered then, as a proxy is often another user's.",
)
@exit_code
def ui(study_file: str | None, port: int, host_names: tuple[str, ...]) -> int:
    """Serve the Dagster UI of the study on 127.0.0.1 until interrupted.

    Its servers, also the daemon that works at night, are started again when they end.

    Example: fly64 ui --study studies/demo.yaml
    """
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import INSTANCE_VARIABLE, prepare_instance
    from fly64_assets.pipeline.store import RESULTS_VARIABLE, InProgress, results_folder
    from fly64_assets.runs.servers.request_guard import origins_at
    from fly64_assets.runs.servers.supervisor import free_port_near, listening_at, serve

    context = StudyContext.load(study_file)
    try:
        origins = origins_at(port, host_names)
    except ValueError as error:
        raise InputError("--host-name", "", str(error)) from None
    try:
        listener = listening_at(port)
    except OSError as error:
        free = f"`fly64 ui --port {free_port_near(port)}` takes a free one"
        say(f"error: port {port} cannot be had: {error.strerror}; next: {free}", err=True)
        return 1
    # Dagster's commands read a file .env where they are started: none of somebody else's.
    for name in (RESULTS_VARIABLE, INSTANCE_VARIABLE):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).resolve())
    name, results = context.study.name, results_folder(context.study)
    tell = partial(say, err=True)
    with listener, ExitStack() as held:
        try:  # a second daemon would ask for the night's runs a second time
            held.enter_context(context.store.lock("ui", f"the web UI of study {name}"))
        except InProgress as other:
            say(f"error: study {name} has a web UI already: process {other.pid or '?'}", err=True)
            return 1
        os.chdir(prepare_instance(context.study, context.study_file))
        say(f"study {name}: http://127.0.0.1:{port} (stop with Ctrl-C)")
        return 0 if serve(listener, origins, results, tell, bool(host_names)) else 1
