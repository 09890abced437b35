"""Staleness: whatever changes, exactly what depends on it is stale, and nothing else ever is.

Each table states by name what has to be stale, apart from the catalogue that the planner walks.
Nothing runs here: the one finished run is looked at with something changed beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleStatus,
)
from dagster._core.loader import LoadingContextForTest

from fly64_assets.definitions import build_definitions
from fly64_assets.pipeline import freshness as planner_module
from fly64_assets.pipeline import stored_records
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner, State
from fly64_assets.pipeline.instance import instance_folder
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.pipeline.records import CheckState, Ledger, Record
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import EpieSettings, Study, specimen_path
from fly64_assets.study.products import Product, product
from fly64_assets_tests.conftest import PRODUCTS as OF_A_STUDY
from fly64_assets_tests.faults import report_as_made

AT = Condition(1000, "dense")
PRODUCTS = tuple(item for item in OF_A_STUDY if item.stage != "study")
"""Of one condition. What is made of all fresh ones has tests of its own."""
ALL = {item.name for item in PRODUCTS}


def _both(name: str) -> set[str]:
    return {f"train/{name}", f"test/{name}"}


ABOUT_ALL = {"phase_logs", "check_report", "hub_summary"}
AFTER_DELTAS = {"metrics_report", *ABOUT_ALL}
AFTER_SUMMARY = {"metrics_delta_summary", *AFTER_DELTAS}
AFTER_MANIFEST = {"metrics_summary", "comparison_statistics", *AFTER_SUMMARY}
AFTER_STATISTICS = AFTER_SUMMARY
REPLICATES = {"pinn_replicates", "baseline_replicates"}
AFTER_REPLICATES = {"comparison_statistics", "phase_manifests", *AFTER_STATISTICS}
SCORES = {"comparison_manifest", *AFTER_MANIFEST}
AFTER_COMPARISONS = {*_both("heatmaps"), *SCORES}
AFTER_SOLVERS = {*_both("comparison"), "phase_manifests", *AFTER_COMPARISONS}
DEPENDENTS: Mapping[str, set[str]] = {
    "specimen": ALL - {"specimen"},
    "train/dataset": ALL
    - {"specimen", *_both("dataset"), "test/overlap_view"}
    - {"test/ptychi_reconstruction"},
    "test/dataset": {
        *("test/overlap_view", "test/ptychi_reconstruction"),
        *REPLICATES,
        *AFTER_SOLVERS,
    }
    - {"train/comparison", "train/heatmaps"},
    "train/overlap_view": {
        *("pinn_model", "baseline_model", "train/ptychi_reconstruction"),
        *REPLICATES,
        *AFTER_SOLVERS,
    },
    "test/overlap_view": {"test/ptychi_reconstruction", *REPLICATES, *AFTER_SOLVERS}
    - {"train/comparison", "train/heatmaps"},
    "pinn_model": AFTER_SOLVERS,
    "baseline_model": AFTER_SOLVERS,
    "pinn_replicates": AFTER_REPLICATES,
    "baseline_replicates": AFTER_REPLICATES,
    "train/ptychi_reconstruction": AFTER_SOLVERS - {"test/comparison", "test/heatmaps"},
    "test/ptychi_reconstruction": AFTER_SOLVERS - {"train/comparison", "train/heatmaps"},
    "train/comparison": AFTER_COMPARISONS - {"test/heatmaps"},
    "test/comparison": AFTER_COMPARISONS - {"train/heatmaps"},
    "comparison_manifest": AFTER_MANIFEST,
    "metrics_summary": AFTER_SUMMARY,
    "comparison_statistics": AFTER_STATISTICS,
    "metrics_delta_summary": AFTER_DELTAS,
    **{name: {"hub_summary"} for name in _both("heatmaps") | {"phase_manifests", "phase_logs"}},
    "metrics_report": {"hub_summary"},
    "check_report": {"hub_summary"},
    "hub_summary": set(),
}
"""Product -> all that is made from it, directly or not."""

PHASES: Mapping[str, set[str]] = {
    "specimen": {"specimen"},
    "datasets": _both("dataset"),
    "views": _both("overlap_view"),
    "PtychoPINN": {"pinn_model", "pinn_replicates"},
    "Baseline": {"baseline_model", "baseline_replicates"},
    "replicates": REPLICATES | {"comparison_statistics"},
    "statistics": {"comparison_statistics"},
    "deltas too": {"comparison_statistics", "metrics_delta_summary"},
    "PtyChi": _both("ptychi_reconstruction"),
    "comparisons": _both("comparison"),
    "stitching": _both("comparison") | REPLICATES,
    "solvers": {
        *("pinn_model", "baseline_model"),
        *REPLICATES,
        *_both("ptychi_reconstruction"),
        *_both("comparison"),
    },
    "nothing": set(),
}
"""What reads a setting, by a short name."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "specimen": {"specimen": "siemens_star", "patch_size": 66},
    "datasets": {
        "seeds.simulation": 43,
        "simulation.positions": 601,
        "simulation.margin_px": 2.5,
        "simulation.shift_padding_px": 5,
        "simulation.split_guard_px": 1.0,
        "overlap.probe_diameter_px": 20.0,
        "overlap.probe_power_fraction": 0.8,
    },
    "views": {
        "views.dense.target_overlap": 0.6,
        "seeds.grouping": 124,
        "seeds.subsampling": 457,
        "gridsize": 1,
        "overlap.neighbor_count": 8,
        "overlap.n_groups": 47,
        "overlap.overlap_tolerance": 0.03,
        "overlap.min_groups": 9,
        "overlap.min_images": 9,
    },
    "PtychoPINN": {
        f"ptychopinn.{name}": value
        for name, value in {
            **{"epochs": 3, "batch_size": 3, "samples_per_epoch": 33, "learning_rate": 2e-3},
            **{"final_rate_fraction": 0.1, "clip_norm": 2.0, "validation_fraction": 0.2},
            **{"width": 12, "depth": 1, "frame_px": 48, "weight_averaging": 0.6},
            **{"regularisation": 0.03, "misfit_floor_counts": 2.0, "loss_floor_counts": 2e-3},
            **{"loss_group_size": 9, "loss_neighbours": 49, "loss_reach": 0.5},
            **{"field.rounds": 3, "field.first_steps": 13, "field.further_steps": 3},
            **{"field.step": 0.4, "field.momentum": 0.8, "field.patterns_per_pixel": 14.0},
            **{"field.first_smoothness_counts": 4.0, "field.further_smoothness_counts": 99.0},
            **{"field.spacing_px": 17.0, "field.folds": 3},
            **{"field.least_share": 0.5, "field.most_share": 0.8},
        }.items()
    },
    "Baseline": {
        f"baseline.{name}": value
        for name, value in {
            **{"epochs": 3, "batch_size": 8, "samples_per_epoch": 129, "learning_rate": 2e-3},
            **{"final_rate_fraction": 0.1, "clip_norm": 2.0, "validation_fraction": 0.2},
            **{"width": 12, "depth": 1, "frame_px": 40, "amplitude_limit": 3.0},
            **{"regularisation": 0.03, "loss_smoothing": 2e-3, "weight_averaging": 0.6},
            **{"new_exposures": 0.5},
        }.items()
    },
    "PtyChi": {
        f"ptychi.{name}": value
        for name, value in {
            **{"noise_model": "GAUSSIAN", "epochs": 5, "epochs_per_chunk": 1},
            **{"batch_fraction": 0.2, "batch_limit": 249, "batching": "RANDOM"},
            **{"refine_probe": True},
            **{"refine_from": 0.5, "damping": 0.4, "total_variation": 1.0},
        }.items()
    },
    "comparisons": {
        "scoring.ms_ssim_sigma_px": 1.5,
        "scoring.frc_threshold": 0.4,
        "scoring.max_shift_px": 3.0,
        "scoring.reference_ms_ssim": True,
    },
    "stitching": {"scoring.stitch_crop_px": 24},
    "replicates": {"replicates": 3},
    "statistics": {
        "statistics.block_px": 21,
        "statistics.resamples": 999,
    },
    "deltas too": {"statistics.confidence": 0.9},
    "solvers": {"threads": 1, "device": "cpu"},
    "nothing": {
        "automation.cron": "0 3 * * *",
        "automation.tries": 2,
        # Of the study as a whole.
        "dose_response.quality_levels": (0.7,),
    },
}
"""Reader -> setting -> another value."""
ONE_VALUE = {"schema_version", "ptychi.engine"}
"""Settings of which only one value is allowed."""
ELSEWHERE = {
    *("name", "doses", "views.dense.image_fraction", "arms"),
    *(f"epie.{name}" for name in EpieSettings.model_fields),
}
"""The name is another store; a dose more, an image fraction and arms have tests of their own."""


