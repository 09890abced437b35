"""Edits of datasets and views."""

from __future__ import annotations

import json

import numpy as np

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant

TRAIN, TEST = (f"data/phase_c/DOSE/patched_{split}.npz" for split in ("train", "test"))
VIEW = "data/phase_d/DOSE/VIEW/train.npz"
TEST_VIEW = "data/phase_d/DOSE/VIEW/test.npz"
METRICS = "data/phase_d/DOSE/VIEW/train_metrics.json"
RUN_MANIFEST = "data/phase_c/run_manifest.json"
BUNDLE = "data/phase_d/DOSE/VIEW/metrics_bundle.json"


def _scale(f: Forgery) -> float:
    stored = read_npz(f.path(TRAIN), ["_metadata"])["_metadata"]
    return json.loads(str(stored[()]))["physics"]["intensity_scale"]


def _in_both(f: Forgery, edit) -> None:  # noqa: ANN001
    """The same edit, by scan position, in the train dataset and in its view."""
    for template in (TRAIN, VIEW):
        f.arrays(template, edit)


def _metrics(f: Forgery, edit) -> None:  # noqa: ANN001
    """The same edit in the view's metrics and in the bundle of both splits' metrics."""
    f.json(METRICS, edit)
    f.json(BUNDLE, lambda content: edit(content["train"]) and None)


def _physics(**changes: object):  # noqa: ANN202
    return lambda metadata: metadata["physics"].update(changes)


def _parameters(number: int, **changes: object):  # noqa: ANN202
    return lambda metadata: metadata["transformations"][number]["parameters"].update(changes)


# DATA-001.
for key, change in {
    "diffraction as float64": lambda a: a.update(diffraction=a["diffraction"].astype(np.float64)),
    "diffraction as intensity": lambda a: a.update(diffraction=a["diffraction"] ** 2),
    "diffraction with frames last": lambda a: a.update(
        diffraction=np.moveaxis(a["diffraction"], 0, 2).copy()
    ),
    "a negative amplitude": lambda a: a["diffraction"].__setitem__((0, 0, 0), -0.1),
    "a NaN": lambda a: a["diffraction"].__setitem__((0, 0, 0), np.nan),
    "amplitudes that are no counts": lambda a: a["diffraction"].__imul__(np.float32(1.01)),
    "no Y": lambda a: a.pop("Y"),
    "no scan_index": lambda a: a.pop("scan_index"),
    "a key of another program": lambda a: a.update(diff3d=a["scan_index"]),
    "an odd canvas": lambda a: a.update(objectGuess=a["objectGuess"][:-1, :]),
    "a position outside": lambda a: a["xcoords"].__setitem__(0, 3.0),
    "a zero probe": lambda a: a["probeGuess"].__setitem__(..., 0),
}.items():
    add("phase_c.data001", key, lambda f, change=change: f.arrays(TEST, change))
    if key in ("no Y", "diffraction as float64", "a NaN"):
        add("phase_d.data001", key, lambda f, change=change: f.arrays(VIEW, change))
add(
    "phase_c.data001",
    "metadata without physics",
    lambda f: f.metadata(TEST, lambda m: m.pop("physics")),
)
add(
    "phase_d.data001",
    "metadata without a schema version",
    lambda f: f.metadata(VIEW, lambda m: m.pop("schema_version")),
)


@mutant("phase_c.dose", "twice the photons in every frame")
def _(f: Forgery) -> None:
    scale = _scale(f)

    def double(arrays: dict[str, np.ndarray]) -> None:
        counts = np.rint((arrays["diffraction"].astype(np.float64) * scale) ** 2)
        arrays["diffraction"] = (np.sqrt(2 * counts) / scale).astype(np.float32)

    for template in (TRAIN, TEST):
        f.arrays(template, double)


@mutant("phase_c.dose", "a third of the train frames is dark")
def _(f: Forgery) -> None:
    _in_both(f, lambda a: a["diffraction"].__setitem__(a["scan_index"] % 3 == 0, 0))


