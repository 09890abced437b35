"""Backfills as the UI starts them, with real servers: what is made, in which order, what not.

The web server, daemon and code server of ``fly64 ui`` are asked in the words of the web pages; what
happened is read from the event log afterwards. Once with records in files, once in Postgres.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import yaml
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG

from fly64_assets import blockers
from fly64_assets.assets.phase_asset import SOLVER_POOL
from fly64_assets.automation import SCHEDULE
from fly64_assets.catalogue import LEVELS, PRODUCTS, Product, product
from fly64_assets.context import StudyContext
from fly64_assets.definitions import build_definitions
from fly64_assets.instance import INSTANCE_VARIABLE, read_only_instance
from fly64_assets.partitions import Condition
from fly64_assets.planner import State
from fly64_assets.store import RESULTS_VARIABLE
from fly64_assets.study import PROJECT_ROOT
from fly64_assets_tests.conftest import TINY, fly64
from fly64_assets_tests.servers import Ui, postgres, ui_of, wait_for, why_no_postgres

STUDY = {
    **TINY,
    "doses": [1000, 2000, 3000],
    "views": {"dense": {"target_overlap": 0.7}, "sparse": {"target_overlap": 0.2}},
    "simulation": {"positions": 1500},
    # Switched on in the test, and never due.
    "automation": {"cron": "0 0 29 2 *"},
}
SPECIMEN, DATASETS, SCORES, REPORTS = LEVELS
ASKED = [Condition(dose, view) for dose in (1000, 2000) for view in STUDY["views"]]
EVERYTHING = [item for item in PRODUCTS if item.per != "study"]
FROM_VIEWS = [item for item in EVERYTHING if item.per == "condition"]
ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
MINUTES = 60.0

REPOSITORIES = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name}}}}}"
LAUNCH_BACKFILL = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } }
  }
}
"""
LAUNCH_RUN = """
mutation Launch($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
START_SCHEDULE = """
mutation StartThisSchedule($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    ... on ScheduleStateResult { scheduleState { status } }
    ... on PythonError { message }
  }
}
"""
SCHEDULES = """
query Schedules($repository: RepositorySelector!) {
  schedulesOrError(repositorySelector: $repository) {
    ... on Schedules { results { name scheduleState { status } } }
  }
}
"""


@dataclass(frozen=True)
class Served:
    """A study whose UI is up, and the instance that it writes to."""

    ui: Ui
    context: StudyContext
    instance: DagsterInstance

    @property
    def repository(self) -> dict[str, str]:
        (node,) = self.ui.ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
        return {
            "repositoryName": node["name"],
            "repositoryLocationName": node["location"]["name"],
        }

    def backfill(self, products: list[Product], partitions: list[str]) -> str:
        """Launch one as the UI's dialog does: assets, and the keys of those at the root."""
        params = {
            "tags": [],
            "assetSelection": [{"path": list(item.key)} for item in products],
            "partitionNames": partitions,
            "fromFailure": False,
        }
        answer = self.ui.ask(LAUNCH_BACKFILL, backfillParams=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def ended(self, *backfills: str, minutes: float) -> list[str]:
        """The statuses of backfills that have ended."""

        def statuses() -> list[str] | None:
            found = [
                self.ui.ask(BACKFILL, id=backfill)["partitionBackfillOrError"]
                for backfill in backfills
            ]
            assert not any(one["error"] for one in found), found
            states = [one["status"] for one in found]
            return states if set(states) <= ENDED else None

        return wait_for("the backfill", statuses, minutes * MINUTES, interval=2.0)

    def materialize(self, *products: Product) -> None:
        """The UI's button for what has no partitions, waited for."""
        params = {
            "mode": "default",
            "executionMetadata": {"tags": []},
            "runConfigData": "{}",
            "selector": {
                **self.repository,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": list(item.key)} for item in products],
                "assetCheckSelection": [],
            },
        }
        answer = self.ui.ask(LAUNCH_RUN, executionParams=params)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id = answer["run"]["runId"]

        def success() -> bool:
            run = self.instance.get_run_by_id(run_id)
            assert run.status is not DagsterRunStatus.FAILURE
            return run.is_success

        wait_for("the specimen", success, 3 * MINUTES)

    def runs(self, *backfills: str) -> dict[str, DagsterRunStatus]:
        """partition -> how its one run ended."""
        runs = [
            run
            for backfill in backfills
            for run in self.instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: backfill}))
        ]
        found = {run.tags[PARTITION_NAME_TAG]: run.status for run in runs}
        assert len(found) == len(runs), "a partition was run twice"
        return found

    def steps(self, *backfills: str) -> list[Step]:
        """Every step that was begun, by its run's event log."""
        found = []
        for backfill in backfills:
            for run in self.instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: backfill})):
                found += _steps_of(self.instance, run)
        return found

    def failures(self, backfill: str, partition: str) -> str:
        """What the steps that failed in a partition say."""
        texts = []
        for run in self.instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: backfill})):
            if run.tags[PARTITION_NAME_TAG] == partition:
                for record in self.instance.get_records_for_run(run.run_id).records:
                    event = record.event_log_entry.dagster_event
                    if event and event.event_type is DagsterEventType.STEP_FAILURE:
                        texts.append(str(event.step_failure_data.error))
        return "\n".join(texts)

    def states(self, conditions: list[Condition]) -> Counter[State]:
        return Counter(v.state for v in self.context.planner(self.instance).survey(conditions))

    def blocker(self, level, condition: Condition):
        return blockers.path_of(self.context.store, level, condition)


