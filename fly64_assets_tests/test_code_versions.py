"""Code versions: they follow the code that a phase runs, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fly64_assets
from fly64_assets.catalogue import PRODUCTS
from fly64_assets.code_versions import code_version

PACKAGE = Path(fly64_assets.__file__).parent


@pytest.fixture
def versions_after(tmp_path):
    """Versions by product, of a copy of the package with one file changed."""

    def versions(file: str, old: str, new: str) -> dict[str, str]:
        copy = tmp_path / "copy" / "fly64_assets"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        text = (copy / file).read_text("utf-8")
        assert old in text
        (copy / file).write_text(text.replace(old, new, 1), "utf-8")
        script = (
            "import json; from fly64_assets.catalogue import PRODUCTS;"
            "print(json.dumps({item.name: item.code_version for item in PRODUCTS}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=copy.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        import json

        return json.loads(done.stdout)

    return versions


NOW = {item.name: item.code_version for item in PRODUCTS}


def _changed(after: dict[str, str]) -> set[str]:
    return {name for name in NOW if after[name] != NOW[name]}


def test_comments_and_docstrings_do_not_count(versions_after):
    after = versions_after(
        "ptychography/overlap.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\n# a remark\n",
    )
    assert _changed(after) == set()


def test_a_changed_solver_changes_its_own_phase_only(versions_after):
    after = versions_after("solvers/ptychi_engines.py", "import ", "import os\nimport ")
    assert _changed(after) == {
        f"{split}/{arm}_reconstruction" for split in ("train", "test") for arm in ("ptychi", "epie")
    }


def test_a_changed_metric_changes_the_comparison_only(versions_after):
    after = versions_after("ptychography/alignment.py", "import numpy", "import os\nimport numpy")
    assert {"train/comparison", "test/comparison"} <= _changed(after)
    assert not _changed(after) & {"pinn_model", "train/dataset", "train/overlap_view"}


def test_a_changed_template_changes_its_own_report_only(versions_after):
    after = versions_after("hub/templates/metrics_digest.md.j2", "Key Deltas", "Deltas")
    assert _changed(after) == {"metrics_report"}


def test_a_changed_macro_changes_every_report_with_a_template(versions_after):
    after = versions_after("hub/templates/_tables.j2", "macro", "macro ")
    assert _changed(after) == {"metrics_report", "check_report", "hub_summary"}


def test_libraries_that_decide_numbers_are_part_of_the_version():
    assert "ptychi=" in NOW["train/ptychi_reconstruction"]
    assert "tensorflow=" in NOW["pinn_model"]


def test_an_unknown_module_is_an_error():
    with pytest.raises(ModuleNotFoundError):
        code_version(("fly64_assets.no_such_module",))
