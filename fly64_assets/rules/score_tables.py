"""What the scores of a split are, from the arrays that its comparison left; no rule stands here.

Metrics and alignment are definitions; what is compared, and where, is derived from the contract
(section 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fly64_assets.ptychography.scoring.names import COLUMNS
from fly64_assets.rules.files import Files, metadata
from fly64_assets.study.arms import networks
from fly64_assets.study.model import SPLITS

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.scoring.alignment import Aligned
    from fly64_assets.ptychography.scoring.comparison import ImageScores, ScoreRow

TABLE = "comparison_metrics.csv"
CANVAS, ALIGNED = "reconstructions.npz", "reconstructions_aligned.npz"
RECORDS = "scoring.json"
"""Which no hub has to hold."""
Scores = dict[str, dict[str, dict[str, float | None]]]
"""model -> metric -> {amplitude, phase} or {value}; None where a score is blank."""


def dose_and_view(files: Files) -> tuple[int, str]:
    """Return what the product of a condition is of."""
    at = files.condition
    assert at.dose is not None and at.view is not None
    return at.dose, at.view


def failure(comparison: Files) -> str | None:
    """Return what stopped a comparison; None when it ended well."""
    if not comparison.has(RECORDS):
        return None
    error = comparison.json(RECORDS).get("error")
    return None if error is None else str(error)


def succeeded(files: Files) -> Iterator[Files]:
    """Yield both splits' comparisons, as far as they ended well."""
    for split in SPLITS:
        comparison = files.other(split, "comparison")
        if failure(comparison) is None:
            yield comparison


def score_rows(comparison: Files) -> dict[tuple[str, str], ScoreRow]:
    """Return (model, metric) -> row of the comparison's table.

    Raises:
        InputError: it has not the form of one, or a number that its metric cannot be.
    """
    from fly64_assets.ptychography.scoring.comparison import read_csv

    return {(row.model, row.metric): row for row in read_csv(comparison.path(TABLE))}


def stated_scores(comparison: Files) -> Scores:
    """Return the scores of the comparison's table."""
    scores: Scores = {}
    for (model, metric), row in score_rows(comparison).items():
        columns = COLUMNS if row.value is None else ("value",)
        found = {name: getattr(row, name) for name in columns}
        scores.setdefault(model, {})[metric] = found
    return scores


def area_of(comparison: Files) -> list[int]:
    """Return [y0, y1, x0, x1]: the centres' box less D/2 along the split line."""
    import numpy as np

    from fly64_assets.rules import geometry

    file = f"{comparison.split}.npz"
    view = comparison.other(comparison.split, "overlap_view")
    stored, stated = view.arrays(file, "ycoords", "xcoords", "centre_index"), metadata(view, file)
    positions = np.stack([stored["ycoords"], stored["xcoords"]], axis=1)
    return geometry.scoring_area(
        positions[stored["centre_index"]],
        comparison.split,
        stated["transformations"][0]["parameters"]["split_line_y_px"],
        stated["physics"]["probe_diameter_px"],
    )


def slices(area: list[int]) -> tuple[slice, slice]:
    """Return the rows and columns of an area."""
    y0, y1, x0, x1 = area
    return slice(y0, y1), slice(x0, x1)


def truth_in_area(comparison: Files) -> np.ndarray:
    """Return the truth where scores are taken, (h, w) complex64."""
    return comparison.arrays(CANVAS, "truth")["truth"][slices(area_of(comparison))]


def aligned_again(
    comparison: Files, model: str, *, number: int = 1
) -> tuple[Aligned, ImageScores, ImageScores]:
    """Return a reconstruction aligned to the truth, with its scores, fitted and strict.

    Args:
        comparison: of one split.
        model: an arm.
        number: of a network's training; the first is the published one.

    Raises:
        ValueError: there is nothing to align.
    """
    from fly64_assets.ptychography.scoring.alignment import align
    from fly64_assets.ptychography.scoring.comparison import image_scores

    source, key, file = comparison, model, CANVAS
    if number > 1:
        (network,) = networks([model])
        source, file = comparison.other(*network.replicates_key), "replicates.npz"
        key = f"{comparison.split}_{number}"
    settings, area = comparison.study.scoring, area_of(comparison)

    def make() -> tuple[Aligned, ImageScores, ImageScores]:
        truth, image = comparison.arrays(CANVAS, "truth")["truth"], source.arrays(file, key)[key]
        bound = settings.max_shift_px
        try:
            made = align(image, truth, slices(area), max_shift_px=bound)
        except ValueError as error:
            raise ValueError(f"{model} {key} cannot be aligned: {error}") from None
        inside = truth[slices(area)]
        fitted = image_scores(inside, made.object, settings)
        return made, fitted, image_scores(inside, made.strict, settings, strict=True)

    what = f"aligned {key} {area} {settings.model_dump_json()}"
    return comparison.once(what, {CANVAS: comparison, file: source}, make)


def fitted_scores(comparison: Files, model: str) -> ImageScores:
    """Return the scores of the aligned array that is stored."""
    from fly64_assets.ptychography.scoring.comparison import image_scores

    settings = comparison.study.scoring

    def make() -> ImageScores:
        stored = comparison.arrays(ALIGNED, "truth", model)
        return image_scores(stored["truth"], stored[model], settings)

    what = f"fitted {model} {settings.model_dump_json()}"
    return comparison.once(what, {ALIGNED: comparison}, make)


def number_of_trainings(files: Files) -> Mapping[str, int]:
    """Return each arm's number of trainings, in the study's order."""
    trained = {network.name for network in networks(files.study.arms)}
    return {model: files.study.replicates if model in trained else 1 for model in files.study.arms}
