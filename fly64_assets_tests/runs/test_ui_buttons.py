"""What the UI's buttons start without a partition: checks of every one, a sentence for the rest.

And runs of the command line as the UI has them: on its pages, and begun again by its buttons.
"""

from __future__ import annotations

from collections import Counter

import pytest
import yaml
from dagster import AssetCheckKey, AssetKey, DagsterEventType, DagsterRun, execute_job
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG

from fly64_assets.definitions import build_definitions
from fly64_assets.documents.provenance import FAILED, PASSED
from fly64_assets.errors import InputError
from fly64_assets.pipeline.check_frame import PER_PARTITION
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance, study_instance
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import JOBS, LAUNCH_TAG, RunRequest, by_command_line
from fly64_assets.runs.executor import require_partition
from fly64_assets.runs.runner import job_of
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.conftest import TINY, fly64
from fly64_assets_tests.servers import ui_of, wait_for

DOSES = [1000, 2000, 3000]
STUDY = {**TINY, "doses": DOSES}
SPECIMEN, DATASETS, SCORES, _ = LEVELS
TEST_HALF = product("test", "dataset")


@pytest.fixture
def made(write_study, monkeypatch):
    """The datasets of two of three doses, in this process: (context, instance)."""
    monkeypatch.setenv("DAGSTER_HOME", "unset")
    monkeypatch.setenv("FLY64_STUDY", "unset")
    context = StudyContext.load(write_study(doses=DOSES))
    definitions = build_definitions(context)
    with study_instance(context.study, context.study_file) as instance:
        for level, key in ((SPECIMEN, None), (DATASETS, "1000"), (DATASETS, "2000")):
            job = definitions.resolve_job_def(JOBS[level])
            assert job.execute_in_process(instance=instance, partition_key=key).success
        yield context, instance


def execute_all(context, instance, item):
    """Press "Execute all" on the Checks tab of an asset, and what it has evaluated."""
    job = build_definitions(context).get_repository_def().get_implicit_global_asset_job_def()
    checks = {AssetCheckKey(AssetKey(item.key), name) for name in item.checks}
    chosen = job.get_subset(asset_check_selection=checks)
    result = chosen.execute_in_process(instance=instance, raise_on_error=False)
    return result, [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION
    ]


def test_execute_all_evaluates_every_partition_that_was_made(made):
    context, instance = made
    ledger = context.ledger(instance)
    path = context.store.path(TEST_HALF, Condition(1000), "patched_test.npz")
    result, before = execute_all(context, instance, TEST_HALF)
    assert result.success and len(before) == 3 * len(TEST_HALF.checks)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result, found = execute_all(context, instance, TEST_HALF)
    assert not result.success, "a check that blocks has failed, and the run with it"
    n_checks = len(TEST_HALF.checks)
    # Of altered bytes one check says so, and no other is evaluated.
    assert Counter(one.partition for one in found) == {None: n_checks, "1000": 1, "2000": n_checks}
    for dose, n_failed in ((1000, 1), (2000, 0)):
        record = ledger.latest(TEST_HALF, Condition(dose))
        states = Counter(one.state for one in ledger.checks(record))
        assert states == Counter({FAILED: n_failed, PASSED: n_checks - n_failed}), dose
        targets = {
            one.target_materialization_data.storage_id
            for one in found
            if one.partition == str(dose)
        }
        assert targets == {record.storage_id}
    assert ledger.latest(TEST_HALF, Condition(3000)) is None
    whole = [one for one in found if one.partition is None]
    said = "holds in 1 of 2 partitions that were made"
    left = f"{said}; not evaluated, being stale or altered: 1000"
    assert not any(one.passed for one in whole)
    assert Counter(one.description for one in whole) == {
        f"{said}, not in 1000": 1,
        left: n_checks - 1,
    }
    # The UI's list of checks shows the last: the one that fails.
    (key,) = [one.asset_check_key for one in found if one.partition == "1000"]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    assert latest[key].evaluation.partition == "1000"


def test_each_check_of_a_partitioned_asset_says_what_the_list_shows(write_study):
    graph = build_definitions(StudyContext.load(write_study())).get_repository_def().asset_graph
    for key in graph.asset_check_keys:
        partitioned = product(*key.asset_key.path).per != "study"
        assert (PER_PARTITION in graph.get_check_spec(key).description) is partitioned


CONDITION_STEPS = ["pinn_model", "check_pinn_model"]


