"""Where conditions stand and what a run came to, as data: shown by the console, printed as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner, State, Verdict
from fly64_assets.pipeline.targets import Cell, process_of, unfinished_runs
from fly64_assets.runs.runner import MatrixOutcome
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import ALL_LEVELS, LEVELS, PRODUCTS, product

BROKEN = (State.FAILED, State.ALTERED)
SCORE_LEVEL = [level for level in LEVELS if level.stage == "score"][-1]


@dataclass(frozen=True)
class ConditionStanding:
    """One condition.

    Attributes:
        verdicts: of everything that it consists of, the study's products included.
        blockers: (path relative to the store, text) of what stopped a run of it.
    """

    condition: Condition
    verdicts: tuple[Verdict, ...]
    blockers: tuple[tuple[str, str], ...]

    @property
    def broken(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.state in BROKEN]

    @property
    def counts(self) -> dict[State, int]:
        """Products by state, those states that there are."""
        states = [verdict.state for verdict in self.verdicts]
        return {state: states.count(state) for state in State if state in states}


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that waits or is in progress.

    Attributes:
        what: its partitions, or its job.
        pid: of the process that carries it out; None where there is none yet.
        gone: why that process is known to be gone; None where it is not.
    """

    run_id: str
    what: str
    status: str
    pid: int | None
    gone: str | None


@dataclass(frozen=True)
class Standing:
    """What ``fly64 status`` tells.

    Attributes:
        orphans: what doses, views and arms left that the study no longer names, relative to the
            store.
    """

    study: str
    conditions: tuple[ConditionStanding, ...]
    runs: tuple[UnfinishedRun, ...]
    orphans: tuple[str, ...]

    @property
    def failed(self) -> bool:
        return any(one.broken or one.blockers for one in self.conditions)

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "conditions": [
                {
                    "partition": str(one.condition),
                    "products": {str(state): count for state, count in one.counts.items()},
                    "broken": [
                        {
                            "product": verdict.product.name,
                            "partition": str(verdict.condition),
                            "state": str(verdict.state),
                            "reason": verdict.reason,
                        }
                        for verdict in one.broken
                    ],
                    "blockers": [{"path": path, "text": text} for path, text in one.blockers],
                }
                for one in self.conditions
            ],
            "runs": [vars(run) for run in self.runs],
            "orphaned": list(self.orphans),
        }


def standing(context: StudyContext, planner: Planner, conditions: Iterable[Condition]) -> Standing:
    """Where some conditions of a study stand."""
    return Standing(
        context.study.name,
        tuple(
            ConditionStanding(
                condition,
                tuple(verdicts_of(planner, condition)),
                tuple(blockers.of(context.store, condition)),
            )
            for condition in conditions
        ),
        tuple(_unfinished(planner)),
        tuple(orphans(context)),
    )


def verdicts_of(planner: Planner, condition: Condition) -> list[Verdict]:
    """Of everything that a condition consists of."""
    return [
        planner.verdict(item, condition.restricted_to(level.per))
        for level in ALL_LEVELS
        for item in level.products_in(planner.study)
    ]


def _unfinished(planner: Planner) -> Iterable[UnfinishedRun]:
    for run, cells in unfinished_runs(planner.ledger.instance):
        process = process_of(run)
        yield UnfinishedRun(
            run.run_id,
            ", ".join(map(str, cells)) or run.job_name,
            run.status.value.lower(),
            process.pid if process else None,
            process.gone if process else None,
        )


def orphans(context: StudyContext) -> list[str]:
    """Return what doses, views and arms left that the study no longer names, in the store."""
    doses = {f"dose_{dose}" for dose in context.study.doses}
    views = set(context.study.views)
    root = context.store.root
    found = [path for path in root.glob("data/phase_c/dose_*") if path.name not in doses]
    found += [
        path
        for path in root.glob("data/phase_d/dose_*/*")
        if path.is_dir() and not (path.parent.name in doses and path.name in views)
    ]
    for item in PRODUCTS:
        if item.arm is not None and item.arm not in context.study.arms:
            found += root.glob(f"{item.folder.format(dose='*', view='*')}/{item.files[0]}")
    return sorted(map(context.store.relative, found))


