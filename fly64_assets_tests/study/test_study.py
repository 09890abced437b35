"""The study file: what it says, and that everything impossible is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fly64_assets.errors import InputError
from fly64_assets.study.model import PROJECT_ROOT, load_study, specimen_path, study_path

FULL = yaml.safe_load((PROJECT_ROOT / "study.yaml").read_text("utf-8"))


def _changed(tmp_path: Path, *path: str, value: object) -> Path:
    content = yaml.safe_load(yaml.safe_dump(FULL))
    section = content
    for key in path[:-1]:
        section = section[key]
    if value is ...:
        del section[path[-1]]
    else:
        section[path[-1]] = value
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


def test_full_study_holds_the_published_constants():
    study = load_study(PROJECT_ROOT / "study.yaml")
    assert study.doses == (500, 1000, 2000, 10000, 100000)
    assert (study.patch_size, study.gridsize, study.overlap.neighbor_count) == (64, 2, 7)
    assert (study.simulation.positions, study.overlap.n_groups) == (10304, 512)
    assert study.seeds.model_dump() == {"simulation": 42, "grouping": 123, "subsampling": 456}
    assert {name: view.target_overlap for name, view in study.views.items()} == {
        "dense": 0.7,
        "sparse": 0.2,
    }
    assert study.ptychi.noise_model == "POISSON"
    assert (study.scoring.ms_ssim_sigma_px, study.scoring.frc_threshold) == (1.0, 0.5)
    assert (study.scoring.stitch_crop_px, study.scoring.max_shift_px) == (20, 4)


def test_demo_study_differs_only_where_it_says_so():
    demo, full = load_study(PROJECT_ROOT / "studies/demo.yaml"), load_study()
    assert demo.name == "demo"
    assert demo.seeds == full.seeds
    assert demo.scoring == full.scoring
    assert demo.overlap == full.overlap


@pytest.mark.parametrize(
    ("path", "value", "key", "rule"),
    [
        (("overlap", "neighbor_count"), 3, "", "K = 3 is smaller than C = gridsize^2 = 4"),
        (("doses",), [0, 1000], "doses.0", "greater than 0"),
        (("doses",), [-5], "doses.0", "greater than 0"),
        (("doses",), [1000, 1000], "", "names a dose twice"),
        (("doses",), [1000, 500], "", "ascending"),
        (("doses",), [], "doses", "at least 1"),
        (("doses",), [1000.5], "doses.0", "integer"),
        (("views", "dense", "target_overlap"), 1.0, "views.dense.target_overlap", "less than 1"),
        (("views", "dense", "target_overlap"), -0.1, "views.dense.target_overlap", "greater"),
        (("views", "dense"), {"image_fraction": 0.0}, "views.dense.image_fraction", "greater"),
        (("views", "dense"), {}, "views.dense", "either target_overlap or image_fraction"),
        (("views",), {"a|b": {"target_overlap": 0.5}}, "", "lower-case letters"),
        (("views",), {"../up": {"target_overlap": 0.5}}, "", "lower-case letters"),
        (("scoring", "stitch_crop_px"), 65, "", "M = 65 is larger than N = 64"),
        (("patch_size",), 63, "", "odd"),
        (
            ("ptychopinn", "frame_px"),
            66,
            "ptychopinn",
            "frame_px: 66 is no multiple of 2^(depth + 1) = 8",
        ),
        (("baseline", "frame_px"), 47, "baseline", "frame_px: 47 is no multiple"),
        (("ptychi", "damping"), 0.0, "ptychi.damping", "greater than or equal to 0.000000000001"),
        (("gridsize",), 3, "gridsize", "1 or 2"),
        (("overlap", "neighbour_count"), 7, "overlap.neighbour_count", "unknown key"),
        (("typo",), 1, "typo", "unknown key"),
        (("ptychi", "epochs"), 101, "ptychi.epochs", "less than or equal to 100"),
        (("ptychi", "noise_model"), "poisson", "ptychi.noise_model", "'POISSON' or 'GAUSSIAN'"),
        (("seeds", "simulation"), "42", "seeds.simulation", "integer"),
        (("seeds",), ..., "seeds", "required"),
        (("ptychopinn", "loss_neighbours"), 2, "ptychopinn", "needs at least"),
        (("schema_version",), 2, "schema_version", "1"),
    ],
)
def test_impossible_values_are_refused_by_name(tmp_path, path, value, key, rule):
    file = _changed(tmp_path, *path, value=value)
    with pytest.raises(InputError) as refused:
        load_study(file)
    assert refused.value.source == str(file)
    assert refused.value.key == key
    assert rule in refused.value.problem


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "holds no mapping"),
        ("doses: [1\n", "not valid YAML"),
        ("name: a\nname: b\n", "appears twice"),
        ("extends: missing.yaml\nname: x\n", "does not exist"),
        ("extends: study.yaml\n", "has its own name"),
        ("extends: study.yaml\nname: x\n", "extends itself"),
        ("extends: 3\nname: x\n", "not the path"),
        ("name: !!python/object/apply:os.getcwd []\n", "no tags"),
    ],
)
def test_unreadable_study_files_are_refused(tmp_path, text, rule):
    file = tmp_path / "study.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError, match=rule):
        load_study(file)


def test_missing_study_file_names_it(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: does not exist"):
        load_study(tmp_path / "nowhere.yaml")


def test_extending_merges_sections_but_replaces_views(tmp_path):
    file = tmp_path / "own.yaml"
    content = {
        "extends": str(PROJECT_ROOT / "study.yaml"),
        "name": "own",
        "views": {"half": {"image_fraction": 0.5}},
        "overlap": {"min_groups": 9},
    }
    file.write_text(yaml.safe_dump(content), "utf-8")
    study = load_study(file)
    assert list(study.views) == ["half"]
    assert (study.overlap.min_groups, study.overlap.neighbor_count) == (9, 7)


def test_study_file_comes_from_argument_then_variable_then_project(tmp_path, monkeypatch):
    assert study_path() == PROJECT_ROOT / "study.yaml"
    monkeypatch.setenv("FLY64_STUDY", str(tmp_path / "a.yaml"))
    assert study_path() == tmp_path / "a.yaml"
    assert study_path(tmp_path / "b.yaml") == tmp_path / "b.yaml"


def test_specimen_by_name_and_by_path_beside_the_study(tmp_path):
    assert specimen_path(load_study()).name == "labyrinth.npz"
    own = _changed(tmp_path, "specimen", value="mine/fly64.npz")
    assert specimen_path(load_study(own), own) == tmp_path / "mine/fly64.npz"
    unknown = _changed(tmp_path, "specimen", value="atlantis")
    with pytest.raises(InputError, match="'atlantis' is not one of labyrinth, siemens_star"):
        specimen_path(load_study(unknown), unknown)


def test_inherited_specimen_path_still_points_at_the_same_file(tmp_path):
    base = _changed(tmp_path, "specimen", value="mine.npz")
    child = tmp_path / "deeper" / "child.yaml"
    child.parent.mkdir()
    child.write_text(yaml.safe_dump({"extends": f"../{base.name}", "name": "child"}), "utf-8")
    assert specimen_path(load_study(child), child).resolve() == tmp_path / "mine.npz"
