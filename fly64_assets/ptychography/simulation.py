"""Phase C: a whole scan of a specimen at one dose, split into two halves, as DATA-001 files.

Streams in blocks: memory is bounded by a few blocks whatever the number of positions. The forward
model itself is ``forward.py``; which positions a view uses is ``overlap.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset import Dataset, write_dataset
from fly64_assets.ptychography.data001.metadata import SPECIMEN, new_metadata, with_transformation
from fly64_assets.ptychography.data001.npz import release
from fly64_assets.ptychography.forward import PatchCutter, far_field, transmitted_power
from fly64_assets.ptychography.specimen import Specimen

if TYPE_CHECKING:
    from fly64_assets.study.model import SimulationSettings

__all__ = [
    "SimulationSummary",
    "SplitHalves",
    "SplitSummary",
    "scan_positions",
    "simulate_split_datasets",
    "split_halves",
]

PROGRAM = "fly64_assets"
BLOCK_FRAMES = 256
"""Frames of one block. Each block has its own seed: another size would be other noise."""
CHUNK_FRAMES = 32
"""Frames computed at a time: their arrays stay in the processor's cache. Changes no result."""
BLOCKS_RESIDENT = 8
"""After so many blocks the temporary arrays' pages are handed back."""
FILE_NAMES = MappingProxyType({"train": "patched_train.npz", "test": "patched_test.npz"})

SimulationProgress = Callable[[int, int], None]
"""Called with the number of finished exposures and their total."""


@dataclass(frozen=True, eq=False)
class SplitHalves:
    """A scan cut along y. Indices are ascending int64 into the scan."""

    train_index: np.ndarray
    test_index: np.ndarray
    line_y_px: float

    def index(self, split: str) -> np.ndarray:
        return {"train": self.train_index, "test": self.test_index}[split]


@dataclass(frozen=True)
class SplitSummary:
    """Detected photons of one half."""

    n_images: int
    mean_counts: float


@dataclass(frozen=True)
class SimulationSummary:
    """What was simulated; ``mean_counts`` is of both halves pooled: the dose, but for noise."""

    splits: Mapping[str, SplitSummary]
    intensity_scale: float
    split_line_y_px: float
    mean_counts: float


def scan_positions(
    count: int,
    canvas_shape: tuple[int, int],
    patch_size: int,
    *,
    margin_px: float,
    seed: int,
) -> np.ndarray:
    """Uniformly random scan positions where a whole patch fits on the canvas.

    Args:
        count: n.
        canvas_shape: (H, W) of the object.
        patch_size: N, px.
        margin_px: kept free between an outermost patch and the canvas edge.
        seed: of the simulation.

    Returns:
        (n, 2) float64 canvas px, y then x.

    Raises:
        InputError: the canvas has no room for a patch and its margins.
    """
    lowest = patch_size / 2 + margin_px
    highest = np.asarray(canvas_shape, np.float64) - lowest
    if (highest <= lowest).any():
        raise InputError(
            "simulation",
            "margin_px",
            f"a canvas of {tuple(canvas_shape)} px has no room to move a patch of {patch_size} px "
            f"with a margin of {margin_px:g} px",
        )
    return np.random.default_rng(seed).uniform(lowest, highest, (count, 2))


def split_halves(positions_px: np.ndarray, *, guard_px: float) -> SplitHalves:
    """Cut a scan at the middle of its y range; smaller y is the train half.

    Args:
        positions_px: (n, 2) float64, y then x.
        guard_px: positions nearer than this to the line belong to neither half.

    Raises:
        InputError: a half has no position.
    """
    y = np.asarray(positions_px)[:, 0]
    line = float(y.min() + y.max()) / 2 if len(y) else 0.0
    kept = np.abs(y - line) >= guard_px
    halves = SplitHalves(
        np.flatnonzero((y < line) & kept).astype(np.int64),
        np.flatnonzero((y >= line) & kept).astype(np.int64),
        line,
    )
    for split in FILE_NAMES:
        if not len(halves.index(split)):
            problem = (
                f"leaves no position of {len(y)} in the {split} half (line at y = {line:g} px)"
            )
            raise InputError("simulation", "split_guard_px", f"{guard_px:g} px {problem}")
    return halves


