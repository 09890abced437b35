"""Datasets that several tests of imports start from."""

from __future__ import annotations

import pytest

from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets_tests.ptychography.foreign_files import Arrays, legacy, simulate


@pytest.fixture(scope="package")
def sound(tmp_path_factory) -> Arrays:
    """A simulated DATA-001 file of 45 frames."""
    return read_npz(simulate(tmp_path_factory.mktemp("sound")))


@pytest.fixture
def bare(sound: Arrays) -> Arrays:
    """The same without metadata; a copy that a test may spoil."""
    return {key: array.copy() for key, array in legacy(sound, [], "missing").items()}


@pytest.fixture(scope="package")
def bright(tmp_path_factory) -> Arrays:
    """The same at 100,000 photons."""
    return read_npz(simulate(tmp_path_factory.mktemp("bright"), dose=100_000))
