"""Real reconstructions with pty-chi's ePIE, on the oracle of ``ptychi_engines_checks.py``.

Run by ``test_ptychi_engines.py`` in a process of its own, like that file.
"""

from __future__ import annotations

import numpy as np
import pytest

from fly64_assets.solvers import ptychi_engines
from fly64_assets.solvers.interface import Measurement
from fly64_assets.solvers.ptychi_engines import SolverDivergedError
from fly64_assets.study.model import EpieSettings
from fly64_assets_tests.solvers.memory_checkpoint import MemoryCheckpoint
from fly64_assets_tests.solvers.ptychi_engines_checks import (
    SEED,
    error_without_global_phase,
    ignore,
    measure,
)

pytestmark = pytest.mark.long
FEW_EPOCHS = EpieSettings(
    engine="EPIE",
    epochs=6,
    epochs_per_chunk=3,
    batch_fraction=0.1,
    batch_limit=250,
    batching="UNIFORM",
    refine_probe=False,
    refine_from=0.25,
    object_step=1.0,
    probe_step=0.5,
    total_variation=0.0,
)


def run(measurement: Measurement, *, checkpoint=None, **changes):
    return ptychi_engines.reconstruct(
        measurement,
        FEW_EPOCHS.model_copy(update=changes),
        seed=SEED,
        threads=1,
        progress=ignore,
        checkpoint=checkpoint or MemoryCheckpoint(),
    )


def test_the_object_comes_out_in_place_and_to_scale_behind_the_known_probe():
    measurement = measure(n=80)
    few, many = (run(measurement, batch_fraction=0.2, epochs=epochs) for epochs in (3, 16))
    assert error_without_global_phase(measurement, many.object) < 0.08
    assert error_without_global_phase(measurement, few.object) > 2 * error_without_global_phase(
        measurement, many.object
    )
    np.testing.assert_allclose(many.probe, measurement.probe, rtol=1e-4, atol=1e-7)
    assert (many.algorithm, many.epochs, many.probe_refined) == ("EPIE", 16, False)
    assert many.loss_history[-1][1] < 0.02 * few.loss_history[0][1]


def test_the_first_loss_is_the_squared_difference_of_amplitudes_without_an_object():
    measurement = measure(n=12)
    whole = run(measurement, epochs=1, batch_fraction=1.0)
    size = measurement.patch_size
    bare = np.abs(np.fft.fftshift(np.fft.fft2(measurement.probe))) / size
    expected = np.mean(
        ((measurement.diffraction - bare) * measurement.intensity_scale) ** 2, dtype=np.float64
    )
    assert whole.loss_history[0][1] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("refine_probe", [False, True])
def test_going_on_from_a_chunk_gives_the_same_bits(refine_probe):
    measurement, whole = measure(n=20, dose=3000, noise=True), MemoryCheckpoint()
    uninterrupted = run(measurement, checkpoint=whole, refine_probe=refine_probe)
    rest = MemoryCheckpoint(whole.saved[0])
    resumed = run(measurement, checkpoint=rest, refine_probe=refine_probe)
    assert [snapshot.done for snapshot in rest.saved] == [6]
    np.testing.assert_array_equal(resumed.object, uninterrupted.object)
    np.testing.assert_array_equal(resumed.probe, uninterrupted.probe)
    assert resumed.loss_history == uninterrupted.loss_history
    moved = not np.allclose(resumed.probe, measurement.probe, rtol=1e-4, atol=1e-7)
    assert moved is refine_probe


def test_shifting_a_known_probe_once_changes_no_bit(monkeypatch):
    measurement = measure(n=40, dose=1000, noise=True)
    fast = run(measurement)
    monkeypatch.setattr(ptychi_engines, "_shift_probe_once", lambda reconstructor: None)
    plain = run(measurement)
    np.testing.assert_array_equal(fast.object, plain.object)
    assert fast.loss_history == plain.loss_history


def test_steps_that_add_up_to_too_much_are_a_divergence():
    with pytest.raises(SolverDivergedError, match="^EPIE diverged in epoch"):
        run(measure(n=80), batch_fraction=1.0, object_step=2.0, epochs=40)
