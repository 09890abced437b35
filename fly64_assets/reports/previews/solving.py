"""What there is to see of phases E and F: how networks learnt, what solvers arrived at."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.documents.files import read_columns
from fly64_assets.reports.figures import style
from fly64_assets.reports.figures.panels import Curve, lines
from fly64_assets.reports.previews import drawing
from fly64_assets.reports.previews.preview import Exhibit, Picture, Subject, Table
from fly64_assets.study.arms import ARMS, Iterative

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TRAININGS = 3
"""Of the further trainings, drawn."""


def _by_epoch(
    axis: Axes, epochs: Sequence[float], series: Curve, label: str, first: int = 0
) -> None:
    """Draw series by epoch; on a logarithmic axis where they span more than a decade."""
    from matplotlib.ticker import MaxNLocator

    lines(axis, epochs, series, first=first, markersize=2.5)
    axis.grid(alpha=0.3)
    axis.set(xlabel="epoch", ylabel=label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    values = [value for given in series.values() for value in given]
    if min(values) > 0 and max(values) > 10 * min(values):
        axis.set_yscale("log")


def model(subject: Subject) -> Exhibit:
    """Loss curves with the epoch that was kept, and the learning rate."""
    history = read_columns(subject.path("history.csv"))
    epochs, validation = history["epoch"], history["validation_loss"]
    best = int(np.argmin(validation))

    def draw() -> Figure:
        figure, axes = drawing.new_figure(
            f"{subject.title}: training", 1, 2, (9.5, 3.4), width_ratios=(3, 2)
        )
        axis = axes[0][0]
        losses = {"loss": history["loss"], "validation loss": validation}
        _by_epoch(axis, epochs, losses, "loss (dimensionless)")
        axis.axvline(epochs[best], color="black", linestyle="--", linewidth=1,
                     label=f"kept: epoch {epochs[best]:.0f}")  # fmt: skip
        axis.legend()
        rates = {"learning rate": history["learning_rate"]}
        _by_epoch(axes[0][1], epochs, rates, "learning rate after the epoch", first=2)
        axes[0][1].set(yscale="linear", ylim=(0, None))
        return figure

    return Exhibit(
        (
            Picture(
                "training",
                "Loss and validation loss (dimensionless, of the weights' running mean) by epoch, "
                "the epoch that was kept, and the learning rate.",
                draw,
            ),
        ),
        numbers={"training_seconds": math.fsum(history["seconds"])},
    )


def replicates(subject: Subject) -> Exhibit:
    """Show the further trainings side by side: their losses, and what they make of a view."""
    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.solvers.replicates import array_name

    path = subject.path("replicates.npz")
    trainings = json.loads(str(read_npz(path, ["trainings"])["trainings"][()]))
    columns = "training seed best_epoch final_loss best_validation_loss weights_sha256"
    table = Table.of(columns, trainings)
    if not trainings:
        return Exhibit(tables={"trainings": table})
    losses = [told["best_validation_loss"] for told in trainings]
    numbers = {"best_validation_loss_mean": float(np.mean(losses))}
    if len(losses) > 1:
        numbers["best_validation_loss_spread"] = float(np.std(losses, ddof=1))

    def draw() -> Figure:
        shown = trainings[:MOST_TRAININGS]
        figure, axes = drawing.new_figure(
            f"{subject.title}: further trainings, test half",
            1,
            1 + len(shown),
            (3.2 * (1 + len(shown)), 3.0),
        )
        axis = axes[0][0]
        axis.plot([told["training"] for told in trainings], losses, "o", color=style.ARMS[0][0])
        axis.set(xlabel="training", ylabel="best validation loss (dimensionless)")
        axis.set_xticks([told["training"] for told in trainings])
        area = _scanned(subject, "test")
        for told, panel in zip(shown, axes[0][1:], strict=True):
            name = array_name("test", told["training"])
            object_ = read_npz(path, [name])[name][area]
            phase = drawing.without_global_phase(object_)
            origin = (area[0].start, area[1].start)
            drawing.image(panel, phase, f"training {told['training']}, phase", "rad",
                          colours=style.PHASE_MAP, origin=origin,
                          **drawing.limits(phase))  # fmt: skip
        return figure

    return Exhibit(
        (
            Picture(
                "replicates",
                "Best validation loss (dimensionless) of each further training, and the phase "
                "(rad, mean removed) that it makes of the test view's scanned area.",
                draw,
            ),
        ),
        {"trainings": table},
        numbers,
    )


def _scanned(subject: Subject, split: str) -> tuple[slice, slice]:
    """Return the bounding box of a view's positions, on the canvas."""
    from fly64_assets.ptychography.data001.npz import read_npz

    path = subject.input(f"{split}/overlap_view", f"{split}.npz")
    ends = [
        (math.floor(values.min()), math.ceil(values.max()) + 1)
        for values in (read_npz(path, [key])[key] for key in ("ycoords", "xcoords"))
    ]
    return slice(*ends[0]), slice(*ends[1])


def reconstruction(subject: Subject) -> Exhibit:
    """Return the object in the scanned area, and how the loss fell."""
    from fly64_assets.ptychography.data001.npz import read_npz

    (arm,) = [arm for arm in ARMS if arm.name == subject.arm]
    assert isinstance(arm, Iterative)
    losses = read_columns(subject.path(arm.history))

    def draw() -> Figure:
        area = _scanned(subject, str(subject.split))
        object_ = read_npz(subject.path(arm.file), ["reconstructed_object"])
        figure, axes = drawing.new_figure(subject.title, 1, 3, (13.5, 3.2))
        origin = (area[0].start, area[1].start)
        drawing.phase_and_amplitude(axes[0][:2], object_["reconstructed_object"][area], origin)
        label = "loss per detector pixel (dimensionless)"
        _by_epoch(axes[0][2], losses["epoch"], {"loss": losses["loss"]}, label)
        return figure

    return Exhibit(
        (
            Picture(
                "reconstruction",
                "Phase (rad, mean removed) and amplitude (dimensionless) of the object in the "
                "scanned area, canvas px, x right, y down; loss per detector pixel by epoch.",
                draw,
            ),
        ),
        numbers={"first_loss": losses["loss"][0]},
    )
