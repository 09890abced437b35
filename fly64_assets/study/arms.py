"""The arms of the comparison by name: every solver is registered here, once.

One row an arm: how its assets are called, which section of the study it reads and which module of
``solvers/`` carries it out; the module is loaded by name where it runs, so that a change of one
solver is no change of another's code. Which arms a study compares stands in the study file
(``arms``); how to add one is in ``docs/arms.md``. What does not belong here: what happens inside a
solver, and anything that a score depends on (no code version covers this table).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """An arm that is trained.

    Attributes:
        name: its identifier in every file (METRICS-NAMING-001); also the bundle's kind.
        asset: stem of its assets: ``<asset>_model`` is the trained bundle.
        section: its section of the study.
        module_name: its module, see `solvers.interface.NetworkModule`.
        about: how it learns, in a few words for people.
        gridsize: of the patterns that enter together; None for the study's.
    """

    name: str
    asset: str
    section: str
    module_name: str
    about: str
    gridsize: int | None = None

    @property
    def model_key(self) -> Key:
        return (f"{self.asset}_model",)

    @property
    def replicates_key(self) -> Key:
        return (f"{self.asset}_replicates",)

    def gridsize_in(self, study_gridsize: int) -> int:
        return study_gridsize if self.gridsize is None else self.gridsize


@dataclass(frozen=True)
class Iterative:
    """An arm that reconstructs each half of a view by itself, with the known probe.

    Attributes:
        name, section, about: as of a `Network`.
        asset: stem of its assets: ``<split>/<asset>_reconstruction``.
        module_name: its module, see `solvers.interface.IterativeModule`.
        history: name of the file that its losses are in; the arms of a split share a folder.
    """

    name: str
    asset: str
    section: str
    module_name: str
    about: str
    history: str

    def key(self, split: str) -> Key:
        return (split, f"{self.asset}_reconstruction")

    @property
    def file(self) -> str:
        return f"{self.asset}_reconstruction.npz"


Arm = Network | Iterative
_SOLVERS = "fly64_assets.solvers"
_PHYSICS = (
    "a network that refines a physics estimate of the whole view, trained without the truth, by "
    "the Poisson likelihood of the counts under the "
)
ARMS: tuple[Arm, ...] = (
    Network("PtychoPINN", "pinn", "ptychopinn", f"{_SOLVERS}.ptychopinn", _PHYSICS + "known probe"),
    Network(
        "Baseline",
        "baseline",
        "baseline",
        f"{_SOLVERS}.baseline",
        "a network of gridsize 1 trained on the true patches of the train view",
        gridsize=1,
    ),
    Iterative(
        "PtyChi",
        "ptychi",
        "ptychi",
        f"{_SOLVERS}.ptychi_engines",
        "pty-chi LSQML",
        "loss_history.csv",
    ),
    Network(
        "PtychoPINN-gs1",
        "pinn_gs1",
        "ptychopinn",
        f"{_SOLVERS}.ptychopinn",
        _PHYSICS + "known probe, from single patterns (gridsize 1)",
        gridsize=1,
    ),
    Iterative(
        "ePIE",
        "epie",
        "epie",
        f"{_SOLVERS}.ptychi_engines",
        "pty-chi ePIE",
        "epie_loss_history.csv",
    ),
)
"""Every arm that a study can switch on, the published ones first."""
NAMES = tuple(arm.name for arm in ARMS)
NETWORKS = tuple(arm for arm in ARMS if isinstance(arm, Network))
ITERATIVE = tuple(arm for arm in ARMS if isinstance(arm, Iterative))


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks among some arms, in the order of the table."""
    wanted = set(names)
    return tuple(arm for arm in NETWORKS if arm.name in wanted)


def iterative(names: Iterable[str]) -> tuple[Iterative, ...]:
    """Return the iterative solvers among some arms, in the order of the table."""
    wanted = set(names)
    return tuple(arm for arm in ITERATIVE if arm.name in wanted)
