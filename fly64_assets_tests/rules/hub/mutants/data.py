"""Edits of datasets and views: one a rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add

TRAIN, TEST = (f"data/phase_c/DOSE/patched_{split}.npz" for split in ("train", "test"))
VIEW, TEST_VIEW = (f"data/phase_d/DOSE/VIEW/{split}.npz" for split in ("train", "test"))
EVERYWHERE = (TRAIN, TEST, VIEW, TEST_VIEW)
METRICS = "data/phase_d/DOSE/VIEW/train_metrics.json"
RUN_MANIFEST = "data/phase_c/run_manifest.json"
BUNDLE = "data/phase_d/DOSE/VIEW/metrics_bundle.json"
Arrays = dict[str, np.ndarray]


def _scale(arrays: Arrays) -> float:
    return json.loads(str(arrays["_metadata"][()]))["physics"]["intensity_scale"]


def _double(arrays: Arrays) -> None:
    scale = _scale(arrays)
    counts = np.rint((arrays["diffraction"].astype(np.float64) * scale) ** 2)
    arrays["diffraction"] = (np.sqrt(2 * counts) / scale).astype(np.float32)


def _quiet(arrays: Arrays) -> None:
    from fly64_assets.ptychography.forward import far_field

    scale = _scale(arrays)
    expected = (far_field(arrays["Y"], arrays["probeGuess"]).astype(np.float64) * scale) ** 2
    counts = np.floor(expected + np.random.default_rng(1).uniform(size=expected.shape))
    arrays["diffraction"] = (np.sqrt(counts) / scale).astype(np.float32)


def _swap(arrays: Arrays) -> None:
    for end in ("", "_start"):
        x, y = arrays["xcoords" + end], arrays["ycoords" + end]
        arrays["xcoords" + end], arrays["ycoords" + end] = y, x


def _another_patch(arrays: Arrays) -> None:
    """Far from integer positions, where DATA-001 does not look."""
    offset = np.abs(arrays["xcoords"] - np.rint(arrays["xcoords"]))
    worst = int(offset.argmax())
    arrays["Y"][worst] = arrays["Y"][(worst + 1) % len(offset)]


def _one_count_more(arrays: Arrays) -> None:
    scale, pixel = _scale(arrays), arrays["diffraction"][0, 32, 32]
    arrays["diffraction"][0, 32, 32] = np.sqrt(np.rint((float(pixel) * scale) ** 2) + 1) / scale


def _far(arrays: Arrays) -> int:
    """An image far from the first group's centre."""
    centre = arrays["centre_index"][0]
    distance = np.hypot(*(arrays[k] - arrays[k][centre] for k in ("xcoords", "ycoords")))
    return int(distance.argmax())


def _one_centre(arrays: Arrays) -> None:
    members = arrays["training_groups"].shape[1]
    arrays["training_groups"][...] = arrays["full_groups"][0, :members]


for check, file, what, edit in (
    ("phase_c.data001", TEST, "no Y", lambda a: a.pop("Y")),
    ("phase_c.data001", TEST, "a true patch of another place", _another_patch),
    ("phase_c.poisson_noise", TEST, "counts without noise", _quiet),
    ("phase_c.axis_order", TEST, "x and y exchanged", _swap),
    (
        "phase_c.split_separation",
        TEST,
        "another object in the test half",
        lambda a: a["objectGuess"].__imul__(np.complex64(1.0001)),
    ),
    (
        "phase_c.split_separation",
        TEST,
        "a position twice",
        lambda a: a["scan_index"].__setitem__(0, a["scan_index"][1]),
    ),
    (
        "phase_d.data001",
        VIEW,
        "a NaN",
        lambda a: a["diffraction"].__setitem__((0, 0, 0), np.nan),
    ),
    (
        "phase_d.feasibility",
        VIEW,
        "a neighbour from far away",
        lambda a: a["full_groups"].__setitem__((0, -1), _far(a)),
    ),
    (
        "phase_d.feasibility",
        VIEW,
        "a smaller K",
        lambda a: a.update(full_groups=a["full_groups"][:, :-1].copy()),
    ),
    (
        "phase_d.feasibility",
        VIEW,
        "another centre",
        lambda a: a["centre_index"].__setitem__(0, a["full_groups"][0, 1]),
    ),
    (
        "phase_d.feasibility",
        VIEW,
        "a member from far away",
        lambda a: a["training_groups"].__setitem__((0, 0), _far(a)),
    ),
    (
        "phase_d.feasibility",
        VIEW,
        "a training group less",
        lambda a: a.update(training_groups=a["training_groups"][:-1].copy()),
    ),
    ("phase_d.feasibility", VIEW, "all training groups from one centre", _one_centre),
    ("phase_d.counts", VIEW, "one photon more in one pixel", _one_count_more),
    (
        "phase_d.counts",
        VIEW,
        "a position that phase C has not",
        lambda a: a["scan_index"].__setitem__(0, 10**6),
    ),
    (
        "phase_d.counts",
        VIEW,
        "another object",
        lambda a: a["objectGuess"].__setitem__((0, 0), 1),
    ),
):
    add(check, what, lambda f, file=file, edit=edit: f.arrays(file, edit))


