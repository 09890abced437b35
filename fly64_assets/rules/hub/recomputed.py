"""Checks of every number of a split's table, recomputed from the arrays.

Metrics and alignment are the definitions of this package; what is compared, where, and what must
come out is derived here from the contract (section 4). Forms of files are in ``scores.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms, networks
from fly64_assets.rules.hub.checks import Broken, Finding, check
from fly64_assets.rules.hub.crate_graph import setting
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.replicates import number_of_trainings, replicates_file
from fly64_assets.rules.hub.scores import (
    ALIGNED,
    CANVAS,
    FOLDER,
    TABLE,
    area_of,
    has_reference,
    score_table,
)
from fly64_assets.study.model import SPLITS

LAST_DIGIT = 0.5e-6 + 2e-9
"""Half a unit of the sixth decimal, and what summing in another order can change."""
ALIGNED_TOLERANCE = 2e-6
"""Of the largest modulus: single precision."""


def sigma_of(hub: Hub, split: str) -> float:
    """Pre-smoothing of MS-SSIM, px, as the comparison manifest states it."""
    for job in hub.json(contract.MANIFEST)["jobs"]:
        if job["split"] == split:
            sigma = job.get("ms_ssim_sigma")
            if isinstance(sigma, float):
                return sigma
    raise Broken(contract.MANIFEST, "jobs", f"state no ms_ssim_sigma for {split}")


def phase_pair(truth: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The truth's phase relative to its mean, and the image's beside it, not unwrapped."""
    mean = truth.mean()
    own = np.angle(truth * np.exp(-1j * np.angle(mean)))
    return own, own + np.angle(image * np.conj(truth))


def scores_of_area(
    truth: np.ndarray,
    image: np.ndarray,
    sigma_px: float,
    suffix: str,
    frc_threshold: float | None = None,
) -> dict[str, Any]:
    """Row name -> component -> value, with the terms of MS-SSIM; complex128 arrays of the area.

    None where a row needs contrast and the truth has none.
    """
    from fly64_assets.ptychography.scoring import metrics

    rows: dict[str, Any] = {}
    for component, pair in (
        ("amplitude", (np.abs(truth), np.abs(image))),
        ("phase", phase_pair(truth, image)),
    ):
        rows.setdefault("mae" + suffix, {})[component] = float(np.abs(pair[0] - pair[1]).mean())
        rows.setdefault("mse" + suffix, {})[component] = float(((pair[0] - pair[1]) ** 2).mean())
        span = metrics.data_range(pair[0], 1.0 if component == "phase" else None)
        rows.setdefault("range", {})[component] = span
        rows.setdefault("terms", {})
        if span is None:
            undefined = [f"{name}{suffix}" for name in ("psnr", "ssim", "ms_ssim")]
            for name in undefined + ["frc50", "frc50_censored"] * (frc_threshold is not None):
                rows.setdefault(name, {})[component] = None
            continue
        multi = metrics.ms_ssim(*pair, data_range=span, sigma_px=sigma_px)
        for name, value in {
            "psnr": metrics.psnr(*pair, data_range=span),
            "ssim": metrics.ssim(*pair, data_range=span),
            "ms_ssim": multi.value,
        }.items():
            rows.setdefault(name + suffix, {})[component] = value
        rows["terms"][f"ms_ssim{suffix} {component}"] = list(multi.terms)
        if frc_threshold is not None:
            curve = metrics.frc(*pair, frc_threshold)
            rows.setdefault("curves", {})[component] = curve
            rows.setdefault("frc50", {})[component] = curve.frc50
            rows.setdefault("frc50_censored", {})[component] = float(curve.censored)
    return rows


def _complex(
    hub: Hub, path: str, inside: tuple[slice, slice] | None = None
) -> dict[str, np.ndarray]:
    """Every model and the truth in double precision, of one shape and finite."""
    stored = hub.arrays(path, *arms(hub), "truth")
    found = {}
    for key, values in stored.items():
        if values.shape != stored["truth"].shape or not np.isfinite(values).all():
            raise Broken(path, key, "is not finite, or of another shape than the truth")
        found[key] = (values if inside is None else values[inside]).astype(np.complex128)
    return found


