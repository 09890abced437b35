"""Units and axes, as every asset's description says them in the UI: once a phase, for all of it."""

from __future__ import annotations

from fly64_assets.study.model import Study
from fly64_assets.study.products import Product, files_in

ARRAYS = (
    "Arrays have rows y (down) before columns x (right); positions are canvas px, and pixel N/2 of "
    "a patch lies at its position. counts = (diffraction * intensity_scale)^2, zero frequency at "
    "the centre. Phase in rad, amplitude dimensionless."
)
OBJECTS = (
    "Objects are complex on the canvas, rows y (down) before columns x (right), 1 px = 1 px of the "
    "specimen; their global phase is free. Phase in rad, amplitude dimensionless, losses "
    "dimensionless, times in seconds."
)
SCORES = (
    "MS-SSIM and SSIM (dimensionless), PSNR (dB) and FRC50 (fraction of Nyquist): higher is "
    "better. MAE and MSE: lower is better, of the phase in rad and rad^2, of the amplitude "
    "dimensionless. Computation times in seconds."
)
BY_GROUP = {
    "b_specimen": ARRAYS,
    "c_datasets": ARRAYS,
    "d_views": f"{ARRAYS} Overlap of two discs: 0 apart, 1 at the same place.",
    "e_models": OBJECTS,
    "f_reconstructions": OBJECTS,
    "g_comparison": SCORES,
    "g_reports": SCORES,
    "h_study": f"{SCORES} Doses are photons per exposure.",
}


def description(item: Product, about: str, study: Study) -> str:
    """Say what an asset is, its phase's units and axes, and where its files lie, in Markdown."""
    files = ", ".join(f"`{name}`" for name in files_in(item, study))
    return f"{about}\n\n{BY_GROUP[item.group]}\n\nIn the store, `{item.folder}`: {files}."
