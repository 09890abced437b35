"""The check of data versions: those that the crate states are those of what lies in the hub."""

from __future__ import annotations

from collections.abc import Iterator

from fly64_assets.rules.data_versions import data_version_of, of_arrays
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Broken, Finding, check
from fly64_assets.rules.hub.crate_graph import Step, steps
from fly64_assets.rules.hub.of_products import HubFiles, study_in
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import product, products_in


@check(
    "crate.data_versions",
    contract.CRATE,
    "data versions are those of the arrays, metadata, weights and summaries in the hub",
)
def data_versions(hub: Hub) -> Iterator[Finding]:
    made = steps(hub)
    for item in products_in(study_in(hub)):
        files = HubFiles(hub, item)
        if item.per == "study":  # a hub has the specimen in its datasets, and nothing of the study
            continue
        place = f"#make/{item.name} data_version"
        try:
            found = data_version_of(files)
        except Broken as error:
            yield error.finding
            continue
        except Exception as error:  # anything may lie in a hub
            yield Finding(contract.CRATE, place, f"cannot be computed: {type(error).__name__}")
            continue
        stated = made.get(item.name, Step()).stated.get("data_version")
        if found not in (None, stated):
            yield Finding(contract.CRATE, place, f"is {stated}, what lies in the hub has {found}")
    stated = made.get("specimen", Step()).stated.get("data_version")
    for split in SPLITS:
        files = HubFiles(hub, product(split, "dataset"))
        found = of_arrays(files, files.product.files[0], ("objectGuess", "probeGuess"))
        if found != stated:
            reason = f"is {stated}, the {split} dataset's object and probe have {found}"
            yield Finding(contract.CRATE, "#make/specimen data_version", reason)
