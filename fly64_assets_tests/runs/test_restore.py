"""Records made again from the store: what is proved comes back, and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetKey, DagsterInstance

from fly64_assets.definitions import build_definitions
from fly64_assets.hub.lineage_store import StoreHome
from fly64_assets.pipeline import stored_records
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State, fingerprint
from fly64_assets.pipeline.instance import instance_folder, read_only_instance, study_instance
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import JOBS, RunRequest
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.runs.outcomes import verdicts_of
from fly64_assets.runs.restore import restore
from fly64_assets.runs.runner import execute
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.products import LEVELS, STUDY_LEVEL, product
from fly64_assets_tests.conftest import fly64

SPECIMEN, AT = product("specimen"), Condition()
ALL = Condition(1000, "dense")


@pytest.fixture
def scene(specimen_made, tmp_path, monkeypatch):
    """The specimen alone, in a copy that a test may change."""
    return specimen_made.copy_to(tmp_path / "results").context(monkeypatch)


def restored(context: StudyContext) -> tuple[list[str], dict[str, str], State]:
    """What was restored and what not, and how the specimen stands then."""
    with study_instance(context.study, context.study_file) as instance:
        found = restore(context, instance)
        state = context.planner(instance).verdict(SPECIMEN, AT).state
    lost = {item.name: reason for (item, _), reason in found.lost.items()}
    return [item.name for item, _ in found.restored], lost, state


def lose_the_database(context: StudyContext) -> None:
    shutil.rmtree(instance_folder(context.study))


def wipe(context: StudyContext) -> None:
    with study_instance(context.study, context.study_file) as instance:
        instance.wipe_assets([AssetKey(SPECIMEN.key)])


def delete_the_runs(context: StudyContext) -> None:
    with study_instance(context.study, context.study_file) as instance:
        for run in instance.get_runs():
            instance.delete_run(run.run_id)


def latest(context: StudyContext):
    with read_only_instance(context.study) as instance:
        return context.ledger(instance).latest(SPECIMEN, AT)


@pytest.mark.parametrize(
    "lose", [lose_the_database, wipe, pytest.param(delete_the_runs, marks=pytest.mark.long)]
)
def test_what_was_lost_comes_back_with_all_that_it_carried(scene, lose):
    before = latest(scene)
    lose(scene)
    assert latest(scene) is None
    assert restored(scene) == (["specimen"], {}, State.FRESH)
    after = latest(scene)
    assert after.provenance == before.provenance
    assert (after.run_id, after.step_key) == (before.run_id, before.step_key)
    assert {**after.metadata, "made_in": None} == {**before.metadata, "made_in": None}
    # Once is enough.
    assert restored(scene) == ([], {}, State.FRESH)
    assert latest(scene).storage_id == after.storage_id


def test_an_older_database_gets_what_it_does_not_know(scene, specimen_made):
    newer = latest(scene).provenance
    lose_the_database(scene)
    older = specimen_made.results.parent / "older"
    shutil.copytree(older, instance_folder(scene.study))
    assert latest(scene).provenance != newer
    assert restored(scene) == (["specimen"], {}, State.FRESH)
    assert latest(scene).provenance == newer


def test_a_dry_run_says_the_same_and_writes_nothing(scene):
    lose_the_database(scene)
    with read_only_instance(scene.study) as instance:
        found = restore(scene, instance, dry_run=True)
    assert [item.name for item, _ in found.restored] == ["specimen"] and not found.lost
    assert not instance_folder(scene.study).exists()


def test_a_study_from_before_there_were_stored_records_gets_them(scene):
    shutil.rmtree(scene.store.root / ".records")
    before = latest(scene)
    assert restored(scene) == ([], {}, State.FRESH)
    lose_the_database(scene)
    assert restored(scene) == (["specimen"], {}, State.FRESH)
    assert latest(scene).provenance == before.provenance


def test_a_whole_record_is_not_replaced_by_what_lies_beside_the_files(scene):
    before = latest(scene)
    _edit(scene, lambda told: told["provenance"].update(generated_at="2001-01-01T00:00:00Z"))
    assert restored(scene) == ([], {}, State.FRESH)
    assert latest(scene).storage_id == before.storage_id
    stored = stored_records.read(scene.store, SPECIMEN, AT)
    assert stored.provenance == before.provenance, "and that is put right"


def _edit(context: StudyContext, edit: Callable[[dict], object]) -> None:
    path = stored_records.file_of(context.store, SPECIMEN, AT)
    told = json.loads(path.read_text("utf-8"))
    edit(told)
    path.write_text(json.dumps(told), "utf-8")


def _of_provenance(**changes) -> Callable[[StudyContext, Path], None]:
    return lambda scene, _: _edit(scene, lambda told: told["provenance"].update(changes))


def _replaced(make: Callable[[Path], object]) -> Callable[[StudyContext, Path], None]:
    def forge(scene: StudyContext, _: Path) -> None:
        path = stored_records.file_of(scene.store, SPECIMEN, AT)
        path.unlink()
        make(path)

    return forge


def _flip_a_byte(scene: StudyContext, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _name_a_file_outside(scene: StudyContext, file: Path) -> None:
    outside = scene.store.root.parent / "outside"
    outside.write_bytes(b"x")
    name = "../outside"
    entry = {"path": name, "sha256": sha256_of(outside), "bytes": 1}
    _edit(scene, lambda told: told["provenance"]["files"].update({name: entry}))


def _other_data_under_the_old_version(scene: StudyContext, file: Path) -> None:
    """File, hash and size agree; only the data are others than the version says."""
    arrays = dict(read_npz(file))
    arrays["objectGuess"] = arrays["objectGuess"] * np.complex64(1.01)
    write_npz(file, arrays)
    path = scene.store.relative(file)
    entry = {"path": path, "sha256": sha256_of(file), "bytes": file.stat().st_size}
    _edit(scene, lambda told: told["provenance"]["files"].update({path: entry}))


def _read_other_settings(scene: StudyContext, _: Path) -> None:
    _edit(scene, lambda told: told["provenance"]["settings"].update(patch_size=32))


def _claim_an_input(scene: StudyContext, _: Path) -> None:
    def claim(told: dict) -> None:
        made = told["provenance"]
        given = {"asset": "../..", "partition": None, "data_version": "0", "storage_id": 1}
        made["inputs"] = {"../..": {**given, "files": {"x": "0"}}}
        made["fingerprint"] = fingerprint(made["code_version"], made["settings"], {"../..": "0"})

    _edit(scene, claim)


def _show_what_is_no_metadata(scene: StudyContext, _: Path) -> None:
    _edit(scene, lambda told: told["shown"].update(x=["table", {"columns": 1}]))


FORGERIES = {
    "a byte of a file": (_flip_a_byte, "has sha256"),
    "a file that is gone": (lambda _, file: file.unlink(), "is gone"),
    "a file outside": (_name_a_file_outside, "names what is no file of it: ['../outside']"),
    "no files": (_of_provenance(files={}), "specimen.npz is in no record"),
    "other data, hashes right": (_other_data_under_the_old_version, "its data version is not"),
    "another data version": (_of_provenance(data_version="0" * 64), "its data version is not"),
    "another code version": (_of_provenance(code_version="mine"), "the fingerprint is not"),
    "other settings": (_read_other_settings, "the fingerprint is not"),
    "a number that JSON does not know": (
        _of_provenance(settings={"specimen": float("nan")}),
        "the fingerprint is not",
    ),
    "another asset": (_of_provenance(asset="pinn_model"), "its record is of pinn_model"),
    "another partition": (_of_provenance(partition="1000"), "its record is of specimen (1000)"),
    "another study": (_of_provenance(study="other"), "its record is of the study 'other'"),
    "an input that it has not": (_claim_an_input, "names an input that it has not"),
    "metadata that are none": (_show_what_is_no_metadata, "its metadata cannot be read"),
    "no JSON": (_replaced(lambda path: path.write_bytes(b"\xff{")), "is no record"),
    "another JSON": (_replaced(lambda path: path.write_text("[1]")), "is no record"),
    "deep JSON": (_replaced(lambda path: path.write_text("[" * 10**6)), "is no record"),
    "a long number": (_replaced(lambda path: path.write_text("1" * 10**6)), "is no record"),
    "a huge file": (_replaced(lambda path: os.truncate(_touched(path), 1 << 40)), "more than"),
    "a link": (_replaced(lambda path: path.symlink_to("/etc/passwd")), "is no regular file"),
    "a pipe": (_replaced(os.mkfifo), "is no regular file"),
    "a folder": (_replaced(Path.mkdir), "is no regular file"),
}


def _touched(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES)
def test_what_is_not_proved_stays_missing_and_is_named(scene, forge, reason):
    forge(scene, scene.store.path(SPECIMEN, AT, "specimen.npz"))
    with DagsterInstance.ephemeral() as instance:
        found = restore(scene, instance)
        assert scene.planner(instance).verdict(SPECIMEN, AT).state is State.MISSING
    assert found.restored == [] and list(found.lost) == [(SPECIMEN, AT)]
    told = found.lost[SPECIMEN, AT]
    assert reason in told and len(told.splitlines()) == 1


def test_files_without_any_record_are_named(scene):
    shutil.rmtree(scene.store.root / ".records")
    lose_the_database(scene)
    assert restored(scene)[1] == {"specimen": "its files lie there, but no record of them"}


def test_a_partition_that_is_being_made_is_left_to_its_run(scene):
    lose_the_database(scene)
    with scene.store.lock("run-prepare_specimen-study", "prepare_specimen study"):
        names, lost, state = restored(scene)
    assert names == [] and "is being made by process" in lost["specimen"]
    assert state is State.MISSING


@pytest.mark.long
def test_the_command_says_what_it_did_and_a_study_never_made_is_no_fault(scene, tmp_path):
    lose_the_database(scene)
    arguments = ("restore", "--study", scene.study_file)
    done = fly64(*arguments, results=tmp_path / "results")
    assert (done.returncode, done.stdout) == (0, "records: 1 restored, 0 not\n"), done.stderr
    done = fly64(*arguments, results=tmp_path / "nothing")
    assert (done.returncode, done.stdout) == (0, "records: 0 restored, 0 not\n"), done.stderr
    assert not (tmp_path / "nothing").exists()


@pytest.mark.long
@pytest.mark.parametrize("written", [False, True])
def test_a_run_that_ends_between_files_and_records_leaves_nothing_false(
    scene, monkeypatch, written
):
    """Killed before its stored record is written, or before Dagster's is."""
    before, write = latest(scene).provenance, stored_records.write

    def killed(*arguments) -> None:
        if written:
            write(*arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored_records, "write", killed)
    job = build_definitions(scene).resolve_job_def(JOBS[LEVELS[0]])
    with study_instance(scene.study, scene.study_file) as instance:
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
        assert scene.planner(instance).verdict(SPECIMEN, AT).state is State.ALTERED
    monkeypatch.setattr(stored_records, "write", write)
    names, lost, state = restored(scene)
    if written:  # they are whole, and made by the run whose number the record names
        assert (names, lost, state) == (["specimen"], {}, State.FRESH)
        assert latest(scene).provenance.generated_at >= before.generated_at
    else:
        assert names == [] and state is State.ALTERED and "specimen.npz has" in lost["specimen"]


