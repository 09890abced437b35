"""Rules of every number of a split's comparison: it is what the stored images give.

What must come out is derived in ``score_tables.py``; that every row is there is the manifest's
completeness (``comparison_manifest.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.ptychography.scoring.names import COLUMNS
from fly64_assets.rules import comparison_logs
from fly64_assets.rules.files import Files, equals
from fly64_assets.rules.score_tables import (
    ALIGNED,
    CANVAS,
    RECORDS,
    TABLE,
    aligned_again,
    area_of,
    fitted_scores,
    slices,
    stated_scores,
    succeeded,
)
from fly64_assets.rules.values import agree, cell, same_cell, same_number
from fly64_assets.study.arms import iterative

if TYPE_CHECKING:
    from fly64_assets.ptychography.scoring.metrics import FrcCurve

ALIGNED_TOLERANCE = 2e-6
"""Of the largest modulus: single precision."""
FITTED_TOLERANCE = 1e-8
"""Of fitted numbers: Newton steps end at 1e-9 rad."""
LOGGED_SECONDS = 0.005 + 1e-6
"""A log has two decimals."""


def scores(files: Files) -> Iterable[RuleOutcome]:
    """Hold both splits' comparisons, as far as they ended well, against their arrays."""
    for comparison in succeeded(files):
        yield from _images(comparison)
        yield from _table(comparison)
        yield from _seconds(comparison)
        for model in comparison.study.arms:
            curves = fitted_scores(comparison, model).frc
            yield from _curves(comparison, f"{model}_frc_curve.csv", curves)
        if comparison.has(RECORDS):
            yield from _records(comparison)
        yield from _logged(comparison)


def _images(comparison: Files) -> Iterator[RuleOutcome]:
    """Hold the area against the coordinates, the truth and the aligned objects against theirs."""
    import numpy as np

    split, area = comparison.split, area_of(comparison)
    stored = comparison.arrays(ALIGNED)
    place = f"{split}/{ALIGNED}"
    found = str(stored["area"].dtype), stored["area"].tolist()
    yield equals(f"{place} area", "of the view's centres", ("int64", area), found)
    dataset = comparison.other(split, "dataset")
    known = dataset.arrays(dataset.product.files[0], "objectGuess")["objectGuess"]
    canvas = comparison.arrays(CANVAS, "truth")["truth"]
    for key, rule, expected, image in (
        (f"{split}/{CANVAS} truth", "the specimen", known, canvas),
        (f"{place} truth", "the specimen in the area", known[slices(area)], stored["truth"]),
    ):
        same = "equal" if np.array_equal(expected, image) else "another"
        yield equals(key, rule, "equal", same)
    for model in comparison.study.arms:
        made = aligned_again(comparison, model)[0].object
        largest = ALIGNED_TOLERANCE * float(np.abs(made).max())
        off = float(np.abs(stored[model] - made).max())
        rule = "the object, aligned again"
        yield RuleOutcome(f"{place} {model}", rule, "equal", f"{off:.3g} off", off <= largest)


def _table(comparison: Files) -> Iterator[RuleOutcome]:
    stated = stated_scores(comparison)
    for model in comparison.study.arms:
        aligned, _, strict = aligned_again(comparison, model)
        dy, dx = aligned.shift_px
        expected = {
            **fitted_scores(comparison, model).rows,
            **strict.rows,
            "registration_offset_dy": {"value": dy},
            "registration_offset_dx": {"value": dx},
            "registration_applied": {"value": float(aligned.registration_applied)},
        }
        rows = stated.get(model, {})  # what is missing is for completeness to say
        wrong = [
            (metric, column, rows[metric].get(column), value)
            for metric in expected
            if metric in rows
            for column, value in expected[metric].items()
            if not same_number(rows[metric].get(column), value)
        ]
        rule, place = "as the stored images give it", f"{comparison.split}/{TABLE} {model}"
        if not wrong:
            yield RuleOutcome(place, rule, "all", "all", True)
        for metric, column, found, value in wrong:
            wanted, told = (cell(one) or "blank (not defined)" for one in (value, found))
            yield RuleOutcome(f"{place} {metric} {column}", rule, wanted, told, False)