class _Remembering(Ledger):
    """Looks each thing up once: no test here records anything."""

    def __init__(self, instance: DagsterInstance, context: StudyContext) -> None:
        super().__init__(instance, context.store)
        self.records: dict[tuple[str, str], Record | None] = {}
        self.states: dict[str, list[CheckState]] = {}
        self.bytes: dict[str, str | None] = {}

    def latest(self, product: Product, condition: Condition) -> Record | None:
        key = product.name, str(condition)
        if key not in self.records:
            self.records[key] = super().latest(product, condition)
        return self.records[key]

    def checks(self, record: Record) -> list[CheckState]:
        if record.product.name not in self.states:
            self.states[record.product.name] = super().checks(record)
        return self.states[record.product.name]

    def altered(self, record: Record) -> str | None:
        if record.product.name not in self.bytes:
            self.bytes[record.product.name] = super().altered(record)
        return self.bytes[record.product.name]


@pytest.fixture(scope="module")
def made(finished, tmp_path_factory) -> Iterator[tuple[StudyContext, _Remembering]]:
    """A copy of the finished run, and its ledger."""
    copy = finished.copy_to(tmp_path_factory.mktemp("staleness") / "results")
    with pytest.MonkeyPatch.context() as patch:
        context = copy.context(patch)
        with DagsterInstance.from_config(str(instance_folder(context.study))) as instance:
            yield context, _Remembering(instance, context)


