"""Provenance only grows: what a product says was done to it begins with what its source says.

From the simulation to the comparison each step adds one record to the list that it was given and
names what it read by sha256.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fly64_assets.ptychography.data001.metadata import versioned
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check
from fly64_assets.rules.files import Files, equals, metadata, same_settings
from fly64_assets.study.arms import ITERATIVE, NETWORKS

TOOLS = {
    "dataset": "simulate",
    "overlap_view": "overlap_view",
    **{network.model_key[-1]: "train" for network in NETWORKS},
    **{network.replicates_key[-1]: "train_again" for network in NETWORKS},
    **{f"{arm.asset}_reconstruction": "reconstruct" for arm in ITERATIVE},
    "comparison": "compare",
}
"""Last part of a product's key -> the tool that its own record names."""
RECORD = ["inputs", "parameters", "time", "tool", "version"]
METADATA = {
    "_metadata": ["creation", "physics", "schema_version", "specimen", "transformations"],
    "creation": ["git_commit", "program", "time", "version"],
    "physics": ["N", "intensity_scale", "nphotons", "probe_diameter_px", "seed"],
}
"""Keys of a record, and of the parts of simulated metadata."""
INHERITED = ("schema_version", "physics", "specimen", "creation")
"""Keys of metadata that are the source's."""


def _source(files: Files) -> Files | None:
    """Return the product whose list this one continues; None for data that begin one."""
    kind = files.product.key[-1]
    if kind == "dataset":
        return None
    if kind == "overlap_view":
        return files.other(files.split, "dataset")
    return files.other(files.product.split or "train", "overlap_view")


def record_file(files: Files) -> str:
    """Return the file that says what was done: a JSON file of its own, or the first NPZ."""
    named = {"bundle.json", "scoring.json"} & {*files.product.files}
    return next(iter(named), files.product.files[0])


def stated_by(files: Files) -> dict[str, Any]:
    """Return what a product says of itself."""
    file = record_file(files)
    return files.json(file) if file.endswith(".json") else metadata(files, file)


def own_record(files: Files) -> dict[str, Any]:
    """Return the record that the product's own step added."""
    record: dict[str, Any] = stated_by(files)["transformations"][-1]
    return record


def recorded_settings(files: Files) -> Iterator[RuleOutcome]:
    """Hold the settings on the materialization and in its own record against the study."""
    wanted = json.loads(json.dumps(dict(files.product.settings(files.study, files.condition))))
    yield from same_settings("materialization", wanted, files.provenance.settings)
    if states_records(files) and files.product.key[-1] != "dataset":
        # The record of a dataset is flat; `datasets` knows it.
        where, own = record_file(files), own_record(files)
        yield from same_settings(f"{where} record", wanted, own["parameters"])


def states_records(files: Files) -> bool:
    """Whether it has a list; of a comparison it is no part of what a hub has to hold."""
    kind = files.product.key[-1]
    return kind in TOOLS and (kind != "comparison" or files.has("scoring.json"))


def _provenance(files: Files) -> Iterable[RuleOutcome]:
    if not states_records(files):
        return
    stated, where = stated_by(files), record_file(files)
    records = stated["transformations"]
    tools = [record["tool"] for record in records]
    source = _source(files)
    before = stated_by(source) if source else {"transformations": []}
    if source:
        yield from _continues(files, source, before, stated)
    expected = [*(record["tool"] for record in before["transformations"])]
    expected.append(TOOLS[files.product.key[-1]])
    yield equals(f"{where} transformations", "one more, this step's", expected, tools)
    own = records[-1] if records else {"parameters": {}, "inputs": {}}
    for name, value in (("split", files.product.split), ("model", files.product.arm)):
        if value is not None:
            yield equals(f"{where} record {name}", "its own", value, own["parameters"].get(name))
    yield equals(f"{where} record", "its keys", RECORD, sorted(own))
    program = files.provenance.versions.get("fly64_assets")
    yield equals(f"{where} record version", "of the program", program, own.get("version"))
    consumed = {
        f"{name}/{Path(path).name}": sha256
        for name, given in files.provenance.inputs.items()
        for path, sha256 in given.files.items()
    }
    if source is None:
        for key, names in METADATA.items():
            yield equals(key, "its keys", names, sorted(stated.get(key, stated)))
        yield equals("creation", "the program", "fly64_assets", stated["creation"]["program"])
        # Of the specimen the data version is named as well.
        consumed |= {name: i.data_version for name, i in files.provenance.inputs.items()}
    told = sorted(own["inputs"])
    yield equals(f"{where} record inputs", "what was read", sorted(consumed), told)
    for key, sha256 in consumed.items():
        found = str(own["inputs"].get(key))
        yield RuleOutcome(
            f"{where} input {key}",
            "named by its sha256",
            sha256[:12],
            found[:12],
            found == sha256,
        )


def _continues(
    files: Files, source: Files, before: dict[str, Any], stated: dict[str, Any]
) -> Iterator[RuleOutcome]:
    where = record_file(files)
    given = files.provenance.inputs[source.product.name]
    there = source.provenance
    consumed = {Path(path).name: sha256 for path, sha256 in given.files.items()}
    now = {Path(path).name: file.sha256 for path, file in there.files.items()}
    rule = f"begin with those of {source.product.name}, unedited"
    begin, own = before["transformations"], stated["transformations"]
    kept = own[: len(begin)] == begin
    inherited: tuple[str, ...] = INHERITED
    if consumed != now:
        # Made again since, as the same data: what was made from it stays fresh, the times differ.
        rule += " but for times: it was made again"
        kept = versioned({"transformations": own[: len(begin)]}) == versioned(
            {"transformations": begin}
        )
        inherited = INHERITED[:-1]
    yield equals(f"{where} transformations", rule, "all", "all" if kept else "another beginning")
    yield equals(
        source.product.name,
        "the data version that is there now",
        there.data_version[:12],
        given.data_version[:12],
    )
    if "physics" not in stated:
        return  # a JSON file, which has the list alone
    yield equals("_metadata", "its keys", sorted(before), sorted(stated))
    for key in inherited:
        rule = f"that of {source.product.name}"
        yield equals(f"_metadata {key}", rule, before.get(key), stated.get(key))


CHECKS = (
    Check(
        "provenance",
        _provenance,
        "Its list of transformations is its source's, unedited, and one record for its own step.",
    ),
)
