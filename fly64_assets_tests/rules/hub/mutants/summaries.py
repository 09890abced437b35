"""Edits of the manifest, the summary and the deltas."""

from __future__ import annotations

import math
from typing import Any

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant

MANIFEST, SUMMARY = "analysis/comparison_manifest.json", "analysis/metrics_summary.json"
DELTAS = "analysis/metrics_delta_summary.json"


def _test_only(content: dict[str, Any]) -> None:
    for key in ("jobs", "execution_results"):
        content[key].pop(0)
    content.update(n_jobs=1, n_executed=1, n_success=1)


def _counted_failure(content: dict[str, Any]) -> None:
    content["execution_results"][1].update(returncode=1, error="ValueError: constant")
    content.update(n_success=1, n_failed=1)


def _nudge(values: dict[str, float], key: str) -> None:
    values[key] = math.nextafter(values[key], 1.0)


def _mae(content: dict[str, Any]) -> dict[str, Any]:
    """MAE of PtyChi in the first job of a summary."""
    return content["jobs"][0]["metrics"]["PtyChi"]["mae"]


def _of_test(content: dict[str, Any]) -> dict[str, Any]:
    return next(iter(content["phase_c_metadata_compliance"].values()))["test"]


def _turned(content: dict[str, Any]) -> None:
    values = content["deltas"]["vs_PtyChi"]["mae"]
    values["phase"] = -values["phase"]


for check, path, edits in (
    (
        "manifest.completeness",
        MANIFEST,
        {"a failed comparison, counted": _counted_failure, "the test split only": _test_only},
    ),
    (
        "manifest.invariant",
        MANIFEST,
        {
            "a key more": lambda c: c.update(host="mine"),
            "test before train": lambda c: c["jobs"].reverse(),
            "the dose as a text": lambda c: c["jobs"][0].update(dose="1000"),
            "another dataset": lambda c: c["jobs"][0].update(
                phase_c_npz=c["jobs"][1]["phase_c_npz"]
            ),
            "another sigma": lambda c: c["jobs"][0].update(ms_ssim_sigma=0.5),
            "a count as a fraction": lambda c: c.update(n_failed=0.0),
            "the other split's log": lambda c: c["execution_results"][0].update(
                log_path=c["execution_results"][1]["log_path"]
            ),
        },
    ),
    (
        "summary.recomputed",
        SUMMARY,
        {
            "a key more": lambda c: c.update(host="mine"),
            "a failed job": lambda c: c.update(n_failed=1),
            "a number as a text": lambda c: _mae(c).update(phase="0.1"),
            "the splits exchanged": lambda c: c["jobs"].reverse(),
            "the last bit of a mean": lambda c: _nudge(
                c["aggregate_metrics"]["PtyChi"]["mae"], "mean_phase"
            ),
            "a best of MAE": lambda c: c["aggregate_metrics"]["PtyChi"]["mae"].update(
                best_phase=0.1
            ),
        },
    ),
    (
        "summary.counts",
        SUMMARY,
        {
            "no counts of datasets": lambda c: c.pop("dataset_counts"),
            "totals after subsampling": lambda c: c["dataset_counts"]["test"].update(
                n_images_total=c["dataset_counts"]["test"]["n_images_kept"] - 1
            ),
            "not compliant": lambda c: _of_test(c).update(compliant=False),
            "the other split's file": lambda c: _of_test(c).update(
                npz_path=_of_test(c)["npz_path"].replace("test", "train")
            ),
        },
    ),
    (
        "deltas.recomputed",
        DELTAS,
        {
            "a key more": lambda c: c.update(note="none"),
            "the sign turned": _turned,
            "the last bit": lambda c: _nudge(c["deltas"]["vs_PtyChi"]["mae"], "phase"),
            "the test split for the mean": lambda c: c.update(deltas=c["deltas_by_split"]["test"]),
        },
    ),
    (
        "deltas.source_hash",
        DELTAS,
        {
            "the hash of another summary": lambda c: c.update(source_metrics_sha256="0" * 64),
            "another source": lambda c: c.update(source_metrics=MANIFEST),
        },
    ),
):
    for what, edit in edits.items():
        add(
            check,
            what,
            lambda f, path=path, edit=edit: f.json(path, lambda content: edit(content) and None),
        )


@mutant("deltas.source_hash", "a stale delta file, of an older summary", hidden=False)
def _(f: Forgery) -> None:
    """The summary was made anew and everything but the deltas with it."""
    f.text(SUMMARY, lambda text: text.replace('"n_jobs": 2,', '"n_jobs":  2,', 1))