# A whole study.


def _states(context: StudyContext) -> dict[str, State]:
    with read_only_instance(context.study) as instance:
        verdicts = verdicts_of(context.planner(instance), ALL)
    return {verdict.product.name: verdict.state for verdict in verdicts}


def _export(context: StudyContext, hub: Path) -> dict[str, str]:
    chosen = ("--study", context.study_file, "--dose", "1000", "--view", "dense")
    done = fly64("export", *chosen, "--to", hub, results=context.store.root.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    files = {path.relative_to(hub).as_posix(): path for path in hub.rglob("*") if path.is_file()}
    del files["analysis/verification_report.json"]  # when it was verified
    return {name: sha256_of(path) for name, path in files.items()}


@pytest.mark.long
def test_a_finished_study_is_whole_again_on_another_machine_and_so_is_its_hub(
    finished, tmp_path, monkeypatch
):
    """The store alone, copied elsewhere: no database, no pictures."""
    here = finished.context(monkeypatch)
    hub = _export(here, tmp_path / "before")
    shutil.copytree(here.store.root, tmp_path / "elsewhere" / here.study.name / "store")
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "elsewhere"))
    context = StudyContext.load(finished.study_file)
    done = fly64("restore", "--study", finished.study_file, results=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"records: {len(_states(context))} restored, 0 not" in done.stdout
    assert set(_states(context).values()) == {State.FRESH}
    checked = fly64("checks", "--study", finished.study_file, results=tmp_path / "elsewhere")
    assert checked.returncode == 0 and "failed 0, not run 0" in checked.stdout
    assert _export(context, tmp_path / "after") == hub
    with study_instance(context.study, context.study_file) as instance:
        # Every input is known by its number in this log, so every making has its own record.
        home = StoreHome(context.store.root, instance)
        report = home.current("study_report", None)
        assert report.inputs and all(home.made(key).exact for key in report.inputs)
        # The logs of runs that are no longer recorded are taken from what was written of them.
        item = product("phase_logs")
        folder = context.store.folder(item, ALL)
        before = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
        request = RunRequest(LEVELS[3], ALL, (item,), ())
        assert execute(context, instance, request, lambda *_: None).success
        assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == before


@pytest.mark.long
def test_a_changed_byte_is_named_and_nothing_that_hangs_on_it_is_fresh(
    finished, tmp_path, monkeypatch
):
    copy = finished.copy_to(tmp_path / "copy")
    context = copy.context(monkeypatch)
    hit = product("train", "overlap_view")
    _flip_a_byte(context, context.store.path(hit, ALL, "train.npz"))
    with study_instance(context.study, context.study_file) as instance:
        everything = [AssetKey(item.key) for item in _products()]
        instance.wipe_assets(everything)
        assert _fresh(context) == set()
    done = fly64("restore", "--json", "--study", copy.study_file, results=copy.results)
    told = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    ((asset, reason),) = [(row["asset"], row["reason"]) for row in told["not_restored"]]
    assert asset == hit.name and "has sha256" in reason
    assert len(told["restored"]) == len(_products()) - 1
    independent = {"specimen", "train/dataset", "test/dataset", "test/overlap_view"}
    independent |= {"test/ptychi_reconstruction"}
    assert _fresh(context) == independent
    stale = {row["asset"] for row in told["restored"] if row["state"] == "stale"}
    assert "pinn_model" in stale and "train/comparison" in stale


def _fresh(context: StudyContext) -> set[str]:
    return {name for name, state in _states(context).items() if state is State.FRESH}


def _products():
    return [item for level in (*LEVELS, STUDY_LEVEL) for item in level.products if not _off(item)]


def _off(item) -> bool:
    return item.arm is not None and item.arm not in ("PtychoPINN", "Baseline", "PtyChi")
