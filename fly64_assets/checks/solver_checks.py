"""Checks of phases E and F: a bundle is the model it says, a reconstruction shows something."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dagster import AssetChecksDefinition

from fly64_assets.catalogue import product
from fly64_assets.checks.phase_check import CheckRun, Judge, build_check
from fly64_assets.context import StudyContext
from fly64_assets.ptychography.rules import RuleOutcome
from fly64_assets.study import SPLITS

if TYPE_CHECKING:
    import numpy as np


def image_rules(name: str, image: np.ndarray) -> Iterable[RuleOutcome]:
    """Finite, not zero and not constant: what the least reconstruction must be."""
    import numpy as np

    finite = bool(np.isfinite(image).all())
    yield RuleOutcome(name, "finite", "all pixels", "all" if finite else "not all", finite)
    if finite:
        spread = float(np.std(image))
        yield RuleOutcome(
            name, "not constant", "standard deviation > 1e-6", f"{spread:.3g}", spread > 1e-6
        )


def _bundle(kind: str) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        stated = json.loads(run.path("bundle.json").read_text("utf-8"))
        expected = {
            "kind": kind,
            "gridsize": run.study.gridsize if kind == "PtychoPINN" else 1,
            "N": run.study.patch_size,
        }
        for key, value in expected.items():
            found = stated.get(key)
            yield RuleOutcome(
                f"bundle.json {key}", "is what its role asks", value, found, found == value
            )
        with zipfile.ZipFile(run.path("model.keras")) as archive:
            damaged = archive.testzip()
            config = archive.read("config.json").decode()
        yield RuleOutcome(
            "model.keras", "archive intact", "every member", damaged or "every member", not damaged
        )
        unsafe = "Lambda" in config or "__lambda__" in config
        yield RuleOutcome(
            "model.keras",
            "needs no unsafe code",
            "no Lambda",
            "Lambda" if unsafe else "none",
            not unsafe,
        )
        with run.path("history.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        losses = [float(row[name]) for row in rows for name in ("loss", "validation_loss")]
        finite = bool(losses) and all(map(math.isfinite, losses))
        yield RuleOutcome("history.csv", "losses finite", "all", f"{len(losses)} values", finite)

    return judge


def _reconstruction(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.npz import read_npz

    stored = read_npz(run.path("ptychi_reconstruction.npz"))
    yield from image_rules("reconstructed_object", stored["reconstructed_object"])
    yield from image_rules("reconstructed_probe", stored["reconstructed_probe"])


def build(context: StudyContext) -> list[AssetChecksDefinition]:
    bundles = [
        build_check(
            context,
            product(name),
            "bundle",
            _bundle(kind),
            description="The bundle is the kind of model that its role asks for, intact, trained.",
        )
        for name, kind in (("pinn_model", "PtychoPINN"), ("baseline_model", "Baseline"))
    ]
    reconstructions = [
        build_check(
            context,
            product(split, "ptychi_reconstruction"),
            "reconstruction",
            _reconstruction,
            description="Object and probe are finite and not constant.",
        )
        for split in SPLITS
    ]
    return [*bundles, *reconstructions]
