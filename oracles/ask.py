"""Ask independent implementations for the metrics of the pairs in `oracle_pairs`.

Run by ``make oracles``: ``python oracles/ask.py ORACLE... --to FILE [--store STORE]``. Answers are
added to FILE, which is JSON; those of other oracles in it stay if they are about the same pixels.
TensorFlow and torch do not meet: one process asks one of them. What does not belong here: our own
metrics (``agreement.py``).

Arguments align the oracles with our definitions: window of 11 px with sigma 1.5, K1 and K2, our
number of scales with its weights, the truth's data range; for the FRC our window, and rings half as
wide as ours, of which two are put together, because theirs begin where ours have their centre.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fly64_assets.pipeline.store import write_whole
from fly64_assets.ptychography.scoring.metrics import (
    MS_SSIM_WEIGHTS,
    STABILISERS,
    WINDOW_PX,
    WINDOW_SIGMA_PX,
)
from fly64_assets_tests.ptychography.oracle_pairs import (
    ANSWERS,
    Pair,
    demo_pairs,
    reproducible_pairs,
)

Answer = dict[str, float | list[float]]
DECIMALS = 10
"""Kept of every answer; beyond them processors differ."""
K1, K2 = STABILISERS


def weights_of(pair: Pair) -> tuple[float, ...]:
    """Weights of the scales that fit, written out here and not taken from what is tested."""
    scales = max(n for n in range(1, 6) if min(pair.truth.shape) >= WINDOW_PX * 2 ** (n - 1))
    used = MS_SSIM_WEIGHTS[:scales]
    return tuple(weight / sum(used) for weight in used)


def tensorflow() -> Callable[[Pair], Answer]:
    """tf.image; it computes in single precision."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    def answer(pair: Pair) -> Answer:
        truth, image = (
            tf.constant(a[None, :, :, None], tf.float32) for a in (pair.truth, pair.image)
        )
        window = {"filter_size": WINDOW_PX, "filter_sigma": WINDOW_SIGMA_PX, "k1": K1, "k2": K2}
        scales = tf.image.ssim_multiscale(
            truth, image, pair.data_range, power_factors=weights_of(pair), **window
        )
        return {
            "psnr": float(tf.image.psnr(truth, image, pair.data_range)[0]),
            "ssim": float(tf.image.ssim(truth, image, pair.data_range, **window)[0]),
            "ms_ssim": float(scales[0]),
        }

    return answer


def torchmetrics() -> Callable[[Pair], Answer]:
    """SSIM and MS-SSIM put together from its SSIM call, whose windows can be had one by one.

    Its own means count the windows that reach into a mirrored border (for MS-SSIM at the last
    scale): no argument turns that off, so they are asked for beside, under names of their own.
    """
    import torch
    from torchmetrics.functional import mean_absolute_error, mean_squared_error
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as multiscale,
    )
    from torchmetrics.functional.image import peak_signal_noise_ratio
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    half = WINDOW_PX // 2

    def answer(pair: Pair) -> Answer:
        truth, image = (torch.from_numpy(a[None, None]) for a in (pair.truth, pair.image))
        window = {"kernel_size": WINDOW_PX, "sigma": WINDOW_SIGMA_PX, "k1": K1, "k2": K2}
        window["data_range"] = pair.data_range
        weights = weights_of(pair)

        def inner(a: torch.Tensor, b: torch.Tensor) -> float:
            _, windows = similarity(b, a, return_full_image=True, **window)
            return float(windows[..., half:-half, half:-half].mean())

        product, scaled = 1.0, (truth, image)
        for weight in weights[:-1]:
            _, contrast = similarity(
                scaled[1], scaled[0], return_contrast_sensitivity=True, **window
            )
            product *= max(float(contrast), 0.0) ** weight
            scaled = tuple(torch.nn.functional.avg_pool2d(a, 2) for a in scaled)
        product *= max(inner(*scaled), 0.0) ** weights[-1]
        own = multiscale(image, truth, betas=weights, normalize="relu", **window)
        return {
            "mae": float(mean_absolute_error(image, truth)),
            "mse": float(mean_squared_error(image, truth)),
            "psnr": float(peak_signal_noise_ratio(image, truth, data_range=pair.data_range)),
            "ssim": inner(truth, image),
            "ms_ssim": product,
            "ssim, with mirrored border": float(similarity(image, truth, **window)),
            "ms_ssim, with mirrored border": float(own),
        }

    return answer


def pytorch_msssim() -> Callable[[Pair], Answer]:
    import torch
    from pytorch_msssim import ms_ssim, ssim

    def answer(pair: Pair) -> Answer:
        truth, image = (torch.from_numpy(a[None, None]) for a in (pair.truth, pair.image))
        given = {"data_range": pair.data_range, "K": STABILISERS}
        given |= {"win_size": WINDOW_PX, "win_sigma": WINDOW_SIGMA_PX}
        found: Answer = {"ssim": float(ssim(image, truth, **given))}
        if min(pair.truth.shape) > 16 * (WINDOW_PX - 1):  # it wants this much at any scale
            found["ms_ssim"] = float(ms_ssim(image, truth, weights=list(weights_of(pair)), **given))
        return found

    return answer


