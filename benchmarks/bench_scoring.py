"""How long stitching and scoring take, beside bare scipy calls on arrays of the same size.

Run: ``python benchmarks/bench_scoring.py [--repeats 15]``. Prints, for each operation, milliseconds
per million pixels and their ratio to a bare reference call on the same pixels: a Gaussian filter
for image metrics, a Fourier transform pair for what is made of transforms. Times depend on the
machine and on what else it does; the ratios hold better. The fastest of the repeats counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from ratios import note
from scipy import fft, ndimage

from fly64_assets.ptychography.scoring import metrics
from fly64_assets.ptychography.scoring.alignment import align
from fly64_assets.ptychography.scoring.comparison import Area, phases, score
from fly64_assets.ptychography.stitching import stitch
from fly64_assets.study.model import load_study
from fly64_assets.study.specimen_origins import FOLDER

SPECIMEN = FOLDER / "labyrinth.npz"
AREA = Area(134, 197, 36, 196)
N_PATCHES = 2061


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` calls, after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def report(name: str, seconds: float, pixels: int, reference: float, reference_name: str) -> None:
    print(
        f"{name:34s} {1e3 * seconds:9.2f} ms {1e3 * seconds / (pixels / 1e6):9.1f} ms/Mpx "
        f"{seconds / reference:7.1f} x {reference_name}"
    )
    note(
        f"{name}, {1e3 * seconds / (pixels / 1e6):,.0f} ms/Mpx, to {reference_name}",
        seconds / reference,
    )


def bench_stitching(
    truth: np.ndarray, probe: np.ndarray, side: int, crop_px: int, threads: int, repeats: int
) -> None:
    rng = np.random.default_rng(0)
    low, high = 32, truth.shape[0] - 32
    positions = rng.uniform(low, high, (N_PATCHES, 2))
    corners = np.floor(positions - side / 2).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(truth, (side, side))
    patches = windows[corners[:, 0], corners[:, 1]]
    pair = fastest(lambda: fft.ifft2(fft.fft2(patches, workers=threads), workers=threads), repeats)
    seconds = fastest(
        lambda: stitch(patches, positions, probe, truth.shape, crop_px=crop_px, threads=threads),
        repeats,
    )
    name = f"stitch {N_PATCHES} patches, F = {side}"
    report(name, seconds, patches.size, pair, "bare FFT pair")


def bench_metrics(truth: np.ndarray, image: np.ndarray, repeats: int) -> None:
    span = metrics.data_range(truth)
    gaussian = fastest(lambda: ndimage.gaussian_filter(truth, 1.5), repeats)
    transforms = fastest(lambda: [fft.fft2(array) for array in (truth, image)], repeats)
    for name, call in {
        "ssim": lambda: metrics.ssim(truth, image, data_range=span),
        "ms_ssim": lambda: metrics.ms_ssim(truth, image, data_range=span, sigma_px=1.0),
        "psnr": lambda: metrics.psnr(truth, image, data_range=span),
    }.items():
        report(
            f"{name} {truth.shape}",
            fastest(call, repeats),
            truth.size,
            gaussian,
            "bare gaussian_filter",
        )
    seconds = fastest(lambda: metrics.frc(truth, image, 0.5), repeats)
    report(f"frc {truth.shape}", seconds, truth.size, transforms, "two bare FFTs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    study = load_study()
    with np.load(SPECIMEN) as specimen:
        truth, probe = specimen["objectGuess"], specimen["probeGuess"]
    real, imaginary = np.random.default_rng(1).standard_normal((2, *truth.shape))
    image = truth + 0.1 * (real + 1j * imaginary)

    for side in (64, 40, 32):
        bench_stitching(
            truth, probe, side, study.scoring.stitch_crop_px, study.threads, max(2, repeats // 5)
        )
    for area in (AREA.slices, (slice(None), slice(None))):
        bench_metrics(*phases(truth[area].astype(complex), image[area]), repeats)

    inside = truth[AREA.slices]
    pair = fastest(lambda: fft.ifft2(fft.fft2(inside)), repeats)
    shifted = np.roll(image, 2, axis=0)
    seconds = fastest(
        lambda: align(shifted, truth, AREA.slices, max_shift_px=study.scoring.max_shift_px), repeats
    )
    report(f"align {AREA.shape}, shift 2 px", seconds, inside.size, pair, "bare FFT pair")
    seconds = fastest(
        lambda: score({"PtyChi": shifted}, truth, AREA, study.scoring, {"PtyChi": 1.0}), repeats
    )
    report(f"score one model {AREA.shape}", seconds, inside.size, pair, "bare FFT pair")


if __name__ == "__main__":
    main()
