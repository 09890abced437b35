"""Writes a hub's ``ro-crate-metadata.json``: every file's sha256, every step and its inputs.

RO-Crate in the version that the rocrate library writes by default, with the Process Run Crate
profile: one CreateAction a product. The crate is made from the records of the materializations and
holds no time but theirs, so the same condition gives the same bytes. Reading and judging a crate
does not belong here (``ro_crate.py``, which shares nothing with this module).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fly64_assets.documents.provenance import InputRecord, Provenance
from fly64_assets.hub.lineage import seeds_of
from fly64_assets.pipeline.records import Record
from fly64_assets.study.arms import ARMS, ITERATIVE
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import digest
from fly64_assets.study.hub_layout import RO_CRATE, hub_path
from fly64_assets.study.model import SPLITS, Study
from fly64_assets.study.products import BY_KEY, PRODUCTS, Product
from fly64_assets.study.specimen_origins import LICENCE, licence_text, origin_in

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

Entity = dict[str, Any]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
SPDX = "https://spdx.org/licenses/"
SPECIMEN_ID, SOURCE_ID, STUDY_ID = "#specimen", "#specimen-source", "#study"
UNKNOWN_LICENCE_ID = "#licence-unknown"
KEYWORDS = "ptychography, photon dose, scan overlap, PtychoPINN, pty-chi, supervised network"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".keras": "application/zip",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".png": "image/png",
    ".txt": "text/plain",
}
DESCRIPTIONS = {
    **{f"patched_{s}.npz": f"Simulated {s} half of the scan, DATA-001" for s in SPLITS},
    **{f"{s}.npz": f"Overlap view of the {s} half, DATA-001 with its groups" for s in SPLITS},
    **{f"{s}_metrics.json": f"Overlap metrics of the {s} view" for s in SPLITS},
    "model.keras": "Trained network, a Keras archive",
    "bundle.json": "What the trained network is: kind, gridsize, N, seeds, inputs, provenance",
    "history.csv": "Loss and validation loss per epoch",
    "replicates.npz": "What further trainings with other seeds make of both views, complex64",
    "comparison_metrics.csv": "Scores of every model against the truth, tidy: one metric a row",
    "comparison.log": "Log of the comparison, with UTC times",
    "comparison_plot.png": "Truth and reconstructions, drawn",
    "reconstructions.npz": "Objects of every model and the truth on the canvas, complex64",
    "reconstructions_aligned.npz": "Aligned objects and the truth in the scored area, complex64",
    "scoring.json": "Scored area, fitted ambiguities, warnings and provenance of the comparison",
    "ms_ssim_heatmap.png": "Local MS-SSIM of every model, drawn",
    "correlation_heatmap.png": "Local correlation of every model with the truth, drawn",
    "comparison_manifest.json": "Which comparisons ran and how they ended",
    "comparison_summary.txt": "Counts of the comparisons, and each of them",
    "comparison_statistics.csv": "Intervals of every score and of every difference of two models",
    "metrics_summary.json": "Scores of every model on both splits, with aggregates",
    "metrics_summary.md": "The metrics summary for people",
    "metrics_delta_summary.json": "PtychoPINN minus the other models, from the metrics summary",
    "metrics_delta_highlights.txt": "Deltas of MS-SSIM and MAE in four lines",
    "metrics_delta_highlights_preview.txt": "Phase deltas of MS-SSIM and MAE in four lines",
    "aggregate_report.md": "Job counts, sanity table, scores and signed deltas",
    "aggregate_highlights.txt": "The aggregate report in a few lines",
    "metrics_digest.md": "Digest of the condition: pipeline, highlights, deltas, references",
    "ssim_grid_summary.md": "Phase deltas of MS-SSIM and MAE as tables",
    "check_report.md": "Every asset check of the condition, for people",
    "check_report.json": "Every asset check of the condition",
    "run_manifest.json": "Datasets of the dose",
    "metrics_bundle.json": "Overlap metrics of both splits",
    "training_manifest.json": "Training jobs and how they ended",
    "reconstruction_manifest.json": "Reconstruction jobs and how they ended",
    "summary.md": "The condition on one page: scores, deltas, overlap, photons, provenance",
    "artifact_inventory.txt": "Every file of the hub, sorted",
    **{f"{arm.name}_frc_curve.csv": f"Fourier ring correlation of {arm.name}" for arm in ARMS},
    **{arm.file: f"{arm.about} reconstruction: object and probe, complex64" for arm in ITERATIVE},
    **{arm.history: "Loss of the iterative reconstruction per epoch" for arm in ITERATIVE},
}
"""File name -> what it holds."""


@dataclass(frozen=True)
class HubFile:
    """One file of a hub.

    Attributes:
        path: relative to the hub, POSIX.
        product: what it belongs to.
        store_path: relative to the store that it was copied from, POSIX.
        sha256: in hex.
        bytes: its size.
    """

    path: str
    product: Product
    store_path: str
    sha256: str
    bytes: int


def write_ro_crate(
    hub: Path,
    *,
    study: Study,
    condition: Condition,
    records: Mapping[Product, Record],
    files: Iterable[HubFile],
) -> None:
    """Describe a hub that holds every other file of its own; replaces an older description.

    Args:
        hub: the hub's folder.
        study: the study that the condition belongs to.
        condition: dose and view.
        records: the materialization of every product of the condition, the specimen's among them.
        files: every file of the hub but the description and the verification report.
    """
    document = _Crate(study, condition, records, list(files)).document()
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    unfinished = hub / f".{RO_CRATE}.{os.getpid()}"
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(hub / RO_CRATE)


def describe(name: str) -> str:
    """Return what a file of a hub holds, by its name."""
    if name in DESCRIPTIONS:
        return DESCRIPTIONS[name]
    return "Log of a step" if name.endswith(".log") else "Output"


def _reference(*identifiers: str) -> list[dict[str, str]]:
    return [{"@id": identifier} for identifier in sorted(set(identifiers))]


def _canonical(content: Any) -> str:
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose specimen, which may be a path, is named by its file alone."""
    named = dict(settings)
    if "specimen" in named:
        named["specimen"] = PurePosixPath(str(named["specimen"])).name
    return named


