"""How CPU time and memory of every phase grow with the number of images, at one scan density.

The specimen is cut to a canvas on which the positions lie as densely as in the study. Each phase of
each size runs in a process of its own with the study's settings and a few epochs. The growth
exponent is the slope of log CPU-seconds over log images, both above those of a call on a few. A
training's work is set by its epochs and not by its images, so what grows there is only what looks
at all of them. Run: ``python benchmarks/bench_growth.py``.

Goal: no exponent above 1.05.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ratios import note

from fly64_assets.pipeline.process import peak_memory_mb
from fly64_assets.ptychography.data001.dataset import read_dataset
from fly64_assets.ptychography.overlap import overlap_metrics, probe_diameter, select_view
from fly64_assets.ptychography.simulation import simulate_split_datasets
from fly64_assets.ptychography.specimen import Specimen, load_specimen
from fly64_assets.solvers.interface import (
    NO_CHECKPOINT,
    Progress,
    iterative_module,
    measurement_of,
    network_module,
)
from fly64_assets.study import arms
from fly64_assets.study.model import ViewSettings, load_study, specimen_path

SIZES = (1_000, 3_000, 10_000)
"""Images of one half."""
FEW = 300
"""What a call on so many takes is taken off: imports, compilation, reading."""
DOSE = 1000
EPOCHS = {"ptychopinn": 2, "baseline": 2, "ptychi": 4}
STUDY = load_study()


def specimen_for(images: int) -> Specimen:
    """The study's specimen, cut or continued by its mirror image to hold two such halves."""
    whole = load_specimen(specimen_path(STUDY), patch_size=STUDY.patch_size)
    height, width = whole.object.shape
    reach = STUDY.patch_size + 2 * STUDY.simulation.margin_px
    share = 2 * images / STUDY.simulation.positions
    scanned = (height - reach) * (width - reach) * share
    side = 2 * round((math.sqrt(scanned) + reach) / 2)
    more = max(0, side - min(height, width))
    return replace(whole, object=np.pad(whole.object, (0, more), "symmetric")[:side, :side])


def simulation(folder: Path, images: int) -> None:
    specimen = specimen_for(images)
    simulate_split_datasets(
        specimen,
        dose=DOSE,
        simulation=STUDY.simulation.model_copy(update={"positions": 2 * images}),
        patch_size=STUDY.patch_size,
        seed=STUDY.seeds.simulation,
        threads=STUDY.threads,
        folder=folder,
        probe_diameter_px=probe_diameter(specimen.probe, STUDY.overlap.probe_power_fraction),
        program_version="benchmark",
        git_commit=None,
        created="1970-01-01T00:00:00Z",
        progress=lambda done, total: None,
    )


def _view(folder: Path) -> tuple[Any, Any, float]:
    dataset = read_dataset(folder / "patched_train.npz")
    diameter = dataset.metadata["physics"]["probe_diameter_px"]
    view = select_view(
        dataset.positions_px,
        ViewSettings(image_fraction=1.0),
        STUDY.overlap,
        gridsize=STUDY.gridsize,
        diameter_px=diameter,
        seeds=STUDY.seeds,
    )
    return dataset, view, diameter


def overlap(folder: Path, images: int) -> None:
    dataset, view, diameter = _view(folder)
    overlap_metrics(
        view,
        dataset.positions_px,
        overlap=STUDY.overlap,
        gridsize=STUDY.gridsize,
        diameter_px=diameter,
        seeds=STUDY.seeds,
        total_photons=1.0,
    )


def quiet(_: Progress) -> None:
    pass


def network(name: str, then: str) -> Callable[[Path, int], None]:
    def work(folder: Path, images: int) -> None:
        from fly64_assets.solvers import model_bundle
        from fly64_assets.solvers.stitched_object import stitched_object

        (arm,) = arms.networks([name])
        dataset, view, _ = _view(folder)
        bundle = folder / name
        if then == "training":
            dataset.extra["training_groups"] = view.training_groups
            section = getattr(STUDY, arm.section).model_dump() | {"epochs": EPOCHS[arm.section]}
            trained = network_module(arm).train_on(
                dataset,
                {arm.section: section, "gridsize": STUDY.gridsize, "threads": STUDY.threads},
                kind=name,
                seed=STUDY.seeds.grouping,
                progress=quiet,
                checkpoint=NO_CHECKPOINT,
            )
            bundle.mkdir()
            model_bundle.save(trained, bundle, extra={}, transformations=[])
            return
        stitched_object(
            arm,
            model_bundle.load(bundle, expected_kind=name),
            measurement_of(dataset),
            crop_px=STUDY.scoring.stitch_crop_px,
            seed=STUDY.seeds.grouping,
            threads=STUDY.threads,
            progress=quiet,
        )

    return work


