"""Benchmarks start, and those that read what a run recorded can read it. Figures are not judged."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.study.model import PROJECT_ROOT

SCRIPTS = sorted((PROJECT_ROOT / "benchmarks").glob("bench_*.py"))


def run(script, *arguments, results):
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env={**os.environ, RESULTS_VARIABLE: str(results)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "script", [one for one in SCRIPTS if "argparse" in one.read_text("utf-8")], ids=lambda p: p.stem
)
def test_its_help_says_what_it_measures(script, tmp_path):
    done = run(script, "--help", results=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script.name}")


def test_where_the_time_of_a_condition_went(finished):
    script = PROJECT_ROOT / "benchmarks" / "bench_condition.py"
    arguments = ("--study", finished.study_file, "--dose", "1000", "--view", "dense")
    done = run(script, *arguments, results=finished.results)
    assert done.returncode == 0, done.stderr
    assert "pinn_model" in done.stdout and "pinn_gs1_model" not in done.stdout


@pytest.mark.long
def test_ratios_are_one_table_and_who_failed_is_named(finished):
    empty = finished.results / "nothing"
    script = PROJECT_ROOT / "benchmarks" / "ratios.py"
    arguments = ("--study", finished.study_file)
    done = run(script, "condition", *arguments, results=finished.results)
    assert done.returncode == 0, done.stderr
    assert "1000 photons, dense): wall time to inside | " in done.stdout
    assert "at most 1.15" in done.stdout
    done = run(script, "condition", "hub", results=empty)
    assert done.returncode == 1 and done.stderr.endswith("failed: condition, hub\n")
    assert run(script, "nonsense", results=empty).returncode == 2
