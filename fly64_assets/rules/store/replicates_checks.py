"""Checks of repeated trainings: as many as the study says, each of its own, each an image."""

from __future__ import annotations

import json
from collections.abc import Iterable

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.reconstructions import image_rules
from fly64_assets.rules.store.common_checks import equals, recorded_settings
from fly64_assets.rules.store.dataset_checks import read
from fly64_assets.solvers.replicates import array_name, training_seed
from fly64_assets.study.model import SPLITS


def _trainings(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.data001.npz import array_digest, read_npz

    stored = read_npz(run.path("replicates.npz"))
    numbers = list(range(2, run.study.replicates + 1))
    told = json.loads(str(stored["trainings"][()]))
    seeds = [training_seed(run.study.seeds.grouping, number) for number in numbers]
    yield equals("trainings", "each with its own seed", seeds, [row["seed"] for row in told])
    weights = {row["weights_sha256"] for row in told}
    yield equals("trainings", "no two ended with the same weights", len(told), len(weights))
    wanted = sorted(array_name(split, number) for number in numbers for split in SPLITS)
    found = sorted({*stored} - {"trainings", "_metadata"})
    yield equals("arrays", "one a training and split", wanted, found)
    view = read(run.other("train", "overlap_view"))
    for name in found:
        yield from image_rules(name, stored[name])
        yield equals(name, "on the canvas", view.object_guess.shape, stored[name].shape)
    digests = {array_digest({"object": stored[name]}) for name in found}
    yield equals("arrays", "no two are the same", len(found), len(digests))


CHECKS = (
    Check(
        "trainings",
        _trainings,
        "Further trainings are as many as the study says, differ, and show something.",
    ),
    Check(
        "effective_settings",
        recorded_settings,
        "Settings, seed, threads and replicates as recorded are the study's.",
    ),
)
