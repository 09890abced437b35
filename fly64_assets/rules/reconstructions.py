"""Rules of phase F: an iterative reconstruction is what was asked for, and shows something."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check
from fly64_assets.rules.files import Files, equals, numbers
from fly64_assets.rules.provenance import recorded_settings
from fly64_assets.study.arms import Iterative

if TYPE_CHECKING:
    import numpy as np

KEYS = [
    *("_metadata", "algorithm", "computation_time_s"),
    *("reconstructed_object", "reconstructed_probe", "timestamp"),
]
LEAST_SPREAD = 1e-6
PROBE_TOLERANCE = 1e-5
"""Rounding of a probe that went into a solver's units and back."""
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def image_rules(name: str, image: np.ndarray) -> Iterable[RuleOutcome]:
    """Ask for what the least reconstruction must be: finite, not zero and not constant."""
    import numpy as np

    finite = bool(np.isfinite(image).all())
    yield RuleOutcome(name, "finite", "all pixels", "all" if finite else "not all", finite)
    if not finite:
        return
    largest, spread = float(np.abs(image).max()), float(np.std(image))
    yield RuleOutcome(name, "not zero", "largest modulus > 0", f"{largest:.3g}", largest > 0)
    yield RuleOutcome(
        name,
        "not constant",
        f"standard deviation > {LEAST_SPREAD:g}",
        f"{spread:.3g}",
        spread > LEAST_SPREAD,
    )


def _reconstruction(files: Files, arm: Iterative) -> Iterable[RuleOutcome]:
    import numpy as np

    stored = files.arrays(arm.file)
    view = files.other(files.split, "overlap_view").dataset()
    yield equals(arm.file, "its arrays", KEYS, sorted(stored))
    found, probe = stored["reconstructed_object"], stored["reconstructed_probe"]
    for key, image, known, rule in (
        ("reconstructed_object", found, view.object_guess, "on the canvas"),
        ("reconstructed_probe", probe, view.probe_guess, "N x N"),
    ):
        yield from image_rules(key, image)
        yield equals(key, rule, known.shape, image.shape)
        yield equals(key, "dtype", "complex64", str(image.dtype))
    told = "another image" if not np.array_equal(found, view.object_guess) else "objectGuess"
    yield equals("reconstructed_object", "is no copy of the truth", "another image", told)
    refined = getattr(files.study, arm.section).refine_probe
    if not refined and probe.shape == view.probe_guess.shape:
        off = float(np.abs(probe - view.probe_guess).max() / np.abs(view.probe_guess).max())
        yield RuleOutcome(
            "reconstructed_probe",
            "held fixed: the given probe",
            f"within {PROBE_TOLERANCE:g}",
            f"{off:.2g}",
            off <= PROBE_TOLERANCE,
        )
    time, seconds = str(stored["timestamp"]), float(stored["computation_time_s"])
    is_time = UTC_TIME.fullmatch(time) is not None
    yield RuleOutcome("timestamp", "is UTC", "YYYY-MM-DDTHH:MM:SSZ", time, is_time)
    took = math.isfinite(seconds) and seconds > 0
    yield RuleOutcome("computation_time_s", "took time", "> 0 s", f"{seconds:g}", took)


def _loss(files: Files, arm: Iterative) -> Iterable[RuleOutcome]:
    if not files.has(arm.history):  # no part of what a hub has to hold
        return
    losses = numbers(files, arm.history, "loss")["loss"]
    finite = bool(losses) and all(map(math.isfinite, losses))
    yield RuleOutcome(arm.history, "finite", "all", f"{len(losses)} values", finite)
    if finite and len(losses) > 1:
        yield RuleOutcome(
            arm.history,
            "the last epoch is better than the first",
            f"< {losses[0]:.6g}",
            f"{losses[-1]:.6g}",
            losses[-1] < losses[0],
        )


def _effective_settings(files: Files, arm: Iterative) -> Iterable[RuleOutcome]:
    yield from recorded_settings(files)
    settings = getattr(files.study, arm.section)
    algorithm = str(files.arrays(arm.file, "algorithm")["algorithm"][()])
    yield equals("algorithm", "as in the study", settings.engine, algorithm)
    if files.has(arm.history):
        rows = files.table(arm.history)
        wanted = [str(epoch) for epoch in range(1, settings.epochs + 1)]
        found = [row["epoch"] for row in rows]
        yield equals(arm.history, "the epochs of the study", wanted, found)


def checks_of(arm: Iterative) -> tuple[Check, ...]:
    """Return the checks of one iterative solver's reconstructions."""
    return (
        Check(
            "reconstruction",
            lambda files: _reconstruction(files, arm),
            "Object and probe are finite, not zero, not constant, and of the view's shapes.",
        ),
        Check(
            "loss",
            lambda files: _loss(files, arm),
            "The loss is finite and ended better than it began.",
        ),
        Check(
            "effective_settings",
            lambda files: _effective_settings(files, arm),
            "Settings, seed, threads and epochs as recorded are the study's.",
        ),
    )