@dataclass(frozen=True)
class ConditionResults:
    """Scores of a condition whose scores are all fresh.

    Attributes:
        summary, deltas: contents of its metrics and its delta summary.
        deltas_path: of the delta file.
    """

    condition: Condition
    summary: dict[str, Any]
    deltas: dict[str, Any]
    deltas_path: Path


@dataclass(frozen=True)
class MatrixResults:
    """What ``fly64 run`` tells at its end.

    Attributes:
        matrix: the runs.
        scored: conditions whose scores are fresh.
        counts: of comparisons: total, executed, success, failed; one of a condition whose run
            was refused counts as failed and not as executed.
        broken: the first thing that is not finished of each condition.
        store: where the files are.
    """

    study: str
    matrix: MatrixOutcome
    scored: tuple[ConditionResults, ...]
    counts: dict[str, int]
    broken: tuple[tuple[Condition, Verdict], ...]
    store: Path

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is fresh, and no run was refused."""
        return not self.broken and not any(one.refused for one in self.matrix.runs)

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "complete": self.complete,
            "comparisons": self.counts,
            "runs": [
                {
                    "partition": str(one.request.condition),
                    "run_id": one.run_id,
                    "success": one.success,
                    "failures": [{"step": f.step, "reason": f.text} for f in one.failures],
                }
                for one in self.matrix.runs
            ],
            "not_started": [
                {"what": str(cell), "because_of": str(cause)}
                for cell, cause in self.matrix.left.items()
            ],
            "not_finished": [
                {"partition": str(condition), "reason": str(verdict)}
                for condition, verdict in self.broken
            ],
            "conditions": [
                {
                    "partition": str(one.condition),
                    "aggregate_metrics": one.summary["aggregate_metrics"],
                    "deltas": one.deltas["deltas"],
                }
                for one in self.scored
            ],
        }


def matrix_results(
    context: StudyContext,
    planner: Planner,
    conditions: Iterable[Condition],
    matrix: MatrixOutcome,
) -> MatrixResults:
    """Return what the asked conditions have come to, judged by the planner alone."""
    counts = {"total": 0, "executed": 0, "success": 0, "failed": 0}
    broken: list[tuple[Condition, Verdict]] = []
    scored: list[ConditionResults] = []
    refused = {one.request.cell for one in matrix.runs if one.refused}
    for condition in conditions:
        unfinished = [v for v in verdicts_of(planner, condition) if v.state is not State.FRESH]
        counts["total"] += len(SPLITS)
        scores = Cell.of(SCORE_LEVEL, condition)
        if refused.intersection([scores, *scores.upstream]):
            counts["failed"] += len(SPLITS)
            broken += [(condition, verdict) for verdict in unfinished[:1]]
            continue
        manifest = _current_json(context, planner, "comparison_manifest", condition)
        for name in ("executed", "success", "failed"):
            counts[name] += manifest[f"n_{name}"] if manifest else 0
        if unfinished:
            broken.append((condition, unfinished[0]))
        if any(verdict.product.stage == "score" for verdict in unfinished):
            continue  # a report that failed takes no score with it
        summary = _current_json(context, planner, "metrics_summary", condition)
        deltas = _current_json(context, planner, "metrics_delta_summary", condition)
        if summary and deltas:
            path = context.store.path(
                product("metrics_delta_summary"), condition, "metrics_delta_summary.json"
            )
            scored.append(ConditionResults(condition, summary, deltas, path))
    return MatrixResults(
        context.study.name, matrix, tuple(scored), counts, tuple(broken), context.store.root
    )


def _current_json(
    context: StudyContext, planner: Planner, name: str, condition: Condition
) -> dict[str, Any] | None:
    """Return a summary's content, if it was made from what its inputs are now."""
    item = product(name)
    if planner.lack(item, condition) is not None:
        return None
    return json.loads(context.store.path(item, condition, f"{name}.json").read_text("utf-8"))
