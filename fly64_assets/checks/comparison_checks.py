"""Checks of phase G: every score is there, from images that show something, in bounds."""

from __future__ import annotations

import json
from collections.abc import Iterable

from dagster import AssetChecksDefinition, AssetCheckSeverity

from fly64_assets.catalogue import product
from fly64_assets.checks.phase_check import CheckRun, build_check
from fly64_assets.checks.solver_checks import image_rules
from fly64_assets.context import StudyContext
from fly64_assets.errors import InputError
from fly64_assets.ptychography.rules import RuleOutcome
from fly64_assets.study import MODELS, SPLITS


def _succeeded(run: CheckRun) -> RuleOutcome:
    error = json.loads(run.path("scoring.json").read_text("utf-8")).get("error")
    return RuleOutcome(
        "comparison", "ended without an error", "none", error or "none", error is None
    )


def _reconstructions(run: CheckRun) -> Iterable[RuleOutcome]:
    succeeded = _succeeded(run)
    yield succeeded
    if not succeeded.ok:
        return
    from fly64_assets.ptychography.npz import read_npz

    aligned = read_npz(run.path("reconstructions_aligned.npz"))
    for model in MODELS:
        if model in aligned:
            yield from image_rules(model, aligned[model])
        else:
            yield RuleOutcome(model, "reconstruction present", "one per model", "none", False)


def _registration(run: CheckRun) -> Iterable[RuleOutcome]:
    if not _succeeded(run).ok:
        return
    from fly64_assets.ptychography.scoring import read_csv

    rows = {(row.model, row.metric): row for row in read_csv(run.path("comparison_metrics.csv"))}
    bound = run.study.scoring.max_shift_px
    for model in MODELS:
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


def _completeness(run: CheckRun) -> Iterable[RuleOutcome]:
    manifest = json.loads(run.path("comparison_manifest.json").read_text("utf-8"))
    counts = {name: manifest[name] for name in ("n_jobs", "n_executed", "n_success", "n_failed")}
    yield RuleOutcome(
        "n_success + n_failed",
        "equals n_executed",
        counts["n_executed"],
        counts["n_success"] + counts["n_failed"],
        counts["n_success"] + counts["n_failed"] == counts["n_executed"],
    )
    yield RuleOutcome(
        "n_failed", "no comparison failed", 0, counts["n_failed"], counts["n_failed"] == 0
    )
    splits = [result["split"] for result in manifest["execution_results"]]
    yield RuleOutcome("split", "train and test", list(SPLITS), splits, splits == list(SPLITS))
    for result in manifest["execution_results"]:
        if result["returncode"]:
            yield RuleOutcome(
                result["split"], "comparison succeeded", "returncode 0", result["error"], False
            )
            continue
        yield from _complete_table(run, result["split"])


def _complete_table(run: CheckRun, split: str) -> Iterable[RuleOutcome]:
    """Every model has every row; reading the table holds each number against its metric's range."""
    from fly64_assets.ptychography.scoring import missing_rows, read_csv

    try:
        rows = read_csv(run.other_path((split, "comparison"), "comparison_metrics.csv"))
    except InputError as error:
        yield RuleOutcome(f"{split} CSV", "readable, in range", "a table", str(error), False)
        return
    missing = missing_rows(rows)
    for model in MODELS:
        absent = [metric for name, metric in missing if name == model]
        yield RuleOutcome(
            f"{split} {model}",
            "every metric present",
            "none missing",
            ", ".join(absent) or "none missing",
            not absent,
        )


def build(context: StudyContext) -> list[AssetChecksDefinition]:
    checks = []
    for split in SPLITS:
        item = product(split, "comparison")
        checks += [
            build_check(
                context,
                item,
                "reconstructions",
                _reconstructions,
                description="The comparison ended well; every model's image is finite and varies.",
            ),
            build_check(
                context,
                item,
                "registration",
                _registration,
                description="The estimated shift is within the bound; beyond it none is applied.",
                severity=AssetCheckSeverity.WARN,
            ),
        ]
    completeness = build_check(
        context,
        product("comparison_manifest"),
        "completeness",
        _completeness,
        description="Both splits succeeded; every model has every metric, each in its range.",
    )
    return [*checks, completeness]