def _planner(made, study: Study | None = None) -> Planner:
    context, ledger = made
    return Planner(study or context.study, context.study_file, ledger)


def _stale(planner: Planner, at: Condition = AT) -> dict[str, str]:
    """Product -> why it is stale; what is not, is not in it."""
    lacks = {item.name: planner.lack(item, at.restricted_to(item.per)) for item in PRODUCTS}
    return {name: lack.reason for name, lack in lacks.items() if lack is not None}


def _with_dependents(names: set[str]) -> set[str]:
    return names.union(*(DEPENDENTS[name] for name in names))


def _changed(study: Study, setting: str, value: Any) -> Study:
    content = study.model_dump()
    *path, last = setting.split(".")
    section = content
    for name in path:
        section = section[name]
    assert section[last] != value
    section[last] = value
    return Study.model_validate(content)


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_nothing_is_stale_when_nothing_changed(made):
    assert _stale(_planner(made)) == {}
    assert set(DEPENDENTS) == ALL


def test_the_table_knows_every_setting_of_a_study(made):
    listed = [setting for settings in SETTINGS.values() for setting in settings]
    known = {*listed, *ONE_VALUE, *ELSEWHERE}
    assert known == set(_leaves(made[0].study.model_dump()))
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("reader", "setting", "value"),
    [
        (reader, setting, value)
        for reader, settings in SETTINGS.items()
        for setting, value in settings.items()
    ],
)
def test_a_changed_setting_makes_its_readers_and_their_dependents_stale(
    made, reader, setting, value
):
    found = _stale(_planner(made, _changed(made[0].study, setting, value)))
    assert set(found) == _with_dependents(PHASES[reader])
    for name in PHASES[reader]:
        # The setting is named where it is read, and passed on as the reason further down.
        assert setting.split(".")[-1].removeprefix("seeds.") in found[name] or (
            setting == "seeds.simulation" and "seed: 42 -> 43" in found[name]
        )


def test_an_image_fraction_instead_of_a_target_makes_the_views_stale(made):
    content = made[0].study.model_dump()
    content["views"]["dense"] = {"image_fraction": 0.5}
    found = _stale(_planner(made, Study.model_validate(content)))
    assert set(found) == _with_dependents(PHASES["views"])


@pytest.mark.parametrize(
    "more", [{"doses": (1000, 2000)}, {"views": {"sparse": {"target_overlap": 0.2}}}], ids=str
)
def test_a_dose_or_a_view_more_leaves_what_is_there_fresh(made, more):
    content = made[0].study.model_dump()
    content["views"] |= more.get("views", {})
    content["doses"] = more.get("doses", content["doses"])
    planner = _planner(made, Study.model_validate(content))
    assert _stale(planner) == {}
    added = Condition(2000, "dense") if "doses" in more else Condition(1000, "sparse")
    new = {item.name for item in PRODUCTS if item.per == "condition"}
    new |= _both("dataset") if "doses" in more else set()
    assert _stale(planner, added).keys() == new


