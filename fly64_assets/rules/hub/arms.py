"""Which arms a hub compares: those that the study in its RO-Crate switched on.

Names and stems of assets are identifiers, like a model's name; they come from the table of arms.
What the files of an arm must hold does not belong here.
"""

from __future__ import annotations

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken
from fly64_assets.rules.hub.crate_graph import study
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.study import arms as registry
from fly64_assets.study.arms import Iterative, Network
from fly64_assets.study.model import MODELS


def arms(hub: Hub) -> tuple[str, ...]:
    """Names in the study's order, the published three first.

    A crate that cannot be read, or states no possible choice, is a finding of the crate's checks
    (``crate.settings``); then the published three are taken, which every hub has.
    """
    try:
        return hub.once("arms", [contract.CRATE], lambda: _stated(hub))
    except Broken:
        return MODELS


def _stated(hub: Hub) -> tuple[str, ...]:
    named = study(hub).get("arms")
    if not isinstance(named, list) or any(name not in registry.NAMES for name in named):
        return MODELS
    whole = tuple(named[: len(MODELS)]) == MODELS and len(set(named)) == len(named)
    return tuple(named) if whole else MODELS


def networks(hub: Hub) -> tuple[Network, ...]:
    """Return the arms that are trained."""
    return registry.networks(arms(hub))


def iterative(hub: Hub) -> tuple[Iterative, ...]:
    """Return the arms that reconstruct each half by themselves."""
    return registry.iterative(arms(hub))
