"""Table Schemas of a hub's CSV files: each column's type, unit and meaning, in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from fly64_assets.ptychography.scoring.comparison import REFERENCE, ROW_NAMES
from fly64_assets.ptychography.scoring.names import COLUMNS
from fly64_assets.ptychography.scoring.statistics import Covers
from fly64_assets.study.arms import ITERATIVE, NAMES
from fly64_assets.study.model import BOTH, SPLITS

Field = dict[str, Any]


def _table(description: str, *fields: Field, key: tuple[str, ...]) -> dict[str, Any]:
    return {
        "description": description,
        "fields": list(fields),
        "primaryKey": list(key),
        "missingValues": [""],
    }


def _field(name: str, kind: str, description: str, **constraints: Any) -> Field:
    """Return a column; it is filled in every row unless ``required=False``."""
    constraints = {"required": True, **constraints}
    return {"name": name, "type": kind, "description": description, "constraints": constraints}


def _scores() -> dict[str, Any]:
    return _table(
        "The scores of one split: a row for each metric of each arm, six decimals, blank where a "
        "column does not apply, and where the truth has no contrast and the metric needs it.",
        _field("model", "string", "the arm", enum=list(NAMES)),
        _field(
            "metric",
            "string",
            "the metric; <metric>_strict: with only the global phase removed",
            enum=[*ROW_NAMES, REFERENCE],
        ),
        _field("amplitude", "number", "of the amplitude; PSNR in dB", required=False),
        _field("phase", "number", "of the phase, MAE in rad, MSE in rad^2", required=False),
        _field(
            "value",
            "number",
            "of the arm: shifts in px, applied 0 or 1, computation time in s",
            required=False,
        ),
        key=("model", "metric"),
    )


def _statistics() -> dict[str, Any]:
    return _table(
        "An interval for every score and every difference of scores.",
        _field(
            "split",
            "string",
            f"half of the scan; {BOTH}: the mean over them",
            enum=[*SPLITS, BOTH],
        ),
        _field("model", "string", "the arm", enum=list(NAMES)),
        _field(
            "reference",
            "string",
            "the arm that is subtracted; blank in the row of a score",
            required=False,
            enum=list(NAMES),
        ),
        _field("metric", "string", "the metric", enum=[*ROW_NAMES, REFERENCE]),
        _field("component", "string", "what it is of", enum=["amplitude", "phase"]),
        _field(
            "value",
            "number",
            "as in comparison_metrics.csv, or its difference; blank where that is not defined",
            required=False,
        ),
        _field("mean", "number", "over all trainings; blank where not defined", required=False),
        _field("low", "number", "lower end; blank where there is no interval", required=False),
        _field("high", "number", "upper end; blank where there is no interval", required=False),
        _field(
            "settled",
            "string",
            "of a difference: whether the interval leaves zero out",
            required=False,
            enum=["yes", "no"],
        ),
        _field("covers", "string", "what the interval accounts for", enum=list(get_args(Covers))),
        _field("replicates", "integer", "trainings that went in", minimum=1),
        key=("split", "model", "reference", "metric", "component"),
    )


def _frc_curve() -> dict[str, Any]:
    return _table(
        "Fourier ring correlation of one arm's aligned object with the truth.",
        _field("frequency_nyquist", "number", "as a fraction of Nyquist", minimum=0, maximum=1),
        *(
            _field(
                name,
                "number",
                f"correlation of the {name}; blank where the truth has no contrast in it",
                required=False,
                minimum=-1,
                maximum=1,
            )
            for name in COLUMNS
        ),
        key=("frequency_nyquist",),
    )


def _history() -> dict[str, Any]:
    return _table(
        "The training of one network, a row an epoch.",
        _field("epoch", "integer", "from 1", minimum=1),
        _field("loss", "number", "mean over the epoch"),
        _field("validation_loss", "number", "on what was held out of the train view"),
        _field("learning_rate", "number", "at the end of the epoch", minimum=0),
        _field("seconds", "number", "that the epoch took", minimum=0),
        key=("epoch",),
    )


def _loss_history() -> dict[str, Any]:
    return _table(
        "The losses of an iterative solver, a row an epoch.",
        _field("epoch", "integer", "from 1", minimum=1),
        _field("loss", "number", "mean over the epoch"),
        key=("epoch",),
    )


_COMPARISON = "analysis/dose_{dose}/{view}/{split}"
_Build = Callable[[], dict[str, Any]]
TABLES: tuple[tuple[str, _Build, tuple[str, ...]], ...] = (
    ("comparison_metrics", _scores, (f"{_COMPARISON}/comparison_metrics.csv",)),
    ("comparison_statistics", _statistics, ("analysis/comparison_statistics.csv",)),
    ("frc_curve", _frc_curve, (f"{_COMPARISON}/{{arm}}_frc_curve.csv",)),
    ("training_history", _history, ("data/phase_e/dose_{dose}/{view}/{arm}/history.csv",)),
    (
        "iterative_loss_history",
        _loss_history,
        tuple(f"data/phase_f/dose_{{dose}}/{{view}}/{{split}}/{arm.history}" for arm in ITERATIVE),
    ),
)
"""Name, content and the files of a hub."""
