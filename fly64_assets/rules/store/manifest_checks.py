"""Blocking checks of a condition's comparison manifest: no summary is written of wrong scores.

They read both splits' comparisons and everything that these were made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, CheckRun
from fly64_assets.rules.store.common_checks import equals, json_file, recorded_settings
from fly64_assets.rules.store.comparison_checks import failure
from fly64_assets.rules.store.dataset_checks import read
from fly64_assets.study.arms import Iterative, iterative, networks
from fly64_assets.study.model import SPLITS

if TYPE_CHECKING:
    import numpy as np

CSV_ROUNDING = 1e-6
"""A CSV holds six decimals: half a unit for rounding, half for the order of a sum."""
COUNTS = ("n_jobs", "n_executed", "n_success", "n_failed")


def _manifest_file(run: CheckRun) -> dict:
    return json_file(run.path("comparison_manifest.json"))


def _completeness(run: CheckRun) -> Iterable[RuleOutcome]:
    manifest = _manifest_file(run)
    yield equals("n_failed", "no comparison failed", 0, manifest["n_failed"])
    splits = [result["split"] for result in manifest["execution_results"]]
    yield equals("split", "train and test", list(SPLITS), splits)
    for result in manifest["execution_results"]:
        if result["returncode"]:
            told = result.get("error", "no reason given")
            yield RuleOutcome(result["split"], "comparison succeeded", "returncode 0", told, False)
            continue
        yield from _complete_table(run, result["split"])


def _complete_table(run: CheckRun, split: str) -> Iterable[RuleOutcome]:
    """Every model has every row; reading the table holds each number against its metric's range."""
    from fly64_assets.ptychography.scoring.comparison import missing_rows, read_csv, row_names

    try:
        rows = read_csv(run.other(split, "comparison").path("comparison_metrics.csv"))
    except InputError as error:
        told = f"{error.key}: {error.problem}"
        yield RuleOutcome(f"{split} CSV", "readable, in range", "a table", told, False)
        return
    missing = missing_rows(rows, run.study.arms, row_names(run.study.scoring))
    for model in run.study.arms:
        absent = [metric for name, metric in missing if name == model]
        told = ", ".join(absent) or "none missing"
        yield equals(f"{split} {model}", "every metric present", "none missing", told)


def _invariant(run: CheckRun) -> Iterable[RuleOutcome]:
    manifest, condition = _manifest_file(run), run.condition
    results = manifest["execution_results"]
    failed = sum(result["returncode"] != 0 for result in results)
    counted = (len(manifest["jobs"]), len(results), len(results) - failed, failed)
    for name, number in zip(COUNTS, counted, strict=True):
        yield equals(name, "as counted in the lists", number, manifest[name])
    total = manifest["n_success"] + manifest["n_failed"]
    yield equals("n_success + n_failed", "equals n_executed", manifest["n_executed"], total)
    filters = {"dose": condition.dose, "view": condition.view, "split": None}
    yield equals("filters", "this condition, both splits", filters, manifest["filters"])
    here = [(condition.dose, condition.view, split) for split in SPLITS]
    for key in ("jobs", "execution_results"):
        named = [(item["dose"], item["view"], item["split"]) for item in manifest[key]]
        yield equals(key, "train before test, of this condition", here, named)
    for split, result in zip(SPLITS, results, strict=False):
        told = result.get("error")
        yield equals(f"{split} error", "as the comparison recorded it", _failure(run, split), told)
    for job in manifest["jobs"]:
        done = {"skip_registration": False, "register_ptychi_only": False}
        flags = {name: job[name] for name in done}
        yield equals(f"{job['split']} flags", "state what was done", done, flags)
        sigma = run.study.scoring.ms_ssim_sigma_px
        yield equals(
            f"{job['split']} ms_ssim_sigma", "as in the study", sigma, job["ms_ssim_sigma"]
        )
    # The manifest of phase F is written with the reports, after this one.
    names = ("phase_c_npz", "pinn_checkpoint", "baseline_checkpoint")
    paths = [job[name] for job in manifest["jobs"] for name in names]
    for path in (*paths, *(result["log_path"] for result in results)):
        size = (run.root / path).stat().st_size if (run.root / path).is_file() else 0
        yield RuleOutcome(path, "is a file that holds something", "> 0 bytes", size, size > 0)
    yield from recorded_settings(run)


def _failure(run: CheckRun, split: str) -> str | None:
    return failure(run.other(split, "comparison"))


def _succeeded(run: CheckRun) -> Iterator[CheckRun]:
    """Both splits' comparisons, as far as they ended well."""
    for split in SPLITS:
        comparison = run.other(split, "comparison")
        if failure(comparison) is None:
            yield comparison


