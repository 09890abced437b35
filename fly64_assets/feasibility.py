"""What each view will hold, computed from the scan before anything runs. Knows no Dagster.

Scan positions follow from the study and the canvas alone, so views can be selected, counted and
refused without a single simulated photon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fly64_assets.errors import InfeasibleView
from fly64_assets.study import SPLITS, Study, specimen_path


@dataclass(frozen=True)
class ViewCounts:
    """One split of one view: images, groups, and the overlap reached (None without a target)."""

    n_images: int
    n_centres: int
    n_training_groups: int
    reached_overlap: float | None


class ViewPreview:
    """Counts of every view of a study; the scan is made once.

    Args:
        study: the study.
        study_file: where it was read from.
    """

    def __init__(self, study: Study, study_file: Path) -> None:
        self.study, self.study_file = study, study_file

    @cached_property
    def _scan(self):
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
        return {split: positions[index] for split, index in by_split.items()}, float(diameter)

    def scan_counts(self) -> dict[str, int]:
        """split -> positions of its half of the scan."""
        scan, _ = self._scan
        return {split: len(scan[split]) for split in SPLITS}

    def counts(self, view: str) -> dict[str, ViewCounts]:
        """split -> what the view will hold.

        Raises:
            InfeasibleView: the scan cannot deliver the view, with the numbers.
            InputError: the specimen breaks a rule.
        """
        from fly64_assets.ptychography.overlap import select_view

        scan, diameter = self._scan
        counts = {}
        for split in SPLITS:
            try:
                selected = select_view(
                    scan[split],
                    self.study.views[view],
                    self.study.overlap,
                    gridsize=self.study.gridsize,
                    diameter_px=diameter,
                    seeds=self.study.seeds,
                )
            except InfeasibleView as error:
                raise InfeasibleView(
                    self.study_file, f"views.{view}", f"{split}: {error.problem}"
                ) from None
            counts[split] = ViewCounts(
                len(selected.image_index),
                len(selected.centre_index),
                len(selected.training_groups),
                selected.reached_overlap,
            )
        return counts
