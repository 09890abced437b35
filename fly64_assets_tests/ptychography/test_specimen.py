"""Specimens: the shipped ones, and one refusal per rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.ptychography.overlap import probe_diameter
from fly64_assets.ptychography.specimen import load_specimen
from fly64_assets.study.specimen_origins import FOLDER

N = 8


def _arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    object_ = generator.random((20, 24)) + 1j * generator.random((20, 24))
    probe = 3 * generator.random((N, N)) + 0j
    return {"objectGuess": object_.astype(np.complex64), "probeGuess": probe.astype(np.complex64)}


@pytest.mark.parametrize("name", ["labyrinth", "siemens_star"])
def test_shipped_specimens(name: str) -> None:
    specimen = load_specimen(FOLDER / f"{name}.npz", patch_size=64)
    assert specimen.object.shape == (232, 232)
    assert specimen.probe.shape == (64, 64)
    assert specimen.original_probe_power == pytest.approx(1, abs=1e-5)
    assert probe_diameter(specimen.probe, 0.9) == pytest.approx(35, abs=0.5)
    assert (FOLDER / "LICENSE.BSD-3-Clause.txt").read_text().startswith("Copyright")


def test_the_probe_gets_unit_power_and_keeps_its_shape(tmp_path: Path) -> None:
    arrays = _arrays()
    write_npz(tmp_path / "s.npz", arrays)
    specimen = load_specimen(tmp_path / "s.npz", patch_size=N)
    power = np.sum(np.abs(arrays["probeGuess"].astype(np.complex128)) ** 2)
    assert specimen.original_probe_power == pytest.approx(power)
    assert np.sum(np.abs(specimen.probe.astype(np.complex128)) ** 2) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(specimen.probe * np.sqrt(power), arrays["probeGuess"], rtol=1e-6)
    np.testing.assert_array_equal(specimen.object, arrays["objectGuess"])
    assert specimen.probe.dtype == specimen.object.dtype == np.complex64


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    arrays = _arrays()
    write_npz(tmp_path / "a.npz", arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    arrays["objectGuess"][3, 4] += 1
    write_npz(tmp_path / "c.npz", arrays)
    a, b, c = (
        load_specimen(tmp_path / f"{name}.npz", patch_size=N).source_sha256 for name in "abc"
    )
    assert a == b != c


def _set(key: str, value) -> callable:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[key] = value(arrays[key])

    return change


def _with(index: tuple[int, int], value: complex):
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        (lambda arrays: arrays.pop("objectGuess"), "objectGuess", "missing"),
        (lambda arrays: arrays.pop("probeGuess"), "probeGuess", "missing"),
        (
            _set("objectGuess", lambda array: array.astype(np.complex128)),
            "objectGuess",
            "complex128, a specimen wants complex64; `fly64 import`",
        ),
        (_set("probeGuess", lambda array: array.real), "probeGuess", "dtype is float32"),
        (_set("probeGuess", lambda array: array[None]), "probeGuess", "two dimensions"),
        (_set("objectGuess", _with((1, 1), np.nan)), "objectGuess", "1 values are not finite"),
        (_set("probeGuess", _with((1, 1), np.inf)), "probeGuess", "1 values are not finite"),
        (_set("objectGuess", lambda array: array[:-1]), "objectGuess", "even sides"),
        (_set("objectGuess", lambda array: array[:, :-1]), "objectGuess", "even sides"),
        (_set("objectGuess", lambda array: array[:N]), "objectGuess", "larger than N = 8"),
        (_set("probeGuess", lambda array: array[:6, :6]), "probeGuess", "different from N = 8"),
        (_set("probeGuess", np.zeros_like), "probeGuess", "probe is zero everywhere"),
    ],
)
def test_broken_specimens_are_refused(tmp_path: Path, change, key: str, problem: str) -> None:
    arrays = _arrays()
    change(arrays)
    path = tmp_path / "broken.npz"
    write_npz(path, arrays)
    with pytest.raises(InputError, match=problem) as caught:
        load_specimen(path, patch_size=N)
    assert (caught.value.source, caught.value.key) == (str(path), key)


def test_a_specimen_may_hold_more(tmp_path: Path) -> None:
    write_npz(tmp_path / "more.npz", {**_arrays(), "note": np.array("unused")})
    assert load_specimen(tmp_path / "more.npz", patch_size=N).object.shape == (20, 24)
    assert set(read_npz(tmp_path / "more.npz")) == {"objectGuess", "probeGuess", "note"}
