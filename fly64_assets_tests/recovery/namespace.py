"""A phase's run in a mount namespace of its own, whose disk runs full or becomes read-only.

Started below ``unshare -rm`` by ``kinds.py``: WHAT STUDY RESULTS STEP DELAY TOLD. What it did is
written to the file TOLD; nothing outside the namespace sees its mounts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fly64_assets_tests.recovery.scenes import BY_STEP, Scene
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import Bench, finish

SPARE_BYTES = 48 << 20
"""Free space that a run begins with."""
FILLER = ".filler"


def mount(*arguments: str | Path) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


def fill(folder: Path) -> None:
    """Write until nothing more goes onto the file system."""
    with (folder / FILLER).open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def run_on_a_disk_that_fills(site: Site, scene: Scene, delay: float, log: Path) -> dict:
    """The results on a small file system; what is on it afterwards is copied back."""
    used = sum(path.stat().st_size for path in site.results.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder)
        if not mount("-t", "tmpfs", "-o", f"size={used + SPARE_BYTES}", "disk", disk):
            raise SystemExit("tmpfs cannot be mounted")
        shutil.copytree(site.results, disk / "results")
        bench = Bench(Site(site.study_file, disk / "results"), {}, log)
        run = bench.phase_run(scene.names)
        hit = scene.wait_for(bench.site, run)
        time.sleep(delay)
        hit = hit and scene.staging(bench.site).is_dir()
        fill(disk)
        code = finish(run)
        left = shutil.disk_usage(disk).free
        (disk / FILLER).unlink()
        shutil.rmtree(site.results)
        shutil.copytree(disk / "results", site.results)
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return {"hit": hit, "exit": code, "note": f"{left} bytes free at the end"}


def run_on_a_store_that_becomes_read_only(
    site: Site, scene: Scene, delay: float, log: Path
) -> dict:
    """The store read-only from the middle of the step on; locks are held open, so they stay."""
    locks = site.store / ".locks"
    locks.mkdir(exist_ok=True)
    if not (mount("--bind", site.store, site.store) and mount("--bind", locks, locks)):
        raise SystemExit("the store cannot be mounted on itself")
    bench = Bench(site, {}, log)
    run = bench.phase_run(scene.names)
    hit = scene.wait_for(site, run)
    time.sleep(delay)
    read_only = False
    while hit and not read_only and scene.staging(site).is_dir():
        read_only = mount("-o", "remount,bind,ro", site.store)  # refused while a file is written
        time.sleep(0.002)
    return {"hit": read_only and not os.access(site.store, os.W_OK), "exit": finish(run)}


def main() -> None:
    what, study, results, step, delay, told = sys.argv[1:]
    site, scene = Site(Path(study), Path(results)), BY_STEP[step]
    how = {"fill": run_on_a_disk_that_fills, "read-only": run_on_a_store_that_becomes_read_only}
    done = how[what](site, scene, float(delay), Path(told).with_name("commands.log"))
    Path(told).write_text(json.dumps(done), "utf-8")


if __name__ == "__main__":
    main()
