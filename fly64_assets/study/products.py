"""The catalogue: what each asset is, what it is made from, what it reads and where it lies.

One row a product. Definitions, input loading, planning and the command line all read this table, so
they cannot disagree. The products of every registered arm are in it; which of them a study has,
`products_in` and `inputs_in` say. Nothing here computes, and nothing here touches a file or a
Dagster instance.

The store mirrors the published hub, so paths inside the files of a condition hold in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from fly64_assets.study.arms import ARMS, ITERATIVE, NETWORKS
from fly64_assets.study.code_versions import code_version
from fly64_assets.study.conditions import Condition, Per
from fly64_assets.study.model import SPLITS, Study
from fly64_assets.study.relations import FORMATS, RELATIONS

Key = tuple[str, ...]
Stage = Literal["score", "report", "study"]


@dataclass(frozen=True)
class Level:
    """Products that one Dagster run can make together: of one partitioning, in one stage."""

    per: Per
    stage: Stage

    @property
    def products(self) -> tuple[Product, ...]:
        """Of all arms."""
        return tuple(p for p in PRODUCTS if p.per == self.per and p.stage == self.stage)

    def products_in(self, study: Study) -> tuple[Product, ...]:
        return _of_arms(self.products, study)


LEVELS = (
    Level("study", "score"),
    Level("dose", "score"),
    Level("condition", "score"),
    Level("condition", "report"),
)
"""What a condition needs, in the order in which it is made."""
STUDY_LEVEL = Level("study", "study")
"""What is made of all conditions that are fresh, after them."""
ALL_LEVELS = (*LEVELS, STUDY_LEVEL)
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Product:
    """One asset.

    Attributes:
        key: asset key; the split, where there is one, is its first part.
        group: Dagster group; groups sort in the order of the phases.
        per: what it is partitioned by.
        inputs: keys of the products it is made from; of those of arms, see `inputs_in`.
        folder: where its files lie, relative to the store; ``{dose}`` and ``{view}`` are filled in.
        files: every file name it may own in that folder.
        reads: its settings: name -> where in the study file the value stands (``seeds.grouping``;
            ``{view}`` is filled in), or ``dose`` or ``view`` of the condition; a value that is not
            text is itself.
        modules: where its code version starts.
        blocking_checks: asset checks without whose pass nothing may consume it.
        advisory_checks: asset checks that a reader needs but that stop nothing downstream.
        libraries: distributions that decide its numbers.
        stage: ``score`` for what leads to the scores; ``report`` for what is written about them, in
            a run of its own that may fail without taking a scored run with it; ``study`` for
            what is made of all conditions.
        depends_on_bytes: it repeats bytes, times or hashes of its inputs' files, so it is stale
            when they are other files, and not only when they hold other data.
        depends_on_checks: it reports the state of its inputs' asset checks, so it is stale when
            one changes; it consumes nothing of them, so they may be whatever they are.
        collects: keys of the products of every condition that it is made from, as far as they are
            fresh: a study is reported on before it is complete, and again when it is. Of those of
            arms, see `collects_in`.
        depends_on_status: it tells how every condition stands, finished or not, and what the
            checks say, so it is stale when that changes.
        arm: name of the arm that it is the model or the reconstruction of; None for what every
            study has.
        invalidates: products that must not outlive a new one of these: their files are removed when
            it is written, and not left behind for somebody to read.
    """

    key: Key
    group: str
    per: Per
    inputs: tuple[Key, ...]
    folder: str
    files: tuple[str, ...]
    reads: Mapping[str, str | int] = field(hash=False)
    modules: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    blocking_checks: tuple[str, ...] = ()
    advisory_checks: tuple[str, ...] = ()
    stage: Stage = "score"
    depends_on_bytes: bool = False
    depends_on_checks: bool = False
    collects: tuple[Key, ...] = ()
    depends_on_status: bool = False
    arm: str | None = None
    invalidates: tuple[Key, ...] = ()

    @property
    def name(self) -> str:
        return "/".join(self.key)

    @property
    def split(self) -> str | None:
        return self.key[0] if self.key[0] in SPLITS else None

    @property
    def checks(self) -> tuple[str, ...]:
        """All its asset checks, those that block first."""
        return (*self.blocking_checks, *self.advisory_checks)

    @cached_property
    def code_version(self) -> str:
        return code_version(self.modules, self.libraries, self.files)

    def folder_of(self, condition: Condition) -> str:
        """Folder relative to the store, POSIX."""
        return self.folder.format(dose=condition.dose, view=condition.view)

    def settings(self, study: Study, condition: Condition) -> Settings:
        """Return the part of the study that it reads, for its fingerprint and for its body."""
        return {name: _setting(place, study, condition) for name, place in self.reads.items()}


def _setting(place: str | int, study: Study, condition: Condition) -> Any:
    if not isinstance(place, str):
        return place
    if place in ("dose", "view"):
        return getattr(condition, place)
    if place == "":
        return study.model_dump(mode="json")
    value: Any = study
    for name in place.format(view=condition.view).split("."):
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    if isinstance(value, BaseModel):
        return value.model_dump()
    return list(value) if isinstance(value, tuple) else value


def _same(*names: str) -> dict[str, str | int]:
    """Return settings that are called as in the study file."""
    return {name: name for name in names}


FILES = "files"
"""The check that comes first: every byte is as it was written, or no other check is evaluated."""
ADVISORY = "times_and_paths drift"
"""Checks of what is computed: neither makes a score wrong."""
PHASES = {
    "c_datasets": "c",
    "d_views": "d",
    "e_models": "e",
    "f_reconstructions": "f",
    "g_comparison": "g",
}
"""Groups of scored products whose steps leave a log, with the letter of their phase."""
STAGES: Mapping[str, Stage] = {"g_reports": "report", "h_study": "study"}
"""Stage of a group; that of any other is ``score``."""
_ASSETS = "fly64_assets.pipeline.assets"
_ANALYSIS = "analysis/dose_{dose}/{view}"
_SOLVING = _same("threads", "device")
_CONDITION = _same("dose", "view")


def log_file(item: Product) -> str:
    """Return the name of the log of the step that makes a scored product: ``phase_f_....log``."""
    return f"phase_{PHASES[item.group]}_{'_'.join(item.key)}.log"


def _row(
    key: str,
    group: str,
    folder: str,
    files: str,
    *,
    inputs: Iterable[Key] = (),
    reads: Mapping[str, str | int] = _CONDITION,
    modules: Iterable[str],
    libraries: str = "",
    blocking: str = "",
    advisory: str = "",
    **more: Any,
) -> Product:
    """Make a product from words, parted by blanks; the first module is one of the assets'.

    The folder says what it is partitioned by, the group in which stage it is made, and what has
    checks is checked for its bytes first.
    """
    first, *further = modules
    return Product(
        key=tuple(key.split("/")),
        group=group,
        per="condition" if "{view}" in folder else "dose" if "{dose}" in folder else "study",
        inputs=tuple(inputs),
        folder=folder,
        files=tuple(files.split()),
        reads=reads,
        modules=(f"{_ASSETS}.{first}", *further),
        libraries=tuple(libraries.split()),
        blocking_checks=(FILES, *blocking.split()) if blocking or advisory else (),
        advisory_checks=tuple(advisory.split()),
        stage=STAGES.get(group, "score"),
        **more,
    )


def _of_both(*names: str) -> tuple[Key, ...]:
    """Keys of products that each half has."""
    return tuple((split, name) for name in names for split in SPLITS)


SPECIMEN = _row(
    "specimen",
    "b_specimen",
    "data/specimen",
    "specimen.npz",
    reads=_same("specimen", "patch_size"),
    modules=["specimen"],
)
DATASETS = tuple(
    _row(
        f"{split}/dataset",
        "c_datasets",
        "data/phase_c/dose_{dose}",
        f"patched_{split}.npz",
        inputs=[("specimen",)],
        reads={
            **_same("dose", "patch_size"),
            "seed": "seeds.simulation",
            "simulation": "simulation",
            "probe_diameter_px": "overlap.probe_diameter_px",
            "probe_power_fraction": "overlap.probe_power_fraction",
        },
        modules=["datasets"],
        libraries="numpy scipy",
        blocking="data001 mean_dose poisson_noise axis_order split_separation effective_settings "
        "provenance",
        advisory=ADVISORY,
    )
    for split in SPLITS
)
VIEWS = tuple(
    _row(
        f"{split}/overlap_view",
        "d_views",
        "data/phase_d/dose_{dose}/{view}",
        f"{split}.npz {split}_metrics.json",
        inputs=[(split, "dataset")],
        reads={"view": "views.{view}", **_same("overlap", "gridsize", "seeds")},
        modules=["overlap_views"],
        libraries="numpy scipy",
        blocking="data001 feasibility counts effective_settings provenance",
        advisory=ADVISORY,
    )
    for split in SPLITS
)
_TRAINING: Mapping[str, Mapping[str, str | int]] = {
    network.name: {
        network.section: network.section,
        "gridsize": network.gridsize or "gridsize",
        "seed": "seeds.grouping",
        **_SOLVING,
    }
    for network in NETWORKS
}
MODELS = tuple(
    _row(
        "/".join(network.model_key),
        "e_models",
        f"data/phase_e/dose_{{dose}}/{{view}}/{network.name}",
        "model.keras bundle.json history.csv",
        inputs=[("train", "overlap_view")],
        reads=_TRAINING[network.name],
        modules=["models", network.module_name, "fly64_assets.solvers.model_bundle"],
        libraries="tensorflow keras",
        blocking="bundle loss trained_on counts effective_settings provenance",
        advisory=f"loss_improved {ADVISORY}",
        arm=network.name,
    )
    for network in NETWORKS
)
REPLICATES = tuple(
    _row(
        "/".join(network.replicates_key),
        "e_models",
        f"data/phase_e/dose_{{dose}}/{{view}}/{network.name}",
        "replicates.npz",
        inputs=_of_both("overlap_view"),
        reads={
            **_TRAINING[network.name],
            "replicates": "replicates",
            "stitch_crop_px": "scoring.stitch_crop_px",
        },
        modules=["replicates", network.module_name],
        libraries="tensorflow keras scipy",
        blocking="trainings effective_settings provenance",
        advisory=ADVISORY,
        arm=network.name,
    )
    for network in NETWORKS
)
RECONSTRUCTIONS = tuple(
    _row(
        "/".join(arm.key(split)),
        "f_reconstructions",
        f"data/phase_f/dose_{{dose}}/{{view}}/{split}",
        f"{arm.file} {arm.history}",
        inputs=[(split, "overlap_view")],
        reads={arm.section: arm.section, "seed": "seeds.grouping", **_SOLVING},
        modules=["reconstructions", arm.module_name],
        libraries="ptychi torch",
        blocking="reconstruction loss effective_settings provenance",
        advisory=ADVISORY,
        arm=arm.name,
    )
    for arm in ITERATIVE
    for split in SPLITS
)
COMPARISONS = tuple(
    _row(
        f"{split}/comparison",
        "g_comparison",
        f"{_ANALYSIS}/{split}",
        "comparison_metrics.csv comparison.log comparison_plot.png reconstructions.npz "
        "reconstructions_aligned.npz scoring.json "
        + " ".join(f"{arm.name}_frc_curve.csv" for arm in ARMS),
        inputs=[
            *(network.model_key for network in NETWORKS),
            (split, "overlap_view"),
            *(arm.key(split) for arm in ITERATIVE),
        ],
        reads={**_same("arms", "scoring"), "seed": "seeds.grouping", **_SOLVING},
        modules=[
            "comparisons",
            # Off or on: a change of one that is off costs a comparison, never a score.
            *(network.module_name for network in NETWORKS),
            "fly64_assets.solvers.model_bundle",
        ],
        libraries="tensorflow scikit-image scipy",
        # Not blocking: a comparison that failed is a recorded failure, and the manifest must
        # still be written to say so. The manifest's own check then stops the rest.
        advisory="reconstructions effective_settings provenance registration ms_ssim_terms "
        f"contrast {ADVISORY}",
    )
    for split in SPLITS
)
SUMMARIES = (
    _row(
        "comparison_manifest",
        "g_comparison",
        _ANALYSIS,
        "comparison_manifest.json",
        inputs=_of_both("comparison"),
        reads={**_CONDITION, "ms_ssim_sigma_px": "scoring.ms_ssim_sigma_px"},
        modules=["summaries"],
        blocking="completeness invariant input_identity counts scores",
        advisory="times_and_paths",
        invalidates=(("metrics_delta_summary",),),
    ),
    _row(
        "comparison_statistics",
        "g_comparison",
        _ANALYSIS,
        "comparison_statistics.csv",
        # The manifest says that both comparisons succeeded, and its checks that they are right.
        inputs=[
            ("comparison_manifest",),
            *_of_both("comparison"),
            *(network.replicates_key for network in NETWORKS),
        ],
        reads={
            **_same("arms", "statistics", "scoring", "replicates"),
            "seed": "seeds.subsampling",
        },
        modules=["comparison_statistics"],
        libraries="numpy scipy scikit-image",
        blocking="scores intervals",
        advisory="contrast times_and_paths",
    ),
    _row(
        "metrics_summary",
        "g_comparison",
        _ANALYSIS,
        "metrics_summary.json",
        inputs=[("comparison_manifest",), *_of_both("comparison", "overlap_view", "dataset")],
        modules=["summaries"],
        blocking="recomputed counts",
        advisory="times_and_paths",
        depends_on_bytes=True,
        invalidates=(("metrics_delta_summary",),),
    ),
    _row(
        "metrics_delta_summary",
        "g_comparison",
        _ANALYSIS,
        "metrics_delta_summary.json",
        inputs=[("metrics_summary",), ("comparison_statistics",)],
        reads={**_CONDITION, "confidence": "statistics.confidence"},
        modules=["summaries"],
        blocking="recomputed source_hash intervals",
        advisory="times_and_paths",
        depends_on_bytes=True,
    ),
)
SCORED = (
    SPECIMEN,
    *DATASETS,
    *VIEWS,
    *MODELS,
    *REPLICATES,
    *RECONSTRUCTIONS,
    *COMPARISONS,
    *SUMMARIES,
)


def _report(key: str, inputs: Iterable[Product], files: str, **more: Any) -> Product:
    """Make a row of what is written about a finished condition, in words as of `_row`."""
    row: dict[str, Any] = {"folder": _ANALYSIS, "modules": [key], "depends_on_bytes": True, **more}
    return _row(key, "g_reports", files=files, inputs=[item.key for item in inputs], **row)


HEATMAPS = tuple(
    _report(
        f"{comparison.split}/heatmaps",
        [comparison],
        "ms_ssim_heatmap.png correlation_heatmap.png",
        folder=comparison.folder,
        reads={
            **_CONDITION,
            "arms": "arms",
            "ms_ssim_sigma_px": "scoring.ms_ssim_sigma_px",
        },
        modules=["heatmaps", "fly64_assets.reports.figures.comparison"],
        libraries="matplotlib",
    )
    for comparison in COMPARISONS
)
_IN_PHASES = [item for item in SCORED if item.group in PHASES]
_SOLVED = [item for item in _IN_PHASES if item.group != "g_comparison"]
TEXTS = (
    _report(
        "phase_manifests",
        _SOLVED,
        "run_manifest.json metrics_bundle.json training_manifest.json reconstruction_manifest.json",
    ),
    _report(
        "phase_logs",
        _IN_PHASES,
        " ".join(map(log_file, _IN_PHASES)),
        folder="cli/dose_{dose}/{view}",
    ),
    _report(
        "metrics_report",
        [*VIEWS, *COMPARISONS, *SUMMARIES],
        "comparison_summary.txt metrics_summary.md metrics_delta_highlights.txt "
        "metrics_delta_highlights_preview.txt aggregate_report.md aggregate_highlights.txt "
        "metrics_digest.md ssim_grid_summary.md",
        libraries="jinja2",
    ),
    _report(
        "check_report",
        _IN_PHASES,
        "check_report.md check_report.json",
        libraries="jinja2",
        depends_on_checks=True,
    ),
)
INDEX = _report(
    "hub_summary",
    [*SCORED[1:], *HEATMAPS, *TEXTS],
    "summary.md artifact_inventory.txt",
    libraries="jinja2",
)

_TABLES = ("fly64_assets.reports.study_tables", "fly64_assets.study.relations")
_CURVES = ("fly64_assets.reports.figures.study", *_TABLES)
_COLLECTED = (
    ("metrics_summary",),
    ("comparison_statistics",),
    *_of_both("overlap_view"),
)
OF_THE_STUDY = (
    _row(
        "study_metrics",
        "h_study",
        "study",
        "study_metrics.csv study_metrics.parquet",
        reads={"study": "name"},
        modules=["study_metrics"],
        libraries="pandas pyarrow",
        blocking="rows",
        advisory="times_and_paths",
        collects=_COLLECTED,
    ),
    _row(
        "dose_response",
        "h_study",
        "study",
        "dose_response.md dose_for_quality.csv "
        + " ".join(f"{relation.name}.{kind}" for relation in RELATIONS for kind in FORMATS),
        inputs=[("study_metrics",)],
        reads={
            "study": "name",
            "quality_levels": "dose_response.quality_levels",
            "confidence": "statistics.confidence",
        },
        modules=["dose_response", *_CURVES],
        libraries="pandas matplotlib",
        advisory="times_and_paths",
        depends_on_bytes=True,
    ),
    _row(
        "study_report",
        "h_study",
        "study",
        "study_report.html",
        inputs=[("study_metrics",), ("dose_response",)],
        reads={"study": ""},
        modules=["study_report", *_CURVES],
        libraries="matplotlib pillow jinja2",
        advisory="report_is_whole",
        collects=(
            *_COLLECTED,
            *_of_both("comparison"),
            # What each arm cost.
            *(network.model_key for network in NETWORKS),
            *(arm.key(split) for arm in ITERATIVE for split in SPLITS),
        ),
        depends_on_bytes=True,
        depends_on_status=True,
    ),
)

PRODUCTS: tuple[Product, ...] = (*SCORED, *HEATMAPS, *TEXTS, INDEX, *OF_THE_STUDY)
"""Every product of every registered arm, each after its inputs."""

BY_KEY: Mapping[Key, Product] = {product.key: product for product in PRODUCTS}


def _of_arms(items: Iterable[Product], study: Study) -> tuple[Product, ...]:
    """Those of a study's arms, and those that every study has."""
    return tuple(item for item in items if item.arm is None or item.arm in study.arms)


def products_in(study: Study) -> tuple[Product, ...]:
    """Return the products of a study: those of its arms, and those that every study has."""
    return _of_arms(PRODUCTS, study)


def inputs_in(item: Product, study: Study) -> tuple[Key, ...]:
    """Return what a product is made from in a study."""
    return tuple(each.key for each in _of_arms(map(BY_KEY.__getitem__, item.inputs), study))


def collects_in(item: Product, study: Study) -> tuple[Key, ...]:
    """Return what a product is made from, of every condition of a study."""
    return tuple(each.key for each in _of_arms(map(BY_KEY.__getitem__, item.collects), study))


def files_in(item: Product, study: Study) -> tuple[str, ...]:
    """Return the names of a product's files in a study, without those of arms that are off."""
    off = {f"{arm.name}_frc_curve.csv" for arm in ARMS if arm.name not in study.arms}
    off |= {log_file(each) for each in PRODUCTS if each.arm and each.arm not in study.arms}
    return tuple(name for name in item.files if name not in off)


def product(*key: str) -> Product:
    return BY_KEY[key]