@dataclass(frozen=True, eq=False)
class _Part:
    """The frames of one half in one block: scan indices, and their rows in that half's arrays."""

    split: str
    scan: np.ndarray
    rows: slice


def _blocks(count: int, halves: SplitHalves) -> list[list[_Part]]:
    """Return the scan in blocks of fixed size; dropped positions are in none."""
    blocks = []
    for start in range(0, count, BLOCK_FRAMES):
        parts = []
        for split in FILE_NAMES:
            index = halves.index(split)
            # Both orders ascend, so that a block's frames of one half are neighbouring rows.
            first, last = np.searchsorted(index, [start, start + BLOCK_FRAMES])
            if first < last:
                parts.append(_Part(split, index[first:last], slice(int(first), int(last))))
        blocks.append(parts)
    return blocks


def _chunks(part: _Part) -> Iterator[_Part]:
    """Yield the part's frames in order, a few at a time."""
    for start in range(0, len(part.scan), CHUNK_FRAMES):
        scan = part.scan[start : start + CHUNK_FRAMES]
        first = part.rows.start + start
        yield _Part(part.split, scan, slice(first, first + len(scan)))


@contextmanager
def _scratch(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], kind: str, dtype: type
) -> Iterator:
    """Memory-mapped arrays per half that are gone afterwards."""
    paths = {split: folder / f".{kind}-{split}.npy" for split in shapes}
    try:
        yield {
            split: np.lib.format.open_memmap(path, "w+", dtype, shapes[split])
            for split, path in paths.items()
        }
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _cut(
    part: _Part,
    cutter: PatchCutter,
    probe: np.ndarray,
    positions_px: np.ndarray,
    patches: Mapping[str, np.ndarray],
) -> float:
    """Cut the part's patches into place; the power that passes them."""
    passed = []
    for chunk in _chunks(part):
        cuts = cutter.at(positions_px[chunk.scan])
        patches[chunk.split][chunk.rows] = cuts
        passed.append(transmitted_power(cuts, probe))
    # One sum for the part: a sum of sums would be another number in its last digit.
    return float(np.concatenate(passed).sum())


def _expose(
    part: _Part,
    probe: np.ndarray,
    patches: Mapping[str, np.ndarray],
    diffraction: Mapping[str, np.ndarray],
    scale: float,
    generator: np.random.Generator,
) -> int:
    """Put the part's noisy amplitudes into place; the photons counted."""
    counted = 0
    for chunk in _chunks(part):
        expected = far_field(patches[chunk.split][chunk.rows], probe).astype(np.float64)
        expected *= scale
        counts = generator.poisson(np.square(expected, out=expected))
        diffraction[chunk.split][chunk.rows] = np.sqrt(counts) / scale
        counted += int(counts.sum())
    return counted


