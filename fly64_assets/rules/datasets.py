"""Rules of phase C: DATA-001, and that the data show the physics that they claim.

Photons and noise are judged over every frame. The order of the axes is judged on a fixed, evenly
spread sample of frames: a whole pass of the full study takes more than two seconds, and the sample
decides by some forty standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check
from fly64_assets.rules.files import Files, equals, metadata, same_settings
from fly64_assets.rules.provenance import recorded_settings
from fly64_assets.study.model import SPLITS

AXIS_FRAMES = 256
PATCH_FRAMES = 384
PATCH_TOLERANCE = 1e-4
DIAMETER_TOLERANCE_PX = 1e-6
RELATIVE = 1e-9
"""Of recomputed floats: sums in another order differ by far less, a digit that anybody reads by
more."""


def near(key: str, rule: str, expected: float, actual: float) -> RuleOutcome:
    """Return the outcome of a rule that asks for a number that was computed again."""
    return RuleOutcome(
        key, rule, repr(expected), repr(actual), math.isclose(expected, actual, rel_tol=RELATIVE)
    )


def data001(files: Files) -> Iterable[RuleOutcome]:
    """Ask for every rule of DATA-001; the true patches count as required."""
    from fly64_assets.ptychography.data001.dataset_rules import check_data001

    file = files.product.files[0]
    rows = files.once("data001", {file: files}, lambda: check_data001(files.path(file)))
    yield from rows
    yield equals("Y", "the true patches", True, any(row.key == "Y" for row in rows))


def _of_dataset(files: Files) -> Iterable[RuleOutcome]:
    yield from data001(files)
    frame, apart = _once(files, "true patches", _worst_patch)
    yield RuleOutcome(
        "Y",
        f"the object at the positions, on {PATCH_FRAMES} frames evenly spread",
        f"relative difference < {PATCH_TOLERANCE:g}",
        f"{apart:.3g} in frame {frame}",
        apart < PATCH_TOLERANCE,
    )


def _once(files: Files, what: str, measure: Callable[[Any, int], Any]) -> Any:
    padding_px = files.study.simulation.shift_padding_px
    key = f"{what}, padding {padding_px} px"
    return files.once(
        key, {files.product.files[0]: files}, lambda: measure(files.dataset(), padding_px)
    )


def _worst_patch(dataset: Any, padding_px: int) -> tuple[int, float]:
    import numpy as np

    from fly64_assets.ptychography.forward import extract_patches

    count = len(dataset)
    chosen = np.linspace(0, count - 1, min(PATCH_FRAMES, count)).round().astype(int)
    expected = extract_patches(
        np.asarray(dataset.object_guess),
        dataset.positions_px[chosen],
        dataset.patch_size,
        padding_px=padding_px,
    )
    apart = np.linalg.norm(dataset.patches[chosen] - expected, axis=(1, 2))
    apart /= np.linalg.norm(expected, axis=(1, 2))
    return int(chosen[apart.argmax()]), float(apart.max())


def _mean_dose(files: Files) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.physics_checks import pooled_dose

    dose = float(files.condition.dose or 0)
    halves = [files.other(split, "dataset") for split in SPLITS]
    physics = metadata(files, files.product.files[0])["physics"]
    yield equals("physics.nphotons", "the dose", dose, physics["nphotons"])
    powers = [_simulated(half)["mean_transmitted_power"] for half in halves]
    scale = math.sqrt(dose / powers[0])
    yield near("physics.intensity_scale", "of dose and power", scale, physics["intensity_scale"])
    yield equals("mean_transmitted_power", "one for both halves", *powers)
    found = files.once(
        f"dose {dose:g}",
        {half.product.files[0]: half for half in halves},
        lambda: pooled_dose([half.path(half.product.files[0]) for half in halves], dose),
    )
    yield RuleOutcome(
        "diffraction",
        "mean counts per exposure, train and test pooled",
        f"{dose:g} within {found.tolerance:.2%}",
        f"{found.mean_counts:.2f} over {found.n_images} exposures ({found.deviation:+.3%})",
        found.ok,
    )


def _simulated(files: Files) -> dict[str, Any]:
    """Return what the simulation says that it did."""
    records = metadata(files, files.product.files[0])["transformations"]
    found: dict[str, Any] = records[0]["parameters"]
    return found


def _poisson_noise(files: Files) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.physics_checks import poisson_dispersion

    found = _once(files, "noise", lambda data, px: poisson_dispersion(data, padding_px=px))
    yield RuleOutcome(
        "diffraction",
        "dispersion of the counts",
        f"1 within {5 * found.sigma:.4f} (5 sigma)",
        f"{found.value:.4f} over all {found.n_images} frames",
        found.ok,
    )


def _axis_order(files: Files) -> Iterable[RuleOutcome]:
    from fly64_assets.ptychography.physics_checks import axis_order

    found = _once(
        files, "axes", lambda data, px: axis_order(data, padding_px=px, max_images=AXIS_FRAMES)
    )
    yield RuleOutcome(
        "xcoords, ycoords",
        "log-likelihood per frame over that with x and y swapped",
        f"> {5 * found.standard_error:.3g} (5 standard errors)",
        f"{found.mean_difference:.4g} over {found.n_images} frames",
        found.ok,
    )


def _split_separation(files: Files) -> Iterable[RuleOutcome]:
    import numpy as np

    halves = {split: files.other(split, "dataset").dataset() for split in SPLITS}
    train, test = halves["train"], halves["test"]
    last, first = float(train.ycoords.max()), float(test.ycoords.min())
    yield RuleOutcome(
        "ycoords", "centres disjoint in y", f"train {last:.3f} < test", f"{first:.3f}", last < first
    )
    indices = np.concatenate([train.scan_index, test.scan_index])
    yield equals(
        "scan_index", "no frame in both halves or twice", len(indices), len(np.unique(indices))
    )
    middle = (float(train.ycoords.min()) + float(test.ycoords.max())) / 2
    guard = files.study.simulation.split_guard_px
    for split in SPLITS:
        simulated = _simulated(files.other(split, "dataset"))
        yield equals(f"{split} metadata", "says which half it is", split, simulated.get("split"))
        line = simulated["split_line_y_px"]
        yield near(f"{split} split_line_y_px", "the middle of the scan's y range", middle, line)
        sign = -1 if split == "train" else 1
        nearest = float((sign * (halves[split].ycoords - line)).min())
        yield RuleOutcome(
            f"{split} ycoords",
            "on its side of the split line, outside the guard",
            f">= {guard:g} px from y = {line:.3f}",
            f"{nearest:.4f} px",
            nearest >= guard,
        )
    for name in ("object_guess", "probe_guess"):
        one, other = (getattr(half, name) for half in (train, test))
        yield equals(name, "the same in both halves", True, bool(np.array_equal(one, other)))
    yield from _complete(files, indices)


def _complete(files: Files, indices: Any) -> Iterator[RuleOutcome]:
    positions = files.study.simulation.positions
    whole = len(indices) == positions or files.study.simulation.split_guard_px > 0
    yield RuleOutcome(
        "scan_index",
        "both halves together are the scan",
        f"{positions} less those in the guard",
        f"{len(indices)}, {indices.min()} to {indices.max()}",
        bool(
            whole and len(indices) <= positions and 0 <= indices.min() <= indices.max() < positions
        ),
    )


def _effective_settings(files: Files) -> Iterable[RuleOutcome]:
    from fly64_assets.rules.geometry import probe_diameter

    yield from recorded_settings(files)
    study, stored = files.study, files.dataset()
    physics = stored.metadata["physics"]
    expected = {
        **study.simulation.model_dump(),
        "dose": files.condition.dose,
        "patch_size": study.patch_size,
        "seed": study.seeds.simulation,
    }
    yield from same_settings("simulate", expected, _simulated(files))
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
    Check(
        "data001", _of_dataset, "Every rule of DATA-001: keys, dtypes, shapes, ranges, metadata."
    ),
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
