"""The networks by name: how the platform trains one on a dataset and lets it reconstruct another.

One row a network; its module is loaded by name where it runs, so that a change of one network's
module is no change of another's code. What does not belong here: what happens inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from fly64_assets.solvers.interface import (
    Checkpoint,
    Measurement,
    Patches,
    ProgressCallback,
)

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001 import Dataset
    from fly64_assets.solvers.model_bundle import LoadedModel, TrainedModel


class NetworkModule(Protocol):
    """What the module of a network has to have.

    ``settings`` are those of the model's product: the network's section of the study under its own
    name, ``gridsize``, ``seed`` and ``threads``.
    """

    def train_on(
        self,
        dataset: Dataset,
        settings: Mapping[str, Any],
        *,
        seed: int,
        progress: ProgressCallback,
        checkpoint: Checkpoint,
    ) -> TrainedModel:
        """The network, trained on a view of the train half with this seed."""

    def patches_of(
        self,
        loaded: LoadedModel,
        measurement: Measurement,
        *,
        seed: int,
        threads: int,
        progress: ProgressCallback,
    ) -> Patches:
        """Object patches of any view, one per scan position."""


@dataclass(frozen=True)
class Network:
    """An arm that is trained.

    Attributes:
        name: its identifier in every file (METRICS-NAMING-001); also the bundle's kind.
        asset: stem of its assets: ``<asset>_model`` is the trained bundle.
        section: its section of the study, and the name of its module beside this one.
    """

    name: str
    asset: str
    section: str

    @property
    def model_key(self) -> tuple[str]:
        return (f"{self.asset}_model",)

    @property
    def replicates_key(self) -> tuple[str]:
        return (f"{self.asset}_replicates",)

    @property
    def module_name(self) -> str:
        return f"{__package__}.{self.section}"

    def module(self) -> NetworkModule:
        """Loads TensorFlow only when it computes."""
        return cast(NetworkModule, import_module(self.module_name))


NETWORKS = (
    Network("PtychoPINN", "pinn", "ptychopinn"),
    Network("Baseline", "baseline", "baseline"),
)
