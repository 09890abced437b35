"""Pictures of results, drawn with matplotlib off screen. Same data, same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.documents import formatting as numbers
from fly64_assets.reports.figures.study import STYLES
from fly64_assets.reports.pyplot import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fly64_assets.ptychography.scoring.comparison import ScoreRow

PHASE_MAP, AMPLITUDE_MAP, ERROR_MAP = "viridis", "gray", "RdBu_r"
ERRORS = {"phase error": (-0.5, 0.5), "amplitude error": (-0.3, 0.3)}
"""Ends of the errors' scales; phase in rad."""
ERROR_BINS = 61
DPI = 110


def comparison_plot(
    path: Path,
    aligned: Mapping[str, np.ndarray],
    truth: np.ndarray,
    rows: Sequence[ScoreRow],
    *,
    title: str,
) -> None:
    """Truth and every model, phase and amplitude with their errors, on shared scales.

    The truth has no error; how the models' errors are spread stands in its place.

    Args:
        path: PNG to write.
        aligned: model -> (h, w) complex64 in the scoring area, ambiguities removed.
        truth: (h, w) complex64, the same area.
        rows: scores, for the labels.
        title: what is compared.
    """
    from fly64_assets.ptychography.scoring.comparison import data_ranges, phases

    plt = pyplot()
    scores = {(row.model, row.metric): row for row in rows}
    truth_phase, _ = phases(truth, truth)
    truth_amplitude = np.abs(truth)
    varies = data_ranges(truth)["phase"] is not None
    limits = {
        "phase": (truth_phase.min(), truth_phase.max()) if varies else ERRORS["phase error"],
        "amplitude": (0.0, float(np.quantile(truth_amplitude, 0.999))),
    }
    height, width = truth.shape
    figure, axes = plt.subplots(
        1 + len(aligned),
        4,
        figsize=(14, 1.1 + 3.1 * (1 + len(aligned)) * height / width + 0.5 * len(aligned)),
        layout="constrained",
        squeeze=False,
    )
    images, errors = {}, {"phase error": {}, "amplitude error": {}}
    for index, (name, image) in enumerate({"truth": truth, **aligned}.items()):
        phase = phases(truth, image)[1]
        panels = (
            ("phase", phase, PHASE_MAP, limits["phase"]),
            ("phase error", phase - truth_phase, ERROR_MAP, ERRORS["phase error"]),
            ("amplitude", np.abs(image), AMPLITUDE_MAP, limits["amplitude"]),
            (
                "amplitude error",
                np.abs(image) - truth_amplitude,
                ERROR_MAP,
                ERRORS["amplitude error"],
            ),
        )
        for axis, (label, values, colours, (low, high)) in zip(axes[index], panels, strict=True):
            if name == "truth" and label in errors:
                continue
            axis.set_xticks([])
            axis.set_yticks([])
            images[label] = axis.imshow(values, cmap=colours, vmin=low, vmax=high)
            axis.set_title(_panel_title(scores, name, label), fontsize=9)
            if label in errors:
                errors[label][name] = values
        axes[index][0].set_ylabel(name, fontsize=11)
    for axis, label in ((axes[0][1], "phase error"), (axes[0][3], "amplitude error")):
        _spread(axis, errors[label], label, height / width)
    units = {"phase": "rad", "phase error": "rad", "amplitude": "", "amplitude error": ""}
    for column, label in enumerate(units):
        figure.colorbar(
            images[label],
            ax=axes[:, column],
            location="bottom",
            shrink=0.8,
            aspect=30,
            label=f"{label} {'(' + units[label] + ')' if units[label] else ''}".strip(),
        )
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)


def _spread(axis: Axes, errors: Mapping[str, np.ndarray], label: str, shape: float) -> None:
    """How many pixels have which error, a line a model; how many lie beyond the ends, in words.

    Args:
        errors: by model, (h, w).
        label: of the errors.
        shape: height over width of the panel.
    """
    low, high = ERRORS[label]
    for (name, values), (colour, _) in zip(errors.items(), STYLES, strict=False):
        counts, edges = np.histogram(values, ERROR_BINS, (low, high))
        beyond = 100 * (1 - counts.sum() / values.size)
        said = f"{name}, {beyond:.0f} % beyond" if round(beyond) else name
        axis.stairs(100 * counts / values.size, edges, color=colour, linewidth=1.2, label=said)
    axis.axvline(0, color="black", linewidth=0.6, linestyle=":")
    axis.set_xlim(low, high)
    axis.set_ylim(0, 1.55 * axis.get_ylim()[1])  # the legend stands above the lines
    axis.set_box_aspect(shape)
    axis.set_title(f"{label}s, % of pixels", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, loc="upper left")


def _panel_title(scores: Mapping[tuple[str, str], ScoreRow], model: str, label: str) -> str:
    if model == "truth":
        return label
    column = label.split()[0]
    is_error = label.endswith("error")
    metric = "mae" if is_error else "ms_ssim"
    value = getattr(scores[model, metric], column)
    return f"{numbers.LABELS[metric]} {numbers.score(value, 'brief', metric)}"


@dataclass(frozen=True, eq=False)
class LocalMap:
    """A local score: (H, W) values, and the global one in words."""

    values: np.ndarray
    score: str


@dataclass(frozen=True)
class MapStyle:
    """What maps show: name, range (the same in every picture), colour map."""

    label: str
    limits: tuple[float, float]
    colours: str


def heatmap_plot(
    path: Path,
    truth: Mapping[str, np.ndarray],
    maps: Mapping[tuple[str, str], LocalMap],
    style: MapStyle,
    *,
    title: str,
) -> None:
    """The truth, and under it every model's local scores, phase and amplitude, on one scale.

    Args:
        path: PNG to write.
        truth: component -> (H, W) real array: phase in rad, amplitude.
        maps: by model and component.
        style: what the maps show.
        title: what is compared.
    """
    plt = pyplot()
    models = list(dict.fromkeys(model for model, _ in maps))
    height, width = next(iter(truth.values())).shape
    columns, rows = len(truth), 1 + len(models)
    panel = 4.4
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(panel * columns + 1.4, (panel * height / width + 0.35) * rows + 0.6),
        layout="constrained",
        squeeze=False,
    )
    image = None
    for column, (component, values) in enumerate(truth.items()):
        axis = axes[0][column]
        axis.imshow(values, cmap=AMPLITUDE_MAP, interpolation="nearest")
        axis.set_title(f"truth, {component}", fontsize=9)
        for row, model in enumerate(models, start=1):
            local = maps[model, component]
            axis = axes[row][column]
            low, high = style.limits
            image = axis.imshow(
                local.values, cmap=style.colours, vmin=low, vmax=high, interpolation="nearest"
            )
            axis.set_title(f"{component}: {local.score}", fontsize=9)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis, name in zip(axes[:, 0], ("truth", *models), strict=True):
        axis.set_ylabel(name, fontsize=10)
    figure.colorbar(image, ax=axes[1:, :], label=f"{style.label} (dimensionless)", aspect=30)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
