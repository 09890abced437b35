"""What the command line shows: plans, progress, results. Reads stored files, decides nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from fly64_assets.cli.live_line import LiveLine
from fly64_assets.documents import formatting as numbers
from fly64_assets.documents.provenance import NOT_RUN, STATES
from fly64_assets.errors import harmless
from fly64_assets.pipeline.check_frame import check_step
from fly64_assets.pipeline.check_states import CheckRow
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State, Verdict
from fly64_assets.pipeline.progress import duration
from fly64_assets.pipeline.store import results_folder
from fly64_assets.pipeline.stored_records import file_of
from fly64_assets.pipeline.targets import JOBS, RunRequest
from fly64_assets.pipeline.view_preview import ViewCounts
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.runs.cleaning import Removed
from fly64_assets.runs.events import StepEvent
from fly64_assets.runs.forecast import Action, Forecast, Planned
from fly64_assets.runs.outcomes import MatrixResults, Standing, orphans
from fly64_assets.runs.restore import At, Restoration
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT, Study
from fly64_assets.study.products import PRODUCTS


class _Screen(Console):
    """Rich's console, through which every text goes harmless, whoever wrote it."""

    def render_str(self, text: str, **options: Any) -> Text:  # of all that is printed as text
        return super().render_str(harmless(text, lines=True), **options)


OUT = _Screen(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 110)
COLOURS = {
    State.FRESH: "green",
    State.UNCHECKED: "yellow",
    State.MISSING: "cyan",
    State.STALE: "yellow",
    State.ALTERED: "red",
    State.FAILED: "red",
}
CHECK_COLOURS = dict(zip(STATES, ("green", "yellow", "red", "cyan"), strict=True))


@contextmanager
def library_output_to(path: Path) -> Iterator[None]:
    """Send what libraries print, in this process and its children, to ``path``; we keep the screen.

    TensorFlow and torch write notices to standard error from C++, where no log level reaches them.
    """
    sys.stdout.flush()
    screen, errors = os.dup(1), os.dup(2)
    with path.open("w", encoding="utf-8") as log, os.fdopen(os.dup(1), "w") as ours:
        OUT.file = ours
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            ours.flush()
            OUT.file = sys.stdout
            for saved, descriptor in ((screen, 1), (errors, 2)):
                os.dup2(saved, descriptor)
                os.close(saved)


def short(path: Path) -> str:
    """Return a path as a person would type it from here."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def _study_line(context: StudyContext) -> str:
    study = context.study
    return (
        f"study [bold]{study.name}[/] ({escape(short(context.study_file))}): "
        f"specimen {escape(study.specimen)}, "
        f"{_count(study.doses, 'dose')} x {_count(study.views, 'view')}, "
        f"{study.simulation.positions:,} positions"
    )


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def show_plan(
    context: StudyContext,
    forecast: Forecast,
    counts: Mapping[str, Mapping[str, ViewCounts]],
    undefined: Iterable[str],
) -> None:
    """Show views with counts, then every product that is not fresh: on how much, why, how long.

    A cell of which all of that was said of an earlier one only names that one. ``undefined`` is
    what of the scores will be blank.
    """
    OUT.print(_study_line(context))
    table = Table("view", "split", "images", "centres", "training groups", "overlap reached")
    for view, splits in counts.items():
        for split, count in splits.items():
            reached = count.reached_overlap
            table.add_row(
                view,
                split,
                f"{count.n_images:,}",
                f"{count.n_centres:,}",
                f"{count.n_training_groups:,}",
                "-" if reached is None else f"{reached:.3f}",
            )
    OUT.print(table)
    for line in undefined:
        OUT.print(line)
    cells: dict[Condition, list[Planned]] = {}
    for planned in forecast.planned:
        cells.setdefault(planned.verdict.condition, []).append(planned)
    shown: dict[tuple[tuple[str, str], ...], Condition] = {}
    for condition, here in cells.items():
        rows = tuple(_told(planned) for planned in here if planned.action is not Action.SKIP)
        first = shown.setdefault(rows, condition)
        again = f", the same as {first}" if rows and first != condition else ""
        OUT.print(f"[bold]{condition}[/]: {_tally(planned.verdict for planned in here)}{again}")
        if not again:
            for name, told in rows:
                OUT.print(f"  {name:<28} {condition!s:<16} {told}")
    _show_orphans(orphans(context))
    OUT.print(_plan_total(forecast))


def _told(planned: Planned) -> tuple[str, str]:
    """Return a product's name, and all that is said of it but where it is."""
    verdict = planned.verdict
    colour = COLOURS[verdict.state]
    sizes = [] if planned.images is None else [f"{planned.images:,} images"]
    sizes += [] if planned.groups is None else [f"{planned.groups:,} groups"]
    if planned.action is not Action.CHECK:
        sizes.append("unknown time" if planned.seconds is None else duration(planned.seconds))
    told = f"{planned.action}: {', '.join(sizes)}" if sizes else f"{planned.action}"
    state = f"[{colour}]{verdict.state:<9}[/]"
    return verdict.product.name, f"{state} {told} ({escape(verdict.reason)})"


