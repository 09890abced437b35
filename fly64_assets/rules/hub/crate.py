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
from fly64_assets.rules.hub.arms import arms, iterative, networks
from fly64_assets.rules.hub.checks import Finding, check, compare, differences
from fly64_assets.rules.hub.crate_graph import Step, entities, steps, study
from fly64_assets.rules.hub.datasets import physics
from fly64_assets.rules.hub.models import bundle_file
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.reconstructions import reconstruction
from fly64_assets.rules.hub.replicates import replicates_file
from fly64_assets.rules.hub.views import parameters
from fly64_assets.rules.ro_crate import crate_problems
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS

SEED_OF = {"dataset": "simulation", "comparison_statistics": "subsampling"}
"""Last part of an asset's name -> its seed, where that is not the grouping's."""


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
    "crate.settings", contract.CRATE, "the study's settings are those that every phase worked with"
)
def settings(hub: Hub) -> Iterator[Finding]:
    stated = study(hub)
    for path, key, expected, found in _settings(hub, stated):
        for place, reason in differences(expected, found, key=key):
            yield Finding(path, place, f"{reason}, as the study's settings in the crate are")


def _settings(hub: Hub, stated: dict[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """(file, key, what the study says, what the file says) of every setting that a file repeats."""
    if hub.dose not in stated.get("doses", []):
        yield contract.CRATE, "#study/doses", [hub.dose], stated.get("doses")
    yield contract.CRATE, "#study/arms", list(arms(hub)), stated.get("arms")
    for split in SPLITS:
        made, path = physics(hub, hub.dataset(split)), hub.dataset(split)
        for name, value in stated.get("simulation", {}).items():
            yield path, f"_metadata {name}", value, made.get(name)
        yield path, "_metadata seed", stated.get("seeds", {}).get("simulation"), made.get("seed")
        yield path, "_metadata N", stated.get("patch_size"), made.get("N")
        path, chosen = hub.overlap_view(split), parameters(hub, split)
        expected = {
            "view": stated.get("views", {}).get(hub.view),
            **{name: stated.get(name) for name in ("overlap", "gridsize", "seeds")},
        }
        for name, value in expected.items():
            yield path, f"_metadata {name}", value, chosen.get(name)
        seed = stated.get("seeds", {}).get("grouping")
        for arm in iterative(hub):
            path = reconstruction(hub, arm, split)
            solved = hub.metadata(path)["transformations"][-1]["parameters"]
            for name in (arm.section, "threads", "device"):
                yield path, f"_metadata {name}", stated.get(name), solved.get(name)
            yield path, "_metadata seed", seed, solved.get("seed")
        path = hub.comparison(split, "scoring.json")
        if path in hub.files:
            compared = hub.json(path)["transformations"][-1]["parameters"]
            place = "transformations[-1].parameters"
            for name in ("arms", "scoring", "threads", "device"):
                yield path, f"{place}.{name}", stated.get(name), compared.get(name)
            yield path, f"{place}.seed", seed, compared.get("seed")
    for network in networks(hub):
        model, section = network.name, network.section
        path = bundle_file(hub, model, "bundle.json")
        bundle = hub.json(path)
        yield path, "settings", stated.get(section), bundle.get("settings")
        trained = bundle["transformations"][-1]["parameters"]
        for name in (section, "threads", "device"):
            place = f"transformations[-1].parameters.{name}"
            yield path, place, stated.get(name), trained.get(name)
    sigma = stated.get("scoring", {}).get("ms_ssim_sigma_px")
    if not str(stated.get("specimen")).endswith(".npz"):  # of a path the crate has the name alone
        yield contract.CRATE, "#study sha256", digest(stated), entities(hub)["#study"].get("sha256")
    for number, job in enumerate(hub.json(contract.MANIFEST)["jobs"]):
        yield contract.MANIFEST, f"jobs[{number}].ms_ssim_sigma", sigma, job.get("ms_ssim_sigma")


@check(
    "crate.step_settings", contract.CRATE, "settings and seeds of every step are those of the study"
)
def step_settings(hub: Hub) -> Iterator[Finding]:
    for asset, step in steps(hub).items():
        place = f"#make/{asset}/settings"
        try:
            found = json.loads(str(step.stated.get("settings")))
        except ValueError as error:
            yield Finding(contract.CRATE, place, f"is no JSON: {error}")
            continue
        for name, value in found.items():
            expected = _setting_of(hub, asset, name)
            yield from compare(contract.CRATE, expected, value, key=f"{place} {name}")
        seeds = {f"seeds.{name}": seed for name, seed in found.get("seeds", {}).items()}
        seeds |= {"seed": found["seed"]} if "seed" in found else {}
        yield from compare(contract.CRATE, seeds, step.seeds, key=f"#make/{asset}/seed")


def _setting_of(hub: Hub, asset: str, name: str) -> Any:
    """What the study says of a setting of a step."""
    stated, (_, _, kind) = study(hub), asset.rpartition("/")
    source = entities(hub).get("#specimen-source", {})
    if name == "checks":  # what the check report was made from
        rows = hub.json("analysis/check_report.json")["checks"]
        return {f"{row['asset']} {row['check']}": row["status"] for row in rows}
    own = {network.asset: network.gridsize for network in networks(hub)}
    gridsize = own.get(kind.rpartition("_")[0])
    special = {
        "dose": hub.dose,
        "view": stated["views"].get(hub.view) if kind == "overlap_view" else hub.view,
        "gridsize": gridsize or stated["gridsize"],
        "seed": stated["seeds"][SEED_OF.get(kind, "grouping")],
        "stitch_crop_px": stated["scoring"]["stitch_crop_px"],
        "confidence": stated["statistics"]["confidence"],
        "ms_ssim_sigma_px": stated["scoring"]["ms_ssim_sigma_px"],
        "probe_diameter_px": stated["overlap"]["probe_diameter_px"],
        "probe_power_fraction": stated["overlap"]["probe_power_fraction"],
        "specimen_sha256": source.get("sha256"),
    }
    return special[name] if name in special else stated.get(name, "no setting of the study")


@check("crate.versions", contract.CRATE, "versions in the files are those of the software it names")
def versions(hub: Hub) -> Iterator[Finding]:
    made = steps(hub)
    for asset, path, key, name, version in _versions(hub):
        used = made.get(asset, Step()).versions_used
        if used.get(name) != version:
            yield Finding(path, key, f"is {version!r}, the crate names {used.get(name)!r}")
    for split in SPLITS:
        path = hub.dataset(split)
        creation, step = hub.metadata(path)["creation"], made.get(f"{split}/dataset", Step())
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


def _versions(hub: Hub) -> Iterator[tuple[str, str, str, str, Any]]:
    """(asset, file, key, software, version) of every version that a file states."""
    program = "fly64_assets"
    for network in networks(hub):
        path, asset = bundle_file(hub, network.name, "bundle.json"), f"{network.asset}_model"
        bundle = hub.json(path)
        for name, version in bundle.get("frameworks", {}).items():
            yield asset, path, f"frameworks.{name}", name, version
        last = bundle["transformations"][-1].get("version")
        yield asset, path, "transformations[-1].version", program, last
        path, asset = replicates_file(hub, network.name), f"{network.asset}_replicates"
        last = hub.metadata(path)["transformations"][-1].get("version")
        yield asset, path, "transformations[-1].version", program, last
    for split in SPLITS:
        for path, asset in (
            (hub.dataset(split), "dataset"),
            (hub.overlap_view(split), "overlap_view"),
            *(
                (reconstruction(hub, arm, split), f"{arm.asset}_reconstruction")
                for arm in iterative(hub)
            ),
        ):
            last = hub.metadata(path)["transformations"][-1].get("version")
            yield f"{split}/{asset}", path, "transformations[-1].version", program, last
        path = hub.comparison(split, "scoring.json")
        if path in hub.files:
            last = hub.json(path)["transformations"][-1].get("version")
            yield f"{split}/comparison", path, "transformations[-1].version", program, last


@check(
    "crate.condition",
    contract.CRATE,
    "it names this dose and view, and the data that the datasets were simulated from",
)
def crate_condition(hub: Hub) -> Iterator[Finding]:
    found, made = entities(hub), steps(hub)
    name = f"{study_name(hub)}: {hub.dose} photons per exposure, {hub.view} view"
    yield from compare(contract.CRATE, name, found.get("./", {}).get("name"), key="./ name")
    for split in SPLITS:
        path, step = hub.dataset(split), made.get(f"{split}/dataset", Step())
        metadata = hub.metadata(path)
        expected = {"specimen": step.versions.get("specimen"), **step.consumed}
        inputs = metadata["transformations"][0].get("inputs")
        yield from compare(path, expected, inputs, key="_metadata transformations[0].inputs")
    for asset, step in made.items():
        wanted = (str(hub.dose), f"{hub.dose}|{hub.view}", "study")
        if step.stated.get("partition") not in wanted:
            reason = f"is of partition {step.stated.get('partition')!r}"
            yield Finding(contract.CRATE, f"#make/{asset}", reason)


def study_name(hub: Hub) -> str:
    return str(entities(hub).get("#study", {}).get("name"))
