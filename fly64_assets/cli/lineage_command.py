"""``fly64 lineage``: what a file was made from, down to the specimen, and what still holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fly64_assets.cli.options import exit_code, json_option, print_json
from fly64_assets.errors import harmless

if TYPE_CHECKING:
    from fly64_assets.hub.lineage import FileState, Lineage, Step
    from fly64_assets.hub.lineage_carried import CarriedLineage

DIGITS = 12
COLOURS = {
    "matches": "green",
    "made again: same data": "yellow",
    "not kept here": "cyan",
}
"""Everything else is red: what was made from it no longer stands on what lies there."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@exit_code
def lineage(file: Path, as_json: bool) -> int:
    """Print what FILE was made from, and whether each still matches what is on disk.

    FILE lies in a study's store or in an exported hub, whichever; any other file is asked for the
    transformations that it carries, and compared with those of its sources that lie beside it.
    Exit 1 when something in the chain no longer matches. --json has hashes in full.

    Example: fly64 lineage results/demo/store/analysis/dose_1000/dense/metrics_delta_summary.json
    """
    from fly64_assets.hub.lineage import trace
    from fly64_assets.hub.lineage_carried import carried_lineage
    from fly64_assets.hub.lineage_homes import home_of

    with home_of(file) as found:
        chain = carried_lineage(file) if found is None else trace(*found)
    if as_json:
        print_json(as_dictionary(chain))
    else:
        for line in tree_lines(chain):
            click.echo(line)  # each with its colours, its foreign text harmless
    return 0 if chain.holds else 1


def as_dictionary(chain: Lineage | CarriedLineage) -> dict[str, Any]:
    """Return a chain as JSON values; ``inputs`` of a step are positions in ``steps``.

    Of a file that lies in no store or hub: its ``transformations`` as they are, and ``beside``.
    """
    from fly64_assets.hub.lineage import Lineage

    if isinstance(chain, Lineage):
        return _chain_dictionary(chain)
    return {
        "file": chain.file,
        "kind": "file",
        "holds": chain.holds,
        "files": chain.counts(),
        "beside": [_file_dictionary(state) for state in chain.beside],
        "transformations": chain.transformations,
    }


def _chain_dictionary(chain: Lineage) -> dict[str, Any]:
    from fly64_assets.hub.lineage import seeds_of

    return {
        "file": chain.file,
        "kind": chain.kind,
        "holds": chain.holds,
        "files": chain.counts(),
        "steps": [
            {
                "asset": step.made.asset,
                "partition": step.made.partition,
                "generated_at": step.made.generated_at,
                "data_version": step.made.data_version,
                "code_version": step.made.code_version,
                "fingerprint": step.made.fingerprint,
                "study": step.made.study,
                "study_sha256": step.made.study_sha256,
                "git_commit": step.made.git_commit,
                "seeds": seeds_of(step.made.settings),
                "versions": dict(step.made.versions),
                "settings": dict(step.made.settings),
                "exact": step.made.exact,
                "contradiction": step.made.contradiction,
                "source": step.made.source,
                "files": [_file_dictionary(state) for state in step.files],
                "inputs": list(step.inputs),
            }
            for step in chain.steps
        ],
    }


def _file_dictionary(state: FileState) -> dict[str, Any]:
    return {
        "path": state.path,
        "sha256": state.sha256,
        "state": state.state.value,
        "sha256_on_disk": state.sha256_on_disk,
    }


def tree_lines(chain: Lineage | CarriedLineage) -> Iterator[str]:
    """Yield a chain as an indented tree; a making that stands above already is only named."""
    from fly64_assets.hub.lineage import Lineage

    yield _bold(chain.file)
    counts = ", ".join(f"{count} {_coloured(state)}" for state, count in chain.counts().items())
    if isinstance(chain, Lineage):
        yield from _step_lines(chain, 0, 1, set())
        yield f"{_counted(len(chain.steps), 'step')}; files: {counts}"
        return
    yield from _transformation_lines(chain)
    told = f"sources beside it: {counts}" if counts else "none of its sources lies beside it"
    count = _counted(len(chain.transformations), "transformation")
    yield f"{count}; in no store and no hub; {told}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _step_lines(chain: Lineage, position: int, depth: int, shown: set[int]) -> Iterator[str]:
    step, indent = chain.steps[position], "  " * depth
    made = step.made
    name = _bold(f"{made.asset} ({made.partition or 'study'})")
    time = harmless(made.generated_at)
    if position in shown:
        yield f"{indent}{name} made {time}: see above"
        return
    shown.add(position)
    yield f"{indent}{name} made {time}"
    for state in step.files:
        yield f"{indent}| {_compared(state)}"
    for line in _details(step):
        yield f"{indent}| {harmless(line)}"
    for given in step.inputs:
        yield from _step_lines(chain, given, depth + 1, shown)


def _details(step: Step) -> Iterator[str]:
    from fly64_assets.hub.lineage import seeds_of

    made = step.made
    if made.contradiction is not None:
        yield made.contradiction
    if not made.exact:
        yield "that making has no record of its own any more: what follows is of a later one"
    seeds = _joined(seeds_of(made.settings)) or "none"
    commit = made.git_commit or "unknown"
    yield f"data version {made.data_version[:DIGITS]}; seeds: {seeds}"
    yield f"code version {made.code_version}; git commit {commit}"
    yield f"study {made.study} {made.study_sha256[:DIGITS]}; {_joined(made.versions)}"
    if made.source is not None:
        source = made.source
        yield (
            f"read from {source['source']} {source['sha256'][:DIGITS]}; "
            f"licence {source['licence']}; {source['origin']}"
        )


def _compared(state: FileState) -> str:
    found = state.sha256_on_disk
    differs = found not in (None, state.sha256)
    on_disk = f", on disk {str(found)[:DIGITS]}" if differs else ""
    told = harmless(f"{state.path}  {state.sha256[:DIGITS]}{on_disk}")
    return f"{_coloured(state.state.value)}  {told}"


def _bold(text: str) -> str:
    return click.style(harmless(text), bold=True)


def _joined(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _coloured(state: str) -> str:
    return click.style(state, fg=COLOURS.get(state, "red"))


def _transformation_lines(chain: CarriedLineage) -> Iterator[str]:
    """Yield the records that a file carries, the latest first, each below what was made from it."""
    beside = {(state.path, state.sha256): state for state in chain.beside}
    for depth, record in enumerate(reversed(chain.transformations), start=1):
        indent = "  " * depth
        made = harmless(f"{record.get('version')} at {record.get('time')}")
        yield f"{indent}{_bold(str(record.get('tool')))} {made}"
        for source, sha256 in (record.get("inputs") or {}).items():
            state = beside.get((source, sha256))
            told = _compared(state) if state else harmless(f"from {source} {sha256[:DIGITS]}")
            yield f"{indent}| {told}"
        parameters = json.dumps(record.get("parameters"), sort_keys=True, ensure_ascii=False)
        yield f"{indent}| {harmless(parameters)}"
