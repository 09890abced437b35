"""Where results lie: a path is a path, and who only looks needs no right to write."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import AssetKey

from fly64_assets.cli import main
from fly64_assets.definitions import build_definitions
from fly64_assets.errors import InputError
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import instance_folder, read_only_instance, study_instance
from fly64_assets.pipeline.store import RESULTS_VARIABLE, results_folder
from fly64_assets.pipeline.targets import JOBS
from fly64_assets.study.products import LEVELS

MADE = "dagster_event_type = 'ASSET_MATERIALIZATION'"
STRANGE = "a b'\"%x%%#&;:=@[$HOME]{x}(*)\\é\n\t%"


@pytest.fixture
def study(write_study):
    return StudyContext.load(write_study())


def make_specimen(context: StudyContext) -> None:
    job = build_definitions(context).resolve_job_def(JOBS[LEVELS[0]])
    with study_instance(context.study, context.study_file) as instance:
        assert job.execute_in_process(instance=instance).success


def test_whatever_a_path_may_hold_is_no_url(write_study, tmp_path, monkeypatch):
    results = tmp_path / STRANGE
    monkeypatch.setenv(RESULTS_VARIABLE, str(results))
    context = StudyContext.load(write_study())
    make_specimen(context)
    with read_only_instance(context.study) as instance:
        assert instance.get_latest_materialization_event(AssetKey("specimen")) is not None
    databases = set(tmp_path.rglob("*.db"))
    assert databases and all(instance_folder(context.study) in path.parents for path in databases)
    assert {path.name for path in tmp_path.iterdir()} == {"study.yaml", STRANGE}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a?b", "has '?' in it, which Dagster reads as part of a URL"),
        ("a?mode=memory", "has '?' in it"),
        ("a%20b", "has '%20' in it"),
        ("a%2Fb", "has '%2F' in it"),
        ("file/below", "/file is a file, no folder"),
        ("file", "/file is a file, no folder"),
        ("x" * 300, "File name too long"),
        ("loop", "links lead in a circle"),
    ],
)
def test_what_dagster_would_look_for_elsewhere_is_refused(
    study, tmp_path, monkeypatch, name, problem
):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    there = set(tmp_path.rglob("*"))
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / name))
    with pytest.raises(InputError) as raised:
        StudyContext.load(study.study_file)
    assert problem in str(raised.value) and len(str(raised.value).splitlines()) == 1
    assert set(tmp_path.rglob("*")) == there


def test_home_is_the_shells_and_relative_is_from_here(study, tmp_path, monkeypatch):
    monkeypatch.setenv(RESULTS_VARIABLE, "~/results")
    with pytest.raises(InputError, match="begins with ~, which only a shell expands"):
        results_folder(study.study)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RESULTS_VARIABLE, "here/../there")
    assert results_folder(study.study) == tmp_path / "there" / "tiny"
    monkeypatch.setenv(RESULTS_VARIABLE, "")
    assert results_folder(study.study).parent.name == "results"


def test_the_command_line_refuses_in_one_line(study, tmp_path, monkeypatch):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "a%20b"))
    done = CliRunner().invoke(main, ["status", "--study", str(study.study_file)])
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2 and "next: set FLY64_RESULTS to another folder" in line


def test_the_settings_own_folder_of_records_is_held_to_the_same(study, tmp_path, monkeypatch):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"storage: {{sqlite: {{base_dir: '{tmp_path}/a?b'}}}}", "utf-8")
    monkeypatch.setenv("FLY64_INSTANCE", str(mine))
    with (
        pytest.raises(InputError, match="has '[?]' in it"),
        study_instance(study.study, study.study_file),
    ):
        pass
    assert not (tmp_path / "a").exists()


# Another user's results.


def _without_rights() -> list[str]:
    """What takes from root the rights that others do not have; tests are skipped where nothing."""
    if os.geteuid():
        return []
    told = "setpriv --bounding-set=-dac_override,-dac_read_search,-fowner"
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    return told.split()


@pytest.fixture
def others(specimen_made, tmp_path, monkeypatch):
    """A made specimen that may only be read, its database as a killed writer leaves it."""
    file, results = specimen_made.study_file, tmp_path / "others"
    context = specimen_made.copy_to(results).context(monkeypatch)
    database = instance_folder(context.study) / "history" / "runs" / "index.db"
    copies = tmp_path / "copies"
    copies.mkdir()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    # The record is in the side file only.
    (record,) = connection.execute(f"SELECT max(id) FROM event_logs WHERE {MADE}").fetchone()
    row = connection.execute(f"SELECT event FROM event_logs WHERE id = {record}").fetchone()
    connection.execute(f"UPDATE event_logs SET event = '' WHERE id = {record}")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(f"UPDATE event_logs SET event = ? WHERE id = {record}", row)
    connection.commit()
    for part in database.parent.glob("index.db*"):
        shutil.copy(part, copies)
    connection.close()
    for part in copies.iterdir():
        shutil.copy(part, database.parent)
    assert (database.parent / "index.db-wal").stat().st_size > 0
    _allow(results, False)
    yield file, results
    _allow(results, True)


def _allow(results: Path, writing: bool) -> None:
    for path in [results, *results.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if writing else mode & ~0o222)


def _look(results: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    command = [*_without_rights(), sys.executable, "-m", "fly64_assets.cli", *map(str, arguments)]
    environment = {**os.environ, RESULTS_VARIABLE: str(results)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def _state(results: Path) -> dict[Path, tuple[int, int]]:
    paths = [results, *results.rglob("*")]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def test_looking_at_anothers_results_works_and_changes_nothing(others):
    file, results = others
    before = _state(results)
    done = _look(results, "status", "--study", file)
    assert done.returncode == 0 and "1 fresh" in done.stdout, done.stdout + done.stderr
    assert _state(results) == before


@pytest.mark.long
def test_what_would_write_there_is_refused_in_one_line(others):
    file, results = others
    before = _state(results)
    for command in ("plan", "checks", "restore --dry-run", "clean --dry-run"):
        done = _look(results, *command.split(), "--study", file)
        assert done.returncode in (0, 1) and not done.stderr, done.stderr
    done = _look(results, "lineage", results / "tiny" / "store" / "data/specimen/specimen.npz")
    assert done.returncode == 0 and "matches" in done.stdout, done.stderr
    for command in ("run --all", "restore", "clean"):
        done = _look(results, *command.split(), "--study", file)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and "the store cannot be written: Permission denied" in line
    results.chmod(0)
    done = _look(results, "status", "--study", file)
    results.chmod(0o500)
    assert done.returncode == 2 and "Permission denied" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert _state(results) == before


@pytest.mark.long
def test_anothers_finished_study_is_shown_and_exported(finished, tmp_path):
    copy = finished.copy_to(tmp_path / "others")
    _allow(copy.results, False)
    try:
        before = _state(copy.results)
        chosen = ("--study", copy.study_file, "--dose", "1000", "--view", "dense")
        for arguments in (("status", *chosen), ("plan", *chosen), ("checks", *chosen),
                          ("report", "--study", copy.study_file),
                          ("export", *chosen, "--to", tmp_path / "hub"),
                          ("verify", tmp_path / "hub")):  # fmt: skip
            done = _look(copy.results, *arguments)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert _state(copy.results) == before
    finally:
        _allow(copy.results, True)
