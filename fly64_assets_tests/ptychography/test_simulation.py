"""Phase C: scan, split, and simulated halves that show the physics and repeat bitwise."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fly64_assets.errors import InputError
from fly64_assets.ptychography import simulation as sim
from fly64_assets.ptychography.data001.dataset import data_version, read_dataset
from fly64_assets.ptychography.data001.dataset_rules import check_data001
from fly64_assets.ptychography.physics_checks import axis_order, pooled_dose
from fly64_assets.ptychography.specimen import Specimen, load_specimen
from fly64_assets.study.model import SimulationSettings
from fly64_assets.study.specimen_origins import FOLDER

N = 16
SETTINGS = SimulationSettings(positions=700, margin_px=1.5, shift_padding_px=4, split_guard_px=0.0)


def small_specimen() -> Specimen:
    """A corner of the labyrinth under the middle of its probe, as N = 16."""
    whole = load_specimen(FOLDER / "labyrinth.npz", patch_size=64)
    probe = whole.probe[24:40, 24:40]
    unit = (probe / np.linalg.norm(probe)).astype(np.complex64)
    return Specimen(np.ascontiguousarray(whole.object[60:112, 70:126]), unit, 1.0, "0" * 64)


def simulate(folder: Path, specimen: Specimen | None = None, **changes) -> sim.SimulationSummary:
    folder.mkdir(exist_ok=True)
    arguments = {
        "dose": 1000,
        "simulation": SETTINGS,
        "patch_size": N,
        "seed": 42,
        "threads": 1,
        "folder": folder,
        "probe_diameter_px": 9.0,
        "program_version": "1.2.3",
        "git_commit": None,
        "created": "2026-01-02T03:04:05Z",
    } | changes
    return sim.simulate_split_datasets(specimen or small_specimen(), **arguments)


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> tuple[Path, sim.SimulationSummary]:
    folder = tmp_path_factory.mktemp("simulated")
    return folder, simulate(folder)


def _files(folder: Path) -> list[Path]:
    return [folder / "patched_train.npz", folder / "patched_test.npz"]


def test_scan_positions_fill_what_a_patch_can_reach() -> None:
    positions = sim.scan_positions(4000, (232, 300), 64, margin_px=1.5, seed=42)
    assert positions.shape == (4000, 2)
    assert positions.dtype == np.float64
    for axis, high in ((0, 198.5), (1, 266.5)):
        values = positions[:, axis]
        assert values.min() >= 33.5
        assert values.max() <= high
        assert stats.kstest(values, "uniform", (33.5, high - 33.5)).pvalue > 1e-3
    again = sim.scan_positions(4000, (232, 300), 64, margin_px=1.5, seed=42)
    np.testing.assert_array_equal(positions, again)
    other = sim.scan_positions(4000, (232, 300), 64, margin_px=1.5, seed=43)
    assert not np.isclose(positions, other).all(axis=1).any()


@pytest.mark.parametrize("canvas", [(64, 232), (232, 66), (67, 67)])
def test_a_canvas_without_room_is_refused(canvas: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="margin_px.*no room"):
        sim.scan_positions(10, canvas, 64, margin_px=1.5, seed=0)


@pytest.mark.parametrize("guard", [0.0, 3.0])
def test_halves_are_disjoint_in_y(guard: float) -> None:
    positions = np.random.default_rng(0).uniform(10, 50, (500, 2))
    split = sim.split_halves(positions, guard_px=guard)
    y = positions[:, 0]
    assert split.line_y_px == (y.min() + y.max()) / 2
    assert y[split.train_index].max() <= split.line_y_px - guard
    assert y[split.test_index].min() >= split.line_y_px + guard
    kept = np.sort(np.concatenate([split.train_index, split.test_index]))
    np.testing.assert_array_equal(kept, np.flatnonzero(np.abs(y - split.line_y_px) >= guard))
    assert (np.diff(split.train_index) > 0).all()
    assert (np.diff(split.test_index) > 0).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_empty_half_is_refused(count: int) -> None:
    with pytest.raises(InputError, match="leaves no position"):
        sim.split_halves(np.arange(2.0 * count).reshape(count, 2), guard_px=5)


def test_simulated_halves_hold_every_rule(halves) -> None:
    folder, summary = halves
    assert sorted(folder.iterdir()) == sorted(_files(folder)), "temporary arrays are gone"
    for path, split in zip(_files(folder), ("train", "test"), strict=True):
        assert [str(row) for row in check_data001(path) if not row.ok] == []
        dataset = read_dataset(path)
        counts = np.rint((dataset.diffraction.astype(float) * summary.intensity_scale) ** 2)
        assert summary.splits[split].n_images == len(dataset)
        assert summary.splits[split].mean_counts == pytest.approx(counts.sum() / len(dataset))
        record = dataset.metadata["transformations"][0]
        assert record["tool"] == "simulate"
        assert record["inputs"] == {"specimen": "0" * 64}
        assert record["parameters"]["split"] == split
        assert record["parameters"]["split_line_y_px"] == summary.split_line_y_px
        assert record["parameters"]["positions"] == SETTINGS.positions
        assert dataset.metadata["physics"] == {
            "nphotons": 1000,
            "N": N,
            "seed": 42,
            "intensity_scale": summary.intensity_scale,
            "probe_diameter_px": 9.0,
        }
    positions = sim.scan_positions(700, (52, 56), N, margin_px=1.5, seed=42)
    for path in _files(folder):
        dataset = read_dataset(path)
        np.testing.assert_array_equal(dataset.positions_px, positions[dataset.scan_index])


@pytest.mark.parametrize("dose", [500, 100_000])
def test_pooled_counts_are_the_dose_and_noise_is_poisson(tmp_path: Path, dose: int) -> None:
    summary = simulate(tmp_path, dose=dose)
    pooled = pooled_dose(_files(tmp_path), dose)
    assert pooled.ok
    assert pooled.n_images == 700
    # Tighter than the rule: the expectation is the dose exactly, so only counting noise is left.
    assert abs(pooled.deviation) < 5 / np.sqrt(700 * dose)
    assert summary.mean_counts == pytest.approx(pooled.mean_counts, rel=1e-6)


def test_the_expectation_of_the_pooled_counts_is_the_dose_exactly(halves) -> None:
    folder, summary = halves
    power = [
        np.abs(np.fft.fft2(dataset.patches * dataset.probe_guess, norm="ortho")) ** 2
        for dataset in map(read_dataset, _files(folder))
    ]
    expected = summary.intensity_scale**2 * sum(part.sum() for part in power) / 700
    assert expected == pytest.approx(1000, rel=1e-5)


def test_axes_are_told_apart(halves) -> None:
    for path in _files(halves[0]):
        dataset = read_dataset(path)
        assert axis_order(dataset, padding_px=4).ok
        turned = replace(dataset, xcoords=dataset.ycoords, ycoords=dataset.xcoords)
        swapped = axis_order(turned, padding_px=4)
        assert not swapped.ok
        assert swapped.mean_difference < -5 * swapped.standard_error


def test_same_seed_same_bytes_for_any_number_of_threads(tmp_path: Path, halves) -> None:
    simulate(tmp_path, threads=2)
    for again, first in zip(_files(tmp_path), _files(halves[0]), strict=True):
        assert again.read_bytes() == first.read_bytes()


def test_data_version_ignores_the_circumstances_and_nothing_else(tmp_path: Path, halves) -> None:
    versions = [data_version(path) for path in _files(halves[0])]
    simulate(
        tmp_path / "later",
        created="2030-01-01T00:00:00Z",
        program_version="9",
        git_commit="abcdef",
    )
    assert [data_version(path) for path in _files(tmp_path / "later")] == versions
    for number, change in enumerate(({"seed": 43}, {"dose": 1001}, {"probe_diameter_px": 9.5})):
        simulate(tmp_path / str(number), **change)
        others = [data_version(path) for path in _files(tmp_path / str(number))]
        assert not set(others) & set(versions)


def test_patches_are_the_same_at_every_dose_and_noise_is_not(tmp_path: Path, halves) -> None:
    simulate(tmp_path, dose=1001)
    for path, other in zip(_files(tmp_path), _files(halves[0]), strict=True):
        first, second = read_dataset(other), read_dataset(path)
        np.testing.assert_array_equal(first.patches, second.patches)
        counts = [np.rint((d.diffraction * d.intensity_scale) ** 2) for d in (first, second)]
        assert (counts[0] != counts[1]).any(axis=(1, 2)).all()


def test_a_guard_band_is_neither_simulated_nor_scaled_by(tmp_path: Path) -> None:
    guarded = SETTINGS.model_copy(update={"split_guard_px": 3.0})
    summary = simulate(tmp_path, simulation=guarded)
    datasets = [read_dataset(path) for path in _files(tmp_path)]
    count = sum(map(len, datasets))
    assert count < 700
    assert all(abs(d.ycoords - summary.split_line_y_px).min() >= 3 for d in datasets)
    power = sum(np.square(np.abs(d.patches * d.probe_guess)).sum(dtype=float) for d in datasets)
    assert summary.intensity_scale**2 * power / count == pytest.approx(1000, rel=1e-5)


def test_progress_ends_at_the_number_of_exposures(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    simulate(tmp_path, threads=2, progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {700}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (700, 700)


def test_an_opaque_object_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    specimen = small_specimen()
    dark = replace(specimen, object=np.zeros_like(specimen.object))
    with pytest.raises(InputError, match="no light passes"):
        simulate(tmp_path, dark)
    assert list(tmp_path.iterdir()) == []


MEMORY_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_simulation as tests
settings = tests.SETTINGS.model_copy(update={"positions": int(sys.argv[3])})
tests.simulate(Path(sys.argv[2]), simulation=settings, threads=2)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_scan(tmp_path: Path) -> None:
    """The large scan's arrays are 74 MB at N = 16; its peak may not show them.

    In a process of its own: a peak is one of the whole process.
    """
    peaks = []
    for count in (2_000, 24_000):
        arguments = [str(Path(__file__).parent), str(tmp_path / str(count)), str(count)]
        run = subprocess.run(
            [sys.executable, "-c", MEMORY_SCRIPT, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(run.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 40, f"peaks {peaks} MB"
