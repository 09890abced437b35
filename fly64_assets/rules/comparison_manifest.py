"""Rules of a condition's comparison manifest: no summary is written of wrong scores.

They read both splits' comparisons and everything that these were made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules import comparison_logs
from fly64_assets.rules.check import Check
from fly64_assets.rules.files import Files, equals
from fly64_assets.rules.provenance import recorded_settings
from fly64_assets.rules.score_tables import (
    CANVAS,
    RECORDS,
    TABLE,
    dose_and_view,
    failure,
    score_rows,
    succeeded,
)
from fly64_assets.rules.scores import scores
from fly64_assets.rules.values import agree
from fly64_assets.study import hub_layout as layout
from fly64_assets.study.arms import iterative, networks
from fly64_assets.study.model import SPLITS

if TYPE_CHECKING:
    import numpy as np

FILE = "comparison_manifest.json"


def _completeness(files: Files) -> Iterable[RuleOutcome]:
    manifest = files.json(FILE)
    yield equals("n_failed", "no comparison failed", 0, manifest["n_failed"])
    results = manifest["execution_results"]
    yield equals("split", "train and test", list(SPLITS), [result["split"] for result in results])
    for result in results:
        if result["returncode"]:
            told = result.get("error", "no reason given")
            yield RuleOutcome(result["split"], "comparison succeeded", "returncode 0", told, False)
    for comparison in succeeded(files):
        yield from _complete_table(comparison)


def _complete_table(comparison: Files) -> Iterable[RuleOutcome]:
    """Ask for every row; reading the table holds each number against its metric's range."""
    from fly64_assets.ptychography.scoring.comparison import row_names

    study, place = comparison.study, f"{comparison.split}/{TABLE}"
    try:
        found = list(score_rows(comparison))
    except InputError as error:
        told = f"{error.key}: {error.problem}"
        yield RuleOutcome(place, "readable, in range", "a table", told, False)
        return
    expected = [(model, metric) for model in study.arms for metric in row_names(study.scoring)]
    for model in study.arms:
        absent = [name for one, name in expected if one == model and (one, name) not in found]
        told = ", ".join(absent) or "none missing"
        yield equals(f"{place} {model}", "every metric present", "none missing", told)
    more = [" ".join(row) for row in found if row not in expected]
    yield equals(place, "no row that the study does not ask for", [], more)
    ordered = sorted(found, key=expected.index) if not more else found
    yield equals(place, "rows in order", "in order", "in order" if found == ordered else "not")


def _invariant(files: Files) -> Iterable[RuleOutcome]:
    rule = "as the comparisons ended, train before test, and what was done"
    yield from agree(FILE, rule, _expected(files), files.json(FILE))
    for split in SPLITS:
        for other, name in (
            (files.other(split, "dataset"), f"patched_{split}.npz"),
            (files.other(split, "comparison"), comparison_logs.FILE),
        ):
            size = other.path(name).stat().st_size
            yield RuleOutcome(f"{split} {name}", "holds something", "> 0 bytes", size, size > 0)
    yield from recorded_settings(files)


def _expected(files: Files) -> dict[str, Any]:
    dose, view = dose_and_view(files)
    jobs, results = [], []
    for split in SPLITS:
        named = {"dose": dose, "view": view, "split": split}
        job = {
            "phase_c_npz": layout.phase_c_npz(dose, split),
            "pinn_checkpoint": layout.checkpoint(dose, view, "PtychoPINN"),
            "baseline_checkpoint": layout.checkpoint(dose, view, "Baseline"),
            "phase_f_manifest": layout.PHASE_F_MANIFEST,
            "ms_ssim_sigma": files.study.scoring.ms_ssim_sigma_px,
            "skip_registration": False,
            "register_ptychi_only": False,
        }
        error = failure(files.other(split, "comparison"))
        result = {
            "returncode": 0 if error is None else 1,
            "log_path": layout.comparison_file(dose, view, split, comparison_logs.FILE),
            **({} if error is None else {"error": error}),
        }
        jobs.append({**named, **job})
        results.append({**named, **result})
    failed = sum("error" in result for result in results)
    return {
        "n_jobs": len(jobs),
        "filters": {"dose": dose, "view": view, "split": None},
        "jobs": jobs,
        "execution_results": results,
        "n_executed": len(results),
        "n_success": len(results) - failed,
        "n_failed": failed,
    }