@dataclass(frozen=True)
class Step:
    """When a step of a partition was at work, and what it recorded; seconds since the epoch."""

    partition: str
    key: str
    begun: float
    ended: float
    made: tuple[tuple[str, ...], ...]


def _steps_of(instance: DagsterInstance, run) -> list[Step]:
    begun, ended, made = {}, {}, {}
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(run.run_id, cursor)
        cursor, more = page.cursor, page.has_more
        for record in page.records:
            entry = record.event_log_entry
            event = entry.dagster_event
            if event is None or event.step_key is None:
                continue
            if event.event_type is DagsterEventType.STEP_START:
                assert event.step_key not in begun, "a step was begun twice"
                begun[event.step_key] = entry.timestamp
            elif event.event_type in (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE):
                ended[event.step_key] = entry.timestamp
            elif event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
                key = tuple(event.step_materialization_data.materialization.asset_key.path)
                made.setdefault(event.step_key, []).append(key)
    partition = run.tags[PARTITION_NAME_TAG]
    assert begun.keys() == ended.keys()
    return [Step(partition, key, begun[key], ended[key], tuple(made.get(key, ()))) for key in begun]


def made_by(steps: list[Step]) -> Counter[tuple[tuple[str, ...], str]]:
    """(asset key, partition) -> how often it was made."""
    return Counter((key, step.partition) for step in steps for key in step.made)


def due(products: list[Product], conditions: list[Condition]) -> set[tuple[tuple[str, ...], str]]:
    """Every (asset key, partition) of these products in these conditions."""
    return {
        (item.key, str(condition.restricted_to(item.per)))
        for item in products
        for condition in conditions
    }


def assert_inputs_came_first(steps: list[Step]) -> None:
    """Nothing was begun before the step that made its input had ended."""
    maker = {(key, step.partition): step for step in steps for key in step.made}
    compared = 0
    for (key, partition), step in maker.items():
        item, at = product(*key), Condition.from_partition_key(partition)
        for upstream in map(lambda k: product(*k), item.inputs):
            first = maker.get((upstream.key, str(at.restricted_to(upstream.per))))
            if first is not None and first is not step:
                assert first.ended <= step.begun, f"{item.name} {at} before {upstream.name}"
                compared += 1
    assert compared


