"""The store: atomic placement, one writer at a time, hashes that see every bit."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from fly64_assets.documents.provenance import FileRecord
from fly64_assets.errors import InputError, NotTrusted
from fly64_assets.pipeline.store import Store
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import PRODUCTS, product

VIEW = product("train", "overlap_view")
AT = Condition(1000, "dense")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def _commit(store: Store, **contents: bytes) -> dict[str, FileRecord]:
    with store.staging("a view") as staged:
        for name, content in contents.items():
            (staged / name.replace("__", ".")).write_bytes(content)
        return {record.path: record for record in store.commit(VIEW, AT, staged)}


def test_files_lie_by_phase_dose_and_view(store):
    files = _commit(store, train__npz=b"data", train_metrics__json=b"{}")
    assert list(files) == [
        "data/phase_d/dose_1000/dense/train.npz",
        "data/phase_d/dose_1000/dense/train_metrics.json",
    ]
    assert store.path(VIEW, AT, "train.npz").read_bytes() == b"data"


def test_no_two_products_own_the_same_file():
    owned = [
        (item.folder_of(AT.restricted_to(item.per)), name)
        for item in PRODUCTS
        for name in item.files
    ]
    assert len(set(owned)) == len(owned)


def test_every_input_stands_before_its_consumer():
    order = [item.key for item in PRODUCTS]
    for item in PRODUCTS:
        needed = {*item.inputs, *item.collects}
        assert all(order.index(key) < order.index(item.key) for key in needed)


DELTAS, SUMMARY = product("metrics_delta_summary"), product("metrics_summary")


def _write(store: Store, item, content: str) -> None:
    with store.staging(item.name) as staged:
        for name in item.files:
            (staged / name).write_text(content)
        store.commit(item, AT, staged)


@pytest.mark.parametrize("name", ["metrics_summary", "comparison_manifest"])
def test_a_delta_file_never_outlives_what_it_was_made_from(store, name):
    _write(store, SUMMARY, "first")
    _write(store, DELTAS, "first minus second")
    _write(store, product(name), "anew")
    assert not store.path(DELTAS, AT, "metrics_delta_summary.json").exists()
    assert store.path(SUMMARY, AT, "metrics_summary.json").exists()


def test_a_delta_file_goes_before_its_new_source_comes(store, monkeypatch):
    """Killed in between, there is no delta file; never one of another source."""
    _write(store, SUMMARY, "first")
    _write(store, DELTAS, "first minus second")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        _write(store, SUMMARY, "anew")
    assert not store.path(DELTAS, AT, "metrics_delta_summary.json").exists()
    assert store.path(SUMMARY, AT, "metrics_summary.json").read_text() == "first"


def test_commit_takes_only_what_the_product_owns(store):
    with pytest.raises(FileNotFoundError):
        _commit(store, other__npz=b"x")
    with pytest.raises(KeyError):
        store.path(VIEW, AT, "other.npz")


def test_what_a_product_no_longer_makes_does_not_linger(store):
    _commit(store, train__npz=b"data", train_metrics__json=b"{}")
    _commit(store, train__npz=b"new")
    assert not store.path(VIEW, AT, "train_metrics.json").exists()


def test_neighbours_in_the_same_folder_are_left_alone(store):
    other = store.folder(VIEW, AT) / "test.npz"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"the other split")
    _commit(store, train__npz=b"data")
    assert other.read_bytes() == b"the other split"


def test_staging_leaves_nothing_behind_after_an_error(store):
    with pytest.raises(RuntimeError), store.staging("a view") as staged:
        (staged / "train.npz").write_bytes(b"half")
        raise RuntimeError("stopped")
    assert not list((store.root / ".staging").iterdir())
    assert not store.path(VIEW, AT, "train.npz").exists()


def test_one_writer_at_a_time(store):
    refused = pytest.raises(NotTrusted, match=f"process {os.getpid()}")
    with store.staging("a view"), refused, store.staging("a view"):
        pass
    with store.staging("a view"):
        pass


def test_a_killed_writer_leaves_no_lock_and_no_file(store, tmp_path):
    script = textwrap.dedent(
        f"""
        import os, signal, pathlib
        from fly64_assets.pipeline.store import Store
        with Store(pathlib.Path({str(store.root)!r})).staging("a view") as staged:
            (staged / "train.npz").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", script])
    assert killed.returncode == -9
    left = store.root / ".staging" / "a view" / "train.npz"
    assert left.exists(), "the kill came too early to test anything"
    with store.staging("a view") as staged:
        assert not list(staged.iterdir())
    assert not store.path(VIEW, AT, "train.npz").exists()


@pytest.mark.parametrize("position", [0, 517, 4095])
def test_one_flipped_bit_is_seen(store, position):
    files = _commit(store, train__npz=bytes(4096))
    assert store.altered(files) is None
    path = store.path(VIEW, AT, "train.npz")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert "sha256" in store.altered(files)


def test_truncated_and_missing_files_are_seen(store):
    files = _commit(store, train__npz=bytes(4096))
    path = store.path(VIEW, AT, "train.npz")
    path.write_bytes(bytes(100))
    assert "has 100 bytes, 4096 were written" in store.altered(files)
    path.unlink()
    assert "is gone" in store.altered(files)


def test_unwritable_store_is_refused_by_name(tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    with pytest.raises(InputError, match="a file.*store: the store cannot be written"):
        Store(blocked / "store").require_writable()


def _link(path, outside):
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def _link_inside(path, _):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _link_folder(path, outside):
    path.parent.rename(outside)
    path.parent.symlink_to(outside)


def _link_higher_folder(path, outside):
    path.parents[2].rename(outside)
    path.parents[2].symlink_to(outside)


def _replace(make):
    def change(path, _):
        path.unlink()
        make(path)

    return change


def _socket(path):
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)


def _unreadable(path, _):
    if not os.getuid():
        pytest.skip("root reads everything")
    path.chmod(0)


OTHER_KINDS = {
    "link": (_link, f"{VIEW.folder_of(AT)}/train.npz is a symbolic link, not a file"),
    "link inside": (_link_inside, "train.npz is a symbolic link, not a file"),
    "folder": (_link_folder, f"{VIEW.folder_of(AT)} is a symbolic link, not a folder"),
    "folders": (_link_higher_folder, "data/phase_d is a symbolic link, not a folder"),
    "pipe": (_replace(os.mkfifo), "train.npz is a named pipe, not a file"),
    "directory": (_replace(os.mkdir), "train.npz is a folder, not a file"),
    "socket": (_replace(_socket), "train.npz is a socket, not a file"),
    "nothing": (_replace(lambda path: None), "train.npz is gone"),
    "unreadable": (_unreadable, "train.npz cannot be read: Permission denied"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_whatever_else_lies_in_place_of_a_file_is_altered_and_never_opened(store, tmp_path, kind):
    """A link to equal bytes too: they may be others the next time, and a pipe is waited for."""
    files = _commit(store, train__npz=b"data")
    change, told = OTHER_KINDS[kind]
    change(store.path(VIEW, AT, "train.npz"), tmp_path / "outside")
    assert str(store.altered(files)).endswith(told)
    assert store.altered(_commit(store, train__npz=b"data")) is None
    if "folder" in kind:
        assert (tmp_path / "outside").is_dir(), "what the link led to is left alone"


def test_a_store_may_lie_behind_a_link(store, tmp_path):
    files = _commit(store, train__npz=b"data")
    store.root.rename(tmp_path / "elsewhere")
    store.root.symlink_to(tmp_path / "elsewhere")
    assert store.altered(files) is None
