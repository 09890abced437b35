"""The code location: it loads, loads light, and says what the catalogue says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, MultiPartitionsDefinition
from dagster._core.execution.plan.instance_concurrency_context import (
    _calculate_timeout_interval,
)

from fly64_assets.definitions import build_definitions
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import instance_folder, study_instance
from fly64_assets.runs.executor import preloaded
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import collects_in, files_in, inputs_in
from fly64_assets_tests.conftest import PRODUCTS

HEAVY = (
    *("tensorflow", "keras", "torch", "ptychi"),
    *("numpy", "scipy", "skimage", "pandas", "matplotlib"),
)


@pytest.fixture(scope="module")
def graph():
    return build_definitions(StudyContext.load(PROJECT_ROOT / "study.yaml")).resolve_asset_graph()


def test_loading_imports_nothing_heavy():
    script = (
        "import sys, json, fly64_assets.definitions;"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_steps_find_loaded_what_opening_the_instance_needs():
    """The fork server's modules: nothing heavy, and SQLAlchemy with all that comes with it."""
    study_file = PROJECT_ROOT / "study.yaml"
    study = StudyContext.load(study_file).study
    with study_instance(study, study_file) as instance:
        modules = preloaded(instance)
    script = (
        "import sys, json, importlib\n"
        f"for module in {modules!r}: importlib.import_module(module)\n"
        "from dagster import DagsterInstance\n"
        "loaded = {module.split('.')[0] for module in sys.modules}\n"
        f"with DagsterInstance.from_config({str(instance_folder(study))!r}) as instance:\n"
        "    instance.get_runs_count()\n"
        "more = {module.split('.')[0] for module in sys.modules} - loaded\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "print(json.dumps([heavy, sorted(loaded & {'sqlalchemy', 'alembic'}), sorted(more)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy, database, more = json.loads(done.stdout)
    assert heavy == [] and database == ["alembic", "sqlalchemy"]
    assert not {"alembic", "rich", "watchdog", "structlog"} & set(more)


@pytest.mark.parametrize("asked", [0, 10, 31])
def test_a_free_solver_pool_is_asked_for_every_second(asked):
    assert _calculate_timeout_interval(None, asked) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
        ["dagster", "definitions", "validate"],
        ["dg", "check", "defs"],
    ],
    ids=" ".join,
)
def test_validates(command, tmp_path):
    """Both files by which Dagster finds the project lead to definitions that load."""
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [program, *command[1:]],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path),
            "DG_CLI_TELEMETRY_OPT_OUT": "1",
            "VIRTUAL_ENV": sys.prefix,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_asset_graph_is_the_catalogue(graph):
    study = StudyContext.load(PROJECT_ROOT / "study.yaml").study
    assert {tuple(key.path) for key in graph.materializable_asset_keys} == {
        item.key for item in PRODUCTS
    }
    for item in PRODUCTS:
        node = graph.get(AssetKey(item.key))
        parents = {tuple(key.path) for key in node.parent_keys}
        assert parents == {*inputs_in(item, study), *collects_in(item, study)}
        assert node.group_name == item.group
        assert node.code_version == item.code_version
        assert node.owners and node.kinds
        about, conventions, files = node.description.split("\n\n")
        assert about and ("rad" in conventions or "px" in conventions)
        assert all(f"`{name}`" in files for name in files_in(item, study))


def test_partitions_are_dose_by_view_with_the_split_in_the_key(graph):
    condition = graph.get(AssetKey(["train", "overlap_view"])).partitions_def
    assert isinstance(condition, MultiPartitionsDefinition)
    study = StudyContext.load(PROJECT_ROOT / "study.yaml").study
    assert len(condition.get_partition_keys()) == len(study.doses) * len(study.views)
    doses = graph.get(AssetKey(["train", "dataset"])).partitions_def
    assert doses.get_partition_keys() == [str(dose) for dose in study.doses]


def test_every_check_of_the_catalogue_exists_blocks_as_stated_and_is_partitioned(graph):
    stated = {
        (item.key, name): name in item.blocking_checks for item in PRODUCTS for name in item.checks
    }
    found = {
        (tuple(key.asset_key.path), key.name): graph.get_check_spec(key)
        for key in graph.asset_check_keys
    }
    assert {key: spec.blocking for key, spec in found.items()} == stated
    whole = {key for key, spec in found.items() if spec.partitions_def is None}
    assert {key for key, _ in whole} == {
        ("study_metrics",),
        ("dose_response",),
        ("study_report",),
    }


def test_steps_with_the_studys_threads_share_one_pool(graph):
    pools = {item.key: graph.get(AssetKey(item.key)).pools for item in PRODUCTS}
    pooled = {key for key, names in pools.items() if names == {"solver"}}
    assert pooled == {
        *((split, "dataset") for split in ("train", "test")),
        *((f"{name}_{kind}",) for name in ("pinn", "baseline") for kind in ("model", "replicates")),
        *((split, name) for split in ("train", "test") for name in ("ptychi_reconstruction",)),
        *((split, "comparison") for split in ("train", "test")),
    }