def solver_steps(context: StudyContext) -> set[str]:
    """Keys of the steps that the solver pool keeps apart."""
    nodes = build_definitions(context).get_repository_def().get_all_jobs()
    found = {
        name
        for job in nodes
        for name, node in ((n.name, n) for n in job.graph.nodes)
        if SOLVER_POOL in getattr(node.definition, "pools", ())
    }
    assert found
    return found


def overlaps(steps: list[Step]) -> list[tuple[Step, Step]]:
    return [
        (one, other)
        for one, other in itertools.combinations(steps, 2)
        if one.begun < other.ended and other.begun < one.ended
    ]


@pytest.fixture(params=["files", "postgres"])
def environment(request) -> Iterator[dict[str, str]]:
    """What a user exports to have the records there."""
    if request.param == "files":
        yield {}
        return
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    with postgres() as cluster:
        cluster.create("backfills")
        example = PROJECT_ROOT / "examples/postgres/dagster.yaml"
        yield {INSTANCE_VARIABLE: str(example), **cluster.environment("backfills")}


@contextmanager
def served(folder, environment, patch) -> Iterator[Served]:
    file, results = folder / "study.yaml", folder / "results"
    file.write_text(yaml.safe_dump(STUDY), "utf-8")
    for name, value in {**environment, RESULTS_VARIABLE: str(results)}.items():
        patch.setenv(name, value)
    context = StudyContext.load(file)
    with ui_of(file, results) as ui, read_only_instance(context.study) as instance:
        assert environment == {} or "postgres" in type(instance.run_storage).__module__
        yield Served(ui, context, instance)


def switch_on_and_find_listed(study: Served) -> None:
    """The schedule, by the mutation that the Automation page's switch sends."""
    selector = {**study.repository, "scheduleName": SCHEDULE}
    study.ui.ask(START_SCHEDULE, selector=selector)
    listed = study.ui.ask(SCHEDULES, repository=study.repository)["schedulesOrError"]["results"]
    assert [(one["name"], one["scheduleState"]["status"]) for one in listed] == [
        (SCHEDULE, "RUNNING")
    ]


