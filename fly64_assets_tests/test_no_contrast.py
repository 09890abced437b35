"""A specimen without contrast in one component, from its plan to its verified hub.

Long: two whole runs of the tiny study.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.ptychography.scoring.comparison import NEED_CONTRAST
from fly64_assets.study.model import PROJECT_ROOT, SPLITS
from fly64_assets_tests.conftest import FinishedRun, fly64, run_once

pytestmark = pytest.mark.long
SELECTION = ("--dose", "1000", "--view", "dense")
CHANGES = {"amplitude": lambda o: np.exp(1j * np.angle(o)), "phase": np.abs}
OTHER = {"amplitude": "phase", "phase": "amplitude"}


@pytest.fixture(scope="module", params=CHANGES)
def component(request) -> str:
    """What has no contrast."""
    return request.param


@pytest.fixture(scope="module")
def run(component, tmp_path_factory, worker_id) -> FinishedRun:
    arrays = read_npz(PROJECT_ROOT / "fly64_assets/study/specimens/labyrinth.npz")
    changed = CHANGES[component](arrays["objectGuess"]).astype(np.complex64)
    specimen = tmp_path_factory.mktemp("specimen") / "mine.npz"
    write_npz(specimen, {**arrays, "objectGuess": changed})
    changes = {"timeout": 1800, "specimen": str(specimen)}
    made = run_once(tmp_path_factory, worker_id, f"no_{component}", **changes)
    assert made.run.returncode == 0, made.run.stdout + made.run.stderr
    return made


@pytest.fixture(scope="module")
def hub(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "hub"
    done = fly64(
        "export", "--study", run.study_file, *SELECTION, "--to", folder, results=run.results
    )
    assert done.returncode == 0, done.stdout
    assert "verified" in done.stdout
    return folder


def _text(hub: Path, path: str) -> str:
    return (hub / path).read_text("utf-8")


def test_every_check_passes_and_every_page_says_not_defined(run, hub, component):
    done = fly64("checks", "--study", run.study_file, *SELECTION, "--json", results=run.results)
    rows = json.loads(done.stdout)["checks"]
    assert [row for row in rows if row["status"] not in ("passed", "warning")] == []
    page = run.results / "tiny/store/study/study_report.html"
    texts = {
        path: _text(hub, path) for path in ("summary/summary.md", "analysis/metrics_summary.md")
    }
    for text in (run.run.stdout, page.read_text("utf-8"), *texts.values()):
        assert "not defined" in text
        assert not re.search(r"[\s>|(]nan[\s<|,)]", text)
    done = fly64("status", "--study", run.study_file, results=run.results)
    assert done.returncode == 0 and "failed" not in done.stdout


def test_blank_in_tables_null_in_json_exactly_where_nothing_is_defined(hub, component):
    for split in SPLITS:
        text = _text(hub, f"analysis/dose_1000/dense/{split}/comparison_metrics.csv")
        for row in csv.DictReader(io.StringIO(text)):
            if not row["value"]:
                assert (row[component] == "") == (row["metric"] in NEED_CONTRAST), row
                assert row[OTHER[component]] != "", row
    statistics = _text(hub, "analysis/comparison_statistics.csv")
    for row in csv.DictReader(io.StringIO(statistics)):
        blank = row["component"] == component and row["metric"] in NEED_CONTRAST
        assert (row["value"] == "") == (row["mean"] == "") == blank, row
    deltas = json.loads(_text(hub, "analysis/metrics_delta_summary.json"))
    for table in (deltas["deltas"], *deltas["deltas_by_split"].values()):
        for other in table.values():
            assert other["ms_ssim"][component] is None is not other["mae"][component]
            assert other["ms_ssim"][OTHER[component]] is not None
    summary = json.loads(_text(hub, "analysis/metrics_summary.json"))
    for arm in summary["aggregate_metrics"].values():
        assert arm["ms_ssim"][f"mean_{component}"] is arm["ms_ssim"][f"best_{component}"] is None
    assert "N/A" in _text(hub, "analysis/metrics_delta_highlights.txt")


def _rewritten(text: str, metric: str, component: str, value: Callable[[str], str]) -> str:
    header, *lines = text.splitlines()
    column = header.split(",").index(component)
    for number, line in enumerate(lines):
        cells = line.split(",")
        if cells[:2] == ["PtyChi", metric]:
            cells[column] = value(cells[column])
            lines[number] = ",".join(cells)
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize("defined", [False, True])
def test_a_number_for_a_blank_or_a_blank_for_a_number_is_found(hub, component, defined, tmp_path):
    forged = tmp_path / "hub"
    shutil.copytree(hub, forged)
    name = "analysis/dose_1000/dense/test/comparison_metrics.csv"
    of, value = (OTHER[component], "") if defined else (component, "1.000000")
    (forged / name).write_text(
        _rewritten(_text(hub, name), "ms_ssim", of, lambda _: value), "utf-8"
    )
    done = fly64("verify", forged, "--json", results=tmp_path)
    assert done.returncode == 1
    found = {row["name"]: row for row in json.loads(done.stdout)["checks"]}
    told = json.dumps(found["manifest.scores"])
    assert "PtyChi ms_ssim" in told and "blank (not defined)" in told
