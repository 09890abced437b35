"""``fly64 data001`` and ``fly64 import``: a dataset file held against its contract, or made so."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fly64_assets.cli.options import exit_code, json_option, print_json, say
from fly64_assets.errors import InputError, harmless
from fly64_assets.ptychography.importing.questions import (
    LONGEST_STATED_LAG,
    QUESTIONS,
    Answers,
    option,
)

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001.rules import RuleOutcome
    from fly64_assets.ptychography.importing.writing import ImportReport


@click.command()
@click.argument("file", type=click.Path())
@json_option
@exit_code
def data001(file: str, as_json: bool) -> int:
    """Hold FILE against DATA-001 and show every rule. Exit 2 when one is broken.

    Example: fly64 data001 results/demo/store/data/phase_c/dose_1000/patched_train.npz
    """
    from fly64_assets.cli import display as console
    from fly64_assets.ptychography.data001.dataset_rules import check_data001, refuse_first
    from fly64_assets.ptychography.importing.source import require_file

    require_file(file)
    rows = check_data001(file)
    if as_json:
        holds = all(row.ok for row in rows)
        print_json({"file": file, "ok": holds, "rules": list(_rule_values(rows))})
    else:
        console.show_rules(rows)
    for row in rows:
        if row.rule == "archive" and not row.ok:  # what is wrong with it is a sentence already
            raise InputError(file, "", row.actual)
    refuse_first(file, rows)
    return 0


def _rule_values(rows: Iterable[RuleOutcome]) -> Iterable[dict[str, Any]]:
    """Rules as JSON values: what is expected and what is there as the table shows it."""
    for row in rows:
        yield {**asdict(row), "expected": str(row.expected), "actual": str(row.actual)}


class _Positive(click.FloatRange):
    """A finite number above 0."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not finite", param, ctx)
        return number


class _Mode(click.ParamType):
    """A number of a probe mode, or the strongest."""

    name = "mode"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        return value if value == "strongest" else click.IntRange(min=0).convert(value, param, ctx)


KINDS: dict[str, click.ParamType] = {
    "text": click.STRING,
    "number": _Positive(min=0, min_open=True),
    "lag": click.IntRange(-LONGEST_STATED_LAG, LONGEST_STATED_LAG),
    "mode": _Mode(),
}


def _questions(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command one option for each row of `questions.QUESTIONS`."""
    for name, row in reversed(QUESTIONS.items()):
        command = click.option(
            option(name),
            name,
            type=click.Choice(row.choices) if row.choices else KINDS[row.kind],
            metavar=row.metavar,
            multiple=row.many,
            help=row.help,
        )(command)
    return command


@click.command(name="import")
@click.argument("file", type=click.Path())
@click.option(
    "--to", "target", type=click.Path(), metavar="OUT.npz", help="File to make, and its folder."
)
@click.option("--dry-run", is_flag=True, help="Say what would be changed; write nothing.")
@click.option("--force", is_flag=True, help="Replace OUT.npz if it exists.")
@_questions
@json_option
@exit_code
def import_(
    file: str,
    target: str | None,
    dry_run: bool,
    force: bool,
    keys: tuple[str, ...],
    as_json: bool,
    **stated: Any,
) -> int:
    """Convert FILE, NPZ or HDF5, measured or simulated, to a DATA-001 file, and record how.

    What FILE states and what its values settle is converted; anything else is a question. All are
    asked at once, exit code 2, with the options that answer them. See docs/import.md.

    \b
    Examples:
      fly64 import scan.npz --to imported.npz
      fly64 import scan.h5 --key diffraction=entry/data/data --values intensity --to out.npz
    """
    from fly64_assets.pipeline.process import git_commit, program_version, utc_now
    from fly64_assets.ptychography.importing.change_log import OpenQuestions
    from fly64_assets.ptychography.importing.source import require_file
    from fly64_assets.ptychography.importing.writing import import_file

    require_file(file)
    if target is None and not dry_run:
        raise click.UsageError("say where to: --to OUT.npz, or --dry-run to see what would change")
    try:
        with _progress(file, quiet=as_json) as progress:
            report = import_file(
                file,
                None if dry_run else target,
                Answers(keys=_named(keys), **stated),
                program_version=program_version(),
                git_commit=git_commit(),
                created=utc_now(),
                progress=progress,
                force=force,
            )
    except OpenQuestions as error:
        for question in error.questions:
            say(f"error: {question}", err=True)
        where = "--dry-run" if dry_run else f"--to {shlex.quote(str(target))}"
        command = f"fly64 import {shlex.quote(file)} {where} {error.options}"
        say(f"suggested: {command}", err=True)
        return 2
    if as_json:
        print_json(_values(report, file, None if dry_run else target))
    else:
        _show(report, None if dry_run else target)
    return 0


def _named(keys: tuple[str, ...]) -> dict[str, str]:
    named: dict[str, str] = {}
    for pair in keys:
        key, _, name = pair.partition("=")
        if not key or not name or key in named:
            raise InputError("--key", pair, "is not KEY=NAME, or names a key twice")
        named[key] = name
    return named


@contextmanager
def _progress(file: str, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a live line on a terminal; nothing elsewhere."""
    from rich.markup import escape

    from fly64_assets.cli.display import OUT

    name = escape(harmless(file))
    if quiet or not OUT.is_terminal:
        yield lambda what, done, total: None
        return
    with OUT.status(f"reading {name}") as status:
        yield lambda what, done, total: status.update(f"{what} {name}: {done} of {total} frames")


def _values(report: ImportReport, file: str, target: str | None) -> dict[str, Any]:
    """Return a report as JSON values; ``written`` is null where nothing was."""
    from fly64_assets.ptychography.importing.writing import residuals_of

    return {
        "file": file,
        "written": target,
        "n_frames": report.n_frames,
        "patch_size": report.patch_size,
        "canvas_shape": list(report.canvas_shape),
        "changes": [str(change) for change in report.changes],
        "forward_residuals": residuals_of(report.finding),
        "rules": list(_rule_values(report.rules)),
    }


def _show(report: ImportReport, target: str | None) -> None:
    from rich.markup import escape

    from fly64_assets.cli import display as console

    if report.rules:
        console.show_rules(report.rules)
    height, width = report.canvas_shape
    console.OUT.print(
        f"{report.n_frames} frames of {report.patch_size} x {report.patch_size} px on a "
        f"{height} x {width} canvas"
    )
    console.OUT.print("would change:" if target is None else "changed:")
    for number, change in enumerate(report.changes, 1):
        console.OUT.print(escape(f"{number:>3}. {change}"))
    console.OUT.print(escape(_orientation_line(report)))
    if target is None:
        console.OUT.print("nothing was written")
    else:
        console.OUT.print(f"written: {escape(target)}, DATA-001 holds")


def _orientation_line(report: ImportReport) -> str:
    finding = report.finding
    if finding is None or not finding.others:
        return "orientation: nothing else could be compared"
    words, best = next(iter(finding.others.items()))
    told = f"orientation: forward residual {finding.residual:.3f} as imported; the best of "
    told += f"{len(finding.others)} others {best:.3f}, {words}"
    if finding.silent:
        return f"{told}; the data cannot tell orientation, order or lag"
    if finding.clear and not finding.better:
        return told
    return f"{told}; what is stated is followed all the same"
