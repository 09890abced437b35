"""The whole matrix of faults, phases and attempts: ``make test-all``, never ``make test``.

Each test is a series: one kind of fault in the phases C, D, E, F and G one after the other, each
judged and recovered from, then ``fly64 run`` over the study, which has to give what an undisturbed
run gives. Records go to ``$FLY64_FAULT_RECORDS``.
"""

from __future__ import annotations

import pytest

from fly64_assets_tests.recovery.kinds import KINDS, NEED_NAMESPACE, can_unshare
from fly64_assets_tests.recovery.scenes import LIGHT_G, SCENES
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import run_series

ATTEMPTS = (1, 2)
pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("number", ATTEMPTS)
def test_series(finished, tmp_path, kind, number):
    if kind in NEED_NAMESPACE and not can_unshare():
        pytest.skip("this machine allows no mount namespaces")
    scenes = SCENES if number % 2 else (*SCENES[:-1], LIGHT_G)
    run_series(Site(finished.study_file, finished.results), tmp_path, kind, number, scenes)