@pytest.mark.parametrize(
    ("steps", "tags", "said"),
    [
        (CONDITION_STEPS, {}, "pinn_model: has no partition: choose dose and view"),
        (["train_dataset_and_test_dataset"], {}, "dataset, test/dataset: has no partition"),
        (["specimen", "pinn_model"], {}, "has no partition"),
        (
            CONDITION_STEPS,
            {ASSET_PARTITION_RANGE_START_TAG: "1000|dense"},
            "is of a range of partitions, and makes one only: choose 'Multiple runs'",
        ),
        (CONDITION_STEPS, {PARTITION_NAME_TAG: "1000"}, "is of partition 1000, which is none"),
        (CONDITION_STEPS, {PARTITION_NAME_TAG: "9|dense"}, "is of partition 9|dense, which is"),
        (["specimen"], {}, None),
        (["check_pinn_model"], {}, None),
        (["study_report"], {}, None),
        (CONDITION_STEPS, {PARTITION_NAME_TAG: "1000|dense"}, None),
        (["train_dataset_and_test_dataset"], {PARTITION_NAME_TAG: "1000"}, None),
    ],
)
def test_a_run_that_makes_something_has_one_partition(write_study, steps, tags, said):
    study = StudyContext.load(write_study()).study
    run = DagsterRun("job", tags=tags)
    if said is None:
        require_partition(study, run, steps)
        return
    with pytest.raises(InputError) as refused:
        require_partition(study, run, steps)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_launchpad_without_a_partition_fails_with_that_sentence(write_study, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "unset")
    file = write_study()
    monkeypatch.setenv("FLY64_STUDY", str(file))
    context = StudyContext.load(file)
    request = RunRequest(DATASETS, Condition(), DATASETS.products_in(context.study), ())
    with study_instance(context.study, file) as instance:
        result = execute_job(job_of(request), instance, raise_on_error=False)
        assert not result.success
        (failed,) = [e for e in result.all_events if e.event_type is DagsterEventType.RUN_FAILURE]
        assert "this run of train/dataset, test/dataset: has no partition" in str(
            failed.job_failure_data.error.message
        )
        assert not any(event.is_step_start for event in result.all_events)


RUNS_OF_PAGES = """
{
  runsOrError { ... on Runs { results {
    id jobName status startTime repositoryOrigin { repositoryName repositoryLocationName }
  } } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    name location { name } pipelines { name runs(limit: 10) { id } }
  } } }
}
"""
REEXECUTE = """
mutation Again($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


@pytest.mark.long
def test_runs_of_the_command_line_in_the_ui(tmp_path, monkeypatch):
    """Timeline and Jobs list them; "Re-execute all" and "from failure" begin them again."""
    file, results = tmp_path / "study.yaml", tmp_path / "results"
    file.write_text(yaml.safe_dump(STUDY), "utf-8")
    in_the_way = results / "tiny/store/data/phase_c/dose_1000"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no folder", "utf-8")
    asked = ("--study", file, "--dose", "1000")
    assert fly64("run", *asked, results=results).returncode == 1
    in_the_way.unlink()
    fly64("checks", "--rerun", *asked, results=results)
    monkeypatch.setenv(RESULTS_VARIABLE, str(results))
    context = StudyContext.load(file)
    with ui_of(file, results) as ui, read_only_instance(context.study) as instance:
        data = ui.ask(RUNS_OF_PAGES)
        runs = {one["jobName"]: one for one in data["runsOrError"]["results"]}
        assert {name: one["status"] for name, one in runs.items()} == {
            JOBS[SPECIMEN]: "SUCCESS",
            JOBS[DATASETS]: "FAILURE",
        }
        (repository,) = data["repositoriesOrError"]["nodes"]
        listed = {
            job["name"]: [one["id"] for one in job["runs"]] for job in repository["pipelines"]
        }
        for name, run in runs.items():
            assert run["startTime"] and listed[name] == [run["id"]]
            assert run["repositoryOrigin"] == {
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
            }

        def again(run_id: str, strategy: str) -> DagsterRun:
            params = {"parentRunId": run_id, "strategy": strategy}
            answer = ui.ask(REEXECUTE, params=params)["launchRunReexecution"]
            assert answer["__typename"] == "LaunchRunSuccess", answer
            repeated = answer["run"]["runId"]
            wait_for("it", lambda: instance.get_run_by_id(repeated).is_finished, 300)
            return instance.get_run_by_id(repeated)

        for job, strategy in (
            (JOBS[DATASETS], "FROM_FAILURE"),
            (JOBS[DATASETS], "ALL_STEPS"),
            (JOBS[SPECIMEN], "ALL_STEPS"),
        ):
            run = again(runs[job]["id"], strategy)
            assert run.is_success and run.parent_run_id == runs[job]["id"]
            # What Dagster copies does not make it a run of the command line, whose end no sensor
            # would look after.
            assert run.tags[LAUNCH_TAG] == run.parent_run_id and not by_command_line(run)
        assert fly64("checks", "--rerun", *asked, results=results).returncode in (0, 1)
        (checked, *_) = instance.get_runs(limit=1)
        assert by_command_line(checked) and not checked.asset_selection
        record = context.ledger(instance).latest(TEST_HALF, Condition(1000))
        run = again(checked.run_id, "ALL_STEPS")
        assert run.is_success and run.asset_check_selection == checked.asset_check_selection
        assert context.ledger(instance).latest(TEST_HALF, Condition(1000)) == record, "only checked"
