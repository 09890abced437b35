"""The study file, typed: what a study may say and which phase reads which part of it.

Every constant of the platform lives in the study file; the models here have no defaults. What does
not belong here: partitions (``partitions.py``), paths (``store.py``) and anything that computes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fly64_assets import arms as registry
from fly64_assets.errors import InputError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
STUDY_VARIABLE = "FLY64_STUDY"
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
MODELS = ("PtychoPINN", "Baseline", "PtyChi")
"""The published identifiers of the three arms (METRICS-NAMING-001), in report order. A study may
switch further arms on (``Study.arms``)."""

Positive = Annotated[int, Field(gt=0)]
PositiveNumber = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]*")


class _Section(BaseModel):
    """Strict, immutable and without defaults: an unknown, missing or mistyped key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Seeds(_Section):
    simulation: Annotated[int, Field(ge=0)]
    grouping: Annotated[int, Field(ge=0)]
    subsampling: Annotated[int, Field(ge=0)]


class SimulationSettings(_Section):
    positions: Positive
    margin_px: Annotated[float, Field(ge=0)]
    shift_padding_px: Annotated[int, Field(ge=0)]
    split_guard_px: Annotated[float, Field(ge=0)]


class ViewSettings(_Section):
    """A view aims at a target overlap between groups, or keeps a fraction of the images."""

    target_overlap: Annotated[float, Field(ge=0, lt=1)] | None = None
    image_fraction: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> ViewSettings:
        if (self.target_overlap is None) == (self.image_fraction is None):
            raise ValueError("a view gives either target_overlap or image_fraction")
        return self


class OverlapSettings(_Section):
    neighbor_count: Positive
    n_groups: Positive
    probe_diameter_px: PositiveNumber | Literal["auto"]
    probe_power_fraction: Fraction
    overlap_tolerance: Fraction
    min_groups: Annotated[int, Field(ge=2)]
    min_images: Annotated[int, Field(ge=2)]


class TrainingSettings(_Section):
    """What both networks share.

    Attributes:
        epochs, batch_size: a batch is ``batch_size`` losses (PtychoPINN) or images (Baseline).
        samples_per_epoch: losses or images in an epoch, whatever the number of groups.
        learning_rate, final_rate_fraction: Adam's, with cosine decay to the fraction.
        clip_norm: of the gradient.
        validation_fraction: of the train view, held out to choose the best epoch.
        width, depth: channels of a U-Net's first level, levels below it.
        frame_px: S, side of the frame that the network predicts.
        weight_averaging: momentum of the running mean of the weights that is kept.
        regularisation: of the back-projection, as a fraction of the brightest illumination.
    """

    epochs: Positive
    batch_size: Positive
    samples_per_epoch: Positive
    learning_rate: PositiveNumber
    final_rate_fraction: Annotated[float, Field(gt=0, le=1)]
    clip_norm: PositiveNumber
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    width: Annotated[int, Field(ge=4)]
    depth: Annotated[int, Field(ge=1)]
    frame_px: Positive
    weight_averaging: Fraction
    regularisation: PositiveNumber


class BaselineSettings(TrainingSettings):
    """The supervised network.

    Attributes:
        amplitude_limit: largest amplitude of the object.
        loss_smoothing: modulus below which the loss counts a difference by its square.
        new_exposures: part of the images shown whose true patch is turned and exposed anew.
    """

    amplitude_limit: PositiveNumber
    loss_smoothing: PositiveNumber
    new_exposures: Annotated[float, Field(ge=0, le=1)]


class FieldSettings(_Section):
    """How PtychoPINN estimates the object of a whole view before and between network passes.

    Attributes:
        rounds: network passes in a reconstruction; between two, the estimate is improved.
        first_steps: gradient steps from a constant object.
        further_steps: gradient steps between two passes.
        step: in units of the inverse curvature.
        momentum: of the steps.
        batch_size: patterns that one step looks at, about.
        first_smoothness_counts, further_smoothness_counts: weight, in counts, of the prior that the
            change be smooth, from a constant object and after a pass.
        spacing_px: least distance of the positions at which a pass predicts between two rounds.
        folds: estimates that the network is trained on, each without a part of the patterns.
        least_share, most_share: of the patterns that the first and the last of them sees.
    """

    rounds: Positive
    first_steps: Positive
    further_steps: Positive
    step: PositiveNumber
    momentum: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Positive
    first_smoothness_counts: Annotated[float, Field(ge=0)]
    further_smoothness_counts: Annotated[float, Field(ge=0)]
    spacing_px: PositiveNumber
    folds: Positive
    least_share: Fraction
    most_share: Fraction


