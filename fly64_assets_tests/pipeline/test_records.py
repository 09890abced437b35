"""Which evaluation of a check counts, however the runs that evaluated it overlapped."""

from __future__ import annotations

from uuid import uuid4

import pytest
from dagster import AssetKey, AssetMaterialization, DagsterInstance, MetadataValue
from dagster._core.execution.api import execute_run
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.documents.provenance import Provenance
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.records import PROVENANCE, Ledger
from fly64_assets.pipeline.store import Store
from fly64_assets.pipeline.targets import RunRequest
from fly64_assets.runs import runner
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.faults import plan_evaluation, report_evaluation
from fly64_assets_tests.traced_store import make_store

ITEM, AT = product("study_metrics"), Condition()
KEY, CHECK = AssetKey(ITEM.key), "rows"
RUNS = st.integers(0, 3)
STEP = st.one_of(
    st.tuples(st.just("create"), RUNS),
    st.tuples(st.just("make"), RUNS),
    st.tuples(st.just("evaluate"), RUNS, st.booleans(), st.integers(0, 2)),
)


class _Log:
    """An event log that runs write to, in any order."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance, self.ledger = instance, Ledger(instance, Store(None))

    def create(self, run: int) -> None:
        plan_evaluation(self.instance, f"run-{run}", KEY, CHECK)

    def make(self) -> int:
        nothing = {name: {} for name in ("settings", "files", "inputs", "versions")}
        texts = ("asset", "generated_at", "study", "study_sha256", "fingerprint", "code_version")
        made = Provenance(
            **{**dict.fromkeys((*texts, "data_version"), "-"), **nothing},
            partition=None,
            git_commit=None,
            **dict.fromkeys(("seconds", "cpu_seconds", "peak_memory_mb"), 0.0),
        )
        carried = {PROVENANCE: MetadataValue.json(made.to_json())}
        self.instance.report_runless_asset_event(AssetMaterialization(KEY, metadata=carried))
        return self.ledger.latest(ITEM, AT).storage_id

    def evaluate(self, run: int, passed: bool, target: int) -> None:
        report_evaluation(self.instance, f"run-{run}", KEY, CHECK, passed, target)

    def state(self) -> bool | None:
        found = self.ledger.checks(self.ledger.latest(ITEM, AT))
        (passed,) = (check.passed for check in found if check.name == CHECK)
        return passed


@settings(max_examples=40)
@given(st.lists(STEP, max_size=14))
def test_the_last_evaluation_of_what_is_there_counts_however_runs_overlap(steps):
    """Of any order of creating runs, making, and evaluating what was there then or before."""
    with DagsterInstance.ephemeral() as instance:
        log = _Log(instance)
        made, created, done = [log.make()], set(), set()
        expected: dict[int, bool] = {}
        for kind, run, *more in steps:
            if kind == "make":
                made.append(log.make())
            elif kind == "create" and run not in created:
                created.add(run)
                log.create(run)
            elif kind == "evaluate" and run in created - done:  # each evaluates once
                passed, back = more
                target = made[max(len(made) - 1 - back, 0)]
                log.evaluate(run, passed, target)
                done.add(run)
                expected[target] = passed
            assert log.state() is expected.get(made[-1])


def test_a_run_that_was_created_first_and_ends_last(tmp_path):
    """The row that Dagster numbers highest is of the first materialization then."""
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        log = _Log(instance)
        log.create(1)
        log.create(2)
        log.evaluate(2, False, log.make())
        log.evaluate(1, True, log.make())
        log.create(3)  # planned, and never evaluated
        assert log.state() is True


@pytest.mark.long
def test_two_runs_of_one_partition_in_the_other_order_than_they_were_created(tmp_path):
    made = make_store(tmp_path)
    items = tuple(product(split, "dataset") for split in ("train", "test"))
    request = RunRequest(LEVELS[1], Condition(1000), items, ())
    with made.opened() as (context, instance):
        job = runner.job_of(request)
        runs = [runner._create(instance, str(uuid4()), job, request.condition) for _ in range(2)]
        for run in reversed(runs):
            assert execute_run(job, run, instance).success
        verdicts = [context.planner(instance).verdict(item, request.condition) for item in items]
        assert [(v.state, v.record.run_id) for v in verdicts] == 2 * [(State.FRESH, runs[0].run_id)]
