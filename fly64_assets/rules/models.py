"""Rules of phase E: a bundle is the model that its role asks for, trained on its train view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.rules.check import Check, Severity
from fly64_assets.rules.files import Files, equals, numbers, same_settings
from fly64_assets.rules.provenance import recorded_settings
from fly64_assets.study.arms import Network

BUNDLE, ARCHIVE, HISTORY = "bundle.json", "model.keras", "history.csv"
KEYS = sorted(
    [
        *("schema_version", "kind", "gridsize", "N", "core_px", "seeds", "settings", "inputs"),
        *("weights_sha256", "n_parameters", "n_fit", "n_validation", "epochs_completed"),
        *("best_epoch", "final_loss", "best_validation_loss", "frameworks", "transformations"),
    ]
)
FRAMEWORKS = ("keras", "numpy", "tensorflow")
COLUMNS = ["epoch", "loss", "validation_loss", "learning_rate", "seconds"]
RIM_PX = 4
"""Cut off each side of a frame: half the width of the kernel that moves it by parts of a pixel."""
PROBE_TOLERANCE = 1e-5


def _bundle(files: Files, network: Network) -> Iterable[RuleOutcome]:
    from fly64_assets.rules import weights

    gridsize, stated = network.gridsize_in(files.study.gridsize), files.json(BUNDLE)
    yield equals(BUNDLE, "its keys", KEYS, sorted(stated))
    versions = {name: files.provenance.versions.get(name) for name in FRAMEWORKS}
    yield equals(f"{BUNDLE} frameworks", "that trained it", versions, stated["frameworks"])
    expected = {
        "schema_version": 1,
        "kind": network.name,
        "gridsize": gridsize,
        "N": files.study.patch_size,
        "core_px": getattr(files.study, network.section).frame_px - 2 * RIM_PX,
    }
    for key, value in expected.items():
        yield equals(f"{BUNDLE} {key}", "is what its role asks", value, stated[key])
    problems = weights.problems(files)
    yield equals(ARCHIVE, "whole, and nothing besides", "whole", "; ".join(problems) or "whole")
    if problems:
        return
    config = weights.configuration(files)
    unknown = "; ".join(list(weights.unknown_classes(config))[:3])
    yield equals(
        ARCHIVE, "layers of Keras and of this project", "none else", unknown or "none else"
    )
    yield equals(f"{ARCHIVE} name", "is what its role asks", network.name, config["config"]["name"])
    together = weights.patterns_together(config)
    yield equals(f"{ARCHIVE} inputs", "C = gridsize^2 patterns together", [gridsize**2], together)
    yield from _weights(files)


def _weights(files: Files) -> Iterator[RuleOutcome]:
    import numpy as np

    from fly64_assets.rules import weights

    stated, found = files.json(BUNDLE), weights.weights_of(files)
    rule = "of the weights in the archive"
    yield equals(f"{BUNDLE} weights_sha256", rule, found.sha256, stated["weights_sha256"])
    yield equals(f"{BUNDLE} n_parameters", rule, found.number, stated["n_parameters"])
    told = found.problem or "finite, not all zero"
    yield equals(f"{ARCHIVE} weights", "trained", "finite, not all zero", told)
    known = files.other("train", "overlap_view").dataset().probe_guess
    shape = None if found.probe is None else found.probe.shape
    yield equals(f"{ARCHIVE} probe", "shape", (*known.shape, 2), shape)
    if found.probe is not None and shape == (*known.shape, 2):
        packed = found.probe[..., 0] + 1j * found.probe[..., 1]
        off = float(np.abs(packed - known).max() / np.abs(known).max())
        yield RuleOutcome(
            f"{ARCHIVE} probe",
            "the given probe",
            f"within {PROBE_TOLERANCE:g}",
            f"{off:.2g}",
            off <= PROBE_TOLERANCE,
        )


def _loss(files: Files) -> Iterable[RuleOutcome]:
    stated, rows = files.json(BUNDLE), files.table(HISTORY)
    yield equals(HISTORY, "its columns", COLUMNS, list(rows[0]) if rows else [])
    history = numbers(files, HISTORY, *COLUMNS)
    losses = [*history["loss"], *history["validation_loss"]]
    finite = bool(losses) and all(map(math.isfinite, losses))
    yield RuleOutcome(HISTORY, "losses finite", "all", f"{len(losses)} values", finite)
    epochs = list(range(1, int(stated["epochs_completed"]) + 1))
    yield equals(HISTORY, "every epoch once, in order", epochs, history["epoch"])
    rates, least = history["learning_rate"], min([*history["seconds"], *history["learning_rate"]])
    falling = all(math.isfinite(rate) for rate in rates) and rates == sorted(rates, reverse=True)
    yield equals(HISTORY, "the learning rate never rises", True, falling)
    yield RuleOutcome(HISTORY, "epochs took time, at some rate", "> 0", least, least > 0)
    if not finite:
        return
    best = min(history["validation_loss"])
    found = 1 + history["validation_loss"].index(best)
    for key, rule, value in (
        ("best_validation_loss", "of history.csv", best),
        ("best_epoch", "of the least validation loss", found),
        ("final_loss", "of the last epoch", history["loss"][-1]),
    ):
        yield equals(f"{BUNDLE} {key}", rule, value, stated[key])


def _loss_improved(files: Files) -> Iterable[RuleOutcome]:
    validation = numbers(files, HISTORY, "validation_loss")["validation_loss"]
    first, best = validation[0], min(validation)
    yield RuleOutcome(
        "validation_loss",
        "best is better than the first epoch's (where there are several)",
        f"< {first:.6g}",
        f"{best:.6g}",
        best < first or len(validation) == 1,
    )


def _trained_on(files: Files) -> Iterable[RuleOutcome]:
    """Lineage: weights and what they were fitted to, by hash and not by file name."""
    consumed = files.provenance.inputs
    yield equals("inputs", "the train view alone", ["train/overlap_view"], sorted(consumed))
    read = {
        f"{name}/{Path(path).name}": sha256
        for name, given in consumed.items()
        for path, sha256 in given.files.items()
    }
    stated = files.json(BUNDLE)["inputs"]
    yield equals(f"{BUNDLE} inputs", "sha256 of what the step read", read, stated)
    view = files.other("train", "overlap_view").provenance
    yield equals(
        "train/overlap_view",
        "the data version that is there now",
        view.data_version[:12],
        consumed["train/overlap_view"].data_version[:12],
    )


def _counts(files: Files, network: Network) -> Iterable[RuleOutcome]:
    import numpy as np

    view, stated = files.other("train", "overlap_view").dataset(), files.json(BUNDLE)
    groups, unit = view.extra["training_groups"], "groups"
    if network.gridsize_in(files.study.gridsize) == 1:  # all images of the view, one by one
        groups, unit = np.arange(len(view))[:, None], "images"
    # The groups at the far end of the longer side; those that share an image with them are in none.
    centres = view.positions_px[groups].mean(axis=1)
    along = centres[:, int(np.argmax(np.ptp(centres, axis=0)))]
    fraction = getattr(files.study, network.section).validation_fraction
    held = np.argsort(along, kind="stable")[-max(1, round(fraction * len(groups))) :]
    fitted = int((~np.isin(groups, groups[held]).any(axis=1)).sum())
    total = f"of the view's {len(groups)} {unit}, recomputed"
    yield equals(f"{BUNDLE} n_fit", total, fitted, stated["n_fit"])
    yield equals(f"{BUNDLE} n_validation", total, len(held), stated["n_validation"])


def _effective_settings(files: Files, network: Network) -> Iterable[RuleOutcome]:
    yield from recorded_settings(files)
    study, stated = files.study, files.json(BUNDLE)
    wanted = getattr(study, network.section)
    yield from same_settings(f"{BUNDLE} settings", wanted.model_dump(), stated["settings"])
    seeds = {"grouping": study.seeds.grouping}
    yield equals(f"{BUNDLE} seeds", "as in the study", seeds, stated["seeds"])
    completed = stated["epochs_completed"]
    yield equals(f"{BUNDLE} epochs_completed", "as in the study", wanted.epochs, completed)


def checks_of(network: Network) -> tuple[Check, ...]:
    """Return the checks of one network's bundle."""
    return (
        Check(
            "bundle",
            lambda files: _bundle(files, network),
            f"The bundle is a {network.name}, whole, hashed, of known layers alone.",
        ),
        Check("loss", _loss, "Losses are finite, and the weights are the best epoch's."),
        Check(
            "loss_improved",
            _loss_improved,
            "Training got better than its first epoch on what was held out.",
            Severity.WARN,
        ),
        Check("trained_on", _trained_on, "It was fitted to the train view that is there now."),
        Check(
            "counts",
            lambda files: _counts(files, network),
            "As many groups or images were fitted and held out as the view gives.",
        ),
        Check(
            "effective_settings",
            lambda files: _effective_settings(files, network),
            "Settings, seeds and threads as recorded are the study's.",
        ),
    )
