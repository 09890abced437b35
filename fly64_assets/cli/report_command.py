"""``fly64 report``: the study report, made if it is not fresh."""

from __future__ import annotations

import webbrowser

import click

from fly64_assets.cli.options import exit_code, print_json, say, study_option


@click.command()
@study_option
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@exit_code
def report(study_file: str | None, open_it: bool, as_json: bool) -> int:
    """Make the study report if it is not fresh, and print where it lies.

    One HTML file of the whole study, of the conditions that are finished; the others are in it with
    the reason. Nothing of the conditions is made (`fly64 run`). Exit 1 when it cannot be made, or
    no condition is finished; a page that does not hold any more says so then.

    Example: fly64 report --study studies/demo.yaml --open
    """
    from fly64_assets.cli import display as console
    from fly64_assets.pipeline.context import StudyContext
    from fly64_assets.pipeline.freshness import State
    from fly64_assets.pipeline.instance import read_only_instance, study_instance
    from fly64_assets.pipeline.report_notice import settled_planner
    from fly64_assets.runs.runner import report_study
    from fly64_assets.study.conditions import Condition
    from fly64_assets.study.products import product

    context = StudyContext.load(study_file)
    item, failures = product("study_report"), []
    with read_only_instance(context.study) as instance:
        planner = context.planner(instance)
        verdict = planner.verdict(item, Condition())
        possible = bool(planner.gathered(item))
    if verdict.state is not State.FRESH and possible:
        context.store.require_writable()
        with study_instance(context.study, context.study_file) as instance:
            with console.progress_of(context.study, quiet=as_json) as progress:
                outcomes = report_study(context, instance, progress.tell)
            failures = [event for outcome in outcomes for event in outcome.failures]
    with read_only_instance(context.study) as instance:
        planner = settled_planner(context, instance)
        verdict = planner.verdict(item, Condition())
        unfinished = {} if possible else planner.left_out(item)
    path = context.store.path(item, Condition(), item.files[0])
    fresh = verdict.state is State.FRESH
    if as_json:
        made = verdict.record.provenance if verdict.record else None
        content = {
            "study": context.study.name,
            "path": console.short(path),
            "state": str(verdict.state),
            "reason": verdict.reason,
            "generated_at": made.generated_at if made else None,
            "sha256": made.files[context.store.relative(path)].sha256 if made else None,
            "conditions": made.settings["conditions"] if made else {},
        }
        print_json(content)
    elif fresh:
        say(console.short(path))
    if not fresh:
        for event in failures:
            say(f"failed {event.step}: {event.text}", err=True)
        why = "" if possible else ": no condition is finished, `fly64 run` first"
        say(f"error: the report is {verdict.state} ({verdict.reason}){why}", err=True)
        for condition, reason in unfinished.items():
            say(f"  {condition}: {reason}", err=True)
        return 1
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        say("error: no browser could be opened", err=True)
        return 1
    return 0
