"""Phase G: each check finds the fault that it is for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fly64_assets.study.model import MODELS, SPLITS

COMPARISON = ("test", "comparison")
MANIFEST, SUMMARY, DELTAS = "comparison_manifest", "metrics_summary", "metrics_delta_summary"
STATISTICS = "comparison_statistics"
CSV = "comparison_metrics.csv"


@pytest.mark.parametrize(
    "key",
    [
        *((split, "comparison") for split in SPLITS),
        (MANIFEST,),
        (STATISTICS,),
        (SUMMARY,),
        (DELTAS,),
    ],
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


def edit_csv(old, new, count=1):
    """Replace in the CSV, the first time ``old`` occurs."""

    def change(path):
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, count), "utf-8")

    return change


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


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_predicted_zeros(bench, model):
    def blank(arrays):
        arrays[model] = np.zeros_like(arrays[model])

    broken = spoil_comparison(bench, "reconstructions_aligned.npz", blank)
    assert set(broken) == {"reconstructions", "contrast"}
    assert f"{model}: not zero" in broken["reconstructions"]


def nearly_constant(like):
    """What a collapsed network makes: one value and a trace of noise."""
    noise = np.random.default_rng(0).normal(0, 1e-4, (2, *like.shape))
    return (0.8 + noise[0] + 1j * noise[1]).astype(like.dtype)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_is_nearly_constant(bench, model):
    def collapse(arrays):
        arrays[model] = nearly_constant(arrays[model])

    broken = spoil_comparison(bench, "reconstructions_aligned.npz", collapse)
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


def test_a_model_that_is_missing(bench):
    broken = spoil_comparison(
        bench, "reconstructions_aligned.npz", lambda arrays: arrays.pop("Baseline")
    )
    assert set(broken) == {"reconstructions"}


def test_a_registration_of_119_px(bench):
    def far(path):
        edit_row("PtyChi", "registration_offset_dy", 4, lambda _: 119)(path)
        edit_row("PtyChi", "registration_applied", 4, lambda _: 0)(path)

    broken = spoil_comparison(bench, CSV, far)
    assert set(broken) == {"registration"}
    assert "at most 4.0 px, found (119.00" in broken["registration"]
    assert bench.results(*COMPARISON)["registration"].severity.value == "WARN"


def test_a_clamped_ms_ssim_term(bench):
    def disagree(scoring):
        for fitted in scoring["fitted"].values():
            for terms in fitted["ms_ssim_terms"].values():
                terms[:] = [abs(term) for term in terms]
        scoring["fitted"]["Baseline"]["ms_ssim_terms"]["ms_ssim phase"][1] = -0.25

    bench.spoil(*COMPARISON, file="scoring.json", change=disagree)
    result = bench.results(*COMPARISON)["ms_ssim_terms"]
    assert not result.passed and result.severity.value == "WARN"
    assert "Baseline ms_ssim phase" in result.description and "-0.250" in result.description
    assert set(bench.broken(*COMPARISON)) == {"ms_ssim_terms"}


def test_a_comparison_that_does_not_say_what_it_compared(bench):
    def misname(scoring):
        scoring["transformations"][-1]["inputs"]["pinn_model/model.keras"] = "0" * 64

    assert set(spoil_comparison(bench, "scoring.json", misname)) == {"provenance"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_csv("PtyChi,", "Pty-chi (pty-chi),"), "Pty-chi (pty-chi)"),
        (edit_row("Baseline", "ssim", 3, lambda _: 1.5), "cannot be"),
        (edit_row("PtychoPINN", "mae", 2, lambda _: -0.1), "cannot be"),
    ],
    ids=["model-name", "ssim-above-1", "negative-error"],
)
def test_a_table_with_what_cannot_be(bench, change, reason):
    bench.spoil(*COMPARISON, file=CSV, change=change)
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"completeness", "scores"}, "the score cannot be read either"
    assert reason in broken["completeness"]


def test_an_empty_row(bench):
    """Lesson 9: a Baseline without numbers, exit code 0."""

    def remove(path):
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("Baseline,ms_ssim,")]
        path.write_text("\n".join(kept) + "\n", "utf-8")

    bench.spoil(*COMPARISON, file=CSV, change=remove)
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"completeness"}
    assert "test Baseline: every metric present" in broken["completeness"]


def test_a_failed_comparison(bench):
    def fail(manifest):
        manifest["execution_results"][1] |= {"returncode": 1, "error": "Degenerate: it is constant"}
        manifest |= {"n_success": 1, "n_failed": 1}

    bench.spoil(MANIFEST, file=f"{MANIFEST}.json", change=fail)
    broken = bench.broken(MANIFEST)
    assert "it is constant" in broken["completeness"]
    assert set(broken) == {"completeness", "invariant"}, "the comparison itself did not fail"


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(n_failed=1),
        lambda manifest: manifest.update(n_success=1),
        lambda manifest: manifest["jobs"].reverse(),
        lambda manifest: manifest["jobs"].pop(),
        lambda manifest: manifest["jobs"][0].update(ms_ssim_sigma=0.5),
        lambda manifest: manifest["jobs"][0].update(skip_registration=True),
        lambda manifest: manifest["jobs"][1].update(pinn_checkpoint="data/nowhere/model.keras"),
        lambda manifest: manifest["filters"].update(split="test"),
        lambda manifest: manifest["execution_results"][0].update(dose=500),
    ],
    ids=[
        "n_failed", "n_success", "order", "one-split", "sigma", "flag", "path", "filter", "dose",
    ],
)  # fmt: skip
def test_a_manifest_that_contradicts_itself(bench, change):
    bench.spoil(MANIFEST, file=f"{MANIFEST}.json", change=change)
    broken = bench.broken(MANIFEST)
    assert "invariant" in broken
    assert set(broken) <= {"invariant", "completeness"}


def test_a_manifest_of_one_split(bench):
    """Lesson 3: written per split, the last one stays."""

    def halve(manifest):
        del manifest["jobs"][0], manifest["execution_results"][0]
        manifest |= {"n_jobs": 1, "n_executed": 1, "n_success": 1}

    bench.spoil(MANIFEST, file=f"{MANIFEST}.json", change=halve)
    assert {"completeness", "invariant"} <= set(bench.broken(MANIFEST))


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

    bench.spoil(
        "test",
        "ptychi_reconstruction",
        file="ptychi_reconstruction.npz",
        change=reconstruct_fewer,
    )
    bench.spoil(*COMPARISON, file="reconstructions.npz", change=compare_it)
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"input_identity"}
    assert "test PtyChi: pixels reached are those of the view's" in broken["input_identity"]


def test_scores_of_another_reconstruction_than_phase_f_made(bench):
    def another(arrays):
        arrays["reconstructed_object"] = arrays["reconstructed_object"] * np.complex64(1.01)

    bench.spoil("test", "ptychi_reconstruction", file="ptychi_reconstruction.npz", change=another)
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"input_identity"}
    assert "the object that phase F made" in broken["input_identity"]


def test_fewer_images_in_the_comparison(bench):
    def miscount(scoring):
        scoring["n_images"]["PtyChi"] -= 1

    bench.spoil(*COMPARISON, file="scoring.json", change=miscount)
    assert set(bench.broken(MANIFEST)) == {"counts"}


def test_more_groups_fitted_than_there_are(bench):
    def miscount(stated):
        stated["n_fit"] += 10_000

    bench.spoil("pinn_model", file="bundle.json", change=miscount)
    broken = bench.broken(MANIFEST)
    assert set(broken) == {"counts"}
    assert "train D to E, pinn_model" in broken["counts"]


@pytest.mark.parametrize(
    "change",
    [
        edit_row("PtychoPINN", "mae", 3, lambda value: value + 2e-6),
        edit_row("PtyChi", "psnr", 2, lambda value: value + 48),
        edit_row("Baseline", "ms_ssim", 2, lambda value: value + 1e-3),
        edit_row("PtyChi", "frc50", 3, lambda value: value / 2),
        edit_row("PtyChi", "mae_strict", 2, lambda value: value / 2),
    ],
    ids=["mae", "psnr-peak-255", "ms-ssim", "frc-unit", "strict"],
)
def test_a_number_that_the_images_do_not_give(bench, change):
    bench.spoil(*COMPARISON, file=CSV, change=change)
    assert set(bench.broken(MANIFEST)) == {"scores"}


def test_models_exchanged(bench):
    def exchange(arrays):
        arrays["PtychoPINN"], arrays["Baseline"] = arrays["Baseline"], arrays["PtychoPINN"]

    bench.spoil(*COMPARISON, file="reconstructions_aligned.npz", change=exchange)
    assert set(bench.broken(MANIFEST)) == {"scores"}


def test_another_area_and_another_truth(bench):
    def move(arrays):
        arrays["area"] += 1

    bench.spoil(*COMPARISON, file="reconstructions_aligned.npz", change=move)
    assert set(bench.broken(MANIFEST)) == {"scores"}
    bench.undo()

    def blur(arrays):
        arrays["truth"] = (arrays["truth"] * 1.001).astype(np.complex64)

    bench.spoil(*COMPARISON, file="reconstructions_aligned.npz", change=blur)
    assert set(bench.broken(MANIFEST)) == {"scores"}


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["aggregate_metrics"]["Baseline"]["mae"].update(mean_phase=0.25),
        lambda s: s["jobs"][0]["metrics"]["PtyChi"]["psnr"].update(amplitude=70.0),
        lambda s: s["jobs"][1]["metrics"]["PtyChi"].pop("ssim"),
        lambda s: s["aggregate_metrics"].pop("PtyChi"),
        lambda s: s["jobs"].reverse(),
        lambda s: s.update(n_failed=1),
    ],
    ids=["mean", "score", "metric-gone", "model-gone", "order", "n_failed"],
)
def test_a_summary_that_the_tables_do_not_give(bench, change):
    bench.spoil(SUMMARY, file=f"{SUMMARY}.json", change=change)
    assert set(bench.broken(SUMMARY)) == {"recomputed"}


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["dataset_counts"]["test"].update(n_images_total=1),
        lambda s: s["phase_c_metadata_compliance"]["dose_1000"]["train"].update(compliant=False),
        lambda s: s["phase_c_metadata_compliance"]["dose_1000"]["train"].update(npz_path="x.npz"),
    ],
    ids=["total", "compliance", "path"],
)
def test_a_summary_with_other_counts_than_the_datasets(bench, change):
    bench.spoil(SUMMARY, file=f"{SUMMARY}.json", change=change)
    assert set(bench.broken(SUMMARY)) == {"counts"}


def _negate(deltas):
    values = deltas["deltas"]["vs_PtyChi"]["mae"]
    values["phase"] = -values["phase"]


@pytest.mark.parametrize(
    "change",
    [
        _negate,
        lambda deltas: deltas["deltas"]["vs_Baseline"]["ms_ssim"].update(amplitude=None),
        lambda deltas: deltas["deltas_by_split"].pop("train"),
    ],
    ids=["sign", "null", "split-gone"],
)
def test_deltas_that_the_tables_do_not_give(bench, change):
    bench.spoil(DELTAS, file=f"{DELTAS}.json", change=change)
    assert set(bench.broken(DELTAS)) == {"recomputed"}


def test_deltas_of_an_older_summary(bench):
    """The summary was written again; the numbers are the same, the file is another."""
    bench.spoil(SUMMARY, file=f"{SUMMARY}.json", change=lambda summary: summary.update(again=True))
    broken = bench.broken(DELTAS)
    assert set(broken) == {"source_hash"}
    assert "source_metrics_sha256" in broken["source_hash"]


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