class PtychoPINNSettings(TrainingSettings):
    """The physics-informed network.

    Attributes:
        loss_group_size: patterns that one prediction has to explain.
        loss_neighbours: nearest images that they are drawn from.
        loss_reach: how far from the group's first position a loss looks for them, as a fraction of
            the probe's diameter.
        misfit_floor_counts: counts per pixel below which a misfit is damped.
        loss_floor_counts: counts per pixel added to the expectation in the loss.
        field: see `FieldSettings`.
    """

    loss_group_size: Positive
    loss_neighbours: Positive
    loss_reach: PositiveNumber
    misfit_floor_counts: PositiveNumber
    loss_floor_counts: PositiveNumber
    field: FieldSettings

    @model_validator(mode="after")
    def _enough_neighbours(self) -> PtychoPINNSettings:
        if self.loss_neighbours < self.loss_group_size - 1:
            raise ValueError(
                f"loss_neighbours is {self.loss_neighbours}; a loss group of "
                f"{self.loss_group_size} patches needs at least {self.loss_group_size - 1}"
            )
        return self


class IterativeSettings(_Section):
    """What iterative solvers have in common. Nothing here depends on the truth.

    Attributes:
        epochs_per_chunk: progress is reported after each chunk.
        batch_fraction: of the view's images in one mini-batch.
        refine_probe: whether the probe is optimised together with the object.
        refine_from: the part of the epochs after which a probe that is refined begins to move. From
            the first on, when the object is still 1, it takes up the object's scattering.
        total_variation: weight of the total-variation step after each epoch times the photons per
            pixel that the object received, so that one value fits all doses and overlaps; 0 leaves
            the step out.
    """

    epochs: Annotated[int, Field(gt=0, le=100)]
    epochs_per_chunk: Positive
    batch_fraction: Annotated[float, Field(gt=0, le=1)]
    batching: Literal["UNIFORM", "RANDOM", "COMPACT"]
    refine_probe: bool
    refine_from: Annotated[float, Field(ge=0, le=1)]
    total_variation: Annotated[float, Field(ge=0)]


class PtyChiSettings(IterativeSettings):
    """The published iterative solver, pty-chi's LSQML.

    Attributes:
        damping: of the object's preconditioner, as a fraction of its largest value: the larger, the
            less a weakly illuminated pixel moves.
    """

    engine: Literal["LSQML"]
    noise_model: Literal["POISSON", "GAUSSIAN"]
    damping: PositiveNumber


class EpieSettings(IterativeSettings):
    """The extended ptychographic iterative engine (ePIE), of pty-chi too.

    Attributes:
        object_step, probe_step: alpha of the object's and the probe's update. The updates of a
            mini-batch are added up, so that the more its images overlap, the smaller they must be.
    """

    engine: Literal["EPIE"]
    object_step: Annotated[float, Field(gt=0, le=2)]
    probe_step: Annotated[float, Field(gt=0, le=2)]


class ScoringSettings(_Section):
    ms_ssim_sigma_px: Annotated[float, Field(ge=0)]
    frc_threshold: Fraction
    stitch_crop_px: Positive
    max_shift_px: PositiveNumber
    reference_ms_ssim: bool


class StatisticsSettings(_Section):
    """How sure a score is said to be.

    Attributes:
        block_px: side of the square blocks that the scored area is resampled in; errors nearer to
            each other than this count as one.
        resamples: how many times the area is put together anew from such blocks.
        confidence: of the intervals.
    """

    block_px: Positive
    resamples: Annotated[int, Field(ge=100)]
    confidence: Fraction


class DoseResponseSettings(_Section):
    """What is asked of the study as a whole.

    Attributes:
        quality_levels: MS-SSIM whose dose is asked for.
    """

    quality_levels: tuple[Fraction, ...]


