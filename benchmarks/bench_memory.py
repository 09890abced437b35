"""Peak memory of every process of a large study: 10,304 positions, 128 px patches, one condition.

``python benchmarks/bench_memory.py`` makes the study from nothing in a temporary folder, exports
and verifies it, and removes it: ten minutes on two idle cores, 10 GB of disk. The view keeps every
image, more than any overlap target does; epochs and trainings are cut to the fewest, since a
further one needs no further memory.

Goal: every process below 4 GB; exit 1 when one is not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import yaml
from watched import Seen, Watch, step_processes

from fly64_assets.pipeline.check_frame import check_step
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.pipeline.records import Ledger, Record
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT, Study
from fly64_assets.study.products import BY_KEY, Product, products_in

LIMIT_MB = 4000
SCAN = PROJECT_ROOT / "fly64_assets_tests" / "data" / "siemens_star_measured_64frames.npz"
AT = Condition(1000, "every_image")
STUDY = {
    "extends": str(PROJECT_ROOT / "study.yaml"),
    "name": "large",
    "specimen": "specimen.npz",
    "doses": [AT.dose],
    "views": {AT.view: {"image_fraction": 1.0}},
    "patch_size": 128,
    "simulation": {"positions": 10304},
    # Frames and crop grow with the patches.
    "ptychopinn": {"epochs": 2, "samples_per_epoch": 32, "frame_px": 80},
    "baseline": {"epochs": 2, "samples_per_epoch": 128, "frame_px": 96},
    "ptychi": {"epochs": 2, "epochs_per_chunk": 1},
    "replicates": 2,
    "scoring": {"stitch_crop_px": 40},
}
Row = tuple[str, float, float, float, float]
"""Step, peak MB, seconds, MB of its input and of its output files."""


def write_study(folder: Path) -> Path:
    """The study file and its specimen: a measured star, mirrored to four times its area.

    Its probe has 128 px, those of the shipped specimens have 64.
    """
    scan = read_npz(SCAN, ["objectGuess", "probeGuess"])
    margins = [(0, side) for side in scan["objectGuess"].shape]
    scan["objectGuess"] = np.pad(scan["objectGuess"], margins, "symmetric")
    write_npz(folder / "specimen.npz", scan)
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(STUDY), "utf-8")
    return path


def _mb(files: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def _files(ledger: Ledger, products: Iterable[Product]) -> list[Path]:
    return [
        ledger.store.path(item, AT.restricted_to(item.per), name)
        for item in products
        for name in item.files
    ]


def _rows(ledger: Ledger, study: Study, seen: dict[int, Seen]) -> Iterator[Row]:
    """A row a step; its own record names a later peak where it ended between two looks."""
    parts = products_in(study)
    processes = step_processes(ledger.instance)
    made: dict[str, list[Record]] = {}
    for item in parts:
        record = ledger.latest(item, AT.restricted_to(item.per))
        if record is None:
            raise SystemExit(f"{item.name} was not made")
        made.setdefault(record.step_key, []).append(record)
    for step, records in made.items():
        products = [record.product for record in records]
        peaks = [record.provenance.peak_memory_mb for record in records]
        peak = max(*peaks, seen[processes[step]].peak_mb)
        read = _files(ledger, (BY_KEY[key] for key in products[0].inputs))
        seconds = max(record.provenance.seconds for record in records)
        yield step, peak, seconds, _mb(read), _mb(_files(ledger, products))
    for item in parts:
        if item.checks:
            process = seen[processes[check_step(item)]]
            read = _files(ledger, [item])
            yield check_step(item), process.peak_mb, process.seconds, _mb(read), 0.0


def main() -> None:
    """Print a row a process; exit 1 when one exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="make it in this empty folder and leave it there")
    kept = parser.parse_args().keep
    watch = Watch()
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        os.environ[RESULTS_VARIABLE] = str(folder / "results")
        study = write_study(folder)
        which = ("--study", study, "--dose", str(AT.dose), "--view", str(AT.view))
        run = watch.processes[watch.run("run", *which)]
        export = watch.processes[watch.run("export", *which, "--to", folder / "hub")]
        context = StudyContext.load(study)
        with read_only_instance(context.study) as instance:
            rows = list(_rows(context.ledger(instance), context.study, watch.processes))
        hub = _mb((folder / "hub").rglob("*"))
        rows.append(("fly64 run, without its steps", run.peak_mb, run.seconds, 0.0, 0.0))
        rows.append(("fly64 export, with verify", export.peak_mb, export.seconds, hub, hub))
    print(f"{'step':<42}{'peak MB':>9}{'seconds':>9}{'in MB':>9}{'out MB':>9}")
    for step, peak, seconds, read, written in rows:
        print(f"{step:<42}{peak:>9.0f}{seconds:>9.1f}{read:>9.1f}{written:>9.1f}")
    over = [step for step, peak, *_ in rows if peak > LIMIT_MB]
    print(f"{len(rows)} processes, {len(over)} above {LIMIT_MB} MB: {', '.join(over) or 'none'}")
    if over:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
