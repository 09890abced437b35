"""The study's ``device``: what a process may see, and what is refused, without a GPU at hand."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import pytest

from fly64_assets.pipeline.accelerator import HIDDEN, VISIBLE, gpu_visible
from fly64_assets_tests.conftest import fly64


@pytest.mark.parametrize("node", ["nvidia0", "dxg", "kfd"])
def test_a_drivers_device_file_is_a_gpu(tmp_path, node):
    assert not gpu_visible({}, tmp_path)
    (tmp_path / node).touch()
    assert gpu_visible({}, tmp_path)
    assert gpu_visible({"CUDA_VISIBLE_DEVICES": "1,0"}, tmp_path)
    for name in VISIBLE:
        assert not gpu_visible({name: HIDDEN}, tmp_path)
        assert not gpu_visible({name: ""}, tmp_path)


def test_other_files_of_the_driver_are_none(tmp_path):
    for name in ("nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert not gpu_visible({}, tmp_path)


def test_a_gpu_that_is_wanted_and_not_there_is_refused_before_anything_runs(
    write_study, tmp_path, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", HIDDEN)  # whatever this machine has
    file = write_study(device="gpu")
    done = fly64("run", "--study", file, "--all", results=tmp_path / "results")
    assert done.returncode == 2
    assert f"{file}: device: is gpu, but this machine shows no GPU" in done.stderr
    assert not (tmp_path / "results").exists()
    refused = fly64("plan", "--study", write_study(device="tpu"), results=tmp_path / "results")
    assert refused.returncode == 2 and "device" in refused.stderr


def _seen(device: str, answer) -> None:
    import os

    from fly64_assets.pipeline.accelerator import limit_device

    limit_device(device)
    answer.put([os.environ.get(name) for name in VISIBLE])


@pytest.mark.long
@pytest.mark.parametrize(("device", "hidden"), [("cpu", True), ("auto", False), ("gpu", False)])
def test_a_step_sees_gpus_only_when_it_may_use_them(device, hidden, monkeypatch):
    for name in VISIBLE:
        monkeypatch.delenv(name, raising=False)
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=_seen, args=(device, answer))
    child.start()
    assert answer.get(timeout=60) == ([HIDDEN] * 2 if hidden else [None] * 2)
    child.join()


GROWTH = """
from fly64_assets.solvers.tensorflow_runtime import settle_environment, start_tensorflow

settle_environment()
import tensorflow as tf

grown = []
tf.config.list_physical_devices = lambda kind: ["one", "two"] if kind == "GPU" else []
tf.config.experimental.set_memory_growth = lambda device, on: grown.append((device, on))
start_tensorflow(1)
assert grown == [("one", True), ("two", True)], grown
"""


@pytest.mark.long
def test_tensorflow_takes_the_memory_of_every_gpu_as_it_is_needed():
    """The device is not there, the call to TensorFlow is; in a process without torch."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
