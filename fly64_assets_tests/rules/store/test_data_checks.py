"""Phases C and D on a store; the mutants of a hub hold each of their rules."""

from __future__ import annotations

import numpy as np
import pytest

from fly64_assets.ptychography.forward import far_field
from fly64_assets.study.model import SPLITS
from fly64_assets_tests.rules.store.conftest import edited_metadata, metadata_of

DATASET, VIEW = ("train", "dataset"), ("train", "overlap_view")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["dataset", "overlap_view"])
def test_the_finished_data_pass_every_check(bench, split, name):
    assert bench.broken(split, name) == {}


def _exposed(arrays, times, per_clump=1):
    """Frames as they would be with so many times the photons, in clumps of so many."""
    scale = metadata_of(arrays)["physics"]["intensity_scale"]
    amplitude = far_field(arrays["Y"], arrays["probeGuess"]).astype(np.float64)
    mean = times * np.square(amplitude * scale)
    counts = per_clump * np.random.default_rng(1).poisson(mean / per_clump)
    arrays["diffraction"] = (np.sqrt(counts) / (scale * np.sqrt(times))).astype(np.float32)
    with edited_metadata(arrays) as metadata:
        metadata["physics"]["intensity_scale"] = float(scale * np.sqrt(times))


def test_another_dose_than_the_partition_says(bench):
    """Photons of 1.1 times the dose, with a scale to match: the noise itself is right."""
    bench.spoil(*DATASET, file="patched_train.npz", change=lambda a: _exposed(a, 1.1))
    broken = bench.broken(*DATASET)
    assert set(broken) == {"mean_dose"}
    assert "train and test pooled, expected 1000 within 1.00%" in broken["mean_dose"]
    assert set(bench.broken("test", "dataset")) == {"mean_dose"}, "both halves are pooled"


def test_noise_that_is_not_poisson(bench):
    """The dose is right, its variance is twice what photons have."""
    bench.spoil(*DATASET, file="patched_train.npz", change=lambda a: _exposed(a, 1, per_clump=2))
    broken = bench.broken(*DATASET)
    assert set(broken) == {"poisson_noise"}
    assert "found 2.0" in broken["poisson_noise"] or "found 1.9" in broken["poisson_noise"]


def test_a_guard_that_was_not_kept(bench):
    study = bench.context.study
    simulation = study.simulation.model_copy(update={"split_guard_px": 2.0})
    study = study.model_copy(update={"simulation": simulation})
    broken = bench.broken(*DATASET, study=study)
    assert set(broken) == {"split_separation", "effective_settings"}
    assert "outside the guard, expected >= 2 px" in broken["split_separation"]


def test_an_absolute_path_in_the_metadata(bench):
    def leave_path(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["transformations"][0]["parameters"]["file"] = "/home/somebody/data.npz"

    bench.spoil(*DATASET, file="patched_train.npz", change=leave_path)
    broken = bench.broken(*DATASET)
    assert set(broken) == {"times_and_paths"}
    assert "/home/somebody/data.npz" in broken["times_and_paths"]


def test_a_total_counted_after_subsampling(bench):
    bench.spoil(
        *VIEW, file="train_metrics.json", change=lambda m: m.update(n_images_total=m["n_centres"])
    )
    broken = bench.broken(*VIEW)
    assert set(broken) == {"counts"}
    assert "n_images_total: as counted in the arrays" in broken["counts"]


def test_another_k_than_the_study_says(bench):
    bench.spoil(*VIEW, file="train_metrics.json", change=lambda m: m.update(neighbor_count=5))
    broken = bench.broken(*VIEW)
    assert set(broken) == {"effective_settings"}
    assert "neighbor_count: as in the study, expected 7" in broken["effective_settings"]


def test_a_dataset_simulated_again_leaves_the_view_as_it_is(bench):
    """The same data at another time: nothing is stale, and nothing is wrong."""

    def later(arrays):
        with edited_metadata(arrays) as metadata:
            metadata["creation"]["time"] = "2030-01-01T00:00:00Z"
            metadata["transformations"][0]["time"] = "2030-01-01T00:00:00Z"

    bench.spoil(*DATASET, file="patched_train.npz", change=later)
    assert bench.broken(*DATASET) == {}
    assert bench.broken(*VIEW) == {}