@pytest.mark.matrix
def test_backfills_of_the_ui(tmp_path, environment, monkeypatch):
    """Two doses of three: one cannot be made, one has a file altered; both are mended."""
    with served(tmp_path, environment, monkeypatch) as study:
        switch_on_and_find_listed(study)
        study.materialize(product("specimen"))
        in_the_way = study.context.store.root / "data/phase_c/dose_2000"
        in_the_way.parent.mkdir(parents=True, exist_ok=True)
        in_the_way.write_text("a file where a folder has to be", "utf-8")
        _a_dose_that_fails_stops_what_depends_on_it_and_nothing_else(study)
        altered = _what_is_altered_or_was_never_made_is_refused_later_too(study)
        in_the_way.unlink()
        _mended_it_is_completed(study, altered)
        done = fly64(
            "status", "--study", study.context.study_file, "--dose", "1000,2000",
            results=tmp_path / "results",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        nights = [run for run in study.instance.get_runs() if "fly64/night" in run.tags]
        assert nights == [], "switched on, and not due"


def _a_dose_that_fails_stops_what_depends_on_it_and_nothing_else(study: Served) -> None:
    first = study.backfill(EVERYTHING, ["1000", "2000"])
    assert study.ended(first, minutes=20) == ["COMPLETED_FAILED"]
    success, failure = DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE
    assert study.runs(first) == {
        "1000": success,
        "2000": failure,
        "1000|dense": success,
        "1000|sparse": success,
    }
    steps = study.steps(first)
    assert made_by(steps) == Counter(due(EVERYTHING, ASKED[:2]))
    assert_inputs_came_first(steps)
    solvers = solver_steps(study.context)
    at_solvers = [step for step in steps if step.key in solvers]
    assert {step.key for step in at_solvers} == solvers
    assert overlaps(at_solvers) == []
    apart = [(a, b) for a, b in overlaps(steps) if a.partition != b.partition]
    assert apart, "the two conditions were made at the same time"
    assert study.states(ASKED[:2]) == {State.FRESH: 3 + 2 * len(FROM_VIEWS)}
    written = study.blocker(DATASETS, Condition(2000))
    wait_for("its blocker", written.is_file, 2 * MINUTES)
    assert "step: train_dataset_and_test_dataset" in written.read_text("utf-8")
    shown = fly64(
        "status", "--study", study.context.study_file, "--dose", "2000",
        results=study.context.store.root.parents[1],
    )  # fmt: skip
    assert shown.returncode == 1 and "train_dataset_and_test_dataset" in shown.stdout


def _what_is_altered_or_was_never_made_is_refused_later_too(study: Served) -> Condition:
    """A later backfill of consumers: of a flipped bit, of nothing, and of what is as it was."""
    dense, sparse = ASKED[:2]
    view = study.context.store.path(product("train", "overlap_view"), dense, "train.npz")
    content = bytearray(view.read_bytes())
    content[len(content) // 2] ^= 1
    view.write_bytes(content)
    consumers = [product("baseline_model"), product("train", "comparison")]
    later = study.backfill(consumers, ["1000|dense", "1000|sparse", "2000|dense"])
    assert study.ended(later, minutes=10) == ["COMPLETED_FAILED"]
    assert study.runs(later) == {
        "1000|dense": DagsterRunStatus.FAILURE,
        "1000|sparse": DagsterRunStatus.SUCCESS,
        "2000|dense": DagsterRunStatus.FAILURE,
    }
    assert made_by(study.steps(later)) == Counter(due(consumers, [sparse]))
    assert "train.npz has sha256" in study.failures(later, "1000|dense")
    assert "was never made" in study.failures(later, "2000|dense")
    for condition in (dense, ASKED[2]):
        written = study.blocker(SCORES, condition)
        wait_for("its blocker", written.is_file, 2 * MINUTES)
        assert "step: baseline_model" in written.read_text("utf-8")
    return dense


def _mended_it_is_completed(study: Served, altered: Condition) -> None:
    whole = study.backfill(EVERYTHING, ["2000"])
    again = study.backfill(FROM_VIEWS, [str(altered)])
    statuses = study.ended(whole, again, minutes=20)
    assert statuses == ["COMPLETED_SUCCESS"] * 2
    mended = [*ASKED[2:], altered]
    assert set(study.runs(whole, again)) == {"2000", *map(str, mended)}
    steps = study.steps(whole, again)
    expected = due(EVERYTHING, ASKED[2:]) | due(FROM_VIEWS, [altered])
    assert made_by(steps) == Counter(expected)
    assert_inputs_came_first(steps)
    solvers = solver_steps(study.context)
    assert overlaps([step for step in steps if step.key in solvers]) == []
    # The baseline that was made again of equal data left the sparse scores as they were.
    remade = {product("baseline_model"), product("train", "comparison")}
    verdicts = study.context.planner(study.instance).survey(ASKED)
    stale = [v for v in verdicts if v.state is not State.FRESH]
    assert all(v.condition == ASKED[1] and v.product not in remade for v in stale), stale
    assert all(v.product.quotes_files or v.product.stage != "score" for v in stale), stale

    def no_blocker() -> bool:
        return not [b for condition in ASKED for b in blockers.of(study.context.store, condition)]

    wait_for("the blockers to go", no_blocker, 2 * MINUTES)
    nothing = study.states([Condition(3000, view) for view in STUDY["views"]])
    assert nothing == {State.FRESH: 1, State.MISSING: 2 + 2 * len(FROM_VIEWS)}
    assert not list(study.context.store.root.rglob("dose_3000"))
