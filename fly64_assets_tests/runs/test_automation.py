"""Nights: what the schedule and its sensor start, what they leave and why, over two nights.

Ticks are evaluated against a real instance, and what they ask for is run in this process: phases B
to D need no solver, and what would need one is recorded as a failure, which nights meet too.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
import yaml
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRunStatus,
    build_schedule_context,
    build_sensor_context,
)
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo

from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InputError
from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import Cell, cells_of
from fly64_assets.runs import nightly as night
from fly64_assets.runs.automation import SCHEDULE
from fly64_assets.runs.nightly import NIGHT_TAG
from fly64_assets.runs.run_ends import note_end
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.conftest import TINY

FRIDAY, SATURDAY = datetime(2026, 1, 2, 2, tzinfo=UTC), datetime(2026, 1, 3, 2, tzinfo=UTC)
VIEWS = {"dense": {"target_overlap": 0.7}, "sparse": {"target_overlap": 0.2}}
STUDY = {"views": VIEWS, "simulation": {"positions": 1500}}
CHEAP = {("specimen",), *((s, n) for s in ("train", "test") for n in ("dataset", "overlap_view"))}


@pytest.fixture(autouse=True)
def code_as_loaded(monkeypatch):
    """Somebody who edits the package while tests run does not decide what a night does."""
    monkeypatch.setattr(night, "_sources", lambda: night._LOADED)


@pytest.fixture
def instance(tmp_path, request):
    if "friday" in request.fixturenames:
        request.getfixturevalue("friday")
    folder = tmp_path / "instance"
    folder.mkdir(exist_ok=True)
    with DagsterInstance.local_temp(str(folder)) as local:
        yield local


@pytest.fixture
def study(write_study):
    return StudyContext.load(write_study(**STUDY))


class Nights:
    """The daemon's part: evaluates ticks, creates the runs that they ask for, carries them out."""

    def __init__(self, context: StudyContext, instance: DagsterInstance) -> None:
        self.instance, self.cursor = instance, None
        self.load(context)

    def load(self, context: StudyContext) -> None:
        """Load the code location anew."""
        self.context, self.definitions = context, build_definitions(context)

    def switch(self, status: InstigatorStatus = InstigatorStatus.RUNNING) -> None:
        target = LoadableTargetOrigin(module_name="fly64_assets.definitions")
        location = InProcessCodeLocationOrigin(target, location_name="fly64_assets")
        origin = RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(location, "__repository__"), SCHEDULE
        )
        self.instance.add_instigator_state(
            InstigatorState(
                origin, InstigatorType.SCHEDULE, status, ScheduleInstigatorData("0 2 * * *")
            )
        )

    def tick(self, at: datetime):
        """The schedule's tick: (requests, why nothing)."""
        with build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at,
            repository_def=self.definitions.get_repository_def(),
        ) as context:
            found = self.definitions.resolve_schedule_def(SCHEDULE).evaluate_tick(context)
        return list(found.run_requests), found.skip_message or ""

    def look(self):
        """The sensor's evaluation: (requests, why nothing)."""
        repository = self.definitions.get_repository_def()
        with build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=repository
        ) as context:
            found = repository.get_sensor_def("continue_night").evaluate_tick(context)
        self.cursor = found.cursor
        return list(found.run_requests), found.skip_message or ""

    def create(self, request, status=DagsterRunStatus.NOT_STARTED):
        """The run that the daemon creates for a request."""
        job = self.definitions.get_repository_def().get_implicit_global_asset_job_def()
        subset = job.get_subset(
            asset_selection=set(request.asset_selection),
            asset_check_selection=set(request.asset_check_keys),
        )
        tags = {**request.tags, RUN_KEY_TAG: request.run_key}
        return self.instance.create_run_for_job(
            subset,
            tags=tags,
            status=status,
            asset_selection=frozenset(request.asset_selection),
        )

    def fail(self, request):
        """A run that fails by itself."""
        run = self.create(request)
        error = SerializableErrorInfo("the solver failed\n", [], "ValueError")
        data = JobFailureData(error, RunFailureReason.RUN_EXCEPTION)
        self.instance.report_run_failed(run, "failed", data)
        return self.instance.get_run_by_id(run.run_id)

    def kill(self, request):
        """A run whose process is gone, as the reaper and Dagster's code server report it."""
        self.instance.report_run_failed(self.create(request), "process 1 is gone")

    def carry_out(self, request):
        """Run what needs no solver; the rest fails."""
        if not {tuple(key.path) for key in request.asset_selection} <= CHEAP:
            return self.fail(request)
        job = self.definitions.get_repository_def().get_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=request.tags.get(PARTITION_NAME_TAG),
            asset_selection=list(request.asset_selection),
            tags={**request.tags, RUN_KEY_TAG: request.run_key},
        )
        assert result.success
        return self.instance.get_run_by_id(result.run_id)

    def sleep_through(self, at: datetime) -> list[str]:
        """A whole night: the cell of every run, in order."""
        started = []
        requests, _ = self.tick(at)
        while requests:
            for request in requests:
                cells = cells_of(self.carry_out(request))
                assert len(cells) == 1
                started.append(str(cells[0]))
            requests, _ = self.look()
        return started


