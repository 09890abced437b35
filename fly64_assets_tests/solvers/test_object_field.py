"""The physics estimate of a view: its gradient, its descent, what it is put together from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import xlogy

from fly64_assets.ptychography.forward import extract_patches, far_field
from fly64_assets.ptychography.specimen import load_specimen
from fly64_assets.solvers import ptychopinn
from fly64_assets.solvers.grouping import TURNS, split_positions
from fly64_assets.solvers.interface import Measurement
from fly64_assets.solvers.object_field import FieldSteps, ObjectField
from fly64_assets.solvers.refinement import Frames, channels
from fly64_assets.study.model import load_study, specimen_path
from fly64_assets_tests.solvers import closed_form_scan as closed
from fly64_assets_tests.solvers.closed_form_scan import CANVAS, SIDE

STEPS = FieldSteps(step=0.5, momentum=0.8, patterns_per_pixel=3, damping=0.02, floor_counts=1.0)
Y, X = np.mgrid[: CANVAS[0], : CANVAS[1]]
TRUTH = closed.object_at(Y, X).astype(np.complex64)


def field(measurement, **changes: float) -> ObjectField:
    return ObjectField(measurement, FieldSteps(**{**STEPS.__dict__, **changes}), threads=2)


def modelled_counts(measurement, estimate: np.ndarray) -> np.ndarray:
    """(n, N, N), computed pattern by pattern in double precision."""
    pixel, rest = split_positions(measurement.positions_px)
    steps = np.arange(SIDE) - SIDE // 2
    counts = []
    for (y, x), (dy, dx) in zip(pixel, rest.astype(float), strict=True):
        probe = closed.probe_at(steps[:, None] - dy, steps[None, :] - dx)
        window = estimate[y - SIDE // 2 : y + SIDE // 2, x - SIDE // 2 : x + SIDE // 2]
        wave = np.fft.fftshift(np.fft.fft2(probe * window, norm="ortho"))
        counts.append((np.abs(wave) * measurement.intensity_scale) ** 2)
    return np.array(counts)


def negative_log_likelihood(measurement, estimate: np.ndarray) -> float:
    counts = (measurement.diffraction.astype(float) * measurement.intensity_scale) ** 2
    expected = modelled_counts(measurement, estimate)
    return float((expected - xlogy(counts, np.maximum(expected, 1e-12))).sum())


def test_the_gradient_is_that_of_the_poisson_likelihood():
    measurement = closed.scan(6, dose=1e6, seed=1)
    estimate = (TRUTH * np.exp(0.1j * np.sin(0.2 * X))).astype(np.complex64)
    found = field(measurement, floor_counts=1e-6)._gradient(estimate, np.arange(6))
    random = np.random.default_rng([1])
    # Smooth, so that it is felt where there are counts.
    bump = np.exp(-((Y - 36) ** 2 + (X - 48) ** 2) / 200.0)
    for direction in (bump, 1j * bump, bump * np.exp(1j * random.uniform(0, 6))):
        step = 1e-4
        ahead = negative_log_likelihood(measurement, estimate + step * direction)
        behind = negative_log_likelihood(measurement, estimate - step * direction)
        numeric = (ahead - behind) / (2 * step)
        predicted = 2 * np.vdot(found, direction).real * measurement.intensity_scale**2
        assert predicted == pytest.approx(numeric, rel=0.02)


def test_data_of_a_probe_that_fills_its_frame_leave_nothing_to_change_at_the_truth():
    """Moving the probe to sub-pixel positions instead of the object leaves ten times as much."""
    study = load_study()
    specimen = load_specimen(specimen_path(study), patch_size=study.patch_size)
    positions = np.random.default_rng([3]).uniform(60, 130, (24, 2))
    padding = study.simulation.shift_padding_px
    patches = extract_patches(specimen.object, positions, study.patch_size, padding_px=padding)
    amplitude = np.abs(far_field(patches, specimen.probe)).astype(np.float32)
    measurement = Measurement(amplitude, positions, specimen.probe, 100.0, specimen.object.shape)
    made, images = field(measurement), np.arange(24)
    left = np.linalg.norm(made.misfit(specimen.object.astype(np.complex64), images))
    assert left < 0.02 * np.linalg.norm(made.misfit(made.constant(), images))


def test_the_misfit_leads_to_the_truth_where_it_is_lit():
    measurement = closed.scan(48, dose=1e6, seed=9)
    made, images = field(measurement), np.arange(48)
    wrong = (TRUTH * np.exp(0.05j * np.cos(0.2 * X))).astype(np.complex64)
    lit = made.conditions(images)[..., 1] > 0.5
    wanted, found = (TRUTH - wrong)[lit], made.misfit(wrong, images)[lit]
    assert np.vdot(wanted, found).real > 0.5 * np.linalg.norm(wanted) * np.linalg.norm(found)
    assert np.linalg.norm(made.misfit(TRUTH, images)[lit]) < 0.3 * np.linalg.norm(found)


def test_steps_lead_from_a_constant_object_to_the_truth_and_explain_patterns_not_seen():
    measurement = closed.scan(96, dose=1e5, seed=2)
    images = np.arange(0, 96, 2)
    made = field(measurement)
    lit = made.conditions(images)[..., 1] > 0.5
    assert lit.sum() > 500
    found = made.improved(made.constant(), images, 60, [1], smoothness_counts=3.0)
    error, flat = np.abs(found - TRUTH)[lit].mean(), np.abs(1 - TRUTH)[lit].mean()
    assert error < 0.25 * flat
    unseen = negative_log_likelihood(measurement, found)
    assert unseen < negative_log_likelihood(measurement, made.constant())
    again = made.improved(made.constant(), images, 60, [1], smoothness_counts=3.0)
    np.testing.assert_array_equal(found, again)
    other = made.improved(made.constant(), images, 60, [2], smoothness_counts=3.0)
    assert np.any(found != other)


def _looked_at(measurement, made: ObjectField, steps: int) -> list[int]:
    """How many patterns each of ``steps`` steps looks at."""
    looked, gradient = [], made._gradient

    def watched(estimate: np.ndarray, images: np.ndarray) -> np.ndarray:
        looked.append(len(images))
        return gradient(estimate, images)

    made._gradient = watched
    everything = np.arange(len(measurement))
    made.improved(made.constant(), everything, steps, [1], smoothness_counts=3.0)
    return looked


def test_a_step_looks_at_as_many_patterns_of_a_pixel_however_long_the_scan():
    place = np.tile([[24.3, 30.6]], (12, 1))
    near = closed.scan_at(place, dose=1e4, seed=11)
    far = closed.scan_at(np.concatenate([place, place + [0, 30]]), dose=1e4, seed=11)
    assert _looked_at(near, field(near, patterns_per_pixel=4), 6) == [4] * 6
    assert _looked_at(far, field(far, patterns_per_pixel=4), 6) == [8] * 6
    assert _looked_at(near, field(near, patterns_per_pixel=1), 12) == [1] * 12
    # Fewer than are asked for: all of them, at every step.
    assert _looked_at(near, field(near, patterns_per_pixel=40), 3) == [12] * 3
    alone = closed.scan_at(place[:1], dose=1e4, seed=11)
    assert _looked_at(alone, field(alone, patterns_per_pixel=40), 2) == [1, 1]


def test_the_prior_keeps_a_change_smooth_and_fades_with_photons():
    def change(dose: float, weight: float) -> np.ndarray:
        measurement = closed.scan(96, dose=dose, seed=3)
        made = field(measurement)
        start = made.constant()
        everything = np.arange(96)
        found = made.improved(start, everything, 40, [1], smoothness_counts=weight)
        return (found - start)[28:44, 30:66]

    def roughness(values: np.ndarray) -> float:
        return float(np.mean(np.abs(np.diff(values, axis=0)) ** 2))

    few, many = 1e2, 1e6
    assert roughness(change(few, 30.0)) < 0.2 * roughness(change(few, 0.0))
    assert roughness(change(many, 30.0)) == pytest.approx(roughness(change(many, 0.0)), rel=0.1)


def test_what_was_measured_better_is_said_to_be():
    measurement = closed.scan(24, dose=1e4, seed=4)
    made = field(measurement)
    few, many = made.conditions(np.arange(8)), made.conditions(np.arange(24))
    assert few.shape == (*CANVAS, 2) and few.dtype == np.float32
    assert np.all(many[..., 0] <= few[..., 0]) and np.any(many[..., 0] < few[..., 0])
    assert few[..., 1].max() == pytest.approx(1.0)
    # 10,000 photons through a Gaussian of sigma 4 / sqrt(2) px, eight times, near one place.
    brightest = 1 / few[..., 0].min() ** 2 - 1
    assert 1e4 / (16 * np.pi) < brightest < 8 * 1e4 / (16 * np.pi)


def test_frames_cut_from_an_object_merge_to_that_object():
    measurement = closed.scan(16, dose=1e4, seed=5)
    made, images = field(measurement), np.array([1, 4, 9])
    pixel, _ = split_positions(measurement.positions_px)
    half = 12
    frames = [TRUTH[y - half : y + half, x - half : x + half] for y, x in pixel[images]]
    merged = made.merged(made.constant(), np.stack(frames), images)
    covered = np.zeros(CANVAS, bool)
    for y, x in pixel[images]:
        covered[y - half : y + half, x - half : x + half] = True
    np.testing.assert_allclose(merged[covered], TRUTH[covered], atol=1e-5)
    np.testing.assert_array_equal(merged[~covered], 1)


def test_frames_hold_the_field_and_the_patterns_of_their_positions():
    measurement = closed.scan(24, dose=1e4, seed=6)
    known = channels(TRUTH, 0.1 * TRUTH, np.ones((*CANVAS, 2), np.float32))
    frames = Frames(measurement, np.arange(4, 24), 4, 24)
    members = np.array([3, 17])
    diffraction, subpixel, offset, cut, turn = frames.inputs(known, members)
    pixel, rest = split_positions(measurement.positions_px)
    for row, image in enumerate(frames.images[members]):
        np.testing.assert_array_equal(diffraction[row, 0], measurement.diffraction[image])
        np.testing.assert_array_equal(subpixel[row, 0], rest[image])
        np.testing.assert_array_equal(offset[row, 0], 0)
        y, x = pixel[image]
        np.testing.assert_array_equal(
            cut[row], known[y - 12 : y + 12, x - 12 : x + 12], err_msg=str(image)
        )
    np.testing.assert_array_equal(turn, TURNS[members % 8])
    assert frames.images.min() >= 4 and len(set(frames.images)) == 20


def test_spread_members_are_apart_and_leave_nothing_far():
    measurement = closed.scan(48, dose=1e4, seed=7)
    frames = Frames(measurement, np.arange(48), 1, 24)
    where = measurement.positions_px[frames.images]
    kept = where[frames.spread(6.0)]
    distance = np.linalg.norm(kept[:, None] - kept[None], axis=2)
    assert distance[~np.eye(len(kept), dtype=bool)].min() >= 6.0
    assert np.linalg.norm(where[:, None] - kept[None], axis=2).min(axis=1).max() < 6.0


def test_the_order_in_which_images_are_stored_does_not_matter():
    measurement = closed.scan(24, dose=1e4, seed=8)
    order = np.random.default_rng([1]).permutation(24)
    one = Frames(measurement, np.arange(24), 4, 24)
    other = Frames(measurement, order, 4, 24)
    np.testing.assert_array_equal(one.images, other.images)


def test_no_pattern_to_explain_was_seen_by_the_estimate():
    """Clusters of eight, and estimates that know all of some clusters: those are left out."""
    measurement = closed.scan(48, dose=1e4, seed=10)
    share = np.concatenate([np.arange(24), np.arange(24, 48, 2)])
    rows = ptychopinn._LossRows(
        groups=closed.clustered_groups(48, 2, 30, seed=1),
        images=np.arange(48),
        shares=[share],
        positions_px=measurement.positions_px,
        targets=4,
        neighbours=6,
        reach_px=9.0,
    )
    drawn = rows.draw(40, [1])
    assert drawn.shape == (40, 2 + 2 + 4)
    assert not np.isin(drawn[:, 4:], share).any()
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(rows.draw(40, [1]), axis=0))
    far = dataclasses.replace(rows, reach_px=1e-3)  # nothing unseen is that near: look further
    assert not np.isin(far.draw(40, [1])[:, 4:], share).any()