def _seconds(comparison: Files) -> Iterator[RuleOutcome]:
    """Hold durations against phase F's files and the comparison's log."""
    split, stated = comparison.split, stated_scores(comparison)
    expected = {
        name: (seconds, LOGGED_SECONDS)
        for name, _, seconds, _ in comparison_logs.stitched(comparison)
    }
    for arm in iterative(comparison.study.arms):
        solved = comparison.other(*arm.key(split)).arrays(arm.file, "computation_time_s")
        expected[arm.name] = float(solved["computation_time_s"]), 1e-6
    for model in comparison.study.arms:
        found = stated.get(model, {}).get("computation_time_s", {}).get("value")
        if found is None:  # for completeness to say
            continue
        seconds, tolerance = expected.get(model, (None, 0.0))
        yield RuleOutcome(
            f"{split}/{TABLE} {model} computation_time_s",
            "as phase F and the log say",
            "stated there" if seconds is None else f"{seconds:.6f}",
            f"{found:.6f}",
            seconds is not None and abs(found - seconds) <= tolerance,
        )


def _curves(comparison: Files, file: str, curves: Mapping[str, FrcCurve]) -> Iterator[RuleOutcome]:
    rows, place = comparison.table(file), f"{comparison.split}/{file}"
    columns = {"frequency_nyquist": next(iter(curves.values())).frequency} | {
        name: curves[name].correlation for name in COLUMNS if name in curves
    }
    names = ("frequency_nyquist", *COLUMNS)
    yield equals(place, "its columns", names, tuple(rows[0]) if rows else ())
    number = len(columns["frequency_nyquist"])
    yield equals(place, "a row a shell", number, len(rows))
    wrong = [
        f"shell {shell} {name} is {row.get(name)!r}"
        for shell, row in enumerate(rows[:number])
        for name in names
        if not same_cell(
            row.get(name) or "", float(columns[name][shell]) if name in columns else None
        )
    ]
    told = f"{len(wrong)} not, first {wrong[0]}" if wrong else "all"
    yield equals(place, "as the aligned images give it", "all", told)


def _records(comparison: Files) -> Iterator[RuleOutcome]:
    """Hold ``scoring.json`` to the fit, the terms of MS-SSIM and the warnings that follow."""
    stated = comparison.json(RECORDS)
    models = comparison.study.arms
    fitted: dict[str, Any] = {}
    warned: set[tuple[str | None, ...]] = set()
    for model in models:
        made, _, strict = aligned_again(comparison, model)
        terms = {**fitted_scores(comparison, model).ms_ssim, **strict.ms_ssim}
        fitted[model] = {
            "shift_px": list(made.shift_px),
            "registration_applied": made.registration_applied,
            "phase_offset_rad": made.phase_offset_rad,
            "phase_plane_rad_per_px": list(made.phase_plane_rad_per_px),
            "amplitude_scale": made.amplitude_scale,
            "ms_ssim_terms": {" ".join(name): list(one.terms) for name, one in terms.items()},
        }
        if not made.registration_applied:
            warned.add(("registration_not_applied", model, "registration_applied", None))
        for name, one in terms.items():
            if min(one.terms) < 0:
                warned.add(("negative_ms_ssim_term", model, *name))
    expected = {
        "status": "success",
        "area": dict(zip(("y0", "y1", "x0", "x1"), area_of(comparison), strict=True)),
        "cpu_seconds": comparison_logs.cpu_seconds(comparison),
        "data_ranges": _data_ranges(comparison),
        "fitted": fitted,
    }
    elsewhere = ("n_images", "warnings", "transformations")
    known = {key: value for key, value in stated.items() if key not in elsewhere}
    place, rule = f"{comparison.split}/{RECORDS}", "as the stored images give it"
    yield from agree(place, rule, expected, known, relative=FITTED_TOLERANCE)
    parts = ("kind", "model", "metric", "component")
    told = {tuple(one.get(part) for part in parts) for one in stated["warnings"]}
    yield equals(
        f"{place} warnings", "of shifts and terms", sorted(map(str, warned)), sorted(map(str, told))
    )


def _data_ranges(comparison: Files) -> dict[str, float | None]:
    from fly64_assets.ptychography.scoring.comparison import data_ranges

    return data_ranges(comparison.arrays(ALIGNED, "truth")["truth"].astype("complex128"))


def _logged(comparison: Files) -> Iterator[RuleOutcome]:
    """Hold the last line of the log to the scores of the images, as people are shown them."""
    said = "; ".join(
        f"{model} MS-SSIM "
        + " ".join(
            f"{name} {formatting.score(found[name], 'brief', 'ms_ssim')}"
            for name in ("phase", "amplitude")
        )
        for model in comparison.study.arms
        if (found := fitted_scores(comparison, model).rows["ms_ssim"])
    )
    last = comparison_logs.lines(comparison)[-1:]
    place = f"{comparison.split}/{comparison_logs.FILE}"
    yield equals(place, "ends with the scores", [f"scored: {said}"], last)
