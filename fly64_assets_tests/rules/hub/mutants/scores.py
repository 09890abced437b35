"""Edits of a split's comparison: table, arrays, curves, records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from fly64_assets_tests.rules.hub.forging import CRATE, Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant

FOLDER = "analysis/DOSE/VIEW/test"
TABLE = f"{FOLDER}/comparison_metrics.csv"
CANVAS, ALIGNED = f"{FOLDER}/reconstructions.npz", f"{FOLDER}/reconstructions_aligned.npz"
CURVE, LOG, SCORING = (
    f"{FOLDER}/{n}" for n in ("PtyChi_frc_curve.csv", "comparison.log", "scoring.json")
)
SOLVED = "data/phase_f/DOSE/VIEW/test/ptychi_reconstruction.npz"

Cells = list[list[str]]


def edit_rows(f: Forgery, edit: Callable[[Cells], object], template: str = TABLE) -> None:
    """Edit a CSV by its cells, header first."""

    def change(text: str) -> str:
        rows = [line.split(",") for line in text.split("\n")[:-1]]
        edited = edit(rows)
        rows = edited if isinstance(edited, list) else rows
        return "".join(",".join(row) + "\n" for row in rows)

    f.text(template, change)


def _set(model: str, metric: str, column: int, value: str) -> Callable[[Forgery], None]:
    """Put a cell; column 2 is amplitude, 3 phase, 4 value."""

    def edit(rows: Cells) -> None:
        next(row for row in rows if row[:2] == [model, metric])[column] = value

    return lambda f: edit_rows(f, edit)


def _nudged(model: str, metric: str, column: int) -> Callable[[Forgery], None]:
    """Change the last digit of a cell, by more than rounding can."""

    def edit(rows: Cells) -> None:
        row = next(row for row in rows if row[:2] == [model, metric])
        row[column] = row[column][:-1] + str((int(row[column][-1]) + 5) % 10)

    return lambda f: edit_rows(f, edit)


add(
    "scores.table",
    "a renamed model",
    lambda f: f.text(TABLE, lambda t: t.replace("PtyChi,", "Pty-chi (pty-chi),")),
)
add(
    "scores.table",
    "a model without rows",
    lambda f: edit_rows(f, lambda r: [row for row in r if row[0] != "Baseline"]),
)
add("scores.table", "a metric less", lambda f: edit_rows(f, lambda r: r[:-1]))
add("scores.table", "a row twice", lambda f: edit_rows(f, lambda r: [*r, r[1]]))
add(
    "scores.table",
    "rows in another order",
    lambda f: edit_rows(f, lambda r: [r[0], r[2], r[1], *r[3:]]),
)
add("scores.table", "five decimals", _set("PtyChi", "mae", 2, "0.07573"))
add("scores.table", "an empty cell", _set("PtyChi", "mae", 2, ""))
add("scores.table", "a value that does not apply", _set("PtyChi", "mae", 4, "1.000000"))
add("scores.table", "nan", _set("PtyChi", "mae", 2, "nan"))
add("scores.table", "another header", lambda f: f.replace(TABLE, "amplitude", "amp"))
add(
    "scores.table",
    "a metric that the contract does not have",
    lambda f: f.replace(TABLE, "PtyChi,mae,", "PtyChi,rmse,"),
)


def _reference_rows(rows: Cells) -> Cells:
    """After each model's rows one more, of a value that no array gives."""
    more = "reference_ms_ssim", "0.500000", "0.500000", ""
    last = {row[0]: number for number, row in enumerate(rows)}
    edited = []
    for number, row in enumerate(rows):
        edited.append(row)
        if number and last[row[0]] == number:
            edited.append([row[0], *more])
    return edited


def _ask_for_reference(f: Forgery) -> None:
    """The study as the crate states it asks for the published study's MS-SSIM."""

    def edit(content: dict[str, Any]) -> None:
        (entity,) = (one for one in content["@graph"] if one["@id"] == "#study/scoring")
        entity["value"] = json.dumps({**json.loads(entity["value"]), "reference_ms_ssim": True})

    f.json(CRATE, edit)


