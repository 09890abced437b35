"""Checks of phase D: what a view is, recomputed from coordinates, groups and diffraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fly64_assets.rules.hub.checks import Broken, Finding, check, compare
from fly64_assets.rules.hub.crate_graph import compare_inputs, compare_records, consumed_as_it_is
from fly64_assets.rules.hub.datasets import positions
from fly64_assets.rules.hub.of_products import register
from fly64_assets.rules.hub.reading import Hub, per_split

FOLDER = "data/phase_d/dose_{dose}/{view}"
METRICS = FOLDER + "/{{train,test}}_metrics.json"
PER_FRAME = (
    *("diffraction", "Y", "xcoords", "ycoords", "xcoords_start", "ycoords_start"),
    "scan_index",
)
RELATIVE = 1e-9
"""Of recomputed floats: sums in another order differ by far less, a digit that anybody reads by
more."""


def metrics_path(hub: Hub, split: str) -> str:
    return hub.overlap_view(split).removesuffix(".npz") + "_metrics.json"


def parameters(hub: Hub, split: str) -> dict[str, Any]:
    """Return what the overlap_view record of a view says it was made with."""
    path = hub.overlap_view(split)
    try:
        record = hub.metadata(path)["transformations"][-1]
        if record["tool"] != "overlap_view":
            raise Broken(path, "_metadata", f"ends with {record['tool']!r}, not with overlap_view")
        found = record["parameters"]
        return {"K": found["overlap"]["neighbor_count"], **found}
    except (KeyError, IndexError, TypeError) as error:
        raise Broken(path, "_metadata", f"lacks {error}") from None


def _indices(hub: Hub, split: str) -> Mapping[str, np.ndarray]:
    """``centre_index``, ``full_groups`` and ``training_groups`` of a view, each in range."""
    path = hub.overlap_view(split)
    names = ("centre_index", "full_groups", "training_groups")
    found = hub.arrays(path, *names)
    count = len(positions(hub, path))
    for name in names:
        if found[name].min(initial=0) < 0 or found[name].max(initial=0) >= count:
            raise Broken(path, name, f"points beyond the {count} images")
    if found["full_groups"].ndim != 2 or found["training_groups"].ndim != 2:
        raise Broken(path, "full_groups", "is no table of groups")
    return found


def view_files(hub: Hub, split: str) -> dict[str, str]:
    """Label -> path of the files of a view, as what is made from it records them."""
    path = hub.overlap_view(split)
    return {
        f"{split}/overlap_view/{split}.npz": path,
        f"{split}/overlap_view/{split}_metrics.json": metrics_path(hub, split),
    }


def compare_lineage(
    hub: Hub, split: str, asset: str, file: str, records: Any, tool: str, paths: dict[str, str]
) -> Iterator[Finding]:
    """Yield findings where what was made from a view does not carry its provenance on.

    Args:
        hub: the hub.
        split: of the view.
        asset: that ``file`` is of, as the crate names it.
        file: where the transformations stand.
        records: the transformations.
        tool: of the last one.
        paths: what else was consumed, label -> path.
    """
    key = "transformations"
    if not isinstance(records, list) or not records or not isinstance(records[-1], dict):
        yield Finding(file, key, "are missing")
        return
    *earlier, last = records
    exactly = consumed_as_it_is(hub, asset, f"{split}/overlap_view/{split}.npz")
    before = hub.metadata(hub.overlap_view(split))["transformations"]
    yield from compare_records(file, key, before, earlier, exactly=exactly)
    yield from compare(file, tool, last.get("tool"), key=f"{key}[-1].tool")
    inputs = {**view_files(hub, split), **paths}
    yield from compare_inputs(hub, asset, file, f"{key}[-1].inputs", last.get("inputs"), inputs)


def counts(hub: Hub, split: str) -> dict[str, int]:
    """Numbers of images, centres and groups, from the arrays."""
    path = hub.overlap_view(split)
    found, own = _indices(hub, split), positions(hub, path)
    return {
        "n_images_total": len(positions(hub, hub.dataset(split))),
        "n_images_kept": len(own),
        "n_unique_images": len(np.unique(own, axis=0)),
        "n_centres": len(found["centre_index"]),
        "n_groups_effective": len(found["training_groups"]),
    }


register("d_views", "data001", "feasibility", "counts", "effective_settings", "provenance")


@check("phase_d.metrics_bundle", FOLDER + "/metrics_bundle.json", "it holds both splits' metrics")
def metrics_bundle(hub: Hub) -> Iterator[Finding]:
    path = FOLDER.format(dose=hub.dose, view=hub.view) + "/metrics_bundle.json"
    metrics = per_split(lambda split: hub.json(metrics_path(hub, split)))
    expected = {
        "metrics_version": metrics["train"].get("metrics_version"),
        "dose": hub.dose,
        "view": hub.view,
        **metrics,
    }
    yield from compare(path, expected, hub.json(path))
