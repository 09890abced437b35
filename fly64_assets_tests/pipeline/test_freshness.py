"""Freshness: what is stale and why, and what a consumer refuses however it was started."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from dagster import AssetCheckKey, AssetKey, DagsterInstance

from fly64_assets.definitions import CHECK_JOBS, JOBS, build_definitions
from fly64_assets.errors import NotTrusted
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.pipeline.records import JUDGED_BY
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import next_request
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.conftest import PRODUCTS, TINY
from fly64_assets_tests.faults import report_as_made, report_evaluation

SCORED = {level.per: level for level in LEVELS if level.stage == "score"}
DATASET, VIEW = product("train", "dataset"), product("train", "overlap_view")
DENSE, SPARSE = Condition(1000, "dense"), Condition(1000, "sparse")
BOTH_VIEWS = {"dense": {"target_overlap": 0.7}, "sparse": {"target_overlap": 0.2}}


@pytest.fixture
def fresh_instance(tmp_path):
    folder = tmp_path / "instance"
    folder.mkdir()
    with DagsterInstance.local_temp(str(folder)) as local:
        yield local


def make(context, instance, per, condition, keys=None, *, raises=False):
    """Run one job in this process: only phases that need no solver."""
    definitions = build_definitions(context)
    job = definitions.resolve_job_def(JOBS[SCORED[per]])
    key = dagster_key(condition)
    return job.execute_in_process(
        instance=instance,
        partition_key=key,
        asset_selection=[AssetKey(k) for k in keys] if keys else None,
        raise_on_error=raises,
    )


def make_views(context, instance, condition=DENSE):
    make(context, instance, "study", Condition(), raises=True)
    make(context, instance, "dose", Condition(condition.dose), raises=True)
    keys = [("train", "overlap_view"), ("test", "overlap_view")]
    return make(context, instance, "condition", condition, keys, raises=True)


STUDY = {**TINY, "views": BOTH_VIEWS, "simulation": {"positions": 1500}}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A study with both views made up to phase D, at one dose; tests get copies of it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "instance").mkdir()
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(folder / "results"))
        context = StudyContext.load(file)
        with DagsterInstance.local_temp(str(folder / "instance")) as local:
            for condition in (DENSE, SPARSE):
                make_views(context, local, condition)
    return folder


@pytest.fixture
def two_views(made_once, tmp_path, write_study):
    for name in ("results", "instance"):
        shutil.copytree(made_once / name, tmp_path / name)
    context = StudyContext.load(made_once / "study.yaml")
    with DagsterInstance.local_temp(str(tmp_path / "instance")) as local:
        yield context, local, write_study


def states(context, instance, *conditions):
    planner = context.planner(instance)
    return {
        (verdict.product.name, str(verdict.condition)): verdict.state
        for verdict in planner.survey(conditions)
    }


def test_everything_is_missing_before_anything_ran(write_study, fresh_instance):
    context = StudyContext.load(write_study(name="nothing"))
    found = states(context, fresh_instance, DENSE)
    assert len(found) == sum(item.stage != "study" for item in PRODUCTS)
    assert set(found.values()) == {State.MISSING}


def test_made_is_fresh_and_only_what_was_made(two_views):
    context, instance, _ = two_views
    found = states(context, instance, DENSE, SPARSE)
    fresh = {name for name, state in found.items() if state is State.FRESH}
    assert fresh == {
        ("specimen", "study"),
        *((f"{split}/dataset", "1000") for split in ("train", "test")),
        *(
            (f"{split}/overlap_view", f"1000|{view}")
            for split in ("train", "test")
            for view in ("dense", "sparse")
        ),
    }


def test_a_setting_of_the_sparse_view_leaves_the_dense_one_alone(two_views):
    context, instance, write_study = two_views
    views = {**BOTH_VIEWS, "sparse": {"target_overlap": 0.3}}
    changed = StudyContext.load(write_study(views=views, simulation={"positions": 1500}))
    before = states(context, instance, DENSE, SPARSE)
    found = states(changed, instance, DENSE, SPARSE)
    stale = {name for name, state in found.items() if state is not before[name]}
    assert stale == {(f"{split}/overlap_view", "1000|sparse") for split in ("train", "test")}
    assert {found[name] for name in stale} == {State.STALE}


def test_reasons_name_the_setting(two_views):
    context, instance, write_study = two_views
    changed = StudyContext.load(
        write_study(views=BOTH_VIEWS, simulation={"positions": 1500}, seeds={"simulation": 43})
    )
    planner = changed.planner(instance)
    assert planner.verdict(DATASET, Condition(1000)).reason == "seed: 42 -> 43"
    assert "train/dataset is stale" in planner.verdict(VIEW, DENSE).reason


@pytest.mark.long
def test_same_seed_same_data_version(two_views):
    context, instance, _ = two_views
    before = context.ledger(instance).latest(DATASET, Condition(1000))
    make(context, instance, "dose", Condition(1000), raises=True)
    after = context.ledger(instance).latest(DATASET, Condition(1000))
    assert after.storage_id > before.storage_id
    assert after.provenance.data_version == before.provenance.data_version
    assert states(context, instance, DENSE)["train/overlap_view", "1000|dense"] is State.FRESH


@pytest.mark.long
def test_other_code_that_gives_equal_data_is_made_again_and_nothing_after_it(
    two_views, monkeypatch
):
    context, instance, _ = two_views
    views = [product(split, "overlap_view") for split in ("train", "test")]
    before = [context.ledger(instance).latest(item, DENSE).storage_id for item in views]
    for split in ("train", "test"):
        monkeypatch.setitem(product(split, "dataset").__dict__, "code_version", "another")
    assert "train/dataset is stale: code" in context.planner(instance).verdict(VIEW, DENSE).reason
    make(context, instance, "dose", Condition(1000), raises=True)
    found = states(context, instance, DENSE)
    made = {(item.name, "1000|dense") for item in views} | {("train/dataset", "1000")}
    assert {found[name] for name in made} == {State.FRESH}
    assert [context.ledger(instance).latest(item, DENSE).storage_id for item in views] == before


def test_an_altered_input_is_named_and_refused(two_views):
    context, instance, _ = two_views
    path = context.store.path(DATASET, Condition(1000), "patched_train.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    planner = context.planner(instance)
    assert planner.verdict(DATASET, Condition(1000)).state is State.ALTERED
    assert planner.verdict(VIEW, DENSE).state is State.STALE
    result = make(context, instance, "condition", DENSE, [("train", "overlap_view")])
    assert not result.success
    with pytest.raises(NotTrusted, match=r"patched_train\.npz has sha256"):
        planner.trusted(DATASET, Condition(1000))


@pytest.mark.long
def test_an_unchecked_input_is_refused(write_study, fresh_instance):
    context = StudyContext.load(write_study())
    make(context, fresh_instance, "study", Condition(), raises=True)
    definitions = build_definitions(context)
    job = definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(
        asset_selection={AssetKey(("train", "dataset")), AssetKey(("test", "dataset"))},
        asset_check_selection=set(),
    )
    subset.execute_in_process(instance=fresh_instance, partition_key="1000")
    planner = context.planner(fresh_instance)
    assert planner.verdict(DATASET, Condition(1000)).state is State.UNCHECKED
    with pytest.raises(NotTrusted, match="is unchecked: check files has not run"):
        planner.trusted(DATASET, Condition(1000))


def test_an_input_that_failed_its_check_is_refused_in_later_runs_too(two_views):
    """A blocking check stops what is downstream in its own run only; the loader stops the rest."""
    context, instance, _ = two_views
    # Damage the file and its recorded hash alike, so that only the check can tell.
    path = context.store.path(DATASET, Condition(1000), "patched_train.npz")
    _negate_amplitudes(path)
    report_as_made(context, instance, DATASET, Condition(1000))
    definitions = build_definitions(context)
    job = definitions.resolve_job_def(JOBS[SCORED["dose"]])
    check = AssetCheckKey(AssetKey(DATASET.key), "data001")
    job.get_subset(asset_selection=set(), asset_check_selection={check}).execute_in_process(
        instance=instance, partition_key="1000", raise_on_error=False
    )
    planner = context.planner(instance)
    assert planner.verdict(DATASET, Condition(1000)).state is State.FAILED
    result = make(context, instance, "condition", DENSE, [("train", "overlap_view")])
    assert not result.success
    with pytest.raises(NotTrusted, match="is failed: check data001"):
        planner.trusted(DATASET, Condition(1000))


REPORT = product("check_report")


def _reported(context):
    path = context.store.path(REPORT, DENSE, "check_report.json")
    rows = json.loads(path.read_text("utf-8"))["checks"]
    return {(row["asset"], row["check"]): (row["status"], row["reason"]) for row in rows}


def test_checks_that_failed_are_reported_and_again_when_they_change_their_mind(two_views):
    """The report reads states and consumes nothing, so what it reports on need not be sound."""
    context, instance, _ = two_views
    level = next(level for level in LEVELS if level.stage == "report")
    path = context.store.path(DATASET, Condition(1000), "patched_train.npz")
    written = path.read_bytes()

    def judge_and_report():
        report_as_made(context, instance, DATASET, Condition(1000))
        job = build_definitions(context).resolve_job_def(CHECK_JOBS["dose"])
        job.execute_in_process(instance=instance, partition_key="1000", raise_on_error=False)
        planner = context.planner(instance)
        request = next_request(planner, DENSE, level, unfinished=True)
        assert request.make == (REPORT,), planner.verdict(REPORT, DENSE)
        job = build_definitions(context).resolve_job_def(JOBS[level])
        job.execute_in_process(
            instance=instance, partition_key=dagster_key(DENSE), asset_selection=request.assets
        )
        planner = context.planner(instance)
        assert planner.verdict(REPORT, DENSE).state is State.FRESH
        assert next_request(planner, DENSE, level, unfinished=True) is None
        return _reported(context)

    _negate_amplitudes(path)
    rows = judge_and_report()
    status, reason = rows["train/dataset", "data001"]
    assert status == "failed" and "diffraction" in reason
    assert rows["test/dataset", "data001"][0] == "passed"
    assert rows["pinn_model", "bundle"] == ("not run", "never made")
    path.write_bytes(written)
    planner = context.planner(instance)
    assert planner.verdict(REPORT, DENSE).state is State.STALE, "the bytes are not those recorded"
    rows = judge_and_report()
    assert rows["train/dataset", "data001"][0] == "passed"


def _failed(instance, record, name, *, by):
    """An evaluation that failed, recorded as of a run that judged by the study ``by``."""
    report_evaluation(
        instance,
        f"by {by}",
        AssetKey(record.product.key),
        name,
        False,
        record.storage_id,
        metadata={JUDGED_BY: by},
        partition=record.condition.partition_key,
    )


@pytest.mark.parametrize("name", ["effective_settings", "files"])
def test_what_failed_by_other_settings_or_bytes_is_checked_again_before_it_is_made_again(
    two_views, name
):
    context, instance, _ = two_views
    at, level = Condition(1000), SCORED["dose"]
    planner = context.planner(instance)
    _failed(instance, planner.record(DATASET, at), name, by="another study")
    planner = context.planner(instance)
    verdict = planner.verdict(DATASET, at)
    assert verdict.state is State.UNCHECKED and f"check {name} is due again" in verdict.reason
    with pytest.raises(NotTrusted, match="is due again"):
        planner.trusted(DATASET, at)
    request = next_request(planner, at, level)
    assert request.check == (DATASET,) and request.make == ()
    job = build_definitions(context).resolve_job_def(CHECK_JOBS["dose"])
    job.execute_in_process(instance=instance, partition_key="1000")
    assert context.planner(instance).verdict(DATASET, at).state is State.FRESH
    if name == "files":
        return
    _failed(instance, planner.record(DATASET, at), name, by=planner.study_sha256)
    planner = context.planner(instance)
    assert planner.verdict(DATASET, at).state is State.FAILED
    assert DATASET in next_request(planner, at, level).make


def _negate_amplitudes(path):
    """A file that reads well and breaks a rule."""
    from fly64_assets.ptychography.data001.npz import read_npz, write_npz

    arrays = read_npz(path)
    arrays["diffraction"] = -arrays["diffraction"]
    write_npz(path, arrays)


def test_a_hand_reported_materialization_is_not_trusted(write_study, fresh_instance):
    from dagster import AssetMaterialization

    context = StudyContext.load(write_study())
    fresh_instance.report_runless_asset_event(AssetMaterialization(AssetKey("specimen")))
    planner = context.planner(fresh_instance)
    assert planner.verdict(product("specimen"), Condition()).state is State.MISSING