add(
    "scores.table", "a row that the study does not ask for", lambda f: edit_rows(f, _reference_rows)
)
add("scores.table", "no row that the study asks for", _ask_for_reference)
for metric, value in {
    "mae": "-0.100000",
    "ssim": "1.500000",
    "ms_ssim": "-0.200000",
    "frc50": "2.000000",
    "frc50_censored": "0.500000",
}.items():
    add("scores.range", f"{metric} of {value}", _set("PtyChi", metric, 2, value))
add("scores.range", "a duration below 0", _set("PtyChi", "computation_time_s", 4, "-1.000000"))
add("scores.range", "a flag of 2", _set("PtyChi", "registration_applied", 4, "2.000000"))


def _nan(arrays: dict[str, np.ndarray]) -> None:
    arrays["Baseline"][0, 0] = np.nan


add("scores.arrays", "a NaN on the canvas", lambda f: f.arrays(CANVAS, _nan))
add("scores.arrays", "a NaN in the area", lambda f: f.arrays(ALIGNED, _nan))
add(
    "scores.arrays",
    "zeros for Baseline",
    lambda f: f.arrays(CANVAS, lambda a: a["Baseline"].__setitem__(..., 0)),
)
add(
    "scores.arrays",
    "a renamed model",
    lambda f: f.arrays(CANVAS, lambda a: a.update(baseline=a.pop("Baseline"))),
)
add("scores.arrays", "no area", lambda f: f.arrays(ALIGNED, lambda a: a.pop("area")))
add(
    "scores.arrays",
    "another dtype",
    lambda f: f.arrays(CANVAS, lambda a: a.update(Baseline=a["Baseline"].astype(np.complex128))),
)
add(
    "scores.arrays",
    "another shape",
    lambda f: f.arrays(ALIGNED, lambda a: a.update(Baseline=a["Baseline"][:-1])),
)
add(
    "scores.area",
    "an area moved by a pixel",
    lambda f: f.arrays(ALIGNED, lambda a: a["area"].__iadd__(1)),
)
add(
    "scores.area",
    "a larger area",
    lambda f: f.arrays(ALIGNED, lambda a: a["area"].__setitem__(1, a["area"][1] + 1)),
)
add(
    "scores.truth",
    "one pixel of the canvas's truth",
    lambda f: f.arrays(CANVAS, lambda a: a["truth"].__setitem__((0, 0), 1)),
)
add(
    "scores.truth",
    "one pixel of the area's truth",
    lambda f: f.arrays(ALIGNED, lambda a: a["truth"].__setitem__((0, 0), 1)),
)
add(
    "scores.ptychi_object",
    "one pixel of PtyChi outside the area",
    lambda f: f.arrays(CANVAS, lambda a: a["PtyChi"].__setitem__((0, 0), 2)),
)
add(
    "scores.ptychi_object",
    "PtyChi of another run",
    lambda f: f.arrays(SOLVED, lambda a: a["reconstructed_object"].__setitem__((0, 0), 2)),
)
add(
    "scores.models_differ",
    "Baseline is PtychoPINN's",
    lambda f: f.arrays(CANVAS, lambda a: a.update(Baseline=a["PtychoPINN"])),
)
add(
    "scores.models_differ",
    "Baseline is the truth",
    lambda f: f.arrays(CANVAS, lambda a: a.update(Baseline=a["truth"])),
)
for metric in ("mae", "mse", "psnr", "ssim", "ms_ssim", "frc50"):
    for column, name in ((2, "amplitude"), (3, "phase")):
        add(
            "scores.fitted_recomputed",
            f"a digit of {metric} {name}",
            _nudged("Baseline", metric, column),
        )
        if metric != "frc50":
            add(
                "scores.strict_recomputed",
                f"a digit of {metric}_strict {name}",
                _nudged("Baseline", f"{metric}_strict", column),
            )
