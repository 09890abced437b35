"""What is made of all conditions: what it gathers, when it is made again, and what it says."""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from matplotlib import image
from matplotlib.colors import to_rgb

from fly64_assets.pipeline.check_frame import StoreCheckRun
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import instance_folder, study_instance
from fly64_assets.pipeline.records import Ledger
from fly64_assets.pipeline.store import Store
from fly64_assets.pipeline.targets import next_request
from fly64_assets.reports.figures import style
from fly64_assets.rules.store import study_checks
from fly64_assets.runs import nightly as night
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.products import STUDY_LEVEL, product
from fly64_assets_tests.conftest import TINY, fly64

METRICS, ANSWER, REPORT = map(product, ("study_metrics", "dose_response", "study_report"))
VIEW = product("test", "overlap_view")
AT = "1000|dense"


@pytest.fixture
def altered(finished, tmp_path, monkeypatch):
    """A copy of the finished study with other settings."""
    copy = finished.copy_to(tmp_path / "results")

    def change(**changes):
        file = tmp_path / "changed.yaml"
        file.write_text(yaml.safe_dump({**TINY, **changes}), "utf-8")
        monkeypatch.setenv("FLY64_RESULTS", str(copy.results))
        return StudyContext.load(file)

    return change


def test_a_run_ends_with_the_studys_table_and_answer(opened):
    context, instance = opened
    planner = context.planner(instance)
    for item in (METRICS, ANSWER, REPORT):
        verdict = planner.verdict(item, Condition())
        assert verdict.state is State.FRESH, str(verdict)
    folder = context.store.folder(METRICS, Condition())
    assert {path.name for path in folder.iterdir()} == {
        *METRICS.files,
        *ANSWER.files,
        *REPORT.files,
    }
    record = planner.record(METRICS, Condition())
    assert list(record.provenance.settings["gathered"]) == [AT]
    assert set(record.provenance.inputs) == {f"{'/'.join(key)} {AT}" for key in METRICS.collects}


def test_the_table_is_tidy_and_the_same_in_both_forms(opened):
    context, _ = opened
    folder = context.store.folder(METRICS, Condition())
    table = pd.read_csv(folder / "study_metrics.csv")
    parquet = pd.read_parquet(folder / "study_metrics.parquet")
    assert list(table.columns) == list(parquet.columns)
    assert len(table) == len(parquet)
    assert (table["mean"] == parquet["mean"]).all()
    assert set(table["split"]) == set(SPLITS) and set(table["model"]) == set(MODELS)
    names = ["dose", "view", "split", "model", "reference", "metric", "component"]
    assert not table.duplicated(names).any()
    view = context.store.path(
        product("test", "overlap_view"), Condition(1000, "dense"), "test_metrics.json"
    )
    measured = json.loads(view.read_text("utf-8"))
    of_test = table[table["split"] == "test"]
    assert set(of_test["photons_per_px2"]) == {measured["photons_per_px2"]}
    assert dict(zip(table["metric"], table["better"], strict=True))["mae"] == "lower"


@pytest.mark.parametrize("complete", [True, False])
def test_the_check_takes_conditions_in_any_order(opened, tmp_path, complete):
    """A record's settings are sorted as texts, where 10000 comes before 1000; a table is not."""
    context, instance = opened
    record = context.planner(instance).record(METRICS, Condition())
    store, more = Store(tmp_path), Condition(10000, "dense")
    statistics = product("comparison_statistics")
    for condition in (Condition(1000, "dense"), more):
        path = store.path(statistics, condition, "comparison_statistics.csv")
        path.parent.mkdir(parents=True)
        source = context.store.path(statistics, Condition(1000, "dense"), path.name)
        shutil.copyfile(source, path)
    table = pd.read_csv(context.store.path(METRICS, Condition(), "study_metrics.csv"))
    both = pd.concat([table, table.assign(dose=10000)] if complete else [table])
    store.folder(METRICS, Condition()).mkdir()
    both.to_csv(store.path(METRICS, Condition(), "study_metrics.csv"), index=False)
    both.to_parquet(store.path(METRICS, Condition(), "study_metrics.parquet"))
    settings = {**record.provenance.settings, "gathered": {"10000|dense": {}, AT: {}}}
    recorded = replace(record, provenance=replace(record.provenance, settings=settings))
    ledger = _OfBothDoses(instance, store)
    (check,) = study_checks.CHECKS
    outcomes = list(check.judge(StoreCheckRun(context.study, ledger, recorded)))
    assert [one.key for one in outcomes if not one.ok] == ([] if complete else ["conditions"])


class _OfBothDoses(Ledger):
    """Has of every dose what the finished study has of its one dose."""

    def latest(self, item, condition):
        found = super().latest(item, replace(condition, dose=1000))
        return replace(found, condition=condition)