def _plan_total(forecast: Forecast) -> str:
    """Return what would run in all, and about how long."""
    counts = {action: len(forecast.those(action)) for action in Action}
    if not any(counts[action] for action in Action if action is not Action.SKIP):
        return "all fresh: nothing would run"
    seconds, unknown = forecast.seconds(Action.MAKE)
    about = f", about {duration(seconds)} one after the other" if seconds else ""
    if unknown:
        about += f"{' and' if seconds else ','} unknown time for {unknown}"
    parts = [f"{counts[Action.MAKE]} to make{about}"]
    if counts[Action.CHECK]:
        parts.append(f"{counts[Action.CHECK]} to check")
    if counts[Action.MAKE_IF_CHANGED]:
        perhaps, _ = forecast.seconds(Action.MAKE_IF_CHANGED)
        parts.append(
            f"{counts[Action.MAKE_IF_CHANGED]} only if their inputs come out different "
            f"(about {duration(perhaps)})"
        )
    return "; ".join([*parts, f"{counts[Action.SKIP]} fresh"])


def _tally(verdicts: Iterable[Verdict]) -> str:
    counts: dict[State, int] = {}
    for verdict in verdicts:
        counts[verdict.state] = counts.get(verdict.state, 0) + 1
    return ", ".join(
        f"[{COLOURS[state]}]{counts[state]} {state}[/]" for state in State if state in counts
    )


def show_rules(outcomes: Iterable[RuleOutcome]) -> None:
    """One row a rule: key, rule, what is expected and what is there."""
    table = Table("key", "rule", "expected", "actual", "ok")
    for row in outcomes:
        mark = "[green]yes[/]" if row.ok else "[red]NO[/]"
        cells = (escape(str(cell)) for cell in (row.key, row.rule, row.expected, row.actual))
        table.add_row(*cells, mark)
    OUT.print(table)


def show_checks(rows: Iterable[CheckRow], counts: Mapping[str, int]) -> None:
    """Show a line a check, then one a cause of those that do not count, then how many there are."""
    rows = list(rows)
    judged = [row for row in rows if row.status != NOT_RUN]
    width = max((len(row.check) for row in judged), default=0)
    for asset, checks in groupby(judged, lambda row: (row.asset, row.partition)):
        OUT.print(f"[bold]{asset[0]}[/] {asset[1]}")
        for row in checks:
            status = f"[{CHECK_COLOURS[row.status]}]{row.status:<7}[/]"
            mark = "*" if row.blocking else " "
            OUT.print(
                f"  {status} {row.severity:<5} {mark} {row.check:<{width}}  {row.time:<20}  "
                f"{escape(row.reason)}"
            )
    causes: dict[str, list[CheckRow]] = {}
    for row in rows:
        if row.status == NOT_RUN:
            causes.setdefault(row.reason, []).append(row)
    for reason, alike in causes.items():
        names = list(dict.fromkeys(row.asset for row in alike))
        told = names[0] if len(names) == 1 else _count(names, "asset")
        status = f"[{CHECK_COLOURS[NOT_RUN]}]{NOT_RUN}[/]"
        OUT.print(f"{status} {_count(alike, 'check')} of {told}: {escape(reason)}")
    if judged:
        OUT.print("* blocking: nothing consumes the asset unless it passed")
    else:
        OUT.print("nothing that is there now was checked: `fly64 run` first")
    OUT.print("checks: " + ", ".join(f"{state} {count}" for state, count in counts.items()))


