"""What a file states is held against what it has to state, to the last bit and key."""

from __future__ import annotations

import math

import pytest

from fly64_assets.rules.values import agree, same_cell

EXPECTED = {"a": {"b": 0.1, "c": None, "d": 1}, "rows": [{"x": "text"}, 2.0]}


@pytest.mark.parametrize(
    ("place", "edit"),
    [
        ("a", lambda found: found.update(a=1)),
        ("a.b", lambda found: found["a"].update(b=math.nextafter(0.1, 1))),
        ("a.b", lambda found: found["a"].update(b="0.1")),
        ("a.b", lambda found: found["a"].update(b=math.nan)),
        ("a.b", lambda found: found["a"].pop("b")),
        ("a.c", lambda found: found["a"].update(c=0.0)),
        ("a.d", lambda found: found["a"].update(d=1.0)),
        ("a.d", lambda found: found["a"].update(d=True)),
        ("a.more", lambda found: found["a"].update(more=1)),
        ("rows", lambda found: found["rows"].append(3)),
        ("rows[0].x", lambda found: found["rows"][0].update(x="Text")),
        ("rows[1]", lambda found: found["rows"].reverse()),
    ],
)
def test_any_other_value_key_or_type_is_named_by_its_place(place, edit):
    found = {"a": {**EXPECTED["a"]}, "rows": [{**EXPECTED["rows"][0]}, 2.0]}
    assert all(outcome.ok for outcome in agree("FILE", "rule", EXPECTED, found))
    edit(found)
    outcomes = list(agree("FILE", "rule", EXPECTED, found))
    assert f"FILE {place}" in [outcome.key for outcome in outcomes]
    assert not any(outcome.ok for outcome in outcomes)


def test_a_tolerance_is_of_the_value_and_lets_pass_the_rounding_of_a_zero():
    for expected, found, ok in ((1e3, 1e3 + 1e-6, True), (1e3, 1e3 + 1e-4, False), (0.0, 1e-14, 1)):
        (outcome,) = agree("FILE", "rule", expected, found, relative=1e-8)
        assert outcome.ok == ok


@pytest.mark.parametrize(
    ("cell", "value", "same"),
    [
        *(("0.123456", 0.1234564, True), ("0.123456", 0.1234566, False), ("0.12345", 0.12345, 0)),
        *(("", None, True), ("", 0.0, False), ("0.000000", None, False)),
        *(("inf", math.inf, True), ("nan", math.nan, False)),
    ],
)
def test_a_cell_has_six_decimals_or_is_blank_where_there_is_none(cell, value, same):
    assert same_cell(cell, value) == same