@mutant("phase_c.poisson", "counts without noise")
def _(f: Forgery) -> None:
    from fly64_assets.ptychography.forward import far_field

    scale = _scale(f)

    def quiet(arrays: dict[str, np.ndarray]) -> None:
        expected = (far_field(arrays["Y"], arrays["probeGuess"]).astype(np.float64) * scale) ** 2
        counts = np.floor(expected + np.random.default_rng(1).uniform(size=expected.shape))
        arrays["diffraction"] = (np.sqrt(counts) / scale).astype(np.float32)

    f.arrays(TEST, quiet)


@mutant("phase_c.poisson", "twice the noise")
def _(f: Forgery) -> None:
    scale = _scale(f)

    def loud(arrays: dict[str, np.ndarray]) -> None:
        counts = np.rint((arrays["diffraction"].astype(np.float64) * scale) ** 2)
        drawn = np.random.default_rng(1).poisson(counts)
        arrays["diffraction"] = (np.sqrt(drawn) / scale).astype(np.float32)

    f.arrays(TEST, loud)


@mutant("phase_c.axes", "x and y exchanged in the test half")
def _(f: Forgery) -> None:
    def swap(arrays: dict[str, np.ndarray]) -> None:
        for end in ("", "_start"):
            x, y = arrays["xcoords" + end], arrays["ycoords" + end]
            arrays["xcoords" + end], arrays["ycoords" + end] = y, x

    f.arrays(TEST, swap)


@mutant("phase_c.axes", "diffraction transposed in the test half")
def _(f: Forgery) -> None:
    f.arrays(TEST, lambda a: a.update(diffraction=a["diffraction"].transpose(0, 2, 1).copy()))


@mutant("phase_c.true_patches", "a true patch of another place")
def _(f: Forgery) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        # Far from integer positions, where DATA-001 does not look.
        offset = np.abs(arrays["xcoords"] - np.rint(arrays["xcoords"]))
        worst = int(offset.argmax())
        arrays["Y"][worst] = arrays["Y"][(worst + 1) % len(offset)]

    f.arrays(TEST, change)


@mutant("phase_c.halves", "another split line in both halves")
def _(f: Forgery) -> None:
    for template in (TRAIN, TEST, VIEW, TEST_VIEW):
        f.metadata(
            template, lambda m: m["transformations"][0]["parameters"].update(split_line_y_px=110.0)
        )


@mutant("phase_c.halves", "the halves exchanged")
def _(f: Forgery) -> None:
    one, other = f.read(TRAIN), f.read(TEST)
    f.write(TRAIN, other)
    f.write(TEST, one)


@mutant("phase_c.halves", "a guard that was not kept")
def _(f: Forgery) -> None:
    for template in (TRAIN, TEST, VIEW, TEST_VIEW):
        f.metadata(
            template, lambda m: m["transformations"][0]["parameters"].update(split_guard_px=5.0)
        )


add(
    "phase_c.one_scan",
    "another object in the test half",
    lambda f: f.arrays(TEST, lambda a: a["objectGuess"].__imul__(np.complex64(1.0001))),
)
add(
    "phase_c.one_scan",
    "another probe in the test half",
    lambda f: f.arrays(TEST, lambda a: a["probeGuess"].__setitem__((0, 0), 1e-3)),
)
add(
    "phase_c.one_scan",
    "a position in both halves",
    lambda f: f.arrays(TEST, lambda a: a["scan_index"].__setitem__(0, a["scan_index"][1])),
)
add(
    "phase_c.one_scan",
    "another seed in the test half",
    lambda f: f.metadata(TEST, _physics(seed=7)),
)
add(
    "phase_c.one_scan",
    "more positions than both halves hold",
    lambda f: [f.metadata(t, _parameters(0, positions=10**6)) for t in (TRAIN, TEST)] and None,
)
add(
    "phase_c.metadata",
    "nphotons of another dose",
    lambda f: [f.metadata(t, _physics(nphotons=77)) for t in (TRAIN, TEST)] and None,
)
add(
    "phase_c.metadata",
    "the other split's name",
    lambda f: f.metadata(TEST, _parameters(0, split="train")),
)
add(
    "phase_c.metadata",
    "an intensity scale that does not fit",
    lambda f: (
        [f.metadata(t, _parameters(0, mean_transmitted_power=0.5)) for t in (TRAIN, TEST)] and None
    ),
)
add(
    "phase_c.run_manifest",
    "train and test exchanged",
    lambda f: f.json(
        RUN_MANIFEST,
        lambda c: [e.update(train=e["test"], test=e["train"]) for e in c.values()] and None,
    ),
)
add(
    "phase_c.run_manifest",
    "another dose",
    lambda f: f.json(RUN_MANIFEST, lambda c: [e.update(dose=77) for e in c.values()] and None),
)
add(
    "phase_c.run_manifest",
    "a dose more",
    lambda f: f.json(RUN_MANIFEST, lambda c: c.update(dose_77={"dose": 77})),
)


