"""Checks of phase F: the iterative reconstructions and their manifest."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import iterative
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.crate_graph import consumed_as_it_is
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.views import compare_lineage
from fly64_assets.study.arms import Iterative
from fly64_assets.study.model import SPLITS

FOLDER = "data/phase_f/dose_{dose}/{view}"
KEYS = {
    "_metadata",
    "reconstructed_object",
    "reconstructed_probe",
    "algorithm",
    "timestamp",
    "computation_time_s",
}
ALGORITHMS = {"PtyChi": "LSQML", "ePIE": "EPIE"}
LEAST_SPREAD = 1e-6
PROBE_TOLERANCE = 1e-5
"""Rounding of a probe that went into a solver's units and back."""


def reconstruction(hub: Hub, arm: Iterative, split: str) -> str:
    return f"{hub.named(FOLDER)}/{split}/{arm.asset}_reconstruction.npz"


def each(hub: Hub) -> list[tuple[Iterative, str]]:
    """Every iterative arm with both splits, in the order of the manifest."""
    return [(arm, split) for arm in iterative(hub) for split in SPLITS]


@check(
    "phase_f.provenance",
    FOLDER,
    "a reconstruction was made from this hub's view and carries its provenance",
)
def provenance(hub: Hub) -> Iterator[Finding]:
    for arm, split in each(hub):
        path, asset = reconstruction(hub, arm, split), f"{split}/{arm.asset}_reconstruction"
        stated, view = hub.metadata(path), hub.metadata(hub.overlap_view(split))
        records = stated.get("transformations")
        yield from compare_lineage(hub, split, asset, path, records, "reconstruct", {})
        exactly = consumed_as_it_is(hub, asset, f"{split}/overlap_view/{split}.npz")
        for key in ("schema_version", "physics", "specimen", *(["creation"] if exactly else [])):
            yield from compare(path, view.get(key), stated.get(key), key=f"_metadata {key}")
        own = records[-1]["parameters"]
        yield from compare(path, split, own.get("split"), key="transformations[-1].split")
        yield from compare(path, arm.name, own.get("model"), key="transformations[-1].model")
        refined = own.get(arm.section, {}).get("refine_probe")
        known = hub.arrays(hub.overlap_view(split), "probeGuess")["probeGuess"]
        found = hub.arrays(path, "reconstructed_probe")["reconstructed_probe"]
        apart = np.abs(known - found).max() / np.abs(known).max()
        if refined is not True and not apart <= PROBE_TOLERANCE:
            reason = f"is {apart:.2g} away from the known probe, and refining is off"
            yield Finding(path, "reconstructed_probe", reason)


def image_problem(image: np.ndarray, shape: tuple[int, ...]) -> str:
    """Why an array is no reconstruction of that shape; empty when it is one."""
    if image.dtype != np.complex64 or image.shape != shape:
        return f"is {image.dtype} {image.shape}, expected complex64 {shape}"
    if not np.isfinite(image).all():
        return "is not finite everywhere"
    spread = float(np.std(image))
    return "" if spread > LEAST_SPREAD else f"is constant (standard deviation {spread:.3g})"


@check(
    "phase_f.reconstruction",
    FOLDER,
    "object and probe complex64, finite, not constant; algorithm, time, duration",
)
def reconstructions(hub: Hub) -> Iterator[Finding]:
    for arm, split in each(hub):
        path = reconstruction(hub, arm, split)
        found = hub.arrays(path)
        if set(found) != KEYS:
            yield Finding(path, "", f"holds {sorted(found)}, expected {sorted(KEYS)}")
            continue
        known = hub.arrays(hub.overlap_view(split), "objectGuess", "probeGuess")
        for key, like in (
            ("reconstructed_object", "objectGuess"),
            ("reconstructed_probe", "probeGuess"),
        ):
            if problem := image_problem(found[key], known[like].shape):
                yield Finding(path, key, problem)
        algorithm, expected = str(found["algorithm"]), ALGORITHMS[arm.name]
        if algorithm != expected:
            yield Finding(path, "algorithm", f"is {algorithm!r}, expected {expected!r}")
        if not contract.TIME.fullmatch(str(found["timestamp"])):
            yield Finding(path, "timestamp", f"{str(found['timestamp'])!r} is no UTC time")
        seconds = float(found["computation_time_s"])
        if not (math.isfinite(seconds) and seconds > 0):
            yield Finding(path, "computation_time_s", f"is {seconds}")


@check("phase_f.not_the_truth", FOLDER, "a reconstruction is not a copy of the truth")
def not_the_truth(hub: Hub) -> Iterator[Finding]:
    for arm, split in each(hub):
        path = reconstruction(hub, arm, split)
        found = hub.arrays(path, "reconstructed_object")["reconstructed_object"]
        truth = hub.arrays(hub.overlap_view(split), "objectGuess")["objectGuess"]
        if np.array_equal(found, truth):
            yield Finding(path, "reconstructed_object", "is objectGuess")


@check(
    "phase_f.loss_history",
    FOLDER + "/{{train,test}}/*loss_history.csv",
    "where there: an epoch a line, finite, lower at the end than at the start",
)
def loss_history(hub: Hub) -> Iterator[Finding]:
    for arm, split in each(hub):
        path = f"{hub.named(FOLDER)}/{split}/{arm.history}"
        if path not in hub.files:
            continue
        header, *rows = hub.table(path) or [[]]
        if header != ["epoch", "loss"]:
            yield Finding(path, "header", f"is {header}, expected epoch,loss")
        try:
            numbers = [(int(epoch), float(loss)) for epoch, loss in rows]
        except ValueError:
            yield Finding(path, "", "holds a line that is not an epoch and a loss")
            continue
        if [epoch for epoch, _ in numbers] != list(range(1, len(numbers) + 1)):
            yield Finding(path, "epoch", "does not count from 1 on")
        losses = [loss for _, loss in numbers]
        if not losses or not all(map(math.isfinite, losses)) or losses[-1] > losses[0]:
            yield Finding(path, "loss", "is not finite, or does not fall")


@check(
    "phase_f.manifest",
    contract.RECONSTRUCTION_MANIFEST,
    "both splits ran and succeeded, each with its log",
)
def manifest(hub: Hub) -> Iterator[Finding]:
    results = [
        {
            "dose": hub.dose,
            "view": hub.view,
            "split": split,
            "returncode": 0,
            "log_path": f"cli/phase_f_{split}_{arm.asset}_reconstruction.log",
        }
        for arm, split in each(hub)
    ]
    jobs = [
        {
            "dose": hub.dose,
            "view": hub.view,
            "split": split,
            "algorithm": str(hub.arrays(reconstruction(hub, arm, split), "algorithm")["algorithm"]),
            "input": hub.overlap_view(split),
            "output": reconstruction(hub, arm, split),
        }
        for arm, split in each(hub)
    ]
    expected = {"total_jobs": len(jobs), "jobs": jobs, "execution_results": results}
    found = hub.json(contract.RECONSTRUCTION_MANIFEST)
    yield from compare(contract.RECONSTRUCTION_MANIFEST, expected, found)