def _input_identity(files: Files) -> Iterable[RuleOutcome]:
    """Ask for the same positions for every model, by lineage and by what the images show."""
    train = files.other("train", "overlap_view").provenance.data_version
    for network in networks(files.study.arms):
        made = files.other(*network.model_key)
        trained = made.provenance.inputs["train/overlap_view"].data_version
        yield equals(made.product.name, "trained on the train view", train[:12], trained[:12])
    for comparison in succeeded(files):
        split = comparison.split
        view = files.other(split, "overlap_view")
        there = view.provenance.data_version
        for name, source in comparison.provenance.inputs.items():
            now = files.other(*name.split("/")).provenance.data_version
            given = source.data_version
            yield equals(f"{split} {name}", "compared as it is now", now[:12], given[:12])
        for arm in iterative(files.study.arms):
            seen = files.other(*arm.key(split)).provenance.inputs[view.product.name].data_version
            rule = "made from the view that was compared"
            yield equals(f"{split} {arm.name}", rule, there[:12], seen[:12])
        yield from _footprints(comparison, view)


def _footprints(comparison: Files, view: Files) -> Iterator[RuleOutcome]:
    """Ask of a reconstruction to differ from its empty canvas exactly where a pattern was used.

    One position more or fewer at the rim of the scan shows.
    """
    import numpy as np

    split = comparison.split
    seen = view.arrays(f"{split}.npz", "ycoords", "xcoords", "probeGuess")
    positions = np.stack([seen["ycoords"], seen["xcoords"]], axis=1)
    stored = comparison.arrays(CANVAS)
    sides, empty = {}, {}
    for arm in iterative(comparison.study.arms):
        made = comparison.other(*arm.key(split)).arrays(arm.file, "reconstructed_object")
        same = np.array_equal(made["reconstructed_object"], stored[arm.name])
        key, rule = f"{split}/{CANVAS} {arm.name}", "the object that phase F made"
        yield equals(key, rule, "equal", "equal" if same else "another")
        sides[arm.name], empty[arm.name] = len(seen["probeGuess"]), 1
    for network in networks(comparison.study.arms):
        bundle = comparison.other(*network.model_key).json("bundle.json")
        sides[network.name], empty[network.name] = bundle["core_px"], 0
    for model in comparison.study.arms:
        used = stored[model] != empty[model]
        expected = _covered(positions, sides[model], used.shape)
        elsewhere = int((used ^ expected).sum())
        yield equals(
            f"{split}/{CANVAS} {model}",
            f"pixels reached are those of the view's {len(positions)} positions",
            f"{int(expected.sum())} px",
            f"{int(used.sum())} px" + (f", {elsewhere} elsewhere" if elsewhere else ""),
        )


def _covered(positions_px: np.ndarray, side: int, canvas: tuple[int, ...]) -> np.ndarray:
    """Pixels of squares of ``side`` px whose pixel side/2 lies nearest to a position."""
    import numpy as np

    covered = np.zeros(canvas, bool)
    for y, x in np.floor(positions_px - side / 2 + 0.5).astype(int).tolist():
        covered[y : y + side, x : x + side] = True
    return covered


def _counts(files: Files) -> Iterable[RuleOutcome]:
    """Ask for the view's images behind every model; phases C to E count their own."""
    for comparison in succeeded(files):
        split = comparison.split
        view = files.other(split, "overlap_view")
        number = len(view.arrays(f"{split}.npz", "scan_index")["scan_index"])
        if comparison.has(RECORDS):
            wanted = dict.fromkeys(files.study.arms, number)
            found = comparison.json(RECORDS)["n_images"]
            yield equals(f"{split}/{RECORDS} n_images", "behind each model", wanted, found)
        at, place = files.condition, f"{split}/{comparison_logs.FILE}"
        begins = f"comparing {split} of {at.dose}|{at.view}: {number} images"
        first = comparison_logs.lines(comparison)[:1]
        yield equals(f"{place} line 1", "the comparison and its images", [begins], first)
        wanted_patches = [(network.name, number) for network in networks(files.study.arms)]
        stitched = [(name, patches) for name, patches, *_ in comparison_logs.stitched(comparison)]
        yield equals(place, "patches of each network", wanted_patches, stitched)


CHECKS = (
    Check(
        "completeness",
        _completeness,
        "Both splits succeeded; every model has every metric, in order, each in its range.",
    ),
    Check(
        "invariant", _invariant, "Counts, order, flags, settings and paths of the manifest hold."
    ),
    Check(
        "input_identity",
        _input_identity,
        "Every model of a split saw the same positions, by lineage and by the pixels it reached.",
    ),
    Check("counts", _counts, "Behind every model are the images of the view."),
    Check(
        "scores",
        scores,
        "Every score, curve, fit and duration is what the stored files give, in the right area.",
    ),
)
