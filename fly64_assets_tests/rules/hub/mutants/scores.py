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
Arrays = dict[str, np.ndarray]


def edit_rows(f: Forgery, edit: Callable[[Cells], object], template: str = TABLE) -> None:
    """Edit a CSV by its cells, header first."""

    def change(text: str) -> str:
        rows = [line.split(",") for line in text.split("\n")[:-1]]
        edited = edit(rows)
        rows = edited if isinstance(edited, list) else rows
        return "".join(",".join(row) + "\n" for row in rows)

    f.text(template, change)


def next_digit(text: str) -> str:
    """The number with its last digit changed, by more than rounding can."""
    return text[:-1] + str((int(text[-1]) + 5) % 10)


def _cell(
    model: str, metric: str, column: int, change: Callable[[str], str]
) -> Callable[[Cells], None]:
    """Change a cell; column 2 is amplitude, 3 phase, 4 value."""

    def edit(rows: Cells) -> None:
        row = next(row for row in rows if row[:2] == [model, metric])
        row[column] = change(row[column])

    return edit


def _reference_rows(rows: Cells) -> Cells:
    """After each model's rows one more, of a value that no array gives."""
    last = {row[0]: number for number, row in enumerate(rows)}
    edited = []
    for number, row in enumerate(rows):
        edited.append(row)
        if number and last[row[0]] == number:
            edited.append([row[0], "reference_ms_ssim", "0.500000", "0.500000", ""])
    return edited


def _ask_for_reference(f: Forgery) -> None:
    """The study as the crate states it asks for the published study's MS-SSIM."""

    def edit(content: dict[str, Any]) -> None:
        (entity,) = (one for one in content["@graph"] if one["@id"] == "#study/scoring")
        entity["value"] = json.dumps({**json.loads(entity["value"]), "reference_ms_ssim": True})

    f.json(CRATE, edit)


for check, edits in {
    "manifest.completeness": {
        "a renamed model": lambda rows: [
            [row[0].replace("PtyChi", "Pty-chi (pty-chi)"), *row[1:]] for row in rows
        ],
        "a row less": lambda rows: rows[:-1],
        "rows in another order": lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
        "a row that the study does not ask for": _reference_rows,
        "five decimals": _cell("PtyChi", "mae", 2, lambda _: "0.07573"),
        "a score that its metric cannot be": _cell("PtyChi", "ssim", 2, lambda _: "1.500000"),
    },
    "manifest.scores": {
        "a digit of a fitted score": _cell("Baseline", "ms_ssim", 3, next_digit),
        "a digit of a strict score": _cell("Baseline", "psnr_strict", 2, next_digit),
        "a blank for a number": _cell("PtyChi", "frc50", 2, lambda _: ""),
        "another shift": _cell("Baseline", "registration_offset_dy", 4, lambda _: "2.000000"),
        "PtyChi was faster": _cell("PtyChi", "computation_time_s", 4, lambda _: "0.100000"),
        "PtychoPINN was faster": _cell("PtychoPINN", "computation_time_s", 4, lambda _: "0.100000"),
    },
}.items():
    for what, edit in edits.items():
        add(check, what, lambda f, edit=edit: edit_rows(f, edit))
for what, edit in {
    "a digit of a curve": lambda rows: rows[5].__setitem__(2, next_digit(rows[5][2])),
    "a shell less": lambda rows: rows[:-1],
    "another column": lambda rows: rows[0].__setitem__(0, "frequency_px"),
}.items():
    add("manifest.scores", what, lambda f, edit=edit: edit_rows(f, edit, CURVE))
add("manifest.completeness", "no row that the study asks for", _ask_for_reference)


def _put(key: str, where: Any, value: complex) -> Callable[[Arrays], None]:
    return lambda arrays: arrays[key].__setitem__(where, value)


