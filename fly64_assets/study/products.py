"""The catalogue: what each asset is, what it is made from, what it reads and where it lies.

One row a product. Definitions, input loading, planning and the command line all read this table, so
they cannot disagree. The products of every registered arm are in it; which of them a study has,
`products_in` and `inputs_in` say. Nothing here computes, and nothing here touches a file or a
Dagster instance.

The store mirrors the published hub, so paths inside the files of a condition hold in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from fly64_assets.study.arms import ARMS, ITERATIVE, NETWORKS, Iterative, Network
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
        return tuple(p for p in self.products if p.arm is None or p.arm in study.arms)


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
        settings: the part of the study that it reads, for its fingerprint and for its body.
        modules: where its code version starts.
        blocking_checks: asset checks without whose pass nothing may consume it.
        advisory_checks: asset checks that a reader needs but that stop nothing downstream.
        libraries: distributions that decide its numbers.
        stage: ``score`` for what leads to the scores; ``report`` for what is written about them, in
            a run of its own that may fail without taking a scored run with it; ``study`` for
            what is made of all conditions.
        quotes_files: it repeats bytes, times or hashes of its inputs' files, so it is stale when
            they are other files, and not only when they hold other data.
        reads_checks: it reports the state of its inputs' asset checks, so it is stale when one
            changes; it consumes nothing of them, so they may be whatever they are.
        gathers: keys of the products of every condition that it is made from, as far as they are
            fresh: a study is reported on before it is complete, and again when it is. Of those of
            arms, see `gathers_in`.
        surveys: it tells how every condition stands, finished or not, and what the checks say, so
            it is stale when that changes.
        arm: name of the arm that it is the model or the reconstruction of; None for what every
            study has.
        supersedes: products that must not outlive a new one of these: their files are removed when
            it is written, and not left behind for somebody to read.
    """

    key: Key
    group: str
    per: Per
    inputs: tuple[Key, ...]
    folder: str
    files: tuple[str, ...]
    settings: Callable[[Study, Condition], Settings]
    modules: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    blocking_checks: tuple[str, ...] = ()
    advisory_checks: tuple[str, ...] = ()
    stage: Stage = "score"
    quotes_files: bool = False
    reads_checks: bool = False
    gathers: tuple[Key, ...] = ()
    surveys: bool = False
    arm: str | None = None
    supersedes: tuple[Key, ...] = ()

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


def _specimen(study: Study, _: Condition) -> Settings:
    return {"specimen": study.specimen, "patch_size": study.patch_size}


def _simulation(study: Study, condition: Condition) -> Settings:
    return {
        "dose": condition.dose,
        "patch_size": study.patch_size,
        "seed": study.seeds.simulation,
        "simulation": study.simulation.model_dump(),
        **_probe_diameter(study),
    }


def _probe_diameter(study: Study) -> Settings:
    return {
        "probe_diameter_px": study.overlap.probe_diameter_px,
        "probe_power_fraction": study.overlap.probe_power_fraction,
    }


def _view(study: Study, condition: Condition) -> Settings:
    return {
        "view": study.views[str(condition.view)].model_dump(),
        "overlap": study.overlap.model_dump(),
        "gridsize": study.gridsize,
        "seeds": study.seeds.model_dump(),
    }


def _network(network: Network) -> Callable[[Study, Condition], Settings]:
    def settings(study: Study, _: Condition) -> Settings:
        return {
            network.section: getattr(study, network.section).model_dump(),
            "gridsize": network.gridsize_in(study.gridsize),
            "seed": study.seeds.grouping,
            "threads": study.threads,
            "device": study.device,
        }

    return settings


def _iterative(arm: Iterative) -> Callable[[Study, Condition], Settings]:
    def settings(study: Study, _: Condition) -> Settings:
        return {
            arm.section: getattr(study, arm.section).model_dump(),
            "seed": study.seeds.grouping,
            "threads": study.threads,
            "device": study.device,
        }

    return settings


def _scoring(study: Study, _: Condition) -> Settings:
    return {
        "arms": list(study.arms),
        "scoring": study.scoring.model_dump(),
        "seed": study.seeds.grouping,
        "threads": study.threads,
        "device": study.device,
    }


