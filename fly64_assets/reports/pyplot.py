"""matplotlib as it is shipped: a user's matplotlibrc reaches no picture."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def shipped_style() -> Path:
    """Return matplotlib's own matplotlibrc, without importing matplotlib."""
    spec = find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).with_name("mpl-data") / "matplotlibrc"


def pyplot() -> Any:
    """Load matplotlib's pyplot as it is shipped, drawing off screen."""
    style = shipped_style()
    if "matplotlib" not in sys.modules:
        os.environ.update(MPLBACKEND="Agg", MATPLOTLIBRC=str(style))
        # A matplotlibrc of the current folder comes before the one that is named.
        beside = os.path.exists("matplotlibrc")
        with contextlib.chdir(style.parents[1]) if beside else contextlib.nullcontext():
            import matplotlib  # noqa: F401
    import matplotlib.pyplot as plt

    return plt
