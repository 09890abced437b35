"""Builds networks of several designs and holds each against the verifier's idea of it.

Run by ``test_tables.py`` as a script, since pytest's process loads no TensorFlow. The tiny run has
networks of one shape each; here are others.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.rules.hub.networks import Design, graph_findings
from fly64_assets.solvers.tensorflow_runtime import start_tensorflow

SETTINGS = {"frame_px": 32, "width": 4, "regularisation": 0.03}
FLOOR, LIMIT = 0.0025, 1.5
DESIGNS = (("baseline", 1, 1), ("baseline", 1, 2), ("ptychopinn", 1, 2), ("ptychopinn", 4, 1))
"""Section of the study, patterns of a group, levels."""


def configuration(model: Any) -> dict[str, Any]:
    """Of a Keras model, as its archive holds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))


def main() -> None:
    start_tensorflow(2)
    from fly64_assets.solvers.networks import NetworkDesign, build_baseline, build_refiner

    probe = np.ones((32, 32), np.complex64)
    for section, group, depth in DESIGNS:
        settings = {**SETTINGS, "depth": depth}
        made = NetworkDesign(patch_size=32, group_size=group, **settings)
        if section == "baseline":
            network = build_baseline(made, probe, amplitude_limit=LIMIT, name=section, seed=1)
        else:
            network = build_refiner(made, probe, misfit_floor=FLOOR, name=section, seed=1)
        expected = Design(section, 32, group, {**settings, "amplitude_limit": LIMIT}, FLOOR)
        found = list(graph_findings("model.keras", section, expected, configuration(network)))
        if found:
            sys.exit("\n".join(map(str, found)))
        print(f"{len(expected.layers())} layers as designed")


if __name__ == "__main__":
    main()
