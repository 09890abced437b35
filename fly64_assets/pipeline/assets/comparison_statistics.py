"""Phase G: how sure the scores of a condition and their differences are, as a CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue

from fly64_assets.documents import formatting as numbers
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.ptychography.scoring.names import HEADLINES
from fly64_assets.solvers.replicates import array_name
from fly64_assets.study import arms
from fly64_assets.study.hashing import digest
from fly64_assets.study.model import SPLITS, ScoringSettings, StatisticsSettings

if TYPE_CHECKING:
    import numpy as np

    from fly64_assets.ptychography.scoring.statistics import Statistic


def _reconstructions(
    run: PhaseRun, split: str
) -> tuple[dict[str, list[np.ndarray]], np.ndarray, list[int]]:
    """Each arm's objects, the published first; the truth; the scored area."""
    from fly64_assets.ptychography.data001.npz import read_npz

    given = run.input(split, "comparison")
    models = run.settings["arms"]
    arrays = read_npz(given.path("reconstructions.npz"), (*models, "truth"))
    area = read_npz(given.path("reconstructions_aligned.npz"), ["area"])["area"].tolist()
    objects = {model: [arrays[model]] for model in models}
    for network in arms.networks(models):
        further = [array_name(split, n) for n in range(2, run.settings["replicates"] + 1)]
        if further:
            again = read_npz(run.input(*network.replicates_key).path("replicates.npz"), further)
            objects[network.name] += [again[name] for name in further]
    return objects, arrays["truth"], area


@phase_asset(
    "comparison_statistics",
    "Interval of every score and difference of each split and of the mean over both: mean, "
    "ends, whether the sign is settled and what is covered (space by block bootstrap; "
    "training seed where networks were trained more than once).",
    "scipy",
)
def make_statistics(run: PhaseRun) -> Outcome:
    from fly64_assets.ptychography.scoring.comparison import Area
    from fly64_assets.ptychography.scoring.statistics import judge, to_csv, with_mean

    halves = {}
    subject, *others = run.settings["arms"]
    for number, split in enumerate(SPLITS):
        objects, truth, area = _reconstructions(run, split)
        halves[split] = judge(
            objects,
            truth,
            Area(*area),
            run.section("scoring", ScoringSettings),
            run.section("statistics", StatisticsSettings),
            seed=run.settings["seed"] + number,
        )
    found = with_mean(halves, [(subject, other) for other in others])
    for split, rows in found.items():
        run.log(f"{split}: intervals of {len(rows)} scores and differences")
    text = to_csv(found)
    run.write_text("comparison_statistics.csv", text)
    return Outcome(digest(text), _shown(found))


def _shown(found: Mapping[str, list[Statistic]]) -> dict[str, Any]:
    """Return the headline differences as a table, and how many of them are settled."""
    rows = [
        (split, row)
        for split, given in found.items()
        for row in given
        if row.reference and row.metric in HEADLINES
    ]
    lines = ["| split | difference | metric | mean | low | high | sign settled |", "|" + "---|" * 7]
    lines += [
        f"| {split} | {row.model} - {row.reference} | {row.metric} {row.component} "
        f"| {' | '.join(numbers.signed(end, 4) for end in (row.mean, row.low, row.high))} "
        f"| {'yes' if row.settled else 'no'} |"
        for split, row in rows
    ]
    settled = sum(bool(row.settled) for _, row in rows)
    return {
        "headline_differences": len(rows),
        "settled": settled,
        "intervals": MetadataValue.md("\n".join(lines)),
    }