def fitted_scores(hub: Hub, split: str) -> dict[str, dict[str, Any]]:
    """Per model the rows that come from the aligned arrays."""
    path, sigma = hub.comparison(split, ALIGNED), sigma_of(hub, split)
    threshold = float(setting(hub, "scoring", "frc_threshold"))

    def measure() -> dict[str, Any]:
        found = _complex(hub, path)
        return {
            model: scores_of_area(found["truth"], found[model], sigma, "", threshold)
            for model in arms(hub)
        }

    return hub.once("fitted", [path], measure, sigma, threshold, arms(hub))


def reference_scores(hub: Hub, split: str) -> dict[str, dict[str, Any]]:
    """Per model the published study's MS-SSIM of the aligned arrays; nothing if not asked for."""
    if not has_reference(hub):
        return {}
    path = hub.comparison(split, ALIGNED)
    sigma = float(setting(hub, "scoring", "ms_ssim_sigma_px"))

    def measure() -> dict[str, Any]:
        found = _complex(hub, path)
        return {
            model: {contract.REFERENCE: _published(found["truth"], found[model], sigma)}
            for model in arms(hub)
        }

    return hub.once("reference", [path], measure, sigma, arms(hub))


def _published(truth: np.ndarray, image: np.ndarray, sigma_px: float) -> dict[str, float | None]:
    """The published study's MS-SSIM by component: phases unsmoothed, in turns from -pi on."""
    from fly64_assets.ptychography.scoring.reference_ms_ssim import reference_ms_ssim

    turns = [phase / (2 * np.pi) + 0.5 for phase in phase_pair(truth, image)]
    ranges = scores_of_area(truth, image, 0.0, "")["range"]
    return {
        "amplitude": None
        if ranges["amplitude"] is None
        else reference_ms_ssim(np.abs(truth), np.abs(image), sigma_px=sigma_px),
        "phase": None if ranges["phase"] is None else reference_ms_ssim(*turns),
    }


def strict_scores(hub: Hub, split: str) -> dict[str, dict[str, Any]]:
    """Per model the rows with only the global phase removed, from the objects on the canvas."""
    path, sigma, box = hub.comparison(split, CANVAS), sigma_of(hub, split), area_of(hub, split)

    def measure() -> dict[str, Any]:
        found = _complex(hub, path, (slice(box[0], box[1]), slice(box[2], box[3])))
        rows = {}
        for model in arms(hub):
            turned = np.angle((found["truth"].conj() * found[model]).sum())
            strict = (found[model] * np.exp(-1j * turned)).astype(np.complex64)
            rows[model] = scores_of_area(
                found["truth"], strict.astype(np.complex128), sigma, "_strict"
            )
        return rows

    return hub.once("strict", [path], measure, sigma, tuple(box), arms(hub))


def same_number(stated: float | None, value: float | None) -> bool:
    if stated is None or value is None:
        return stated is value
    return stated == value or abs(stated - value) <= LAST_DIGIT


def _hold(hub: Hub, split: str, model: str, rows: dict[str, Any]) -> Iterator[Finding]:
    path, stated = hub.comparison(split, "comparison_metrics.csv"), score_table(hub, split)
    for metric in (*contract.BY_COMPONENT, contract.REFERENCE):
        for component, value in rows.get(metric, {}).items():
            row = stated.get((model, metric))
            found = None if row is None else row[component]
            if row is None or not same_number(found, value):
                told = "missing" if row is None else _told(found)
                reason = f"is {told}, the arrays give {_told(value)}"
                yield Finding(path, f"{model} {metric} {component}", reason)


def _told(value: float | None) -> str:
    return "blank (not defined)" if value is None else f"{value:.6f}"


