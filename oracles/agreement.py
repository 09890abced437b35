"""How far our metrics are from the oracles' answers: a table, per metric, oracle and image kind.

Run by ``make oracles`` after ``ask.py``: ``python oracles/agreement.py [--store STORE
--store-answers FILE]``. Prints Markdown, as it stands in docs/metrics.md. What does not belong
here: the oracles.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.ptychography.scoring import metrics
from fly64_assets_tests.ptychography.oracle_pairs import (
    ANSWERS,
    Pair,
    demo_pairs,
    reproducible_pairs,
)

FRC_THRESHOLD = 0.5


def ours(pair: Pair) -> dict[str, Any]:
    """Our value of every metric that an oracle may know, without smoothing."""
    truth, image, span = pair.truth, pair.image, pair.data_range
    curve = metrics.frc(truth, image, FRC_THRESHOLD)
    return {
        "mae": metrics.mae(truth, image),
        "mse": metrics.mse(truth, image),
        "psnr": metrics.psnr(truth, image, data_range=span),
        "ssim": metrics.ssim(truth, image, data_range=span),
        "ms_ssim": metrics.ms_ssim(truth, image, data_range=span).value,
        "frc": curve.correlation,
        "frc50": curve.frc50,
    }


def base(metric: str) -> str:
    """The metric that is meant, without the words on how the oracle counts it otherwise."""
    return metric.partition(",")[0]


def difference(mine: Any, answer: Any) -> float:
    """Largest absolute difference; of a curve over the rings that the oracle has.

    Raises:
        ValueError: a value is not finite.
    """
    expected = np.atleast_1d(answer)
    found = np.atleast_1d(mine)[: len(expected)]
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        raise ValueError(f"values to compare are not finite: {found} and {expected}")
    return float(np.abs(found - expected).max())


def differences(pairs: list[Pair], path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """(metric, oracle with version) -> kind of image -> largest difference.

    Raises:
        SystemExit: the file's answers are about other pixels.
    """
    stored = json.loads(path.read_text("utf-8"))
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for pair in pairs:
        known = stored["pairs"].get(pair.name, {})
        if known.get("sha256") != pair.sha256:
            raise SystemExit(f"{path}: {pair.name}: the answers are about other pixels; ask again")
        mine = ours(pair)
        for oracle, answers in known["answers"].items():
            for metric, answer in answers.items():
                row = found[metric, f"{oracle} {stored['versions'][oracle]}"]
                apart = difference(mine[base(metric)], answer)
                row[pair.kind] = max(apart, row.get(pair.kind, 0.0))
    return found


def table(found: dict[tuple[str, str], dict[str, float]], numbers: dict[str, int]) -> list[str]:
    """Lines of a Markdown table; ``numbers`` is how many pairs there are of each kind."""
    order = ("mae", "mse", "psnr", "ssim", "ms_ssim", "frc", "frc50")
    lines = [
        "| metric | oracle | " + " | ".join(f"{k} ({n})" for k, n in numbers.items()) + " |",
        "|---" * (2 + len(numbers)) + "|",
    ]
    for key in sorted(found, key=lambda key: (order.index(base(key[0])), *key)):
        row = found[key]
        cells = (f"{row[kind]:.0e}" if kind in row else "-" for kind in numbers)
        lines.append("| " + " | ".join((*key, *cells)) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="a store whose reconstructions were asked about")
    parser.add_argument("--store-answers", type=Path, help="the file of those answers")
    given = parser.parse_args()
    sources = [(reproducible_pairs(), ANSWERS)]
    if given.store is not None:
        sources.append((demo_pairs(given.store), given.store_answers))
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for pairs, path in sources:
        for key, row in differences(pairs, path).items():
            found[key] |= row
    print("\n".join(table(found, Counter(p.kind for pairs, _ in sources for p in pairs))))


if __name__ == "__main__":
    main()
