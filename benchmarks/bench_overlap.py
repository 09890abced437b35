"""Time of selecting both study views and their metrics, for scans of growing size.

The scan's area grows with its number of positions, so that its density, and with it the work per
position, stays that of the study; of 1,000 positions no sparse view can be made. The growth
exponent is that from the study's size to the largest. Run:
``python benchmarks/bench_overlap.py [--repeats 3]``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from ratios import note

from fly64_assets.ptychography.overlap import overlap_metrics, probe_diameter, select_view
from fly64_assets.ptychography.simulation import scan_positions, split_halves
from fly64_assets.ptychography.specimen import load_specimen
from fly64_assets.study import load_study, specimen_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    study = load_study()
    specimen = load_specimen(specimen_path(study), patch_size=study.patch_size)
    diameter = probe_diameter(specimen.probe, study.overlap.probe_power_fraction)
    size = study.simulation.positions
    titles = ("positions", "view", "centres", "select s", "metrics s", "us each")
    print("".join(f"{title:>10}" for title in titles))
    largest, taken = 100_000, {}
    for count in (size, 3 * size, largest):
        side = int(np.sqrt(count / size) * 168) + 64
        positions = scan_positions(
            count,
            (side, side),
            study.patch_size,
            margin_px=study.simulation.margin_px,
            seed=study.seeds.simulation,
        )
        halves = split_halves(positions, guard_px=study.simulation.split_guard_px)
        for name, settings in study.views.items():
            selecting, measuring = [], []
            for _ in range(repeats):
                spent = np.zeros(2)
                for index in (halves.train_index, halves.test_index):
                    start = time.perf_counter()
                    view = select_view(
                        positions[index],
                        settings,
                        study.overlap,
                        gridsize=study.gridsize,
                        diameter_px=diameter,
                        seeds=study.seeds,
                    )
                    middle = time.perf_counter()
                    overlap_metrics(
                        view,
                        positions[index],
                        overlap=study.overlap,
                        gridsize=study.gridsize,
                        diameter_px=diameter,
                        seeds=study.seeds,
                        total_photons=1.0,
                    )
                    spent += middle - start, time.perf_counter() - middle
                selecting.append(spent[0])
                measuring.append(spent[1])
            select, metrics = min(selecting), min(measuring)
            each = 1e6 * (select + metrics) / count
            centres = len(view.centre_index)
            taken[name, count] = select + metrics
            print(f"{count:>10}{name:>10}{centres:>10}{select:>10.3f}{metrics:>10.3f}{each:>10.1f}")
    for name in study.views:
        grown = np.log(taken[name, largest] / taken[name, size]) / np.log(largest / size)
        note(f"{name} view and metrics to {largest:,d} positions: growth exponent", grown)


if __name__ == "__main__":
    main()
