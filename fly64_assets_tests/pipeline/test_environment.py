"""The settings of a user's account reach no result, and what cannot work says so in a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fly64_assets.errors import InputError
from fly64_assets.pipeline import environment
from fly64_assets_tests.conftest import FinishedRun, run_once

RC = """
image.origin: lower
image.lut: 4
text.usetex: True
savefig.bbox: tight
axes.facecolor: red
font.size: 30
backend: TkAgg
"""
KERAS = {
    "floatx": "float16",
    "epsilon": 0.1,
    "backend": "torch",
    "image_data_format": "channels_first",
}
HOSTILE = {
    "KERAS_BACKEND": "torch",
    "KERAS_MAX_EPOCHS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "XLA_FLAGS": "--no_such_flag",
    "OMP_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "AVX2",
    "MPLBACKEND": "nonsense",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "ascii",
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Pacific/Kiritimati",
    "TERM": "dumb",
    "COLUMNS": "20",
    "DAGSTER_HOME": "/nowhere",
}
DRAW = """
import hashlib, sys
from fly64_assets.pipeline import environment
environment.settle()
import numpy as np
from fly64_assets.reports.figures.comparison import LocalMap, MapStyle, heatmap_plot
y, x = np.mgrid[:40, :60] / 50
truth = {"phase": x * y, "amplitude": x - y}
maps = {("PtychoPINN", name): LocalMap(values**2, "0.5") for name, values in truth.items()}
heatmap_plot(sys.argv[1], truth, maps, MapStyle("SSIM", (0, 1), "gray"), title="\\u0394")
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
"""
START = """
import multiprocessing, os
from fly64_assets.pipeline import environment
def work(): pass
if __name__ == "__main__":
    environment.settle()
    process = multiprocessing.get_context("forkserver").Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """Variables, a home and a current folder of somebody whose every setting is another."""
    home, folder = tmp_path / "home", tmp_path / ("temporary" * 12)
    for path, text in {
        home / ".keras/keras.json": json.dumps(KERAS),
        home / ".config/matplotlib/matplotlibrc": RC,
        tmp_path / "matplotlibrc": RC,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder.mkdir()
    places = {"HOME": home, "TMPDIR": folder, "MATPLOTLIBRC": tmp_path / "matplotlibrc"}
    plain = {name: value for name, value in os.environ.items() if name != environment.SETTLED}
    return {**plain, **HOSTILE, **{name: str(path) for name, path in places.items()}}


def _python(code: str, *arguments: object, **more: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_picture_has_the_same_bytes_whatever_matplotlib_is_set_to(hostile, tmp_path):
    picture = tmp_path / "picture.png"
    plain = _python(DRAW, picture)
    assert _python(DRAW, picture, cwd=tmp_path, env=hostile) == plain


def test_what_decides_a_result_is_set_by_us(hostile, monkeypatch):
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    found = environment.settled_environment()
    left = {name for name in HOSTILE if found.get(name) == HOSTILE[name]}
    assert left == {"PYTHONIOENCODING", "LC_ALL", "TZ", "TERM", "COLUMNS", "DAGSTER_HOME"}
    assert found["KERAS_BACKEND"] == "tensorflow"
    assert not (Path(found["KERAS_HOME"]) / "keras.json").exists()


def test_a_process_starts_though_temporary_files_lie_deep(hostile, tmp_path):
    script = tmp_path / "start.py"
    script.write_text(START)
    done = subprocess.run([sys.executable, script], env=hostile, capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


def test_no_folder_for_temporary_files_is_one_line(monkeypatch):
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(InputError, match="takes no temporary files"):
        environment._settle_temporary_folder()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/" + "x" * 80)
    monkeypatch.setattr(environment, "SHORT_FOLDERS", ("/nowhere",))
    with pytest.raises(InputError, match="is longer than 60 letters"):
        environment._settle_temporary_folder()


@pytest.mark.long
def test_a_run_has_the_same_data_whatever_is_set(
    finished: FinishedRun, hostile, tmp_path, tmp_path_factory, monkeypatch
):
    from fly64_assets_tests.recovery.site import Site

    for name in set(os.environ) - set(hostile):
        monkeypatch.delenv(name)
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    other = run_once(tmp_path_factory, "master", "hostile_settings")
    assert other.run.returncode == 0, other.run.stdout + other.run.stderr
    wanted, found = (
        Site(run.study_file, run.results).standing().versions() for run in (finished, other)
    )
    assert found == wanted