def _replicates(network: Network) -> Callable[[Study, Condition], Settings]:
    trained = _network(network)

    def settings(study: Study, condition: Condition) -> Settings:
        return {
            **trained(study, condition),
            "replicates": study.replicates,
            "stitch_crop_px": study.scoring.stitch_crop_px,
        }

    return settings


def _statistics(study: Study, _: Condition) -> Settings:
    return {
        "arms": list(study.arms),
        "statistics": study.statistics.model_dump(),
        "scoring": study.scoring.model_dump(),
        "replicates": study.replicates,
        "seed": study.seeds.subsampling,
    }


def _manifest(study: Study, condition: Condition) -> Settings:
    return {
        "dose": condition.dose,
        "view": condition.view,
        "ms_ssim_sigma_px": study.scoring.ms_ssim_sigma_px,
    }


def _condition_only(_: Study, condition: Condition) -> Settings:
    return {"dose": condition.dose, "view": condition.view}


def _deltas(study: Study, condition: Condition) -> Settings:
    return {**_condition_only(study, condition), "confidence": study.statistics.confidence}


def _study_metrics(study: Study, _: Condition) -> Settings:
    return {"study": study.name}


def _dose_response(study: Study, _: Condition) -> Settings:
    return {
        "study": study.name,
        "quality_levels": list(study.dose_response.quality_levels),
        "confidence": study.statistics.confidence,
    }


def _study_report(study: Study, _: Condition) -> Settings:
    return {"study": study.model_dump(mode="json")}


def _heatmaps(study: Study, condition: Condition) -> Settings:
    return {
        **_condition_only(study, condition),
        "arms": list(study.arms),
        "ms_ssim_sigma_px": study.scoring.ms_ssim_sigma_px,
    }


FILES = "files"
"""The check that comes first: every byte is as it was written, or no other check is evaluated."""
ADVISORY = ("times_and_paths", "drift")
"""Checks of what is computed: neither makes a score wrong."""


def _summary(module: str, *advisory: str) -> dict[str, Any]:
    """Return what the products about both splits of a condition have in common."""
    return {
        "group": "g_comparison",
        "per": "condition",
        "folder": "analysis/dose_{dose}/{view}",
        "modules": (f"fly64_assets.pipeline.assets.{module}",),
        "advisory_checks": (*advisory, "times_and_paths"),
    }


