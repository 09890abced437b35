"""The study file: read, put together from what it extends, and held against its rules.

Every constant of the platform lives in the study file; what each section may say is in
``settings.py``. What does not belong here: partitions (``conditions.py``), paths
(``store.py``) and anything that computes.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from fly64_assets.errors import InputError, UnreadableStudy, did_you_mean
from fly64_assets.study import arms as registry
from fly64_assets.study.settings import (
    AutomationSettings,
    BaselineSettings,
    Dose,
    DoseResponseSettings,
    EpieSettings,
    OverlapSettings,
    PtyChiSettings,
    PtychoPINNSettings,
    ScoringSettings,
    Section,
    Seeds,
    SimulationSettings,
    StatisticsSettings,
    ViewSettings,
)
from fly64_assets.study.settings import TrainingSettings as TrainingSettings
from fly64_assets.study.yaml_file import read_study_yaml

LONGEST_CHAIN = 16
"""Study files that extend one another."""
PROJECT_ROOT = Path(__file__).resolve().parents[2]
STUDY_VARIABLE = "FLY64_STUDY"
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
BOTH = "both"
"""Stands for the split where a number is the mean over the splits."""
MODELS = ("PtychoPINN", "Baseline", "PtyChi")
"""The published identifiers of the three arms (METRICS-NAMING-001), in report order. A study may
switch further arms on (``Study.arms``)."""

LONGEST_NAME = 64
"""Of a study or view: with dose, arm and file it is part of one name, of which 255 bytes are room
in every file system."""
MOST_CONDITIONS = 1000
BYTES_PER_PIXEL = 12
"""Of a simulated frame: amplitude and true patch."""
LARGEST_DATASET = 1 << 37
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Study(Section):
    """One study: the matrix of doses and views, and every setting of every phase."""

    schema_version: Literal[1] = Field(description="version of this file format")
    name: Annotated[str, Field(max_length=LONGEST_NAME)] = Field(
        description=(
            "name of the study and of its results folder; lower-case letters, digits, - and _"
        )
    )
    specimen: str = Field(
        description=(
            "a shipped specimen (labyrinth, siemens_star), or the path of an NPZ, relative to "
            "this file, with objectGuess and probeGuess"
        )
    )
    arms: tuple[str, ...] = Field(
        description=(
            "the solvers that are compared: PtychoPINN, Baseline and PtyChi, then any of the "
            "further ones"
        )
    )
    doses: Annotated[tuple[Dose, ...], Field(min_length=1)] = Field(
        description="mean detected photons per exposure, ascending"
    )
    views: Annotated[dict[str, ViewSettings], Field(min_length=1)] = Field(
        description=(
            "name of each overlap view (lower-case letters, digits, - and _) and what it aims at"
        )
    )
    seeds: Seeds = Field(description="seeds of everything that is drawn by chance")
    patch_size: Annotated[int, Field(ge=12, le=1024)] = Field(
        description="N in px, side of a diffraction pattern and of the probe; even"
    )
    gridsize: Literal[1, 2] = Field(
        description="C = gridsize squared patterns enter PtychoPINN together"
    )
    threads: Annotated[int, Field(gt=0, le=256)] = Field(
        description="threads of each solver process; bitwise equal results need equal threads"
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        description="of the solvers; auto: a GPU where there is one"
    )
    simulation: SimulationSettings = Field(description="phase C")
    overlap: OverlapSettings = Field(description="phase D")
    ptychopinn: PtychoPINNSettings = Field(description="phase E, physics-informed network")
    baseline: BaselineSettings = Field(description="phase E, supervised network")
    ptychi: PtyChiSettings = Field(description="phase F, LSQML")
    epie: EpieSettings = Field(description="phase F, read where the arm ePIE is on")
    scoring: ScoringSettings = Field(description="phase G")
    statistics: StatisticsSettings = Field(description="how sure each score is")
    dose_response: DoseResponseSettings = Field(description="what is asked of the study as a whole")
    replicates: Annotated[int, Field(ge=1, le=20)] = Field(
        description="trainings of each network, each with a seed of its own"
    )
    automation: AutomationSettings = Field(description="what is done while nobody looks")

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        for name in (self.name, *self.views):
            if not NAME_PATTERN.fullmatch(name) or len(name) > LONGEST_NAME:
                raise ValueError(
                    f"name {name!r}: lower-case letters, digits, '-' and '_' only, at most "
                    f"{LONGEST_NAME} of them"
                )
        self._require_arms()
        if len(set(self.doses)) != len(self.doses):
            raise ValueError(f"doses: {list(self.doses)} names a dose twice")
        if list(self.doses) != sorted(self.doses):
            raise ValueError(f"doses: {list(self.doses)} is not in ascending order")
        if self.patch_size % 2:
            raise ValueError(f"patch_size: {self.patch_size} is odd; DATA-001 wants an even N")
        if self.overlap.neighbor_count < self.group_size:
            raise ValueError(
                f"overlap.neighbor_count: K = {self.overlap.neighbor_count} is smaller than "
                f"C = gridsize^2 = {self.group_size} (OVERSAMPLING-001)"
            )
        for name in ("ptychopinn", "baseline"):
            frame = getattr(self, name).frame_px
            if frame > self.patch_size:
                raise ValueError(f"{name}.frame_px: {frame} is larger than N = {self.patch_size}")
        if self.scoring.stitch_crop_px > self.patch_size:
            raise ValueError(
                f"scoring.stitch_crop_px: M = {self.scoring.stitch_crop_px} is larger than "
                f"N = {self.patch_size}"
            )
        if (conditions := len(self.doses) * len(self.views)) > MOST_CONDITIONS:
            raise ValueError(
                f"doses, views: {conditions:,} conditions; {MOST_CONDITIONS:,} is the most"
            )
        dataset = self.simulation.positions * self.patch_size**2 * BYTES_PER_PIXEL
        if dataset > LARGEST_DATASET:
            raise ValueError(
                f"simulation.positions: {self.simulation.positions:,} of {self.patch_size} x "
                f"{self.patch_size} px are {dataset / 2**30:,.0f} GiB a dose; at most "
                f"{LARGEST_DATASET >> 30} GiB are simulated"
            )
        return self

    def _require_arms(self) -> None:
        known = ", ".join(registry.NAMES)
        for name in self.arms:
            if name not in registry.NAMES:
                near = did_you_mean(name, registry.NAMES)
                raise ValueError(f"arms: {name!r} is none of {known}{near}")
        if self.arms[: len(MODELS)] != MODELS or len(set(self.arms)) != len(self.arms):
            raise ValueError(
                f"arms: {list(self.arms)} does not begin with {', '.join(MODELS)} "
                "and name each further arm once"
            )
        for arm in registry.networks(self.arms[len(MODELS) :]):
            if arm.gridsize == self.gridsize and arm.section == "ptychopinn":
                raise ValueError(
                    f"arms: {arm.name} is {MODELS[0]} with gridsize {arm.gridsize}, "
                    "which is the study's own gridsize"
                )

    @property
    def group_size(self) -> int:
        """C, the number of patterns that enter PtychoPINN together."""
        return self.gridsize**2


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``change`` over ``base``, section by section. Views and lists replace, they do not merge."""
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict) and key != "views"
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def _resolve(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a study file's content over that of the study it extends.

    A relative path is relative to the folder in which the file that names it really lies, links
    followed: it is the same file whichever way the study is reached.
    """
    path = path.resolve()
    if path in seen:
        raise InputError(path, "extends", "extends itself")
    if len(seen) == LONGEST_CHAIN:
        raise InputError(seen[0], "extends", f"leads over more than {LONGEST_CHAIN} files")
    content = read_study_yaml(path)
    if "extends" not in content:
        return content
    parent = content.pop("extends")
    if not isinstance(parent, str):
        raise InputError(path, "extends", f"{parent!r} is not the path of a study file")
    if "name" not in content:
        raise InputError(path, "name", "missing; a study that extends another has its own name")
    base_file = path.parent / parent
    if "\0" in parent or not os.path.exists(base_file):
        raise InputError(path, "extends", f"{parent!r} does not exist; it is relative to this file")
    base = _resolve(base_file, (*seen, path))
    if isinstance(base.get("specimen"), str) and _is_path(base["specimen"]):
        named = base_file.resolve().parent / base["specimen"]
        relative = os.path.relpath(named, path.parent)
        if os.path.realpath(path.parent / relative) != os.path.realpath(named):
            # `..` behind a link to a folder is that folder's parent, which no text can tell.
            folder = os.path.relpath(os.path.realpath(named.parent), path.parent)
            relative = os.path.join(folder, named.name)
        base["specimen"] = relative
    return _merge(base, content)


def _is_path(specimen: str) -> bool:
    return specimen.endswith(".npz") and "\0" not in specimen


def study_path(path: str | Path | None = None) -> Path:
    """Return the study file: ``path``, else ``$FLY64_STUDY``, else the project's ``study.yaml``.

    Raises:
        UnreadableStudy: its name is not UTF-8.
    """
    chosen = Path(path or os.environ.get(STUDY_VARIABLE) or PROJECT_ROOT / "study.yaml")
    try:
        str(chosen).encode()
    except UnicodeEncodeError:  # records, which are UTF-8, could not name it
        raise UnreadableStudy(chosen, "", "has a name that is not UTF-8") from None
    return chosen


def _lists_to_tuples(content: dict[str, Any]) -> None:
    """YAML has lists where the models, which are immutable, have tuples."""
    for section, key in (
        (content, "doses"),
        (content, "arms"),
        (content.get("dose_response"), "quality_levels"),
    ):
        if isinstance(section, dict) and isinstance(section.get(key), list):
            section[key] = tuple(section[key])


def load_study(path: str | Path | None = None) -> Study:
    """Read and validate a study file.

    Args:
        path: the study file; see `study_path` for what stands in for ``None``.

    Raises:
        InputError: the file is missing, not YAML, or breaks a rule; the first broken rule is named
            by key, with how many more there are.
    """
    path = study_path(path)
    content = _resolve(path)
    _lists_to_tuples(content)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors()
        key = ".".join(str(part) for part in first["loc"])
        message = _WANTED.get(first["type"], first["msg"].removeprefix("Value error, "))
        if first["type"] not in ("missing", "value_error", "extra_forbidden"):
            message += f", got {first['input']!r}{_number_as_text(first['input'])}"
        if first["type"] == "extra_forbidden":
            message = f"unknown key{_near_key(first['loc'])}"
        also = list(dict.fromkeys(".".join(map(str, one["loc"])) for one in others))
        named = ", ".join(also[:NAMED]) + (f" and {len(also) - NAMED} more" * (len(also) > NAMED))
        more = f" (and also {named})" if also else ""
        raise InputError(path, key, message + more) from None


NAMED = 5
"""Keys that are named beside the first, where more than one breaks a rule."""
_WANTED = {
    "bool_type": "true or false is wanted",
    "tuple_type": "a list is wanted, such as [1, 2]",
    "dict_type": "a section is wanted: keys with their values",
    "model_type": "a section is wanted: keys with their values",
}
"""Pydantic's type of error -> what a person calls it who knows YAML and not Python's types."""


def _number_as_text(value: object) -> str:
    """Return a remark on what looks like a number and is text: in quotes, or written ``1_000``."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    plain: float = int(number) if number.is_integer() else number
    return f"; to YAML that is text: write {plain}"


def _near_key(location: tuple[int | str, ...]) -> str:
    """``; did you mean 'epochs'?`` for a key that no section has, where one is near."""
    section: type[BaseModel] = Study
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return ""  # in a view, whose name is the user's
        section = field.annotation
    return did_you_mean(str(location[-1]), section.model_fields)


def specimen_path(study: Study, path: str | Path | None = None) -> Path:
    """Where the study's specimen lies: a user's NPZ beside the study file, or a shipped one.

    Raises:
        InputError: ``specimen`` is neither a path ending in ``.npz`` nor the name of a shipped one,
            or a path that no file can have. Whether there is one is not asked.
    """
    if _is_path(study.specimen):
        file = study_path(path).resolve().parent / study.specimen
        try:
            file.exists()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                study_path(path), "specimen", f"{study.specimen!r}: {reason}"
            ) from None
        return file
    shipped = Path(__file__).parent / "specimens"
    names = sorted(file.stem for file in shipped.glob("*.npz"))
    if study.specimen not in names:
        raise InputError(
            study_path(path),
            "specimen",
            f"{study.specimen!r} is not one of {', '.join(names)} and no path of an .npz",
        )
    return shipped / f"{study.specimen}.npz"