class AutomationSettings(_Section):
    """What is done while nobody looks (``docs/automation.md``).

    Attributes:
        cron: when the nightly completion of the study begins, in UTC.
        tries: of one partition in one night. Only a run whose process ended from outside is tried
            again; one that failed by itself would fail again.
    """

    cron: str
    tries: Positive


class Study(_Section):
    """One study: the matrix of doses and views, and every setting of every phase."""

    schema_version: Literal[1]
    name: str
    specimen: str
    arms: tuple[str, ...]
    doses: Annotated[tuple[Positive, ...], Field(min_length=1)]
    views: Annotated[dict[str, ViewSettings], Field(min_length=1)]
    seeds: Seeds
    patch_size: Positive
    gridsize: Literal[1, 2]
    threads: Positive
    device: Literal["auto", "cpu", "gpu"]
    simulation: SimulationSettings
    overlap: OverlapSettings
    ptychopinn: PtychoPINNSettings
    baseline: BaselineSettings
    ptychi: PtyChiSettings
    epie: EpieSettings
    scoring: ScoringSettings
    statistics: StatisticsSettings
    dose_response: DoseResponseSettings
    replicates: Annotated[int, Field(ge=1, le=20)]
    automation: AutomationSettings

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        for name in (self.name, *self.views):
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"name {name!r}: lower-case letters, digits, '-' and '_' only")
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
            if frame % 2 or frame > self.patch_size:
                raise ValueError(
                    f"{name}.frame_px: {frame} is not even and at most N = {self.patch_size}"
                )
        if self.scoring.stitch_crop_px > self.patch_size:
            raise ValueError(
                f"scoring.stitch_crop_px: M = {self.scoring.stitch_crop_px} is larger than "
                f"N = {self.patch_size}"
            )
        return self

    def _require_arms(self) -> None:
        known = ", ".join(registry.NAMES)
        for name in self.arms:
            if name not in registry.NAMES:
                raise ValueError(f"arms: {name!r} is none of {known}")
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


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys; in a study file that hides a mistake."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} appears twice", node.start_mark
            )
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), _UniqueKeyLoader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(path, "", f"cannot be read as a study file: {reason}") from None
    except yaml.YAMLError as error:
        raise InputError(path, "", f"is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(path, "", "holds no mapping; a study file is a YAML mapping")
    return content


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``change`` over ``base``, section by section. Views and lists replace, they do not merge."""
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict) and key != "views"
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def _resolve(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise InputError(path, "extends", "extends itself")
    content = _read_yaml(path)
    if "extends" not in content:
        return content
    parent = content.pop("extends")
    if not isinstance(parent, str):
        raise InputError(path, "extends", f"{parent!r} is not the path of a study file")
    if "name" not in content:
        raise InputError(path, "name", "missing; a study that extends another has its own name")
    base = _resolve(path.parent / parent, (*seen, path))
    if isinstance(base.get("specimen"), str) and _is_path(base["specimen"]):
        base["specimen"] = os.path.relpath(
            (path.parent / parent).parent / base["specimen"], path.parent
        )
    return _merge(base, content)


def _is_path(specimen: str) -> bool:
    return specimen.endswith(".npz")


def study_path(path: str | Path | None = None) -> Path:
    """The study file: ``path``, else ``$FLY64_STUDY``, else the project's ``study.yaml``."""
    chosen = path or os.environ.get(STUDY_VARIABLE)
    return Path(chosen) if chosen else PROJECT_ROOT / "study.yaml"


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
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] not in ("missing", "value_error", "extra_forbidden"):
            message += f", got {first['input']!r}"
        if first["type"] == "extra_forbidden":
            message = "unknown key"
        more = f" (and {len(others)} more)" if others else ""
        raise InputError(path, key, message + more) from None


def specimen_path(study: Study, path: str | Path | None = None) -> Path:
    """Where the study's specimen lies: a user's NPZ beside the study file, or a shipped one.

    Raises:
        InputError: ``specimen`` is neither a path ending in ``.npz`` nor the name of a shipped one.
    """
    if _is_path(study.specimen):
        return study_path(path).resolve().parent / study.specimen
    shipped = Path(__file__).parent / "specimens"
    found = shipped / f"{study.specimen}.npz"
    if not found.is_file():
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.npz")))
        raise InputError(
            study_path(path),
            "specimen",
            f"{study.specimen!r} is not one of {names} and no path of an .npz",
        )
    return found
