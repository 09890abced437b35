"""A table like ``study_metrics``, small and made up: doses, views, arms, every metric drawn."""

from __future__ import annotations

import math

import pandas as pd

from fly64_assets.study.model import MODELS, SPLITS

VIEWS = {"dense": (0.7, 0.0933), "sparse": (0.2, 0.0141)}
"""View -> overlap reached, photons per px² for a photon per exposure."""
CENSORED_FROM = 10_000
"""Dose from which on FRC50 is 1."""


def study_rows(
    doses: tuple[int, ...] = (500, 1000, 2000, 10_000, 100_000),
    arms: tuple[str, ...] = MODELS,
    views: tuple[str, ...] = tuple(VIEWS),
) -> pd.DataFrame:
    """Scores that rise with the dose, all but those of FRC50 of the last arm with intervals."""
    rows = []
    for dose in doses:
        for view in views:
            overlap, light = VIEWS[view]
            for split in SPLITS:
                for number, model in enumerate(arms):
                    for component in ("amplitude", "phase"):
                        place = math.log10(dose) / 5 - 0.03 * number - 0.1 * (view == "sparse")
                        scores = {
                            "ms_ssim": (0.8 + 0.19 * place, "1"),
                            "mae": (0.12 - 0.1 * place, "rad" if component == "phase" else "1"),
                            "frc50": (
                                1.0 if dose >= CENSORED_FROM else 0.2 + 0.5 * place,
                                "fraction of Nyquist",
                            ),
                        }
                        for metric, (mean, unit) in scores.items():
                            bare = metric == "frc50" and model == arms[-1]
                            half = math.nan if bare else 0.01
                            rows.append(
                                {
                                    **{"dose": dose, "view": view, "split": split},
                                    **{"model": model, "reference": None, "metric": metric},
                                    **{"component": component, "unit": unit, "mean": mean},
                                    **{"low": mean - half, "high": mean + half},
                                    "covers": "nothing" if bare else "space",
                                    "reached_overlap": overlap,
                                    "photons_per_px2": light * dose,
                                }
                            )
    return pd.DataFrame(rows)
