"""Phase C: simulated diffraction at one dose, halved along y, as DATA-001 files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.process import git_commit, program_version, utc_now
from fly64_assets.solvers.interface import Progress
from fly64_assets.study.model import SPLITS, SimulationSettings
from fly64_assets.study.products import Key


@phase_asset(
    "dataset",
    "{Split} half of the simulated scan at this dose (photons per exposure), a DATA-001 NPZ: "
    "diffraction amplitude float32 (n, N, N), zero frequency at the centre; positions in px, "
    "x = column, y = row; Y the true patches complex64 (n, N, N).",
    "numpy",
    solver=True,
    together=True,
)
def make_datasets(run: PhaseRun) -> Mapping[Key, Outcome]:
    from fly64_assets.ptychography.data001.dataset import data_version
    from fly64_assets.ptychography.data001.metadata import SPECIMEN
    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.ptychography.overlap import probe_diameter
    from fly64_assets.ptychography.simulation import simulate_split_datasets
    from fly64_assets.ptychography.specimen import load_specimen

    settings = run.settings
    given = run.input("specimen")
    source = given.path("specimen.npz")
    specimen = load_specimen(source, patch_size=settings["patch_size"])
    described = json.loads(str(read_npz(source, ["_metadata"])["_metadata"][()]))
    diameter = settings["probe_diameter_px"]
    if diameter == "auto":
        diameter = probe_diameter(specimen.probe, settings["probe_power_fraction"])
    tell = run.progress("simulation")
    summary = simulate_split_datasets(
        specimen,
        dose=settings["dose"],
        simulation=run.section("simulation", SimulationSettings),
        patch_size=settings["patch_size"],
        seed=settings["seed"],
        threads=run.threads,
        folder=run.staging,
        names={split: f"patched_{split}.npz" for split in SPLITS},
        probe_diameter_px=float(diameter),
        program_version=program_version(),
        git_commit=git_commit(),
        created=utc_now(),
        specimen_files=given.sha256_by_name(),
        specimen_origin=described[SPECIMEN],
        progress=lambda done, total: tell(Progress(done, total, "exposures", {})),
    )
    return {
        (split, "dataset"): Outcome(
            data_version(run.staging / f"patched_{split}.npz"),
            {
                "n_images": summary.splits[split].n_images,
                "mean_counts": float(summary.splits[split].mean_counts),
                "intensity_scale": float(summary.intensity_scale),
                "split_line_y_px": float(summary.split_line_y_px),
                "probe_diameter_px": float(diameter),
            },
        )
        for split in SPLITS
    }