class Friday(NamedTuple):
    """What a night of one dose has started, in order, and its study."""

    started: list[str]
    study: StudyContext


@pytest.fixture(scope="module")
def one_night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    (folder / "instance").mkdir()
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**TINY, **STUDY}), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(folder / "results"))
        with DagsterInstance.local_temp(str(folder / "instance")) as local:
            nights = Nights(StudyContext.load(file), local)
            nights.switch()
            return folder, nights.sleep_through(FRIDAY)


@pytest.fixture
def friday(one_night, tmp_path):
    """The morning after the first night, in a copy that a test may change."""
    folder, started = one_night
    for name in ("results", "instance"):
        shutil.copytree(folder / name, tmp_path / name)
    return Friday(started, StudyContext.load(folder / "study.yaml"))


def keys_of(requests):
    return [str(request.run_key).split(" ", 1)[1].rsplit(" ", 2)[0] for request in requests]


def reports(dose):
    """What is still started where the scores failed: it says which checks failed."""
    return [f"report_condition {dose}|{view}" for view in VIEWS]


def verdict(context, instance, condition, *key):
    return context.planner(instance).verdict(product(*key), condition)


@pytest.mark.long
def test_two_nights_with_a_dose_added_and_a_code_version_changed(
    friday, instance, write_study, monkeypatch
):
    started, study = friday
    assert started == [
        "prepare_specimen study",
        "simulate_datasets 1000",
        "run_condition 1000|dense",
        "run_condition 1000|sparse",
        *reports(1000),
    ]
    dataset = verdict(study, instance, Condition(1000), "train", "dataset")
    assert dataset.state is State.FRESH
    # On Saturday: a dose more, and other code for phase C, which makes the same data of it.
    changed = write_study(**STUDY, doses=[1000, 2000])
    for split in SPLITS:
        monkeypatch.setitem(product(split, "dataset").__dict__, "code_version", "changed")
    nights = Nights(StudyContext.load(changed), instance)
    assert nights.sleep_through(SATURDAY) == [
        "simulate_datasets 1000",
        "simulate_datasets 2000",
        "run_condition 1000|dense",
        "run_condition 1000|sparse",
        "run_condition 2000|dense",
        "run_condition 2000|sparse",
        *reports(1000),
        *reports(2000),
    ]
    after = verdict(study, instance, Condition(1000), "train", "dataset")
    assert after.state is State.FRESH and after.record.storage_id > dataset.record.storage_id
    # An unchanged phase is not made again.
    specimens = AssetRecordsFilter(AssetKey(["specimen"]))
    assert len(instance.fetch_materializations(specimens, limit=5).records) == 1
    # Nothing was started twice in a night.
    runs = instance.get_runs()
    keys = [run.tags[RUN_KEY_TAG] for run in runs]
    assert len(set(keys)) == len(keys) == 6 + 10
    assert {run.tags[NIGHT_TAG] for run in runs} == {"2026-01-02T02:00:00Z", "2026-01-03T02:00:00Z"}


def test_a_fresh_level_is_not_made_again_the_next_night(friday, instance):
    nights = Nights(friday.study, instance)
    requests, _ = nights.tick(SATURDAY)
    assert keys_of(requests) == ["run_condition 1000|dense", "run_condition 1000|sparse"]


