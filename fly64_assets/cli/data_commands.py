"""``fly64 data001`` and ``fly64 import``: a dataset file held against its contract, or made so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fly64_assets.cli.options import exit_code, json_option, print_json
from fly64_assets.errors import InputError, harmless

if TYPE_CHECKING:
    from fly64_assets.ptychography.importing import ImportReport
    from fly64_assets.ptychography.rules import RuleOutcome


@click.command()
@click.argument("file", type=click.Path())
@json_option
@exit_code
def data001(file: str, as_json: bool) -> int:
    """Hold FILE against DATA-001 and show every rule. Exit 2 when one is broken.

    Example: fly64 data001 results/demo/store/data/phase_c/dose_1000/patched_train.npz
    """
    from fly64_assets import console
    from fly64_assets.ptychography.data001_rules import check_data001, refuse_first
    from fly64_assets.ptychography.importing import require_file

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


POSITIVE = _Positive(min=0, min_open=True)


@click.command(name="import")
@click.argument("file", type=click.Path())
@click.option(
    "--to", "target", type=click.Path(), metavar="OUT.npz", help="File to make, and its folder."
)
@click.option("--dry-run", is_flag=True, help="Say what would be changed; write nothing.")
@click.option("--force", is_flag=True, help="Replace OUT.npz if it exists.")
@click.option(
    "--key",
    "keys",
    metavar="KEY=NAME",
    multiple=True,
    help="Which array of FILE a key is, e.g. diffraction=entry/data/data. May be repeated. "
    "positions=NAME names an (n, 2) array of both coordinates.",
)
@click.option(
    "--values", type=click.Choice(["amplitude", "intensity"]), help="What diffraction holds."
)
@click.option(
    "--intensity-scale",
    type=POSITIVE,
    metavar="S",
    help="counts = (amplitude * S)^2, amplitude as it is in FILE.",
)
@click.option(
    "--frames", type=click.Choice(["first", "last"]), help="Which axis counts the frames."
)
@click.option(
    "--zero-frequency",
    type=click.Choice(["centre", "corner"]),
    help="Where the zero frequency lies in a pattern.",
)
@click.option(
    "--axes",
    type=click.Choice(["xy", "yx"]),
    help="What xcoords, or the first column of positions, runs along: columns (xy) or rows (yx).",
)
@click.option(
    "--pixel-size",
    type=POSITIVE,
    metavar="L",
    help="Size of an object pixel in the unit of the positions, where that is not px.",
)
@click.option(
    "--origin",
    type=click.Choice(["corner", "centre"]),
    help="Where on the canvas the positions count from.",
)
@click.option("--probe", metavar="FILE", help="NPZ or HDF5 file to take probeGuess from.")
@click.option(
    "--object", metavar="FILE|ones", help="File to take objectGuess from; ones: an empty canvas."
)
@click.option("--probe-mode", type=click.IntRange(min=0), metavar="K", help="Probe mode to keep.")
@click.option(
    "--nan", type=click.Choice(["drop-frames"]), help="Leave out frames that are not finite."
)
@click.option(
    "--start",
    type=click.Choice(["keep", "drop"]),
    help="Start positions that differ: simulated position errors (keep), or of no use (drop).",
)
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

    What FILE states and what its values settle is converted; anything else is a question, exit
    code 2, that names the option that answers it. See docs/import.md.

    \b
    Examples:
      fly64 import scan.npz --to imported.npz
      fly64 import scan.h5 --key diffraction=entry/data/data --values intensity --to out.npz
    """
    from fly64_assets.process import git_commit, program_version, utc_now
    from fly64_assets.ptychography.importing import Answers, import_file, require_file

    require_file(file)
    if target is None and not dry_run:
        raise click.UsageError("say where to: --to OUT.npz, or --dry-run to see what would change")
    with _Progress(file, quiet=as_json) as progress:
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


class _Progress:
    """A live line on a terminal; nothing elsewhere."""

    def __init__(self, file: str, *, quiet: bool) -> None:
        from rich.markup import escape

        from fly64_assets.console import OUT

        self._file = escape(harmless(file))
        shown = OUT.is_terminal and not quiet
        self._status = OUT.status(f"reading {self._file}") if shown else None

    def __enter__(self) -> _Progress:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._status:
            self._status.update(f"{what} {self._file}: {done} of {total} frames")


def _values(report: ImportReport, file: str, target: str | None) -> dict[str, Any]:
    """A report as JSON values; ``written`` is null where nothing was."""
    return {
        "file": file,
        "written": target,
        "n_frames": report.n_frames,
        "patch_size": report.patch_size,
        "canvas_shape": list(report.canvas_shape),
        "changes": [str(change) for change in report.changes],
        "axes": report.axes,
        "forward_residuals": None if report.residuals is None else list(report.residuals),
        "rules": list(_rule_values(report.rules)),
    }


def _show(report: ImportReport, target: str | None) -> None:
    from rich.markup import escape

    from fly64_assets import console

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
    console.OUT.print(_axes_line(report))
    if target is None:
        console.OUT.print("nothing was written")
    else:
        console.OUT.print(f"written: {escape(target)}, DATA-001 holds")


def _axes_line(report: ImportReport) -> str:
    if report.residuals is None:
        return "axes: no frame can be compared with x and y exchanged"
    kept, exchanged = report.residuals
    ways = {
        None: ("as imported", "with x and y exchanged"),
        "xy": ("as --axes xy states", "with x and y exchanged"),
        "yx": ("exchanged, as --axes yx states", "not exchanged"),
    }
    this_way, other_way = ways[report.axes]
    told = f"axes: forward residual {kept:.3f} {this_way}, {exchanged:.3f} {other_way}"
    if kept < exchanged:
        return told
    if report.axes is None:
        return f"{told}; the data cannot tell"
    return f"{told}; the statement is followed all the same"
