"""Checks of phase C: DATA-001, dose, noise, axes, halves, and the run manifest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset_rules import check_data001
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken, Finding, check, close, compare
from fly64_assets.rules.hub.reading import Hub, per_split
from fly64_assets.study.model import SPLITS

FOLDER = "data/phase_c/dose_{dose}"
SAMPLE = 384
"""Frames, evenly spread, that noise and axes are judged on."""


def data001_problems(hub: Hub, path: str) -> list[Finding]:
    """Every rule of DATA-001 that a file breaks; ``Y`` counts as required."""

    def judge() -> list[tuple[str, str]]:
        rows = check_data001(hub.path(path))
        problems = [
            (row.key, f"{row.rule} is {row.actual}, DATA-001 wants {row.expected}")
            for row in rows
            if not row.ok
        ]
        if not any(row.key == "Y" for row in rows):
            problems.append(("Y", "is missing; a hub's datasets hold the true patches"))
        return problems

    return [Finding(path, *problem) for problem in hub.once("data001", [path], judge)]


def physics(hub: Hub, path: str) -> dict[str, Any]:
    """``physics`` and the simulate record's parameters of a dataset's metadata, as one mapping."""
    metadata = hub.metadata(path)
    try:
        first = metadata["transformations"][0]
        if first["tool"] != "simulate":
            raise Broken(path, "_metadata", f"begins with {first['tool']!r}, not with simulate")
        return {**first["parameters"], **metadata["physics"]}
    except (KeyError, IndexError, TypeError) as error:
        raise Broken(path, "_metadata", f"lacks {error}") from None


def positions(hub: Hub, path: str) -> np.ndarray:
    """(n, 2) float64, y then x."""
    found = hub.arrays(path, "ycoords", "xcoords")
    try:
        return np.stack([found["ycoords"], found["xcoords"]], axis=1)
    except ValueError as error:
        raise Broken(path, "ycoords", str(error)) from None


@check("phase_c.data001", FOLDER, "both datasets keep every rule of DATA-001 and hold Y")
def data001(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        yield from data001_problems(hub, hub.dataset(split))


@check("phase_c.dose", FOLDER, "pooled mean counts equal the dose within max(1 %, 4/sqrt(n dose))")
def dose(hub: Hub) -> Iterator[Finding]:
    total = frames = 0.0
    for split in SPLITS:
        path = hub.dataset(split)
        total += counts_in(hub, path)
        frames += len(hub.mapped(path, "diffraction"))
    tolerance = max(0.01, 4 / math.sqrt(frames * hub.dose))
    mean = total / frames
    if not abs(mean / hub.dose - 1) <= tolerance:
        yield Finding(
            FOLDER.format(dose=hub.dose),
            "diffraction",
            f"{mean:.2f} photons per exposure, the dose is {hub.dose} within {tolerance:.2%}",
        )


def counts_in(hub: Hub, path: str) -> float:
    """All photons in a dataset: sum of (diffraction * intensity_scale)^2."""
    scale = float(physics(hub, path)["intensity_scale"])

    def add() -> float:
        total = 0.0
        diffraction = hub.mapped(path, "diffraction")
        for start in range(0, len(diffraction), 256):
            flat = diffraction[start : start + 256].astype(np.float64).ravel()
            total += float(flat @ flat)
        return total

    return hub.once("power", [path], add) * scale**2


def _on_sample(hub: Hub, path: str, what: str, measure: Callable[[Any, int], Any]) -> Any:
    """A physics check of one dataset on a sample, once for its content."""
    from fly64_assets.ptychography.data001.dataset import read_dataset

    def judge() -> Any:
        try:
            return measure(
                read_dataset(hub.path(path)), int(physics(hub, path)["shift_padding_px"])
            )
        except InputError as error:
            raise Broken(path, error.key, error.problem) from None
        except ZeroDivisionError:
            raise Broken(path, "diffraction", "there is no light to expect") from None

    return hub.once(what, [path], judge)


@check("phase_c.poisson", FOLDER, "counts scatter about the noiseless model as Poisson noise does")
def poisson(hub: Hub) -> Iterator[Finding]:
    from fly64_assets.ptychography.physics_checks import poisson_dispersion

    for split in SPLITS:
        path = hub.dataset(split)
        found = _on_sample(
            hub,
            path,
            "poisson",
            lambda data, padding: poisson_dispersion(data, padding_px=padding, max_images=SAMPLE),
        )
        if not found.ok:
            yield Finding(
                path,
                "diffraction",
                f"sum((k - l)^2) / sum(l) is {found.value:.5f}, expected 1 within 5 x "
                f"{found.sigma:.2g} on {found.n_images} frames",
            )


@check("phase_c.axes", FOLDER, "the axes as stored explain the counts better than x and y swapped")
def axes(hub: Hub) -> Iterator[Finding]:
    from fly64_assets.ptychography.physics_checks import axis_order

    for split in SPLITS:
        path = hub.dataset(split)
        found = _on_sample(
            hub,
            path,
            "axes",
            lambda data, padding: axis_order(data, padding_px=padding, max_images=SAMPLE),
        )
        if not found.ok:
            yield Finding(
                path,
                "xcoords, ycoords",
                f"log-likelihood as stored less swapped is {found.mean_difference:.4g} per frame, "
                f"expected more than 5 x {found.standard_error:.2g}",
            )


@check(
    "phase_c.true_patches", FOLDER, "Y is the object cut at the positions, on a sample of frames"
)
def true_patches(hub: Hub) -> Iterator[Finding]:
    from fly64_assets.ptychography.forward import extract_patches

    def worst(data: Any, padding: int) -> tuple[int, float]:
        if data.patches is None:
            raise InputError(path, "Y", "is missing")
        chosen = np.linspace(0, len(data) - 1, min(SAMPLE, len(data))).round().astype(int)
        expected = extract_patches(
            np.asarray(data.object_guess),
            data.positions_px[chosen],
            data.patch_size,
            padding_px=padding,
        )
        apart = np.linalg.norm(data.patches[chosen] - expected, axis=(1, 2))
        apart /= np.linalg.norm(expected, axis=(1, 2))
        return int(chosen[apart.argmax()]), float(apart.max())

    for split in SPLITS:
        path = hub.dataset(split)
        frame, apart = _on_sample(hub, path, "true patches", worst)
        if not apart < 1e-4:
            yield Finding(path, "Y", f"frame {frame} is {apart:.3g} away from the object there")


@check("phase_c.halves", FOLDER, "train lies below, test above the middle of the scan's y range")
def halves(hub: Hub) -> Iterator[Finding]:
    y = per_split(lambda split: positions(hub, hub.dataset(split))[:, 0])
    lowest, highest = (float(f([f(values) for values in y.values()])) for f in (min, max))
    for split in SPLITS:
        path = hub.dataset(split)
        stated = physics(hub, path)
        line, guard = stated["split_line_y_px"], stated["split_guard_px"]
        # Positions that the guard dropped lie near the line and not at the ends of the range.
        if not close((lowest + highest) / 2, line, 1e-12):
            yield Finding(
                path,
                "_metadata split_line_y_px",
                f"is {line!r}, the middle of the range is {(lowest + highest) / 2!r}",
            )
        wrong = y[split] >= line if split == "train" else y[split] < line
        near = abs(y[split] - line) < guard
        for problem, which in (("on the other side of", wrong), ("too near to", near)):
            if which.any():
                yield Finding(path, "ycoords", f"{int(which.sum())} positions {problem} the line")


@check(
    "phase_c.one_scan",
    FOLDER,
    "both halves have one object, probe and scaling, and no position twice",
)
def one_scan(hub: Hub) -> Iterator[Finding]:
    train, test = (hub.dataset(split) for split in SPLITS)
    first, second = (hub.arrays(path, "objectGuess", "probeGuess") for path in (train, test))
    for key in first:
        if first[key].shape != second[key].shape or (first[key] != second[key]).any():
            yield Finding(test, key, "is not that of the train half")
    ours, theirs = physics(hub, train), physics(hub, test)
    for key in sorted({*ours, *theirs} - {"split"}):
        if ours.get(key) != theirs.get(key):
            yield Finding(test, f"_metadata {key}", f"{theirs.get(key)!r}, train {ours.get(key)!r}")
    indices = [hub.arrays(path, "scan_index")["scan_index"] for path in (train, test)]
    both = np.concatenate(indices)
    if len(np.unique(both)) != len(both):
        yield Finding(test, "scan_index", "names a position twice, or one of the train half")
    count = int(ours["positions"])
    if both.min() < 0 or both.max() >= count or (len(both) != count and not ours["split_guard_px"]):
        yield Finding(test, "scan_index", f"{len(both)} positions in both halves of {count}")


@check(
    "phase_c.metadata", FOLDER, "metadata state this dose, split, patch size, scale and diameter"
)
def metadata(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.dataset(split)
        stated = physics(hub, path)
        side = hub.arrays(path, "probeGuess")["probeGuess"].shape[0]
        expected = {"nphotons": hub.dose, "dose": hub.dose, "split": split, "N": side}
        expected["patch_size"] = side
        for key, value in expected.items():
            if stated.get(key) != value:
                yield Finding(
                    path, f"_metadata {key}", f"is {stated.get(key)!r}, expected {value!r}"
                )
        scale = math.sqrt(hub.dose / stated["mean_transmitted_power"])
        if not close(scale, stated["intensity_scale"], 1e-9):
            yield Finding(
                path,
                "_metadata intensity_scale",
                f"is {stated['intensity_scale']!r}; dose and transmitted power give {scale!r}",
            )


@check("phase_c.run_manifest", contract.RUN_MANIFEST, "it names the dose and its two datasets")
def run_manifest(hub: Hub) -> Iterator[Finding]:
    expected = {f"dose_{hub.dose}": {"dose": hub.dose, **per_split(hub.dataset)}}
    yield from compare(contract.RUN_MANIFEST, expected, hub.json(contract.RUN_MANIFEST))