def show_restored(found: Restoration, verdicts: Mapping[At, Verdict]) -> None:
    """Show what was recorded again and is not fresh yet, and what could not be, a line each."""
    for at, reason in found.lost.items():
        OUT.print(f"[red]not restored[/] {at[0].name} {at[1]}: {escape(reason)}")
    for verdict in verdicts.values():
        if verdict.state is not State.FRESH:
            OUT.print(f"[{COLOURS[verdict.state]}]restored, but[/] {escape(str(verdict))}")
    done = "restored" if verdicts or not found.restored else "would be restored"
    OUT.print(f"records: {len(found.restored)} {done}, {len(found.lost)} not")
    if found.lost:
        OUT.print("next: `fly64 run` makes what is missing or altered again")


def show_removed(removed: Iterable[Removed], *, dry_run: bool) -> None:
    """Show what was removed (or would be) of each kind, and how much."""
    verb, total = "would remove" if dry_run else "removed", 0
    for each in removed:
        OUT.print(f"{verb} {each.kind}: {each.count}, {each.bytes / 1e6:.1f} MB")
        total += each.bytes
    OUT.print(f"{verb} {total / 1e6:.1f} MB" if total else "nothing to remove")


class RunProgress:
    """Tells a person what each run is doing: lines, and on a terminal a live last line.

    Args:
        quiet: say nothing, because the screen is for a machine to read.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._line = LiveLine()
        # Any renderable will do, and this one is asked anew at every refresh.
        self._status = OUT.status(self._line) if OUT.is_terminal and not quiet else None
        self._request: RunRequest | None = None

    def __enter__(self) -> RunProgress:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def tell(self, request: RunRequest | None, event: StepEvent) -> None:
        """Show one event, of a run or of none."""
        if self._quiet:
            return
        if request is None:
            OUT.print(f"[yellow]{event.kind}[/] {escape(event.text)}")
            return
        if event.kind == "skipped":
            job = JOBS[request.level]
            OUT.print(
                f"[bold]{request.condition}[/]: {job} [green]skipped[/]: {escape(event.text)}"
            )
            return
        if request is not self._request:
            self._request = request
            names = ", ".join(item.name for item in request.make)
            checks = ", ".join(item.name for item in request.check)
            what = "; ".join(
                part for part in (names, f"only check {checks}" if checks else "") if part
            )
            OUT.print(f"[bold]{request.condition}[/]: {what}")
        is_check = event.step in CHECK_STEPS
        if event.kind == "started" and not is_check:
            self._line.started(event.step)
            if not self._status:
                OUT.print(f"  {event.step} ...")
        elif event.kind == "message":
            if not is_check:
                self._line.said(event.step, event.text)
            if not self._status or is_check:
                OUT.print(f"    {escape(event.text)}")
        elif event.kind == "finished" and not is_check:
            self._line.ended(event.step)
            OUT.print(f"  [green]done[/]   {event.step:<34} {event.seconds:6.1f} s")
        elif event.kind in ("failed", "check_failed"):
            self._line.ended(event.step)
            OUT.print(f"  [red]failed[/] {event.step}: {escape(event.text)}")


@contextmanager
def progress_of(study: Study, *, quiet: bool) -> Iterator[RunProgress]:
    """Follow runs on the screen; what libraries print goes to a file of the study's results."""
    log = results_folder(study) / "console.log"
    with library_output_to(log), RunProgress(quiet=quiet) as progress:
        yield progress


CHECK_STEPS = {check_step(item) for item in PRODUCTS if item.checks}
"""Steps that check: they take their place in the log only when they have something to say."""


SCORE_COLUMNS = (
    ("ms_ssim", "phase"),
    ("ms_ssim", "amplitude"),
    ("mae", "phase"),
    ("mae", "amplitude"),
    ("computation_time_s", "value"),
)


