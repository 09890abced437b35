"""Edits of the manifest, the summary and the deltas."""

from __future__ import annotations

from typing import Any

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant

MANIFEST, SUMMARY = "analysis/comparison_manifest.json", "analysis/metrics_summary.json"
DELTAS = "analysis/metrics_delta_summary.json"


def _reversed(content: dict[str, Any]) -> None:
    content["jobs"].reverse()
    content["execution_results"].reverse()


def _test_only(content: dict[str, Any]) -> None:
    for key in ("jobs", "execution_results"):
        content[key].pop(0)
    content.update(n_jobs=1, n_executed=1, n_success=1)


def _counted_failure(content: dict[str, Any]) -> None:
    content["execution_results"][1].update(returncode=1, error="ValueError: constant")
    content.update(n_success=1, n_failed=1)


for check, path, edits in (
    (
        "manifest.keys",
        MANIFEST,
        {
            "no filters": lambda c: c.pop("filters") and None,
            "a key more": lambda c: c.update(host="mine"),
        },
    ),
    (
        "manifest.order",
        MANIFEST,
        {
            "test before train": _reversed,
            "the test split only": _test_only,
            "a split twice": lambda c: c["jobs"].append(c["jobs"][0]),
            "another dose": lambda c: c["jobs"][0].update(dose=77),
            "the dose as a text": lambda c: c["jobs"][0].update(dose="1000"),
        },
    ),
    (
        "manifest.jobs",
        MANIFEST,
        {
            "the splits' datasets exchanged": lambda c: (
                (
                    lambda a, b: (
                        a.update(phase_c_npz=b["phase_c_npz"]),
                        b.update(phase_c_npz=b["phase_c_npz"].replace("test", "train")),
                    )
                )(*c["jobs"])
                and None
            ),
            "PtychoPINN's weights for Baseline": lambda c: c["jobs"][0].update(
                baseline_checkpoint=c["jobs"][0]["pinn_checkpoint"]
            ),
            "registration skipped": lambda c: c["jobs"][0].update(skip_registration=True),
            "PtyChi alone registered": lambda c: c["jobs"][0].update(register_ptychi_only=True),
            "a key more": lambda c: c["jobs"][0].update(gpu=0),
            "no smoothing": lambda c: c["jobs"][0].pop("ms_ssim_sigma") and None,
            "another phase F manifest": lambda c: c["jobs"][0].update(
                phase_f_manifest="data/phase_e/training_manifest.json"
            ),
        },
    ),
    (
        "manifest.invariant",
        MANIFEST,
        {
            "a success more": lambda c: c.update(n_success=3),
            "a failure that no job has": lambda c: c.update(n_failed=1),
            "three jobs": lambda c: c.update(n_jobs=3),
            "one executed": lambda c: c.update(n_executed=1),
            "a count as a fraction": lambda c: c.update(n_failed=0.0),
        },
    ),
    (
        "manifest.no_failure",
        MANIFEST,
        {
            "a failed comparison, counted": _counted_failure,
            "an error beside returncode 0": lambda c: c["execution_results"][1].update(error="x"),
            "the other split's log": lambda c: c["execution_results"][0].update(
                log_path=c["execution_results"][1]["log_path"]
            ),
            "returncode null": lambda c: c["execution_results"][0].update(returncode=None),
        },
    ),
    (
        "summary.keys",
        SUMMARY,
        {
            "no counts of datasets": lambda c: c.pop("dataset_counts") and None,
            "a key more": lambda c: c.update(host="mine"),
        },
    ),
    (
        "summary.counts",
        SUMMARY,
        {
            "a failed job": lambda c: c.update(n_failed=1),
            "a job less": lambda c: c.update(n_jobs=1),
            "a success less": lambda c: c.update(n_success=1),
        },
    ),
    (
        "summary.scores",
        SUMMARY,
        {
            "a number of a job": lambda c: c["jobs"][0]["metrics"]["PtyChi"]["mae"].update(
                phase=0.089609
            ),
            "the splits exchanged": lambda c: c["jobs"].reverse(),
            "the splits' scores exchanged": lambda c: (
                (
                    lambda a, b: (
                        a.update(metrics=b["metrics"], old=a["metrics"]),
                        b.update(metrics=a.pop("old")),
                    )
                )(*c["jobs"])
                and None
            ),
            "a renamed model": lambda c: c["jobs"][0]["metrics"].update(
                {"Pty-chi (pty-chi)": c["jobs"][0]["metrics"].pop("PtyChi")}
            ),
            "an empty row": lambda c: c["jobs"][0]["metrics"].update(Baseline={}),
            "null": lambda c: c["jobs"][0]["metrics"]["PtyChi"]["mae"].update(phase=None),
            "a number as a text": lambda c: c["jobs"][0]["metrics"]["PtyChi"]["mae"].update(
                phase="0.1"
            ),
            "the other split's table": lambda c: c["jobs"][0].update(
                metrics_csv=c["jobs"][1]["metrics_csv"]
            ),
            "one split": lambda c: c["jobs"].pop() and None,
        },
    ),
    (
        "summary.aggregates",
        SUMMARY,
        {
            "a mean": lambda c: c["aggregate_metrics"]["PtyChi"]["mae"].update(mean_phase=0.5),
            "the last bit of a mean": lambda c: _nudge(
                c["aggregate_metrics"]["PtyChi"]["mae"], "mean_phase"
            ),
            "a best that is the worst": lambda c: c["aggregate_metrics"]["PtyChi"][
                "ms_ssim"
            ].update(best_phase=0.1),
            "a best of MAE": lambda c: c["aggregate_metrics"]["PtyChi"]["mae"].update(
                best_phase=0.1
            ),
            "a model less": lambda c: c["aggregate_metrics"].pop("PtyChi") and None,
        },
    ),
    (
        "summary.dataset_counts",
        SUMMARY,
        {
            "totals after subsampling": lambda c: c["dataset_counts"]["test"].update(
                n_images_total=c["dataset_counts"]["test"]["n_images_kept"] - 1
            ),
            "the splits exchanged": lambda c: c.update(
                dataset_counts={
                    "train": c["dataset_counts"]["test"],
                    "test": c["dataset_counts"]["train"],
                }
            ),
            "a centre more": lambda c: c["dataset_counts"]["test"].update(
                n_centres=c["dataset_counts"]["test"]["n_centres"] + 1
            ),
        },
    ),
    (
        "summary.compliance",
        SUMMARY,
        {
            "not compliant": lambda c: _of_test(c).update(compliant=False),
            "an error": lambda c: _of_test(c).update(error="none"),
            "the other split's file": lambda c: _of_test(c).update(
                npz_path=_of_test(c)["npz_path"].replace("test", "train")
            ),
            "another dose": lambda c: c.update(
                phase_c_metadata_compliance={
                    "dose_77": next(iter(c["phase_c_metadata_compliance"].values()))
                }
            ),
        },
    ),
    (
        "deltas.keys",
        DELTAS,
        {
            "no time": lambda c: c.pop("generated_at") and None,
            "a key more": lambda c: c.update(note="none"),
        },
    ),
    (
        "deltas.source",
        DELTAS,
        {
            "the hash of another summary": lambda c: c.update(source_metrics_sha256="0" * 64),
            "another source": lambda c: c.update(
                source_metrics="analysis/comparison_manifest.json"
            ),
        },
    ),
    (
        "deltas.recomputed",
        DELTAS,
        {
            "null for PtyChi": lambda c: c["deltas"]["vs_PtyChi"]["ms_ssim"].update(phase=None),
            "the sign turned": lambda c: _turn(c["deltas"]["vs_PtyChi"]["mae"], "phase"),
            "the last bit": lambda c: _nudge(c["deltas"]["vs_PtyChi"]["mae"], "phase"),
            "rounded to three decimals": lambda c: c["deltas"]["vs_PtyChi"]["mae"].update(
                phase=round(c["deltas"]["vs_PtyChi"]["mae"]["phase"], 3)
            ),
            "the test split for the mean": lambda c: c.update(deltas=c["deltas_by_split"]["test"]),
            "the others exchanged": lambda c: c.update(
                deltas={
                    "vs_Baseline": c["deltas"]["vs_PtyChi"],
                    "vs_PtyChi": c["deltas"]["vs_Baseline"],
                }
            ),
        },
    ),
    (
        "deltas.by_split",
        DELTAS,
        {
            "the splits exchanged": lambda c: c.update(
                deltas_by_split={
                    "train": c["deltas_by_split"]["test"],
                    "test": c["deltas_by_split"]["train"],
                }
            ),
            "the last bit": lambda c: _nudge(
                c["deltas_by_split"]["test"]["vs_PtyChi"]["mae"], "phase"
            ),
            "one split": lambda c: c["deltas_by_split"].pop("train") and None,
        },
    ),
):
    for what, edit in edits.items():
        add(check, what, lambda f, path=path, edit=edit: f.json(path, edit))


def _of_test(content: dict[str, Any]) -> dict[str, Any]:
    return next(iter(content["phase_c_metadata_compliance"].values()))["test"]


def _nudge(values: dict[str, float], key: str) -> None:
    import math

    values[key] = math.nextafter(values[key], 1.0)


def _turn(values: dict[str, float], key: str) -> None:
    values[key] = -values[key]


@mutant("deltas.source", "a stale delta file, of an older summary", hidden=False)
def _(f: Forgery) -> None:
    """The summary was made anew and everything but the deltas with it."""
    f.text(SUMMARY, lambda text: text.replace('"n_jobs": 2,', '"n_jobs":  2,', 1))


@mutant("deltas.recomputed", "the deltas of another dose's hub")
def _(f: Forgery) -> None:
    def other(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: other(item) for key, item in value.items()}
        return value * 0.9 if isinstance(value, float) else value

    f.json(
        DELTAS,
        lambda c: c.update(deltas=other(c["deltas"]), deltas_by_split=other(c["deltas_by_split"])),
    )
