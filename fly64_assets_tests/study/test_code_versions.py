"""Code versions: they follow the code that a phase runs, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fly64_assets
from fly64_assets.study.arms import ITERATIVE, NETWORKS
from fly64_assets.study.code_versions import code_version
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import PRODUCTS

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
            "import json; from fly64_assets.study.products import PRODUCTS;"
            "print(json.dumps({item.name: item.code_version for item in PRODUCTS}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=copy.parent,
            capture_output=True,
            text=True,
            check=True,
        )
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


COMPARISONS = {"train/comparison", "test/comparison"}
HEATMAPS = {"train/heatmaps", "test/heatmaps"}
MODELS = {f"{network.asset}_model" for network in NETWORKS}
REPLICATES = {f"{network.asset}_replicates" for network in NETWORKS}
RECONSTRUCTIONS = {f"{s}/{arm.asset}_reconstruction" for s in SPLITS for arm in ITERATIVE}
PINN = {
    f"{network.asset}_{kind}"
    for network in NETWORKS
    if network.section == "ptychopinn"
    for kind in ("model", "replicates")
}
OWN_CODE = {
    "pipeline/assets/specimen.py": {"specimen"},
    "pipeline/assets/datasets.py": {"train/dataset", "test/dataset"},
    "ptychography/simulation.py": {"train/dataset", "test/dataset"},
    "pipeline/assets/overlap_views.py": {"train/overlap_view", "test/overlap_view"},
    "pipeline/assets/models.py": MODELS,
    # The comparison predicts with both.
    "solvers/ptychopinn.py": PINN | COMPARISONS,
    "solvers/baseline.py": {"baseline_model", "baseline_replicates"} | COMPARISONS,
    "solvers/losses.py": MODELS | REPLICATES | COMPARISONS,
    "pipeline/assets/replicates.py": REPLICATES,
    "pipeline/assets/reconstructions.py": RECONSTRUCTIONS,
    "solvers/ptychi_engines.py": RECONSTRUCTIONS,
    "pipeline/assets/comparisons.py": COMPARISONS,
    "ptychography/stitching.py": COMPARISONS | REPLICATES,
    "pipeline/assets/comparison_statistics.py": {"comparison_statistics"},
    "pipeline/assets/heatmaps.py": HEATMAPS,
    "pipeline/assets/phase_manifests.py": {"phase_manifests"},
    "pipeline/assets/phase_logs.py": {"phase_logs"},
    "pipeline/assets/metrics_report.py": {"metrics_report"},
    "reports/condition/digest.py": {"metrics_report"},
    "reports/condition/report_parts.py": {"metrics_report"},
    "reports/condition/winners.py": {"metrics_report"},
    "reports/condition/interval_table.py": {"metrics_report", "hub_summary"},
    "pipeline/assets/check_report.py": {"check_report"},
    "pipeline/assets/hub_summary.py": {"hub_summary"},
    "pipeline/assets/study_report.py": {"study_report"},
    "reports/study/content.py": {"study_report"},
    "reports/study/plots.py": {"study_report"},
    "reports/figures/style.py": COMPARISONS | HEATMAPS | {"dose_response", "study_report"},
    "reports/figures/panels.py": COMPARISONS | HEATMAPS | {"study_report"},
    "reports/figures/study.py": {"dose_response", "study_report"},
    "reports/study_tables.py": {"dose_response", "study_report"},
    "study/relations.py": {"dose_response", "study_report"},
    "pipeline/asset_frame.py": set(),
    "pipeline/conventions.py": set(),
    # What is only shown.
    "pipeline/previews.py": set(),
    "reports/previews/drawing.py": set(),
    "reports/previews/measurements.py": set(),
    "reports/previews/scores.py": set(),
    "reports/previews/solving.py": set(),
    "pipeline/progress.py": set(),
    "pipeline/freshness.py": set(),
}
"""Source file -> the products whose code version changes with it, and no other's."""


@pytest.mark.long
def test_each_file_changes_the_versions_of_its_own_phase_only(tmp_path):
    """All of them in one process, on a copy of the package."""
    copy = tmp_path / "fly64_assets"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import json, sys, pathlib; from fly64_assets.study import code_versions;"
        "from fly64_assets.study.products import PRODUCTS\n"
        "found = {}\n"
        "for file in json.loads(sys.argv[1]):\n"
        "    path = code_versions.ROOT / file\n"
        "    text = path.read_text('utf-8')\n"
        "    path.write_text(text + '\\nCHANGED = True\\n', 'utf-8')\n"
        "    code_versions._module.cache_clear()\n"
        "    found[file] = {p.name: code_versions.code_version(p.modules, p.libraries, p.files)"
        " for p in PRODUCTS}\n"
        "    path.write_text(text, 'utf-8')\n"
        "print(json.dumps(found))"
    )
    command = [sys.executable, "-c", script, json.dumps(list(OWN_CODE))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {file: _changed(after) for file, after in found.items()} == OWN_CODE


def test_a_changed_metric_changes_the_comparison_only(versions_after):
    after = versions_after("ptychography/scoring/alignment.py", "\n\n\n", "\n\n\nCHANGED = True\n")
    assert {"train/comparison", "test/comparison"} <= _changed(after)
    assert not _changed(after) & {"pinn_model", "train/dataset", "train/overlap_view"}


def test_a_changed_template_changes_its_own_report_only(versions_after):
    after = versions_after(
        "reports/condition/templates/metrics_digest.md.j2", "Key Deltas", "Deltas"
    )
    assert _changed(after) == {"metrics_report"}


@pytest.mark.long
@pytest.mark.parametrize("file", ["study_report.html.j2", "_compare.js", "_style.css"])
def test_the_study_reports_words_style_and_script_are_its_code(versions_after, file):
    after = versions_after(f"reports/study/templates/{file}", "e", "e ")
    assert _changed(after) == {"study_report"}


def test_a_changed_macro_changes_every_report_with_a_template(versions_after):
    after = versions_after("reports/condition/templates/_tables.j2", "macro", "macro ")
    assert _changed(after) == {"metrics_report", "check_report", "hub_summary"}


def test_libraries_that_decide_numbers_are_part_of_the_version():
    assert "ptychi=" in NOW["train/ptychi_reconstruction"]
    assert "tensorflow=" in NOW["pinn_model"]


def test_an_unknown_module_is_an_error():
    with pytest.raises(ModuleNotFoundError):
        code_version(("fly64_assets.no_such_module",))
