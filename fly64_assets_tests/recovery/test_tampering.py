"""Whoever alters what is finished is found out, and everything that speaks of it says the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fly64_assets_tests.conftest import FinishedRun
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.tampering import Finished, series

COUNT, SEED = 200, 1


@pytest.mark.matrix
def test_no_tampering_passes_for_good(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLY64_RESULTS", str(finished.results))
    source = Finished.of(Site(finished.study_file, finished.results), tmp_path)
    found = series(source, tmp_path, COUNT, SEED, os.cpu_count() or 1)
    assert [one for one in found if one["false"] or one["disagree"]] == []
    assert len(found) == COUNT