def test_other_bytes_of_the_specimen_make_everything_stale(made, tmp_path, monkeypatch):
    context, _ = made
    content = bytearray(specimen_path(context.study, context.study_file).read_bytes())
    content[len(content) // 2] ^= 1
    altered = tmp_path / "labyrinth.npz"
    altered.write_bytes(content)
    monkeypatch.setattr(planner_module, "specimen_path", lambda *_: altered)
    found = _stale(_planner(made))
    assert set(found) == ALL
    assert found["specimen"].startswith("specimen_sha256: ")


@pytest.mark.parametrize("item", PRODUCTS, ids=lambda item: item.name)
def test_another_code_version_makes_the_product_and_its_dependents_stale(made, item, monkeypatch):
    written = item.code_version
    monkeypatch.setitem(item.__dict__, "code_version", "another")
    found = _stale(_planner(made))
    assert set(found) == _with_dependents({item.name})
    assert found[item.name] == f"code {written} -> another"


@pytest.mark.parametrize("item", PRODUCTS, ids=lambda item: item.name)
def test_one_flipped_bit_is_named_and_makes_the_dependents_stale(made, item):
    context, ledger = made
    record = ledger.latest(item, AT.restricted_to(item.per))
    path = context.store.root / list(record.provenance.files)[-1]
    written = path.read_bytes()
    flipped = bytearray(written)
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    ledger.bytes.pop(item.name, None)
    try:
        planner = _planner(made)
        verdicts = [planner.verdict(other, AT.restricted_to(other.per)) for other in PRODUCTS]
    finally:
        path.write_bytes(written)
        ledger.bytes.pop(item.name, None)
    found = {v.product.name: v.state for v in verdicts if v.state is not State.FRESH}
    expected = dict.fromkeys(DEPENDENTS[item.name], State.STALE)
    assert found == {**expected, item.name: State.ALTERED}
    reasons = {verdict.product.name: verdict.reason for verdict in verdicts}
    assert path.name in reasons[item.name]
    assert all(path.name in reasons[name] for name in DEPENDENTS[item.name])


def _shown_by_dagster(made) -> dict[str, list[tuple[str, str]]]:
    """Product -> what the UI shows as its causes of staleness: category and dependency."""
    context, ledger = made
    resolver = CachingStaleStatusResolver(
        ledger.instance,
        build_definitions(context).resolve_asset_graph(),
        LoadingContextForTest(ledger.instance),
    )
    shown = {}
    for item in PRODUCTS:
        key, partition = AssetKey(item.key), dagster_key(AT.restricted_to(item.per))
        status = resolver.get_status(key, partition)
        causes = resolver.get_stale_causes(key, partition)
        assert (status is StaleStatus.STALE) == bool(causes)
        assert status in (StaleStatus.FRESH, StaleStatus.STALE)
        if causes:
            shown[item.name] = [
                (cause.category.name, "/".join(cause.dependency_asset_key.path))
                if cause.dependency_asset_key
                else (cause.category.name, "")
                for cause in causes
            ]
    return shown


def test_dagster_shows_a_finished_run_as_fresh(made):
    assert _shown_by_dagster(made) == {}


@pytest.mark.parametrize("key", [("train", "dataset"), ("pinn_model",)], ids="/".join)
def test_dagster_shows_another_code_version_where_it_is(made, key, monkeypatch):
    monkeypatch.setitem(product(*key).__dict__, "code_version", "another")
    assert _shown_by_dagster(made) == {"/".join(key): [("CODE", "")]}


def test_dagster_shows_the_first_stale_link_of_other_data(finished, tmp_path, monkeypatch):
    """Those that read it, with what they read; what is further down only the planner knows."""
    context = finished.copy_to(tmp_path / "results").context(monkeypatch)
    view = product("train", "overlap_view")
    stored_records.file_of(context.store, view, AT).unlink()  # it would contradict
    with DagsterInstance.from_config(str(instance_folder(context.study))) as instance:
        report_as_made(context, instance, view, AT, data_version="0" * 64)
        made = context, _Remembering(instance, context)
        shown, stale = _shown_by_dagster(made), _stale(_planner(made))
    assert set(stale) == DEPENDENTS[view.name]
    readers = {item.name for item in PRODUCTS if view.key in item.inputs}
    assert shown == {name: [("DATA", view.name)] for name in readers}
    assert {"pinn_model", "train/comparison"} < readers < set(stale)
