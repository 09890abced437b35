"""Checkpoints: whole or not there, of one fingerprint, and gone when the product is in place.

That a killed solver goes on from one to the same bits is tested in ``solvers/test_resuming.py``.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dagster import materialize

from fly64_assets.errors import InputError
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.assets.specimen import make_specimen
from fly64_assets.pipeline.checkpoints import StoredCheckpoint
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.io_manager import StoreIOManager
from fly64_assets.runs import runner
from fly64_assets.runs.runner import RunOutcome
from fly64_assets.solvers.interface import Snapshot
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import product

SPECIMEN = product("specimen")


def snapshot(done: int = 3) -> Snapshot:
    draw = np.random.default_rng([done])
    arrays = {
        "object": draw.normal(size=(20, 12)).astype(np.float32).view(np.complex64),
        "random.words": draw.integers(0, 2**32, 5, np.uint32),
        "nothing": np.zeros((0, 4), np.uint8),
        "step": np.array(done, np.int64),
    }
    state = {"losses": [[1, 0.1 + 0.2], [2, 1e-17]], "label": "Δ"}
    return Snapshot(done, 6, "epoch", arrays, state)


@pytest.fixture
def logged() -> list[str]:
    return []


@pytest.fixture
def checkpoint(tmp_path: Path, logged: list[str]) -> StoredCheckpoint:
    return StoredCheckpoint(tmp_path / "store" / "step", "one fingerprint", logged.append)


def ignored(checkpoint: StoredCheckpoint) -> bool:
    """Whether the checkpoint was told of, removed and not used."""
    told: list[str] = []
    found = StoredCheckpoint(checkpoint.folder, checkpoint.fingerprint, told.append).load()
    (line,) = told
    if found is None:
        assert line.startswith("checkpoint ignored and removed: ")
        assert not checkpoint.folder.exists()
    return found is None


def test_cpu_time_of_earlier_attempts_is_counted(checkpoint):
    import time

    first, second = checkpoint.part("first"), checkpoint.part("second")
    first.save(snapshot())
    spent = checkpoint.spent.seconds
    while checkpoint.spent.seconds < spent + 0.05:
        pass
    second.save(snapshot())
    saved = checkpoint.spent.seconds
    again = StoredCheckpoint(checkpoint.folder, checkpoint.fingerprint, print)
    assert again.spent.seconds - time.process_time() == pytest.approx(0.0, abs=0.01)
    again.part("second").load()
    again.part("first").load()  # less, and part of what the second has
    earlier = again.spent.seconds - time.process_time()
    assert spent < earlier <= saved


def test_what_was_saved_comes_back(checkpoint, logged):
    assert checkpoint.load() is None and logged == []
    saved = snapshot()
    checkpoint.save(saved)
    found = checkpoint.load()
    assert (found.done, found.total, found.unit) == (3, 6, "epoch")
    assert found.state == saved.state
    assert set(found.arrays) == set(saved.arrays)
    for name, values in saved.arrays.items():
        assert found.arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(found.arrays[name], values)
    assert logged == ["resumed after epoch 3 of 6"]


def test_the_latest_takes_the_place_of_the_one_before(checkpoint):
    for done in (1, 2, 3):
        checkpoint.save(snapshot(done))
    assert [path.name for path in checkpoint.folder.iterdir()] == ["checkpoint.npz"]
    assert checkpoint.load().done == 3


def test_it_is_an_archive_without_pickle(checkpoint):
    checkpoint.save(snapshot())
    with np.load(checkpoint.path, allow_pickle=False) as archive:
        described = json.loads(str(archive["_state"]))
        assert {name: archive[name].dtype.hasobject for name in archive.files} == dict.fromkeys(
            archive.files, False
        )
    assert described["fingerprint"] == "one fingerprint"
    objects = Snapshot(1, 6, "epoch", {"object": np.array([{}], object)})
    with pytest.raises(InputError, match="is pickled"):
        checkpoint.save(objects)


def test_every_flipped_bit_is_seen(checkpoint):
    checkpoint.save(snapshot())
    content = checkpoint.path.read_bytes()
    draw = np.random.default_rng([1])
    positions = {*range(40), *range(len(content) - 130, len(content))}
    positions |= set(draw.integers(0, len(content), 300).tolist())
    for position in sorted(positions):
        altered = bytearray(content)
        altered[position] ^= 1 << int(draw.integers(8))
        checkpoint.folder.mkdir(exist_ok=True)
        checkpoint.path.write_bytes(altered)
        assert ignored(checkpoint), position


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 65, 1000, -65, -64, -1])
def test_a_torn_file_is_seen(checkpoint, kept):
    checkpoint.save(snapshot())
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:kept])
    assert ignored(checkpoint)


def test_an_archive_without_a_seal_is_not_trusted(checkpoint):
    checkpoint.save(snapshot())
    with zipfile.ZipFile(checkpoint.path, "a") as archive:
        archive.comment = b""
    assert ignored(checkpoint)


def test_another_fingerprints_is_ignored_and_removed(checkpoint, logged):
    checkpoint.save(snapshot())
    other = StoredCheckpoint(checkpoint.folder, "another fingerprint", logged.append)
    assert other.load() is None
    assert logged == [
        "checkpoint ignored and removed: it was made with other code, settings or inputs"
    ]
    assert checkpoint.load() is None and len(logged) == 1


def test_another_schema_versions_is_ignored(checkpoint, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("fly64_assets.pipeline.checkpoints.SCHEMA_VERSION", 0)
        checkpoint.save(snapshot())
    assert ignored(checkpoint)


SAVE = """
import os, pathlib, resource, signal, sys
import numpy as np
from fly64_assets.pipeline.checkpoints import StoredCheckpoint
from fly64_assets.solvers.interface import Snapshot

