"""Tables that the verifier writes down for itself are those of the package."""

from __future__ import annotations

import hashlib

import pytest

from fly64_assets.ptychography.data001.npz import array_digest, read_npz
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.logs import FINISHED
from fly64_assets.rules.models import RIM_PX
from fly64_assets.rules.store import checks_of
from fly64_assets.solvers.resampling import TAPS
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.products import PHASES, PRODUCTS, log_file
from fly64_assets.study.specimen_origins import FOLDER, ORIGINS, licence_text, specimen_origin


def test_the_rows_of_a_check_report_are_the_checks_of_the_catalogue():
    """In the order of the catalogue, in which the report lists them."""
    expected = [
        (item.name, check.name, check.severity.value, check.name in item.blocking_checks)
        for item in PRODUCTS
        if item.stage != "study"
        for check in checks_of(item)
    ]
    written = [
        (asset, name, *row)
        for asset, rows in contract.CHECKED.items()
        for name, row in rows.items()
    ]
    assert written == expected
    assert len(written) > 80


def test_every_scored_product_has_the_log_of_its_step():
    expected = {log_file(item): item.name for item in PRODUCTS if item.group in PHASES}
    assert {name: asset for name, (asset, _) in contract.STEPS.items()} == expected


@pytest.mark.parametrize("took", ["0.83ms", "533ms", "2.05s", "4m52s", "34m12s", "1h4m"])
def test_a_step_may_take_any_time(took: str):
    """In the forms that Dagster writes a duration."""
    assert FINISHED.fullmatch(f'DEBUG Finished execution of step "pinn_model" in {took}.')


def test_shipped_specimens_have_their_origin_and_licence():
    assert {known.file for known in contract.SPECIMENS.values()} == set(ORIGINS)
    for sha256, known in contract.SPECIMENS.items():
        assert sha256_of(FOLDER / known.file) == sha256
        stored = read_npz(FOLDER / known.file, ["objectGuess"])
        assert array_digest(stored) == known.object_digest
        assert specimen_origin("mine.npz", sha256) == {
            "source": "mine.npz",
            "sha256": sha256,
            "shipped_as": known.file,
            "licence": contract.LICENCE,
            "licence_file": contract.LICENCE_FILE,
            "origin": known.origin,
        }
    assert contract.LICENCE_ID.endswith(f"/{contract.LICENCE}")
    assert hashlib.sha256(licence_text().encode()).hexdigest() == contract.LICENCE_SHA256


def test_of_any_other_specimen_nothing_is_claimed():
    stated = specimen_origin("mine.npz", "0" * 64)
    assert (stated["licence"], stated["origin"]) == (contract.UNKNOWN, contract.UNKNOWN)
    assert stated["shipped_as"] is None and stated["licence_file"] is None


def test_the_rim_of_a_frame_is_that_of_the_resampling():
    assert RIM_PX == TAPS
