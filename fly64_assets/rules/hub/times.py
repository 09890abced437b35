"""The check of the order of times: what was made from something was made after it.

That each is UTC is in ``texts.py``; when asset checks were evaluated in ``check_report.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import iterative, networks
from fly64_assets.rules.hub.checks import Finding, check
from fly64_assets.rules.hub.crate_graph import Step, consumed_as_it_is, steps
from fly64_assets.rules.hub.logs import STARTED
from fly64_assets.rules.hub.models import bundle_file
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.reconstructions import reconstruction
from fly64_assets.rules.hub.replicates import replicates_file
from fly64_assets.study.model import SPLITS

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

    def of_records(records: Any, key: str) -> list[tuple[str, str]]:
        return [(f"{key}[{n}].time", str(record.get("time"))) for n, record in enumerate(records)]

    for split in SPLITS:
        for path, asset in (
            (hub.dataset(split), "dataset"),
            (hub.overlap_view(split), "overlap_view"),
            *(
                (reconstruction(hub, arm, split), f"{arm.asset}_reconstruction")
                for arm in iterative(hub)
            ),
        ):
            metadata = hub.metadata(path)
            moments = [("_metadata creation.time", str(metadata["creation"]["time"]))]
            moments += of_records(metadata["transformations"], "_metadata transformations")
            if asset.endswith("_reconstruction"):
                stamp = str(hub.arrays(path, "timestamp")["timestamp"])
                moments.append(("timestamp", stamp))
            first = 0 if asset == "dataset" else len(metadata["transformations"])
            yield path, f"{split}/{asset}", moments, first
        log = hub.comparison(split, "comparison.log")
        lines = hub.lines(log)
        moments = [("first line", lines[0][:20]), ("last", lines[-1][:20])]
        yield log, f"{split}/comparison", moments, 0
        scoring = hub.comparison(split, "scoring.json")
        if scoring in hub.files:
            records = hub.json(scoring).get("transformations", [])
            moments = of_records(records, "transformations")
            yield scoring, f"{split}/comparison", moments, len(moments) - 1
    for network in networks(hub):
        path, asset = bundle_file(hub, network.name, "bundle.json"), f"{network.asset}_model"
        records = hub.json(path).get("transformations", [])
        moments = of_records(records, "transformations")
        yield path, asset, moments, len(moments) - 1
    for network in networks(hub):
        path, asset = replicates_file(hub, network.name), f"{network.asset}_replicates"
        records = hub.metadata(path)["transformations"]
        moments = of_records(records, "_metadata transformations")
        yield path, asset, moments, len(moments) - 1
    for path, asset in (
        (contract.DELTAS, "metrics_delta_summary"),
        ("analysis/check_report.json", "check_report"),
    ):
        yield path, asset, [("generated_at", str(hub.json(path).get("generated_at")))], 0
