"""Phase G, reports: where in the scored area each model is good, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fly64_assets.documents import formatting as numbers
from fly64_assets.errors import InputError
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.io_manager import StoredInput

if TYPE_CHECKING:
    from fly64_assets.reports.figures.comparison import LocalMap


@phase_asset(
    "heatmaps",
    "Local MS-SSIM (0 to 1) and local correlation (-1 to 1) of every model with the truth on "
    "the {split} view, phase and amplitude, 11 px Gaussian window; higher is better.",
    "matplotlib",
)
def draw_heatmaps(run: PhaseRun) -> Outcome:
    import numpy as np

    from fly64_assets.ptychography.data001.npz import array_digest
    from fly64_assets.reports.figures import style
    from fly64_assets.reports.figures.comparison import MapStyle, heatmap_plot

    given = run.input(run.split, "comparison")
    truth, ms_ssim, correlation = _maps(
        given, run.settings["arms"], run.settings["ms_ssim_sigma_px"]
    )
    condition = f"{run.condition.dose} photons, {run.condition.view}, {run.split}"
    pictures = (
        ("ms_ssim", ms_ssim, MapStyle("local MS-SSIM", (0.0, 1.0), style.QUALITY_MAP)),
        ("correlation", correlation, MapStyle("local correlation", (-1.0, 1.0), style.SIGNED_MAP)),
    )
    shown: dict[str, float] = {}
    for name, maps, look in pictures:
        heatmap_plot(
            run.staging / f"{name}_heatmap.png",
            truth,
            maps,
            look,
            title=f"{look.label}: {condition}",
        )
        shown |= {
            f"{model} mean {look.label} {component}": float(local.values.mean())
            for (model, component), local in maps.items()
            if np.isfinite(local.values).all()
        }
    arrays = {
        f"{name} {model} {component}": local.values
        for name, maps, _ in pictures
        for (model, component), local in maps.items()
    }
    return Outcome(array_digest(arrays), shown)


Maps = Mapping[tuple[str, str], "LocalMap"]


def _maps(
    given: StoredInput, models: Sequence[str], sigma_px: float
) -> tuple[dict[str, Any], Maps, Maps]:
    """Truth by component, then local MS-SSIM and local correlation by (model, component).

    Of a component in which the truth has no contrast, maps are NaN.

    Raises:
        InputError: the comparison failed, so there is nothing to draw.
    """
    import numpy as np

    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.ptychography.scoring.comparison import data_ranges, phases, read_csv
    from fly64_assets.ptychography.scoring.local_maps import (
        correlation,
        local_correlation,
        local_ms_ssim,
    )
    from fly64_assets.reports.figures.comparison import LocalMap

    scoring = given.json("scoring.json")
    if scoring["status"] != "success":
        raise InputError(
            given.relative("scoring.json"), "status", f"the comparison failed: {scoring['error']}"
        )
    rows = read_csv(given.path("comparison_metrics.csv"))
    scores = {row.model: row for row in rows if row.metric == "ms_ssim"}
    arrays = read_npz(given.path("reconstructions_aligned.npz"), (*models, "truth"))
    complex_truth = arrays["truth"].astype(np.complex128)
    truth = {
        "phase": phases(complex_truth, complex_truth)[0],
        "amplitude": np.abs(complex_truth),
    }
    ranges = data_ranges(complex_truth)
    # Of a constant its rounding would be drawn.
    drawn = {
        name: np.full_like(values, values.mean()) if ranges[name] is None else values
        for name, values in truth.items()
    }
    ms_ssim: dict[tuple[str, str], LocalMap] = {}
    correlations: dict[tuple[str, str], LocalMap] = {}
    for model in models:
        image = arrays[model].astype(np.complex128)
        images = {"phase": phases(complex_truth, image)[1], "amplitude": np.abs(image)}
        for component, pair in ((name, (truth[name], images[name])) for name in truth):
            span, nowhere = ranges[component], np.full(complex_truth.shape, np.nan)
            score = numbers.score(getattr(scores[model], component), "brief", "ms_ssim")
            together = numbers.correlation(None if span is None else correlation(*pair))
            ms_ssim[model, component] = LocalMap(
                nowhere
                if span is None
                else local_ms_ssim(*pair, data_range=span, sigma_px=sigma_px),
                f"MS-SSIM {score}",
            )
            correlations[model, component] = LocalMap(
                nowhere if span is None else local_correlation(*pair), f"correlation {together}"
            )
    return drawn, ms_ssim, correlations