def test_the_plots_are_whole_and_hold_no_time(opened):
    context, _ = opened
    folder = context.store.folder(ANSWER, Condition())
    for name in ANSWER.files:
        content = (folder / name).read_bytes()
        if name.endswith(".svg"):
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert b"PtychoPINN" in content and b"95 % interval" in content
            assert b"<dc:date>" not in content
        elif name.endswith(".pdf"):
            assert content.startswith(b"%PDF") and b"CreationDate" not in content
        elif name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
            pixels = image.imread(folder / name)[style.PRINT_DPI * 2 // 3 :, :, :3]
            drawn = (abs(pixels - to_rgb(style.ARMS[0][0])) < 0.02).all(axis=2)
            assert drawn.sum() > 50, "PtychoPINN's marks are there, below the legend"
            assert (pixels.max(axis=2) < 0.2).mean() > 0.002, "and so are the axes"


def test_one_dose_says_whether_it_suffices_and_no_more(opened):
    context, _ = opened
    path = context.store.path(ANSWER, Condition(), "dose_for_quality.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    levels = context.study.dose_response.quality_levels
    assert len(rows) == len(levels) * len(MODELS) * len(SPLITS) * 2
    assert {row["reached"] for row in rows} <= {"everywhere", "nowhere"}
    assert all(row["dose"] == "" for row in rows)
    assert {row["lowest_dose"] for row in rows} == {row["highest_dose"] for row in rows} == {"1000"}


def test_a_condition_that_is_stale_is_not_gathered(altered):
    context = altered(scoring={"ms_ssim_sigma_px": 2.0})
    with study_instance(context.study, context.study_file) as instance:
        planner = context.planner(instance)
        assert planner.gathered(METRICS) == {}
        verdict = planner.verdict(METRICS, Condition())
        assert verdict.state is State.STALE and f"gathered.{AT} left out" in verdict.reason
        # Nothing to make it from: it waits, and the old table stays.
        assert next_request(planner, Condition(), STUDY_LEVEL) is None


def test_a_dose_more_leaves_the_table_as_it_is_until_that_is_finished(altered):
    context = altered(doses=[1000, 2000])
    with study_instance(context.study, context.study_file) as instance:
        planner = context.planner(instance)
        assert [str(at) for at in planner.gathered(METRICS)] == [AT]
        assert planner.verdict(METRICS, Condition()).state is State.FRESH


def test_a_night_makes_it_when_nothing_else_is_started(altered):
    whole, more = altered(dose_response={"quality_levels": [0.5]}), altered
    with study_instance(whole.study, whole.study_file) as instance:
        (start,) = night.decide(whole, instance, "now").starts
        assert start.run_key.startswith("now report_study ")
        made = [key.to_user_string() for key in start.asset_selection]
        assert made == ["dose_response", "study_report"]
    larger = more(doses=[1000, 2000], dose_response={"quality_levels": [0.5]})
    with study_instance(larger.study, larger.study_file) as instance:
        starts = night.decide(larger, instance, "now").starts
        assert {start.run_key.split()[1] for start in starts} == {"simulate_datasets"}


def test_other_levels_of_quality_draw_the_answer_again_and_nothing_else(altered):
    context = altered(dose_response={"quality_levels": [0.5]})
    with study_instance(context.study, context.study_file) as instance:
        planner = context.planner(instance)
        assert planner.verdict(METRICS, Condition()).state is State.FRESH
        assert planner.verdict(ANSWER, Condition()).state is State.STALE
        assert all(v.state is State.FRESH for v in planner.survey([Condition(1000, "dense")]))


@pytest.mark.long
def test_an_altered_statistic_is_refused_and_the_table_stays(finished, tmp_path):
    copy = finished.copy_to(tmp_path / "results")
    store = copy.results / "tiny" / "store"
    (store / "study" / "study_metrics.csv").unlink()
    statistics = store / "analysis/dose_1000/dense/comparison_statistics.csv"
    content = bytearray(statistics.read_bytes())
    content[len(content) // 2] ^= 1
    statistics.write_bytes(content)
    done = fly64("run", "--study", copy.study_file, "--all", results=copy.results)
    # The statistics are made again first, then the table from them.
    assert done.returncode == 0, done.stderr
    assert (store / "study" / "study_metrics.csv").is_file()


def test_where_nothing_is_finished_there_is_nothing_to_report(write_study):
    context = StudyContext.load(write_study(name="nothing"))
    assert not instance_folder(context.study).exists()
    with study_instance(context.study, context.study_file) as instance:
        assert next_request(context.planner(instance), Condition(), STUDY_LEVEL) is None
