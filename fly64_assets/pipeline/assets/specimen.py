"""Phase B: the specimen, read once, checked, with its probe at unit power. No simulation here."""

from __future__ import annotations

import json
from typing import Any

from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.process import git_commit, program_version, utc_now
from fly64_assets.study.specimen_origins import specimen_origin


def _metadata(run: PhaseRun, probe_power: float) -> dict[str, Any]:
    """Where the specimen came from, and what was done to it; a source's own records stay first."""
    from fly64_assets.ptychography.data001.metadata import (
        SCHEMA_VERSION,
        SPECIMEN,
        transformations_problem,
        with_transformation,
    )
    from fly64_assets.ptychography.data001.npz import describe_npz, read_npz

    sha256, now, version = run.settings["specimen_sha256"], utc_now(), program_version()
    earlier: list[Any] = []
    header = describe_npz(run.source).get("_metadata")
    if header is not None and header.dtype.kind == "U" and header.shape == ():
        stated = _json_object(str(read_npz(run.source, ["_metadata"])["_metadata"][()]))
        if not transformations_problem(stated):
            earlier = stated["transformations"]
    creation = {
        "time": now,
        "program": "fly64_assets",
        "version": version,
        "git_commit": git_commit(),
    }
    return with_transformation(
        {
            "schema_version": SCHEMA_VERSION,
            "creation": creation,
            SPECIMEN: specimen_origin(run.source.name, sha256),
            "transformations": earlier,
        },
        tool="specimen",
        version=version,
        time=now,
        parameters={"patch_size": run.settings["patch_size"], "original_probe_power": probe_power},
        inputs={run.source.name: sha256},
    )


def _json_object(text: str) -> dict[str, Any]:
    """Return the text's JSON object; empty for anything else, as metadata are optional."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON number")

    try:
        found = json.loads(text, parse_constant=refuse)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@phase_asset(
    "specimen",
    "Object (complex64, canvas px, rows y then columns x) and probe (complex64, N x N, unit "
    "power) that the study simulates from: a shipped specimen or a user's NPZ.",
    "numpy",
)
def make_specimen(run: PhaseRun) -> Outcome:
    import numpy as np

    from fly64_assets.ptychography.data001.metadata import to_json
    from fly64_assets.ptychography.data001.npz import array_digest, write_npz
    from fly64_assets.ptychography.specimen import load_specimen

    specimen = load_specimen(run.source, patch_size=run.settings["patch_size"])
    arrays = {"objectGuess": specimen.object, "probeGuess": specimen.probe}
    power = float(specimen.original_probe_power)
    described = np.array(to_json(_metadata(run, power)))
    write_npz(run.staging / "specimen.npz", {**arrays, "_metadata": described})
    height, width = specimen.object.shape
    shown = {
        "source": run.source.name,
        "source_sha256": run.settings["specimen_sha256"],
        "canvas_px": f"{height} x {width}",
        "original_probe_power": power,
    }
    return Outcome(array_digest(arrays), shown)
