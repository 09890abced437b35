"""The pty-chi adapter: what can be tested without torch, and the run of what cannot.

pty-chi's stack and TensorFlow crash the interpreter when they meet, and the suite is one process.
So everything that reconstructs stands in ``ptychi_engines_checks.py`` and ``epie_checks.py``,
ordinary pytest files that are not collected by their names; one test here runs them with pytest in
a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.errors import InputError, SolverEnvironmentError
from fly64_assets.solvers import ptychi_engines
from fly64_assets.solvers.interface import Measurement
from fly64_assets.study.model import PtyChiSettings
from fly64_assets_tests.solvers.own_process import PARTS, run_checks

CHECKS = tuple(
    Path(__file__).with_name(name) for name in ("ptychi_engines_checks.py", "epie_checks.py")
)
SETTINGS = PtyChiSettings(
    engine="LSQML",
    noise_model="POISSON",
    epochs=1,
    epochs_per_chunk=1,
    batch_fraction=0.2,
    batch_limit=250,
    batching="UNIFORM",
    refine_probe=False,
    refine_from=0.25,
    damping=0.1,
    total_variation=0.0,
)


def small_measurement() -> Measurement:
    """Three patterns of 8 x 8 px at fractional and extreme positions of a 12 x 16 canvas."""
    random = np.random.default_rng([1])
    probe = random.normal(size=(8, 8)) + 1j * random.normal(size=(8, 8))
    return Measurement(
        diffraction=random.uniform(0, 0.1, (3, 8, 8)).astype(np.float32),
        positions_px=np.array([[4.0, 4.0], [5.5, 7.25], [8.0, 12.0]]),
        probe=(probe / np.linalg.norm(probe)).astype(np.complex64),
        intensity_scale=30.0,
        canvas_shape=(12, 16),
    )


@pytest.mark.parametrize("part", PARTS)
def test_everything_that_needs_torch(part):
    # As a step's threads do: the files load torch before any code of ours could ask for it.
    run_checks(CHECKS, part, more_than=10, environment={"OMP_WAIT_POLICY": "PASSIVE"})


def test_importing_the_adapter_imports_no_solver_library():
    code = (
        "import sys, fly64_assets.solvers.ptychi_engines\n"
        "sys.exit(' '.join({'torch', 'ptychi', 'tensorflow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def reconstruct(measurement: Measurement) -> None:
    ptychi_engines.reconstruct(measurement, SETTINGS, seed=1, threads=1, progress=lambda _: None)


def test_a_process_with_tensorflow_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    with pytest.raises(SolverEnvironmentError, match="torch cannot run"):
        reconstruct(small_measurement())


@pytest.mark.parametrize(
    ("key", "change", "problem"),
    [
        ("diffraction", {"diffraction": np.zeros((0, 8, 8), np.float32)}, r"\(0, 8, 8\)"),
        ("diffraction", {"diffraction": np.ones((3, 8, 6), np.float32)}, r"\(3, 8, 6\)"),
        ("diffraction", {"diffraction": np.ones((8, 8), np.float32)}, r"\(8, 8\)"),
        ("diffraction", {"diffraction": np.full((3, 8, 8), np.nan, np.float32)}, "not finite"),
        ("diffraction", {"diffraction": np.zeros((3, 8, 8), np.float32)}, "zero everywhere"),
        ("probe", {"probe": np.zeros((8, 8), np.complex64)}, "zero everywhere"),
        ("probe", {"probe": np.full((8, 8), np.inf, np.complex64)}, "not finite"),
        ("probe", {"probe": np.ones((6, 6), np.complex64)}, r"\(6, 6\), \(8, 8\) is wanted"),
        ("positions_px", {"positions_px": np.full((2, 2), 6.0)}, r"\(2, 2\), \(3, 2\) is wanted"),
        ("positions_px", {"positions_px": np.full((3, 2), np.nan)}, "not finite"),
        ("intensity_scale", {"intensity_scale": float("inf")}, "not finite"),
        ("intensity_scale", {"intensity_scale": 0.0}, "zero everywhere"),
        ("canvas_shape", {"canvas_shape": (12, 17)}, r"\(12, 17\) with N = 8: even"),
        ("canvas_shape", {"canvas_shape": (12, 6)}, "no smaller than N"),
    ],
)
def test_a_measurement_that_breaks_a_rule_is_refused_by_key(key, change, problem):
    with pytest.raises(InputError, match=problem) as refused:
        reconstruct(replace(small_measurement(), **change))
    assert refused.value.key == key


@pytest.mark.parametrize("outside", [(3.9, 6), (8.1, 6), (6, 3.9), (6, 12.1)])
def test_a_patch_outside_the_canvas_is_refused_on_each_side(outside):
    measurement = small_measurement()
    measurement.positions_px[1] = outside
    with pytest.raises(InputError, match="1 of 3 patches") as refused:
        reconstruct(measurement)
    assert str(list(map(float, outside))) in str(refused.value)


@given(n=st.integers(1, 6000), fraction=st.floats(0.01, 1), limit=st.integers(1, 8000))
@settings(max_examples=60, deadline=None)
def test_mini_batches_are_equal_but_for_one_image_each(n, fraction, limit):
    size = ptychi_engines.batch_size_for(n, fraction, limit)
    batches, wanted = -(-n // size), max(np.ceil(1 / fraction), np.ceil(n / limit))
    assert 1 <= size <= min(n, limit)
    assert batches <= wanted
    assert size - 1 <= fraction * n
    assert batches * size - n < min(n, wanted)


def test_no_remainder_batch_at_the_studys_own_size():
    assert ptychi_engines.batch_size_for(1264, 0.2, 1264) == 253
    sizes = [ptychi_engines.batch_size_for(n, 0.2, 250) for n in range(1, 12)]
    assert sizes == [1] * 5 + [2] * 5 + [3]


def test_a_long_scan_has_more_mini_batches_and_not_larger_ones():
    assert ptychi_engines.batch_size_for(2500, 0.1, 250) == 250
    assert ptychi_engines.batch_size_for(2510, 0.1, 250) == 229  # 11 of them
    assert ptychi_engines.batch_size_for(10_000, 0.1, 250) == 250


def test_losses_are_the_log_likelihood_above_a_perfect_prediction():
    random = np.random.default_rng([2])
    predicted = random.gamma(1.0, 3.0, (8, 8))
    counts = random.poisson(predicted, (5, 8, 8)).astype(np.float32)
    log_likelihood = scipy.stats.poisson.logpmf
    expected = np.mean(log_likelihood(counts, counts) - log_likelihood(counts, predicted))
    loss, offset = ptychi_engines._losses(counts, predicted, "POISSON")
    assert loss == pytest.approx(expected, rel=1e-5)
    without_factorials = np.mean(predicted - counts * np.log(predicted))
    assert loss + offset == pytest.approx(without_factorials, rel=1e-5)

    loss, offset = ptychi_engines._losses(counts, predicted, "GAUSSIAN")
    normal = scipy.stats.norm(scale=0.5).logpdf
    expected = normal(0) - np.mean(normal(np.sqrt(counts) - np.sqrt(predicted)))
    assert loss == pytest.approx(expected, rel=1e-5)
    assert offset == 0


def test_photons_per_pixel_of_a_uniform_illumination():
    flat = np.ones((8, 8), np.complex64)
    one = replace(
        small_measurement(),
        probe=flat,
        diffraction=np.full((1, 8, 8), 0.5, np.float32),
        positions_px=np.array([[6.0, 8.0]]),
    )
    assert ptychi_engines.photons_per_pixel(one) == pytest.approx((0.5 * 30) ** 2)


@given(repeats=st.integers(1, 4), gain=st.floats(0.1, 10), dy=st.integers(-2, 2))
@settings(max_examples=20, deadline=None)
def test_photons_per_pixel_follows_dose_and_overlap_not_place(repeats, gain, dy):
    one = replace(
        small_measurement(),
        diffraction=small_measurement().diffraction[:1],
        positions_px=np.array([[6.0, 8.0]]),
    )
    changed = replace(
        one,
        diffraction=np.repeat(one.diffraction, repeats, axis=0),
        positions_px=np.repeat(one.positions_px + [dy, 0], repeats, axis=0),
        intensity_scale=one.intensity_scale * gain,
    )
    expected = ptychi_engines.photons_per_pixel(one) * repeats * gain**2
    assert ptychi_engines.photons_per_pixel(changed) == pytest.approx(expected)


def test_divergence_names_the_epoch():
    error = ptychi_engines.SolverDivergedError("LSQML", 17, "the loss is nan")
    assert str(error) == "LSQML diverged in epoch 17: the loss is nan"
    assert error.epoch == 17
