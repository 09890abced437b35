"""CPU time of selecting both study views and their metrics, for scans of growing size.

The scan's area grows with its number of positions, so that its density, and with it the work per
position, stays that of the study. A small scan need not hold as many groups as the study wants; one
in which a view cannot be made at all is left out. The growth exponent is that from the smallest to
the largest. Run: ``python benchmarks/bench_overlap.py [--repeats 3]``.

Goal: no exponent above 1.05.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from ratios import note

from fly64_assets.errors import InfeasibleView
from fly64_assets.ptychography.overlap import overlap_metrics, probe_diameter, select_view
from fly64_assets.ptychography.simulation import scan_positions, split_halves
from fly64_assets.ptychography.specimen import load_specimen
from fly64_assets.study.model import OverlapSettings, Study, ViewSettings, load_study, specimen_path

SCANNED_PX = 168
"""Side of the square in which the study's positions lie on its specimen, about."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    study = load_study()
    specimen = load_specimen(specimen_path(study), patch_size=study.patch_size)
    diameter = probe_diameter(specimen.probe, study.overlap.probe_power_fraction)
    overlap = study.overlap.model_copy(update={"min_groups": 1, "min_images": 1})
    density = study.simulation.positions / SCANNED_PX**2
    titles = ("positions", "view", "centres", "select s", "metrics s", "us each")
    print("".join(f"{title:>10}" for title in titles))
    taken: dict[str, dict[int, float]] = {name: {} for name in study.views}
    for count in (1_000, 3_000, study.simulation.positions, 30_000, 100_000):
        side = int(np.sqrt(count / density)) + study.patch_size
        positions = scan_positions(
            count,
            (side, side),
            study.patch_size,
            margin_px=study.simulation.margin_px,
            seed=study.seeds.simulation,
        )
        halves = split_halves(positions, guard_px=study.simulation.split_guard_px)
        parts = [positions[index] for index in (halves.train_index, halves.test_index)]
        for name, settings in study.views.items():
            spent = []
            for _ in range(repeats):
                try:
                    spent.append(_seconds(parts, settings, overlap, study, diameter))
                except InfeasibleView:
                    break
            if not spent:
                print(f"{count:>10}{name:>10}{'-':>10}")
                continue
            centres = spent[0][2]
            select, metrics = (min(each[part] for each in spent) for part in (0, 1))
            each = 1e6 * (select + metrics) / count
            taken[name][count] = select + metrics
            print(f"{count:>10}{name:>10}{centres:>10}{select:>10.3f}{metrics:>10.3f}{each:>10.1f}")
    for name, found in taken.items():
        least, most = min(found), max(found)
        grown = np.log(found[most] / found[least]) / np.log(most / least)
        what = f"{name} view and metrics, {least:,d} to {most:,d} positions: growth exponent"
        note(what, grown, at_most=1.05)


def _seconds(
    parts: list[np.ndarray],
    view: ViewSettings,
    overlap: OverlapSettings,
    study: Study,
    diameter: float,
) -> tuple[float, float, int]:
    """CPU-seconds of selecting the view of both halves, those of its metrics; its centres."""
    selecting = measuring = 0.0
    centres = 0
    for positions in parts:
        common = {"gridsize": study.gridsize, "diameter_px": diameter, "seeds": study.seeds}
        start = time.process_time()
        selected = select_view(positions, view, overlap, **common)
        middle = time.process_time()
        overlap_metrics(selected, positions, overlap=overlap, total_photons=1.0, **common)
        selecting += middle - start
        measuring += time.process_time() - middle
        centres += len(selected.centre_index)
    return selecting, measuring, centres


if __name__ == "__main__":
    main()