def _build() -> tuple[Product, ...]:
    assets, solvers = "fly64_assets.pipeline.assets", "fly64_assets.solvers"
    specimen = Product(
        key=("specimen",),
        group="b_specimen",
        per="study",
        inputs=(),
        folder="data/specimen",
        files=("specimen.npz",),
        settings=_specimen,
        modules=(f"{assets}.specimen",),
    )
    datasets = [
        Product(
            key=(split, "dataset"),
            group="c_datasets",
            per="dose",
            inputs=(("specimen",),),
            folder="data/phase_c/dose_{dose}",
            files=(f"patched_{split}.npz",),
            settings=_simulation,
            modules=(f"{assets}.datasets",),
            libraries=("numpy", "scipy"),
            blocking_checks=(
                "data001",
                "mean_dose",
                "poisson_noise",
                "axis_order",
                "split_separation",
                "effective_settings",
                "provenance",
            ),
            advisory_checks=ADVISORY,
        )
        for split in SPLITS
    ]
    views = [
        Product(
            key=(split, "overlap_view"),
            group="d_views",
            per="condition",
            inputs=((split, "dataset"),),
            folder="data/phase_d/dose_{dose}/{view}",
            files=(f"{split}.npz", f"{split}_metrics.json"),
            settings=_view,
            modules=(f"{assets}.overlap_views",),
            libraries=("numpy", "scipy"),
            blocking_checks=(
                "data001",
                "feasibility",
                "counts",
                "effective_settings",
                "provenance",
            ),
            advisory_checks=ADVISORY,
        )
        for split in SPLITS
    ]
    models = [
        Product(
            key=network.model_key,
            group="e_models",
            per="condition",
            inputs=(("train", "overlap_view"),),
            folder=f"data/phase_e/dose_{{dose}}/{{view}}/{network.name}",
            files=("model.keras", "bundle.json", "history.csv"),
            settings=_network(network),
            modules=(f"{assets}.models", network.module_name, f"{solvers}.model_bundle"),
            libraries=("tensorflow", "keras"),
            blocking_checks=(
                "bundle",
                "loss",
                "trained_on",
                "counts",
                "effective_settings",
                "provenance",
            ),
            advisory_checks=("loss_improved", *ADVISORY),
            arm=network.name,
        )
        for network in NETWORKS
    ]
    replicates = [
        Product(
            key=network.replicates_key,
            group="e_models",
            per="condition",
            inputs=tuple((split, "overlap_view") for split in SPLITS),
            folder=f"data/phase_e/dose_{{dose}}/{{view}}/{network.name}",
            files=("replicates.npz",),
            settings=_replicates(network),
            modules=(f"{assets}.replicates", network.module_name),
            libraries=("tensorflow", "keras", "scipy"),
            blocking_checks=("trainings", "effective_settings", "provenance"),
            advisory_checks=ADVISORY,
            arm=network.name,
        )
        for network in NETWORKS
    ]
    reconstructions = [
        Product(
            key=arm.key(split),
            group="f_reconstructions",
            per="condition",
            inputs=((split, "overlap_view"),),
            folder=f"data/phase_f/dose_{{dose}}/{{view}}/{split}",
            files=(arm.file, arm.history),
            settings=_iterative(arm),
            modules=(f"{assets}.reconstructions", arm.module_name),
            libraries=("ptychi", "torch"),
            blocking_checks=("reconstruction", "loss", "effective_settings", "provenance"),
            advisory_checks=ADVISORY,
            arm=arm.name,
        )
        for arm in ITERATIVE
        for split in SPLITS
    ]
    comparisons = [
        Product(
            key=(split, "comparison"),
            group="g_comparison",
            per="condition",
            inputs=(
                *(network.model_key for network in NETWORKS),
                (split, "overlap_view"),
                *(arm.key(split) for arm in ITERATIVE),
            ),
            folder=f"analysis/dose_{{dose}}/{{view}}/{split}",
            files=(
                "comparison_metrics.csv",
                "comparison.log",
                "comparison_plot.png",
                "reconstructions.npz",
                "reconstructions_aligned.npz",
                "scoring.json",
                *(f"{arm.name}_frc_curve.csv" for arm in ARMS),
            ),
            settings=_scoring,
            modules=(
                f"{assets}.comparisons",
                # Off or on: a change of one that is off costs a comparison, never a score.
                *(network.module_name for network in NETWORKS),
                f"{solvers}.model_bundle",
            ),
            libraries=("tensorflow", "scikit-image", "scipy"),
            # Not blocking: a comparison that failed is a recorded failure, and the manifest must
            # still be written to say so. The manifest's own check then stops the rest.
            advisory_checks=(
                "reconstructions",
                "effective_settings",
                "provenance",
                "registration",
                "ms_ssim_terms",
                "contrast",
                *ADVISORY,
            ),
        )
        for split in SPLITS
    ]
    comparison_keys = tuple((split, "comparison") for split in SPLITS)
    manifest = Product(
        key=("comparison_manifest",),
        inputs=comparison_keys,
        files=("comparison_manifest.json",),
        settings=_manifest,
        supersedes=(("metrics_delta_summary",),),
        blocking_checks=("completeness", "invariant", "input_identity", "counts", "scores"),
        **_summary("summaries"),
    )
    statistics = Product(
        key=("comparison_statistics",),
        # The manifest says that both comparisons succeeded, and its checks that they are right.
        inputs=(
            ("comparison_manifest",),
            *comparison_keys,
            *(network.replicates_key for network in NETWORKS),
        ),
        files=("comparison_statistics.csv",),
        settings=_statistics,
        libraries=("numpy", "scipy", "scikit-image"),
        blocking_checks=("scores", "intervals"),
        **_summary("comparison_statistics", "contrast"),
    )
    summary = Product(
        key=("metrics_summary",),
        inputs=(
            ("comparison_manifest",),
            *((split, name) for name in ("comparison", "overlap_view") for split in SPLITS),
            *((split, "dataset") for split in SPLITS),
        ),
        files=("metrics_summary.json",),
        settings=_condition_only,
        quotes_files=True,
        supersedes=(("metrics_delta_summary",),),
        blocking_checks=("recomputed", "counts"),
        **_summary("summaries"),
    )
    deltas = Product(
        key=("metrics_delta_summary",),
        inputs=(("metrics_summary",), ("comparison_statistics",)),
        files=("metrics_delta_summary.json",),
        settings=_deltas,
        quotes_files=True,
        blocking_checks=("recomputed", "source_hash", "intervals"),
        **_summary("summaries"),
    )
    summaries = (manifest, statistics, summary, deltas)
    scored = (
        specimen,
        *datasets,
        *views,
        *models,
        *replicates,
        *reconstructions,
        *comparisons,
        *summaries,
    )
    return tuple(map(_with_files_check, (*scored, *_reports(scored), *_of_the_study())))


