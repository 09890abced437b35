"""The frame around the checks: one step a product, each check its own result, nothing hidden."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
from dagster import AssetCheckKey, AssetCheckSeverity, AssetKey, FloatMetadataValue

from fly64_assets.definitions import CHECK_JOBS, build_definitions
from fly64_assets.pipeline.check_frame import check_step, evaluate, measured
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Severity
from fly64_assets.rules.store import checks_of
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import PRODUCTS, product
from fly64_assets_tests.conftest import PRODUCTS as PUBLISHED
from fly64_assets_tests.rules.store.conftest import AT

DATASET = ("train", "dataset")


@pytest.mark.parametrize(
    ("expected", "actual", "number"),
    [
        ("1000 within 2.00%", "998.20 over 600 exposures (-0.180%)", 998.2),
        ("> 0.0312 (5 standard errors)", "-1.2e-05", -1.2e-05),
        (">= 30", 48, 48.0),
        (">= 4 px from y = 96.000", "7.2500 px", 7.25),
        ("0.971234", "0.971234", None),
        ("5 >= 0", "0.912, 0.871", None),
        ("<= 90", "81 + 9", None),
        ("at most 3 px", "(0.10, 0.20) px", None),
        ("< 1", "nan", None),
        ("> 0", True, None),
    ],
)
def test_what_is_held_against_a_bound_is_a_number_for_the_ui(expected, actual, number):
    outcome = RuleOutcome("key", "rule", expected, actual, True)
    assert measured([outcome]) == ({} if number is None else {"key: rule": number})


def test_a_check_s_measured_numbers_are_in_its_metadata(bench):
    metadata = bench.results(*DATASET)["mean_dose"].metadata
    name = "diffraction: mean counts per exposure, train and test pooled"
    assert isinstance(metadata[name], FloatMetadataValue)
    assert metadata[name].value == pytest.approx(1000, rel=0.1)


def test_every_name_in_the_catalogue_is_judged_and_every_judge_is_named():
    from fly64_assets.rules.store import CHECKS

    for kind, checks in CHECKS.items():
        names = {check.name for check in checks}
        for item in (item for item in PRODUCTS if item.key[-1] == kind):
            assert names <= set(item.checks)
    for item in PRODUCTS:
        assert [check.name for check in checks_of(item)] == list(item.checks)
        severities = {check.name: check.severity for check in checks_of(item)}
        for name in item.blocking_checks:
            assert severities[name] is Severity.ERROR, "a warning never blocks"


def test_a_judge_that_crashes_fails_its_own_check_and_hides_no_other(bench):
    def cut(path):
        path.write_bytes(path.read_bytes()[:40])

    whole = bench.path("pinn_model", file="bundle.json").read_bytes()
    bench.spoil("pinn_model", file="history.csv", change=lambda path: None)
    bench.changed["pinn_model",][bench.path("pinn_model", file="bundle.json")] = whole
    cut(bench.path("pinn_model", file="bundle.json"))
    bench.report("pinn_model")
    results = bench.results("pinn_model")
    assert set(results) == set(product("pinn_model").checks)
    for name in ("bundle", "loss", "counts", "effective_settings", "provenance", "trained_on"):
        assert not results[name].passed
        assert results[name].severity is AssetCheckSeverity.ERROR
        assert "JSONDecodeError" in results[name].description
    assert "history" not in results["loss_improved"].description
    assert results["drift"].passed


def test_no_description_holds_an_absolute_path(bench):
    def cut(path):
        path.write_bytes(path.read_bytes()[:-40])

    path = bench.path(*DATASET, file="patched_train.npz")
    bench.changed.setdefault(DATASET, {})[path] = path.read_bytes()
    cut(path)
    bench.report(*DATASET)
    results = bench.results(*DATASET)
    assert not results["data001"].passed
    for result in results.values():
        assert str(bench.context.store.root) not in result.description


def _evaluated(bench, item, condition):
    """Check -> (passed, what it says) of all that are evaluated, and what the step logs."""
    told: list[str] = []
    planner = bench.context.planner(bench.instance)
    found = evaluate(planner, item, condition, checks_of(item), told.append)
    return {str(one.check_name): (one.passed, one.description) for one in found}, told


def test_of_altered_bytes_one_check_says_so_and_no_other_is_evaluated(bench):
    item = product("metrics_summary")
    path = bench.path("metrics_summary", file="metrics_summary.json")
    bench.changed["metrics_summary",] = {path: path.read_bytes()}
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    results, told = _evaluated(bench, item, AT)
    reason = bench.context.planner(bench.instance).verdict(item, AT).reason
    assert results == {"files": (False, reason)}
    others = ", ".join(item.checks[1:])
    assert told == [f"not evaluated: {others}: metrics_summary is altered: {reason}"]


def test_what_was_never_made_is_not_evaluated(bench):
    never = Condition(1000, "sparse")
    results, told = _evaluated(bench, product("metrics_summary"), never)
    assert results == {}
    assert told[0].endswith("metrics_summary is missing: never made")


def test_what_is_stale_is_not_evaluated_so_nothing_outlives_the_change_back(bench):
    """By the settings of another study every check of settings would fail, and be recorded."""
    seeds = bench.context.study.seeds.model_copy(update={"simulation": 43})
    other = bench.context.study.model_copy(update={"seeds": seeds})
    changed = replace(bench, context=replace(bench.context, study=other))
    for key, per in ((DATASET, Condition(1000)), (("pinn_model",), AT)):
        results, told = _evaluated(changed, product(*key), per)
        assert results == {}
        assert told[0].endswith("train/dataset is stale: seed: 42 -> 43")


@pytest.mark.parametrize("key", [DATASET, ("pinn_model",), ("test", "comparison")])
def test_drift_of_the_data_is_a_warning(bench, key):
    """The same code, settings and inputs as last time, but other data (lesson 5)."""
    item = product(*key)
    at = AT.restricted_to(item.per)
    version = bench.context.ledger(bench.instance).latest(item, at).provenance.data_version
    bench.report(*key)
    assert bench.results(*key)["drift"].passed
    try:
        bench.report(*key, data_version="0" * 64)
        drift = bench.results(*key)["drift"]
        assert not drift.passed and drift.severity is AssetCheckSeverity.WARN
        assert "data version" in drift.description
    finally:
        bench.report(*key, data_version=version)


def test_drift_of_a_headline_score_is_a_warning(bench):
    """.041 then .401 (lesson 5): told although the data version claims to be the same."""
    key, name = ("test", "comparison"), "PtyChi mae amplitude"
    before = bench.context.ledger(bench.instance).latest(product(*key), AT).figures
    small = {"Baseline ms_ssim phase": before["Baseline ms_ssim phase"] + 0.01}
    try:
        bench.report(*key, figures={name: 0.041})
        bench.report(*key, figures={name: 0.401, **small})
        drift = bench.results(*key)["drift"]
    finally:
        bench.report(*key, figures=dict(before))
    assert not drift.passed and drift.severity is AssetCheckSeverity.WARN
    assert f"{name}: as made" in drift.description and "found 0.4010" in drift.description
    assert "ms_ssim" not in drift.description


def test_the_ledger_knows_what_came_before(bench):
    ledger = bench.context.ledger(bench.instance)
    item = product("metrics_summary")
    first = ledger.latest(item, AT)
    bench.report("metrics_summary")
    again = ledger.latest(item, AT)
    assert ledger.previous(again).storage_id == first.storage_id < again.storage_id
    oldest = again
    while (before := ledger.previous(oldest)) is not None:
        oldest = before
    assert oldest.figures["PtyChi ms_ssim mean_phase"] > 0


@pytest.fixture
def job(bench):
    definitions = build_definitions(bench.context)

    def run(per, condition, selection=None):
        job = definitions.resolve_job_def(CHECK_JOBS[per])
        assert job.partitions_def is not None
        if selection:
            job = job.get_subset(asset_selection=set(), asset_check_selection=selection)
        result = job.execute_in_process(
            instance=bench.instance, partition_key=dagster_key(condition), raise_on_error=False
        )
        evaluations = {
            (tuple(found.asset_key.path), found.check_name): found
            for found in result.get_asset_check_evaluations()
        }
        steps = {event.step_key for event in result.all_events if event.is_step_start}
        return result, evaluations, steps

    return run


@pytest.mark.long
def test_check_jobs_judge_every_check_in_one_step_a_product_and_make_nothing(bench, job):
    before = bench.context.ledger(bench.instance).latest(product("pinn_model"), AT).storage_id
    for per, condition in (("dose", Condition(1000)), ("condition", AT)):
        items = [item for item in PUBLISHED if item.per == per and item.checks]
        result, evaluations, steps = job(per, condition)
        assert set(evaluations) == {(item.key, name) for item in items for name in item.checks}
        assert steps == {check_step(item) for item in items}
        failed = {key for key, found in evaluations.items() if not found.passed}
        assert {name for _, name in failed} <= {"drift", "loss_improved", "ms_ssim_terms"}
        assert result.success, "warnings fail no run"
    after = bench.context.ledger(bench.instance).latest(product("pinn_model"), AT).storage_id
    assert before == after
    assert not {"tensorflow", "keras", "torch"} & set(sys.modules)


@pytest.mark.long
def test_two_faults_are_two_results_and_only_the_blocking_one_fails_the_step(bench, job):
    def leave_path_and_break(scoring):
        scoring["note"] = "/home/somebody/file"
        scoring["n_images"]["PtyChi"] = 1

    bench.spoil("test", "comparison", file="scoring.json", change=leave_path_and_break)
    result, evaluations, _ = job("condition", AT)
    failed = {key for key, found in evaluations.items() if not found.passed}
    failed = {(key, name) for key, name in failed if name not in ("drift", "loss_improved")}
    failed = {(key, name) for key, name in failed if name != "ms_ssim_terms"}
    assert failed == {
        (("test", "comparison"), "times_and_paths"),
        (("comparison_manifest",), "counts"),
        (("comparison_manifest",), "scores"),  # which knows every key of the scoring
    }
    ended = {event.step_key for event in result.all_events if event.is_step_failure}
    assert ended == {"check_comparison_manifest"}


@pytest.mark.long
def test_a_run_that_never_began_takes_no_result_away(bench, job):
    """Planned evaluations of a killed run: what was evaluated before still holds."""
    ledger, item = bench.context.ledger(bench.instance), product("metrics_summary")
    job("condition", AT)
    before = ledger.checks(ledger.latest(item, AT))
    assert all(check.passed for check in before)
    planned = build_definitions(bench.context).resolve_job_def(CHECK_JOBS["condition"])
    run = bench.instance.create_run_for_job(
        planned, tags={"dagster/partition": str(dagster_key(AT))}
    )
    key = AssetCheckKey(AssetKey(item.key), "counts")
    storage = bench.instance.event_log_storage
    newest = storage.get_asset_check_execution_history(key, limit=1)[0]
    assert (newest.run_id, newest.status.value) == (run.run_id, "PLANNED")
    assert ledger.checks(ledger.latest(item, AT)) == before


def test_one_check_can_be_chosen(bench, job):
    chosen = AssetCheckKey(AssetKey(("train", "overlap_view")), "counts")
    result, evaluations, steps = job("condition", AT, {chosen})
    assert result.success
    assert set(evaluations) == {(("train", "overlap_view"), "counts")}
    assert steps == {"check_train_overlap_view"}


def test_each_result_shows_a_table_of_expected_and_actual(bench):
    for key in (DATASET, ("comparison_manifest",)):
        for result in bench.results(*key).values():
            table = result.metadata["rules"]
            assert {column.name for column in table.schema.columns} == {
                "key", "rule", "expected", "actual", "ok",
            }  # fmt: skip
            assert len(table.records) == result.metadata["n_rules"].value >= 1
            assert re.fullmatch(r"\d+ rules hold", result.description) or not result.passed
