"""Phase G: faults that only a store can have, that only warn, or that the published study had.

Every rule that a hub is asked for as well has its faults in ``rules/hub/mutants``.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from fly64_assets.study.model import MODELS, SPLITS

COMPARISON = ("test", "comparison")
MANIFEST, SUMMARY, DELTAS = "comparison_manifest", "metrics_summary", "metrics_delta_summary"
STATISTICS = "comparison_statistics"
CSV = "comparison_metrics.csv"
CANVAS, ALIGNED = "reconstructions.npz", "reconstructions_aligned.npz"


@pytest.mark.parametrize(
    "key", [*((split, "comparison") for split in SPLITS), *((k,) for k in (MANIFEST, STATISTICS))]
)
def test_the_finished_scores_pass_every_check(bench, key):
    broken = bench.broken(*key)
    broken.pop("ms_ssim_terms", None)  # four epochs may well disagree with the truth
    assert broken == {}


def spoil_comparison(bench, file, change):
    bench.spoil(*COMPARISON, file=file, change=change)
    broken = bench.broken(*COMPARISON)
    broken.pop("ms_ssim_terms", None)
    return broken


def edit_row(model, metric, column, value):
    """One number of one row of a CSV; ``value`` is a function of the old one."""

    def change(path):
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            cells = line.split(",")
            if cells[:2] == [model, metric]:
                cells[column] = f"{value(float(cells[column])):.6f}"
                lines[number] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n", "utf-8")

    return change


def nearly_constant(like):
    """What a collapsed network makes: one value and a trace of noise."""
    noise = np.random.default_rng(0).normal(0, 1e-4, (2, *like.shape))
    return (0.8 + noise[0] + 1j * noise[1]).astype(like.dtype)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_zeros_or_nearly_constant(bench, model):
    def blank(arrays):
        arrays[model] = np.zeros_like(arrays[model])

    def collapse(arrays):
        arrays[model] = nearly_constant(arrays[model])

    broken = spoil_comparison(bench, ALIGNED, blank)
    assert set(broken) == {"reconstructions", "contrast"}
    assert f"{model}: not zero" in broken["reconstructions"]
    broken = spoil_comparison(bench, ALIGNED, collapse)
    assert set(broken) == {"contrast"}
    assert f"{model} amplitude: not nearly constant" in broken["contrast"]
    assert bench.results(*COMPARISON)["contrast"].severity.value == "WARN"


def test_a_further_training_that_is_nearly_constant(bench):
    def collapse(arrays):
        arrays["test_2"] = nearly_constant(arrays["test_2"])

    assert bench.results(STATISTICS)["contrast"].passed
    bench.spoil("baseline_replicates", file="replicates.npz", change=collapse)
    found = bench.results(STATISTICS)["contrast"]
    assert not found.passed and found.severity.value == "WARN"
    assert "Baseline test 2 amplitude: not nearly constant" in found.description
    assert "train" not in found.description and "PtychoPINN" not in found.description


def test_a_registration_of_119_px(bench):
    def far(path):
        edit_row("PtyChi", "registration_offset_dy", 4, lambda _: 119)(path)
        edit_row("PtyChi", "registration_applied", 4, lambda _: 0)(path)

    broken = spoil_comparison(bench, CSV, far)
    assert set(broken) == {"registration"}
    assert "at most 4.0 px, found (119.00" in broken["registration"]
    assert bench.results(*COMPARISON)["registration"].severity.value == "WARN"


def test_a_clamped_ms_ssim_term(bench):
    """Of the image: what ``scoring.json`` says of its terms is held to it at the manifest."""

    def disagree(arrays):
        arrays["Baseline"] = np.abs(arrays["truth"]) ** 2 / arrays["truth"]

    bench.spoil(*COMPARISON, file=ALIGNED, change=disagree)
    result = bench.results(*COMPARISON)["ms_ssim_terms"]
    assert not result.passed and result.severity.value == "WARN"
    assert "Baseline ms_ssim phase" in result.description
    assert set(bench.broken(MANIFEST)) == {"scores"}


def test_a_table_that_cannot_be_read(bench):
    bench.spoil(*COMPARISON, file=CSV, change=edit_row("Baseline", "ssim", 3, lambda _: 1.5))
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"completeness", "scores"}, "the score cannot be read either"
    assert "cannot be" in broken["completeness"]


def test_an_empty_row(bench):
    """Lesson 9: a Baseline without numbers, exit code 0."""

    def remove(path):
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("Baseline,ms_ssim,")]
        path.write_text("\n".join(kept) + "\n", "utf-8")

    bench.spoil(*COMPARISON, file=CSV, change=remove)
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"completeness"}
    assert f"test/{CSV} Baseline: every metric present" in broken["completeness"]


def test_a_failed_comparison(bench):
    """Recorded by both, it is a manifest that is right; by the manifest alone, it is not."""

    def fail(manifest):
        manifest["execution_results"][1] |= {"returncode": 1, "error": "Degenerate: it is constant"}
        manifest |= {"n_success": 1, "n_failed": 1}

    bench.spoil(MANIFEST, file=f"{MANIFEST}.json", change=fail)
    broken = bench.broken(MANIFEST)
    assert "it is constant" in broken["completeness"]
    assert set(broken) == {"completeness", "invariant"}, "the comparison itself did not fail"
    bench.spoil(
        *COMPARISON,
        file="scoring.json",
        change=lambda scoring: scoring.update(error="Degenerate: it is constant"),
    )
    assert set(bench.broken(MANIFEST)) == {"completeness"}
    assert set(bench.broken(*COMPARISON)) >= {"reconstructions"}


def test_a_manifest_of_one_split(bench):
    """Lesson 3: written per split, the last one stays."""

    def halve(manifest):
        del manifest["jobs"][0], manifest["execution_results"][0]
        manifest |= {"n_jobs": 1, "n_executed": 1, "n_success": 1}

    bench.spoil(MANIFEST, file=f"{MANIFEST}.json", change=halve)
    assert {"completeness", "invariant"} <= set(bench.broken(MANIFEST))


def test_a_log_of_no_bytes(bench):
    bench.spoil(*COMPARISON, file="comparison.log", change=lambda path: path.write_text(""))
    broken = bench.broken(MANIFEST)
    assert "test comparison.log: holds something" in broken["invariant"]
    assert set(broken) == {"invariant", "counts", "scores"}


def empty_rim(bench, object_, empty):
    """The object as if 80 % of the test view's positions had been used."""
    with np.load(bench.path("test", "overlap_view", file="test.npz")) as view:
        positions = np.stack([view["ycoords"], view["xcoords"]], axis=1)
        side = view["probeGuess"].shape[0]
    used = np.random.default_rng(3).permutation(len(positions))[: int(0.8 * len(positions))]
    reached = np.zeros(object_.shape, bool)
    for y, x in np.floor(positions[used] - side / 2 + 0.5).astype(int):
        reached[y : y + side, x : x + side] = True
    return np.where(reached, object_, object_.dtype.type(empty))


