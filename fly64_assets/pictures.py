"""Pictures of results, drawn with matplotlib off screen. Same data, same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fly64_assets.ptychography.scoring import ScoreRow

PHASE_MAP, AMPLITUDE_MAP, ERROR_MAP = "viridis", "gray", "RdBu_r"
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

    Args:
        path: PNG to write.
        aligned: model -> (h, w) complex64 in the scoring area, ambiguities removed.
        truth: (h, w) complex64, the same area.
        rows: scores, for the labels.
        title: what is compared.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from fly64_assets.ptychography.scoring import phases

    scores = {(row.model, row.metric): row for row in rows}
    truth_phase, _ = phases(truth, truth)
    truth_amplitude = np.abs(truth)
    limits = {
        "phase": (truth_phase.min(), truth_phase.max()),
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
    images = {}
    for index, (name, image) in enumerate({"truth": truth, **aligned}.items()):
        phase = phases(truth, image)[1]
        panels = (
            ("phase", phase, PHASE_MAP, limits["phase"]),
            ("phase error", phase - truth_phase, ERROR_MAP, (-0.5, 0.5)),
            ("amplitude", np.abs(image), AMPLITUDE_MAP, limits["amplitude"]),
            ("amplitude error", np.abs(image) - truth_amplitude, ERROR_MAP, (-0.3, 0.3)),
        )
        for axis, (label, values, colours, (low, high)) in zip(axes[index], panels, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            if name == "truth" and label.endswith("error"):
                axis.axis("off")
                continue
            images[label] = axis.imshow(values, cmap=colours, vmin=low, vmax=high)
            axis.set_title(_panel_title(scores, name, label), fontsize=9)
        axes[index][0].set_ylabel(name, fontsize=11)
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


def _panel_title(scores: Mapping[tuple[str, str], ScoreRow], model: str, label: str) -> str:
    if model == "truth":
        return label
    column = label.split()[0]
    is_error = label.endswith("error")
    metric, name, digits = ("mae", "MAE", 4) if is_error else ("ms_ssim", "MS-SSIM", 3)
    return f"{name} {getattr(scores[model, metric], column):.{digits}f}"
