"""Scoring reconstructions of one split against the truth: area, phase convention, table, CSV.

What does not belong here: how a metric is computed (``metrics.py``), how ambiguities are removed
(``alignment.py``), where the files lie, and summaries over splits or doses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fly64_assets.errors import InfeasibleView, InputError
from fly64_assets.ptychography.scoring import metrics, reference_ms_ssim
from fly64_assets.ptychography.scoring.alignment import Aligned, DegenerateReconstruction, align
from fly64_assets.ptychography.scoring.metrics import METRICS, FrcCurve, MsSsim
from fly64_assets.study.arms import NAMES
from fly64_assets.study.model import ScoringSettings

STRICT_SUFFIX = "_strict"
CENSORED = "frc50_censored"
RECORDED = {
    "registration_offset_dy": (-np.inf, np.inf),
    "registration_offset_dx": (-np.inf, np.inf),
    "registration_applied": (0.0, 1.0),
    "computation_time_s": (0.0, np.inf),
}
"""Rows that stand in ``value``, with their range: px, px, flag, seconds."""
FLAGS = (CENSORED, "registration_applied")
COLUMNS = ("model", "metric", "amplitude", "phase", "value")
ROW_NAMES = (
    *(name for name in METRICS if name != "frc50"),
    *(name + STRICT_SUFFIX for name, definition in METRICS.items() if definition.strict),
    "frc50",
    CENSORED,
    *RECORDED,
)
"""Every metric row of one model, in file order."""
REFERENCE = reference_ms_ssim.DEFINITION.name
"""Follows `ROW_NAMES` where a study asks for it."""
NEED_CONTRAST = frozenset(
    {
        *(name for name, definition in METRICS.items() if definition.needs_contrast),
        *(
            name + STRICT_SUFFIX
            for name, definition in METRICS.items()
            if definition.strict and definition.needs_contrast
        ),
        CENSORED,
        REFERENCE,
    }
)
"""Rows that are blank for a component in which the truth has no contrast."""
_NUMBER = re.compile(r"-?(\d+\.\d{6}|inf)")


@dataclass(frozen=True)
class Area:
    """The pixels that are compared: rows y0 to y1 and columns x0 to x1 of the canvas, ends open."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    def as_array(self) -> np.ndarray:
        """(4,) int64: y0, y1, x0, x1."""
        return np.array([self.y0, self.y1, self.x0, self.x1], dtype=np.int64)


@dataclass(frozen=True)
class ScoreRow:
    """One line of the table; None where a column does not apply."""

    model: str
    metric: str
    amplitude: float | None = None
    phase: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class ScoreWarning:
    """Something that a reader of the scores must know.

    Attributes:
        kind: ``negative_ms_ssim_term`` (clamped to 0) or ``registration_not_applied``.
        model, metric: whose row it concerns; ``component`` is None where it concerns both.
        message: one sentence with the numbers.
    """

    kind: Literal["negative_ms_ssim_term", "registration_not_applied"]
    model: str
    metric: str
    component: str | None
    message: str


@dataclass(frozen=True, eq=False)
class ModelScore:
    """What lies behind the rows of one model.

    Attributes:
        aligned: arrays and fitted ambiguities.
        frc: curve per component in which the truth has contrast, of the aligned object.
        ms_ssim: by (row name, component), so that the terms behind a value can be read.
    """

    aligned: Aligned
    frc: Mapping[str, FrcCurve]
    ms_ssim: Mapping[tuple[str, str], MsSsim]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """All models of one split, scored on one area.

    Attributes:
        rows: in the order of the models as given, then of `row_names`.
        area: on the canvas.
        truth: (h, w) complex64, the truth in the area.
        data_ranges: see `data_ranges`.
        models: by name, in the same order.
        warnings: in the same order; empty when there is nothing to say.
    """

    rows: tuple[ScoreRow, ...]
    area: Area
    truth: np.ndarray
    data_ranges: Mapping[str, float | None]
    models: Mapping[str, ModelScore]
    warnings: tuple[ScoreWarning, ...]


def row_names(settings: ScoringSettings) -> tuple[str, ...]:
    """Every metric row of one model that a study with these settings has, in file order."""
    return (*ROW_NAMES, REFERENCE) if settings.reference_ms_ssim else ROW_NAMES