def test_a_failed_partition_waits_for_the_next_night_and_names_what_waits_for_it(friday, instance):
    requests, why = Nights(friday.study, instance).look()
    assert requests == []
    for view in VIEWS:
        assert f"run_condition 1000|{view} failed in this night" in why
        assert f"report_condition 1000|{view} waits for run_condition 1000|{view}" in why


def test_a_killed_run_is_started_again_but_not_for_ever(study, instance):
    nights = Nights(study, instance)
    nights.switch()
    requests, _ = nights.tick(FRIDAY)
    keys = []
    for _ in range(study.study.automation.tries):
        assert len(requests) == 1
        keys.append(requests[0].run_key)
        nights.kill(requests[0])
        requests, why = nights.look()
    assert requests == [] and "prepare_specimen study was killed 3 times in this night" in why
    assert len(set(keys)) == 3


def test_a_canceled_run_is_left(study, instance):
    nights = Nights(study, instance)
    nights.switch()
    (request,), _ = nights.tick(FRIDAY)
    instance.report_run_canceled(nights.create(request))
    requests, why = nights.look()
    assert requests == [] and "prepare_specimen study was canceled in this night" in why


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
def test_a_partition_with_a_run_is_skipped_and_named(study, instance, status):
    """Whoever started it: this one has no night's tag."""
    nights = Nights(study, instance)
    nights.switch()
    (request,), _ = nights.tick(FRIDAY)
    run = nights.create(request.with_replaced_attrs(tags={}), status)
    requests, why = nights.tick(SATURDAY)
    assert requests == []
    assert f"prepare_specimen study is left to run {run.run_id[:8]}" in why
    assert "simulate_datasets 1000 waits for prepare_specimen study" in why


def test_the_sensor_waits_until_the_schedules_runs_are_there(study, instance):
    """Between asking and creating there is a moment: nothing may be started in it twice."""
    nights = Nights(study, instance)
    nights.switch()
    (request,), _ = nights.tick(FRIDAY)
    assert nights.look() == ([], "the schedule's own runs are being created")
    nights.create(request)
    requests, why = nights.look()
    assert requests == [] and "is left to run" in why
    assert nights.look()[1].startswith("no run has ended since")


def test_switched_off_means_off_and_a_restart_forgets_nothing(study, instance):
    nights = Nights(study, instance)
    (request,), _ = nights.tick(FRIDAY)
    nights.carry_out(request)
    assert nights.look() == ([], f"{SCHEDULE} is switched off")
    nights.switch()
    after_a_restart = Nights(study, instance)
    requests, _ = after_a_restart.look()
    assert keys_of(requests) == ["simulate_datasets 1000"]


def test_no_night_has_begun(study, instance):
    nights = Nights(study, instance)
    nights.switch()
    assert nights.look() == ([], "no night has begun yet")


def test_off_by_default(study):
    definitions = build_definitions(study)
    assert definitions.resolve_schedule_def(SCHEDULE).default_status.value == "STOPPED"
    sensors = definitions.get_repository_def().sensor_defs
    assert {s.name for s in sensors} == {
        "continue_night",
        "note_success",
        "note_failure",
        "note_canceled",
        "reap_dead_runs",
    }
    assert {s.default_status.value for s in sensors} == {"RUNNING"}


@pytest.mark.long
def test_a_study_changed_since_the_definitions_were_loaded_is_decided_as_it_is_now(
    study, instance, write_study
):
    """A dose that the running daemon does not know of is completed all the same."""
    nights = Nights(study, instance)
    nights.switch()
    (request,), _ = nights.tick(FRIDAY)
    nights.carry_out(request)
    write_study(**STUDY, doses=[1000, 2000])  # the file that the loaded study came from
    assert not night.is_current(study)
    requests, _ = nights.look()
    assert keys_of(requests) == ["simulate_datasets 1000", "simulate_datasets 2000"]
    assert requests[1].tags[PARTITION_NAME_TAG] == "2000"
    assert AssetKey(["test", "dataset"]) in requests[1].asset_selection
    assert AssetCheckKey(AssetKey(["test", "dataset"]), "data001") in requests[1].asset_check_keys