class _Crate:
    """All entities of one hub, in a fixed order."""

    def __init__(
        self,
        study: Study,
        condition: Condition,
        records: Mapping[Product, Record],
        files: list[HubFile],
    ) -> None:
        self.study, self.condition = study, condition
        self.records = {item: records[item] for item in PRODUCTS if item in records}
        self.files = sorted(files, key=lambda file: file.path)
        origin = origin_in(self.records[BY_KEY["specimen",]].provenance.settings)
        assert origin is not None  # the planner gives every specimen its sha256
        self.origin = origin

    def document(self) -> Entity:
        from rocrate.model import ContextEntity, File
        from rocrate.rocrate import ROCrate

        crate = ROCrate()
        for file in self.files:
            crate.add(File(crate, dest_path=file.path, properties=self._file(file)))
        for entity in self._context_entities():
            crate.add(ContextEntity(crate, entity["@id"], properties=entity))
        self._describe_root(crate)
        document = crate.metadata.generate()
        (root,) = (entity for entity in document["@graph"] if entity["@id"] == "./")
        # The digest covers everything but itself, so that no edit of the crate goes unseen.
        root["identifier"] = (
            f"sha256:{hashlib.sha256(_canonical(document).encode('utf-8')).hexdigest()}"
        )
        return document

    def _describe_root(self, crate: ROCrate) -> None:
        dose, view = self.condition.dose, self.condition.view
        root = crate.root_dataset
        root["name"] = f"{self.study.name}: {dose} photons per exposure, {view} view"
        root["description"] = (
            "A finished condition of the fly64 dose/overlap study: simulated ptychography datasets "
            f"at {dose} photons per exposure, their {view} overlap views, two trained networks, "
            "pty-chi reconstructions, and the comparison of all three with the truth."
        )
        root["datePublished"] = max(r.provenance.generated_at for r in self.records.values())
        root["license"] = {"@id": self._licence_id}
        root["keywords"] = KEYWORDS
        root["conformsTo"] = {"@id": PROFILE}
        root["about"] = _reference(SPECIMEN_ID, STUDY_ID)
        root["mentions"] = _reference(*(_action_id(item.name) for item in self.records))

    def _file(self, file: HubFile) -> Entity:
        made = self.records[file.product].provenance
        name = PurePosixPath(file.path).name
        return {
            "name": name,
            "description": f"{describe(name)}; of {made.asset} ({made.partition})",
            "sha256": file.sha256,
            "contentSize": str(file.bytes),
            "encodingFormat": MEDIA_TYPES[PurePosixPath(name).suffix],
            "dateModified": made.generated_at,
        }

    def _context_entities(self) -> Iterator[Entity]:
        yield {
            "@id": PROFILE,
            "@type": "CreativeWork",
            "name": "Process Run Crate",
            "version": "0.5",
        }
        yield self._licence()
        yield from self._specimen()
        yield from self._study()
        yield from self._software()
        for record in self.records.values():
            yield from self._action(record.provenance)

    @property
    def _licence_id(self) -> str:
        return SPDX + LICENCE if self.origin["shipped_as"] else UNKNOWN_LICENCE_ID

    def _licence(self) -> Entity:
        if self.origin["shipped_as"]:
            return {
                "@id": self._licence_id,
                "@type": "CreativeWork",
                "name": LICENCE,
                "description": "Licence of the specimen, whose object and probe are in the data.",
                "text": licence_text(),
            }
        return {
            "@id": self._licence_id,
            "@type": "CreativeWork",
            "name": "unknown",
            "description": "The study simulates from its user's own specimen; its file states no "
            "licence, so none is claimed for what was made from it.",
        }

    def _specimen(self) -> Iterator[Entity]:
        licence = {"@id": self._licence_id}
        yield {
            "@id": SOURCE_ID,
            "@type": "CreativeWork",
            "name": self.origin["source"],
            "description": self.origin["origin"],
            "sha256": self.origin["sha256"],
            "license": licence,
        }
        made = self.records[BY_KEY["specimen",]].provenance
        (stored,) = made.files.values()
        yield {
            "@id": SPECIMEN_ID,
            "@type": "CreativeWork",
            "name": PurePosixPath(stored.path).name,
            "description": "Object and probe that the data were simulated from; not a file of the "
            "hub, as every dataset holds both as objectGuess and probeGuess.",
            "sha256": stored.sha256,
            "dateModified": made.generated_at,
            "isBasedOn": {"@id": SOURCE_ID},
            "license": licence,
        }

    def _study(self) -> Iterator[Entity]:
        content = self.study.model_dump(mode="json")
        shown = _without_folders(content)
        properties = [
            _property(f"{STUDY_ID}/{key}", "setting", key, _canonical(value))
            for key, value in sorted(shown.items())
        ]
        yield {
            "@id": STUDY_ID,
            "@type": "CreativeWork",
            "name": self.study.name,
            "description": "The study file with every setting; a value is JSON.",
            "sha256": digest(content),
            "additionalProperty": _reference(*(entity["@id"] for entity in properties)),
        }
        yield from properties

    def _software(self) -> Iterator[Entity]:
        used = {
            (name, version)
            for record in self.records.values()
            for name, version in record.provenance.versions.items()
        }
        for name, version in sorted(used):
            yield {
                "@id": _software_id(name, version),
                "@type": "SoftwareApplication",
                "name": name,
                "softwareVersion": version,
            }

    def _action(self, made: Provenance) -> Iterator[Entity]:
        action = _action_id(made.asset)
        properties = list(self._stated(action, made))
        inputs = [entities for g in made.inputs.values() for entities in self._input(action, g)]
        consumed = [entity["about"]["@id"] for entity in inputs if "about" in entity]
        stated = [e["@id"] for e in (*properties, *inputs) if e["propertyID"] != "consumed_file"]
        results = (
            [SPECIMEN_ID]
            if not made.inputs
            else [quote(file.path) for file in self.files if file.product.name == made.asset]
        )
        yield {
            "@id": action,
            "@type": "CreateAction",
            "name": f"{made.asset} ({made.partition or 'study'})",
            "object": _reference(*(consumed or [SOURCE_ID])),
            "result": _reference(*results),
            "instrument": _reference(*(_software_id(*pair) for pair in made.versions.items())),
            "endTime": made.generated_at,
            "additionalProperty": _reference(*stated),
        }
        yield from properties
        yield from inputs

    def _stated(self, action: str, made: Provenance) -> Iterator[Entity]:
        stated: dict[str, str | float] = {
            "code_version": made.code_version,
            "cpu_seconds": made.cpu_seconds,
            "data_version": made.data_version,
            "fingerprint": made.fingerprint,
            "git_commit": made.git_commit or "unknown",
            "partition": made.partition or "study",
            "settings": _canonical(_without_folders(made.settings)),
            "study": made.study,
            "study_sha256": made.study_sha256,
        }
        for key, value in stated.items():
            yield _property(f"{action}/{key}", key, key, value)
        for key, value in seeds_of(made.settings).items():
            yield _property(f"{action}/seed/{key}", "seed", key, value)

    def _input(self, action: str, given: InputRecord) -> Iterator[Entity]:
        """One input as it was consumed: its data version, and each of its files by sha256."""
        identifier = f"{action}/input/{given.asset}"
        item = BY_KEY[tuple(given.asset.split("/"))]
        files = []
        for path, sha256 in sorted(given.files.items()):
            name = PurePosixPath(path).name
            target = hub_path(item, self.condition, name)
            about = SPECIMEN_ID if target is None else quote(target)
            consumed = _property(f"{identifier}/{quote(name)}", "consumed_file", path, sha256)
            files.append({**consumed, "about": {"@id": about}})
        references = _reference(*(entity["@id"] for entity in files))
        stated = _property(identifier, "input_data_version", given.asset, given.data_version)
        yield {**stated, "valueReference": references}
        yield from files


def _property(identifier: str, kind: str, name: str, value: str | float) -> Entity:
    return {
        "@id": identifier,
        "@type": "PropertyValue",
        "propertyID": kind,
        "name": name,
        "value": value,
    }


def _action_id(asset: str) -> str:
    return f"#make/{asset}"


def _software_id(name: str, version: str) -> str:
    return f"#software/{quote(name)}-{quote(version)}"
