"""Phase B: the specimen, read once, checked, with its probe at unit power. No simulation here."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import AssetsDefinition

from fly64_assets.assets.phase_asset import Outcome, PhaseRun, build_phase_asset
from fly64_assets.catalogue import Key, product
from fly64_assets.context import StudyContext

PRODUCT = product("specimen")


def make_specimen(run: PhaseRun) -> Mapping[Key, Outcome]:
    from fly64_assets.ptychography.npz import array_digest, write_npz
    from fly64_assets.ptychography.specimen import load_specimen

    specimen = load_specimen(run.source, patch_size=run.settings["patch_size"])
    arrays = {"objectGuess": specimen.object, "probeGuess": specimen.probe}
    write_npz(run.staging / "specimen.npz", arrays)
    height, width = specimen.object.shape
    shown = {
        "source": run.source.name,
        "source_sha256": run.settings["specimen_sha256"],
        "canvas_px": f"{height} x {width}",
        "original_probe_power": float(specimen.original_probe_power),
    }
    return {PRODUCT.key: Outcome(array_digest(arrays), shown)}


def build(context: StudyContext) -> list[AssetsDefinition]:
    description = (
        "Object (complex64, canvas px, rows y then columns x) and probe (complex64, N x N, unit "
        "power) that the study simulates from: a shipped specimen or a user's NPZ."
    )
    return [
        build_phase_asset(
            context,
            (PRODUCT,),
            make_specimen,
            descriptions={PRODUCT.key: description},
            kinds={"numpy"},
        )
    ]
