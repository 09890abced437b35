"""Phase F: the iterative solvers' reconstructions of each half of a view."""

from __future__ import annotations

from fly64_assets.documents.files import write_rows
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.process import utc_now
from fly64_assets.solvers.interface import iterative_module, measurement_of


@phase_asset(
    "*_reconstruction",
    "{how} reconstruction of the {split} view with the known probe: object complex64 on the "
    "full canvas (rows y, columns x), probe complex64 (N, N), computation time in seconds.",
    "torch",
    solver=True,
)
def reconstruct_view(run: PhaseRun) -> Outcome:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import read_dataset
    from fly64_assets.ptychography.data001.metadata import to_json
    from fly64_assets.ptychography.data001.npz import array_digest, write_npz

    arm, split = run.arm, run.split
    dataset = read_dataset(run.input(split, "overlap_view").path(f"{split}.npz"))
    result = iterative_module(arm).reconstruct_from(
        measurement_of(dataset),
        run.settings,
        arm.section,
        progress=run.progress(f"{arm.name} {split}"),
        checkpoint=run.checkpoint,
    )
    arrays = {
        "reconstructed_object": result.object,
        "reconstructed_probe": result.probe,
        "algorithm": np.array(result.algorithm),
    }
    described = run.made_from(dataset.metadata, "reconstruct", model=arm.name, split=split)
    write_npz(
        run.staging / arm.file,
        {
            **arrays,
            "timestamp": np.array(utc_now()),
            "computation_time_s": np.array(result.computation_time_s),
            "_metadata": np.array(to_json(described)),
        },
    )
    losses = ((epoch, f"{loss:.9g}") for epoch, loss in result.loss_history)
    write_rows(run.staging / arm.history, ("epoch", "loss"), losses)
    shown = {
        "n_images": len(dataset.xcoords),
        "epochs": result.epochs,
        "final_loss": float(result.loss_history[-1][1]),
        "computation_time_s": float(result.computation_time_s),
    }
    return Outcome(array_digest(arrays), shown)
