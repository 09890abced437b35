"""Phase E: the networks, trained on the train view only, as model bundles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fly64_assets.documents.files import read_json
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.solvers.interface import network_module


def _bundle(run: PhaseRun, model, metadata: Mapping[str, Any]) -> Outcome:  # noqa: ANN001 - Keras
    """Stage the bundle's files, and return what they say of ``model``."""
    from fly64_assets.solvers import model_bundle

    trained = run.made_from(metadata, "train", model=model.kind)
    model_bundle.save(
        model,
        run.staging,
        extra=run.input_hashes(),
        transformations=trained["transformations"],
    )
    stated = read_json(run.staging / "bundle.json")
    shown = {
        "parameters": model.n_parameters,
        "epochs_completed": len(model.history),
        "best_epoch": model.best_epoch,
        "final_loss": float(model.final_loss),
        "best_validation_loss": float(model.best_validation_loss),
    }
    return Outcome(stated["weights_sha256"], shown)


@phase_asset(
    "*_model",
    "{arm}: {how}. Bundle: model.keras, bundle.json (kind, gridsize, N, seeds, input hashes), "
    "history.csv (loss and validation loss per epoch).",
    "tensorflow",
    "keras",
    solver=True,
)
def train(run: PhaseRun) -> Outcome:
    from fly64_assets.ptychography.data001.dataset import read_dataset

    dataset = read_dataset(run.input("train", "overlap_view").path("train.npz"))
    model = network_module(run.arm).train_on(
        dataset,
        run.settings,
        kind=run.arm.name,
        seed=run.settings["seed"],
        progress=run.progress(run.arm.name),
        checkpoint=run.checkpoint,
    )
    return _bundle(run, model, dataset.metadata)