def _input_identity(run: CheckRun) -> Iterable[RuleOutcome]:
    """The same positions for every model of a split, by lineage and by what the images show."""
    train = run.other("train", "overlap_view").provenance.data_version
    for network in networks(run.study.arms):
        name = "/".join(network.model_key)
        trained = run.other(name).provenance.inputs["train/overlap_view"].data_version
        yield equals(name, "trained on the train view", train[:12], trained[:12])
    for comparison in _succeeded(run):
        split = comparison.split
        view = run.other(split, "overlap_view")
        for name, source in comparison.provenance.inputs.items():
            now = run.other(*name.split("/")).provenance.data_version
            yield equals(
                f"{split} {name}", "compared as it is now", now[:12], source.data_version[:12]
            )
        there = view.provenance.data_version
        for arm in iterative(run.study.arms):
            made = run.other(*arm.key(split)).provenance
            seen = made.inputs[view.product.name].data_version
            yield equals(
                f"{split} {arm.name}", "made from the view that was compared", there[:12], seen[:12]
            )
        yield from _footprints(run, comparison)


def _footprints(run: CheckRun, comparison: CheckRun) -> Iterator[RuleOutcome]:
    """A reconstruction differs from its empty canvas exactly where a pattern was used.

    One position more or fewer at the rim of the scan shows.
    """
    from fly64_assets.ptychography.data001.npz import read_npz

    split = comparison.split
    view = read(run.other(split, "overlap_view"))
    stored = read_npz(comparison.path("reconstructions.npz"))
    sides, empty = {}, {}
    for arm in iterative(run.study.arms):
        yield _as_made(run, arm, split, stored[arm.name])
        sides[arm.name], empty[arm.name] = view.patch_size, 1
    for network in networks(run.study.arms):
        bundle = json_file(run.other(*network.model_key).path("bundle.json"))
        sides[network.name], empty[network.name] = bundle["core_px"], 0
    for model in run.study.arms:
        used = stored[model] != empty[model]
        expected = _covered(view.positions_px, sides[model], used.shape)
        yield equals(
            f"{split} {model}",
            f"pixels reached are those of the view's {len(view)} positions",
            f"{int(expected.sum())} px",
            f"{int(used.sum())} px, {int((used ^ expected).sum())} elsewhere"
            if (used ^ expected).any()
            else f"{int(used.sum())} px",
        )


def _as_made(run: CheckRun, arm: Iterative, split: str, compared: np.ndarray) -> RuleOutcome:
    import numpy as np

    from fly64_assets.ptychography.data001.npz import read_npz

    path = run.other(*arm.key(split)).path(arm.file)
    made = read_npz(path, ["reconstructed_object"])["reconstructed_object"]
    same = "equal" if np.array_equal(made, compared) else "another"
    return equals(f"{split} {arm.name}", "the object that phase F made", "equal", same)


def _covered(positions_px: np.ndarray, side: int, canvas: tuple[int, int]) -> np.ndarray:
    """Pixels of squares of ``side`` px whose pixel side/2 lies nearest to a position."""
    import numpy as np

    covered = np.zeros(canvas, bool)
    for y, x in np.floor(positions_px - side / 2 + 0.5).astype(int).tolist():
        covered[y : y + side, x : x + side] = True
    return covered


def _counts(run: CheckRun) -> Iterable[RuleOutcome]:
    """Images from phase C to G, each phase by its own files."""
    for comparison in _succeeded(run):
        split = comparison.split
        whole, kept = read(run.other(split, "dataset")), read(run.other(split, "overlap_view"))
        view = run.other(split, "overlap_view")
        stated = json_file(view.path(f"{split}_metrics.json"))
        yield equals(f"{split} C to D", "n_images_total", len(whole), stated["n_images_total"])
        yield equals(f"{split} D", "n_images_kept", len(kept), stated["n_images_kept"])
        if split == "train":
            yield from _trained_counts(run, len(kept), len(kept.extra["training_groups"]))
        for arm in iterative(run.study.arms):
            solved = run.other(*arm.key(split)).figures.get("n_images")
            yield equals(f"{split} D to F, {arm.name}", "images reconstructed", len(kept), solved)
        scored = json_file(comparison.path("scoring.json"))["n_images"]
        wanted = dict.fromkeys(run.study.arms, len(kept))
        yield equals(f"{split} D to G", "images behind each model", wanted, scored)


def _trained_counts(run: CheckRun, images: int, groups: int) -> Iterator[RuleOutcome]:
    """Nothing is used twice; what borders on the held-out block is left out (``grouping.py``)."""
    for network in networks(run.study.arms):
        available = images if network.gridsize_in(run.study.gridsize) == 1 else groups
        name = "/".join(network.model_key)
        stated = json_file(run.other(name).path("bundle.json"))
        fitted, held_out = stated["n_fit"], stated["n_validation"]
        yield RuleOutcome(
            f"train D to E, {name}",
            "fitted and held out, of what the view has",
            f"<= {available}",
            f"{fitted} + {held_out}",
            fitted > 0 and held_out > 0 and fitted + held_out <= available,
        )


