"""Edits of the crate where a second source in the hub says otherwise, and of times."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from fly64_assets_tests.rules.hub.forging import CRATE, PAGE, Forgery
from fly64_assets_tests.rules.hub.mutants import add
from fly64_assets_tests.rules.hub.mutants.lists import DELTAS

SOURCE, LICENCE = "#specimen-source", "https://spdx.org/licenses/BSD-3-Clause"
DATASETS = [f"data/phase_c/DOSE/patched_{split}.npz" for split in ("train", "test")]
PINN = "data/phase_e/DOSE/VIEW/PtychoPINN/bundle.json"
Graph = dict[str, dict[str, Any]]


def _graph(edit: Callable[[Graph], object]) -> Callable[[Forgery], None]:
    """Edit the entities of the crate, by their identifiers."""
    return lambda f: f.json(CRATE, lambda c: edit({e["@id"]: e for e in c["@graph"]}) and None)


def _set(identifier: str, **changes: object) -> Callable[[Forgery], None]:
    return _graph(lambda graph: graph[identifier].update(changes))


def _version(asset: str) -> Callable[[Forgery], None]:
    """Another data version wherever it stands: of the asset, of its consumers, on the page."""

    def edit(f: Forgery) -> None:
        graph = {e["@id"]: e for e in json.loads(f.read(CRATE))["@graph"]}
        old = graph[f"#make/{asset}/data_version"]["value"]
        new = old[::-1]
        f.text(CRATE, lambda text: text.replace(old, new))
        if asset != "specimen" and old[:12] in f.read(PAGE).decode():
            f.text(PAGE, lambda text: text.replace(old[:12], new[:12]))

    return edit


for asset in (
    *("specimen", "train/dataset", "test/overlap_view", "test/ptychi_reconstruction"),
    *("pinn_model", "comparison_manifest", "metrics_summary", "metrics_delta_summary"),
    *("phase_manifests", "phase_logs", "check_report", "hub_summary"),
):
    add("crate.data_versions", f"another version of {asset}", _version(asset))


def _in_metadata(f: Forgery, **changes: object) -> None:
    for path in DATASETS:
        f.metadata(path, lambda m: m["specimen"].update(changes))


def _claim(f: Forgery) -> None:
    """Another origin wherever one stands."""
    _set(SOURCE, description="measured by me")(f)
    _in_metadata(f, origin="measured by me")


def _no_licence(f: Forgery) -> None:
    """No licence is claimed for a specimen that has one."""
    unknown = {"@id": "#licence-unknown", "@type": "CreativeWork", "name": "unknown"}

    def edit(crate: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(crate).replace(f'{{"@id": "{LICENCE}"}}', '{"@id": "#licence-unknown"}')
        changed = json.loads(text)
        graph = [entity for entity in changed["@graph"] if entity["@id"] != LICENCE]
        return {**changed, "@graph": [*graph, unknown]}

    f.json(CRATE, edit)
    _in_metadata(f, licence="unknown", licence_file=None)


def _other_object(arrays: dict[str, np.ndarray]) -> None:
    arrays["objectGuess"][0, 0] += 1e-3


for what, edit in {
    "another origin": _claim,
    "another file": _set(SOURCE, sha256="0" * 64),
    "another licence": _set(LICENCE, name="MIT"),
    "another text of the licence": _set(LICENCE, text="All rights reserved."),
    "no licence": _no_licence,
    "the specimen has another name": _set(SOURCE, name="mine.npz"),
    "the specimen is based on nothing": _graph(lambda g: g["#specimen"].pop("isBasedOn") and None),
    "a licence of its own in the metadata": lambda f: _in_metadata(f, licence="MIT"),
    "a specimen that is not shipped": lambda f: _in_metadata(f, shipped_as=None),
    "another object under its name": lambda f: [f.arrays(p, _other_object) for p in DATASETS],
}.items():
    add("crate.origin", what, edit)


def _step(asset: str, **changes: object) -> Callable[[Forgery], None]:
    def edit(graph: Graph) -> None:
        entity = graph[f"#make/{asset}/settings"]
        content = {**json.loads(entity["value"]), **changes}
        entity["value"] = json.dumps(content, sort_keys=True, separators=(",", ":"))

    return _graph(edit)


for what, edit in {
    "another seed of a step": _step("pinn_model", seed=7),
    "other threads of a step": _step("train/comparison", threads=64),
    "another dose of a step": _step("train/dataset", dose=77),
    "a setting more": _step("baseline_model", gpu=1),
    "another seed beside the settings": _set("#make/pinn_model/seed/seed", value=7),
    "a check that failed when it was reported": _step("check_report", checks={}),
}.items():
    add("crate.step_settings", what, edit)
add("crate.settings", "another hash of the study", _set("#study", sha256="0" * 64))
add(
    "crate.versions",
    "a dataset of another commit",
    lambda f: [
        f.metadata(path, lambda m: m["creation"].update(git_commit="0" * 40)) for path in DATASETS
    ],
)


add(
    "crate.versions",
    "a dataset of another version of the program",
    lambda f: [
        f.metadata(path, lambda m: m["creation"].update(version="9.9")) for path in DATASETS
    ],
)
VIEW = "data/phase_d/DOSE/VIEW/train.npz"
for what, edit in {
    "a key more": lambda m: m.update(note="mine"),
    "a key more in a record": lambda m: m["transformations"][-1].update(host="mine"),
}.items():
    add("phase_d.provenance", what, lambda f, edit=edit: f.metadata(VIEW, edit))


SOLVED = "data/phase_f/DOSE/VIEW/train/ptychi_reconstruction.npz"
for what, edit in {
    "a reconstruction of another specimen": lambda m: m["specimen"].update(source="mine.npz"),
    "a reconstruction of other physics": lambda m: m["physics"].update(seed=7),
    "a reconstruction of data of another commit": lambda m: m["creation"].update(git_commit=None),
    "a reconstruction by another model": lambda m: m["transformations"][-1]["parameters"].update(
        model="ePIE"
    ),
}.items():
    add("phase_f.provenance", what, lambda f, edit=edit: f.metadata(SOLVED, edit))


def _software(graph: Graph) -> None:
    entity = next(e for key, e in graph.items() if key.startswith("#software/scipy"))
    entity.update(softwareVersion="0.1")


add("crate.versions", "another version under its identifier", _graph(_software))


# Times.
def _end(f: Forgery, asset: str) -> str:
    graph = {e["@id"]: e for e in json.loads(f.read(CRATE))["@graph"]}
    return graph[f"#make/{asset}"]["endTime"]


def _moved(asset: str, time: str) -> Callable[[Forgery], None]:
    """Another time of making, in the crate and of all files that it made."""

    def edit(graph: Graph) -> None:
        action = graph[f"#make/{asset}"]
        action.update(endTime=time)
        for result in action["result"]:
            graph[result["@id"]].update(dateModified=time)

    return _graph(edit)


def _before(f: Forgery, asset: str) -> str:
    """Midnight before an asset was made."""
    return _end(f, asset)[:11] + "00:00:00Z"


for what, edit in {
    "deltas from before their summary": lambda f: f.json(
        DELTAS, lambda c: c.update(generated_at=_before(f, "metrics_summary"))
    ),
    "datasets from before their specimen": lambda f: f.metadata(
        DATASETS[0], lambda m: m["creation"].update(time=_before(f, "specimen"))
    ),
    "a specimen from after its datasets": lambda f: _moved("specimen", _end(f, "metrics_summary"))(
        f
    ),
    "a view from after the training on it": lambda f: _moved(
        "train/overlap_view", _end(f, "metrics_summary")
    )(f),
    "a training from before its view": lambda f: f.json(
        PINN, lambda c: c["transformations"][-1].update(time=_before(f, "train/overlap_view"))
    ),
    "a page from before what it sums up": _moved("hub_summary", "2020-01-01T00:00:00Z"),
}.items():
    add("times.order", what, edit)
