"""Where a study's records are: settings that are refused by name, and a real Postgres that is used.

Whole backfills against Postgres are in `runs/test_backfills.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime

import pytest
import yaml
from dagster import AssetKey, DagsterInstance, DagsterRunStatus
from dagster._utils.tags import TagConcurrencyLimitsCounter

from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InputError
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import (
    INSTANCE_VARIABLE,
    instance_folder,
    prepare_instance,
    read_only_instance,
    study_instance,
)
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import JOBS, LAUNCH_TAG, partition_tags
from fly64_assets.runs import nightly as night
from fly64_assets.runs.dead_runs import reap
from fly64_assets.runs.restore import restore
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import LEVELS, product
from fly64_assets_tests.conftest import TINY, fly64
from fly64_assets_tests.servers import free_port, postgres, why_no_postgres

EXAMPLE = PROJECT_ROOT / "examples/postgres/dagster.yaml"


@pytest.fixture
def study(write_study):
    return StudyContext.load(write_study())


def prepare(context):
    return prepare_instance(context.study, context.study_file)


def look(context):
    with read_only_instance(context.study):
        pass


def refused(act, context):
    with pytest.raises(InputError) as raised:
        act(context)
    (line,) = str(raised.value).splitlines()
    return line


# Settings that cannot be used; no server is needed for these.


def test_the_command_line_refuses_in_one_line(study, tmp_path, monkeypatch):
    monkeypatch.setenv(INSTANCE_VARIABLE, str(tmp_path / "nowhere.yaml"))
    done = fly64("plan", "--study", study.study_file, results=tmp_path / "results")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    problem = "nowhere.yaml: FLY64_INSTANCE: cannot be read: No such file or directory; next: "
    assert problem in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"storage: [", "FLY64_INSTANCE: is no YAML"),
        (b"\xff\xfe", "FLY64_INSTANCE: cannot be read: it is not UTF-8 text"),
        (b"- a list", "FLY64_INSTANCE: holds no settings of a Dagster instance"),
        (b"storage: {mysql: {}}", "storage.mysql: needs the package dagster_mysql"),
        (b"storage: {custom: {module: none, class: No, config: {}}}", "cannot be opened: "),
        (b"storage: {sqlite: {base_dri: x}}", "storage: cannot be opened: "),
    ],
)
def test_settings_that_break_a_rule_are_refused(study, tmp_path, monkeypatch, text, problem):
    file = tmp_path / "mine.yaml"
    file.write_bytes(text)
    monkeypatch.setenv(INSTANCE_VARIABLE, str(file))
    line = refused(prepare, study)
    assert line.startswith(f"{file}: ") and problem in line
    assert not (instance_folder(study.study) / "dagster.yaml").exists()


def test_a_variable_that_is_not_set_is_named(study, monkeypatch):
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    monkeypatch.setenv(INSTANCE_VARIABLE, str(EXAMPLE))
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    assert "PGDATABASE" in refused(prepare, study)


def test_the_example_differs_from_the_projects_settings_in_its_storage_only():
    example = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    assert example.pop("storage")["postgres"]
    assert example == yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text("utf-8"))


def test_records_are_not_looked_for_elsewhere_than_where_they_are(study, tmp_path, monkeypatch):
    prepare(study)
    elsewhere = tmp_path / "mine.yaml"
    elsewhere.write_text(f"storage: {{sqlite: {{base_dir: {tmp_path / 'records'}}}}}", "utf-8")
    monkeypatch.setenv(INSTANCE_VARIABLE, str(elsewhere))
    for act in (prepare, look):
        assert "storage: is not where the study's records are" in refused(act, study)
    assert not (tmp_path / "records").exists()


@pytest.mark.long
def test_runs_of_one_partition_wait_for_each_other_in_the_queue(study):
    """A backfill asks for a partition's rest while its first run is still at the partition."""
    with study_instance(study.study, study.study_file) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        job = build_definitions(study).resolve_job_def(JOBS[LEVELS[2]])
        at_work, same, other = (
            instance.create_run_for_job(job, tags=partition_tags(Condition(dose, "dense")))
            for dose in (1000, 1000, 2000)
        )
    counter = TagConcurrencyLimitsCounter(queue.tag_concurrency_limits, [at_work])
    assert counter.is_blocked(same) and not counter.is_blocked(other)
    assert queue.max_user_code_failure_retries == 5, "read beside the limits of concurrency"


