"""The whole matrix of faults, phases and attempts: ``make test-all``, never ``make test``.

Each test is a series: one kind of fault in one phase after the other and again, each judged and
recovered from, then ``fly64 run`` over the study, which has to give what an undisturbed run gives.
Records go to ``$FLY64_FAULT_RECORDS``.
"""

from __future__ import annotations

import pytest

from fly64_assets_tests.recovery.kinds import KINDS, NEED_NAMESPACE, TWO_FORMS, can_unshare
from fly64_assets_tests.recovery.scenes import BY_PHASE, LIGHT_G, SCENES
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import run_series

LIGHT = (BY_PHASE["C"], BY_PHASE["D"], LIGHT_G)
"""Phases without a solver, where an attempt is cheap."""
# The form of an even attempt, while a network trains and while pty-chi reconstructs.
OTHER_FORM = [(4, BY_PHASE["E"]), (4, BY_PHASE["F"])]
ATTEMPTS = [
    *((1, scene) for scene in SCENES),
    *((number, scene) for number in (2, 3) for scene in LIGHT),
]
pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_series(finished, tmp_path, kind):
    if kind in NEED_NAMESPACE and not can_unshare():
        pytest.skip("this machine allows no mount namespaces")
    attempts = ATTEMPTS + (OTHER_FORM if kind in TWO_FORMS else [])
    run_series(Site(finished.study_file, finished.results), tmp_path, kind, attempts)
