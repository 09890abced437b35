"""Data versions computed anew from what lies in the store, where the content alone gives them.

`rules/hub/data_versions.py` does the same for a hub, whose files lie elsewhere. A comparison's is
of unrounded scores and a report's of more than its files: of those nothing is said here, and their
asset checks recompute what they show.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fly64_assets.pipeline.freshness import digest
from fly64_assets.study.arms import ITERATIVE, NETWORKS
from fly64_assets.study.products import Product

SUMMARIES = ("comparison_manifest", "metrics_summary", "metrics_delta_summary")


def recomputed(product: Product, path: Callable[[str], Path]) -> str | None:
    """The data version of a product's files as they are; None where they alone do not give it.

    Args:
        product: row of the catalogue.
        path: where one of its files lies, by name.

    Raises:
        InputError, OSError, ValueError, KeyError: a file is not what it should be.
    """
    from fly64_assets.ptychography.data001.dataset import data_version
    from fly64_assets.ptychography.data001.npz import array_digest, describe_npz, read_npz
    from fly64_assets.rules.hub.data_versions import SOLVED, timeless
    from fly64_assets.solvers.model_bundle import load

    def of_arrays(file: str, *keys: str) -> str:
        return array_digest(read_npz(path(file), keys))

    kind, first = product.key[-1], product.files[0]
    models = {network.model_key: network.name for network in NETWORKS}
    solved = {arm.asset for arm in ITERATIVE}
    if kind == "specimen":
        return of_arrays(first, "objectGuess", "probeGuess")
    if kind == "dataset":
        return data_version(path(first))
    if kind == "overlap_view":
        metrics = json.loads(path(product.files[1]).read_text("utf-8"))
        return digest([data_version(path(first)), metrics])
    if product.key in models:
        bundle = load(path(first).parent, expected_kind=models[product.key])
        return bundle.description["weights_sha256"]
    if kind.endswith("_replicates"):
        return of_arrays(first, *({*describe_npz(path(first))} - {"_metadata"}))
    if kind.removesuffix("_reconstruction") in solved:
        return of_arrays(first, *SOLVED)
    if kind == "comparison_statistics":
        return digest(path(first).read_text("utf-8"))
    if kind in SUMMARIES:
        return digest(timeless(json.loads(path(first).read_text("utf-8"))))
    return None