@check("scores.fitted_recomputed", TABLE, "every fitted score is that of the aligned arrays")
def fitted_recomputed(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        for model, rows in fitted_scores(hub, split).items():
            yield from _hold(hub, split, model, rows)
        for model, rows in reference_scores(hub, split).items():
            yield from _hold(hub, split, model, rows)


@check(
    "scores.strict_recomputed",
    TABLE,
    "every strict score is that of the objects, less the global phase",
)
def strict_recomputed(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        for model, rows in strict_scores(hub, split).items():
            yield from _hold(hub, split, model, rows)


@check(
    "scores.frc_curves",
    FOLDER + "/<model>_frc_curve.csv",
    "curves are those of the aligned arrays, frequency in fractions of Nyquist",
)
def frc_curves(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        for model, rows in fitted_scores(hub, split).items():
            path = hub.comparison(split, f"{model}_frc_curve.csv")
            header, *lines = hub.table(path) or [[]]
            if header != ["frequency_nyquist", *contract.COMPONENTS]:
                yield Finding(path, "header", f"is {header}")
            curves = rows["curves"]
            frequency = next(iter(curves.values())).frequency
            columns = [frequency] + [
                curves[name].correlation if name in curves else [None] * len(frequency)
                for name in contract.COMPONENTS
            ]
            if len(lines) != len(columns[0]):
                yield Finding(path, "", f"has {len(lines)} shells, expected {len(columns[0])}")
                continue
            for number, (line, values) in enumerate(
                zip(lines, zip(*columns, strict=True), strict=True), 2
            ):
                if len(line) != 3 or not all(
                    cell == ""
                    if value is None
                    else contract.NUMBER.fullmatch(cell) and same_number(float(cell), value)
                    for cell, value in zip(line, values, strict=True)
                ):
                    reason = f"is {','.join(line)}, expected " + ",".join(
                        "" if v is None else f"{v:.6f}" for v in values
                    )
                    yield Finding(path, f"line {number}", reason)


def truth_inside(hub: Hub, split: str) -> np.ndarray:
    """The truth in the scoring area."""
    y0, y1, x0, x1 = area_of(hub, split)
    return hub.arrays(hub.comparison(split, CANVAS), "truth")["truth"][y0:y1, x0:x1]


def _aligned(hub: Hub, split: str, made: np.ndarray) -> Any:
    """An object on the canvas aligned to the truth.

    Raises:
        DegenerateReconstruction, ValueError: there is nothing to align.
    """
    from fly64_assets.ptychography.scoring.alignment import align

    y0, y1, x0, x1 = area_of(hub, split)
    truth = hub.arrays(hub.comparison(split, CANVAS), "truth")["truth"]
    bound = float(setting(hub, "scoring", "max_shift_px"))
    return align(made, truth, (slice(y0, y1), slice(x0, x1)), max_shift_px=bound)


def alignments(hub: Hub, split: str) -> dict[str, Any]:
    """Per model the alignment of the object on the canvas to the truth, made again."""
    from fly64_assets.ptychography.scoring.alignment import DegenerateReconstruction

    path, bound = hub.comparison(split, CANVAS), setting(hub, "scoring", "max_shift_px")

    def measure() -> dict[str, Any]:
        made = {}
        for model, canvas in hub.arrays(path, *arms(hub)).items():
            try:
                made[model] = _aligned(hub, split, canvas)
            except (DegenerateReconstruction, ValueError) as error:
                raise Broken(path, model, f"cannot be aligned: {error}") from None
        return made

    return hub.once("align", [path], measure, tuple(area_of(hub, split)), bound, arms(hub))


def further_alignments(hub: Hub, split: str) -> list[Any]:
    """The same of the networks' further trainings; None where there is nothing to align."""
    from fly64_assets.ptychography.scoring.alignment import DegenerateReconstruction

    found = []
    for network in networks(hub):
        names = [f"{split}_{number}" for number in range(2, number_of_trainings(hub) + 1)]
        stored = hub.arrays(replicates_file(hub, network.name), *names) if names else {}
        for made in stored.values():
            try:
                found.append(_aligned(hub, split, made))
            except DegenerateReconstruction:
                found.append(None)
    return found


@check(
    "scores.aligned_recomputed",
    FOLDER + "/" + ALIGNED,
    "the aligned arrays are the objects, aligned again",
)
def aligned_recomputed(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, ALIGNED)
        found = hub.arrays(path)
        for model, made in alignments(hub, split).items():
            stored = found.get(model)
            if stored is None or stored.shape != made.object.shape:
                yield Finding(path, model, "is missing or of another shape")
                continue
            apart = float(np.abs(stored - made.object).max())
            if not apart <= ALIGNED_TOLERANCE * float(np.abs(made.object).max()):
                yield Finding(path, model, f"differs by up to {apart:.3g} from the object aligned")


@check(
    "scores.registration",
    TABLE,
    "shifts are those of the objects, applied exactly when at most 4 px",
)
def registration(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, stated = hub.comparison(split, "comparison_metrics.csv"), score_table(hub, split)
        for model, made in alignments(hub, split).items():
            for name, value in (
                ("registration_offset_dy", made.shift_px[0]),
                ("registration_offset_dx", made.shift_px[1]),
                ("registration_applied", float(made.registration_applied)),
            ):
                found = stated.get((model, name), {}).get("value")
                if found is None or not same_number(found, value):
                    yield Finding(path, f"{model} {name}", f"is {found}, expected {value:.6f}")
