"""Checks of the RO-Crate: its graph by the rules of ``ro_crate.py``, settings, versions, condition.

What this hub's files say about
themselves is held against it here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Finding, check, compare
from fly64_assets.rules.hub.crate_graph import Step, entities, steps, study
from fly64_assets.rules.hub.of_products import HubFiles, study_in
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.ro_crate import crate_problems
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import Product, product


def _problems(hub: Hub, subject: str) -> Iterator[Finding]:
    unread = dict.fromkeys((*hub.strange, *hub.unread))
    digests = unread | {path: hub.sha256(path) for path in hub.files if path not in unread}
    for problem in crate_problems(hub.root, digests, subject):
        entity, _, reason = problem.partition(": ")
        yield Finding(contract.CRATE, entity, reason)


@check(
    "crate.hashes", contract.CRATE, "every file has the sha256 and the size that the crate states"
)
def hashes(hub: Hub) -> Iterator[Finding]:
    yield from _problems(hub, "hashes")
    for path in hub.changed():
        yield Finding(path, "", "was changed while it was verified")


for _subject, _rule in {
    "complete": "it describes every file but itself and the verification report, and no other",
    "self_digest": "its identifier is the sha256 of all else in it",
    "rules": "references, licence, times, actions and what they consumed keep the rules",
}.items():
    check(f"crate.{_subject}", contract.CRATE, _rule)(partial(_problems, subject=_subject))


@check(
    "crate.settings",
    contract.CRATE,
    "the study is a whole one, has the hash that is stated, and asks for this dose and view",
)
def settings(hub: Hub) -> Iterator[Finding]:
    stated = study_in(hub)
    for name, here, asked in (("doses", hub.dose, stated.doses), ("views", hub.view, stated.views)):
        if here not in asked:
            yield Finding(contract.CRATE, f"#study/{name}", f"are {list(asked)}, without {here}")
    if not stated.specimen.endswith(".npz"):  # of a path the crate has the name alone
        sha256 = entities(hub)["#study"].get("sha256")
        yield from compare(contract.CRATE, digest(study(hub)), sha256, key="#study sha256")


@check(
    "crate.step_settings", contract.CRATE, "settings and seeds of every step are those of the study"
)
def step_settings(hub: Hub) -> Iterator[Finding]:
    for asset, step in steps(hub).items():
        place, item = f"#make/{asset}/settings", product(*asset.split("/"))
        files = HubFiles(hub, item)
        found = files.provenance.settings
        wanted = json.loads(json.dumps(dict(item.settings(files.study, files.condition))))
        yield from compare(
            contract.CRATE, {**wanted, **_not_of_the_study(hub, item)}, found, key=place
        )
        seeds = {f"seeds.{name}": seed for name, seed in found.get("seeds", {}).items()}
        seeds |= {"seed": found["seed"]} if "seed" in found else {}
        yield from compare(contract.CRATE, seeds, step.seeds, key=f"#make/{asset}/seed")


def _not_of_the_study(hub: Hub, item: Product) -> dict[str, Any]:
    """Return what a step was told besides: the specimen's file, or how the checks stood."""
    if item.name == "specimen":
        return {"specimen_sha256": entities(hub).get("#specimen-source", {}).get("sha256")}
    if item.depends_on_checks:
        rows = hub.json("analysis/check_report.json")["checks"]
        return {"checks": {f"{row['asset']} {row['check']}": row["status"] for row in rows}}
    return {}


@check("crate.versions", contract.CRATE, "datasets are of the commit, software has its identifier")
def versions(hub: Hub) -> Iterator[Finding]:
    made = steps(hub)
    for split in SPLITS:
        path, step = hub.dataset(split), made.get(f"{split}/dataset", Step())
        creation = hub.metadata(path)["creation"]
        for key, expected, found in (
            ("git_commit", step.stated.get("git_commit"), creation["git_commit"] or "unknown"),
            ("version", step.versions_used.get("fly64_assets"), creation["version"]),
        ):
            yield from compare(path, expected, found, key=f"_metadata creation.{key}")
    for identifier, entity in entities(hub).items():
        if entity.get("@type") == "SoftwareApplication":
            name = f"#software/{quote(str(entity['name']))}-{quote(str(entity['softwareVersion']))}"
            if identifier != name:
                yield Finding(contract.CRATE, identifier, f"is {name}, by its name and version")


@check(
    "crate.condition",
    contract.CRATE,
    "it names this dose and view, and so does every step",
)
def crate_condition(hub: Hub) -> Iterator[Finding]:
    found, made = entities(hub), steps(hub)
    name = f"{study_name(hub)}: {hub.dose} photons per exposure, {hub.view} view"
    yield from compare(contract.CRATE, name, found.get("./", {}).get("name"), key="./ name")
    for asset, step in made.items():
        wanted = (str(hub.dose), f"{hub.dose}|{hub.view}", "study")
        if step.stated.get("partition") not in wanted:
            reason = f"is of partition {step.stated.get('partition')!r}"
            yield Finding(contract.CRATE, f"#make/{asset}", reason)


def study_name(hub: Hub) -> str:
    return str(entities(hub).get("#study", {}).get("name"))
