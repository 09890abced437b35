"""Checks of phase C: DATA-001, dose, noise, axes, halves, and the run manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fly64_assets.ptychography.data001.dataset_rules import check_data001
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken, Finding, check, compare
from fly64_assets.rules.hub.of_products import register
from fly64_assets.rules.hub.reading import Hub, per_split


def data001_problems(hub: Hub, path: str) -> list[Finding]:
    """Every rule of DATA-001 that a file breaks; ``Y`` counts as required."""

    rows = hub.once("data001", [path], lambda: check_data001(hub.path(path)))
    problems = [
        Finding(path, row.key, f"{row.rule} is {row.actual}, DATA-001 wants {row.expected}")
        for row in rows
        if not row.ok
    ]
    if not any(row.key == "Y" for row in rows):
        reason = "is missing; a hub's datasets hold the true patches"
        problems.append(Finding(path, "Y", reason))
    return problems


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


register(
    "c_datasets",
    *("data001", "mean_dose", "poisson_noise", "axis_order", "split_separation"),
    *("effective_settings", "provenance"),
)


@check("phase_c.run_manifest", contract.RUN_MANIFEST, "it names the dose and its two datasets")
def run_manifest(hub: Hub) -> Iterator[Finding]:
    expected = {f"dose_{hub.dose}": {"dose": hub.dose, **per_split(hub.dataset)}}
    yield from compare(contract.RUN_MANIFEST, expected, hub.json(contract.RUN_MANIFEST))