# A real server.


@pytest.fixture(scope="module")
def cluster():
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    with postgres() as running:
        yield running


@pytest.fixture
def database(cluster, request, monkeypatch):
    """Its own database for each test, in the caller's environment as the documentation says."""
    name = request.node.name.lower()[:60]
    cluster.create(name)
    for variable, value in cluster.environment(name).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv(INSTANCE_VARIABLE, str(EXAMPLE))
    return name


def make(context, instance):
    """The specimen, which takes no time."""
    job = build_definitions(context).resolve_job_def(JOBS[LEVELS[0]])
    assert job.execute_in_process(instance=instance).success


@pytest.mark.long
def test_a_server_that_does_not_answer(study, database, monkeypatch):
    monkeypatch.setenv("PGPORT", str(free_port()))
    line = refused(prepare, study)
    assert "storage: cannot be opened: " in line and "Connection refused" in line
    assert "a secret" not in line
    monkeypatch.delenv(INSTANCE_VARIABLE)
    prepare(study)  # nothing was recorded in Postgres: the study may still begin without


@pytest.mark.long
def test_what_is_made_is_recorded_there_and_seen_by_every_command(
    study, database, tmp_path, monkeypatch
):
    with study_instance(study.study, study.study_file) as instance:
        assert type(instance.event_log_storage).__module__.startswith("dagster_postgres")
        make(study, instance)
        first = study.ledger(instance).latest(product("specimen"), Condition())
        make(study, instance)
        ledger = study.ledger(instance)
        second = ledger.latest(product("specimen"), Condition())
        assert ledger.previous(second).storage_id == first.storage_id < second.storage_id
        verdict = study.planner(instance).verdict(product("specimen"), Condition())
        assert verdict.state is State.FRESH
        # A process of its own decides the night, as with a daemon older than the code.
        asked = night.decide(study, instance, "now")
        monkeypatch.setattr(night, "_sources", lambda: "other code")
        assert night.decide_as_on_disk(study, instance, "now") == asked
        (start,) = asked.starts
        assert start.run_key.startswith("now simulate_datasets 1000 ")
    records = instance_folder(study.study) / "history"
    assert not list(records.rglob("*.db")), "nothing is recorded beside the database"
    status = fly64("status", "--study", study.study_file, results=tmp_path / "results")
    assert re.search(r"1000\|dense +1 fresh, \d+ missing", status.stdout), status.stderr


def test_a_run_is_as_old_as_it_is_in_whatever_zone_the_server_stands(study, database, cluster):
    """Dagster reads times as UTC; in New York's, a run just begun would be taken for dead."""
    assert cluster.timezone != "UTC"
    with study_instance(study.study, study.study_file) as instance:
        study.store.root.mkdir(parents=True)
        job = build_definitions(study).resolve_job_def(JOBS[LEVELS[0]])
        run = instance.create_run_for_job(
            job, status=DagsterRunStatus.STARTING, tags={LAUNCH_TAG: "x"}
        )
        record = instance.get_run_record_by_id(run.run_id)
        age = datetime.now(UTC) - record.update_timestamp
        assert abs(age.total_seconds()) < 60
        assert reap(study, instance) == []


