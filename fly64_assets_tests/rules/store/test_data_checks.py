"""Phases C and D: each check finds the fault that it is for."""

from __future__ import annotations

import numpy as np
import pytest

from fly64_assets.ptychography.forward import far_field
from fly64_assets.study.model import SPLITS
from fly64_assets_tests.rules.store.conftest import edited_metadata, metadata_of

DATASET, VIEW = ("train", "dataset"), ("train", "overlap_view")


def spoil_dataset(bench, change):
    bench.spoil(*DATASET, file="patched_train.npz", change=change)
    return bench.broken(*DATASET)


def spoil_view(bench, change, file="train.npz"):
    bench.spoil(*VIEW, file=file, change=change)
    return bench.broken(*VIEW)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["dataset", "overlap_view"])
def test_the_finished_data_pass_every_check(bench, split, name):
    assert bench.broken(split, name) == {}


def _expectation(arrays):
    scale = metadata_of(arrays)["physics"]["intensity_scale"]
    amplitude = far_field(arrays["Y"], arrays["probeGuess"]).astype(np.float64)
    return np.square(amplitude * scale), scale


def test_amplitudes_below_zero(bench):
    def negate(arrays):
        arrays["diffraction"] = -arrays["diffraction"]

    assert set(spoil_dataset(bench, negate)) == {"data001"}


def test_another_dose_than_the_partition_says(bench):
    """Photons of 1.1 times the dose, with a scale to match: the noise itself is right."""

    def expose_longer(arrays):
        mean, scale = _expectation(arrays)
        counts = np.random.default_rng(1).poisson(1.1 * mean)
        scale *= np.sqrt(1.1)
        arrays["diffraction"] = (np.sqrt(counts) / scale).astype(np.float32)
        with edited_metadata(arrays) as metadata:
            metadata["physics"]["intensity_scale"] = float(scale)

    broken = spoil_dataset(bench, expose_longer)
    assert set(broken) == {"mean_dose"}
    assert "train and test pooled, expected 1000 within 1.00%" in broken["mean_dose"]
    assert set(bench.broken("test", "dataset")) == {"mean_dose"}, "both halves are pooled"


def test_noise_that_is_not_poisson(bench):
    """The dose is right, its variance is twice what photons have."""

    def clump(arrays):
        mean, scale = _expectation(arrays)
        counts = 2 * np.random.default_rng(1).poisson(mean / 2)
        arrays["diffraction"] = (np.sqrt(counts) / scale).astype(np.float32)

    broken = spoil_dataset(bench, clump)
    assert set(broken) == {"poisson_noise"}
    assert "found 2.0" in broken["poisson_noise"] or "found 1.9" in broken["poisson_noise"]


def test_x_and_y_exchanged(bench):
    """Object and frames transposed, positions not. The true patches tell as well, if present."""

    def transpose(arrays):
        for key in ("diffraction", "Y"):
            arrays[key] = np.ascontiguousarray(arrays[key].transpose(0, 2, 1))
        for key in ("objectGuess", "probeGuess"):
            arrays[key] = np.ascontiguousarray(arrays[key].T)

    assert set(spoil_dataset(bench, transpose)) == {"axis_order", "data001"}


def test_a_frame_in_both_halves(bench):
    test_half = bench.path("test", "dataset", file="patched_test.npz")

    def leak(arrays):
        with np.load(test_half) as test:
            arrays["scan_index"][0] = test["scan_index"][0]

    broken = spoil_dataset(bench, leak)
    assert set(broken) == {"split_separation"}
    assert "no frame in both halves or twice, expected 0, found 1" in broken["split_separation"]


def test_a_guard_that_was_not_kept(bench):
    study = bench.context.study
    simulation = study.simulation.model_copy(update={"split_guard_px": 2.0})
    study = study.model_copy(update={"simulation": simulation})
    broken = bench.broken(*DATASET, study=study)
    assert set(broken) == {"split_separation", "effective_settings"}
    assert "outside the guard, expected >= 2 px" in broken["split_separation"]


def test_another_seed_than_the_study_says(bench):
    def reseed(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["transformations"][0]["parameters"]["seed"] = 43

    broken = spoil_dataset(bench, reseed)
    assert set(broken) == {"effective_settings"}
    assert "simulate seed: as in the study, expected 42, found 43" in broken["effective_settings"]


def test_made_from_another_specimen(bench):
    def misname(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["transformations"][0]["inputs"]["specimen/specimen.npz"] = "0" * 64

    assert set(spoil_dataset(bench, misname)) == {"provenance"}


def test_an_absolute_path_in_the_metadata(bench):
    def leave_path(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["transformations"][0]["parameters"]["file"] = "/home/somebody/data.npz"

    broken = spoil_dataset(bench, leave_path)
    assert set(broken) == {"times_and_paths"}
    assert "/home/somebody/data.npz" in broken["times_and_paths"]


def test_a_view_that_breaks_data001(bench):
    def negate_one(arrays):
        arrays["diffraction"][1] *= -1

    assert set(spoil_view(bench, negate_one)) == {"data001"}


def test_an_overlap_that_was_never_reached(bench):
    """Every other centre dropped: fewer, further apart, and the numbers still the old ones."""

    def drop_centres(arrays):
        for key in ("centre_index", "full_groups"):
            arrays[key] = np.ascontiguousarray(arrays[key][::2])

    broken = spoil_view(bench, drop_centres)
    assert set(broken) == {"feasibility", "counts"}
    assert "0.7 within 0.02" in broken["feasibility"]


def test_an_overlap_that_is_only_claimed(bench):
    def claim(metrics):
        metrics["reached_overlap"] = 0.71

    broken = spoil_view(bench, claim, "train_metrics.json")
    assert set(broken) == {"feasibility"}


@pytest.mark.parametrize(
    "name", ["n_images_total", "n_images_kept", "n_centres", "total_photons", "n_unique_images"]
)
def test_a_total_counted_after_subsampling(bench, name):
    def miscount(metrics):
        metrics[name] -= 1

    broken = spoil_view(bench, miscount, "train_metrics.json")
    assert set(broken) == {"counts"}
    assert name in broken["counts"]


def test_frames_of_another_dataset(bench):
    def shift(arrays):
        arrays["scan_index"] += 1

    broken = spoil_view(bench, shift)
    assert set(broken) == {"counts"}
    assert "frames of the dataset, at their positions" in broken["counts"]


def test_another_k_than_the_study_says(bench):
    def other_k(metrics):
        metrics["neighbor_count"] = 5

    broken = spoil_view(bench, other_k, "train_metrics.json")
    assert set(broken) == {"effective_settings"}
    assert "metrics neighbor_count: as in the study, expected 7" in broken["effective_settings"]


def test_provenance_of_the_dataset_overwritten(bench):
    def rewrite(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["transformations"][0]["parameters"]["block_frames"] = 1

    broken = spoil_view(bench, rewrite)
    assert set(broken) == {"provenance"}
    assert "begin with those of train/dataset, unedited" in broken["provenance"]


def test_a_dataset_simulated_again_leaves_the_view_as_it_is(bench):
    """The same data at another time: nothing is stale, and nothing is wrong."""

    def later(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["creation"]["time"] = "2030-01-01T00:00:00Z"
            metadata["transformations"][0]["time"] = "2030-01-01T00:00:00Z"

    assert spoil_dataset(bench, later) == {}
    assert bench.broken(*VIEW) == {}