def ptychi(folder: Path, images: int) -> None:
    (arm,) = arms.iterative(["PtyChi"])
    section = STUDY.ptychi.model_dump() | {"epochs": EPOCHS["ptychi"]}
    iterative_module(arm).reconstruct_from(
        measurement_of(read_dataset(folder / "patched_train.npz")),
        {arm.section: section, "seed": STUDY.seeds.grouping, "threads": STUDY.threads},
        arm.section,
        progress=quiet,
        checkpoint=NO_CHECKPOINT,
    )


def _noisy(folder: Path) -> tuple[dict[str, Any], Any, Any]:
    """One noisy truth for every arm, the truth, and all that was scanned: at 300 images the part
    that the study would score holds no blocks for a bootstrap."""
    from fly64_assets.ptychography.scoring.comparison import Area

    truth = np.asarray(read_dataset(folder / "patched_train.npz").object_guess)
    edge = STUDY.patch_size // 2 + math.ceil(STUDY.simulation.margin_px)
    area = Area(edge, truth.shape[0] - edge, edge, truth.shape[1] - edge)
    draw = np.random.default_rng(STUDY.seeds.simulation)
    made = {}
    for name in STUDY.arms:
        noise = draw.normal(0, 0.05, (2, *truth.shape))
        made[name] = (truth + noise[0] + 1j * noise[1]).astype(np.complex64)
    return made, truth, area


def scoring(folder: Path, images: int) -> None:
    from fly64_assets.ptychography.scoring.comparison import score

    made, truth, area = _noisy(folder)
    score(made, truth, area, STUDY.scoring, dict.fromkeys(STUDY.arms, 0.0))


def intervals(folder: Path, images: int) -> None:
    from fly64_assets.ptychography.scoring.statistics import judge

    made, truth, area = _noisy(folder)
    subject, *others = STUDY.arms
    judged = judge(
        {name: [found] for name, found in made.items()},
        truth,
        area,
        STUDY.scoring,
        STUDY.statistics,
        seed=STUDY.seeds.grouping,
    )
    judged.statistics([(subject, other) for other in others])


PHASES: dict[str, Callable[[Path, int], None]] = {
    "simulation": simulation,
    "overlap view, metrics": overlap,
    "PtychoPINN training": network("PtychoPINN", "training"),
    "PtychoPINN inference": network("PtychoPINN", "inference"),
    "Baseline training": network("Baseline", "training"),
    "Baseline inference": network("Baseline", "inference"),
    "pty-chi": ptychi,
    "scoring": scoring,
    "intervals": intervals,
}


def in_own_process(phase: str, folder: Path, images: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--phase", phase, "--folder", folder, "--images"]
    done = subprocess.run([*command, str(images)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phase", choices=PHASES, help="of one process; default: all")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--images", type=int)
    given = parser.parse_args()
    if given.phase:
        started = time.process_time()
        PHASES[given.phase](given.folder, given.images)
        spent = time.process_time() - started
        print(json.dumps({"cpu_s": spent, "peak_mb": peak_memory_mb()}))
        return
    sizes = (FEW, *SIZES)
    found: dict[str, list[dict[str, float]]] = {phase: [] for phase in PHASES}
    data_mb = []
    with tempfile.TemporaryDirectory() as scratch:
        for images in sizes:
            folder = Path(scratch, str(images))
            folder.mkdir()
            for phase in PHASES:
                found[phase].append(in_own_process(phase, folder, images))
                spent = found[phase][-1]["cpu_s"]
                print(
                    f"{images:,d} images, {phase}: {spent:.1f} CPU s", file=sys.stderr, flush=True
                )
            data_mb.append((folder / "patched_train.npz").stat().st_size / 1e6)
    columns = "".join(f"{f'{images:,d} images':>16}" for images in SIZES)
    print(f"{f'CPU s above {FEW} images':<24}{columns}{'exponent':>10}  peak MB (x data)")
    for phase, (empty, *rows) in found.items():
        grown = [row["cpu_s"] - empty["cpu_s"] for row in rows]
        slope = math.nan
        if min(grown[0], grown[-1]) > 0.05 * empty["cpu_s"]:
            more = (SIZES[-1] - sizes[0]) / (SIZES[0] - sizes[0])
            slope = math.log(grown[-1] / grown[0]) / math.log(more)
        cells = "".join(f"{value:>16.2f}" for value in grown)
        peaks = zip(rows, data_mb[1:], strict=True)
        memory = ", ".join(
            f"{row['peak_mb']:,.0f} ({row['peak_mb'] / data:.1f})" for row, data in peaks
        )
        print(f"{phase:<24}{cells}{slope:>10.2f}  {memory}")
        if not math.isnan(slope):
            note(f"{phase}: growth exponent", slope, at_most=1.05)
        note(f"{phase}: peak memory to data", rows[-1]["peak_mb"] / data_mb[-1])


if __name__ == "__main__":
    main()
