"""A rule imports no writer of what it judges; those that are asked of a hub load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import grimp

RULES = "fly64_assets.rules"
WRITERS = (
    *("hub.export", "hub.ro_crate", "pipeline", "solvers"),
    *("ptychography.simulation", "ptychography.overlap", "ptychography.view_metrics"),
    "ptychography.discs",
    *("documents.comparison_manifest", "documents.deltas", "documents.metrics_summary"),
    *("documents.phase_manifests", "ptychography.scoring.block_bootstrap"),
)
HEAVY = ("tensorflow", "keras", "torch", "dagster", "jinja2", "matplotlib")


def test_no_rule_imports_a_writer():
    """Texts for people are the exception: they are rendered again, by `reports.condition`."""
    graph = grimp.build_graph("fly64_assets")
    rules = graph.find_descendants(RULES)
    written = {f"fly64_assets.{name}" for name in WRITERS}
    written |= {found for name in written for found in graph.find_descendants(name)}
    assert {f"fly64_assets.{name}" for name in WRITERS} <= graph.modules
    imported = {name for rule in rules for name in graph.find_modules_directly_imported_by(rule)}
    assert f"{RULES}.hub.crate_graph" in imported
    assert sorted(imported & written) == []


def test_verifying_loads_nothing_heavy():
    code = "import sys, fly64_assets.rules.hub; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