def score_table(summary: Mapping[str, Any], condition: Condition) -> Table:
    """Scores of one condition, as ``metrics_summary.json`` has them: a row a split and arm."""
    table = Table(
        "split",
        Column("model", no_wrap=True),
        "MS-SSIM phase",
        "MS-SSIM amplitude",
        "MAE phase (rad)",
        "MAE amplitude",
        "seconds",
        title=f"{condition.dose} photons, {condition.view}",
        title_justify="left",
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for job in summary["jobs"]:
        for model, scores in job["metrics"].items():
            table.add_row(
                job["split"],
                model,
                *(
                    numbers.score(scores[metric][column], "brief", metric)
                    for metric, column in SCORE_COLUMNS
                ),
            )
    return table


def show_deltas(hub: Path, path: str) -> None:
    """Show the delta lines of an exported hub, then their file's path relative to it."""
    for line in numbers.delta_lines(json.loads((hub / path).read_text("utf-8"))["deltas"]):
        OUT.print(line)
    OUT.print(f"deltas: {path}")


def show_results(context: StudyContext, results: MatrixResults) -> None:
    """Scores, counts, deltas and where the files are: the end of ``fly64 run``."""
    if not results.matrix.runs:
        OUT.print(f"{_study_line(context)}\nall fresh: nothing to run (--force makes it again)")
    for one in results.scored:
        OUT.print(score_table(one.summary, one.condition))
        for line in numbers.delta_lines(one.deltas["deltas"]):
            OUT.print(line)
        OUT.print()
    OUT.print(numbers.counts_line(**results.counts))
    for outcome in results.matrix.runs:
        for failure in outcome.failures:
            text = failure.text if failure.step == "-" else f"{failure.step}: {failure.text}"
            word = "left" if outcome.refused else "failed"
            OUT.print(f"[red]{word}[/] {outcome.request.condition}: {escape(text)}")
    for cell, cause in results.matrix.left.items():
        OUT.print(f"[yellow]not started[/] {cell}: {cause} did not succeed")
    for condition, verdict in results.broken:
        OUT.print(f"[red]not finished[/] {escape(f'{condition}: {verdict}')}")
    OUT.print(f"files: {escape(short(results.store))}")
    OUT.print(f"web UI: {escape(_ui_command(context))}")
    if results.scored:
        OUT.print(f"deltas: {escape(short(results.scored[-1].deltas_path))}")


def _ui_command(context: StudyContext) -> str:
    default = context.study_file.resolve() == PROJECT_ROOT / "study.yaml"
    return f"{short(Path(sys.argv[0]))} ui" + (
        "" if default else f" --study {short(context.study_file)}"
    )


def show_status(context: StudyContext, found: Standing) -> None:
    """One line a condition, then what failed, then runs and what is orphaned."""
    OUT.print(_study_line(context))
    for one in found.conditions:
        OUT.print(f"[bold]{one.condition!s:<16}[/] {_tally(one.verdicts)}")
        for verdict in one.broken:
            name, state = verdict.product.name, f"[red]{verdict.state}[/]"
            OUT.print(f"  {name} is {state}: {escape(verdict.reason)}")
        due: dict[str, list[str]] = {}
        for verdict in one.verdicts:
            if verdict.state is State.UNCHECKED:
                due.setdefault(verdict.reason, []).append(verdict.product.name)
        for reason, names in due.items():
            told = names[0] if len(names) == 1 else _count(names, "product")
            OUT.print(f"  [{COLOURS[State.UNCHECKED]}]unchecked[/] {told}: {escape(reason)}")
        for path, text in one.blockers:
            OUT.print(f"  [red]stopped[/] {escape(str(path))}:")
            OUT.print("\n".join(f"    {line}" for line in text.splitlines()), markup=False)
    for run in found.runs:
        where = "" if run.pid is None else f", process {run.pid}"
        after = f"; {run.gone}: the next run or the daemon declares it failed" if run.gone else ""
        told = f"{run.what}: run {run.run_id[:8]} {run.status}{where}{after}"
        OUT.print(f"[cyan]in progress[/] {escape(told)}")
    _show_orphans(found.orphans)
    verdicts = [verdict for one in found.conditions for verdict in one.verdicts]
    if not all(verdict.state is State.MISSING for verdict in verdicts):
        return
    if any(file_of(context.store, v.product, v.condition).is_file() for v in verdicts):
        OUT.print("nothing is recorded of what lies in the store: `fly64 restore` records it again")
    else:
        whole = len(found.conditions) == len(context.study.doses) * len(context.study.views)
        what = "this study" if whole else "what you asked for"
        OUT.print(
            f"nothing of {what} was made yet: `fly64 plan` says what `fly64 run` would make; "
            "another study: --study FILE"
        )


def _show_orphans(paths: Iterable[str]) -> None:
    for path in paths:
        OUT.print(f"[yellow]orphaned[/] {escape(path)}: the study no longer names it; it is kept")
