"""One solver run with a checkpoint on disk, in a process of its own that may be killed on the way.

    python -m fly64_assets_tests.solvers.interrupted_solver KIND FOLDER [MOMENT EPOCH]

KIND is PtychoPINN, Baseline or PtyChi. The checkpoint lies in FOLDER/checkpoint. MOMENT is
``after``, once the checkpoint of EPOCH is there, or ``during`` the writing of this process's
checkpoint number EPOCH; there the process kills itself with SIGKILL. What a step would log goes to
stdout; a run that ends leaves ``result.json`` in FOLDER.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fly64_assets.pipeline.checkpoints import StoredCheckpoint
from fly64_assets.ptychography.data001.npz import array_digest
from fly64_assets.solvers import baseline, model_bundle, ptychi_engines, ptychopinn
from fly64_assets.solvers.interface import Progress
from fly64_assets.solvers.model_bundle import TrainedModel
from fly64_assets.study.model import load_study
from fly64_assets_tests.solvers import closed_form_scan as closed

STUDY = load_study()
EPOCHS = 4
SMALL = {"epochs": EPOCHS, "batch_size": 4, "width": 8, "frame_px": 24, "samples_per_epoch": 32}
MEASUREMENT = closed.scan(48, dose=1e4, seed=1)


def say(text: str) -> None:
    print(text, flush=True)


def killer(moment: str, epoch: int) -> Callable[[Progress], None]:
    """A progress callback that kills this process; ``during`` kills in the rename of a save."""
    rename, saves = os.replace, 0

    def replace(*paths: Path) -> None:
        nonlocal saves
        saves += Path(paths[1]).name == "checkpoint.npz"
        if saves == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*paths)

    def progress(progress: Progress) -> None:
        epochs = progress.unit.startswith("epoch")
        if moment == "after" and epochs and progress.done == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "during":
        os.replace = replace
    return progress


def describe(model: TrainedModel, folder: Path) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    model_bundle.save(model, folder, extra={})
    stated = json.loads((folder / "bundle.json").read_text("utf-8"))
    history = [{**row, "seconds": None} for row in model.history]
    return {"version": stated["weights_sha256"], "history": history, "bundle": stated}


def main(kind: str, folder: Path, moment: str, epoch: int) -> None:
    common = {
        "threads": 2,
        "progress": killer(moment, epoch),
        "checkpoint": StoredCheckpoint(folder / "checkpoint", "one fingerprint", say),
    }
    if kind == "PtychoPINN":
        field = STUDY.ptychopinn.field.model_copy(update=closed.SMALL_FIELD)
        small = {**SMALL, "loss_group_size": 4, "loss_neighbours": 6, "field": field}
        model = ptychopinn.train(
            MEASUREMENT,
            closed.clustered_groups(48, 4, 24, seed=1),
            STUDY.ptychopinn.model_copy(update=small),
            gridsize=2,
            probe_diameter_px=closed.DIAMETER_PX,
            grouping_seed=123,
            **common,
        )
        result = describe(model, folder / "bundle")
    elif kind == "Baseline":
        patches = closed.patches_at(MEASUREMENT.positions_px)
        settings = STUDY.baseline.model_copy(update=SMALL)
        model = baseline.train(MEASUREMENT, patches, settings, seed=123, **common)
        result = describe(model, folder / "bundle")
    else:
        settings = STUDY.ptychi.model_copy(update={"epochs": EPOCHS, "epochs_per_chunk": 1})
        found = ptychi_engines.reconstruct(MEASUREMENT, settings, seed=123, **common)
        arrays = {"object": np.asarray(found.object), "probe": np.asarray(found.probe)}
        result = {"version": array_digest(arrays), "history": found.loss_history}
    folder.joinpath("result.json").write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    chosen = sys.argv[3:] or ["never", "0"]
    main(sys.argv[1], Path(sys.argv[2]), chosen[0], int(chosen[1]))