def _scores(run: CheckRun) -> Iterable[RuleOutcome]:
    """The CSV against what the stored images give, and the area against the coordinates."""
    import numpy as np

    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.ptychography.scoring.comparison import read_csv, scoring_area

    for comparison in _succeeded(run):
        split = comparison.split
        view = read(run.other(split, "overlap_view"))
        area = scoring_area(
            view.positions_px[view.extra["centre_index"]],
            split,  # type: ignore[arg-type]
            view.metadata["transformations"][0]["parameters"]["split_line_y_px"],
            view.metadata["physics"]["probe_diameter_px"],
        )
        aligned = read_npz(comparison.path("reconstructions_aligned.npz"))
        whole = read_npz(comparison.path("reconstructions.npz"))
        wanted = area.as_array().tolist()
        yield equals(f"{split} area", "of the view's centres", wanted, aligned["area"].tolist())
        truth = np.asarray(view.object_guess[area.slices])
        same = "equal" if np.array_equal(truth, aligned["truth"]) else "another"
        yield equals(f"{split} truth", "the specimen in the area", "equal", same)
        rows = {
            (row.model, row.metric): row
            for row in read_csv(comparison.path("comparison_metrics.csv"))
        }
        for model in run.study.arms:
            found = _recomputed(run, truth, aligned[model], whole[model][area.slices])
            for (metric, component), value in found.items():
                if (model, metric) not in rows:  # that is for completeness to say
                    continue
                stated = getattr(rows[model, metric], component)
                same = stated == value or (
                    None not in (stated, value) and abs(stated - value) <= CSV_ROUNDING
                )
                yield RuleOutcome(
                    f"{split} {model} {metric} {component}",
                    "as the stored images give it",
                    *("blank" if one is None else f"{one:.6f}" for one in (value, stated)),
                    same,
                )


def _recomputed(
    run: CheckRun, truth: np.ndarray, aligned: np.ndarray, unaligned: np.ndarray
) -> dict[tuple[str, str], float | None]:
    """(row, component) -> value, None where the truth has no contrast for it.

    Errors and PSNR are written out here, in their definition.
    """
    import numpy as np

    from fly64_assets.ptychography.scoring import metrics, reference_ms_ssim
    from fly64_assets.ptychography.scoring.comparison import (
        NEED_CONTRAST,
        REFERENCE,
        data_ranges,
        phases,
    )

    scoring = run.study.scoring
    truth, aligned = truth.astype(np.complex128), aligned.astype(np.complex128)
    pairs = {"amplitude": (np.abs(truth), np.abs(aligned)), "phase": phases(truth, aligned)}
    ranges = data_ranges(truth)
    constant = [component for component, span in ranges.items() if span is None]
    found: dict[tuple[str, str], float | None] = {
        (metric, component): None for metric in NEED_CONTRAST for component in constant
    }
    for component, (there, image) in pairs.items():
        mse = float(np.square(there - image).mean())
        found["mae", component] = float(np.abs(there - image).mean())
        found["mse", component] = mse
        span = ranges[component]
        if span is None:
            continue
        curve = metrics.frc(there, image, scoring.frc_threshold)
        sigma = scoring.ms_ssim_sigma_px
        for metric, value in {
            "psnr": 10 * float(np.log10(span**2 / mse)) if mse else float("inf"),
            "ssim": metrics.ssim(there, image, data_range=span),
            "ms_ssim": metrics.ms_ssim(there, image, data_range=span, sigma_px=sigma).value,
            "frc50": curve.frc50,
            "frc50_censored": float(curve.censored),
        }.items():
            found[metric, component] = value
    if scoring.reference_ms_ssim:
        published = reference_ms_ssim.by_component(
            pairs["amplitude"],
            pairs["phase"],
            sigma_px=scoring.ms_ssim_sigma_px,
            defined=ranges.keys() - set(constant),
        )
        found |= {(REFERENCE, component): value for component, value in published.items()}
    # A global phase changes no amplitude, so this one follows from the unaligned object.
    off = np.abs(np.abs(truth) - np.abs(unaligned.astype(np.complex128)))
    found["mae_strict", "amplitude"] = float(off.mean())
    return found


CHECKS = (
    Check(
        "completeness",
        _completeness,
        "Both splits succeeded; every model has every metric, each in its range.",
    ),
    Check(
        "invariant", _invariant, "Counts, order, flags, settings and paths of the manifest hold."
    ),
    Check(
        "input_identity",
        _input_identity,
        "Every model of a split saw the same positions, by lineage and by the pixels it reached.",
    ),
    Check("counts", _counts, "Image counts agree from phase C to G."),
    Check("scores", _scores, "Every score is what the stored images give, in the right area."),
)
