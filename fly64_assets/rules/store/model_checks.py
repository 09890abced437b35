"""Checks of phase E: a bundle is the model that its role asks for, trained on the train view only.

A bundle is read and verified without TensorFlow.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun, Judge, Severity
from fly64_assets.rules.store.common_checks import (
    csv_columns,
    equals,
    json_file,
    recorded_settings,
    same_settings,
)
from fly64_assets.rules.store.dataset_checks import read
from fly64_assets.study.arms import Network

BYTES_PER_PARAMETER = 4


def _description(run: CheckRun) -> dict[str, Any]:
    return json_file(run.path("bundle.json"))


def _bundle(network: Network) -> Judge:
    kind = network.name

    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        from fly64_assets.solvers import model_bundle

        gridsize = network.gridsize_in(run.study.gridsize)
        stated, archive = _description(run), run.path("model.keras")
        expected = {"kind": kind, "gridsize": gridsize, "N": run.study.patch_size}
        for key, value in expected.items():
            yield equals(f"bundle.json {key}", "is what its role asks", value, stated.get(key))
        least = BYTES_PER_PARAMETER * int(stated["n_parameters"])
        size = archive.stat().st_size
        yield RuleOutcome(
            "model.keras", "holds its weights", f">= {least} bytes, not 0", size, size >= least > 0
        )
        problem = "loads"
        try:
            model_bundle.load(archive.parent, expected_kind=kind)
        except InputError as error:
            problem = f"{error.key} {error.problem}".strip()
        yield equals("model.keras", "whole, and the weights that were saved", "loads", problem)
        if problem == "loads":
            yield from _network(archive, kind, gridsize)

    return judge


PER_PATTERN = ("diffraction", "subpixel", "offset")
"""Inputs of a network that hold something for each of its C patterns."""


def _network(archive: Path, kind: str, gridsize: int) -> Iterator[RuleOutcome]:
    """What the archive itself says, whatever stands in bundle.json."""
    with zipfile.ZipFile(archive) as members:
        text = members.read("config.json").decode()
    unsafe = "Lambda" in text or "__lambda__" in text
    yield equals(
        "model.keras", "needs no unsafe code", "no Lambda", ["no Lambda", "Lambda"][unsafe]
    )
    config = json.loads(text)["config"]
    yield equals("model.keras name", "is what its role asks", kind, config["name"])
    shapes = [
        layer["config"]["batch_shape"]
        for layer in config["layers"]
        if layer["class_name"] == "InputLayer" and layer["config"]["name"] in PER_PATTERN
    ]
    entering = sorted({shape[1] for shape in shapes})
    yield equals("model.keras inputs", "C = gridsize^2 patterns together", [gridsize**2], entering)


def _loss(run: CheckRun) -> Iterable[RuleOutcome]:
    stated = _description(run)
    history = csv_columns(run.path("history.csv"), "epoch", "loss", "validation_loss")
    losses = [*history["loss"], *history["validation_loss"]]
    finite = bool(losses) and all(map(math.isfinite, losses))
    yield RuleOutcome("history.csv", "losses finite", "all", f"{len(losses)} values", finite)
    epochs = list(range(1, int(stated["epochs_completed"]) + 1))
    yield equals("history.csv", "every epoch once, in order", epochs, history["epoch"])
    if not finite:
        return
    best = min(history["validation_loss"])
    yield equals("best_validation_loss", "of history.csv", best, stated["best_validation_loss"])
    found = 1 + history["validation_loss"].index(best)
    yield equals("best_epoch", "of the least validation loss", found, stated["best_epoch"])
    yield equals("final_loss", "of the last epoch", history["loss"][-1], stated["final_loss"])


def _loss_improved(run: CheckRun) -> Iterable[RuleOutcome]:
    validation = csv_columns(run.path("history.csv"), "validation_loss")["validation_loss"]
    first, best = validation[0], min(validation)
    yield RuleOutcome(
        "validation_loss",
        "best is better than the first epoch's (where there are several)",
        f"< {first:.6g}",
        f"{best:.6g}",
        best < first or len(validation) == 1,
    )


def _trained_on(run: CheckRun) -> Iterable[RuleOutcome]:
    """Lineage: weights and what they were fitted to, by hash and not by file name."""
    stated = _description(run)["inputs"]
    consumed = run.provenance.inputs
    yield equals("inputs", "the train view alone", ["train/overlap_view"], sorted(consumed))
    files = {
        f"{name}/{Path(path).name}": sha256
        for name, given in consumed.items()
        for path, sha256 in given.files.items()
    }
    yield equals("bundle.json inputs", "sha256 of what the step read", files, stated)
    view = run.other("train", "overlap_view").provenance
    yield equals(
        "train/overlap_view",
        "the data version that is there now",
        view.data_version[:12],
        consumed["train/overlap_view"].data_version[:12],
    )


def _counts(network: Network) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        import numpy as np

        from fly64_assets.solvers.grouping import hold_out

        view, stated = read(run.other("train", "overlap_view")), _description(run)
        groups, unit = view.extra["training_groups"], "groups"
        if network.gridsize_in(run.study.gridsize) == 1:  # all images of the view, one by one
            groups, unit = np.arange(len(view))[:, None], "images"
        fraction = getattr(run.study, network.section).validation_fraction
        expected = hold_out(view.positions_px, groups, fraction)
        total = f"of the view's {len(groups)} {unit}, recomputed"
        yield equals("n_fit", total, len(expected.fit), stated["n_fit"])
        yield equals("n_validation", total, len(expected.validation), stated["n_validation"])

    return judge


def _effective_settings(network: Network) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        yield from recorded_settings(run)
        stated, wanted = _description(run), getattr(run.study, network.section)
        yield from same_settings("bundle.json", wanted.model_dump(), stated["settings"])
        gridsize = network.gridsize_in(run.study.gridsize)
        yield equals("bundle.json gridsize", "as in the study", gridsize, stated["gridsize"])
        seeds = {"grouping": run.study.seeds.grouping}
        yield equals("bundle.json seeds", "as in the study", seeds, stated["seeds"])
        completed = stated["epochs_completed"]
        yield equals("epochs_completed", "as in the study", wanted.epochs, completed)

    return judge


def checks_of(network: Network) -> tuple[Check, ...]:
    """The checks of one network's bundle."""
    return (
        Check(
            "bundle",
            _bundle(network),
            f"The bundle is a {network.name}, whole, hashed and loadable.",
        ),
        Check("loss", _loss, "Losses are finite, and the weights are the best epoch's."),
        Check(
            "loss_improved",
            _loss_improved,
            "Training got better than its first epoch on what was held out.",
            Severity.WARN,
        ),
        Check("trained_on", _trained_on, "It was fitted to the train view that is there now."),
        Check(
            "counts",
            _counts(network),
            "As many groups or images were fitted and held out as the view gives.",
        ),
        Check(
            "effective_settings",
            _effective_settings(network),
            "Settings, seeds and threads as recorded are the study's.",
        ),
    )
