"""Checks of what a comparison says about itself: its log, its durations, scoring.json.

Scores are in ``scores.py`` and ``recomputed.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fly64_assets.rules.hub.arms import arms, iterative, networks
from fly64_assets.rules.hub.checks import Finding, check, compare, shown
from fly64_assets.rules.hub.datasets import positions
from fly64_assets.rules.hub.models import bundle_file
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.recomputed import alignments, fitted_scores, same_number, strict_scores
from fly64_assets.rules.hub.reconstructions import reconstruction
from fly64_assets.rules.hub.scores import FOLDER, TABLE, area_of, as_text, score_table
from fly64_assets.rules.hub.views import compare_lineage
from fly64_assets.study.model import SPLITS

RELATIVE = 1e-8
"""Of fitted numbers: Newton steps end at 1e-9 rad."""

STITCHED = re.compile(
    r"([\w-]+): (\d+) patches stitched in (\d+\.\d\d) s, (\d+\.\d\d) CPU s, \d+\.\d % of the "
    r"scored pixels outside every patch's central \d+ px"
)


@check(
    "scores.seconds", TABLE, "computation times are those of phase F and of the comparison's log"
)
def seconds(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, stated = hub.comparison(split, "comparison_metrics.csv"), score_table(hub, split)
        times = {
            model: stated.get((model, "computation_time_s"), {}).get("value") for model in arms(hub)
        }
        for arm in iterative(hub):
            solved = reconstruction(hub, arm, split)
            made = float(hub.arrays(solved, "computation_time_s")["computation_time_s"])
            found = times[arm.name]
            if found is None or not same_number(found, made):
                reason = f"is {found}, made in {made:.6f}"
                yield Finding(path, f"{arm.name} computation_time_s", reason)
        logged = {m[1]: float(m[3]) for m in _stitched(hub, split)}
        for model in (network.name for network in networks(hub)):
            found, said = times[model], logged.get(model)
            if found is None or said is None or abs(found - said) > 0.005 + 1e-6:
                reason = f"is {found}, comparison.log says {said}"
                yield Finding(path, f"{model} computation_time_s", reason)


def _stitched(hub: Hub, split: str) -> list[re.Match[str]]:
    """What a comparison.log says of each network: name, patches, seconds, CPU-seconds."""
    return [m for line in _log_lines(hub, split) if (m := STITCHED.fullmatch(line))]


def inference_cpu_seconds(hub: Hub, split: str) -> dict[str, float]:
    """Network -> CPU-seconds of its reconstruction of a half, as the comparison's log says."""
    return {m[1]: float(m[4]) for m in _stitched(hub, split)}


def _log_lines(hub: Hub, split: str) -> list[str]:
    """Lines of a comparison.log without their times."""
    return [line[21:] for line in hub.lines(hub.comparison(split, "comparison.log"))]