add("scores.fitted_recomputed", "PSNR with a peak of 255", _set("PtyChi", "psnr", 2, "67.812345"))
add("scores.fitted_recomputed", "frc50 in pixels", _set("PtyChi", "frc50", 2, "0.031250"))
add("scores.fitted_recomputed", "frc50 censored", _set("PtyChi", "frc50_censored", 2, "1.000000"))
add("scores.fitted_recomputed", "frc50 of 1", _set("PtyChi", "frc50", 2, "1.000000"))


@mutant("scores.fitted_recomputed", "a reference MS-SSIM that the arrays do not give")
def _(f: Forgery) -> None:
    _ask_for_reference(f)
    for split in ("train", "test"):
        edit_rows(f, _reference_rows, TABLE.replace("test", split))


@mutant("scores.fitted_recomputed", "the splits' tables exchanged")
def _(f: Forgery) -> None:
    other = TABLE.replace("test", "train")
    one, two = f.read(TABLE), f.read(other)
    f.write(TABLE, two)
    f.write(other, one)


@mutant("scores.fitted_recomputed", "the table of another dose")
def _(f: Forgery) -> None:
    def worse(rows: Cells) -> None:
        for row in rows[1:]:
            for column in (2, 3):
                if row[column] and "psnr" not in row[1] and "censored" not in row[1]:
                    row[column] = f"{min(0.97 * float(row[column]), 1):.6f}"

    edit_rows(f, worse)


@mutant("scores.fitted_recomputed", "a better score, carried through every report")
def _(f: Forgery) -> None:
    from fly64_assets_tests.rules.hub.rewriting import rewrite_reports

    _set("PtychoPINN", "ms_ssim", 3, "0.950000")(f)
    rewrite_reports(f)


add(
    "scores.strict_recomputed",
    "strict equals fitted",
    lambda f: edit_rows(
        f,
        lambda r: [
            [row[0], row[1], *r[n - 5][2:]] if row[1].endswith("_strict") else row
            for n, row in enumerate(r)
        ],
    ),
)
add(
    "scores.frc_curves",
    "a digit of a correlation",
    lambda f: edit_rows(
        f, lambda r: r[5].__setitem__(2, r[5][2][:-1] + str((int(r[5][2][-1]) + 1) % 10)), CURVE
    ),
)
add(
    "scores.frc_curves",
    "frequency in 1/px",
    lambda f: edit_rows(
        f,
        lambda r: [row.__setitem__(0, f"{float(row[0]) / 2:.6f}") for row in r[1:]] and None,
        CURVE,
    ),
)
add(
    "scores.frc_curves",
    "the first shell of zero frequency",
    lambda f: edit_rows(f, lambda r: [r[0], ["0.000000", "1.000000", "1.000000"], *r[1:]], CURVE),
)
add("scores.frc_curves", "a shell less", lambda f: edit_rows(f, lambda r: r[:-1], CURVE))
add(
    "scores.frc_curves",
    "another model's curve",
    lambda f: f.write(CURVE, f.read(CURVE.replace("PtyChi", "Baseline"))),
)
add(
    "scores.aligned_recomputed",
    "a pixel of an aligned object",
    lambda f: f.arrays(
        ALIGNED,
        lambda a: a["Baseline"].__setitem__((3, 3), a["Baseline"][3, 3] * np.complex64(1.001)),
    ),
)
add(
    "scores.aligned_recomputed",
    "aligned objects exchanged",
    lambda f: f.arrays(
        ALIGNED, lambda a: a.update(Baseline=a["PtychoPINN"], PtychoPINN=a["Baseline"])
    ),
)
add(
    "scores.registration",
    "another shift",
    _set("Baseline", "registration_offset_dy", 4, "2.000000"),
)
add(
    "scores.registration",
    "a shift of 119 px",
    _set("Baseline", "registration_offset_dx", 4, "119.000000"),
)
add("scores.registration", "not applied", _set("Baseline", "registration_applied", 4, "0.000000"))
add("scores.seconds", "PtyChi was faster", _set("PtyChi", "computation_time_s", 4, "0.100000"))
add(
    "scores.seconds",
    "PtychoPINN was faster",
    _set("PtychoPINN", "computation_time_s", 4, "0.100000"),
)
add(
    "scores.seconds",
    "phase F says otherwise",
    lambda f: f.arrays(SOLVED, lambda a: a.update(computation_time_s=np.array(0.5))),
)