def simulate_split_datasets(
    specimen: Specimen,
    *,
    dose: int,
    simulation: SimulationSettings,
    patch_size: int,
    seed: int,
    threads: int,
    folder: Path,
    names: Mapping[str, str] = FILE_NAMES,
    probe_diameter_px: float | None,
    program_version: str,
    git_commit: str | None,
    created: str,
    specimen_files: Mapping[str, str] | None = None,
    specimen_origin: Mapping[str, Any] | None = None,
    progress: SimulationProgress | None = None,
) -> SimulationSummary:
    """Simulate one dose and write its train and test half.

    ``intensity_scale**2`` is the dose over the mean transmitted power of the kept exposures of both
    halves, so that their pooled mean counts equal the dose. Counts are Poisson draws; block ``b``
    of the scan draws from ``default_rng([seed, dose, b])``, so that the result depends neither on
    ``threads`` nor on the machine's memory. Positions and patches are equal for all doses.

    Args:
        specimen: object and unit-power probe.
        dose: mean detected photons per exposure.
        simulation: number of positions, margins, padding and guard.
        patch_size: N, px.
        seed: of the scan and the noise.
        threads: blocks that are computed at a time.
        folder: existing staging folder; also takes the temporary arrays.
        names: file name per half.
        probe_diameter_px: diameter of the overlap discs, recorded.
        program_version: recorded.
        git_commit: recorded.
        created: UTC time of creation, ``YYYY-MM-DDTHH:MM:SSZ``, recorded.
        specimen_files: name to sha256 of the files that hold the specimen, recorded.
        specimen_origin: where the specimen came from, as JSON values, recorded.
        progress: called from this thread after each block.

    Returns:
        Photons per half, the scale and the split line.

    Raises:
        InputError: the canvas is too small, a half is empty, or no light passes the object.
    """
    positions = scan_positions(
        simulation.positions,
        specimen.object.shape,
        patch_size,
        margin_px=simulation.margin_px,
        seed=seed,
    )
    halves = split_halves(positions, guard_px=simulation.split_guard_px)
    blocks = _blocks(len(positions), halves)
    shapes = {split: (len(halves.index(split)), patch_size, patch_size) for split in FILE_NAMES}
    kept = sum(shape[0] for shape in shapes.values())
    cutter = PatchCutter(specimen.object, patch_size, padding_px=simulation.shift_padding_px)
    counted = dict.fromkeys(FILE_NAMES, 0)

    with (
        _scratch(folder, shapes, "patches", np.complex64) as patches,
        _scratch(folder, shapes, "diffraction", np.float32) as diffraction,
        ThreadPoolExecutor(threads) as pool,
    ):

        def cut(parts: list[_Part]) -> float:
            return sum(_cut(part, cutter, specimen.probe, positions, patches) for part in parts)

        def expose(block: int) -> dict[str, int]:
            generator = np.random.default_rng([seed, dose, block])
            return {
                part.split: _expose(part, specimen.probe, patches, diffraction, scale, generator)
                for part in blocks[block]
            }

        def report(finished: int) -> None:
            if finished % BLOCKS_RESIDENT == 0:
                for array in (*patches.values(), *diffraction.values()):
                    release(array)
            if progress is not None:
                progress(finished * kept // (2 * len(blocks)), kept)

        power = 0.0
        for done, block_power in enumerate(pool.map(cut, blocks), 1):
            power += block_power
            report(done)
        if power <= 0:
            raise InputError("specimen", "objectGuess", "no light passes the object")
        scale = float(np.sqrt(dose * kept / power))
        for done, totals in enumerate(pool.map(expose, range(len(blocks))), 1):
            for split, total in totals.items():
                counted[split] += total
            report(len(blocks) + done)

        metadata = new_metadata(
            created=created,
            program=PROGRAM,
            program_version=program_version,
            git_commit=git_commit,
            nphotons=dose,
            patch_size=patch_size,
            seed=seed,
            intensity_scale=scale,
            probe_diameter_px=probe_diameter_px,
        )
        if specimen_origin:
            metadata[SPECIMEN] = dict(specimen_origin)
        parameters = {
            **simulation.model_dump(mode="json"),
            "dose": dose,
            "patch_size": patch_size,
            "seed": seed,
            "split_line_y_px": halves.line_y_px,
            "block_frames": BLOCK_FRAMES,
            "mean_transmitted_power": power / kept,
        }

        def write(split: str) -> None:
            index = halves.index(split)
            y, x = np.ascontiguousarray(positions[index].T)
            described = with_transformation(
                metadata,
                tool="simulate",
                version=program_version,
                time=created,
                parameters={**parameters, "split": split},
                inputs={"specimen": specimen.source_sha256, **(specimen_files or {})},
            )
            dataset = Dataset(
                diffraction=diffraction[split],
                object_guess=specimen.object,
                probe_guess=specimen.probe,
                xcoords=x,
                ycoords=y,
                xcoords_start=x,
                ycoords_start=y,
                scan_index=index,
                patches=patches[split],
                metadata=described,
            )
            write_dataset(folder / names[split], dataset)

        list(pool.map(write, FILE_NAMES))

    summaries = {
        split: SplitSummary(shapes[split][0], counted[split] / shapes[split][0])
        for split in FILE_NAMES
    }
    return SimulationSummary(summaries, scale, halves.line_y_px, sum(counted.values()) / kept)
