"""Whether a step may use a GPU, decided before TensorFlow or torch is loaded.

The study says ``device: auto`` (a GPU where there is one), ``cpu`` or ``gpu``. Both libraries obey
the driver's own variable, so hiding the GPUs from a process is enough, and neither has to be loaded
to find out whether there are any.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fly64_assets.errors import InputError
from fly64_assets.pipeline.process import is_step_process

Device = Literal["auto", "cpu", "gpu"]
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Read by CUDA and by ROCm; what names no device hides all."""
HIDDEN = "-1"
NODES = ("nvidia[0-9]*", "dxg", "kfd")
"""Device files of NVIDIA's driver, of CUDA under WSL and of ROCm."""


def gpu_visible(environment: Mapping[str, str], devices: Path = Path("/dev")) -> bool:
    """Whether a driver is there and nothing hides its GPUs.

    Args:
        environment: variables of the process.
        devices: folder of the device files.
    """
    hidden = any(environment.get(name, "0") in ("", HIDDEN) for name in VISIBLE)
    return not hidden and any(True for node in NODES for _ in devices.glob(node))


def require_device(device: Device, study_file: Path) -> None:
    """Refuse a study that wants a GPU on a machine without.

    Raises:
        InputError: ``device`` is ``gpu`` and none is visible.
    """
    if device == "gpu" and not gpu_visible(os.environ):
        raise InputError(
            study_file,
            "device",
            "is gpu, but this machine shows no GPU (no driver, or CUDA_VISIBLE_DEVICES hides it); "
            "auto uses one where there is one",
        )


def limit_device(device: Device) -> None:
    """Hide every GPU from this step's process unless it may use one; nothing outside a step."""
    if is_step_process():
        os.environ.update(hidden_from(device))


def hidden_from(device: Device) -> dict[str, str]:
    """Environment variables that hide every GPU from a process that must not use one."""
    return dict.fromkeys(VISIBLE, HIDDEN) if device == "cpu" else {}
