"""What ``summary/summary.md`` says of a condition, and the list of everything in its hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES, OTHERS
from fly64_assets.reports.condition.costs import Cost, cost_table
from fly64_assets.reports.condition.interval_table import how_sure
from fly64_assets.reports.condition.rendering import Table
from fly64_assets.study import hub_layout as layout
from fly64_assets.study.model import SPLITS

if TYPE_CHECKING:
    from fly64_assets.reports.condition.interval_table import Statistics

INVENTORY = "analysis/artifact_inventory.txt"
SUMMARY = "summary/summary.md"
HASHED = ("model.keras", ".log")
"""Endings of the files whose sha256 the summary names."""

PROVENANCE = ("asset", "made at", "data version", "code version", "commit")
# Title of a row, key in the overlap metrics, how it is shown.
OVERLAP: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("images in the half", "n_images_total", numbers.count),
    ("images in the view", "n_images_kept", numbers.count),
    ("group centres", "n_centres", numbers.count),
    ("overlap target", "target_overlap", numbers.overlap),
    ("overlap reached", "reached_overlap", numbers.overlap),
    ("overlap metric 1, within groups", "metric_1_group_based_avg", numbers.overlap),
    ("overlap metric 2, between images", "metric_2_image_based_avg", numbers.overlap),
    ("overlap metric 3, between groups", "metric_3_group_to_group_avg", numbers.overlap),
    ("total photons", "total_photons", numbers.photons),
    ("photons/px\u00b2", "photons_per_px2", numbers.photon_density),
)


@dataclass(frozen=True)
class MadeBy:
    """How one asset of the condition came about: versions in hexadecimal, time UTC."""

    asset: str
    generated_at: str
    data_version: str
    code_version: str
    git_commit: str | None


def artifact_inventory(paths: Iterable[str]) -> str:
    """``analysis/artifact_inventory.txt``: the hub's files, sorted, a line each.

    Left out are the inventory itself and the verification report, which comes last.

    Args:
        paths: of the hub's files, relative, POSIX; the RO-Crate and the summary are added.
    """
    listed = {*paths, layout.RO_CRATE, SUMMARY} - {INVENTORY, layout.VERIFICATION_REPORT}
    return "".join(f"{path}\n" for path in sorted(listed))


def is_hashed(path: str) -> bool:
    """Tell whether the summary names the sha256 of a file of the hub."""
    return path.endswith(HASHED)


def summary_context(
    *,
    study: str,
    dose: int,
    view: str,
    metrics_summary: Mapping[str, Any],
    delta_summary: Mapping[str, Any],
    statistics: Statistics,
    view_metrics: Mapping[str, Mapping[str, Any]],
    costs: Sequence[Cost],
    made: Sequence[MadeBy],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Return what the template of ``summary.md`` is filled with.

    Args:
        study: its name.
        dose, view: of the condition.
        metrics_summary, delta_summary: the content of the two files.
        statistics: of scores and differences, by split.
        view_metrics: split -> its overlap metrics.
        costs: an entry an arm.
        made: an entry an asset.
        hashes: hub path -> sha256 of the logs and of the bundles' models.
    """
    models = list(metrics_summary["aggregate_metrics"])
    return {
        "title": numbers.condition(dose, view),
        "study": study,
        "compared": f"{', '.join(models[:-1])} and {models[-1]}",
        "scores": _scores(metrics_summary),
        "deltas": _deltas(delta_summary),
        "sure": how_sure(delta_summary, statistics),
        "costs": cost_table(costs),
        "overlap": Table(
            ("", *SPLITS),
            [
                (title, *(_shown(view_metrics[split][key], text) for split in SPLITS))
                for title, key, text in OVERLAP
            ],
        ),
        "provenance": Table(
            PROVENANCE,
            [
                (
                    by.asset,
                    by.generated_at,
                    by.data_version[:12],
                    by.code_version,
                    _short_commit(by.git_commit),
                )
                for by in made
            ],
            words=PROVENANCE,
        ),
        "hashes": Table(("file", "sha256"), sorted(hashes.items()), words=("sha256",)),
    }


def _short_commit(described: str | None) -> str:
    if described is None:
        return numbers.INAPPLICABLE
    commit, dirty, _ = described.partition("-dirty")
    return commit[:12] + dirty


def _shown(value: Any, text: Callable[[Any], str]) -> str:
    return numbers.INAPPLICABLE if value is None else text(value)


def _headers() -> list[str]:
    return [f"{numbers.LABELS[metric]} {name}" for metric in HEADLINES for name in COLUMNS]


def _scores(summary: Mapping[str, Any]) -> Table:
    by_split = {job["split"]: job["metrics"] for job in summary["jobs"]}
    rows = [
        (
            split,
            model,
            *(
                numbers.score(by_split[split][model][metric][name], "job", metric)
                for metric in HEADLINES
                for name in COLUMNS
            ),
        )
        for split in SPLITS
        for model in summary["aggregate_metrics"]
    ]
    return Table(("split", "model", *_headers()), rows, words=("model", "minus"))


def _deltas(delta_summary: Mapping[str, Any]) -> Table:
    tables = {"mean": delta_summary["deltas"], **delta_summary["deltas_by_split"]}
    rows = [
        (
            over,
            other,
            *(
                numbers.delta(tables[over][f"vs_{other}"][metric][name], metric)
                for metric in HEADLINES
                for name in COLUMNS
            ),
        )
        for over in ("mean", *SPLITS)
        for other in OTHERS
    ]
    return Table(("over", "minus", *_headers()), rows, words=("model", "minus"))
