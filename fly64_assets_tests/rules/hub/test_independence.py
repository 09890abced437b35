"""The verifier shares nothing with what writes a hub, and loads no solver's framework."""

from __future__ import annotations

import subprocess
import sys

WRITERS = (
    *("deltas", "manifest", "metrics_summary", "reports", "rendering", "numbers", "layout"),
    *("summary", "phase_manifests", "export", "ro_crate"),
    *("report_parts", "digest", "winners", "interval_table"),
)
HEAVY = ("tensorflow", "keras", "torch", "dagster", "jinja2", "matplotlib")


def test_verifying_imports_no_writer_of_a_hub():
    code = "import sys, fly64_assets.rules.hub; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "fly64_assets.rules.hub.reports" in loaded
    assert [name for name in loaded if name.startswith("fly64_assets.pipeline.assets")] == []
    assert [name for name in WRITERS if f"fly64_assets.hub.{name}" in loaded] == []
    assert [name for name in HEAVY if name in loaded] == []
