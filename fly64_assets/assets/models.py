"""Phase E: the two networks, trained on the train view only, as model bundles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dagster import AssetsDefinition

from fly64_assets.assets.phase_asset import Outcome, PhaseRun, build_phase_asset
from fly64_assets.catalogue import Key, product
from fly64_assets.context import StudyContext
from fly64_assets.process import program_version, utc_now
from fly64_assets.solvers.interface import measurement_of
from fly64_assets.study import BaselineSettings, PtychoPINNSettings

PINN, BASELINE = product("pinn_model"), product("baseline_model")


def _bundle(run: PhaseRun, model, metadata: Mapping[str, Any]) -> Outcome:  # noqa: ANN001 - Keras
    """The bundle's files, and what they say of ``model``, trained on a view with ``metadata``."""
    from fly64_assets.ptychography.metadata import with_transformation
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


def make_pinn_model(run: PhaseRun) -> Mapping[Key, Outcome]:
    import numpy as np

    from fly64_assets.ptychography.data001 import read_dataset
    from fly64_assets.solvers import ptychopinn

    dataset = read_dataset(run.input("train", "overlap_view").path("train.npz"))
    model = ptychopinn.train(
        measurement_of(dataset),
        np.asarray(dataset.extra["training_groups"]),
        run.section("ptychopinn", PtychoPINNSettings),
        gridsize=run.settings["gridsize"],
        probe_diameter_px=dataset.metadata["physics"]["probe_diameter_px"],
        grouping_seed=run.settings["seed"],
        threads=run.settings["threads"],
        progress=run.progress("PtychoPINN"),
        checkpoint=run.checkpoint,
    )
    return {PINN.key: _bundle(run, model, dataset.metadata)}


def make_baseline_model(run: PhaseRun) -> Mapping[Key, Outcome]:
    import numpy as np

    from fly64_assets.ptychography.data001 import read_dataset
    from fly64_assets.solvers import baseline

    dataset = read_dataset(run.input("train", "overlap_view").path("train.npz"))
    model = baseline.train(
        measurement_of(dataset),
        np.asarray(dataset.patches),
        run.section("baseline", BaselineSettings),
        seed=run.settings["seed"],
        threads=run.settings["threads"],
        progress=run.progress("Baseline"),
        checkpoint=run.checkpoint,
    )
    return {BASELINE.key: _bundle(run, model, dataset.metadata)}


def build(context: StudyContext) -> list[AssetsDefinition]:
    pinn = (
        "PtychoPINN: a network trained without the truth, by the Poisson likelihood of the counts "
        "under the known probe. Bundle: model.keras, bundle.json (kind, gridsize, N, seeds, input "
        "hashes), history.csv (loss and validation loss per epoch)."
    )
    baseline = (
        "Baseline: a network of gridsize 1 trained on the true patches of the train view. Bundle "
        "as PtychoPINN's."
    )
    return [
        build_phase_asset(
            context,
            (item,),
            body,
            descriptions={item.key: description},
            kinds={"tensorflow", "keras"},
            solver=True,
        )
        for item, body, description in (
            (PINN, make_pinn_model, pinn),
            (BASELINE, make_baseline_model, baseline),
        )
    ]