checkpoint = StoredCheckpoint(pathlib.Path(sys.argv[1]), "one fingerprint", print)
def save(done):
    checkpoint.save(Snapshot(done, 6, "epoch", {"object": np.full(100_000, done)}))
"""


def in_a_process(checkpoint: StoredCheckpoint, code: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", SAVE + textwrap.dedent(code), str(checkpoint.folder)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.long
@pytest.mark.parametrize("moment", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("before", [0, 1])
def test_killed_while_saving_the_one_before_stays(checkpoint, moment, before):
    killed = in_a_process(
        checkpoint,
        f"""
        if {before}:
            save(1)
        {moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        save(2)
        """,
    )
    assert killed.returncode == -signal.SIGKILL
    assert list(checkpoint.folder.glob("*.unfinished")), "killed too early to test anything"
    found = checkpoint.load()
    assert (found.done if found else 0) == before
    checkpoint.save(snapshot())
    assert checkpoint.load().done == 3 and not list(checkpoint.folder.glob("*.unfinished"))


def test_a_full_disk_costs_the_checkpoint_not_the_training(checkpoint):
    """A limit on a file's size is the kernel's own refusal in the middle of a write."""
    done = in_a_process(
        checkpoint,
        """
        save(1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        save(2)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no checkpoint after epoch 2 of 6: File too large\n"
    assert [path.name for path in checkpoint.folder.iterdir()] == ["checkpoint.npz"]
    assert checkpoint.load().done == 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 50_000


def test_a_folder_that_cannot_be_made_costs_the_checkpoint_only(tmp_path, logged):
    tmp_path.joinpath("store").write_text("a file")
    checkpoint = StoredCheckpoint(tmp_path / "store" / "step", "one fingerprint", logged.append)
    checkpoint.save(snapshot())
    assert checkpoint.load() is None
    assert logged == ["no checkpoint after epoch 3 of 6: Not a directory"]


# In a step


@pytest.fixture
def opened(write_study):
    """A study with nothing made, and its instance."""
    study_file = write_study()
    context = StudyContext.load(study_file)
    with study_instance(context.study, study_file) as instance:
        yield context, instance


def step(opened, body) -> bool:
    """Run the specimen's step with another body; whether it succeeded."""
    context, instance = opened
    assets = phase_asset("specimen", "", "numpy")(body).build(context)
    resources = {"io_manager": StoreIOManager(context)}
    return materialize(assets, resources=resources, instance=instance, raise_on_error=False).success


def interrupted(run: PhaseRun) -> Outcome:
    assert run.checkpoint.load() is None
    run.checkpoint.save(snapshot())
    raise RuntimeError("interrupted")


@pytest.mark.long
def test_a_step_finds_what_its_last_run_left_until_its_product_is_in_place(opened):
    context, _ = opened
    folder = context.store.checkpoint_folder(SPECIMEN, Condition())
    assert folder == context.store.root / ".checkpoints" / "specimen-study"
    found = []

    def resumed(run: PhaseRun):
        found.append(run.checkpoint.load())
        return make_specimen(run)

    assert not step(opened, interrupted)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.npz"]
    assert step(opened, resumed)
    assert not folder.exists()
    assert step(opened, resumed)
    assert found[0].done == 3 and found[1] is None


def test_a_step_whose_output_cannot_be_placed_keeps_its_checkpoint(opened, monkeypatch):
    context, _ = opened

    def finished(run: PhaseRun):
        run.checkpoint.save(snapshot(6))
        return make_specimen(run)

    with monkeypatch.context() as patch:
        full = OSError(28, "No space left on device")
        patch.setattr(
            "fly64_assets.pipeline.store.Store.commit", lambda *_: (_ for _ in ()).throw(full)
        )
        assert not step(opened, finished)
    assert (context.store.checkpoint_folder(SPECIMEN, Condition()) / "checkpoint.npz").is_file()


def test_other_settings_start_from_nothing(opened, write_study):
    assert not step(opened, interrupted)
    _, instance = opened
    changed = StudyContext.load(write_study("changed.yaml", patch_size=66))
    found = []

    def fresh(run: PhaseRun):
        found.append(run.checkpoint.load())
        return make_specimen(run)

    step((changed, instance), fresh)
    assert found == [None]


@pytest.mark.parametrize("force", [False, True])
def test_a_forced_run_starts_from_nothing(opened, monkeypatch, force):
    context, instance = opened
    at, left = Condition(1000), []
    folder = context.store.checkpoint_folder(product("train", "dataset"), at)
    StoredCheckpoint(folder, "one fingerprint", print).save(snapshot())

    def execute(*arguments) -> RunOutcome:
        (request,) = (given for given in arguments if hasattr(given, "make"))
        if request.condition == at:
            left.append(folder.exists())
        return RunOutcome(request, None, True, ())

    monkeypatch.setattr(runner, "execute", execute)
    asked = [Condition(1000, "dense")]
    runner.run_conditions(context, instance, asked, lambda *_: None, force=force)
    assert left == [not force]
