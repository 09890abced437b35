"""Checks of summary/summary.md."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms, iterative, networks
from fly64_assets.rules.hub.checks import Broken, Finding, check
from fly64_assets.rules.hub.comparisons import inference_cpu_seconds
from fly64_assets.rules.hub.crate import study_name
from fly64_assets.rules.hub.crate_graph import setting, steps
from fly64_assets.rules.hub.markdown import Item, Row, compare_sections, sections
from fly64_assets.rules.hub.models import history, weights_of
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.report_numbers import (
    LABELS,
    OTHERS,
    PHOTON_NOTE,
    delta_text,
    how_sure,
    photons_text,
    target_overlap,
    title,
)
from fly64_assets.rules.hub.scores import as_text
from fly64_assets.rules.hub.summaries import mean_deltas, scores_of, split_deltas
from fly64_assets.rules.hub.views import counts, overlap_numbers
from fly64_assets.study.model import SPLITS

SUMMARY_MD = "summary/summary.md"


def _headers() -> list[str]:
    return [f"{label} {name}" for label in LABELS.values() for name in contract.COMPONENTS]


def _scores(hub: Hub) -> list[Row]:
    rows: list[Row] = [("split", "model", *_headers())]
    for split in SPLITS:
        table = scores_of(hub, split)
        for model in arms(hub):
            cells = (
                as_text(table[model][m][c], ".4f") for m in LABELS for c in contract.COMPONENTS
            )
            rows.append((split, model, *cells))
    return rows


def _deltas(hub: Hub) -> list[Row]:
    tables = {"mean": mean_deltas(hub), **{split: split_deltas(hub, split) for split in SPLITS}}
    rows: list[Row] = [("over", "minus", *_headers())]
    for over, deltas in tables.items():
        for other in OTHERS:
            values = deltas[f"vs_{other}"]
            cells = (delta_text(values[m][c], m) for m in LABELS for c in contract.COMPONENTS)
            rows.append((over, other, *cells))
    return rows


def _overlap(hub: Hub) -> list[Row]:
    def column(split: str) -> list[str]:
        numbers, found = counts(hub, split), overlap_numbers(hub, split)
        overlaps = (
            target_overlap(hub, split),
            found["reached_overlap"],
            *(found[f"metric_{name}_avg"] for name in ("1_group_based", "2_image_based")),
            found["metric_3_group_to_group_avg"],
        )
        return [
            f"{numbers['n_images_total']:,d}",
            f"{numbers['n_images_kept']:,d}",
            f"{numbers['n_centres']:,d}",
            *("-" if value is None else f"{value:.3f}" for value in overlaps),
            *photons_text(hub, split),
        ]

    titles = [
        "images in the half",
        "images in the view",
        "group centres",
        "overlap target",
        "overlap reached",
        "overlap metric 1, within groups",
        "overlap metric 2, between images",
        "overlap metric 3, between groups",
        "total photons",
        "photons/px²",
    ]
    columns = [column(split) for split in SPLITS]
    return [("", *SPLITS), *zip(titles, *columns, strict=True)]


def _costs(hub: Hub) -> list[Row]:
    """Numbers of weights and images, counted; epochs and CPU-seconds as bundles and steps say."""
    steps_of, images = steps(hub), counts(hub, "train")["n_images_kept"]
    inference = {split: inference_cpu_seconds(hub, split) for split in SPLITS}

    def spent(asset: str) -> str:
        value = steps_of[asset].stated.get("cpu_seconds") if asset in steps_of else None
        if not isinstance(value, float):
            raise Broken(contract.CRATE, f"#make/{asset}/cpu_seconds", f"is {value!r}, no seconds")
        return f"{value:.1f}"

    rows: dict[str, Row] = {}
    for network in networks(hub):
        rows[network.name] = (
            network.name,
            f"{weights_of(hub, network.name).number:,d}",
            f"{images:,d}",
            f"{len(history(hub, network.name)):,d}",
            spent(f"{network.asset}_model"),
            *(f"{inference[split].get(network.name, math.nan):.1f}" for split in SPLITS),
        )
    for arm in iterative(hub):
        epochs = int(setting(hub, arm.section, "epochs"))
        steps_spent = (spent(f"{split}/{arm.asset}_reconstruction") for split in SPLITS)
        rows[arm.name] = (arm.name, "-", "-", f"{epochs:,d}", "-", *steps_spent)
    header = ("model", "parameters", "images learned from", "epochs", "training (CPU s)")
    halves = (f"reconstruction, {split} (CPU s)" for split in SPLITS)
    return [(*header, *halves), *(rows[model] for model in arms(hub))]


def _provenance(hub: Hub, found: list[Row]) -> list[Row]:
    """The rows for the assets that the page names, from the crate."""
    made = steps(hub)
    rows: list[Row] = [("asset", "made at", "data version", "code version", "commit")]
    for asset, *_ in found[1:]:
        if asset not in made:
            raise Broken(SUMMARY_MD, f"## Provenance {asset}", "is no asset of the crate")
        stated = made[asset].stated
        commit, dash, dirty = str(stated.get("git_commit")).partition("-")
        rows.append(
            (
                asset,
                made[asset].end,
                str(stated.get("data_version"))[:12],
                str(stated.get("code_version")).split(" ")[0],
                "-" if commit == "unknown" else commit[:12] + dash + dirty,
            )
        )
    return rows


def _hashes(hub: Hub) -> list[Row]:
    hashed = sorted(path for path in hub.files if path.endswith(("model.keras", ".log")))
    return [("file", "sha256"), *((path, hub.sha256(path)) for path in hashed)]


SCORES = (
    "MS-SSIM: higher is better, 0 to 1. MAE: lower is better, amplitude dimensionless, phase in "
    "rad. Global phase, phase plane, mean amplitude and a bounded shift are fitted to the truth."
)
DELTAS = "A positive MS-SSIM delta and a negative MAE delta are in favour of PtychoPINN."
OVERLAPS = (
    "Disc overlaps, 0 to 1. Metric 3 tends to about 0.25 for any uniform dense layout: it compares "
    "nothing."
)
COSTS = (
    "CPU-seconds of all threads. Training, and pty-chi's reconstructions, are whole steps, which "
    "start with their library loaded; a network's reconstruction is prediction and stitching. "
    "Further trainings for the intervals are not in it."
)
VERSIONS = (
    "Times are UTC. Versions are the first twelve digits; `ro-crate-metadata.json` has them whole, "
    "with the settings, the seeds and the sha256 of every file."
)


@check(
    "summary_page.numbers",
    SUMMARY_MD,
    "scores, deltas, costs, overlap, photons, provenance and hashes are those of the hub, "
    "no word more",
)
def summary_page(hub: Hub) -> Iterator[Finding]:
    text = hub.text(SUMMARY_MD)
    listed = [s.tables for s in sections(text) if s.heading == "## Provenance"]
    provenance = _provenance(hub, listed[0][0] if listed and listed[0] else [()])
    *most, last = arms(hub)
    about = (
        f"Study `{study_name(hub)}`: {', '.join(most)} and {last} against the truth, "
        "on both halves of the scan."
    )
    overlap: list[Item] = [f"{OVERLAPS} {PHOTON_NOTE}", _overlap(hub)]
    yield from compare_sections(
        SUMMARY_MD,
        text,
        [
            (f"# {title(hub)}", [about]),
            ("## Scores", [SCORES, _scores(hub)]),
            ("## Deltas: PtychoPINN minus the other", [DELTAS, _deltas(hub)]),
            *how_sure(hub),
            ("## What each arm cost", [COSTS, _costs(hub)]),
            ("## Overlap and photons", overlap),
            ("## Provenance", [VERSIONS, provenance]),
            ("## Hashes of logs and models", [_hashes(hub)]),
        ],
    )
    named = {row[0] for row in provenance}
    for asset in contract.CHECKED:
        if contract.has(asset, arms(hub)) and asset not in named:
            yield Finding(SUMMARY_MD, "## Provenance", f"does not say how {asset} was made")