# Views.
def _one_count_more(f: Forgery) -> None:
    scale = _scale(f)

    def change(arrays: dict[str, np.ndarray]) -> None:
        pixel = arrays["diffraction"][0, 32, 32]
        arrays["diffraction"][0, 32, 32] = np.sqrt(np.rint((float(pixel) * scale) ** 2) + 1) / scale

    f.arrays(VIEW, change)


add("phase_d.subset", "one photon more in one pixel", _one_count_more)
add(
    "phase_d.subset",
    "another position",
    lambda f: f.arrays(
        VIEW,
        lambda a: (
            [a[k].__setitem__(0, a[k][0] + 1e-9) for k in ("xcoords", "xcoords_start")] and None
        ),
    ),
)
add(
    "phase_d.subset",
    "another true patch",
    lambda f: f.arrays(VIEW, lambda a: a["Y"].__setitem__((0, 0, 0), 1)),
)
add(
    "phase_d.subset",
    "a position that phase C has not",
    lambda f: f.arrays(VIEW, lambda a: a["scan_index"].__setitem__(0, 10**6)),
)
add(
    "phase_d.subset",
    "another object",
    lambda f: f.arrays(VIEW, lambda a: a["objectGuess"].__setitem__((0, 0), 1)),
)
add(
    "phase_d.provenance",
    "phase C's record overwritten",
    lambda f: f.metadata(VIEW, lambda m: m["transformations"].pop(0)),
)
add(
    "phase_d.provenance",
    "phase C's record changed",
    lambda f: f.metadata(VIEW, lambda m: m["transformations"][0].update(version="9")),
)
add(
    "phase_d.provenance",
    "another input",
    lambda f: f.metadata(
        VIEW,
        lambda m: m["transformations"][-1].update(
            inputs={"train/dataset/patched_train.npz": "0" * 64}
        ),
    ),
)
add(
    "phase_d.provenance",
    "made for the other split",
    lambda f: f.metadata(VIEW, _parameters(-1, split="test")),
)
add("phase_d.provenance", "other physics", lambda f: f.metadata(VIEW, _physics(seed=7)))
add(
    "phase_d.same_settings",
    "other seeds for test",
    lambda f: f.metadata(
        TEST_VIEW, lambda m: m["transformations"][-1]["parameters"]["seeds"].update(subsampling=7)
    ),
)
add(
    "phase_d.same_settings",
    "another K for test",
    lambda f: f.metadata(
        TEST_VIEW,
        lambda m: m["transformations"][-1]["parameters"]["overlap"].update(neighbor_count=9),
    ),
)


def _far(arrays: dict[str, np.ndarray]) -> int:
    """An image far from the first group's centre."""
    centre = arrays["centre_index"][0]
    distance = np.hypot(*(arrays[k] - arrays[k][centre] for k in ("xcoords", "ycoords")))
    return int(distance.argmax())


