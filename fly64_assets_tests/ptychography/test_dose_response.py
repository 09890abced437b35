"""The dose that a quality needs: interpolation, its limits, and what is never said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fly64_assets.ptychography.dose_response import needed_dose

DOSES = [500, 1000, 2000, 10000]


def test_between_two_doses_a_score_is_linear_in_the_logarithm():
    found = needed_dose([100, 10000], [0.5, 0.9], 0.7)
    assert found.reached == "within"
    assert found.dose == pytest.approx(1000)


def test_a_quality_that_every_dose_reaches_needs_at_most_the_lowest():
    assert needed_dose(DOSES, [0.8, 0.85, 0.9, 0.95], 0.8) == needed_dose([500], [0.8], 0.8)
    assert needed_dose(DOSES, [0.8, 0.85, 0.9, 0.95], 0.8).reached == "everywhere"


def test_a_quality_that_no_dose_keeps_needs_more_than_the_highest():
    found = needed_dose(DOSES, [0.5, 0.9, 0.95, 0.89], 0.9)
    assert (found.dose, found.reached) == (None, "nowhere")


def test_what_is_lost_again_is_not_reached():
    found = needed_dose(DOSES, [0.95, 0.8, 0.9, 0.95], 0.9)
    assert found.dose == pytest.approx(2000)


@given(
    scores=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    quality=st.floats(0.01, 0.99),
)
def test_a_higher_curve_never_needs_more(scores, quality):
    def key(curve):
        found = needed_dose(DOSES, curve, quality)
        return {"everywhere": 0.0, "within": found.dose, "nowhere": math.inf}[found.reached]

    rounding = 1 + 1e-9
    assert key([score + 0.05 for score in scores]) <= key(scores) * rounding
    if key(scores) not in (0.0, math.inf):
        assert DOSES[0] / rounding <= key(scores) <= DOSES[-1] * rounding


@pytest.mark.parametrize(
    ("doses", "scores"),
    [([1000, 500], [0.1, 0.2]), ([0, 500], [0.1, 0.2]), ([500], [0.1, 0.2]), ([], [])],
)
def test_what_is_no_curve_is_refused(doses, scores):
    with pytest.raises(ValueError):
        needed_dose(doses, scores, 0.5)
