"""Reading datasets for checks that are not yet functions of `rules.files.Files`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fly64_assets.rules.check import CheckRun

if TYPE_CHECKING:
    from fly64_assets.ptychography.data001.dataset import Dataset


def dataset_file(run: CheckRun) -> str:
    """Return the name of the NPZ of a dataset or of an overlap view."""
    return run.product.files[0]


def read(run: CheckRun) -> Dataset:
    """Read the dataset of a dataset's or an overlap view's record."""
    return run.dataset()
