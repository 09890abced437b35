"""Whether a reconstruction shows anything, held against the truth where scores are taken.

A network can collapse to almost a constant: finite, not zero, its pixels not quite equal. Scores
would be low and no rule of a single image broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fly64_assets.ptychography.data001.rules import RuleOutcome

if TYPE_CHECKING:
    import numpy as np

LEAST_CONTRAST = 0.02
"""Of the truth's standard deviation. Baseline after two epochs on a few dozen patterns shows .06
of it in amplitude, any that was trained in earnest .8; a constant with a little noise, .001."""


def contrast_rules(name: str, aligned: np.ndarray, truth: np.ndarray) -> Iterable[RuleOutcome]:
    """Amplitude and phase each vary by at least a small part of what the truth's vary by.

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