def _with_files_check(item: Product) -> Product:
    """Return what has checks is checked for its bytes first, which always blocks."""
    return replace(item, blocking_checks=(FILES, *item.blocking_checks)) if item.checks else item


PHASES = {
    "c_datasets": "c",
    "d_views": "d",
    "e_models": "e",
    "f_reconstructions": "f",
    "g_comparison": "g",
}
"""Groups of scored products whose steps leave a log, with the letter of their phase."""


def log_file(item: Product) -> str:
    """Name of the log of the step that makes a scored product: ``phase_f_test_...log``."""
    return f"phase_{PHASES[item.group]}_{'_'.join(item.key)}.log"


def _reports(scored: Sequence[Product]) -> tuple[Product, ...]:
    """Return what is written about a finished condition: manifests, logs, reports, pictures."""
    keys = {group: tuple(i.key for i in scored if i.group == group) for group in PHASES}
    solved = (*keys["c_datasets"], *keys["d_views"], *keys["e_models"], *keys["f_reconstructions"])
    folder = "analysis/dose_{dose}/{view}"

    def report(name: str, inputs: Iterable[Key], files: Sequence[str], **more: Any) -> Product:
        return Product(
            **{
                "key": (name,),
                "group": "g_reports",
                "per": "condition",
                "inputs": tuple(inputs),
                "folder": folder,
                "files": tuple(files),
                "settings": _condition_only,
                "modules": (f"fly64_assets.pipeline.assets.{name}",),
                "stage": "report",
                "quotes_files": True,
                **more,
            }
        )

    heatmaps = [
        report(
            "heatmaps",
            ((split, "comparison"),),
            ("ms_ssim_heatmap.png", "correlation_heatmap.png"),
            key=(split, "heatmaps"),
            folder=f"{folder}/{split}",
            settings=_heatmaps,
            modules=(
                "fly64_assets.pipeline.assets.heatmaps",
                "fly64_assets.reports.figures.comparison",
            ),
            libraries=("matplotlib",),
        )
        for split in SPLITS
    ]
    written = [
        report(
            "phase_manifests",
            solved,
            (
                "run_manifest.json",
                "metrics_bundle.json",
                "training_manifest.json",
                "reconstruction_manifest.json",
            ),
        ),
        report(
            "phase_logs",
            (*solved, *keys["g_comparison"]),
            [log_file(item) for item in scored if item.group in PHASES],
            folder="cli/dose_{dose}/{view}",
        ),
        report(
            "metrics_report",
            (*keys["d_views"], *keys["g_comparison"]),
            (
                "comparison_summary.txt",
                "metrics_summary.md",
                "metrics_delta_highlights.txt",
                "metrics_delta_highlights_preview.txt",
                "aggregate_report.md",
                "aggregate_highlights.txt",
                "metrics_digest.md",
                "ssim_grid_summary.md",
            ),
            libraries=("jinja2",),
        ),
        report(
            "check_report",
            (*solved, *keys["g_comparison"]),
            ("check_report.md", "check_report.json"),
            libraries=("jinja2",),
            reads_checks=True,
        ),
    ]
    index = report(
        "hub_summary",
        tuple(item.key for item in (*scored, *heatmaps, *written) if item.per != "study"),
        ("summary.md", "artifact_inventory.txt"),
        libraries=("jinja2",),
    )
    return (*heatmaps, *written, index)