def _log(f: Forgery, old: str, new: str) -> None:
    f.replace(LOG, old, new)


add(
    "scores.log",
    "the other split's log",
    lambda f: f.write(LOG, f.read(LOG.replace("test", "train"))),
)
add("scores.log", "another split's name", lambda f: _log(f, "comparing test", "comparing train"))
add("scores.log", "another number of images", lambda f: _log(f, " images", "0 images"))
add("scores.log", "another number of patches", lambda f: _log(f, " patches", "0 patches"))
add(
    "scores.log",
    "another score",
    lambda f: f.text(LOG, lambda t: t.replace("MS-SSIM phase 0.", "MS-SSIM phase 1.", 1)),
)
add(
    "scores.log",
    "the last line is missing",
    lambda f: f.text(LOG, lambda t: "".join(t.splitlines(keepends=True)[:-1])),
)


def _fitted(**changes: object) -> Callable[[dict], None]:
    return lambda content: content["fitted"]["Baseline"].update(changes)


for what, edit in {
    "a failure": lambda c: c.update(status="failed"),
    "another area": lambda c: c["area"].update(y0=c["area"]["y0"] + 1),
    "another number of images for one model": lambda c: c["n_images"].update(PtyChi=1),
    "another data range": lambda c: c["data_ranges"].update(phase=255.0),
    "another shift": _fitted(shift_px=[1.0, 0.0]),
    "another scale": _fitted(amplitude_scale=1.0),
    "another phase": _fitted(phase_offset_rad=0.0),
    "another plane": _fitted(phase_plane_rad_per_px=[0.0, 0.0]),
    "not applied": _fitted(registration_applied=False),
    "a clamped term": lambda c: c["fitted"]["Baseline"]["ms_ssim_terms"][
        "ms_ssim phase"
    ].__setitem__(0, -0.1),
    "a warning too much": lambda c: c["warnings"].append(
        {
            "kind": "registration_not_applied",
            "model": "PtyChi",
            "metric": "registration_applied",
            "component": None,
            "message": "",
        }
    ),
}.items():
    add("scores.scoring_json", what, lambda f, edit=edit: f.json(SCORING, edit))
add(
    "scores.scoring_json",
    "another CPU time",
    lambda f: f.json(SCORING, lambda c: c["cpu_seconds"].update(Baseline=0.01)),
)
add("scores.scoring_json", "a key more", lambda f: f.json(SCORING, lambda c: c.update(by="me")))
add(
    "scores.provenance",
    "the view's record is gone",
    lambda f: f.json(SCORING, lambda c: c["transformations"].pop(1) and None),
)
add(
    "scores.provenance",
    "networks of another training",
    lambda f: f.json(
        SCORING,
        lambda c: c["transformations"][-1]["inputs"].update({"pinn_model/model.keras": "0" * 64}),
    ),
)
add(
    "scores.provenance",
    "no network among the inputs",
    lambda f: f.json(
        SCORING, lambda c: c["transformations"][-1]["inputs"].pop("pinn_model/model.keras") and None
    ),
)
add(
    "scores.provenance",
    "of the other split",
    lambda f: f.json(
        SCORING, lambda c: c["transformations"][-1]["parameters"].update(split="train")
    ),
)