def scoring_area(
    centres_px: np.ndarray,
    split: Literal["train", "test"],
    split_line_y_px: float,
    probe_diameter_px: float,
) -> Area:
    """Return the area that all models of one split are compared on (contract, section 4).

    The bounding box of the split's group centres, less a strip of half a probe diameter along the
    split line, which the other half illuminated as well. ``train`` is the half with smaller y.

    Args:
        centres_px: (n, 2) float64, canvas pixels, y then x.
        split: which half the centres belong to.
        split_line_y_px: y of the line between the halves.
        probe_diameter_px: D, of the overlap discs.

    Raises:
        InfeasibleView: a side of the area is below the 11 px window of SSIM.
        ValueError: no centres, or ``split`` is neither half.
    """
    centres = np.asarray(centres_px, dtype=np.float64)
    if centres.ndim != 2 or centres.shape[1] != 2 or not len(centres):
        raise ValueError(f"centres of shape {centres.shape} are not (n, 2) with n > 0")
    (y_min, x_min), (y_max, x_max) = centres.min(axis=0), centres.max(axis=0)
    if split == "train":
        y_max = min(y_max, split_line_y_px - probe_diameter_px / 2)
    elif split == "test":
        y_min = max(y_min, split_line_y_px + probe_diameter_px / 2)
    else:
        raise ValueError(f"split {split!r} is neither 'train' nor 'test'")
    first = np.ceil([y_min, x_min]).astype(int)
    last = np.floor([y_max, x_max]).astype(int)
    area = Area(int(first[0]), int(last[0]) + 1, int(first[1]), int(last[1]) + 1)
    if min(area.shape) < metrics.WINDOW_PX:
        height, width = (max(side, 0) for side in area.shape)
        raise InfeasibleView(
            "scoring area",
            split,
            f"{height} x {width} px from {len(centres)} group centres, less "
            f"{probe_diameter_px / 2:g} px along the split line at y = {split_line_y_px:g}; "
            f"the metrics need {metrics.WINDOW_PX} px a side",
        )
    return area


