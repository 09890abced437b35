"""Data versions computed anew from a product's files, where these alone give them.

"Same" has one definition (contract, section 1): the sha256 of arrays and of metadata without times,
host, versions and commit. What it is taken of, product by product, is written down here. A
comparison's is of unrounded scores and most reports' of more than their files: of those nothing is
said.
"""

from __future__ import annotations

from fly64_assets.ptychography.data001 import dataset, npz
from fly64_assets.rules.files import Files
from fly64_assets.rules.weights import weights_of
from fly64_assets.study.arms import ITERATIVE, NETWORKS
from fly64_assets.study.hashing import digest, timeless

SOLVED = ("reconstructed_object", "reconstructed_probe", "algorithm")
SUMMARIES = ("comparison_manifest", "metrics_summary", "metrics_delta_summary")
JUDGED_AS = ("asset", "check", "partition", "blocking", "severity", "status")
MODELS = {network.model_key[-1] for network in NETWORKS}
RECONSTRUCTIONS = {f"{arm.asset}_reconstruction" for arm in ITERATIVE}


def of_arrays(files: Files, file: str, keys: tuple[str, ...]) -> str:
    """Return the digest of some arrays of an NPZ."""
    what = f"digest of {', '.join(keys)}"
    return files.once(
        what, {file: files}, lambda: npz.array_digest(dict(files.arrays(file, *keys)))
    )


def _of_dataset(files: Files, file: str) -> str:
    return files.once("data_version", {file: files}, lambda: dataset.data_version(files.path(file)))


def data_version_of(files: Files) -> str | None:
    """Return the data version of a product's files as they are; None where they do not give it.

    Raises:
        Exception: a file is not what it should be, whatever its reader says of it.
    """
    kind, (first, *more) = files.product.key[-1], files.product.files
    consumed = {given.asset: given.data_version for given in files.provenance.inputs.values()}
    if kind == "specimen":
        return of_arrays(files, first, ("objectGuess", "probeGuess"))
    if kind == "dataset":
        return _of_dataset(files, first)
    if kind == "overlap_view":
        return digest([_of_dataset(files, first), files.json(more[0])])
    if kind in MODELS:
        return weights_of(files).sha256
    if kind.endswith("_replicates"):
        names = {*npz.describe_npz(files.path(first))} - {"_metadata"}
        return of_arrays(files, first, tuple(sorted(names)))
    if kind in RECONSTRUCTIONS:
        return of_arrays(files, first, SOLVED)
    if kind == "comparison_statistics":
        return digest(files.text(first))
    if kind in SUMMARIES:
        return digest(timeless(files.json(first)))
    if kind == "phase_manifests":
        return digest({name: files.json(name) for name in files.product.files})
    if kind == "phase_logs":
        return digest(consumed)
    if kind == "check_report":
        rows = files.json(more[0])["checks"]
        judged = [{name: row[name] for name in JUDGED_AS} for row in rows]
        return digest([{**row, "time": "", "reason": ""} for row in judged])
    if kind == "hub_summary":
        return digest([consumed, files.text(more[0])])
    return None
