"""Checks of a split's comparison: arrays, area, alignment and every number of the table.

Metrics and alignment are the definitions of this package; what is compared, where, and what must
come out is derived here from the contract (section 4). Summaries do not belong here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fly64_assets.hub.verify import contract, geometry
from fly64_assets.hub.verify.checks import Broken, Finding, check, compare, shown
from fly64_assets.hub.verify.crate_graph import setting
from fly64_assets.hub.verify.datasets import physics, positions
from fly64_assets.hub.verify.models import ASSETS, bundle_file
from fly64_assets.hub.verify.reading import Hub
from fly64_assets.hub.verify.reconstructions import image_problem, reconstruction
from fly64_assets.hub.verify.views import compare_lineage
from fly64_assets.study import MODELS, SPLITS

FOLDER = "analysis/dose_{dose}/{view}/{{train,test}}"
TABLE = FOLDER + "/comparison_metrics.csv"
CANVAS, ALIGNED = "reconstructions.npz", "reconstructions_aligned.npz"
LAST_DIGIT = 0.5e-6 + 2e-9
"""Half a unit of the sixth decimal, and what summing in another order can change."""
ALIGNED_TOLERANCE = 2e-6
RELATIVE = 1e-8
"""Of fitted numbers: Newton steps end at 1e-9 rad."""

Table = dict[tuple[str, str], dict[str, float]]
"""(model, metric) -> {amplitude, phase} or {value}."""


def score_table(hub: Hub, split: str) -> Table:
    """A split's comparison_metrics.csv.

    Raises:
        Broken: a line is not (model, metric, six-decimal numbers where they apply, blank else).
    """
    path = hub.comparison(split, "comparison_metrics.csv")
    return hub.once("scores", [path], lambda: _parse(path, hub.table(path)))


def _parse(path: str, cells: list[list[str]]) -> Table:
    if not cells or cells[0] != contract.COLUMNS:
        raise Broken(path, "header", f"is not {','.join(contract.COLUMNS)}")
    found: Table = {}
    for number, row in enumerate(cells[1:], start=2):
        line = f"line {number}"
        if len(row) != len(contract.COLUMNS):
            raise Broken(path, line, f"has {len(row)} cells")
        model, metric, *numbers = row
        if model not in MODELS:
            raise Broken(path, line, f"model {model!r} is none of {', '.join(MODELS)}")
        if metric not in contract.METRIC_ROWS:
            raise Broken(path, line, f"metric {metric!r} is none of the contract's")
        applies = ("value",) if metric in contract.RECORDED else contract.COMPONENTS
        values = {}
        for column, cell in zip(contract.COLUMNS[2:], numbers, strict=True):
            if (column in applies) != bool(cell):
                raise Broken(path, line, f"{metric} {column} is {cell!r}; filled are {applies}")
            if cell:
                infinite = cell == "inf" and metric.startswith("psnr")
                if not (contract.NUMBER.fullmatch(cell) or infinite):
                    raise Broken(path, line, f"{metric} {column} {cell!r} has not six decimals")
                values[column] = float(cell)
        if (model, metric) in found:
            raise Broken(path, line, f"{model} {metric} stands there twice")
        found[model, metric] = values
    return found


@check(
    "scores.table",
    TABLE,
    "every model has every metric, once, in order, six decimals, blank where it does not apply",
)
def table(hub: Hub) -> Iterator[Finding]:
    wanted = [(model, metric) for model in MODELS for metric in contract.METRIC_ROWS]
    for split in SPLITS:
        path = hub.comparison(split, "comparison_metrics.csv")
        found = list(score_table(hub, split))
        for model, metric in wanted:
            if (model, metric) not in found:
                yield Finding(path, f"{model} {metric}", "is missing")
        if found != wanted and set(found) == set(wanted):
            yield Finding(path, "", "the rows are not in order")


@check("scores.range", TABLE, "every number is possible for its metric")
def ranges(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, "comparison_metrics.csv")
        for (model, metric), values in score_table(hub, split).items():
            for column, value in values.items():
                if not _possible(metric, value):
                    yield Finding(path, f"{model} {metric} {column}", f"cannot be {value:g}")


def _possible(metric: str, value: float) -> bool:
    name = metric.removesuffix("_strict")
    if name in ("frc50_censored", "registration_applied"):
        return value in (0.0, 1.0)
    if name in ("mae", "mse", "computation_time_s"):
        return 0 <= value < math.inf
    if name == "ssim":
        return -1 <= value <= 1
    if name in ("ms_ssim", "frc50"):
        return 0 <= value <= 1
    return not math.isnan(value)


@check(
    "scores.arrays",
    FOLDER,
    "reconstructions of all models and the truth, complex64, on canvas and area",
)
def arrays(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        canvas = hub.arrays(hub.overlap_view(split), "objectGuess")["objectGuess"].shape
        area = _area(hub, split)
        inside = (area[1] - area[0], area[3] - area[2])
        for name, shape, keys in (
            (CANVAS, canvas, {*MODELS, "truth"}),
            (ALIGNED, inside, {*MODELS, "truth", "area"}),
        ):
            path = hub.comparison(split, name)
            found = hub.arrays(path)
            if set(found) != keys:
                yield Finding(path, "", f"holds {sorted(found)}, expected {sorted(keys)}")
            for key in sorted(set(found) & keys - {"area"}):
                if problem := image_problem(found[key], shape):
                    yield Finding(path, key, problem)


def _area(hub: Hub, split: str) -> list[int]:
    """[y0, y1, x0, x1] from the view's centres and the split line."""
    path = hub.overlap_view(split)
    stated = physics(hub, path)
    centres = hub.arrays(path, "centre_index")["centre_index"]
    return geometry.scoring_area(
        positions(hub, path)[centres], split, stated["split_line_y_px"], stated["probe_diameter_px"]
    )