def test_a_database_that_would_write_another_zones_times_is_refused(
    study, database, cluster, tmp_path, monkeypatch
):
    own = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    del own["storage"]["postgres"]["postgres_db"]["params"]
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(own), "utf-8")
    monkeypatch.setenv(INSTANCE_VARIABLE, str(file))
    line = refused(prepare, study)
    assert "params.options: times would be written in the zone America/New_York" in line
    monkeypatch.setenv(INSTANCE_VARIABLE, str(EXAMPLE))
    prepare(study)


@pytest.mark.long
def test_one_database_is_one_studys_in_one_results_folder(
    study, database, cluster, tmp_path, monkeypatch
):
    with study_instance(study.study, study.study_file) as instance:
        make(study, instance)
    other_file = tmp_path / "other.yaml"
    other_file.write_text(yaml.safe_dump({**TINY, "name": "other"}), "utf-8")
    other = StudyContext.load(other_file)
    line = refused(prepare, other)
    assert "names a database that holds the records of the study tiny" in line
    assert not (instance_folder(other.study) / "dagster.yaml").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(tmp_path / "elsewhere"))
        assert "in another results folder" in refused(prepare, study)
    # The right folder with another database, be it empty.
    cluster.create(f"{database[:50]}_empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGDATABASE", f"{database[:50]}_empty")
        for act in (prepare, look):
            line = refused(act, study)
            assert "another database than the one that the records of tiny are in" in line
    # Or with none.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(INSTANCE_VARIABLE)
        for act in (prepare, look):
            assert "is not where the study's records are" in refused(act, study)
    # A folder that was moved is still the one.
    shutil.move(tmp_path / "results", tmp_path / "moved")
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "moved"))
    with study_instance(study.study, study.study_file) as instance:
        assert instance.get_latest_materialization_event(AssetKey("specimen")) is not None


@pytest.mark.long
def test_lost_records_are_made_again_in_an_empty_database(study, database, cluster, monkeypatch):
    """A lost database, and SQLite's files given up for one; never one that is somebody's."""

    def restored() -> list[str]:
        opened = study_instance(study.study, study.study_file, records_lost=True)
        with opened as instance:
            found = restore(study, instance)
            assert not found.lost
            verdict = study.planner(instance).verdict(product("specimen"), Condition())
            assert verdict.state is State.FRESH
        prepare(study)  # it is the study's own from now on
        return [item.name for item, _ in found.restored]

    monkeypatch.delenv(INSTANCE_VARIABLE)
    with study_instance(study.study, study.study_file) as instance:
        make(study, instance)
    monkeypatch.setenv(INSTANCE_VARIABLE, str(EXAMPLE))
    assert "`fly64 restore` brings the records to another one" in refused(prepare, study)
    assert restored() == ["specimen"] and restored() == []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(INSTANCE_VARIABLE)
        with pytest.raises(InputError, match="is not where the study's records are"):
            restored()
    for name in ("lost", "theirs"):
        cluster.create(f"{database[:50]}_{name}")
    monkeypatch.setenv("PGDATABASE", f"{database[:50]}_theirs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(study.store.root.parents[1].with_name("theirs")))
        prepare(StudyContext.load(study.study_file))
    with pytest.raises(InputError, match="in another results folder"):
        restored()
    monkeypatch.setenv("PGDATABASE", f"{database[:50]}_lost")
    assert "if that is lost, `fly64 restore` brings them to an empty" in refused(prepare, study)
    assert restored() == ["specimen"]


def test_a_claim_that_was_interrupted_is_completed(study, database):
    """Killed between the folder's number, the database's owner and the database's number."""
    folder = prepare(study)
    file = folder / "database.json"
    known = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({"folder": known["folder"]}), "utf-8")
    prepare(study)
    assert json.loads(file.read_text("utf-8")) == known


def test_looking_before_anything_was_made_asks_no_database(study, database, monkeypatch):
    monkeypatch.setenv("PGPORT", str(free_port()))
    with read_only_instance(study.study) as instance:
        assert instance.is_ephemeral and isinstance(instance, DagsterInstance)
