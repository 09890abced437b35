"""Phase E, repeated: each network trained again with other seeds, and what those make of the view.

How much a score depends on the training seed is part of how sure it is. The published model is the
study's seed alone; what is made here enters the intervals and nothing else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.solvers.interface import measurement_of, network_module
from fly64_assets.solvers.replicates import array_name, training_seed
from fly64_assets.study.model import SPLITS

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import Dataset


def _train_again(
    run: PhaseRun, number: int, views: Mapping[str, Dataset]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """One more training: its objects by array name, and what it says of itself."""
    from fly64_assets.solvers import model_bundle
    from fly64_assets.solvers.stitched_object import stitched_object

    network = run.arm
    seed = training_seed(run.settings["seed"], number)
    label = f"{network.name} training {number}"
    model = network_module(network).train_on(
        views["train"],
        run.settings,
        kind=network.name,
        seed=seed,
        progress=run.progress(label),
        checkpoint=run.checkpoint.part(f"training_{number}"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        model_bundle.save(model, Path(scratch), extra={})
        loaded = model_bundle.load(Path(scratch), expected_kind=network.name)
        objects = {
            array_name(split, number): stitched_object(
                network,
                loaded,
                measurement_of(view),
                crop_px=run.settings["stitch_crop_px"],
                seed=seed,
                threads=run.settings["threads"],
                progress=run.progress(f"{label}, {split}"),
            ).object
            for split, view in views.items()
        }
    told = {
        "training": number,
        "seed": seed,
        "weights_sha256": loaded.description["weights_sha256"],
        "best_epoch": model.best_epoch,
        "final_loss": float(model.final_loss),
        "best_validation_loss": float(model.best_validation_loss),
    }
    return objects, told


@phase_asset(
    "*_replicates",
    "{arm} trained again with other seeds, as often as `replicates` says less one: the "
    "objects it makes of both views, complex64 on the canvas (rows y, columns x). For "
    "intervals only.",
    "tensorflow",
    "keras",
    solver=True,
)
def make_replicates(run: PhaseRun) -> Outcome:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import read_dataset
    from fly64_assets.ptychography.data001.metadata import to_json
    from fly64_assets.ptychography.data001.npz import array_digest, write_npz

    views = {
        split: read_dataset(run.input(split, "overlap_view").path(f"{split}.npz"))
        for split in SPLITS
    }
    arrays: dict[str, np.ndarray] = {}
    trainings: list[dict[str, Any]] = []
    # The first training is the model itself.
    for number in range(2, run.settings["replicates"] + 1):
        objects, told = _train_again(run, number, views)
        arrays |= objects
        trainings.append(told)
    described = run.made_from(views["train"].metadata, "train_again", model=run.arm.name)
    arrays["trainings"] = np.array(json.dumps(trainings, sort_keys=True, allow_nan=False))
    write_npz(run.staging / "replicates.npz", {**arrays, "_metadata": np.array(to_json(described))})
    shown = {"further_trainings": len(trainings)}
    return Outcome(array_digest(arrays), shown)
