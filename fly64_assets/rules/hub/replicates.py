"""Further trainings of phase E in a hub: how many, and where they lie."""

from __future__ import annotations

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken
from fly64_assets.rules.hub.crate_graph import study
from fly64_assets.rules.hub.models import FOLDER
from fly64_assets.rules.hub.reading import Hub


def replicates_file(hub: Hub, model: str) -> str:
    return f"{hub.named(FOLDER)}/{model}/replicates.npz"


def number_of_trainings(hub: Hub) -> int:
    """As the study in the crate says."""
    number = study(hub).get("replicates")
    if type(number) is not int or number < 1:
        raise Broken(contract.CRATE, "#study/replicates", f"is {number!r}")
    return number
