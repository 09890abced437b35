"""Everybody at once for ten minutes: ``make test-all``."""

from __future__ import annotations

import json

import pytest

from fly64_assets_tests.recovery.at_once import play, prepare


@pytest.mark.matrix
def test_command_lines_clicks_backfills_and_nights_at_once(tmp_path):
    site, known = prepare(tmp_path)
    report = play(site, known, seed=1, minutes=10)
    assert not report["wrong"], json.dumps(report, indent=2)
    assert report["done"]["run"] and report["done"]["backfill"] and report["done"]["signal"]
