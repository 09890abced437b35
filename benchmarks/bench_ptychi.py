"""The pty-chi solver against the library's own call with the same options, side by side.

Both reconstruct the finished demo's test view (``make demo``), by turns, in this process. Bare is
the task as the library's examples start it: made, run for all epochs at once, the object fetched;
it shifts the probe to sub-pixel positions, ours the object. Run:
``python benchmarks/bench_ptychi.py [--repeats 3]``.

Goal: at most 1.1 times the bare call.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ratios import note

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.ptychography.data001.dataset import read_dataset
from fly64_assets.solvers import ptychi_engines
from fly64_assets.solvers.interface import Measurement, Progress, measurement_of
from fly64_assets.solvers.torch_isolation import start_torch
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT, PtyChiSettings
from fly64_assets.study.products import product

DEMO = PROJECT_ROOT / "studies" / "demo.yaml"


def bare(measurement: Measurement, settings: PtyChiSettings, seed: int, threads: int) -> np.ndarray:
    """The library's task with our options and without anything of ours around it."""
    import ptychi.api.task
    import torch

    torch.set_num_threads(threads)
    scale = measurement.intensity_scale / measurement.patch_size
    size = ptychi_engines.batch_size_for(
        len(measurement), settings.batch_fraction, settings.batch_limit
    )
    options = ptychi_engines._options(settings, "cpu", size, seed)
    options.object_options.total_variation.enabled = False
    centred = measurement.positions_px - np.asarray(measurement.canvas_shape) / 2
    task = ptychi.api.task.PtychographyTask(
        options,
        diffraction_data=np.square(measurement.diffraction * measurement.intensity_scale),
        object_data=np.ones((1, *measurement.canvas_shape), np.complex64),
        probe_data=(measurement.probe * scale).astype(np.complex64)[None, None],
        probe_position_y_px=centred[:, 0].astype(np.float32),
        probe_position_x_px=centred[:, 1].astype(np.float32),
    )
    task.run()
    return task.get_data_to_cpu("object", as_numpy=True)[0]


def spent(work: Callable[[], Any]) -> np.ndarray:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    context = StudyContext.load(DEMO)
    study, view = context.study, product("test", "overlap_view")
    path = context.store.path(view, Condition(1000, "dense"), "test.npz")
    measurement = measurement_of(read_dataset(path))
    seed, threads = study.seeds.grouping, study.threads
    start_torch()

    def quiet(_: Progress) -> None:
        pass

    def ours() -> None:
        ptychi_engines.reconstruct(
            measurement, study.ptychi, seed=seed, threads=threads, progress=quiet
        )

    works = {"ours": ours, "bare": lambda: bare(measurement, study.ptychi, seed, threads)}
    best = {name: np.full(2, np.inf) for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            best[name] = np.minimum(best[name], spent(work))
    images = len(measurement) * study.ptychi.epochs
    for name, (wall, cpu) in best.items():
        ratio = wall / best["bare"][0], cpu / best["bare"][1]
        print(
            f"{name:<6}{wall:>8.2f} s{cpu:>9.2f} CPU s{images / cpu:>9.0f} images/CPU-s"
            f"{ratio[0]:>8.2f} x wall{ratio[1]:>8.2f} x CPU"
        )
    wall, cpu = best["ours"] / best["bare"]
    note("pty-chi solver to its bare call, wall time", wall, at_most=1.1)
    note("pty-chi solver to its bare call, CPU time", cpu, at_most=1.1)


if __name__ == "__main__":
    main()
