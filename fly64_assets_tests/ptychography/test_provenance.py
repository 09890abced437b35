"""Provenance that only grows, and what of it makes no other data."""

from __future__ import annotations

import copy

import pytest

from fly64_assets.ptychography.data001.metadata import (
    SPECIMEN,
    is_extension_of,
    new_metadata,
    versioned,
    with_transformation,
)

TIME = "2026-01-02T03:04:05Z"


def _simulated() -> dict:
    metadata = new_metadata(
        created=TIME,
        program="fly64_assets",
        program_version="1",
        git_commit=None,
        nphotons=1000.0,
        patch_size=64,
        seed=42,
        intensity_scale=30.0,
        probe_diameter_px=35.0,
    )
    metadata[SPECIMEN] = {"source": "mine.npz", "licence": "unknown"}
    return _with(metadata, "simulate")


def _with(metadata: dict, tool: str) -> dict:
    return with_transformation(
        metadata,
        tool=tool,
        version="1",
        time=TIME,
        parameters={"K": 7},
        inputs={"specimen": "0" * 64},
    )


def test_one_more_record_is_an_extension_and_what_it_extends_is_not():
    earlier = _simulated()
    later = _with(_with(earlier, "overlap_view"), "train")
    assert is_extension_of(earlier["transformations"], later["transformations"])
    assert not is_extension_of(later["transformations"], earlier["transformations"])
    assert not is_extension_of(earlier["transformations"], earlier["transformations"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda records: records[0].update(time="2026-01-02T03:04:06Z"),
        lambda records: records[0]["parameters"].update(K=8),
        lambda records: records[0]["inputs"].update(specimen="1" * 64),
        lambda records: records.pop(0),
        lambda records: records.reverse(),
    ],
    ids=["time", "parameter", "input", "dropped", "reordered"],
)
def test_an_edited_earlier_record_is_no_extension(edit):
    earlier = _simulated()
    later = _with(earlier, "overlap_view")["transformations"]
    edited = copy.deepcopy(later)
    edit(edited)
    assert is_extension_of(earlier["transformations"], later)
    assert not is_extension_of(earlier["transformations"], edited)


@pytest.mark.parametrize("other", [None, {}, "simulate", ["simulate"]])
def test_what_is_no_list_of_records_is_no_extension(other):
    records = _simulated()["transformations"]
    assert not is_extension_of(records, other)
    assert not is_extension_of(other, records)


def test_the_name_and_licence_of_a_specimen_make_no_other_data():
    metadata = _simulated()
    renamed = {**metadata, SPECIMEN: {"source": "yours.npz", "licence": "CC0-1.0"}}
    assert versioned(metadata) == versioned(renamed)
    assert SPECIMEN in metadata, "it is left out of the version, not of the file"
