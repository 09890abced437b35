"""What the verifier takes for granted about other programs and modules."""

from __future__ import annotations

import pytest

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.logs import FINISHED
from fly64_assets.rules.models import RIM_PX
from fly64_assets.solvers.resampling import TAPS
from fly64_assets.study.arms import NAMES
from fly64_assets.study.specimen_origins import specimen_origin


@pytest.mark.parametrize("took", ["0.83ms", "533ms", "2.05s", "4m52s", "34m12s", "1h4m"])
def test_a_step_may_take_any_time(took: str):
    """In the forms that Dagster writes a duration."""
    assert FINISHED.fullmatch(f'DEBUG Finished execution of step "pinn_model" in {took}.')


def test_a_hub_has_files_of_its_arms_only():
    few, all_of_them = (contract.required_files(1000, "dense", arms) for arms in (NAMES[:3], NAMES))
    more = all_of_them - few
    assert len(few) > 60 and few < all_of_them
    assert all("gs1" in path or "epie" in path.lower() for path in more)
    assert "data/phase_c/run_manifest.json" in few and "summary/summary.md" in few
    scoring = "analysis/dose_1000/dense/test/scoring.json"
    assert scoring in contract.allowed_files(1000, "dense", NAMES) and scoring not in all_of_them


def test_of_any_other_specimen_nothing_is_claimed():
    stated = specimen_origin("mine.npz", "0" * 64)
    assert (stated["licence"], stated["origin"]) == ("unknown", "unknown")
    assert stated["shipped_as"] is None and stated["licence_file"] is None


def test_the_rim_of_a_frame_is_that_of_the_resampling():
    assert RIM_PX == TAPS
