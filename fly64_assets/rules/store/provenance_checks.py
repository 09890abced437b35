"""Provenance only grows: what a product says was done to it begins with what its source says.

From the simulation to the comparison each step adds one record to the list that it was given and
names what it read by sha256.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.store.common_checks import equals, json_file
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


def _source(run: CheckRun) -> CheckRun | None:
    """The product whose list this one continues; None for simulated data, which begin one."""
    kind = run.product.key[-1]
    if kind == "dataset":
        return None
    if kind == "overlap_view":
        return run.other(run.split, "dataset")
    return run.other(run.product.split or "train", "overlap_view")


def _transformations(run: CheckRun) -> list[dict[str, Any]]:
    from fly64_assets.ptychography.data001.npz import read_npz

    kind = run.product.key[-1]
    if kind.endswith("_model"):
        return json_file(run.path("bundle.json"))["transformations"]
    if kind == "comparison":
        return json_file(run.path("scoring.json"))["transformations"]
    path = run.path(next(name for name in run.product.files if name.endswith(".npz")))
    return json.loads(str(read_npz(path, ["_metadata"])["_metadata"][()]))["transformations"]


def _provenance(run: CheckRun) -> Iterable[RuleOutcome]:
    records = _transformations(run)
    tools = [record["tool"] for record in records]
    source = _source(run)
    before = _transformations(source) if source else []
    if source:
        yield from _begins_with(run, source, before, records)
    expected = [*(record["tool"] for record in before), TOOLS[run.product.key[-1]]]
    yield equals("transformations", "one more, this step's", expected, tools)
    named = records[-1]["inputs"] if records else {}
    for name, given in run.provenance.inputs.items():
        for path, sha256 in given.files.items():
            key = f"{name}/{Path(path).name}"
            found = str(named.get(key))
            yield equals(f"input {key}", "named by its sha256", sha256[:12], found[:12])


def _begins_with(
    run: CheckRun, source: CheckRun, before: list[dict[str, Any]], records: list[dict[str, Any]]
) -> Iterator[RuleOutcome]:
    from fly64_assets.ptychography.data001.metadata import versioned

    consumed = dict(run.provenance.inputs[source.product.name].files)
    there = {path: file.sha256 for path, file in source.provenance.files.items()}
    rule = f"begin with those of {source.product.name}, unedited"
    begin = records[: len(before)]
    kept = begin == before
    if consumed != there:
        # Made again since, as the same data: what was made from it stays fresh, the times differ.
        rule += " but for times: it was made again"
        kept = versioned({"transformations": begin}) == versioned({"transformations": before})
    told = "all" if kept else "another beginning"
    yield equals("transformations", rule, "all", told)


CHECKS = (
    Check(
        "provenance",
        _provenance,
        "Its list of transformations is its source's, unedited, and one record for its own step.",
    ),
)