def phases(truth: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phases in rad of two complex arrays of one shape, comparable without unwrapping.

    The truth's phase is relative to that of its mean; the image's is the truth's plus their
    wrapped difference. Where the truth wraps the image wraps with it.
    """
    truth_phase = np.angle(truth * np.exp(-1j * np.angle(truth.mean())))
    return truth_phase, truth_phase + np.angle(image * truth.conj())


def data_ranges(truth: np.ndarray) -> dict[str, float | None]:
    """Return the range of amplitude (1) and phase (rad) of a complex array; None without contrast.

    Args:
        truth: (h, w) complex, in the scoring area.
    """
    return {
        "amplitude": metrics.data_range(np.abs(truth)),
        "phase": metrics.data_range(phases(truth, truth)[0], 1.0),
    }


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What a score table holds of one image of an area.

    Attributes:
        rows: row name -> component -> value; None where the metric is not defined.
        ms_ssim: by (row name, component), so that the terms behind a value can be read.
        frc: curve per component in which the truth has contrast; none of a strict image.
    """

    rows: Mapping[str, Mapping[str, float | None]]
    ms_ssim: Mapping[tuple[str, str], MsSsim]
    frc: Mapping[str, FrcCurve]


def image_scores(
    truth: np.ndarray, image: np.ndarray, settings: ScoringSettings, *, strict: bool = False
) -> ImageScores:
    """Score one image by every metric: the one place that says which scores an image has.

    Args:
        truth: (h, w) complex, in the scoring area.
        image: the same, aligned to it.
        settings: smoothing, FRC threshold and optional rows.
        strict: whether only the global phase was removed; then the rows are named so, and those
            that are not taken of such an image are left out.
    """
    truth, image = truth.astype(np.complex128), image.astype(np.complex128)
    suffix = STRICT_SUFFIX if strict else ""
    pairs = {"amplitude": (np.abs(truth), np.abs(image)), "phase": phases(truth, image)}
    ranges = data_ranges(truth)
    rows: dict[str, dict[str, float | None]] = {
        name + suffix: dict.fromkeys(pairs)
        for name, definition in METRICS.items()
        if definition.strict or not strict
    }
    terms: dict[tuple[str, str], MsSsim] = {}
    curves: dict[str, FrcCurve] = {}
    if not strict:
        rows[CENSORED] = dict.fromkeys(pairs)
    for component, pair in pairs.items():
        rows["mae" + suffix][component] = metrics.mae(*pair)
        rows["mse" + suffix][component] = metrics.mse(*pair)
        span = ranges[component]
        if span is None:
            continue
        multi = metrics.ms_ssim(*pair, data_range=span, sigma_px=settings.ms_ssim_sigma_px)
        terms["ms_ssim" + suffix, component] = multi
        rows["psnr" + suffix][component] = metrics.psnr(*pair, data_range=span)
        rows["ssim" + suffix][component] = metrics.ssim(*pair, data_range=span)
        rows["ms_ssim" + suffix][component] = multi.value
        if not strict:
            curve = curves[component] = metrics.frc(*pair, settings.frc_threshold)
            rows["frc50"][component] = curve.frc50
            rows[CENSORED][component] = float(curve.censored)
    if settings.reference_ms_ssim and not strict:
        defined = [component for component, span in ranges.items() if span is not None]
        published = reference_ms_ssim.by_component(
            pairs["amplitude"],
            pairs["phase"],
            sigma_px=settings.ms_ssim_sigma_px,
            defined=defined,
        )
        rows[REFERENCE] = {component: published.get(component) for component in pairs}
    return ImageScores(rows, terms, curves)


def score(
    reconstructions: Mapping[str, np.ndarray],
    truth: np.ndarray,
    area: Area,
    settings: ScoringSettings,
    computation_time_s: Mapping[str, float],
) -> ScoreTable:
    """Compare the reconstructions of one split with the truth.

    Args:
        reconstructions: per model (H, W) complex, on the truth's canvas.
        truth: (H, W) complex.
        area: see `scoring_area`.
        settings: smoothing, FRC threshold, registration bound and optional rows.
        computation_time_s: per model, recorded as it is.

    Raises:
        DegenerateReconstruction: a reconstruction is empty, constant or not finite; the model is
            named.
        ValueError: unknown models, no model, times for other models, or a truth without contrast.
    """
    _check_models(reconstructions, computation_time_s)
    inside = truth[area.slices].astype(np.complex128)
    ranges = data_ranges(inside)
    if set(ranges.values()) == {None}:
        raise ValueError("the truth is constant in the area: no score is defined")
    rows: list[ScoreRow] = []
    models: dict[str, ModelScore] = {}
    warnings: list[ScoreWarning] = []
    for model, reconstruction in reconstructions.items():
        try:
            aligned = align(reconstruction, truth, area.slices, max_shift_px=settings.max_shift_px)
        except DegenerateReconstruction as error:
            raise DegenerateReconstruction(f"{model}: {error}") from None
        fitted = image_scores(inside, aligned.object, settings)
        strict = image_scores(inside, aligned.strict, settings, strict=True)
        detail = ModelScore(aligned, fitted.frc, {**fitted.ms_ssim, **strict.ms_ssim})
        recorded = _recorded(aligned, computation_time_s[model])
        values = {**fitted.rows, **strict.rows, **recorded}
        rows += [ScoreRow(model, name, **values[name]) for name in row_names(settings)]
        models[model] = detail
        warnings += _warnings(model, detail, settings)
    return ScoreTable(
        rows=tuple(rows),
        area=area,
        truth=inside.astype(np.complex64),
        data_ranges=ranges,
        models=models,
        warnings=tuple(warnings),
    )


def _check_models(
    reconstructions: Mapping[str, np.ndarray], computation_time_s: Mapping[str, float]
) -> None:
    unknown = [model for model in reconstructions if model not in NAMES]
    if unknown or not reconstructions:
        raise ValueError(f"models {list(reconstructions)}: expected one or more of {NAMES}")
    if set(computation_time_s) != set(reconstructions):
        raise ValueError(
            f"computation times are for {sorted(computation_time_s)}, reconstructions for "
            f"{sorted(reconstructions)}"
        )


def _recorded(aligned: Aligned, seconds: float) -> dict[str, dict[str, float]]:
    recorded = (*aligned.shift_px, float(aligned.registration_applied), float(seconds))
    return {name: {"value": value} for name, value in zip(RECORDED, recorded, strict=True)}


def _warnings(model: str, detail: ModelScore, settings: ScoringSettings) -> list[ScoreWarning]:
    found = []
    if not detail.aligned.registration_applied:
        dy, dx = detail.aligned.shift_px
        found.append(
            ScoreWarning(
                "registration_not_applied",
                model,
                "registration_applied",
                None,
                f"{model}: the estimated shift (dy, dx) = ({dy:.2f}, {dx:.2f}) px exceeds "
                f"{settings.max_shift_px:g} px and was not applied",
            )
        )
    for (metric, component), result in detail.ms_ssim.items():
        if result.n_clamped:
            terms = ", ".join(f"{term:.3f}" for term in result.terms)
            found.append(
                ScoreWarning(
                    "negative_ms_ssim_term",
                    model,
                    metric,
                    component,
                    f"{model}: {result.n_clamped} of {result.scales} terms of {metric} "
                    f"({component}) are negative and count as 0: {terms}",
                )
            )
    return found


def write_csv(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write rows as UTF-8 with LF: six decimals, blank where a column does not apply.

    An infinite PSNR (reconstruction equal to the truth) is written as ``inf``; blank too is what
    needs contrast where the truth has none.

    Raises:
        ValueError: a value is NaN.
    """
    lines = [",".join(COLUMNS)]
    for row in rows:
        numbers = (_text(row, getattr(row, column)) for column in COLUMNS[2:])
        lines.append(",".join((row.model, row.metric, *numbers)))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _text(row: ScoreRow, value: float | None) -> str:
    if value is None:
        return ""
    if np.isnan(value):
        raise ValueError(f"{row.model} {row.metric} is NaN")
    text = f"{value:.6f}"
    return "0.000000" if text == "-0.000000" else text


def read_csv(path: Path) -> tuple[ScoreRow, ...]:
    """Read and check a score table; see `write_csv`.

    Whether every model and metric is there is a question of its own.

    Raises:
        InputError: the file is missing or not UTF-8, or a line has an unknown model or metric, a
            repeated one, a number that is malformed or impossible for its metric, or a column
            filled that does not apply or empty that does. The line is named.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(path, "", f"cannot be read: {reason}") from None
    if lines[0] != ",".join(COLUMNS):
        raise InputError(path, "header", f"{lines[0]!r}, expected {','.join(COLUMNS)!r}")
    if lines.pop() != "":
        raise InputError(path, f"line {len(lines) + 1}", "is cut off: a line ends with LF")
    rows: dict[tuple[str, str], ScoreRow] = {}
    for number, line in enumerate(lines[1:], start=2):
        row = _parsed(path, number, line)
        if (row.model, row.metric) in rows:
            raise InputError(path, f"line {number}", f"{row.model} {row.metric} appears twice")
        rows[row.model, row.metric] = row
    return tuple(rows.values())


def _parsed(path: Path, number: int, line: str) -> ScoreRow:
    def refuse(problem: str) -> InputError:
        return InputError(path, f"line {number}", problem)

    cells = line.split(",")
    if len(cells) != len(COLUMNS):
        raise refuse(f"{len(cells)} columns, expected {len(COLUMNS)}")
    model, metric = cells[:2]
    if model not in NAMES:
        raise refuse(f"model {model!r} is not one of {', '.join(NAMES)}")
    if metric not in (*ROW_NAMES, REFERENCE):
        raise refuse(f"metric {metric!r} is not one of {', '.join((*ROW_NAMES, REFERENCE))}")
    applies = ("value",) if metric in RECORDED else metrics.COMPONENTS
    values: dict[str, float] = {}
    for column, cell in zip(COLUMNS[2:], cells[2:], strict=True):
        if column not in applies and cell:
            raise refuse(f"{metric} has {column} {cell!r}; that column does not apply to it")
        if column in applies:
            if not cell and metric in NEED_CONTRAST:
                continue
            if not _NUMBER.fullmatch(cell):
                raise refuse(f"{metric} {column} {cell!r} is not a number with six decimals")
            values[column] = float(cell)
            if not _is_possible(metric, values[column]):
                raise refuse(f"{metric} {column} is {cell}, which the metric cannot be")
    return ScoreRow(model, metric, **values)


def _is_possible(row_name: str, value: float) -> bool:
    if row_name in FLAGS:
        return value in (0.0, 1.0)
    if row_name in RECORDED:
        low, high = RECORDED[row_name]
        return np.isfinite(value) and low <= value <= high
    if row_name == REFERENCE:
        return reference_ms_ssim.DEFINITION.contains(value)
    return METRICS[row_name.removesuffix(STRICT_SUFFIX)].contains(value)
