"""Checks of one split's comparison. None blocks: the manifest has to be written even of a failure.

What would make scores wrong is judged again at the manifest, where it blocks.
"""

from __future__ import annotations

from collections.abc import Iterable

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun, Severity
from fly64_assets.rules.reconstructions import image_rules
from fly64_assets.rules.store.common_checks import equals, json_file, recorded_settings
from fly64_assets.rules.store.contrast import contrast_rules


def failure(run: CheckRun) -> str | None:
    """What stopped a comparison; None when it ended well."""
    return json_file(run.path("scoring.json")).get("error")


def _reconstructions(run: CheckRun) -> Iterable[RuleOutcome]:
    error = failure(run)
    yield equals("comparison", "ended without an error", "none", error or "none")
    if error is not None:
        return
    from fly64_assets.ptychography.data001.npz import read_npz

    aligned = read_npz(run.path("reconstructions_aligned.npz"))
    for model in run.study.arms:
        if model in aligned:
            yield from image_rules(model, aligned[model])
        else:
            yield RuleOutcome(model, "reconstruction present", "one per model", "none", False)


def _registration(run: CheckRun) -> Iterable[RuleOutcome]:
    if failure(run) is not None:
        return
    from fly64_assets.ptychography.scoring.comparison import read_csv

    rows = {(row.model, row.metric): row for row in read_csv(run.path("comparison_metrics.csv"))}
    bound = run.study.scoring.max_shift_px
    for model in run.study.arms:
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


def _ms_ssim_terms(run: CheckRun) -> Iterable[RuleOutcome]:
    if failure(run) is not None:
        return
    for model, fitted in json_file(run.path("scoring.json"))["fitted"].items():
        for name, terms in fitted["ms_ssim_terms"].items():
            yield RuleOutcome(
                f"{model} {name}",
                "no term is negative, so that none counts as 0",
                f"{len(terms)} >= 0",
                ", ".join(f"{term:.3f}" for term in terms),
                min(terms) >= 0,
            )


def _contrast(run: CheckRun) -> Iterable[RuleOutcome]:
    if failure(run) is not None:
        return
    from fly64_assets.ptychography.data001.npz import read_npz

    aligned = read_npz(run.path("reconstructions_aligned.npz"))
    for model in run.study.arms:
        if model in aligned:
            yield from contrast_rules(model, aligned[model], aligned["truth"])


CHECKS = (
    Check(
        "reconstructions",
        _reconstructions,
        "The comparison ended well; every model's image is finite and varies.",
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
