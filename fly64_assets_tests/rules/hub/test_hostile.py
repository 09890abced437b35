"""No hub harms whoever verifies it: memory, time, terminal and files are the verifier's own."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fly64_assets.rules.hub import Hub, run_checks
from fly64_assets_tests.rules.hub.forging import Original
from fly64_assets_tests.rules.hub.hostile import KINDS, LOG, MARK, make

MOST_MEMORY = 900_000
"""kB of either process; the one that only shows takes a tenth of it."""
MOST_PROCESSOR_S = 60.0
START = """
import json, os, pathlib, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
pathlib.Path(sys.argv[1]).write_text(json.dumps([*usage]))
sys.exit(os.waitstatus_to_exitcode(status))
"""
HARMLESS = ("a picture that unpacks on", "a picture as large as may be")
"""What nobody unpacks behind a picture's last pixel does no harm, and is not looked for."""
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    "what",
    [pytest.param(w, marks=() if quick else pytest.mark.long) for w, (_, quick) in KINDS.items()],
)
def test_a_hostile_hub_is_judged_within_bounds(what: str, original: Original, tmp_path: Path):
    hub = make(what, original.copy_to(tmp_path / "hub"))
    try:
        code, usage, out, err = verify(hub, tmp_path)
        assert not (hub / MARK).exists() and not (tmp_path / "pwned").exists()
    finally:
        # What Python removes, it removes recursively.
        subprocess.run(["rm", "-rf", hub], check=True)
    assert code == (0 if what in HARMLESS else 1), out + err
    assert "Traceback" not in out + err
    assert STEERING.search(out + err) is None
    assert usage.ru_maxrss < MOST_MEMORY
    assert usage.ru_utime + usage.ru_stime < MOST_PROCESSOR_S
    assert what in HARMLESS or re.search(r"^FAILED: \d+ of \d+ checks", out, re.MULTILINE)
    assert len(out) < 20_000


def verify(hub: Path, folder: Path) -> tuple[int, object, str, str]:
    """Exit code, what it used, and output of ``fly64 verify .``, begun in the hub itself.

    A process begins with the memory of the one that starts it, as far as the kernel counts: so a
    small one starts it.
    """
    command = [sys.executable, "-P", "-m", "fly64_assets.cli", "verify", "."]
    starter = [sys.executable, "-I", "-c", START, folder / "usage", *command]
    done = subprocess.run(starter, cwd=hub, stdin=subprocess.DEVNULL, capture_output=True)
    used = json.loads((folder / "usage").read_text())
    return done.returncode, resource.struct_rusage(used), done.stdout.decode(), done.stderr.decode()


def test_a_file_that_changes_meanwhile_is_named(original: Original, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    hub = Hub(forgery.root)
    forgery.write(LOG, forgery.read(LOG))
    report = run_checks(hub, ["crate.hashes"])
    assert [str(finding) for outcome in report.failed for finding in outcome.findings] == [
        f"{LOG}: was changed while it was verified"
    ]
