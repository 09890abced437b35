"""Backfills as the UI starts them, with real servers: what is made, in which order, what not.

The web server, daemon and code server of ``fly64 ui`` are asked in the words of the web pages; what
happened is read from the event log afterwards. Up to one network with records in files and in
Postgres, and once everything from the datasets to the reports.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import yaml
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG

from fly64_assets.definitions import build_definitions
from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.asset_frame import SOLVER_POOL
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State, Verdict
from fly64_assets.pipeline.instance import INSTANCE_VARIABLE, read_only_instance
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import NIGHT_TAG
from fly64_assets.runs.automation import SCHEDULE
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import LEVELS, Product, product
from fly64_assets_tests.conftest import PRODUCTS, TINY, fly64
from fly64_assets_tests.servers import (
    LAUNCH_BACKFILL,
    LAUNCH_RUN,
    REPOSITORIES,
    SCHEDULES,
    START_SCHEDULE,
    Ui,
    postgres,
    ui_of,
    wait_for,
    why_no_postgres,
)

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
ONE_SOLVER = [
    item for item in EVERYTHING if item.group[:1] in "cd" or item is product("baseline_model")
]
ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
MINUTES = 60.0

BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } }
  }
}
"""


@dataclass(frozen=True)
class Served:
    """A study whose UI is up, and the instance that it writes to."""

    ui: Ui
    context: StudyContext
    instance: DagsterInstance
    products: list[Product]

    @property
    def of_conditions(self) -> list[Product]:
        return [item for item in self.products if item.per == "condition"]

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

    def records(self, *backfills: str) -> list[RunRecord]:
        filters = [RunsFilter(tags={BACKFILL_ID_TAG: backfill}) for backfill in backfills]
        return [record for each in filters for record in self.instance.get_run_records(each)]

    def runs(self, *backfills: str) -> dict[str, set[DagsterRunStatus]]:
        """partition -> how its runs ended: Dagster may need several, one after the other."""
        found, spans = defaultdict(set), []
        for record in self.records(*backfills):
            run, partition = record.dagster_run, record.dagster_run.tags[PARTITION_NAME_TAG]
            found[partition].add(run.status)
            spans.append(Step(partition, run.run_id, record.start_time, record.end_time, ()))
        at_once = [(a, b) for a, b in overlaps(spans) if a.partition == b.partition]
        assert not at_once, "two runs were at one partition"
        return dict(found)

    def steps(self, *backfills: str) -> list[Step]:
        """Every step that was begun, by its run's event log."""
        records = self.records(*backfills)
        return [step for r in records for step in _steps_of(self.instance, r.dagster_run)]

    def failures(self, backfill: str, partition: str) -> str:
        """What the steps that failed in a partition say."""
        texts = []
        for run in (record.dagster_run for record in self.records(backfill)):
            if run.tags[PARTITION_NAME_TAG] == partition:
                for entry in self.instance.all_logs(run.run_id, DagsterEventType.STEP_FAILURE):
                    texts.append(str(entry.dagster_event.step_failure_data.error))
        return "\n".join(texts)

    def not_fresh(self, conditions: list[Condition]) -> list[Verdict]:
        verdicts = self.context.planner(self.instance).survey(conditions)
        chosen = [v for v in verdicts if v.product in self.products]
        return [v for v in chosen if v.state is not State.FRESH]

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
        for upstream in (product(*key) for key in item.inputs):
            first = maker.get((upstream.key, str(at.restricted_to(upstream.per))))
            if first is not None and first is not step:
                assert first.ended <= step.begun, f"{item.name} {at} before {upstream.name}"
                compared += 1
    assert compared


def solver_steps(context: StudyContext) -> set[str]:
    """Keys of the steps that the solver pool keeps apart."""
    jobs = build_definitions(context).get_repository_def().get_all_jobs()
    nodes = [node for job in jobs for node in job.graph.nodes]
    return {node.name for node in nodes if SOLVER_POOL in node.definition.pools}


def overlaps(steps: list[Step]) -> list[tuple[Step, Step]]:
    return [
        (one, other)
        for one, other in itertools.combinations(steps, 2)
        if one.begun < other.ended and other.begun < one.ended
    ]


@contextmanager
def records_in(where: str) -> Iterator[dict[str, str]]:
    """What a user exports to have the records there."""
    if where == "files":
        yield {}
        return
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    with postgres() as cluster:
        cluster.create("backfills")
        example = PROJECT_ROOT / "examples/postgres/dagster.yaml"
        yield {INSTANCE_VARIABLE: str(example), **cluster.environment("backfills")}


@pytest.fixture(
    params=[("files", ONE_SOLVER), ("postgres", ONE_SOLVER), ("files", EVERYTHING)],
    ids=["files", "postgres", "everything"],
)
def study(request, tmp_path, monkeypatch) -> Iterator[Served]:
    """A study with its UI, and with a specimen."""
    where, products = request.param
    file, results = tmp_path / "study.yaml", tmp_path / "results"
    file.write_text(yaml.safe_dump(STUDY), "utf-8")
    with records_in(where) as environment:
        for name, value in {**environment, RESULTS_VARIABLE: str(results)}.items():
            monkeypatch.setenv(name, value)
        context = StudyContext.load(file)
        with ui_of(file, results) as ui, read_only_instance(context.study) as instance:
            assert ("postgres" in type(instance.run_storage).__module__) is (where == "postgres")
            served = Served(ui, context, instance, products)
            served.materialize(product("specimen"))
            yield served


