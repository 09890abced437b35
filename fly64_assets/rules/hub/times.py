"""The check of the order of times: what was made from something was made after it.

That each is UTC is in ``texts.py``; when asset checks were evaluated in ``check_report.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Finding, check
from fly64_assets.rules.hub.crate_graph import Step, consumed_as_it_is, steps
from fly64_assets.rules.hub.logs import STARTED
from fly64_assets.rules.hub.of_products import HubFiles, study_in
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.provenance import record_file, stated_by, states_records
from fly64_assets.study.products import products_in

STAMPED = {
    "metrics_delta_summary": "metrics_delta_summary.json",
    "check_report": "check_report.json",
}
"""Assets whose JSON file says when it was written."""
OwnTimes = tuple[str, str, list[tuple[str, str]], int]
"""File, its asset, (key, UTC time) in order, and which of them is the first of its own making: the
ones before are of what it was made from."""


@check("times.order", "", "what was made from something was made after it")
def times_order(hub: Hub) -> Iterator[Finding]:
    for (before, earlier), (file, key, later) in _pairs(hub):
        if not (earlier and later and earlier <= later):
            yield Finding(file, key, f"{later or 'nothing'} is earlier than {earlier}, {before}")


def _pairs(hub: Hub) -> Iterator[tuple[tuple[str, str], tuple[str, str, str]]]:
    """Yield (what, UTC time) and (file, key, UTC time) that must not be earlier."""
    made, own = steps(hub), list(_own_times(hub))
    for asset, step in made.items():
        moments = [(contract.CRATE, f"#make/{asset} endTime", step.end), *_began(hub, asset, own)]
        for label in step.consumed:
            maker = label.rpartition("/")[0]
            if maker in made and consumed_as_it_is(hub, asset, label):
                place = step.places.get(label, maker)
                for moment in moments:
                    yield (f"when {place} was made", made[maker].end), moment
    for file, asset, moments_of_file, _ in own:
        end = made.get(asset, Step()).end
        chain = [*moments_of_file, ("endTime in the crate", end)]
        for (before, earlier), (key, later) in zip(chain, chain[1:], strict=False):
            yield (before, earlier), (file, key, later)


def _began(hub: Hub, asset: str, own: Sequence[OwnTimes]) -> Iterator[tuple[str, str, str]]:
    """(file, key, UTC time) of what an asset's files and log say of when it was being made."""
    for file, owner, moments, number in own:
        if owner == asset and moments[number:]:
            yield file, *moments[number]
    for name, (owner, _) in contract.STEPS.items():
        path = f"cli/{name}"
        if owner == asset and path in hub.files:
            for line in hub.lines(path):
                if STARTED.fullmatch(line[21:]):
                    yield path, "start of the step", line[:20]


def _own_times(hub: Hub) -> Iterator[OwnTimes]:
    for item in products_in(study_in(hub)):
        files = HubFiles(hub, item)
        if states_records(files):
            yield _of_records(files)
        if item.key[-1] == "comparison":
            log = files.place("comparison.log")
            lines = hub.lines(log)
            yield log, item.name, [("first", lines[0][:20]), ("last", lines[-1][:20])], 0
        if item.name in STAMPED:
            file = STAMPED[item.name]
            made = str(files.json(file).get("generated_at"))
            yield files.place(file), item.name, [("generated_at", made)], 0


def _of_records(files: HubFiles) -> OwnTimes:
    """Return times of what a product says was done, the last by its own step."""
    file, stated = record_file(files), stated_by(files)
    key = "_metadata " if "creation" in stated else ""
    created = [stated["creation"]["time"]] if "creation" in stated else []
    moments = [(f"{key}creation.time", str(time)) for time in created]
    for number, record in enumerate(stated["transformations"]):
        moments.append((f"{key}transformations[{number}].time", str(record.get("time"))))
    own = 0 if files.product.key[-1] == "dataset" else len(moments) - 1
    if files.product.group == "f_reconstructions":
        moments.append(("timestamp", str(files.arrays(file, "timestamp")["timestamp"])))
    return files.place(file), files.product.name, moments, own
