"""Phase D: overlap views of one half of a dataset, with their groups and overlap metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import OverlapSettings, Seeds, ViewSettings

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001.dataset import Dataset
    from fly64_assets.ptychography.overlap import View


def _restrict(dataset: Dataset, view: View, metadata: Mapping[str, Any]) -> Dataset:
    """Return the view's frames of a dataset, with the groups as further arrays."""
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import Dataset
    from fly64_assets.ptychography.data001.npz import release

    kept = view.image_index
    restricted = Dataset(
        diffraction=np.asarray(dataset.diffraction[kept]),
        object_guess=dataset.object_guess,
        probe_guess=dataset.probe_guess,
        xcoords=dataset.xcoords[kept],
        ycoords=dataset.ycoords[kept],
        xcoords_start=dataset.xcoords_start[kept],
        ycoords_start=dataset.ycoords_start[kept],
        scan_index=dataset.scan_index[kept],
        patches=None if dataset.patches is None else np.asarray(dataset.patches[kept]),
        metadata=metadata,
        extra={
            "centre_index": view.centre_index,
            "full_groups": view.full_groups,
            "training_groups": view.training_groups,
        },
    )
    for array in (dataset.diffraction, dataset.patches):
        if array is not None:
            release(array)
    return restricted


@phase_asset(
    "overlap_view",
    "Overlap view of the {split} half: images of all full groups (a centre and its K nearest "
    "neighbours), centres thinned to the view's target disc overlap; DATA-001 NPZ with the "
    "group indices, and overlap metrics 1 to 3 (dimensionless, 0 to 1).",
    "numpy",
    "scipy",
)
def make_view(run: PhaseRun) -> Outcome:
    import numpy as np

    from fly64_assets.ptychography.data001.dataset import data_version, read_dataset, write_dataset
    from fly64_assets.ptychography.overlap import overlap_metrics, select_view

    split = run.split
    given = run.input(split, "dataset")
    dataset = read_dataset(given.path(f"patched_{split}.npz"))
    seeds = run.section("seeds", Seeds)
    overlap = run.section("overlap", OverlapSettings)
    diameter = dataset.metadata["physics"]["probe_diameter_px"]
    view = select_view(
        dataset.positions_px,
        run.section("view", ViewSettings),
        overlap,
        gridsize=run.settings["gridsize"],
        diameter_px=diameter,
        seeds=seeds,
    )
    restricted = _restrict(
        dataset,
        view,
        run.made_from(dataset.metadata, "overlap_view", split=split, view=run.condition.view),
    )
    scale = dataset.metadata["physics"]["intensity_scale"]
    photons = float((np.square(restricted.diffraction, dtype=np.float64)).sum() * scale**2)
    metrics = overlap_metrics(
        view,
        dataset.positions_px,
        overlap=overlap,
        gridsize=run.settings["gridsize"],
        diameter_px=diameter,
        seeds=seeds,
        total_photons=photons,
    )
    write_dataset(run.staging / f"{split}.npz", restricted)
    run.write_json(f"{split}_metrics.json", metrics)
    version = digest([data_version(run.staging / f"{split}.npz"), metrics])
    shown = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    return Outcome(version, shown)
