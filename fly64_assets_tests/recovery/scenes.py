"""The phases that faults are put into: what is made there, by which step, from which file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from fly64_assets.pipeline.process_identity import ProcessIdentity
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import BY_KEY, Key, Product
from fly64_assets_tests.recovery.site import Place, Site

AT = Condition(1000, "dense")
POLL_S = 0.005


@dataclass(frozen=True)
class Scene:
    """One phase of the study's one condition.

    Attributes:
        phase: its letter.
        keys: what is made in it again.
        step: the step that a fault has to meet.
        input: what that step reads.
        seconds: about how long the step is at work on an idle machine.
    """

    phase: str
    keys: tuple[Key, ...]
    step: str
    input: Key
    seconds: float

    @property
    def products(self) -> tuple[Product, ...]:
        return tuple(BY_KEY[key] for key in self.keys)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.products)

    @property
    def places(self) -> frozenset[Place]:
        return frozenset(place_of(key) for key in self.keys)

    @property
    def _slug(self) -> str:
        condition = AT.restricted_to(self.products[0].per)
        return f"{self.step}-{condition}".replace("|", "_")

    def files(self, site: Site) -> list[Path]:
        """Where the files of the phase's products lie."""
        return [path for key in self.keys for path in files_of(site, key)]

    def clear(self, site: Site) -> None:
        """Remove the files, so that a run makes them again."""
        for path in self.files(site):
            path.unlink(missing_ok=True)

    def staging(self, site: Site) -> Path:
        """The folder that is there as long as the step is at work."""
        return site.store / ".staging" / self._slug

    def checkpoints(self, site: Site) -> Path:
        name = f"{'_'.join(self.keys[0])}-{AT.restricted_to(self.products[0].per)}"
        return site.store / ".checkpoints" / name.replace("|", "_")

    def step_process(self, site: Site) -> int | None:
        """Number of the process that carries the step out now."""
        lock = site.store / ".locks" / f"{self._slug}.lock"
        text = lock.read_text("ascii").strip() if lock.is_file() else ""
        return int(text) if text and ProcessIdentity.of(int(text)) else None

    def wait_for(self, site: Site, process, seconds: float = 600.0) -> bool:
        """Wait until the step is at work; False when the command ended before it was."""
        staging, deadline = self.staging(site), time.monotonic() + seconds
        while not staging.is_dir():
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def place_of(key: Key) -> Place:
    item = BY_KEY[key]
    return item.name, AT.restricted_to(item.per).partition_key


def files_of(site: Site, key: Key) -> list[Path]:
    item = BY_KEY[key]
    folder = site.store / item.folder_of(AT.restricted_to(item.per))
    return [folder / name for name in item.files]


def kill(pid: int | None, number: int) -> bool:
    """Send a signal; whether there was a process to send it to."""
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


SCENES = (
    Scene(
        "C",
        (("train", "dataset"), ("test", "dataset")),
        "train_dataset_and_test_dataset",
        ("specimen",),
        0.5,
    ),
    Scene("D", (("train", "overlap_view"),), "train_overlap_view", ("train", "dataset"), 0.3),
    Scene("E", (("pinn_model",),), "pinn_model", ("train", "overlap_view"), 3.0),
    Scene(
        "F",
        (("train", "ptychi_reconstruction"),),
        "train_ptychi_reconstruction",
        ("train", "overlap_view"),
        3.0,
    ),
    Scene("G", (("test", "comparison"),), "test_comparison", ("pinn_model",), 3.0),
)
LIGHT_G = Scene(
    "G",
    (("metrics_summary",), ("metrics_delta_summary",)),
    "metrics_summary",
    ("test", "comparison"),
    0.3,
)
"""The other end of phase G: short steps that read tables and load no solver."""
BY_PHASE = {scene.phase: scene for scene in SCENES}
BY_STEP = {scene.step: scene for scene in (*SCENES, LIGHT_G)}
