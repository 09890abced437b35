"""Checks of phase F: an iterative reconstruction converged and shows something."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun, Judge
from fly64_assets.rules.store.common_checks import csv_columns, equals, recorded_settings
from fly64_assets.rules.store.dataset_checks import read
from fly64_assets.study.arms import Iterative

if TYPE_CHECKING:
    import numpy as np

LEAST_SPREAD = 1e-6


def image_rules(name: str, image: np.ndarray) -> Iterable[RuleOutcome]:
    """Finite, not zero and not constant: what the least reconstruction must be."""
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


def _reconstruction(arm: Iterative) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        import numpy as np

        from fly64_assets.ptychography.data001.npz import read_npz

        stored = read_npz(run.path(arm.file))
        view = read(run.other(run.split, "overlap_view"))
        found, probe = stored["reconstructed_object"], stored["reconstructed_probe"]
        yield from image_rules("reconstructed_object", found)
        yield from image_rules("reconstructed_probe", probe)
        yield equals("reconstructed_object", "on the canvas", view.object_guess.shape, found.shape)
        yield equals("reconstructed_probe", "N x N", view.probe_guess.shape, probe.shape)
        refined = getattr(run.study, arm.section).refine_probe
        if not refined and probe.shape == view.probe_guess.shape:
            off = float(np.abs(probe - view.probe_guess).max() / np.abs(view.probe_guess).max())
            yield RuleOutcome(
                "reconstructed_probe",
                "held fixed: the given probe",
                "within 1e-5",
                f"{off:.2g}",
                off < 1e-5,
            )

    return judge


def _loss(arm: Iterative) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        losses = csv_columns(run.path(arm.history), "loss")["loss"]
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

    return judge


def _effective_settings(arm: Iterative) -> Judge:
    def judge(run: CheckRun) -> Iterable[RuleOutcome]:
        from fly64_assets.ptychography.data001.npz import read_npz

        yield from recorded_settings(run)
        settings = getattr(run.study, arm.section)
        algorithm = str(read_npz(run.path(arm.file), ["algorithm"])["algorithm"][()])
        yield equals("algorithm", "as in the study", settings.engine, algorithm)
        epochs = csv_columns(run.path(arm.history), "epoch")["epoch"]
        wanted = list(range(1, settings.epochs + 1))
        yield equals(arm.history, "the epochs of the study", wanted, epochs)

    return judge


def checks_of(arm: Iterative) -> tuple[Check, ...]:
    """The checks of one iterative solver's reconstructions."""
    return (
        Check(
            "reconstruction",
            _reconstruction(arm),
            "Object and probe are finite, not zero, not constant, and of the view's shapes.",
        ),
        Check("loss", _loss(arm), "The loss is finite and ended better than it began."),
        Check(
            "effective_settings",
            _effective_settings(arm),
            "Settings, seed, threads and epochs as recorded are the study's.",
        ),
    )
