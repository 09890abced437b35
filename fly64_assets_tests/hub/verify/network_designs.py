"""Builds networks of several designs and holds each against the verifier's idea of it.

Run by ``test_tables.py`` as a script, since pytest's process loads no TensorFlow. The tiny run has
no corrections and one level; here are networks with more of both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.hub.verify.networks import Design, graph_findings
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow

SETTINGS = {"frame_px": 32, "width": 4, "amplitude_limit": 1.5, "regularisation": 0.03}
FLOOR = 0.0025
DESIGNS = ((1, 1, 0), (4, 1, 1), (4, 2, 2))
"""Patterns of a group, levels, corrections."""


def configuration(model: Any) -> dict[str, Any]:
    """Of a Keras model, as its archive holds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))


def main() -> None:
    start_tensorflow(2)
    from fly64_assets.solvers.networks import NetworkDesign, build_network

    probe = np.ones((32, 32), np.complex64)
    for group, depth, corrections in DESIGNS:
        settings = {**SETTINGS, "depth": depth, "corrections": corrections}
        made = NetworkDesign(patch_size=32, group_size=group, misfit_floor=FLOOR, **settings)
        config = configuration(build_network(made, probe, name="PtychoPINN", seed=1))
        expected = Design(32, group, settings, FLOOR)
        found = list(graph_findings("model.keras", "PtychoPINN", expected, config))
        if found:
            sys.exit("\n".join(map(str, found)))
        print(f"{len(expected.layers())} layers as designed")


if __name__ == "__main__":
    main()
