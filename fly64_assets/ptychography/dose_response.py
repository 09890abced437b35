"""From scores at some doses to the dose that a quality needs.

Between two measured doses a score is taken to be linear in the logarithm of the dose. Beyond the
measured doses nothing is said. What does not belong here: where scores come from, and drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class NeededDose:
    """The dose from which on a quality is reached.

    Attributes:
        dose: photons per exposure; None where it is not within the measured ones.
        reached: ``within`` them; ``everywhere``, so that the dose is at most the lowest measured;
            ``nowhere``, so that it is more than the highest.
    """

    dose: float | None
    reached: Literal["within", "everywhere", "nowhere"]


def needed_dose(doses: Sequence[float], scores: Sequence[float], quality: float) -> NeededDose:
    """Return the lowest dose from which on every measured score is at least ``quality``.

    A score that falls again at a higher dose does not count as reached before that.

    Args:
        doses: photons per exposure, ascending, more than one of them unless all or none suffice.
        scores: of a metric that is better when higher, one a dose.
        quality: what is asked for.

    Raises:
        ValueError: doses do not ascend, are not positive, or are not as many as the scores.
    """
    photons, values = np.asarray(doses, float), np.asarray(scores, float)
    if photons.shape != values.shape or photons.ndim != 1 or not len(photons):
        raise ValueError(f"{photons.shape} doses and {values.shape} scores")
    if photons[0] <= 0 or (np.diff(photons) <= 0).any():
        raise ValueError(f"doses {photons.tolist()} do not ascend from above 0")
    short = np.flatnonzero(~(values >= quality))
    if not len(short):
        return NeededDose(None, "everywhere")
    last = int(short[-1])
    if last == len(values) - 1:
        return NeededDose(None, "nowhere")
    (x0, x1), (y0, y1) = np.log(photons[last : last + 2]), values[last : last + 2]
    share = (quality - y0) / (y1 - y0)
    return NeededDose(float(np.exp(x0 + share * (x1 - x0))), "within")
