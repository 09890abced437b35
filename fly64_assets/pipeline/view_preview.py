"""What each view will hold, computed from the scan before anything runs. Knows no Dagster.

Scan positions follow from the study and the canvas alone, so views can be selected, counted and
refused without a single simulated photon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.errors import InfeasibleView, InputError
from fly64_assets.study.arms import networks
from fly64_assets.study.model import SPLITS, Split, Study, specimen_path

if TYPE_CHECKING:
    from fly64_assets.ptychography.overlap import View


@dataclass(frozen=True)
class ViewCounts:
    """One split of one view: images, groups, and the overlap reached (None without a target).

    ``without_contrast``: components that are constant in the scored area, so that scores are not
    defined.
    """

    n_images: int
    n_centres: int
    n_training_groups: int
    reached_overlap: float | None
    without_contrast: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Scan:
    """The scan: object, positions of each half (n, 2) in px, split line and D in px."""

    object: np.ndarray
    positions_px: dict[str, np.ndarray]
    line_y_px: float
    diameter_px: float


class ViewPreview:
    """Counts of every view of a study; the scan is made once.

    Args:
        study: the study.
        study_file: where it was read from.
    """

    def __init__(self, study: Study, study_file: Path) -> None:
        self.study, self.study_file = study, study_file

    @cached_property
    def _scan(self) -> _Scan:
        from fly64_assets.ptychography.overlap import probe_diameter
        from fly64_assets.ptychography.simulation import scan_positions, split_halves
        from fly64_assets.ptychography.specimen import load_specimen

        study, settings = self.study, self.study.simulation
        specimen = load_specimen(specimen_path(study, self.study_file), patch_size=study.patch_size)
        positions = scan_positions(
            settings.positions,
            specimen.object.shape,
            study.patch_size,
            margin_px=settings.margin_px,
            seed=study.seeds.simulation,
        )
        halves = split_halves(positions, guard_px=settings.split_guard_px)
        diameter = study.overlap.probe_diameter_px
        if diameter == "auto":
            diameter = probe_diameter(specimen.probe, study.overlap.probe_power_fraction)
        by_split = {"train": halves.train_index, "test": halves.test_index}
        return _Scan(
            specimen.object,
            {split: positions[index] for split, index in by_split.items()},
            halves.line_y_px,
            float(diameter),
        )

    def scan_counts(self) -> dict[str, int]:
        """Count the positions of each half of the scan."""
        return {split: len(self._scan.positions_px[split]) for split in SPLITS}

    def counts(self, view: str) -> dict[str, ViewCounts]:
        """Say what each half of a view will hold.

        Raises:
            InfeasibleView: the scan cannot deliver the view, nothing of it could be held out in
                training, or its area cannot be scored; with the numbers.
            InputError: the specimen breaks a rule, or is constant in the scored area.
        """
        from fly64_assets.ptychography.overlap import select_view

        counts: dict[str, ViewCounts] = {}
        for split in SPLITS:
            try:
                selected = select_view(
                    self._scan.positions_px[split],
                    self.study.views[view],
                    self.study.overlap,
                    gridsize=self.study.gridsize,
                    diameter_px=self._scan.diameter_px,
                    seeds=self.study.seeds,
                )
                ranges = self._data_ranges(split, selected)
                if split == "train":
                    self._require_training(selected)
            except InfeasibleView as error:
                raise InfeasibleView(
                    self.study_file, f"views.{view}", f"{split}: {error.problem}"
                ) from None
            constant = tuple(name for name, span in ranges.items() if span is None)
            if len(constant) == len(ranges):
                raise InputError(
                    specimen_path(self.study, self.study_file),
                    "objectGuess",
                    f"is constant in the scored area of {view} {split}: no score would be defined",
                )
            counts[split] = ViewCounts(
                len(selected.image_index),
                len(selected.centre_index),
                len(selected.training_groups),
                selected.reached_overlap,
                constant,
            )
        return counts

    def _data_ranges(self, split: Split, selected: View) -> dict[str, float | None]:
        """See `scoring.data_ranges`, of an area that can be scored and resampled."""
        from fly64_assets.ptychography.scoring.block_bootstrap import require_blocks
        from fly64_assets.ptychography.scoring.comparison import data_ranges, scoring_area

        scan, settings = self._scan, self.study.statistics
        centres = scan.positions_px[split][selected.centre_index_in_split]
        area = scoring_area(centres, split, scan.line_y_px, scan.diameter_px)
        try:
            require_blocks(area.shape, settings.block_px, settings.resamples)
        except ValueError as error:
            raise InfeasibleView("", "", f"statistics: {error}") from None
        return data_ranges(scan.object[area.slices].astype(np.complex128))

    def _require_training(self, selected: View) -> None:
        from fly64_assets.solvers.grouping import hold_out

        positions = self._scan.positions_px["train"][selected.image_index]
        images = np.arange(len(positions))[:, None]
        for network in networks(self.study.arms):
            alone = network.gridsize_in(self.study.gridsize) == 1
            settings = getattr(self.study, network.section)
            groups = images if alone else selected.training_groups
            try:
                hold_out(positions, groups, settings.validation_fraction)
            except ValueError as error:
                raise InfeasibleView("", "", f"{network.name}: {error}") from None

    def undefined(self, counts: Mapping[str, Mapping[str, ViewCounts]]) -> list[str]:
        """Return what of the scores is not defined, a line a component; ``counts`` by view."""
        where: dict[str, list[str]] = {}
        for view, splits in counts.items():
            for split, count in splits.items():
                for component in count.without_contrast:
                    where.setdefault(component, []).append(f"{view} {split}")
        number = sum(len(splits) for splits in counts.values())
        return [
            f"{component}: constant in the scored area"
            + ("" if len(places) == number else f" of {', '.join(places)}")
            + ": its scores are not defined"
            for component, places in where.items()
        ]