def scikit_image() -> Callable[[Pair], Answer]:
    from skimage.metrics import (
        mean_squared_error,
        peak_signal_noise_ratio,
        structural_similarity,
    )

    def answer(pair: Pair) -> Answer:
        truth, image = pair.truth, pair.image
        similarity = structural_similarity(
            truth,
            image,
            data_range=pair.data_range,
            gaussian_weights=True,
            sigma=WINDOW_SIGMA_PX,
            use_sample_covariance=False,
        )
        noise = peak_signal_noise_ratio(truth, image, data_range=pair.data_range)
        return {
            "mse": float(mean_squared_error(truth, image)),
            "psnr": float(noise),
            "ssim": float(similarity),
        }

    return answer


def ptychodus() -> Callable[[Pair], Answer]:
    from ptychodus.api import metrics

    def answer(pair: Pair) -> Answer:
        truth, image = pair.truth, pair.image
        shape = truth.shape
        window = np.multiply.outer(*(np.sin(np.pi * np.arange(n) / n) ** 2 for n in shape))
        shorter = min(shape)
        options = {"window": window, "num_bins": shorter, "workers": 1}
        half = metrics.compute_fourier_ring_correlation(truth, image, 1.0, 1.0, **options)
        power = [
            metrics.compute_power_spectral_density(a, 1.0, 1.0, **options) for a in (truth, image)
        ]
        first, second = (p.power_spectral_density_m2 * p.pixels_per_ring for p in power)
        cross = half.correlation * np.sqrt(first * second)
        # Theirs end at Nyquist; of an even side our last ring reaches half a step beyond.
        rings = np.arange(1, (shorter - 1) // 2 + 1)

        def whole(values: np.ndarray) -> np.ndarray:
            """Our ring k is their half rings 2k - 1 and 2k; without a pixel they are NaN."""
            values = np.where(half.pixels_per_ring > 0, values, 0.0)
            return values[2 * rings - 1] + values[2 * rings]

        curve = whole(cross) / np.sqrt(whole(first) * whole(second))
        found: Answer = {
            "mae": metrics.compute_mean_absolute_error(truth, image),
            "mse": metrics.compute_root_mean_square_error(truth, image) ** 2,
            "psnr": metrics.compute_peak_signal_to_noise_ratio(
                truth, image, data_range=pair.data_range
            ),
            "frc": curve.tolist(),
        }
        joined = metrics.FourierRingCorrelation(
            np.append(0.0, rings / shorter), np.append(1.0, curve), np.append(1, rings)
        )
        resolution_px = joined.get_resolution_m(0.5)
        if np.isfinite(resolution_px):  # it crosses in a ring that both have
            found["frc50"] = 2.0 / resolution_px
        return found

    return answer


ORACLES = {
    "tensorflow": tensorflow,
    "torchmetrics": torchmetrics,
    "pytorch-msssim": pytorch_msssim,
    "scikit-image": scikit_image,
    "ptychodus": ptychodus,
}


def rounded(answer: Answer) -> Answer:
    return {
        metric: [round(v, DECIMALS) for v in value]
        if isinstance(value, list)
        else round(value, DECIMALS)
        for metric, value in answer.items()
    }


def ask(oracles: list[str], pairs: list[Pair], path: Path) -> None:
    """Add the oracles' answers on the pairs to the file."""
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {"versions": {}, "pairs": {}}
    versions, known = stored["versions"], stored["pairs"]
    found = {}
    for pair in pairs:
        before = known.get(pair.name, {})
        kept = before.get("answers", {}) if before.get("sha256") == pair.sha256 else {}
        found[pair.name] = {"kind": pair.kind, "sha256": pair.sha256, "answers": dict(kept)}
    for oracle in oracles:
        answer = ORACLES[oracle]()
        versions[oracle] = version(oracle)
        for pair in pairs:
            found[pair.name]["answers"][oracle] = rounded(answer(pair))
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"versions": dict(sorted(versions.items())), "pairs": found}
    write_whole(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    print(f"{', '.join(oracles)}: {len(pairs)} pairs, {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("oracles", nargs="+", choices=ORACLES)
    parser.add_argument("--to", type=Path, default=ANSWERS, help="file of the answers")
    parser.add_argument("--store", type=Path, help="ask about this store's reconstructions instead")
    given = parser.parse_args()
    pairs = reproducible_pairs() if given.store is None else demo_pairs(given.store)
    if not pairs:
        parser.error(f"--store: {given.store} holds no finished comparison")
    ask(given.oracles, pairs, given.to)


if __name__ == "__main__":
    main()
