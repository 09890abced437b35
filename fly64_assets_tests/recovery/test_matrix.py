"""The whole matrix of faults, phases and attempts: ``make test-all``, never ``make test``.

Each test is a series: one kind of fault in one phase after the other, each judged and recovered
from, then ``fly64 run`` over the study, which has to give what an undisturbed run gives. Records go
to ``$FLY64_FAULT_RECORDS``.
"""

from __future__ import annotations

import pytest

from fly64_assets_tests.recovery.kinds import KINDS, NEED_NAMESPACE, TWO_FORMS, can_unshare
from fly64_assets_tests.recovery.scenes import BY_PHASE, LIGHT_G, SCENES
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import run_series

LIGHT = (BY_PHASE["C"], BY_PHASE["D"], LIGHT_G)
"""Phases without a solver, where an attempt is cheap."""
SERIES = [
    *((kind, 1, SCENES) for kind in KINDS),
    *((kind, number, LIGHT) for number in (2, 3) for kind in KINDS),
    # The form of an even attempt, while a network trains and while pty-chi reconstructs.
    *((kind, 4, (BY_PHASE["E"], BY_PHASE["F"])) for kind in TWO_FORMS),
]
pytestmark = pytest.mark.matrix


@pytest.mark.parametrize(
    ("kind", "number", "scenes"), SERIES, ids=[f"{one[0].__name__}-{one[1]}" for one in SERIES]
)
def test_series(finished, tmp_path, kind, number, scenes):
    if kind in NEED_NAMESPACE and not can_unshare():
        pytest.skip("this machine allows no mount namespaces")
    run_series(Site(finished.study_file, finished.results), tmp_path, kind, number, scenes)
