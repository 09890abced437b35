"""Phase E: the networks, trained on the train view only, as model bundles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dagster import AssetsDefinition

from fly64_assets.pipeline.asset_frame import Body, Outcome, PhaseRun, build_phase_asset
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.process import program_version, utc_now
from fly64_assets.solvers.interface import network_module
from fly64_assets.study.arms import Network, networks
from fly64_assets.study.products import Key, product


def _bundle(run: PhaseRun, model, metadata: Mapping[str, Any]) -> Outcome:  # noqa: ANN001 - Keras
    """The bundle's files, and what they say of ``model``, trained on a view with ``metadata``."""
    from fly64_assets.ptychography.data001.metadata import with_transformation
    from fly64_assets.solvers import model_bundle

    trained = with_transformation(
        metadata,
        tool="train",
        version=program_version(),
        time=utc_now(),
        parameters={"model": model.kind, **run.settings},
        inputs=run.input_hashes(),
    )
    model_bundle.save(
        model,
        run.staging,
        extra=run.input_hashes(),
        transformations=trained["transformations"],
    )
    stated = json.loads((run.staging / "bundle.json").read_text("utf-8"))
    shown = {
        "parameters": model.n_parameters,
        "epochs_completed": len(model.history),
        "best_epoch": model.best_epoch,
        "final_loss": float(model.final_loss),
        "best_validation_loss": float(model.best_validation_loss),
    }
    return Outcome(stated["weights_sha256"], shown)


def _body(network: Network) -> Body:
    def train(run: PhaseRun) -> Mapping[Key, Outcome]:
        from fly64_assets.ptychography.data001.dataset import read_dataset

        dataset = read_dataset(run.input("train", "overlap_view").path("train.npz"))
        model = network_module(network).train_on(
            dataset,
            run.settings,
            kind=network.name,
            seed=run.settings["seed"],
            progress=run.progress(network.name),
            checkpoint=run.checkpoint,
        )
        return {network.model_key: _bundle(run, model, dataset.metadata)}

    return train


DESCRIPTION = (
    "{}: {}. Bundle: model.keras, bundle.json (kind, gridsize, N, seeds, input hashes), "
    "history.csv (loss and validation loss per epoch)."
)


def build(context: StudyContext) -> list[AssetsDefinition]:
    return [
        build_phase_asset(
            context,
            (product(*network.model_key),),
            _body(network),
            descriptions={network.model_key: DESCRIPTION.format(network.name, network.about)},
            kinds={"tensorflow", "keras"},
            solver=True,
        )
        for network in networks(context.study.arms)
    ]
