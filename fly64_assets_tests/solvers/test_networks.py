"""The networks: what can be tested without TensorFlow, and the run of what cannot.

TensorFlow and torch crash the interpreter when they meet, and the suite is one process. So what
needs TensorFlow stands in ``network_checks.py`` and ``training_checks.py``, ordinary pytest files
that are not collected by their names; one test here runs both with pytest in a process of its own.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

from fly64_assets.errors import SolverEnvironmentError
from fly64_assets.solvers import tensorflow_runtime
from fly64_assets_tests.solvers.own_process import PARTS, run_checks

HERE = Path(__file__).parent
CHECKS = [HERE / "network_checks.py", HERE / "training_checks.py"]
LIGHT = (
    *("ptychopinn", "baseline", "model_bundle", "inference", "grouping", "resampling"),
    *("refinement", "object_field"),
)


@pytest.mark.parametrize("part", PARTS)
def test_everything_that_needs_tensorflow(part):
    run_checks(CHECKS, part, more_than=30)


def test_a_process_that_has_torch_is_refused_before_tensorflow_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(SolverEnvironmentError, match="has loaded torch"):
        tensorflow_runtime.start_tensorflow(2)
    assert "tensorflow" not in sys.modules


@pytest.mark.long
@pytest.mark.parametrize("name", LIGHT)
def test_importing_a_solver_imports_no_framework(name):
    code = (
        f"import sys, fly64_assets.solvers.{name}\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'h5py'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_the_supervised_model_can_reach_the_truth():
    """PtychoPINN's modules name no truth: neither the patches nor the object nor their files."""
    for name in ("ptychopinn", "refinement", "object_field", "grouping", "training"):
        source = (HERE.parents[1] / "fly64_assets" / "solvers" / f"{name}.py").read_text("utf-8")
        names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
        names |= {
            node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)
        }
        forbidden = {"true_patches", "object_guess", "objectGuess", "patches_at", "SupervisedLoss"}
        assert names.isdisjoint(forbidden)