@check(
    "scores.log",
    FOLDER + "/comparison.log",
    "the log speaks of this split, its images and its scores",
)
def log(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, lines = hub.comparison(split, "comparison.log"), _log_lines(hub, split)
        number = len(positions(hub, hub.overlap_view(split)))
        first = f"comparing {split} of {hub.dose}|{hub.view}: {number} images"
        if not lines or lines[0] != first:
            yield Finding(path, "line 1", f"is {shown(lines[:1])}, expected {first!r}")
        stated = score_table(hub, split)
        last = "scored: " + "; ".join(
            f"{model} MS-SSIM phase {as_text(stated[model, 'ms_ssim']['phase'], '.6f')} "
            f"amplitude {as_text(stated[model, 'ms_ssim']['amplitude'], '.6f')}"
            for model in arms(hub)
            if (model, "ms_ssim") in stated
        )
        if not lines or not _alike(last, lines[-1]):
            yield Finding(path, f"line {len(lines)}", f"is {shown(lines[-1:])}, expected {last!r}")
        if [(m[1], int(m[2])) for m in _stitched(hub, split)] != [
            (one.name, number) for one in networks(hub)
        ]:
            yield Finding(path, "stitched", f"does not say {number} patches of each network")


_DECIMAL = re.compile(r"-?\d+\.\d+")


def _alike(expected: str, found: str) -> bool:
    """One text but for what rounding twice can change: the log rounds what the table rounded."""
    if _DECIMAL.sub("#", expected) != _DECIMAL.sub("#", found):
        return False
    pairs = zip(_DECIMAL.findall(expected), _DECIMAL.findall(found), strict=True)
    return all(
        len(other.partition(".")[2]) == 3 and abs(float(one) - float(other)) <= 0.0005 + 1e-6
        for one, other in pairs
    )


@check(
    "scores.scoring_json",
    FOLDER + "/scoring.json",
    "where there: area, ranges, fitted ambiguities and terms are those of the arrays",
)
def scoring_json(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, "scoring.json")
        if path not in hub.files:
            continue
        stated, number = hub.json(path), len(positions(hub, hub.overlap_view(split)))
        fitted, strict = fitted_scores(hub, split), strict_scores(hub, split)
        expected = {
            "status": "success",
            "area": dict(zip(("y0", "y1", "x0", "x1"), area_of(hub, split), strict=True)),
            "n_images": dict.fromkeys(arms(hub), number),
            "cpu_seconds": inference_cpu_seconds(hub, split),
            "data_ranges": fitted["PtychoPINN"]["range"],
            "fitted": {
                model: _fitted(made, {**fitted[model]["terms"], **strict[model]["terms"]})
                for model, made in alignments(hub, split).items()
            },
        }
        elsewhere = ("warnings", "transformations")  # judged below, and as provenance
        known = {key: value for key, value in stated.items() if key not in elsewhere}
        yield from compare(path, expected, known, relative=RELATIVE)
        yield from _warnings(path, stated.get("warnings"), expected["fitted"])


def _fitted(made: Any, terms: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "shift_px": list(made.shift_px),
        "registration_applied": made.registration_applied,
        "phase_offset_rad": made.phase_offset_rad,
        "phase_plane_rad_per_px": list(made.phase_plane_rad_per_px),
        "amplitude_scale": made.amplitude_scale,
        "ms_ssim_terms": terms,
    }


def _warnings(path: str, stated: Any, fitted: dict[str, Any]) -> Iterator[Finding]:
    """A warning for each shift that was not applied and each negative term, and no other."""
    expected = set()
    for model, made in fitted.items():
        if not made["registration_applied"]:
            expected.add(("registration_not_applied", model, "registration_applied", None))
        for name, terms in made["ms_ssim_terms"].items():
            if min(terms) < 0:
                expected.add(("negative_ms_ssim_term", model, *name.split(" ")))
    keys = ("kind", "model", "metric", "component")
    found = {
        tuple(item.get(key) for key in keys)
        for item in (stated if isinstance(stated, list) else [])
        if isinstance(item, dict)
    }
    if not isinstance(stated, list) or found != expected:
        yield Finding(
            path,
            "warnings",
            f"are {sorted(map(str, found))}, expected {sorted(map(str, expected))}",
        )


@check(
    "scores.provenance",
    FOLDER + "/scoring.json",
    "where there: it was made from this hub's view, networks and reconstruction",
)
def provenance(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, "scoring.json")
        if path not in hub.files:
            continue
        paths = {
            f"{network.asset}_model/{name}": bundle_file(hub, network.name, name)
            for network in networks(hub)
            for name in ("bundle.json", "history.csv", "model.keras")
        }
        for arm in iterative(hub):
            solved = reconstruction(hub, arm, split)
            told = f"{solved.rpartition('/')[0]}/{arm.history}"
            paths |= {
                f"{split}/{arm.asset}_reconstruction/{path.rpartition('/')[2]}": path
                for path in (told, solved)
                if path in hub.files
            }
        records = hub.json(path).get("transformations")
        yield from compare_lineage(
            hub, split, f"{split}/comparison", path, records, "compare", paths
        )
        found = records[-1]["parameters"].get("split")
        yield from compare(path, split, found, key="transformations[-1].split")