def switch_on_and_find_listed(study: Served) -> None:
    """The schedule, by the mutation that the Automation page's switch sends."""
    selector = {**study.repository, "scheduleName": SCHEDULE}
    study.ui.ask(START_SCHEDULE, selector=selector)
    listed = study.ui.ask(SCHEDULES, repository=study.repository)["schedulesOrError"]["results"]
    assert [(one["name"], one["scheduleState"]["status"]) for one in listed] == [
        (SCHEDULE, "RUNNING")
    ]


@pytest.mark.matrix
def test_backfills_of_the_ui(study):
    """Two doses of three: one cannot be made, one has a file altered; both are mended."""
    switch_on_and_find_listed(study)
    dataset, at = product("train", "dataset"), Condition(2000)
    in_the_way = study.context.store.path(dataset, at, "patched_train.npz")
    in_the_way.mkdir(parents=True)
    _a_dose_that_fails_stops_what_depends_on_it_and_nothing_else(study)
    altered = _what_is_altered_or_was_never_made_is_refused_later_too(study)
    in_the_way.rmdir()
    _mended_it_is_completed(study, altered)
    nights = [run for run in study.instance.get_runs() if NIGHT_TAG in run.tags]
    assert nights == [], "switched on, and not due"


def status(study: Served) -> tuple[int, str]:
    """Exit code and text of ``fly64 status`` for the doses that were asked for."""
    arguments = ("status", "--study", study.context.study_file, "--dose", "1000,2000")
    done = fly64(*arguments, results=study.context.store.root.parents[1])
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def _a_dose_that_fails_stops_what_depends_on_it_and_nothing_else(study: Served) -> None:
    first = study.backfill(study.products, ["1000", "2000"])
    assert study.ended(first, minutes=60) == ["COMPLETED_FAILED"]
    assert study.runs(first) == {
        "1000": {DagsterRunStatus.SUCCESS},
        "2000": {DagsterRunStatus.FAILURE},
        "1000|dense": {DagsterRunStatus.SUCCESS},
        "1000|sparse": {DagsterRunStatus.SUCCESS},
    }
    steps = study.steps(first)
    assert made_by(steps) == Counter(due(study.products, ASKED[:2]))
    assert study.not_fresh(ASKED[:2]) == []
    assert_inputs_came_first(steps)
    assert_solvers_kept_apart(study, steps)
    apart = [(a, b) for a, b in overlaps(steps) if a.partition != b.partition]
    assert apart, "no two conditions were made at the same time: the pool was not tried"
    written = study.blocker(DATASETS, Condition(2000))
    wait_for("its blocker", written.is_file, 2 * MINUTES)
    assert "step: train_dataset_and_test_dataset" in written.read_text("utf-8")
    code, shown = status(study)
    assert code == 1 and "train_dataset_and_test_dataset" in shown


def assert_solvers_kept_apart(study: Served, steps: list[Step]) -> None:
    solvers = solver_steps(study.context)
    at_work = [step for step in steps if step.key in solvers]
    assert len({step.partition for step in at_work}) >= 2
    assert overlaps(at_work) == []


def _what_is_altered_or_was_never_made_is_refused_later_too(study: Served) -> Condition:
    """A later backfill of a consumer: of a flipped bit, of nothing, and of what is as it was."""
    dense, sparse, missing = ASKED[:3]
    view = study.context.store.path(product("train", "overlap_view"), dense, "train.npz")
    content = bytearray(view.read_bytes())
    content[len(content) // 2] ^= 1
    view.write_bytes(content)
    consumer = product("baseline_model")
    later = study.backfill([consumer], [str(c) for c in (dense, sparse, missing)])
    assert study.ended(later, minutes=15) == ["COMPLETED_FAILED"]
    assert study.runs(later) == {
        "1000|dense": {DagsterRunStatus.FAILURE},
        "1000|sparse": {DagsterRunStatus.SUCCESS},
        "2000|dense": {DagsterRunStatus.FAILURE},
    }
    assert made_by(study.steps(later)) == Counter(due([consumer], [sparse]))
    assert "train.npz has sha256" in study.failures(later, "1000|dense")
    assert "was never made" in study.failures(later, "2000|dense")
    for condition in (dense, missing):
        written = study.blocker(SCORES, condition)
        wait_for("its blocker", written.is_file, 2 * MINUTES)
        assert "step: baseline_model" in written.read_text("utf-8")
    return dense


def _mended_it_is_completed(study: Served, altered: Condition) -> None:
    whole = study.backfill(study.products, ["2000"])
    again = study.backfill(study.of_conditions, [str(altered)])
    assert study.ended(whole, again, minutes=60) == ["COMPLETED_SUCCESS"] * 2
    mended = [*ASKED[2:], altered]
    partitions = {"2000", *map(str, mended)}
    assert study.runs(whole, again) == dict.fromkeys(partitions, {DagsterRunStatus.SUCCESS})
    steps = study.steps(whole, again)
    expected = due(study.products, ASKED[2:]) | due(study.of_conditions, [altered])
    assert made_by(steps) == Counter(expected)
    assert_inputs_came_first(steps)
    assert_solvers_kept_apart(study, steps)
    assert study.not_fresh(mended) == []
    # A network that was made again of equal data makes only those stale that quote its file.
    assert all(v.product.depends_on_bytes for v in study.not_fresh(ASKED)), study.not_fresh(ASKED)

    def no_blocker() -> bool:
        return not [b for condition in ASKED for b in blockers.of(study.context.store, condition)]

    wait_for("the blockers to go", no_blocker, 2 * MINUTES)
    code, shown = status(study)
    assert code == 0, shown
    unasked = study.not_fresh([Condition(3000, view) for view in STUDY["views"]])
    assert {v.state for v in unasked} == {State.MISSING}
    assert not list(study.context.store.root.rglob("dose_3000"))
