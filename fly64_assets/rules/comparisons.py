"""Rules of one split's comparison. None blocks: the manifest has to be written even of a failure.

What would make scores wrong is judged at the manifest, where it blocks (``scores.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, Severity
from fly64_assets.rules.files import Files, equals
from fly64_assets.rules.provenance import recorded_settings
from fly64_assets.rules.reconstructions import image_rules
from fly64_assets.rules.score_tables import (
    ALIGNED,
    CANVAS,
    aligned_again,
    failure,
    fitted_scores,
    score_rows,
)

if TYPE_CHECKING:
    import numpy as np

LEAST_CONTRAST = 0.02
"""Of the truth's standard deviation. Baseline after two epochs on a few dozen patterns shows .06
of it in amplitude, any that was trained in earnest .8; a constant with a little noise, .001."""


def _reconstructions(files: Files) -> Iterable[RuleOutcome]:
    import numpy as np

    error = failure(files)
    yield equals("comparison", "ended without an error", "none", error or "none")
    if error is not None:
        return
    for file, more in ((CANVAS, ["truth"]), (ALIGNED, ["area", "truth"])):
        stored = files.arrays(file)
        yield equals(file, "its arrays", sorted([*files.study.arms, *more]), sorted(stored))
        images = {key: image for key, image in stored.items() if key != "area"}
        form = "complex64", stored["truth"].shape
        for key, image in images.items():
            yield equals(f"{file} {key}", "dtype and shape", form, (str(image.dtype), image.shape))
            if key != "truth":
                yield from image_rules(f"{file} {key}", image)
        for one, other in combinations(images, 2):
            same = "one image" if np.array_equal(images[one], images[other]) else "two images"
            yield equals(f"{file} {one} and {other}", "are two images", "two images", same)


def _registration(files: Files) -> Iterable[RuleOutcome]:
    if failure(files) is not None:
        return
    rows, bound = score_rows(files), files.study.scoring.max_shift_px
    for model in files.study.arms:
        dy, dx, applied = (
            rows[model, f"registration_{name}"].value
            for name in ("offset_dy", "offset_dx", "applied")
        )
        yield RuleOutcome(
            model,
            "registration shift bounded",
            f"at most {bound} px",
            f"({dy:.2f}, {dx:.2f}) px",
            applied == 1,
        )


def _ms_ssim_terms(files: Files) -> Iterable[RuleOutcome]:
    if failure(files) is not None:
        return
    for model in files.study.arms:
        strict = aligned_again(files, model)[2]
        for scores in (fitted_scores(files, model), strict):
            for name, found in scores.ms_ssim.items():
                yield RuleOutcome(
                    " ".join((model, *name)),
                    "no term is negative, so that none counts as 0",
                    f"{len(found.terms)} >= 0",
                    ", ".join(f"{term:.3f}" for term in found.terms),
                    min(found.terms) >= 0,
                )


def _contrast(files: Files) -> Iterable[RuleOutcome]:
    if failure(files) is not None:
        return
    aligned = files.arrays(ALIGNED)
    for model in files.study.arms:
        if model in aligned:
            yield from contrast_rules(model, aligned[model], aligned["truth"])


def contrast_rules(name: str, aligned: np.ndarray, truth: np.ndarray) -> Iterable[RuleOutcome]:
    """Ask of amplitude and phase each to vary by a small part of what the truth's vary by.

    A network can collapse to almost a constant: finite, not zero, its pixels not quite equal.
    Scores would be low and no rule of a single image broken.

    Args:
        name: of the model, or of its training.
        aligned: (h, w) complex, in the scoring area, without its fitted ambiguities.
        truth: (h, w) complex.
    """
    import numpy as np

    from fly64_assets.ptychography.scoring.comparison import phases

    there, found = phases(truth, aligned)
    for component, wanted, image in (
        ("amplitude", np.abs(truth), np.abs(aligned)),
        ("phase", there, found),
    ):
        least, spread = LEAST_CONTRAST * float(wanted.std()), float(image.std())
        yield RuleOutcome(
            f"{name} {component}",
            f"not nearly constant: standard deviation {LEAST_CONTRAST:g} of the truth's",
            f">= {least:.3g}",
            f"{spread:.3g}",
            spread >= least,
        )


CHECKS = (
    Check(
        "reconstructions",
        _reconstructions,
        "The comparison ended well; every model's image is its own, complex64, finite and varies.",
    ),
    Check(
        "effective_settings",
        recorded_settings,
        "Scoring settings, seed and threads as recorded are the study's.",
    ),
    Check(
        "registration",
        _registration,
        "The estimated shift is within the bound; beyond it none is applied.",
        Severity.WARN,
    ),
    Check(
        "ms_ssim_terms",
        _ms_ssim_terms,
        "No contrast-structure or luminance term of MS-SSIM had to be clamped.",
        Severity.WARN,
    ),
    Check(
        "contrast",
        _contrast,
        "No model's amplitude or phase is nearly constant in the scoring area.",
        Severity.WARN,
    ),
)
