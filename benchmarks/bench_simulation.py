"""Images per second of phase C, as a ratio to its bare FFT and Poisson calls on the same frames.

The ratio says how much is spent on anything but the two Fourier transforms of the sub-pixel shift,
the one of the far field and the Poisson draw, and holds better than rates between machines. Run:
``python benchmarks/bench_simulation.py [--positions 10304] [--dose 1000] [--repeats 3]``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ratios import note
from scipy import fft

from fly64_assets.ptychography.forward import extract_patches, far_field
from fly64_assets.ptychography.simulation import (
    BLOCK_FRAMES,
    scan_positions,
    simulate_split_datasets,
)
from fly64_assets.ptychography.specimen import Specimen, load_specimen
from fly64_assets.study.model import Study, load_study, specimen_path


def bare_seconds(study: Study, specimen: Specimen, positions: np.ndarray, dose: int) -> float:
    """Shift FFTs, far-field FFT and Poisson draw alone, block by block on the study's threads."""
    padding = study.simulation.shift_padding_px
    side = study.patch_size + 2 * padding
    block = extract_patches(
        specimen.object, positions[:BLOCK_FRAMES], study.patch_size, padding_px=padding
    )
    windows = np.zeros((len(block), side, side), np.complex64)
    windows[:, padding:-padding, padding:-padding] = block
    expectation = dose * np.square(far_field(block, specimen.probe).astype(np.float64))

    def calls(number: int) -> None:
        fft.ifft2(fft.fft2(windows), overwrite_x=True)
        fft.fft2(block, norm="ortho")
        np.random.default_rng(number).poisson(expectation)

    start = time.perf_counter()
    with ThreadPoolExecutor(study.threads) as pool:
        list(pool.map(calls, range(-(-len(positions) // BLOCK_FRAMES))))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int)
    parser.add_argument("--dose", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    study = load_study()
    settings = study.simulation
    if options.positions:
        settings = settings.model_copy(update={"positions": options.positions})
    specimen = load_specimen(specimen_path(study), patch_size=study.patch_size)
    positions = scan_positions(
        settings.positions,
        specimen.object.shape,
        study.patch_size,
        margin_px=settings.margin_px,
        seed=study.seeds.simulation,
    )
    whole, computed, bare = [], [], []
    for _ in range(options.repeats):
        bare.append(bare_seconds(study, specimen, positions, options.dose))
        last_progress = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal last_progress
            last_progress = time.perf_counter()

        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            simulate_split_datasets(
                specimen,
                dose=options.dose,
                simulation=settings,
                patch_size=study.patch_size,
                seed=study.seeds.simulation,
                threads=study.threads,
                folder=Path(folder),
                probe_diameter_px=None,
                program_version="benchmark",
                git_commit=None,
                created="1970-01-01T00:00:00Z",
                progress=progress,
            )
            whole.append(time.perf_counter() - start)
            computed.append(last_progress - start)
    for name, seconds in (
        ("bare FFT and Poisson calls", bare),
        ("simulation before writing", computed),
        ("simulation with both files", whole),
    ):
        best = min(seconds)
        rate, ratio = settings.positions / best, best / min(bare)
        print(f"{name:28} {best:7.2f} s {rate:8.0f} images/s {ratio:6.2f} x bare")
    note("simulation: rate to its bare calls'", min(bare) / min(computed), at_least=0.8)
    note("simulation with both files: rate to its bare calls'", min(bare) / min(whole))


if __name__ == "__main__":
    main()