add(
    "phase_d.full_groups",
    "a neighbour from far away",
    lambda f: f.arrays(VIEW, lambda a: a["full_groups"].__setitem__((0, -1), _far(a))),
)
add(
    "phase_d.full_groups",
    "an image twice in a group",
    lambda f: f.arrays(
        VIEW, lambda a: a["full_groups"].__setitem__((0, -1), a["full_groups"][0, 1])
    ),
)
add(
    "phase_d.full_groups",
    "another centre",
    lambda f: f.arrays(VIEW, lambda a: a["centre_index"].__setitem__(0, a["full_groups"][0, 1])),
)
add(
    "phase_d.full_groups",
    "a smaller K",
    lambda f: f.arrays(VIEW, lambda a: a.update(full_groups=a["full_groups"][:, :-1].copy())),
)
add(
    "phase_d.training_groups",
    "a member from far away",
    lambda f: f.arrays(VIEW, lambda a: a["training_groups"].__setitem__((0, 0), _far(a))),
)
add(
    "phase_d.training_groups",
    "a member twice",
    lambda f: f.arrays(
        VIEW, lambda a: a["training_groups"].__setitem__((0, 0), a["training_groups"][0, 1])
    ),
)
add(
    "phase_d.training_groups",
    "a group less",
    lambda f: f.arrays(VIEW, lambda a: a.update(training_groups=a["training_groups"][:-1].copy())),
)
add(
    "phase_d.training_groups",
    "all groups from one centre",
    lambda f: f.arrays(
        VIEW,
        lambda a: a["training_groups"].__setitem__(
            ..., a["full_groups"][0, : a["training_groups"].shape[1]]
        ),
    ),
)


@mutant("phase_d.target_reached", "another target than the one reached")
def _(f: Forgery) -> None:
    _metrics(f, lambda m: m.update(target_overlap=0.5))


@mutant("phase_d.diameter", "another probe diameter")
def _(f: Forgery) -> None:
    _metrics(f, lambda m: m.update(probe_diameter_px=m["probe_diameter_px"] * 1.001))


@mutant("phase_d.diameter", "another diameter in all datasets")
def _(f: Forgery) -> None:
    for template in (TRAIN, TEST, VIEW, TEST_VIEW):
        f.metadata(template, _physics(probe_diameter_px=35.0))


add(
    "phase_d.diameter",
    "another definition",
    lambda f: _metrics(f, lambda m: m.update(probe_diameter_definition="given in the study file")),
)
for key in (
    "reached_overlap",
    "metric_1_group_based_avg",
    "metric_2_image_based_avg",
    "metric_3_group_to_group_avg",
):
    add(
        "phase_d.overlap_recomputed",
        f"another {key}",
        lambda f, key=key: _metrics(f, lambda m: m.update({key: m[key] + 1e-6})),
    )
add(
    "phase_d.overlap_recomputed",
    "another spacing",
    lambda f: _metrics(f, lambda m: m["centre_spacing_px"].update(min=1.0)),
)
add(
    "phase_d.overlap_recomputed",
    "an overlap of null",
    lambda f: _metrics(f, lambda m: m.update(metric_1_group_based_avg=None)),
)
for key in (
    "n_images_total",
    "n_images_kept",
    "n_unique_images",
    "n_centres",
    "n_groups_effective",
):
    add(
        "phase_d.counts",
        f"one {key} more",
        lambda f, key=key: _metrics(f, lambda m: m.update({key: m[key] + 1})),
    )
add(
    "phase_d.photons",
    "a photon more",
    lambda f: _metrics(f, lambda m: m.update(total_photons=m["total_photons"] + 1)),
)
add(
    "phase_d.photons",
    "another density",
    lambda f: _metrics(f, lambda m: m.update(photons_per_px2=m["photons_per_px2"] * 1.0001)),
)
for key, value in {
    "neighbor_count": 9,
    "gridsize": 1,
    "n_groups": 511,
    "n_groups_ignored": True,
    "seeds": {"grouping": 1, "subsampling": 2},
    "image_fraction": 0.5,
    "metrics_version": 2,
}.items():
    add(
        "phase_d.settings",
        f"another {key}",
        lambda f, k=key, v=value: _metrics(f, lambda m: m.update({k: v})),
    )
add(
    "phase_d.metrics_bundle",
    "the splits exchanged",
    lambda f: f.json(BUNDLE, lambda c: c.update(train=c["test"], test=c["train"])),
)
add(
    "phase_d.metrics_bundle",
    "another view",
    lambda f: f.json(BUNDLE, lambda c: c.update(view="other")),
)
