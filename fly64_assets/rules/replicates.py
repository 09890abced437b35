"""Rules of repeated trainings: as many as the study says, each of its own, each an image."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check
from fly64_assets.rules.files import Files, equals
from fly64_assets.rules.provenance import recorded_settings
from fly64_assets.rules.reconstructions import image_rules
from fly64_assets.study.model import SPLITS

FILE = "replicates.npz"
TOLD = sorted(
    [
        *("training", "seed", "weights_sha256"),
        *("best_epoch", "final_loss", "best_validation_loss"),
    ]
)
PURPOSE = 7
"""What the seed sequence of further trainings is named by."""
SHA256 = re.compile(r"[0-9a-f]{64}")


def _trainings(files: Files) -> Iterable[RuleOutcome]:
    import numpy as np

    stored, study = files.arrays(FILE), files.study
    numbers = range(2, study.replicates + 1)
    told = json.loads(str(stored["trainings"][()]))
    seeds = [
        int(np.random.SeedSequence([study.seeds.grouping, PURPOSE, number]).generate_state(1)[0])
        for number in numbers
    ]
    yield equals("trainings", "their numbers", list(numbers), [row["training"] for row in told])
    yield equals("trainings", "each with its own seed", seeds, [row["seed"] for row in told])
    weights = {row["weights_sha256"] for row in told if SHA256.fullmatch(row["weights_sha256"])}
    yield equals("trainings", "each with weights of its own", len(told), len(weights))
    for row in told:
        losses = (row["final_loss"], row["best_validation_loss"])
        whole = sorted(row) == TOLD and row["best_epoch"] >= 1 and all(map(math.isfinite, losses))
        yield equals(f"training {row['training']}", "states its epoch and losses", True, whole)
    wanted = sorted(f"{split}_{number}" for number in numbers for split in SPLITS)
    found = sorted({*stored} - {"trainings", "_metadata"})
    yield equals("arrays", "one a training and split", wanted, found)
    canvas = files.other("train", "overlap_view").dataset().object_guess
    for name in found:
        yield from image_rules(name, stored[name])
        form, like = (f"{image.dtype} {image.shape}" for image in (stored[name], canvas))
        yield equals(name, "on the canvas", like, form)
    different = len({stored[name].tobytes() for name in found})
    yield equals("arrays", "no two are the same", len(found), different)


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
