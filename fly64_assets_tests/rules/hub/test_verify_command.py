"""``fly64 verify``: exit codes, output, the stored report, and hubs that are none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from fly64_assets.errors import InputError
from fly64_assets.hub.apart import verify_hub
from fly64_assets.rules.hub import CHECKS, Hub, Memory, open_hub, run_checks
from fly64_assets_tests.conftest import fly64
from fly64_assets_tests.rules.hub.forging import CRATE, REPORT, Original

MANIFEST = "analysis/comparison_manifest.json"


def test_a_whole_hub_exits_0_and_stores_its_report(original: Original, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    done = fly64("verify", forgery.root, results=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"verified: {len(CHECKS)} checks hold"
    stored = json.loads(forgery.read(REPORT))
    assert stored["n_checks"] == stored["n_valid"] == len(CHECKS)
    assert stored["hub"] == {"dose": 1000, "view": "dense"}
    entry = stored["checks"][0]
    assert set(entry) == {"name", "ok", "file", "key", "rule", "reasons"}
    again = fly64("verify", forgery.root, "--json", results=tmp_path)
    assert again.returncode == 0
    assert json.loads(again.stdout)["n_valid"] == len(CHECKS)


@pytest.mark.long
def test_a_broken_hub_exits_1_and_names_file_key_and_rule(original: Original, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    forgery.json("analysis/metrics_summary.json", lambda content: content.update(n_failed=1))
    done = fly64("verify", forgery.root, results=tmp_path)
    assert done.returncode == 1
    assert "FAILED  recomputed: Scores and aggregates follow from the CSVs" in done.stdout
    assert "analysis/metrics_summary.json: n_failed: no job failed: is 1, expected 0" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED: ")
    stored = json.loads(forgery.read(REPORT))
    assert stored["n_valid"] < stored["n_checks"]
    entry = next(entry for entry in stored["checks"] if entry["name"] == "summary.recomputed")
    assert (entry["ok"], entry["file"], entry["key"]) == (
        False,
        "analysis/metrics_summary.json",
        "n_failed",
    )


@pytest.mark.long
def test_an_edited_report_is_found_once_and_replaced(original: Original, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    assert fly64("verify", forgery.root, results=tmp_path).returncode == 0
    forgery.json(REPORT, lambda content: content.update(n_valid=1))
    done = fly64("verify", forgery.root, results=tmp_path)
    assert done.returncode == 1
    assert "FAILED  unedited" in done.stdout
    assert fly64("verify", forgery.root, results=tmp_path).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "another folder"])
def test_no_hub_exits_2(what: str, tmp_path: Path):
    place = tmp_path / "place"
    if what == "a file":
        place.write_text("no hub\n")
    elif what != "nothing":
        place.mkdir()
    if what == "another folder":
        (place / "data").mkdir()
        (place / "data" / "mine.npz").write_bytes(b"PK")
    done = fly64("verify", place, results=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {place}: ")
    assert "Traceback" not in done.stderr
    assert not (place / REPORT).exists()


@pytest.mark.parametrize("name", [MANIFEST, CRATE])
def test_a_hub_that_lost_one_of_its_marks_is_a_broken_hub(
    name: str, original: Original, tmp_path: Path
):
    forgery = original.copy_to(tmp_path / "hub")
    forgery.remove(name)
    assert verify_hub(forgery.root).failed


def test_nothing_is_written_through_a_link(original: Original, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    outside = tmp_path / "outside"
    shutil.move(forgery.root / "analysis", outside)
    (forgery.root / "analysis").symlink_to(outside)
    done = fly64("verify", forgery.root, results=tmp_path)
    assert done.returncode == 1
    assert "not written" in done.stderr
    assert not (outside / Path(REPORT).name).exists()


GARBAGE = {
    "nothing": b"",
    "zeros": bytes(4000),
    "noise": bytes(range(256)) * 20,
    "an empty object": b"{}\n",
    "an empty list": b"[]\n",
    "nulls": b'{"jobs": null, "checks": null, "deltas": null, "@graph": null}\n',
    "wrong types": b'{"jobs": [1], "checks": [1], "@graph": [1], "execution_results": 7}\n',
    "a deep list": b"[" * 50_000 + b"]" * 50_000 + b"\n",
    "an empty archive": b"PK\5\6" + bytes(18),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_judged_and_never_crashes(
    kind: str, original: Original, memory: Memory, tmp_path: Path
):
    """In every fourth file, another start for each kind, and in all; each check has a verdict."""
    names = sorted(original.hashes)
    for chosen in (*([name] for name in names[list(GARBAGE).index(kind) % 4 :: 4]), names):
        forgery = original.copy_to(tmp_path / "hub")
        for name in chosen:
            forgery.write(name, GARBAGE[kind])
        report = run_checks(Hub(forgery.root, memory, forgery.known_hashes()), threads=1)
        assert len(report.outcomes) == len(CHECKS)
        assert report.failed, chosen
        json.dumps(report.to_json("2026-01-01T00:00:00Z"))
        shutil.rmtree(forgery.root)


@pytest.mark.long
def test_names_that_no_terminal_shows(original: Original, tmp_path: Path):
    forgery = original.copy_to(tmp_path / "hub")
    strange = os.fsencode(forgery.root) + b"/cli/\xff\n\x1b[31m.log"
    with open(strange, "wb") as file:
        file.write(b"x\n")
    done = fly64("verify", forgery.root, results=tmp_path)
    assert done.returncode == 1
    assert "\x1b[31m" not in done.stdout
    assert "Traceback" not in done.stderr
    assert json.loads(forgery.read(REPORT))["n_valid"] < len(CHECKS)


def test_a_hub_is_opened_from_its_folder_alone(original: Original):
    assert open_hub(original.root, Memory()).condition == (1000, "dense")
    with pytest.raises(InputError, match="does not exist"):
        open_hub(original.root / "nowhere")