def _in_metadata(files: tuple[str, ...], edit: Callable[[Any], object]) -> Callable[..., None]:
    def change(f: Forgery) -> None:
        for file in files:
            f.metadata(file, edit)

    return change


def _both(f: Forgery) -> None:
    for file in (TRAIN, TEST):
        f.arrays(file, _double)


def _record(number: int, **changes: object) -> Callable[[Any], object]:
    return lambda m: m["transformations"][number]["parameters"].update(changes)


def _physics(**changes: object) -> Callable[[Any], object]:
    return lambda m: m["physics"].update(changes)


def _input(metadata: Any) -> None:
    inputs = metadata["transformations"][-1]["inputs"]
    inputs[max(inputs)] = "0" * 64


add("phase_c.mean_dose", "twice the photons in every frame", _both)
for check, files, what, edit in (
    ("phase_c.mean_dose", (TRAIN, TEST), "nphotons of another dose", _physics(nphotons=77)),
    (
        "phase_c.mean_dose",
        (TRAIN, TEST),
        "a scale that does not fit",
        _record(0, mean_transmitted_power=0.5),
    ),
    (
        "phase_c.split_separation",
        EVERYWHERE,
        "another split line",
        _record(0, split_line_y_px=110.0),
    ),
    ("phase_c.split_separation", (TEST,), "the other half's name", _record(0, split="train")),
    ("phase_c.effective_settings", EVERYWHERE, "another guard", _record(0, split_guard_px=5.0)),
    ("phase_c.effective_settings", (TEST,), "another seed", _physics(seed=7)),
    (
        "phase_c.effective_settings",
        EVERYWHERE,
        "another diameter",
        _physics(probe_diameter_px=35.0),
    ),
    ("phase_c.provenance", (TEST,), "another specimen", _input),
    (
        "phase_d.provenance",
        (VIEW,),
        "phase C's record changed",
        lambda m: m["transformations"][0].update(version="9"),
    ),
    ("phase_d.provenance", (VIEW,), "another input", _input),
    ("phase_d.provenance", (VIEW,), "made for the other split", _record(-1, split="test")),
    ("phase_d.provenance", (VIEW,), "other physics", _physics(seed=7)),
    (
        "phase_d.effective_settings",
        (TEST_VIEW,),
        "other seeds",
        lambda m: m["transformations"][-1]["parameters"]["seeds"].update(subsampling=7),
    ),
):
    add(check, what, _in_metadata(files, edit))


def _in_metrics(edit: Callable[[Any], object]) -> Callable[[Forgery], None]:
    """The same edit in the view's metrics and in the bundle of both splits' metrics."""

    def change(f: Forgery) -> None:
        f.json(METRICS, lambda content: edit(content) and None)
        f.json(BUNDLE, lambda content: edit(content["train"]) and None)

    return change


for check, key, value in (
    ("phase_d.feasibility", "metric_1_group_based_avg", 0.5),
    ("phase_d.feasibility", "metric_2_image_based_avg", 0.5),
    ("phase_d.feasibility", "metric_3_group_to_group_avg", 0.5),
    ("phase_d.feasibility", "reached_overlap", 0.5),
    ("phase_d.feasibility", "centre_spacing_px", {"min": 1.0, "mean": 2.0}),
    ("phase_d.feasibility", "thinning_spacing_px", 1.0),
    ("phase_d.counts", "n_images_total", 7),
    ("phase_d.counts", "total_photons", 7.0),
    ("phase_d.counts", "photons_per_px2", 7.0),
    ("phase_d.effective_settings", "neighbor_count", 9),
    ("phase_d.effective_settings", "target_overlap", 0.5),
    ("phase_d.effective_settings", "probe_diameter_definition", "given in the study file"),
):
    add(check, f"another {key}", _in_metrics(lambda m, k=key, v=value: m.update({k: v})))


def _exchange(content: Any) -> None:
    content["train"], content["test"] = content["test"], content["train"]


add(
    "phase_c.run_manifest",
    "train and test exchanged",
    lambda f: f.json(RUN_MANIFEST, lambda c: _exchange(next(iter(c.values())))),
)
add("phase_d.metrics_bundle", "train and test exchanged", lambda f: f.json(BUNDLE, _exchange))
