"""``fly64 export`` and ``fly64 checks``: a finished condition as a hub, and its asset checks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from fly64_assets.cli.options import (
    chosen_conditions,
    exit_code,
    json_option,
    matrix_options,
    one_condition_options,
    print_json,
    say,
)


@click.command()
@one_condition_options
@click.option("--to", "hub", required=True, metavar="HUB", help="Folder to make.")
@click.option(
    "--clobber", is_flag=True, help="Move what HUB holds aside, beside it, with its UTC time."
)
@json_option
@exit_code
def export(
    study_file: str | None, dose: str, view: str, hub: str, clobber: bool, as_json: bool
) -> int:
    """Lay a finished condition out as a hub, then verify it.

    Exporting twice gives the same bytes. Refused while anything of the condition is missing, stale
    or failed.

    Example: fly64 export --dose 1000 --view dense --to hubs/1000_dense
    """
    from fly64_assets.cli import display as console
    from fly64_assets.cli.verify_command import verify_and_show
    from fly64_assets.errors import InputError
    from fly64_assets.hub.export import export_hub
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import read_only_instance
    from fly64_assets.study.hub_layout import METRICS_DELTA_SUMMARY

    context = StudyContext.load(study_file)
    conditions = chosen_conditions(context.study, dose, view)
    if len(conditions) != 1:
        raise InputError("--dose, --view", "", f"{dose} and {view}: a hub is one dose and one view")
    place = Path(hub).resolve()
    with read_only_instance(context.study) as instance:
        tell = (lambda text: None) if as_json else console.OUT.print
        done = export_hub(context, instance, conditions[0], place, clobber=clobber, tell=tell)
    if as_json:
        failed, report = verify_and_show(place, quiet=True)
        aside = None if done.moved_aside is None else console.short(done.moved_aside)
        content = {"hub": console.short(place), "outcome": done.outcome, "n_files": done.n_files}
        print_json({**content, "moved_aside": aside, "verification": report})
        return 1 if failed else 0
    if done.moved_aside:
        say(f"moved aside: {console.short(done.moved_aside)}")
    what = "exported" if done.outcome == "exported" else "unchanged since its last export"
    say(f"{console.short(place)}: {done.n_files} files, {what}")
    console.show_deltas(place, METRICS_DELTA_SUMMARY)
    failed, _ = verify_and_show(place)
    return 1 if failed else 0


@click.command()
@matrix_options
@click.option("--rerun", is_flag=True, help="Evaluate all of them anew; no asset is made again.")
@json_option
@exit_code
def checks(
    study_file: str | None, doses: str | None, views: str | None, rerun: bool, as_json: bool
) -> int:
    """Show every asset check of the chosen partitions as it stands for what is there now.

    Of what is altered the check `files` fails and no other counts; of what is stale none does. Exit
    1 when a check of severity ERROR failed, or none counts. The check report of a hub is
    made again by the next run when a check changed its mind, not when it only ran again.

    Example: fly64 checks --dose 1000 --view dense --rerun
    """
    from fly64_assets.cli import display as console
    from fly64_assets.documents.provenance import FAILED, NOT_RUN
    from fly64_assets.pipeline.check_states import rows_of_conditions, tally
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import read_only_instance, study_instance
    from fly64_assets.pipeline.report_notice import settled_planner
    from fly64_assets.runs.runner import run_checks

    context = StudyContext.load(study_file)
    conditions = chosen_conditions(context.study, doses, views)
    if rerun:
        with (
            study_instance(context.study, context.study_file) as instance,
            console.progress_of(context.study, quiet=as_json) as progress,
        ):
            run_checks(context, instance, conditions, progress.tell)
    with read_only_instance(context.study) as instance:
        rows = rows_of_conditions(settled_planner(context, instance), conditions)
    counts = tally(rows)
    if as_json:
        print_json({"counts": counts, "checks": [asdict(row) for row in rows]})
    else:
        console.show_checks(rows, counts)
    return 1 if counts[FAILED] or counts[NOT_RUN] == len(rows) else 0