def test_pty_chi_that_saw_80_percent_of_the_images(bench):
    """Lesson 13, told by the pixels that it reached and not by a number that it wrote."""

    def reconstruct_fewer(arrays):
        arrays["reconstructed_object"] = empty_rim(bench, arrays["reconstructed_object"], 1)

    def compare_it(arrays):
        arrays["PtyChi"] = empty_rim(bench, arrays["PtyChi"], 1)

    solved = "ptychi_reconstruction"
    bench.spoil("test", solved, file=f"{solved}.npz", change=reconstruct_fewer)
    bench.spoil(*COMPARISON, file=CANVAS, change=compare_it)
    broken = bench.broken(MANIFEST)
    assert "input_identity" in broken
    assert f"test/{CANVAS} PtyChi: pixels reached are those of" in broken["input_identity"]


def test_summaries_that_the_tables_do_not_give(bench):
    """The summary was written again: its numbers are others, and the deltas' source is too."""
    for key in (SUMMARY, DELTAS):
        assert bench.broken(key) == {}

    def another(summary):
        summary["aggregate_metrics"]["Baseline"]["mae"].update(mean_phase=0.25)
        summary["dataset_counts"]["test"].update(n_images_total=1)

    bench.spoil(SUMMARY, file=f"{SUMMARY}.json", change=another)
    assert set(bench.broken(SUMMARY)) == {"recomputed", "counts"}
    broken = bench.broken(DELTAS)
    assert set(broken) == {"source_hash"}
    assert "source_metrics_sha256" in broken["source_hash"]
    bench.spoil(DELTAS, file=f"{DELTAS}.json", change=lambda found: found["deltas"].popitem())
    assert set(bench.broken(DELTAS)) == {"source_hash", "recomputed"}


@pytest.mark.parametrize(
    ("key", "file", "text"),
    [
        (DELTAS, f"{DELTAS}.json", "2026-01-01T10:00:00"),
        (DELTAS, f"{DELTAS}.json", "2026-01-01T10:00:00+01:00"),
        (DELTAS, f"{DELTAS}.json", "2026-01-01 10:00:00"),
        (MANIFEST, f"{MANIFEST}.json", "C:\\results\\train.npz"),
        (MANIFEST, f"{MANIFEST}.json", "analysis\\train\\comparison.log"),
        (SUMMARY, f"{SUMMARY}.json", "~/results/train.npz"),
        (SUMMARY, f"{SUMMARY}.json", "file:///data/train.npz"),
    ],
)
def test_local_times_and_absolute_paths(bench, key, file, text):
    bench.spoil(key, file=file, change=lambda content: content.update(note=text))
    broken = bench.broken(key)
    assert "times_and_paths" in broken, text
    assert json.loads(bench.path(key, file=file).read_text("utf-8"))["note"] == text


def test_a_local_time_in_a_log(bench):
    def append(path):
        path.write_text(path.read_text("utf-8") + "2026-01-01 10:00 scored\n", "utf-8")

    broken = spoil_comparison(bench, "comparison.log", append)
    assert set(broken) == {"times_and_paths"}
