"""The hub as the contract (section 5) promises it: which files and checks it has.

The table of products says where each file lies and which checks it has; here stands what of it a
hub must have, and what it may have besides.
"""

from __future__ import annotations

from collections.abc import Collection

from fly64_assets.ptychography.data001 import metadata
from fly64_assets.rules.check import Severity
from fly64_assets.rules.store import checks_of
from fly64_assets.study import hub_layout
from fly64_assets.study.arms import ARMS, ITERATIVE
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import PHASES, PRODUCTS, Product, log_file

INVENTORY = "analysis/artifact_inventory.txt"
REPORT = hub_layout.VERIFICATION_REPORT
CRATE = hub_layout.RO_CRATE
MANIFEST = "analysis/comparison_manifest.json"
SUMMARY = hub_layout.METRICS_SUMMARY
STATISTICS = hub_layout.STATISTICS
DELTAS = hub_layout.METRICS_DELTA_SUMMARY
RUN_MANIFEST = "data/phase_c/run_manifest.json"
TRAINING_MANIFEST = "data/phase_e/training_manifest.json"
RECONSTRUCTION_MANIFEST = hub_layout.PHASE_F_MANIFEST
OPTIONAL = {"scoring.json", *(arm.history for arm in ITERATIVE)}
"""Names of files that a hub may do without."""

TIME, SHA256 = metadata.TIME_PATTERN, metadata.SHA256_PATTERN
WARN = Severity.WARN.value

_IN_HUB = [item for item in PRODUCTS if item.stage != "study"]
STEPS = {
    log_file(item): (
        item.name,
        "train_dataset_and_test_dataset" if item.key[-1] == "dataset" else "_".join(item.key),
    )
    for item in _IN_HUB
    if item.group in PHASES
}
"""Log in ``cli`` -> (asset, step that makes it); one step makes both halves of the scan."""
CHECKED = {
    item.name: {
        check.name: (check.severity.value, check.name in item.blocking_checks)
        for check in checks_of(item)
    }
    for item in _IN_HUB
    if item.checks
}
"""Asset -> its checks -> (severity, whether it blocks), in the order of the check report."""
_ARM_OF = {item.name: item.arm for item in _IN_HUB}


def has(asset: str, arms: Collection[str]) -> bool:
    """Return whether a hub that compares these arms has this asset."""
    return _ARM_OF[asset] is None or _ARM_OF[asset] in arms


def _files(dose: int, view: str, arms: Collection[str]) -> dict[str, str]:
    """Map every file that a hub that compares these arms can have to its name."""

    def of(item: Product, name: str) -> bool:
        others = (arm.name for arm in ARMS if arm.name not in arms)
        logs = (log_file(each) for each in _IN_HUB if each.arm and each.arm not in arms)
        off = {*(f"{arm}_frc_curve.csv" for arm in others), *logs}
        return has(item.name, arms) and name not in off

    named = [(item, name) for item in _IN_HUB for name in item.files if of(item, name)]
    at = Condition(dose, view)
    paths = {hub_layout.hub_path(item, at, name): name for item, name in named}
    return {path: name for path, name in paths.items() if path is not None}


def required_files(dose: int, view: str, arms: Collection[str]) -> set[str]:
    """Return every file that a hub that compares these arms has, relative to it."""
    found = _files(dose, view, arms)
    return {CRATE, *(path for path, name in found.items() if name not in OPTIONAL)}


def allowed_files(dose: int, view: str, arms: Collection[str]) -> set[str]:
    """Return the files that a hub may have besides."""
    found = _files(dose, view, arms)
    return {REPORT, *(path for path, name in found.items() if name in OPTIONAL)}
