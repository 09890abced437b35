"""Each kind of fault once, where it costs least: phase D, one after the other.

The whole matrix, with a recovery after every fault, is ``make test-all`` (``test_matrix.py``).
"""

from __future__ import annotations

import pytest

from fly64_assets_tests.recovery.kinds import (
    KINDS,
    NEED_NAMESPACE,
    can_unshare,
    flipped_bit,
    power_cut,
)
from fly64_assets_tests.recovery.scenes import BY_PHASE
from fly64_assets_tests.recovery.site import Site
from fly64_assets_tests.recovery.trial import Bench, attempt

SCENE = BY_PHASE["D"]
TRIES = (1, 3, 5, 7)
"""On a busy machine a step may be over before the fault comes."""
UNHARMED = [kind for kind in KINDS if kind not in (flipped_bit, power_cut)]


@pytest.fixture(scope="module")
def bench(finished, tmp_path_factory):
    """One copy for all: a fault meets what the one before has left."""
    site = Site(finished.study_file, finished.results)
    return Bench.copy_of(site, tmp_path_factory.mktemp("quick"))


@pytest.mark.long
@pytest.mark.parametrize("kind", UNHARMED, ids=lambda kind: kind.__name__)
def test_a_fault_loses_nothing_and_claims_nothing(bench, kind):
    if kind in NEED_NAMESPACE and not can_unshare():
        pytest.skip("this machine allows no mount namespaces")
    for number in TRIES:
        record = attempt(bench, SCENE, kind, number, rerun=False)
        assert record.good, record
        if record.injected:
            return
    pytest.fail(f"it never met the step: {record}")


@pytest.mark.long
@pytest.mark.parametrize(("kind", "number"), [(power_cut, 2), (flipped_bit, 2)])
def test_what_it_harmed_is_made_again(bench, kind, number):
    record = attempt(bench, SCENE, kind, number, rerun=kind is flipped_bit)
    assert record.injected and record.good, record
    assert record.recovered is True or kind is power_cut


def test_in_the_end_all_is_as_undisturbed(bench):
    now = bench.site.standing()
    assert {place: made.data_version for place, made in now.made.items()} == bench.known
