"""Checks of data versions: those that the crate states are those of what lies in the hub.

"Same" has one definition (contract, section 1): the sha256 of arrays and of metadata without times,
host, versions and commit. It is the platform's, as metrics and alignment are; what it is taken of,
product by product, is written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import dataset as data001
from fly64_assets.ptychography.data001 import npz
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import iterative, networks
from fly64_assets.rules.hub.checks import Broken, Finding, check
from fly64_assets.rules.hub.crate_graph import Step, digest, steps
from fly64_assets.rules.hub.models import weights_of
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.reconstructions import reconstruction
from fly64_assets.rules.hub.replicates import replicates_file
from fly64_assets.rules.hub.views import metrics_path
from fly64_assets.study.model import SPLITS

SOLVED = ("reconstructed_object", "reconstructed_probe", "algorithm")
TIMES = ("generated_at", "computation_time_s", "source_metrics_sha256")
"""Keys of a summary, at any depth, that change with the moment it is written."""
JUDGED_AS = ("asset", "check", "partition", "blocking", "severity", "status")
MANIFESTS = {
    "run_manifest.json": contract.RUN_MANIFEST,
    "metrics_bundle.json": "data/phase_d/dose_{dose}/{view}/metrics_bundle.json",
    "training_manifest.json": contract.TRAINING_MANIFEST,
    "reconstruction_manifest.json": contract.RECONSTRUCTION_MANIFEST,
}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def _of_dataset(hub: Hub, path: str) -> str:
    def measure() -> str:
        try:
            return data001.data_version(hub.path(path))
        except InputError as error:
            raise Broken(path, error.key, error.problem) from None

    return hub.once("data_version", [path], measure)


def _of_arrays(hub: Hub, path: str, keys: tuple[str, ...]) -> str:
    return hub.once("digest", [path], lambda: npz.array_digest(hub.arrays(path, *keys)), keys)


def _of_checks(hub: Hub) -> str:
    rows = hub.json("analysis/check_report.json")["checks"]
    return digest([{**{k: row[k] for k in JUDGED_AS}, "time": "", "reason": ""} for row in rows])


def _consumed(hub: Hub, asset: str) -> dict[str, str]:
    """Asset -> data version of all that a step consumed."""
    return steps(hub).get(asset, Step()).versions


def _recomputed(hub: Hub) -> Iterator[tuple[str, Callable[[], str]]]:
    """(asset, how its data version is computed) of all whose content the hub has in full."""
    for split in SPLITS:
        dataset, view = hub.dataset(split), hub.overlap_view(split)
        yield "specimen", lambda path=dataset: _of_arrays(hub, path, ("objectGuess", "probeGuess"))
        yield f"{split}/dataset", lambda path=dataset: _of_dataset(hub, path)
        yield (
            f"{split}/overlap_view",
            lambda path=view, split=split: digest(
                [_of_dataset(hub, path), hub.json(metrics_path(hub, split))]
            ),
        )
        for arm in iterative(hub):
            solved = reconstruction(hub, arm, split)
            yield (
                f"{split}/{arm.asset}_reconstruction",
                lambda path=solved: _of_arrays(hub, path, SOLVED),
            )
    for network in networks(hub):
        yield f"{network.asset}_model", lambda network=network: weights_of(hub, network).sha256
    for network in networks(hub):
        path, asset = replicates_file(hub, network.name), f"{network.asset}_replicates"
        keys = tuple(sorted({*hub.arrays(path)} - {"_metadata"}))
        yield asset, lambda path=path, keys=keys: _of_arrays(hub, path, keys)
    yield "comparison_statistics", lambda: digest(hub.text(contract.STATISTICS))
    for asset, path in (
        ("comparison_manifest", contract.MANIFEST),
        ("metrics_summary", contract.SUMMARY),
        ("metrics_delta_summary", contract.DELTAS),
    ):
        yield asset, lambda path=path: digest(timeless(hub.json(path)))
    yield (
        "phase_manifests",
        lambda: digest({name: hub.json(hub.named(path)) for name, path in MANIFESTS.items()}),
    )
    yield "phase_logs", lambda: digest(_consumed(hub, "phase_logs"))
    yield "check_report", lambda: _of_checks(hub)
    yield (
        "hub_summary",
        lambda: digest([_consumed(hub, "hub_summary"), hub.text(contract.INVENTORY)]),
    )


@check(
    "crate.data_versions",
    contract.CRATE,
    "data versions are those of the arrays, metadata, weights and summaries in the hub",
)
def data_versions(hub: Hub) -> Iterator[Finding]:
    made = steps(hub)
    for asset, compute in _recomputed(hub):
        stated = made.get(asset, Step()).stated.get("data_version")
        try:
            found = compute()
        except Broken as error:
            yield error.finding
            continue
        except KeyError as error:
            yield Finding(contract.CRATE, f"#make/{asset} data_version", f"nothing is {error}")
            continue
        if stated != found:
            reason = f"is {stated}, what lies in the hub has {found}"
            yield Finding(contract.CRATE, f"#make/{asset} data_version", reason)
