"""Checks of phase E that only a hub has: networks beside each other, and the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fly64_assets.rules.files import numbers
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import networks
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.of_products import HubFiles, register
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.models import COLUMNS, HISTORY
from fly64_assets.study.arms import Network
from fly64_assets.study.products import BY_KEY

if TYPE_CHECKING:
    from fly64_assets.rules.weights import Weights

FOLDER = "data/phase_e/dose_{dose}/{view}"

register(
    "e_models",
    *("bundle", "loss", "trained_on", "counts", "trainings", "effective_settings", "provenance"),
)


def bundle_file(hub: Hub, model: str, name: str) -> str:
    """Return the path of a file of a network's bundle."""
    return f"{hub.named(FOLDER)}/{model}/{name}"


def _bundle(hub: Hub, model: str) -> dict[str, Any]:
    return hub.json(bundle_file(hub, model, "bundle.json"))


def _files(hub: Hub, network: Network) -> HubFiles:
    return HubFiles(hub, BY_KEY[network.model_key])


def weights_of(hub: Hub, network: Network) -> Weights:
    """Measure the weights of a network of the hub."""
    from fly64_assets.rules import weights

    return weights.weights_of(_files(hub, network))


def history(hub: Hub, network: Network) -> dict[str, list[float]]:
    """Read the columns of a network's history."""
    return numbers(_files(hub, network), HISTORY, *COLUMNS)


@check("phase_e.weights_differ", FOLDER, "no two networks have the same weights")
def weights_differ(hub: Hub) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for network in networks(hub):
        owner = first.setdefault(weights_of(hub, network).sha256, network.name)
        if owner != network.name:
            path = bundle_file(hub, network.name, "model.keras")
            yield Finding(path, "model.weights.h5", f"holds {owner}'s weights")


@check(
    "phase_e.training_manifest",
    contract.TRAINING_MANIFEST,
    "a job per network with the bundle's numbers, size and hash, nothing skipped",
)
def training_manifest(hub: Hub) -> Iterator[Finding]:
    jobs = []
    for model in (network.name for network in networks(hub)):
        bundle = _bundle(hub, model)
        archive = bundle_file(hub, model, "model.keras")
        jobs.append(
            {
                "model": model,
                "dose": hub.dose,
                "view": hub.view,
                "gridsize": bundle.get("gridsize"),
                "backend": "tensorflow",
                "result": {
                    "status": "success",
                    "final_loss": bundle.get("final_loss"),
                    "epochs_completed": bundle.get("epochs_completed"),
                    "bundle_path": archive,
                    "bundle_sha256": hub.sha256(archive),
                    "bundle_size_bytes": hub.files[archive].st_size,
                    "history": bundle_file(hub, model, "history.csv"),
                },
            }
        )
    expected = {"jobs": jobs, "skipped_views": [], "skipped_count": 0}
    yield from compare(contract.TRAINING_MANIFEST, expected, hub.json(contract.TRAINING_MANIFEST))
