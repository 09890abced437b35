"""Phases E and F on a store; the mutants of a hub hold each of their rules."""

from __future__ import annotations

import json
import shutil

import pytest

from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import product
from fly64_assets_tests.rules.store.conftest import AT

MODELS = ("pinn_model", "baseline_model")
PTYCHI = ("train", "ptychi_reconstruction")


def spoil_bundle(bench, change, name="baseline_model", file="bundle.json"):
    bench.spoil(name, file=file, change=change)
    return bench.broken(name)


@pytest.mark.parametrize(
    "key", [*((name,) for name in MODELS), *((s, "ptychi_reconstruction") for s in SPLITS)]
)
def test_the_finished_solvers_pass_every_check(bench, key):
    broken = bench.broken(*key)
    broken.pop("loss_improved", None)  # of two epochs nothing is promised
    assert broken == {}


def test_another_network_under_the_name_of_baseline(bench):
    """The whole bundle of PtychoPINN in Baseline's place, which says that it is a Baseline."""
    before = bench.broken("baseline_model")
    pinn = bench.path("pinn_model", file="model.keras")
    spoil_bundle(bench, lambda path: shutil.copyfile(pinn, path), file="model.keras")
    other = json.loads(bench.path("pinn_model", file="bundle.json").read_text("utf-8"))

    def disguise(stated):
        stated["weights_sha256"] = other["weights_sha256"]

    broken = spoil_bundle(bench, disguise)
    assert set(broken) - set(before) == {"bundle"}
    assert (
        "model.keras name: is what its role asks, expected Baseline, found PtychoPINN"
        in (broken["bundle"])
    )


@pytest.mark.parametrize("size", [0, 1000])
def test_weights_of_no_bytes_and_cut_short(bench, size):
    def cut(path):
        path.write_bytes(path.read_bytes()[:size])

    broken = spoil_bundle(bench, cut, file="model.keras")
    assert {"bundle"} <= set(broken) <= {"bundle", "times_and_paths", "loss_improved"}


def _history(path, edit):
    header, *rows = path.read_text("utf-8").splitlines()
    table = [row.split(",") for row in rows]
    edit(table)
    path.write_text("\n".join([header, *(",".join(row) for row in table)]) + "\n", "utf-8")


def test_training_that_never_got_better(bench):
    first = {}

    def worsen(path):
        def edit(rows):
            first["loss"] = float(rows[0][2])
            rows[1][2] = str(first["loss"] + 1)

        _history(path, edit)

    bench.spoil("baseline_model", file="history.csv", change=worsen)

    def state(stated):
        stated |= {"best_epoch": 1, "best_validation_loss": first["loss"]}

    bench.spoil("baseline_model", file="bundle.json", change=state)
    result = bench.results("baseline_model")["loss_improved"]
    assert not result.passed and result.severity.value == "WARN"
    assert set(bench.broken("baseline_model")) == {"loss_improved"}


def test_a_view_made_again_with_other_data_than_the_weights_saw(bench):
    """Stale weights: the published study scored them (lesson 2)."""
    view = product("train", "overlap_view")
    version = bench.context.ledger(bench.instance).latest(view, AT).provenance.data_version
    try:
        bench.report(*view.key, data_version="1" * 64)
        for name in MODELS:
            assert "the data version that is there now" in bench.broken(name)["trained_on"]
        assert "trained on the train view" in bench.broken("comparison_manifest")["input_identity"]
    finally:
        bench.report(*view.key, data_version=version)


@pytest.mark.parametrize("name", MODELS)
def test_fewer_images_than_the_view_has(bench, name):
    """Lesson 13: one model saw 80 % of the images."""

    def miscount(stated):
        stated["n_fit"] = int(0.8 * stated["n_fit"])

    broken = spoil_bundle(bench, miscount, name)
    broken.pop("loss_improved", None)
    assert set(broken) == {"counts"}
    assert "n_fit: of the view's" in broken["counts"]


@pytest.mark.parametrize(
    "change",
    [
        lambda stated: stated["settings"].update(batch_size=999),
        lambda stated: stated["seeds"].update(grouping=1),
    ],
    ids=["batch-size", "seed"],
)
def test_settings_that_never_reached_training(bench, change):
    broken = spoil_bundle(bench, change)
    broken.pop("loss_improved", None)
    assert set(broken) == {"effective_settings"}


def test_other_threads_than_the_study_says(bench):
    study = bench.context.study.model_copy(update={"threads": 7})
    for key in (("pinn_model",), PTYCHI, ("train", "comparison")):
        broken = bench.broken(*key, study=study)
        broken.pop("loss_improved", None)
        assert set(broken) == {"effective_settings"}
        assert (
            "materialization threads: as in the study, expected 7" in (broken["effective_settings"])
        )
