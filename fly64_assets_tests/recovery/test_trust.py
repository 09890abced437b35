"""What faults must find closed: the order of flushes, and inputs that change while being read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.store import Store
from fly64_assets.study.products import product
from fly64_assets_tests.conftest import fly64
from fly64_assets_tests.traced_store import AT, make_store

COMMIT = """
import sys
from pathlib import Path
from fly64_assets.study.products import product
from fly64_assets.study.conditions import Condition
from fly64_assets.pipeline.store import Store
from fly64_assets_tests.conftest import fly64

root, at = Path(sys.argv[1]), Condition(1000, "dense")
store, item = Store(root), product("train", "overlap_view")
with store.staging("step") as staged:
    for name in item.files:
        (staged / name).write_bytes(b"whole")
    print(*store.commit(item, at, staged), file=sys.stderr)
"""
CALL = re.compile(r"\b(fsync|rename)\((.*)\)\s+= 0$")


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_files_are_flushed_before_they_are_renamed_and_folders_after(tmp_path):
    """As the kernel sees it: only so does a name that survives a power cut name a whole file."""
    root, trace = tmp_path.resolve() / "store", tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,rename", "-o", str(trace)]
    subprocess.run([*command, sys.executable, "-c", COMMIT, str(root)], check=True)
    calls = [found.groups() for found in map(CALL.search, trace.read_text().splitlines()) if found]
    renames = [
        (number, re.findall(r'"([^"]*)"', text))
        for number, (call, text) in enumerate(calls)
        if call == "rename" and "/phase_d/" in text
    ]
    flushed = [text for call, text in calls if call == "fsync"]
    assert len(renames) == len(product("train", "overlap_view").files)
    for number, (source, _) in renames:
        assert any(f"<{source}>" in text for call, text in calls[:number] if call == "fsync")
    after = [text for call, text in calls[renames[-1][0] :] if call == "fsync"]
    target = root / product("train", "overlap_view").folder_of(AT)
    for folder in (target, target.parent, target.parent.parent, root):
        assert any(f"<{folder}>" in text for text in after), (folder, flushed)


@pytest.mark.long
def test_an_input_that_is_altered_while_it_is_read_makes_nothing(tmp_path, monkeypatch):
    """The bit flips after the input was vouched for: staging begins when inputs are loaded."""
    made = make_store(tmp_path)
    file = made.path("data/phase_c/dose_1000/patched_train.npz")
    staging = Store.staging

    @contextmanager
    def altered_meanwhile(self, name):
        with staging(self, name) as folder:
            if name.startswith("train_overlap_view"):
                content = bytearray(file.read_bytes())
                content[-1] ^= 1
                file.write_bytes(content)
            yield folder

    with made.opened() as (context, instance):
        before = context.ledger(instance).latest(product("train", "overlap_view"), AT)
    monkeypatch.setattr(Store, "staging", altered_meanwhile)
    with pytest.raises(Exception, match="train/dataset was altered while train_overlap_view read"):
        made.make("views")
    with made.opened() as (context, instance):
        after = context.ledger(instance).latest(product("train", "overlap_view"), AT)
        verdict = context.planner(instance).verdict(product("train", "overlap_view"), AT)
    assert after.storage_id == before.storage_id
    assert verdict.state is State.STALE


def test_a_database_that_cannot_be_used_is_one_line(write_study, tmp_path):
    """As it is where the disk is full: sqlite refuses, and nobody is shown a traceback."""
    database = tmp_path / "results" / "tiny" / "dagster" / "history" / "runs.db"
    database.mkdir(parents=True)
    done = fly64("run", "--study", write_study(), "--all", results=tmp_path / "results")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "storage: cannot be opened: unable to open" in line