def test_code_changed_since_the_definitions_were_loaded_is_asked_in_a_fresh_process(
    study, instance, monkeypatch
):
    monkeypatch.setattr(night, "_sources", lambda: "other code")
    assert not night.is_current(study)
    asked = night.decide_as_on_disk(study, instance, "now")
    assert asked == night.decide(study, instance, "now") and len(asked.starts) == 1


def test_a_study_file_that_breaks_a_rule_starts_nothing_and_says_which(
    study, instance, write_study
):
    nights = Nights(study, instance)
    write_study(**STUDY, doses=[2000, 1000])
    with pytest.raises(Exception) as raised:
        nights.tick(FRIDAY)
    assert "not in ascending order" in f"{raised.value} {raised.value.__cause__}"
    assert instance.get_runs() == []


def test_a_bad_cron_expression_is_refused(write_study):
    path = write_study(automation={"cron": "99 2 * * *"})
    with pytest.raises(InputError, match=r"automation: cron: '99 2 \* \* \*' has the minute '99'"):
        build_definitions(StudyContext.load(path))


def test_a_decision_survives_json(study, instance):
    for start in night.decide(study, instance, "now").starts:
        assert night.Start.from_json(json.loads(json.dumps(start.to_json()))) == start


# Blockers of runs that the command line did not start.


def test_a_failed_run_leaves_a_blocker_and_its_success_takes_it_away(study, instance):
    nights = Nights(study, instance)
    nights.switch()
    (request,), _ = nights.tick(FRIDAY)
    failed = nights.fail(request)
    note_end(study, instance, failed)
    path = blockers.path_of(study.store, LEVELS[0], Condition())
    text = path.read_text("utf-8")
    assert f"run: {failed.run_id}" in text and "exception: the solver failed" in text
    note_end(study, instance, nights.carry_out(request))
    assert not path.exists()


def test_an_older_runs_end_that_is_heard_of_late_changes_nothing(study, instance):
    nights = Nights(study, instance)
    (request,), _ = nights.tick(FRIDAY)
    failed = nights.fail(request)
    note_end(study, instance, nights.carry_out(request))
    note_end(study, instance, failed)
    assert not blockers.path_of(study.store, LEVELS[0], Condition()).exists()


@pytest.mark.long
def test_success_elsewhere_in_the_condition_does_not_hide_what_stopped(friday, instance):
    """A run of the UI may make one asset of many."""
    study = friday.study
    nights = Nights(study, instance)
    condition, level = Condition(1000, "dense"), LEVELS[2]
    stop = blockers.Stop("pinn_model", "out of memory", "-")
    blockers.write(study.store, level, condition, "earlier", [stop])
    job = nights.definitions.get_repository_def().get_implicit_global_asset_job_def()
    views = {AssetKey([split, "overlap_view"]) for split in ("train", "test")}
    result = job.execute_in_process(
        instance=instance, partition_key="1000|dense", asset_selection=list(views)
    )
    assert result.success
    run = instance.get_run_by_id(result.run_id)
    assert cells_of(run) == [Cell(level, condition)]
    note_end(study, instance, run)
    assert blockers.steps(study.store, level, condition) == ["pinn_model"]


def test_the_three_sensors_note_the_ends_of_runs(study, instance):
    from dagster import build_run_status_sensor_context

    nights = Nights(study, instance)
    (request,), _ = nights.tick(FRIDAY)
    repository = nights.definitions.get_repository_def()
    path = blockers.path_of(study.store, LEVELS[0], Condition())
    for name, end, stopped in (
        ("note_failure", nights.fail, True),
        ("note_success", nights.carry_out, False),
    ):
        run = end(request)
        event = instance.get_records_for_run(run.run_id).records[-1].event_log_entry.dagster_event
        context = build_run_status_sensor_context(name, event, instance, run)
        repository.get_sensor_def(name)(context)
        assert path.exists() is stopped


def test_study_files_of_the_night_are_yaml(tmp_path):
    """The shipped study says when the night begins, and that it is a switch away."""
    from fly64_assets.study.model import PROJECT_ROOT

    shipped = yaml.safe_load((PROJECT_ROOT / "study.yaml").read_text("utf-8"))
    assert shipped["automation"] == {"cron": "0 2 * * *", "tries": 3}