for check, path, edits in (
    (
        "scores.reconstructions",
        CANVAS,
        {
            "a NaN": _put("Baseline", (0, 0), np.nan),
            "zeros for Baseline": _put("Baseline", ..., 0),
            "a renamed model": lambda a: a.update(baseline=a.pop("Baseline")),
            "another dtype": lambda a: a.update(Baseline=a["Baseline"].astype(np.complex128)),
            "Baseline is PtychoPINN's": lambda a: a.update(Baseline=a["PtychoPINN"]),
            "Baseline is the truth": lambda a: a.update(Baseline=a["truth"]),
        },
    ),
    (
        "scores.reconstructions",
        ALIGNED,
        {
            "no area": lambda a: a.pop("area"),
            "another shape": lambda a: a.update(Baseline=a["Baseline"][:-1]),
        },
    ),
    ("manifest.scores", CANVAS, {"one pixel of the canvas's truth": _put("truth", (0, 0), 1)}),
    (
        "manifest.scores",
        ALIGNED,
        {
            "an area moved by a pixel": lambda a: a["area"].__iadd__(1),
            "one pixel of the area's truth": _put("truth", (0, 0), 1),
            "a pixel of an aligned object": lambda a: a["Baseline"].__setitem__(
                (3, 3), a["Baseline"][3, 3] * np.complex64(1.001)
            ),
        },
    ),
    (
        "manifest.input_identity",
        CANVAS,
        {
            "one pixel of PtyChi outside the area": _put("PtyChi", (0, 0), 2),
            "a network that reached a pixel more": _put("Baseline", (0, 0), 2),
        },
    ),
    (
        "manifest.input_identity",
        SOLVED,
        {"PtyChi of another run": _put("reconstructed_object", (0, 0), 2)},
    ),
):
    for what, change in edits.items():
        add(check, what, lambda f, path=path, change=change: f.arrays(path, change))


@mutant("manifest.scores", "a reference MS-SSIM that the arrays do not give")
def _(f: Forgery) -> None:
    _ask_for_reference(f)
    for split in ("train", "test"):
        edit_rows(f, _reference_rows, TABLE.replace("test", split))


@mutant("manifest.scores", "the splits' tables exchanged")
def _(f: Forgery) -> None:
    other = TABLE.replace("test", "train")
    one, two = f.read(TABLE), f.read(other)
    f.write(TABLE, two)
    f.write(other, one)


@mutant("manifest.scores", "a better score, carried through every report")
def _(f: Forgery) -> None:
    from fly64_assets_tests.rules.hub.rewriting import rewrite_reports

    edit_rows(f, _cell("PtychoPINN", "ms_ssim", 3, lambda _: "0.950000"))
    rewrite_reports(f)


for check, what, old, new in (
    ("manifest.counts", "another split's name", "comparing test", "comparing train"),
    ("manifest.counts", "another number of images", " images", "0 images"),
    ("manifest.counts", "another number of patches", " patches", "0 patches"),
    ("manifest.scores", "another score in the log", "MS-SSIM phase 0.", "MS-SSIM phase 1."),
):
    add(check, what, lambda f, old=old, new=new: f.text(LOG, lambda t: t.replace(old, new, 1)))


def _own(content: dict[str, Any]) -> dict[str, Any]:
    return content["transformations"][-1]


WARNING = {"kind": "registration_not_applied", "model": "PtyChi", "metric": "", "component": None}
for check, edits in {
    "manifest.scores": {
        "a failure": lambda c: c.update(status="failed"),
        "another data range": lambda c: c["data_ranges"].update(phase=255.0),
        "another scale": lambda c: c["fitted"]["Baseline"].update(amplitude_scale=1.0),
        "a clamped term": lambda c: c["fitted"]["Baseline"]["ms_ssim_terms"][
            "ms_ssim phase"
        ].__setitem__(0, -0.1),
        "a warning too much": lambda c: c["warnings"].append(WARNING),
    },
    "manifest.counts": {"images of one model": lambda c: c["n_images"].update(PtyChi=1)},
    "scores.effective_settings": {
        "another FRC threshold": lambda c: _own(c)["parameters"]["scoring"].update(
            frc_threshold=0.143
        ),
    },
    "scores.provenance": {
        "the view's record is gone": lambda c: c["transformations"].pop(1),
        "networks of another training": lambda c: _own(c)["inputs"].update(
            {"pinn_model/model.keras": "0" * 64}
        ),
        "of the other split": lambda c: _own(c)["parameters"].update(split="train"),
    },
}.items():
    for what, edit in edits.items():
        add(check, what, lambda f, edit=edit: f.json(SCORING, lambda c: edit(c) and None))