@check(
    "scores.area",
    FOLDER + "/" + ALIGNED,
    "the area is the centres' box less D/2 along the split line",
)
def area(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        expected = _area(hub, split)
        path = hub.comparison(split, ALIGNED)
        found = hub.arrays(path, "area")["area"]
        if found.dtype != np.int64 or found.tolist() != expected:
            yield Finding(path, "area", f"is {found.dtype} {found.tolist()}, expected {expected}")
        if min(expected[1] - expected[0], expected[3] - expected[2]) < contract.SMALLEST_AREA_PX:
            yield Finding(path, "area", f"{expected} is smaller than the metrics' window")


@check(
    "scores.truth", FOLDER, "the truth is objectGuess of the dataset, on the canvas and in the area"
)
def truth(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        known = hub.arrays(hub.dataset(split), "objectGuess")["objectGuess"]
        y0, y1, x0, x1 = _area(hub, split)
        for name, expected in ((CANVAS, known), (ALIGNED, known[y0:y1, x0:x1])):
            path = hub.comparison(split, name)
            if not np.array_equal(hub.arrays(path, "truth")["truth"], expected):
                yield Finding(path, "truth", "is not the dataset's objectGuess")


@check(
    "scores.ptychi_object", FOLDER + "/" + CANVAS, "PtyChi's object is the one that phase F made"
)
def ptychi_object(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, CANVAS)
        made = hub.arrays(reconstruction(hub, split), "reconstructed_object")
        if not np.array_equal(hub.arrays(path, "PtyChi")["PtyChi"], made["reconstructed_object"]):
            yield Finding(path, "PtyChi", f"is not that of {reconstruction(hub, split)}")


@check(
    "scores.models_differ",
    FOLDER + "/" + CANVAS,
    "no two models have one reconstruction, none is the truth",
)
def models_differ(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path = hub.comparison(split, CANVAS)
        found = list(hub.arrays(path).items())
        for number, (one, first) in enumerate(found):
            for other, second in found[number + 1 :]:
                if np.array_equal(first, second):
                    yield Finding(path, one, f"is the same array as {other}")


def _sigma(hub: Hub, split: str) -> float:
    """Pre-smoothing of MS-SSIM, px, as the comparison manifest states it."""
    for job in hub.json(contract.MANIFEST)["jobs"]:
        if job["split"] == split:
            sigma = job.get("ms_ssim_sigma")
            if isinstance(sigma, float):
                return sigma
    raise Broken(contract.MANIFEST, "jobs", f"state no ms_ssim_sigma for {split}")


def _phases(truth: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The truth's phase relative to its mean, and the image's beside it, not unwrapped."""
    mean = truth.mean()
    own = np.angle(truth * np.exp(-1j * np.angle(mean)))
    return own, own + np.angle(image * np.conj(truth))


def _scores(
    truth: np.ndarray,
    image: np.ndarray,
    sigma_px: float,
    suffix: str,
    frc_threshold: float | None = None,
) -> dict[str, Any]:
    """Row name -> component -> value, with the terms of MS-SSIM; complex128 arrays of the area."""
    from fly64_assets.ptychography import metrics

    rows: dict[str, Any] = {}
    for component, pair in (
        ("amplitude", (np.abs(truth), np.abs(image))),
        ("phase", _phases(truth, image)),
    ):
        span = float(pair[0].max() - pair[0].min())
        multi = metrics.ms_ssim(*pair, data_range=span, sigma_px=sigma_px)
        for name, value in {
            "mae": float(np.abs(pair[0] - pair[1]).mean()),
            "mse": float(((pair[0] - pair[1]) ** 2).mean()),
            "psnr": metrics.psnr(*pair, data_range=span),
            "ssim": metrics.ssim(*pair, data_range=span),
            "ms_ssim": multi.value,
        }.items():
            rows.setdefault(name + suffix, {})[component] = value
        rows.setdefault("terms", {})[f"ms_ssim{suffix} {component}"] = list(multi.terms)
        rows.setdefault("range", {})[component] = span
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
    stored = hub.arrays(path, *MODELS, "truth")
    found = {}
    for key, values in stored.items():
        if values.shape != stored["truth"].shape or not np.isfinite(values).all():
            raise Broken(path, key, "is not finite, or of another shape than the truth")
        found[key] = (values if inside is None else values[inside]).astype(np.complex128)
    return found


def fitted_scores(hub: Hub, split: str) -> dict[str, dict[str, Any]]:
    """Per model the rows that come from the aligned arrays."""
    path, sigma = hub.comparison(split, ALIGNED), _sigma(hub, split)
    threshold = float(setting(hub, "scoring", "frc_threshold"))

    def measure() -> dict[str, Any]:
        found = _complex(hub, path)
        return {
            model: _scores(found["truth"], found[model], sigma, "", threshold) for model in MODELS
        }

    return hub.once("fitted", [path], measure, sigma, threshold)


def strict_scores(hub: Hub, split: str) -> dict[str, dict[str, Any]]:
    """Per model the rows with only the global phase removed, from the objects on the canvas."""
    path, sigma, box = hub.comparison(split, CANVAS), _sigma(hub, split), _area(hub, split)

    def measure() -> dict[str, Any]:
        found = _complex(hub, path, (slice(box[0], box[1]), slice(box[2], box[3])))
        rows = {}
        for model in MODELS:
            turned = np.angle((found["truth"].conj() * found[model]).sum())
            strict = (found[model] * np.exp(-1j * turned)).astype(np.complex64)
            rows[model] = _scores(found["truth"], strict.astype(np.complex128), sigma, "_strict")
        return rows

    return hub.once("strict", [path], measure, sigma, tuple(box))


def _same_number(stated: float, value: float) -> bool:
    return stated == value or abs(stated - value) <= LAST_DIGIT


def _hold(hub: Hub, split: str, model: str, rows: dict[str, Any]) -> Iterator[Finding]:
    path, stated = hub.comparison(split, "comparison_metrics.csv"), score_table(hub, split)
    for metric in contract.BY_COMPONENT:
        for component, value in rows.get(metric, {}).items():
            found = stated.get((model, metric), {}).get(component)
            if found is None or not _same_number(found, value):
                yield Finding(
                    path,
                    f"{model} {metric} {component}",
                    f"is {'missing' if found is None else f'{found:.6f}'}, the arrays give "
                    f"{value:.6f}",
                )


@check("scores.fitted_recomputed", TABLE, "every fitted score is that of the aligned arrays")
def fitted_recomputed(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        for model, rows in fitted_scores(hub, split).items():
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
            columns = [curves["amplitude"].frequency]
            columns += [curves[component].correlation for component in contract.COMPONENTS]
            if len(lines) != len(columns[0]):
                yield Finding(path, "", f"has {len(lines)} shells, expected {len(columns[0])}")
                continue
            for number, (line, values) in enumerate(
                zip(lines, zip(*columns, strict=True), strict=True), 2
            ):
                if len(line) != 3 or not all(
                    contract.NUMBER.fullmatch(cell) and _same_number(float(cell), value)
                    for cell, value in zip(line, values, strict=True)
                ):
                    reason = f"is {','.join(line)}, expected " + ",".join(
                        f"{v:.6f}" for v in values
                    )
                    yield Finding(path, f"line {number}", reason)


def alignments(hub: Hub, split: str) -> dict[str, Any]:
    """Per model the alignment of the object on the canvas to the truth, made again."""
    from fly64_assets.ptychography.alignment import DegenerateReconstruction, align

    path, box, bound = (
        hub.comparison(split, CANVAS),
        _area(hub, split),
        float(setting(hub, "scoring", "max_shift_px")),
    )

    def measure() -> dict[str, Any]:
        found = hub.arrays(path, *MODELS, "truth")
        inside = slice(box[0], box[1]), slice(box[2], box[3])
        made = {}
        for model in MODELS:
            try:
                made[model] = align(found[model], found["truth"], inside, max_shift_px=bound)
            except (DegenerateReconstruction, ValueError) as error:
                raise Broken(path, model, f"cannot be aligned: {error}") from None
        return made

    return hub.once("align", [path], measure, tuple(box), bound)


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
                if found is None or not _same_number(found, value):
                    yield Finding(path, f"{model} {name}", f"is {found}, expected {value:.6f}")


STITCHED = re.compile(
    r"(\w+): (\d+) patches stitched in (\d+\.\d\d) s, \d+\.\d % of the scored pixels outside "
    r"every patch's central \d+ px"
)


@check(
    "scores.seconds", TABLE, "computation times are those of phase F and of the comparison's log"
)
def seconds(hub: Hub) -> Iterator[Finding]:
    for split in SPLITS:
        path, stated = hub.comparison(split, "comparison_metrics.csv"), score_table(hub, split)
        times = {
            model: stated.get((model, "computation_time_s"), {}).get("value") for model in MODELS
        }
        made = float(
            hub.arrays(reconstruction(hub, split), "computation_time_s")["computation_time_s"]
        )
        if times["PtyChi"] is None or not _same_number(times["PtyChi"], made):
            yield Finding(
                path, "PtyChi computation_time_s", f"is {times['PtyChi']}, made in {made:.6f}"
            )
        log = _log_lines(hub, split)
        logged = {m[1]: float(m[3]) for line in log if (m := STITCHED.fullmatch(line))}
        for model in contract.NETWORKS:
            found, said = times[model], logged.get(model)
            if found is None or said is None or abs(found - said) > 0.005 + 1e-6:
                reason = f"is {found}, comparison.log says {said}"
                yield Finding(path, f"{model} computation_time_s", reason)


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
            f"{model} MS-SSIM phase {stated[model, 'ms_ssim']['phase']:.3f} "
            f"amplitude {stated[model, 'ms_ssim']['amplitude']:.3f}"
            for model in MODELS
            if (model, "ms_ssim") in stated
        )
        if not lines or not _alike(last, lines[-1]):
            yield Finding(path, f"line {len(lines)}", f"is {shown(lines[-1:])}, expected {last!r}")
        found = [m for line in lines if (m := STITCHED.fullmatch(line))]
        if [(m[1], int(m[2])) for m in found] != [(model, number) for model in contract.NETWORKS]:
            yield Finding(path, "stitched", f"does not say {number} patches of each network")


_DECIMAL = re.compile(r"-?\d+\.\d+")


def _alike(expected: str, found: str) -> bool:
    """One text but for a last digit: the log rounds the double, the table did so before."""
    if _DECIMAL.sub("#", expected) != _DECIMAL.sub("#", found):
        return False
    pairs = zip(_DECIMAL.findall(expected), _DECIMAL.findall(found), strict=True)
    return all(abs(float(one) - float(other)) < 1e-9 or one == other for one, other in pairs)


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
            "area": dict(zip(("y0", "y1", "x0", "x1"), _area(hub, split), strict=True)),
            "n_images": dict.fromkeys(MODELS, number),
            "data_ranges": fitted["PtychoPINN"]["range"],
            "fitted": {
                model: _fitted(made, {**fitted[model]["terms"], **strict[model]["terms"]})
                for model, made in alignments(hub, split).items()
            },
        }
        known = {key: value for key, value in stated.items() if key in expected}
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
        solved = reconstruction(hub, split).rpartition("/")[0]
        paths = {
            f"{ASSETS[model]}/{name}": bundle_file(hub, model, name)
            for model in contract.NETWORKS
            for name in ("bundle.json", "history.csv", "model.keras")
        }
        paths |= {
            f"{split}/ptychi_reconstruction/{name}": f"{solved}/{name}"
            for name in ("loss_history.csv", "ptychi_reconstruction.npz")
            if f"{solved}/{name}" in hub.files
        }
        records = hub.json(path).get("transformations")
        yield from compare_lineage(
            hub, split, f"{split}/comparison", path, records, "compare", paths
        )
        found = records[-1]["parameters"].get("split")
        yield from compare(path, split, found, key="transformations[-1].split")
