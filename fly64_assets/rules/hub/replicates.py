"""Checks of phase E's further trainings: whose they are, from which seeds, and what they made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import networks
from fly64_assets.rules.hub.checks import Broken, Finding, check, compare
from fly64_assets.rules.hub.crate_graph import consumed_as_it_is, study
from fly64_assets.rules.hub.models import FOLDER
from fly64_assets.rules.hub.reading import Hub, parse_json
from fly64_assets.rules.hub.reconstructions import image_problem
from fly64_assets.rules.hub.views import compare_lineage, view_files
from fly64_assets.study.model import SPLITS

TOLD = {
    *("training", "seed", "weights_sha256"),
    *("best_epoch", "final_loss", "best_validation_loss"),
}
FILE = FOLDER + "/<network>/replicates.npz"
PURPOSE = 7
"""What the seed sequence of further trainings is named by."""


def replicates_file(hub: Hub, model: str) -> str:
    return f"{hub.named(FOLDER)}/{model}/replicates.npz"


def number_of_trainings(hub: Hub) -> int:
    """As the study in the crate says."""
    number = study(hub).get("replicates")
    if type(number) is not int or number < 1:
        raise Broken(contract.CRATE, "#study/replicates", f"is {number!r}")
    return number


def _told(hub: Hub, path: str) -> list[dict[str, Any]]:
    try:
        told = parse_json(str(hub.arrays(path, "trainings")["trainings"][()]))
    except (ValueError, RecursionError, IndexError) as error:
        raise Broken(path, "trainings", f"is no valid JSON: {error}") from None
    if not isinstance(told, list) or any(set(row) != TOLD for row in told):
        raise Broken(path, "trainings", f"is no list of {sorted(TOLD)}")
    return told


@check("phase_e.replicates", FILE, "each further training has its seed, its weights, its objects")
def replicates(hub: Hub) -> Iterator[Finding]:
    numbers = range(2, number_of_trainings(hub) + 1)
    grouping = study(hub)["seeds"]["grouping"]
    seeds = [
        (n, int(np.random.SeedSequence([grouping, PURPOSE, n]).generate_state(1)[0]))
        for n in numbers
    ]
    for path in (replicates_file(hub, network.name) for network in networks(hub)):
        told = _told(hub, path)
        found = [(row["training"], row["seed"]) for row in told]
        if found != seeds:
            yield Finding(path, "trainings", f"have seeds {found}, expected {seeds}")
        weights = [str(row["weights_sha256"]) for row in told]
        if len(set(weights)) < len(weights) or not all(map(contract.SHA256.fullmatch, weights)):
            yield Finding(path, "trainings", "do not each state the sha256 of their own weights")
        for row in told:
            losses = (row["final_loss"], row["best_validation_loss"])
            whole = isinstance(row["best_epoch"], int) and row["best_epoch"] >= 1
            if not whole or not all(isinstance(loss, float) for loss in losses):
                yield Finding(path, f"trainings {row['training']}", "states no epoch or losses")
        arrays = hub.arrays(path)
        wanted = {f"{split}_{number}" for split in SPLITS for number in numbers}
        if set(arrays) != {"trainings", "_metadata", *wanted}:
            yield Finding(path, "", f"holds {sorted(arrays)}, expected {sorted(wanted)}")
            continue
        canvas = hub.arrays(hub.overlap_view("train"), "objectGuess")["objectGuess"].shape
        for name in sorted(wanted):
            if problem := image_problem(arrays[name], canvas):
                yield Finding(path, name, problem)
        if len({arrays[name].tobytes() for name in wanted}) < len(wanted):
            yield Finding(path, "", "holds one object twice")


@check("phase_e.replicates_provenance", FILE, "it was made from this hub's views, and says so")
def provenance(hub: Hub) -> Iterator[Finding]:
    stated_study = study(hub)
    for network in networks(hub):
        model, asset, section = network.name, f"{network.asset}_replicates", network.section
        path = replicates_file(hub, model)
        stated, view = hub.metadata(path), hub.metadata(hub.overlap_view("train"))
        records = stated.get("transformations")
        others = view_files(hub, "test")
        yield from compare_lineage(hub, "train", asset, path, records, "train_again", others)
        exactly = consumed_as_it_is(hub, asset, "train/overlap_view/train.npz")
        for key in ("schema_version", "physics", "specimen", *(["creation"] if exactly else [])):
            yield from compare(path, view.get(key), stated.get(key), key=f"_metadata {key}")
        if set(stated) != set(view):
            yield Finding(path, "_metadata", f"has keys {sorted(stated)}")
        expected = {
            "model": model,
            section: stated_study[section],
            "gridsize": network.gridsize or stated_study["gridsize"],
            "seed": stated_study["seeds"]["grouping"],
            "threads": stated_study["threads"],
            "device": stated_study["device"],
            "replicates": stated_study["replicates"],
            "stitch_crop_px": stated_study["scoring"]["stitch_crop_px"],
        }
        own = records[-1]["parameters"]
        yield from compare(path, expected, own, key="transformations[-1].parameters")
