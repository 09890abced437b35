"""Tables of a study: needed doses as a paper prints them, and the relations point by point."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fly64_assets.reports.study.content import PLOTS
from fly64_assets.reports.study_tables import (
    needed_rows,
    needed_text,
    page,
    relation_table,
    score_text,
)
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.products import product
from fly64_assets.study.relations import BY_OVERLAP, BY_PHOTONS, FORMATS, RELATIONS
from fly64_assets_tests.study_rows import study_rows

LEVELS = [0.8, 0.95, 0.999]


def _row(reached="within", dose=2503.4, low="everywhere", high="nowhere", **more):
    return {
        **{"reached": reached, "dose": dose, "low_reached": low, "dose_low": None},
        **{"high_reached": high, "dose_high": None, "lowest_dose": 1000, "highest_dose": 10_000},
        **more,
    }


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (_row(), "2,503 (≤ 1,000 to > 10,000)"),
        (_row("everywhere", None, high="everywhere"), "≤ 1,000"),
        (_row("nowhere", None, low="nowhere"), "> 10,000"),
        (
            _row("everywhere", None, high="within", dose_high=6933.1),
            "≤ 1,000 (≤ 1,000 to 6,933)",
        ),
        (_row(low=None, high=None), "2,503"),
    ],
)
def test_a_needed_dose_is_said_with_the_measured_bounds(row, text):
    assert needed_text(row) == text
    # As read back from the CSV file, and as the report's check expects it.
    as_text = {name: "" if value is None else str(value) for name, value in row.items()}
    assert needed_text(as_text) == text


def test_needed_doses_are_sorted_with_the_arms_of_a_quality_together():
    rows = list(needed_rows(study_rows(), LEVELS))
    assert len(rows) == len(LEVELS) * len(MODELS) * len(SPLITS) * 2 * 2
    first = [(row["view"], row["split"], row["component"]) for row in rows[: 2 * len(LEVELS) * 3]]
    assert list(dict.fromkeys(first)) == [
        ("dense", "test", "phase"),
        ("dense", "test", "amplitude"),
    ]
    assert [row["model"] for row in rows[:6]] == [*MODELS, *MODELS]
    assert [row["quality"] for row in rows[:6]] == [0.8] * 3 + [0.95] * 3
    assert {(row["lowest_dose"], row["highest_dose"]) for row in rows} == {(500, 100_000)}


def test_of_a_curve_without_intervals_no_range_is_said():
    table = study_rows()
    bare = (table["model"] == "PtyChi") & (table["dose"] == 2000)
    table.loc[bare, ["low", "high"]] = np.nan
    for row in needed_rows(table, LEVELS):
        assert (row["low_reached"] is None) == (row["model"] == "PtyChi")
        assert (row["high_reached"] is None) == (row["model"] == "PtyChi")
        assert row["reached"] is not None


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_a_relation_holds_every_point_once_and_runs_along_it(relation):
    table = study_rows()
    found = relation_table(table, relation)
    names = ["split", "metric", "component", *relation.columns, "model"]
    assert list(found.columns[: len(names)]) == names and relation.x in names
    assert not found.duplicated(names).any()
    assert len(found) == table["metric"].isin(relation.metrics).sum()
    shown = found[(found["split"] == "test") & (found["component"] == "phase")]
    one = shown[(shown["metric"] == "ms_ssim") & (shown["model"] == "Baseline")]
    if relation is BY_PHOTONS:
        assert one[relation.x].is_monotonic_increasing
    else:
        other = "dose" if relation is BY_OVERLAP else "view"
        assert all(each[relation.x].is_monotonic_increasing for _, each in one.groupby(other))


def test_differences_are_no_points_of_a_relation():
    table = study_rows()
    apart = table.assign(reference="Baseline")
    both = pd.concat([table, apart], ignore_index=True)
    for relation in RELATIONS:
        assert relation_table(both, relation).equals(relation_table(table, relation))
    assert list(needed_rows(both, LEVELS)) == list(needed_rows(table, LEVELS))


def test_a_score_without_an_interval_stands_alone():
    assert score_text(0.96934, 0.95441, 0.98097, "ms_ssim") == "0.969 (0.954 to 0.981)"
    assert score_text(0.96934, np.nan, np.nan, "ms_ssim") == "0.969"


def test_the_page_has_a_row_a_quality_and_a_row_a_point():
    table = study_rows()
    # A condition that an arm lacks leaves its cell empty.
    gone = (table["model"] == "Baseline") & (table["dose"] == 500) & (table["view"] == "sparse")
    table = table[~gone]
    text = page("fly64", table, list(needed_rows(table, LEVELS)), 0.9)
    assert "90 % interval" in text and "95 %" not in text
    blocks = [block for block in text.split("\n\n") if block.startswith("| ")]
    rows = [block.splitlines() for block in blocks]
    assert len(rows) == 1 + len(RELATIONS)
    assert len(rows[0]) == 2 + 2 * 2 * len(LEVELS)
    assert all(len(lines) == 2 + 2 * 2 * 5 for lines in rows[1:])
    for lines in rows:
        assert len({line.count("|") for line in lines}) == 1
        assert lines[0].endswith("| PtychoPINN | Baseline | PtyChi |")
    assert sum("| - |" in line for lines in rows for line in lines) == 2 * len(RELATIONS)
    assert "≤ 1,000" in text, "the lowest dose of the arm that lacks one"


def test_every_relation_is_stored_in_every_form_and_in_the_report():
    files = product("dose_response").files
    for relation in RELATIONS:
        assert {f"{relation.name}.{kind}" for kind in FORMATS} <= set(files)
    assert list(PLOTS) == [relation.name for relation in RELATIONS]
