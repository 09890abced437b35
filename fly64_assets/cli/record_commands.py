"""``fly64 restore`` and ``fly64 clean``: records that were lost, and those that nobody needs."""

from __future__ import annotations

import click

from fly64_assets.cli.options import exit_code, json_option, print_json, study_option

dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.command()
@study_option
@dry_run_option
@json_option
@exit_code
def restore(study_file: str | None, dry_run: bool, as_json: bool) -> int:
    """Record again what the store proves and Dagster's database has lost, then check it.

    After assets were wiped, runs or the database deleted, an older backup of it put back, or the
    results copied to another machine. Every file is held against its recorded sha256; what cannot
    be proved stays missing and is named. Exit 1 when there is such a thing, or a check failed.

    Example: fly64 restore --study studies/demo.yaml --dry-run
    """
    from fly64_assets.cli import display as console
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import read_only_instance, study_instance
    from fly64_assets.runs.restore import restore as restore_records
    from fly64_assets.runs.runner import check_unchecked

    context = StudyContext.load(study_file)
    if dry_run or not context.store.root.is_dir():
        with read_only_instance(context.study) as instance:
            found, states, failed = restore_records(context, instance, dry_run=True), {}, []
    else:
        context.store.require_writable()
        with study_instance(context.study, context.study_file, records_lost=True) as instance:
            with console.progress_of(context.study, quiet=as_json) as progress:
                found = restore_records(context, instance)
                outcomes = check_unchecked(context, instance, progress.tell)
            failed = [event.text for outcome in outcomes for event in outcome.failures]
            planner = context.planner(instance)
            states = {at: planner.verdict(*at) for at in found.restored}
    if as_json:
        named = {"study": context.study.name, "dry_run": dry_run}
        print_json({**named, **found.to_json(states), "failures": failed})
    else:
        console.show_restored(found, states)
    return 1 if found.lost or failed else 0


@click.command()
@study_option
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=None,
    metavar="DAYS",
    help="Keep runs that are younger; default: 30.",
)
@dry_run_option
@json_option
@exit_code
def clean(study_file: str | None, days: float | None, dry_run: bool, as_json: bool) -> int:
    """Remove what runs left and nobody needs: old records and logs, dead working files.

    The runs of the latest record of every product, and of the one before it, are kept with their
    logs; so are all files of the store, its records, and hubs. A night begins with this.

    Example: fly64 clean --study studies/demo.yaml --dry-run
    """
    from dataclasses import asdict

    from fly64_assets.cli import display as console
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.instance import read_only_instance, study_instance
    from fly64_assets.runs.cleaning import KEEP_DAYS
    from fly64_assets.runs.cleaning import clean as remove_unneeded

    context = StudyContext.load(study_file)
    if dry_run or not context.store.root.is_dir():
        opened = read_only_instance(context.study)
    else:
        context.store.require_writable()
        opened = study_instance(context.study, context.study_file)
    keep_days = KEEP_DAYS if days is None else days
    with opened as instance:
        removed = remove_unneeded(context, instance, keep_days=keep_days, dry_run=dry_run)
    if as_json:
        named = {"study": context.study.name, "dry_run": dry_run}
        print_json({**named, "removed": [asdict(each) for each in removed]})
    else:
        console.show_removed(removed, dry_run=dry_run)
    return 0
