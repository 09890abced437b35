"""Checks of phase C: DATA-001, and that the data show the physics that they claim.

Photons and noise are judged over every frame. The order of the axes is judged on a fixed, evenly
spread sample of frames: a whole pass of the full study takes more than two seconds, and the sample
decides by some forty standard errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.store.common_checks import equals, recorded_settings, same_settings
from fly64_assets.study.model import SPLITS

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001.dataset import Dataset

AXIS_FRAMES = 256
DIAMETER_TOLERANCE_PX = 1e-6


def dataset_file(run: CheckRun) -> str:
    """Name of the NPZ of a dataset or of an overlap view."""
    stem = f"patched_{run.split}" if run.product.key[-1] == "dataset" else run.split
    return f"{stem}.npz"


def read(run: CheckRun) -> Dataset:
    """The dataset of a dataset's or an overlap view's record."""
    from fly64_assets.ptychography.data001.dataset import read_dataset

    return read_dataset(run.path(dataset_file(run)))


def data001(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.data001.dataset_rules import check_data001

    return check_data001(run.path(dataset_file(run)))


def _mean_dose(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.physics_checks import pooled_dose

    dose = float(run.condition.dose or 0)
    yield equals("physics.nphotons", "the dose", dose, read(run).metadata["physics"]["nphotons"])
    halves = [run.other(split, "dataset") for split in SPLITS]
    found = pooled_dose([half.path(dataset_file(half)) for half in halves], dose)
    yield RuleOutcome(
        "diffraction",
        "mean counts per exposure, train and test pooled",
        f"{dose:g} within {found.tolerance:.2%}",
        f"{found.mean_counts:.2f} over {found.n_images} exposures ({found.deviation:+.3%})",
        found.ok,
    )


def _poisson_noise(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.physics_checks import poisson_dispersion

    padding_px = run.study.simulation.shift_padding_px
    found = poisson_dispersion(read(run), padding_px=padding_px)
    yield RuleOutcome(
        "diffraction",
        "dispersion of the counts",
        f"1 within {5 * found.sigma:.4f} (5 sigma)",
        f"{found.value:.4f} over all {found.n_images} frames",
        found.ok,
    )


def _axis_order(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.physics_checks import axis_order

    padding_px = run.study.simulation.shift_padding_px
    found = axis_order(read(run), padding_px=padding_px, max_images=AXIS_FRAMES)
    yield RuleOutcome(
        "xcoords, ycoords",
        "log-likelihood per frame over that with x and y swapped",
        f"> {5 * found.standard_error:.3g} (5 standard errors)",
        f"{found.mean_difference:.4g} over {found.n_images} frames",
        found.ok,
    )


def _split_separation(run: CheckRun) -> Iterable[RuleOutcome]:
    import numpy as np

    halves = {split: read(run.other(split, "dataset")) for split in SPLITS}
    train, test = halves["train"], halves["test"]
    last, first = float(train.ycoords.max()), float(test.ycoords.min())
    yield RuleOutcome(
        "ycoords", "centres disjoint in y", f"train {last:.3f} < test", f"{first:.3f}", last < first
    )
    indices = np.concatenate([train.scan_index, test.scan_index])
    repeated = len(indices) - len(np.unique(indices))
    yield equals("scan_index", "no frame in both halves or twice", 0, repeated)
    for split, half in halves.items():
        simulated = half.metadata["transformations"][0]["parameters"]
        yield equals(f"{split} metadata", "says which half it is", split, simulated.get("split"))
        line, guard = simulated["split_line_y_px"], run.study.simulation.split_guard_px
        sign = -1 if split == "train" else 1
        nearest = float((sign * (half.ycoords - line)).min())
        yield RuleOutcome(
            f"{split} ycoords",
            "on its side of the split line, outside the guard",
            f">= {guard:g} px from y = {line:.3f}",
            f"{nearest:.4f} px",
            nearest >= guard,
        )
    positions = run.study.simulation.positions
    complete = len(indices) <= positions and (
        run.study.simulation.split_guard_px > 0 or len(indices) == positions
    )
    yield RuleOutcome(
        "scan_index",
        "both halves together are the scan",
        f"{positions} less those in the guard",
        len(indices),
        complete,
    )


def _effective_settings(run: CheckRun) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.discs import probe_diameter

    yield from recorded_settings(run)
    study, stored = run.study, read(run)
    physics, simulated = stored.metadata["physics"], stored.metadata["transformations"][0]
    expected = {
        **study.simulation.model_dump(),
        "dose": run.condition.dose,
        "patch_size": study.patch_size,
        "seed": study.seeds.simulation,
    }
    yield from same_settings("simulate", expected, simulated["parameters"])
    yield equals("physics.N", "as in the study", study.patch_size, physics["N"])
    yield equals("physics.seed", "as in the study", study.seeds.simulation, physics["seed"])
    diameter = study.overlap.probe_diameter_px
    if diameter == "auto":
        diameter = probe_diameter(stored.probe_guess, study.overlap.probe_power_fraction)
    found = physics["probe_diameter_px"]
    yield RuleOutcome(
        "physics.probe_diameter_px",
        "of the probe, as the study defines it",
        f"{diameter:.6f} px",
        f"{found:.6f} px",
        abs(found - diameter) <= DIAMETER_TOLERANCE_PX,
    )


CHECKS = (
    Check("data001", data001, "Every rule of DATA-001: keys, dtypes, shapes, ranges, metadata."),
    Check("mean_dose", _mean_dose, "Mean counts per exposure of both halves equal the dose."),
    Check(
        "poisson_noise",
        _poisson_noise,
        "Counts scatter about the forward model as Poisson counts do, over all frames.",
    ),
    Check(
        "axis_order",
        _axis_order,
        f"The forward model prefers the axes as stored ({AXIS_FRAMES} frames).",
    ),
    Check(
        "split_separation",
        _split_separation,
        "Train and test share no frame, lie on their sides of the split line, and are the scan.",
    ),
    Check(
        "effective_settings",
        _effective_settings,
        "What the simulation recorded as used is what the study says.",
    ),
)
