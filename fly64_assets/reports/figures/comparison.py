"""Pictures of results, drawn with matplotlib off screen. Same data, same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.documents import formatting as numbers
from fly64_assets.reports.figures import style
from fly64_assets.reports.figures.panels import bare_image
from fly64_assets.reports.pyplot import pyplot
from fly64_assets.study.relations import COMPONENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from fly64_assets.ptychography.scoring.comparison import ScoreRow

ERROR_BINS = 61


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
    true = {"phase": phases(truth, truth)[0], "amplitude": np.abs(truth)}
    varies = data_ranges(truth)["phase"] is not None
    limits = {
        "phase": (true["phase"].min(), true["phase"].max()) if varies else style.ERRORS["phase"],
        "amplitude": (0.0, float(np.quantile(true["amplitude"], style.AMPLITUDE_QUANTILE))),
    }
    maps = {"phase": style.PHASE_MAP, "amplitude": style.AMPLITUDE_MAP}
    height, width = truth.shape
    figure, axes = plt.subplots(
        1 + len(aligned),
        4,
        figsize=(14, 1.1 + 3.1 * (1 + len(aligned)) * height / width + 0.5 * len(aligned)),
        layout="constrained",
        squeeze=False,
    )
    images: dict[str, AxesImage] = {}
    errors: dict[str, dict[str, np.ndarray]] = {component: {} for component in COMPONENTS}
    for row, (name, image) in zip(axes, {"truth": truth, **aligned}.items(), strict=True):
        values = {"phase": phases(truth, image)[1], "amplitude": np.abs(image)}
        for at, component in enumerate(COMPONENTS):
            drawn = values[component]
            label = component if name == "truth" else _score(scores[name, "ms_ssim"], component)
            images[component] = bare_image(
                row[2 * at], drawn, label, maps[component], limits[component]
            )
            if name != "truth":
                errors[component][name] = drawn - true[component]
                images[f"{component} error"] = bare_image(
                    row[2 * at + 1],
                    errors[component][name],
                    _score(scores[name, "mae"], component),
                    style.ERROR_MAP,
                    style.ERRORS[component],
                )
        row[0].set_ylabel(name, fontsize=11)
    for at, component in enumerate(COMPONENTS):
        _spread(axes[0][2 * at + 1], errors[component], component, height / width)
        for column, label in ((2 * at, component), (2 * at + 1, f"{component} error")):
            unit = style.UNITS[component]
            figure.colorbar(
                images[label],
                ax=axes[:, column],
                location="bottom",
                shrink=0.8,
                aspect=30,
                label=f"{label} ({unit})" if unit else label,
            )
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=style.DPI, metadata=style.NO_PROGRAM)
    plt.close(figure)


def _spread(axis: Axes, errors: Mapping[str, np.ndarray], component: str, shape: float) -> None:
    """How many pixels have which error, a line a model; how many lie beyond the ends, in words.

    Args:
        errors: by model, (h, w).
        component: that they are errors of.
        shape: height over width of the panel.
    """
    low, high = style.ERRORS[component]
    for (name, values), (colour, _) in zip(errors.items(), style.ARMS, strict=False):
        counts, edges = np.histogram(values, ERROR_BINS, (low, high))
        beyond = 100 * (1 - counts.sum() / values.size)
        said = f"{name}, {beyond:.0f} % beyond" if round(beyond) else name
        axis.stairs(100 * counts / values.size, edges, color=colour, linewidth=1.2, label=said)
    axis.axvline(0, color="black", linewidth=0.6, linestyle=":")
    axis.set_xlim(low, high)
    axis.set_ylim(0, 1.55 * axis.get_ylim()[1])  # the legend stands above the lines
    axis.set_box_aspect(shape)
    axis.set_title(f"{component} errors, % of pixels", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, loc="upper left")


def _score(row: ScoreRow, component: str) -> str:
    value = numbers.score(getattr(row, component), "brief", row.metric)
    return f"{numbers.LABELS[row.metric]} {value}"


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
    look: MapStyle,
    *,
    title: str,
) -> None:
    """Draw the truth, and under it every model's local scores, on one scale.

    Args:
        path: PNG to write.
        truth: component -> (H, W) real array: phase in rad, amplitude.
        maps: by model and component.
        look: what the maps show.
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
    for column, (component, values) in zip(axes.T, truth.items(), strict=True):
        name = f"truth, {component}"
        bare_image(column[0], values, name, style.AMPLITUDE_MAP, interpolation="nearest")
        for axis, model in zip(column[1:], models, strict=True):
            local = maps[model, component]
            name = f"{component}: {local.score}"
            image = bare_image(
                axis, local.values, name, look.colours, look.limits, interpolation="nearest"
            )
    for axis, name in zip(axes[:, 0], ("truth", *models), strict=True):
        axis.set_ylabel(name, fontsize=10)
    figure.colorbar(image, ax=axes[1:, :], label=f"{look.label} (dimensionless)", aspect=30)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=style.DPI, metadata=style.NO_PROGRAM)
    plt.close(figure)
