"""What the settings of a user's account may reach: the look of the terminal, never a result.

`settle` is called where a program of ours begins, before a library that computes or draws is
loaded; every process that is started from there inherits what it sets. What does not belong here:
threads and devices, which the study decides (``process.py``, ``accelerator.py``).
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings

from fly64_assets.errors import InputError
from fly64_assets.reports.pyplot import shipped_style

DECIDE = (
    *("KERAS_", "TF_", "TF2_", "XLA_", "JAX_", "TORCH", "PYTORCH_", "ATEN_", "CUBLAS_"),
    *("CUDNN_", "NVIDIA_TF32_", "DNNL_", "ONEDNN_", "MKL_", "OMP_", "GOMP_", "KMP_"),
    *("OPENBLAS_", "GOTO_", "BLIS_", "NUMEXPR_", "NPY_", "MPL", "MATPLOTLIB"),
)
"""How the names of variables begin by which libraries compute or draw otherwise."""
SETTLED = "FLY64_SETTLED"
"""Set in what is started from a settled process, where the study's threads may stand by then."""
SPEAKS, CACHES = "TF_CPP_MIN_LOG_LEVEL", "MPLCONFIGDIR"
"""Of these, what only says how much is logged, and where fonts are remembered."""
LONGEST_FOLDER = 60
"""Of temporary files: a socket's whole path has room for 107 letters."""
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def settled_environment() -> dict[str, str]:
    """Return this process's variables, with those that decide results set or left out."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(DECIDE) or name in (SPEAKS, CACHES)
    }
    for name in ("PYTHONWARNINGS", "PYTHONOPTIMIZE"):
        kept.pop(name, None)
    return kept | {
        SETTLED: "yes",
        "KERAS_BACKEND": "tensorflow",
        # Where a keras.json would lie: there is none, and none can be written.
        "KERAS_HOME": os.devnull,
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(shipped_style()),
    }


def settle_once() -> None:
    """`settle`, unless what has started this process did."""
    if not os.environ.get(SETTLED):
        settle()


def settle() -> None:
    """Take a user's settings out of this process, and give temporary files a folder that works.

    Raises:
        InputError: there is no folder for temporary files.
    """
    settled = settled_environment()
    for name in set(os.environ) - set(settled):
        del os.environ[name]
    os.environ.update(settled)
    strict = [one for one in warnings.filters if one[0] == "error"]
    kept = [one for one in warnings.filters if one not in strict]
    warnings.filters[:] = kept  # type: ignore[index]
    sys.warnoptions[:] = [one for one in sys.warnoptions if not one.startswith("error")]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that has no such letter shows its number
            stream.reconfigure(errors="backslashreplace")
    _settle_temporary_folder()


def _settle_temporary_folder() -> None:
    try:
        folder = tempfile.gettempdir()
        if len(os.fsencode(folder)) > LONGEST_FOLDER:
            folder = next(short for short in SHORT_FOLDERS if os.access(short, os.W_OK | os.X_OK))
    except FileNotFoundError:
        named = os.environ.get("TMPDIR", "/tmp")
        raise InputError(
            "TMPDIR", "", f"{named} takes no temporary files, nor do /tmp and /var/tmp; set it"
        ) from None
    except StopIteration:
        problem = f"is longer than {LONGEST_FOLDER} letters, which leaves no room for a socket's"
        raise InputError("TMPDIR", "", f"{folder} {problem}; set a shorter one") from None
    os.environ["TMPDIR"] = tempfile.tempdir = folder