def _of_the_study() -> tuple[Product, ...]:
    """Return what is said of all doses and views together."""
    common: dict[str, Any] = {"group": "h_study", "per": "study", "stage": "study"}
    tables = ("fly64_assets.reports.study_tables", "fly64_assets.study.relations")
    metrics = Product(
        key=("study_metrics",),
        inputs=(),
        gathers=(
            ("metrics_summary",),
            ("comparison_statistics",),
            *((split, "overlap_view") for split in SPLITS),
        ),
        folder="study",
        files=("study_metrics.csv", "study_metrics.parquet"),
        settings=_study_metrics,
        modules=("fly64_assets.pipeline.assets.study_metrics",),
        libraries=("pandas", "pyarrow"),
        blocking_checks=("rows",),
        advisory_checks=("times_and_paths",),
        **common,
    )
    answer = Product(
        key=("dose_response",),
        inputs=(metrics.key,),
        folder="study",
        files=(
            "dose_response.md",
            "dose_for_quality.csv",
            *(f"{relation.name}.{kind}" for relation in RELATIONS for kind in FORMATS),
        ),
        settings=_dose_response,
        modules=(
            "fly64_assets.pipeline.assets.dose_response",
            "fly64_assets.reports.figures.study",
            *tables,
        ),
        libraries=("pandas", "matplotlib"),
        quotes_files=True,
        advisory_checks=("times_and_paths",),
        **common,
    )
    report = Product(
        key=("study_report",),
        inputs=(metrics.key, answer.key),
        gathers=(
            *metrics.gathers,
            *((split, "comparison") for split in SPLITS),
            # What each arm cost.
            *(network.model_key for network in NETWORKS),
            *(arm.key(split) for arm in ITERATIVE for split in SPLITS),
        ),
        surveys=True,
        folder="study",
        files=("study_report.html",),
        settings=_study_report,
        modules=(
            "fly64_assets.pipeline.assets.study_report",
            "fly64_assets.reports.figures.study",
            *tables,
        ),
        libraries=("matplotlib", "pillow", "jinja2"),
        quotes_files=True,
        advisory_checks=("report_is_whole",),
        **common,
    )
    return metrics, answer, report


PRODUCTS: tuple[Product, ...] = _build()
"""Every product of every registered arm, each after its inputs."""

BY_KEY: Mapping[Key, Product] = {product.key: product for product in PRODUCTS}


def products_in(study: Study) -> tuple[Product, ...]:
    """Return the products of a study: those of its arms, and those that every study has."""
    return tuple(item for item in PRODUCTS if item.arm is None or item.arm in study.arms)


def inputs_in(item: Product, study: Study) -> tuple[Key, ...]:
    """Return what a product is made from in a study."""
    arms = {key: BY_KEY[key].arm for key in item.inputs}
    return tuple(key for key in item.inputs if arms[key] is None or arms[key] in study.arms)


def gathers_in(item: Product, study: Study) -> tuple[Key, ...]:
    """Return what a product is made from, of every condition of a study."""
    return tuple(
        key for key in item.gathers if BY_KEY[key].arm is None or BY_KEY[key].arm in study.arms
    )


def files_in(item: Product, study: Study) -> tuple[str, ...]:
    """Return what a product's files are called in a study, those of arms that are off left out."""
    off = {f"{arm.name}_frc_curve.csv" for arm in ARMS if arm.name not in study.arms}
    off |= {log_file(each) for each in PRODUCTS if each.arm and each.arm not in study.arms}
    return tuple(name for name in item.files if name not in off)


def product(*key: str) -> Product:
    return BY_KEY[key]
