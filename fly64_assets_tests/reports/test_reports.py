"""Reports for people: exact lines, every number from its source, no direction contradicted."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from fly64_assets.documents.comparison_manifest import ComparisonStatus, comparison_manifest
from fly64_assets.ptychography.scoring.metrics import METRICS
from fly64_assets.ptychography.scoring.statistics import Statistic
from fly64_assets.reports.condition import texts as reports
from fly64_assets.reports.condition.rendering import Table, render
from fly64_assets.reports.condition.winners import best, better_of_two
from fly64_assets.study.conditions import Condition
from fly64_assets.study.hub_layout import hub_path
from fly64_assets.study.model import MODELS, SPLITS
from fly64_assets.study.products import PRODUCTS, product
from fly64_assets_tests.reports.report_sources import sources

FILES = product("metrics_report").files


def texts(found: reports.Sources) -> dict[str, str]:
    return {name: render(name, context) for name, context in reports.contexts(found).items()}


def table_under(text: str, heading: str, nth: int = 0) -> list[dict[str, str]]:
    """Rows of the nth table below a heading, by column header."""
    lines = text[text.index(f"{heading}\n") :].split("\n")
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("|"):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in blocks[nth]]
    header, _, *body = cells
    return [dict(zip(header, row, strict=True)) for row in body]


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return texts(sources())


def test_every_file_of_the_catalogue_is_written_and_none_else(written):
    assert set(written) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_clean_text(written, name):
    text = written[name]
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert "\r" not in text and "\n\n\n" not in text
    assert not any(line != line.rstrip() for line in text.split("\n"))
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d", text), "no times"
    assert not re.search(r"(?<![\w./])/\w", text), "no absolute paths"
    assert "None" not in text and "nan" not in text


def test_comparison_summary_counts_and_enumerates_every_job(written):
    assert written["comparison_summary.txt"].split("\n") == [
        "Comparison summary: 1,000 photons per exposure, dense view",
        "comparisons: total 2, executed 2, success 2, failed 0",
        "",
        "1. dose 1000, view dense, split train: success, returncode 0, "
        "log analysis/dose_1000/dense/train/comparison.log",
        "2. dose 1000, view dense, split test: success, returncode 0, "
        "log analysis/dose_1000/dense/test/comparison.log",
        "",
    ]


def test_a_failed_or_absent_comparison_is_said_to_be_so():
    statuses = {"train": ComparisonStatus(None), "test": ComparisonStatus("ValueError: a\nb")}
    manifest = comparison_manifest(1000, "dense", statuses, ms_ssim_sigma_px=1.0)
    del manifest["execution_results"][0]
    text = texts(replace(sources(), manifest=manifest))["comparison_summary.txt"]
    assert "split train: not executed\n" in text
    assert "split test: failed, returncode 1" in text and "error ValueError: a b\n" in text
    assert "total 2, executed 2, success 1, failed 1" in text


def test_highlights_are_exactly_the_four_lines(written):
    assert written["metrics_delta_highlights.txt"] == (
        "MS-SSIM Δ (PtychoPINN - Baseline)  : amplitude +0.060  phase +0.141\n"
        "MS-SSIM Δ (PtychoPINN - PtyChi)    : amplitude +0.210  phase -0.029\n"
        "MAE Δ (PtychoPINN - Baseline)  : amplitude +0.010000  phase -0.016000\n"
        "MAE Δ (PtychoPINN - PtyChi)    : amplitude -0.020000  phase +0.014000\n"
    )
    assert written["metrics_delta_highlights_preview.txt"] == (
        "MS-SSIM Δ (PtychoPINN - Baseline): +0.141\n"
        "MS-SSIM Δ (PtychoPINN - PtyChi): -0.029\n"
        "MAE Δ (PtychoPINN - Baseline): -0.016000\n"
        "MAE Δ (PtychoPINN - PtyChi): +0.014000\n"
    )


def test_metrics_summary_has_three_decimals_for_aggregates_and_four_for_jobs(written):
    text = written["metrics_summary.md"]
    aggregates = {row["model"]: row for row in table_under(text, "## Aggregate metrics")}
    assert aggregates["PtychoPINN"]["MS-SSIM phase mean"] == "0.926"
    assert aggregates["PtychoPINN"]["MS-SSIM phase best"] == "0.931"
    assert aggregates["PtyChi"]["MAE phase (rad) mean"] == "0.061"
    scores = {row["metric"]: row for row in table_under(text, "### test")}
    assert scores["MS-SSIM"]["PtychoPINN phase"] == "0.9211"
    assert scores["MAE"]["Baseline amplitude"] == "0.0500"
    assert scores["PSNR strict"]["better"] == "higher"
    assert scores["FRC50 never crossing"]["PtyChi phase"] == "yes"
    assert scores["FRC50 never crossing"]["PtyChi amplitude"] == "no"
    fits = table_under(text, "### train", nth=1)
    assert [row["applied"] for row in fits] == ["yes", "no", "no"]
    assert fits[0]["computation time (s)"] == "1.5000"
    datasets = {row["split"]: row for row in table_under(text, "## Datasets")}
    assert datasets["test"] == {
        "split": "test",
        "images in the half": "5,152",
        "images in the view": "1,271",
        "share": "24.7 %",
        "group centres": "158",
        "overlap target": "0.700",
        "overlap reached": "0.699",
        "total photons": "1,271,568",
        "photons/px²": "92.3",
    }
    compliance = table_under(text, "## Metadata of the simulated datasets")
    assert compliance[1]["file"] == "data/phase_c/dose_1000/patched_test.npz"
    assert {row["compliant"] for row in compliance} == {"yes"}


def test_a_dataset_that_breaks_the_contract_is_named_with_its_error():
    found = sources()
    summary = copy.deepcopy(found.summary)
    summary["phase_c_metadata_compliance"]["dose_1000"]["test"] |= {
        "compliant": False,
        "error": "patched_test.npz: _metadata: a | b",
    }
    text = texts(replace(found, summary=summary))["metrics_summary.md"]
    assert "| no        | patched_test.npz: _metadata: a \\| b |" in text


def test_sanity_names_what_is_low(written):
    text = written["aggregate_report.md"]
    status = {row["model"]: row["status"] for row in table_under(text, "## MS-SSIM sanity")}
    assert status == {"PtychoPINN": "OK", "Baseline": "LOW (phase)", "PtyChi": "LOW (amp)"}
    assert (
        "Baseline  : amplitude 0.845  phase 0.785  LOW (phase)\n"
        in (written["aggregate_highlights.txt"])
    )


@pytest.mark.parametrize(
    ("amplitude", "phase", "status"),
    [
        (0.8, 0.8, "OK"),
        (0.7999999, 0.9, "LOW (amp)"),
        (0.1, 0.1, "LOW (amp,phase)"),
        (None, 0.9, "OK"),
        (0.7, None, "LOW (amp)"),
        (None, None, "MISSING"),
    ],
)
def test_sanity_is_judged_on_the_raw_mean(amplitude, phase, status):
    found = sources()
    summary = copy.deepcopy(found.summary)
    means = {"mean_amplitude": amplitude, "mean_phase": phase}
    summary["aggregate_metrics"]["PtyChi"]["ms_ssim"] = means
    text = texts(replace(found, summary=summary))["aggregate_report.md"]
    assert table_under(text, "## MS-SSIM sanity")[2]["status"] == status


def test_deltas_say_which_model_is_better_where_it_is_settled_and_agree_with_the_metric(written):
    text = written["aggregate_report.md"]
    heading = "### MS-SSIM: higher is better, a positive delta favours PtychoPINN"
    ms_ssim = {(row["minus"], row["over"]): row for row in table_under(text, heading)}
    test = ms_ssim["PtyChi", "test"]
    assert (test["Δ phase"], test["better in phase"]) == ("-0.039", "PtyChi")
    assert (test["Δ amplitude"], test["better in amplitude"]) == ("+0.210", "PtychoPINN")
    heading = "### MAE: lower is better, a negative delta favours PtychoPINN"
    mae = {(row["minus"], row["over"]): row for row in table_under(text, heading)}
    mean = mae["PtyChi", "mean of train and test"]
    assert (mean["Δ phase (rad)"], mean["better in phase"]) == ("+0.014000", "not settled")
    assert (mean["Δ amplitude"], mean["better in amplitude"]) == ("-0.020000", "PtychoPINN")


def test_every_direction_comes_from_the_metric_itself(monkeypatch):
    monkeypatch.setitem(METRICS, "mae", replace(METRICS["mae"], direction="higher"))
    turned = texts(sources())
    assert not any("lower is better" in text for text in turned.values())
    assert (
        "Best phase MAE on test (higher is better): "
        "Baseline, not settled against PtychoPINN, no interval against PtyChi\n"
    ) in turned["metrics_digest.md"]
    heading = "### MAE: higher is better, a positive delta favours PtychoPINN"
    rows = table_under(turned["aggregate_report.md"], heading)
    assert rows[3]["better in amplitude"] == "PtyChi"


def test_missing_numbers_are_not_available_and_equal_models_are_equal():
    found = sources()
    deltas = copy.deepcopy(found.deltas)
    deltas["deltas"]["vs_PtyChi"]["ms_ssim"] = {"amplitude": None, "phase": 0.0}
    deltas["intervals"]["of_means"]["vs_PtyChi"]["ms_ssim"]["phase"]["settled"] = False
    changed = texts(replace(found, deltas=deltas))
    line = "MS-SSIM Δ (PtychoPINN - PtyChi)    : amplitude N/A  phase +0.000\n"
    assert line in changed["metrics_delta_highlights.txt"]
    heading = "### MS-SSIM: higher is better, a positive delta favours PtychoPINN"
    row = table_under(changed["aggregate_report.md"], heading)[3]
    assert (row["better in amplitude"], row["better in phase"]) == ("N/A", "equal")


def test_digest_has_its_title_and_sections(written):
    text = written["metrics_digest.md"]
    assert text.startswith("# Phase G Dense Metrics Digest\n")
    headings = [line for line in text.split("\n") if line.startswith("## ")]
    names = ("Pipeline Summary", "Highlights", "Key Deltas", "References")
    assert headings == [f"## {name}" for name in names]
    assert "- Best phase MS-SSIM on test (higher is better): PtyChi\n" in text
    assert (
        "- Best phase MAE on test (lower is better): "
        "PtyChi, not settled against PtychoPINN, no interval against Baseline\n"
    ) in text
    first = table_under(text, "## Key Deltas")[0]
    assert (first["phase test"], first["phase mean"]) == ("+0.141", "+0.141")
    sparse = texts(sources(dose=100000, view="sparse"))["metrics_digest.md"]
    assert sparse.startswith("# Phase G Sparse Metrics Digest\n")
    assert "100,000 photons per exposure, sparse view." in sparse


def test_where_nothing_is_settled_nobody_is_better():
    """Whatever the scores say: every interval holds zero."""
    found = sources()
    intervals = copy.deepcopy(found.deltas["intervals"])
    for others in (intervals["of_means"], *intervals["by_split"].values()):
        for path in _leaves(others):
            if path[-1] == "low":
                others[path[0]][path[1]][path[2]].update(low=-1.0, high=1.0, settled=False)
    rows = {
        split: [
            replace(row, low=-1.0, high=1.0, settled=False if row.reference else None)
            for row in rows
        ]
        for split, rows in found.statistics.items()
    }
    deltas = {**found.deltas, "intervals": intervals}
    changed = texts(replace(found, deltas=deltas, statistics=rows))
    for metric, sign in (("MS-SSIM: higher", "positive"), ("MAE: lower", "negative")):
        heading = f"### {metric} is better, a {sign} delta favours PtychoPINN"
        for row in table_under(changed["aggregate_report.md"], heading):
            assert {row["better in phase"], row["better in amplitude"]} == {"not settled"}
    for line in re.findall(r"- Best phase .*", changed["metrics_digest.md"]):
        assert "not settled against PtychoPINN" in line


def _statistic(model: str, other: str, low: float, high: float) -> Statistic:
    """Of the phase's MS-SSIM."""
    settled = not low <= 0 <= high if other else None
    middle = (low + high) / 2
    numbers = (middle, middle, low, high, settled)
    return Statistic(model, other, "ms_ssim", "phase", *numbers, "space", 1)


@pytest.mark.parametrize(
    ("scores", "differences", "told"),
    [
        # PtychoPINN leads: every rival has an interval of the difference.
        (
            {"PtychoPINN": 0.9, "Baseline": 0.8, "PtyChi": 0.7},
            {"Baseline": (0.05, 0.15), "PtyChi": (0.1, 0.3)},
            "PtychoPINN",
        ),
        (
            {"PtychoPINN": 0.9, "Baseline": 0.8, "PtyChi": 0.7},
            {"Baseline": (-0.05, 0.15), "PtyChi": (-0.1, 0.3)},
            "PtychoPINN, not settled against Baseline and PtyChi",
        ),
        # Another leads, and against the third only the scores' own intervals can tell.
        (
            {"PtychoPINN": 0.8, "Baseline": 0.7, "PtyChi": 0.9},
            {"Baseline": (0.05, 0.15), "PtyChi": (-0.2, -0.05)},
            "PtyChi",
        ),
        (
            {"PtychoPINN": 0.8, "Baseline": 0.7, "PtyChi": 0.9},
            {"Baseline": (0.05, 0.15), "PtyChi": (-0.2, 0.05)},
            "PtyChi, not settled against PtychoPINN",
        ),
        (
            {"PtychoPINN": 0.8, "Baseline": 0.87, "PtyChi": 0.9},
            {"Baseline": (-0.15, 0.01), "PtyChi": (-0.2, -0.05)},
            "PtyChi, no interval against Baseline",
        ),
        # The first training leads against what all trainings say.
        (
            {"PtychoPINN": 0.9, "PtyChi": 0.8},
            {"PtyChi": (-0.2, -0.05)},
            "PtychoPINN, not settled against PtyChi",
        ),
        ({"PtychoPINN": 0.9, "PtyChi": 0.87}, {}, "PtychoPINN, no interval against PtyChi"),
        (
            {"PtychoPINN": 0.9, "PtyChi": 0.9, "Baseline": 0.8},
            {"PtyChi": (0.0, 0.0), "Baseline": (0.05, 0.15)},
            "PtychoPINN and PtyChi",
        ),
        ({}, {}, "not defined"),
    ],
)
def test_the_best_is_told_with_those_it_is_not_settled_against(scores, differences, told):
    rows = [_statistic(model, "", value - 0.02, value + 0.02) for model, value in scores.items()]
    rows += [_statistic("PtychoPINN", other, *ends) for other, ends in differences.items()]
    assert best(scores, rows, "ms_ssim", "phase") == told
    errors = [replace(row, metric="mae", low=-row.high, high=-row.low) for row in rows]
    turned = {model: -value for model, value in scores.items()}
    assert best(turned, errors, "mae", "phase") == told, "lower is better"


def test_a_winner_is_named_by_the_interval_alone():
    sure = {"low": -0.3, "high": -0.1, "settled": True}
    assert better_of_two(-0.2, sure, "PtyChi", "ms_ssim") == "PtyChi"
    assert better_of_two(-0.2, sure, "PtyChi", "mae") == "PtychoPINN"
    assert better_of_two(0.01, sure, "PtyChi", "ms_ssim") == "PtyChi", "of all trainings"
    assert better_of_two(0.5, {**sure, "settled": False}, "PtyChi", "ms_ssim") == "not settled"
    assert better_of_two(0.5, {**sure, "settled": None}, "PtyChi", "ms_ssim") == "no interval"
    assert better_of_two(0.5, None, "PtyChi", "ms_ssim") == "no interval"


def test_every_score_and_delta_has_its_interval_in_the_report(written):
    text = written["aggregate_report.md"]
    scores = table_under(text, "## How sure the scores are")
    assert [(row["over"], row["model"]) for row in scores] == [
        (over, model) for over in ("mean of train and test", *SPLITS) for model in MODELS
    ]
    test = scores[-3]
    assert test["MS-SSIM phase"] == "0.9207 [0.9007, 0.9407]"
    assert test["covers"] == "space and training seed"
    deltas = {
        (row["over"], row["minus"], row["metric"]): row
        for row in table_under(text, "## How sure the deltas are")
    }
    assert len(deltas) == 3 * 2 * 4
    mean = deltas["mean of train and test", "PtyChi", "MS-SSIM phase"]
    assert (mean["mean"], mean["low"], mean["sign settled"]) == ("-0.029", "-0.049", "yes")
    assert text.count("80 % (differences of MS-SSIM) of cases") == 2, "under each table"


def test_digest_refers_to_files_that_a_hub_has(written):
    condition = Condition(1000, "dense")
    owned = {hub_path(item, condition, file) for item in PRODUCTS for file in item.files}
    referred = re.findall(r"^- `(.+)`$", written["metrics_digest.md"], re.MULTILINE)
    assert len(referred) >= 10 and set(referred) <= owned


def test_grid_holds_two_tables_of_the_phase_alone(written):
    text = written["ssim_grid_summary.md"]
    assert "amplitude" not in text.lower()
    assert len(re.findall(r"^\| -", text, re.MULTILINE)) == 2
    heading = "## MAE Δ, phase (rad): lower is better, a negative delta favours PtychoPINN"
    rows = table_under(text, heading)
    assert [row["over"] for row in rows] == ["mean of train and test", "train", "test"]
    assert [row["vs PtyChi"] for row in rows] == ["+0.014000", "+0.009200", "+0.018800"]


@pytest.mark.parametrize(
    "name",
    [name for name in FILES if name.endswith(".md")] + ["aggregate_highlights.txt"],
)
def test_where_views_may_be_compared_the_photons_are_told(written, name):
    assert "1,264,123" in written[name] and "1,271,568" in written[name]
    assert "91.3" in written[name] and "photons/px²" in written[name]


def _leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, float):
        yield path


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("summary", "aggregate_metrics"),
        ("deltas", "deltas"),
        ("deltas", "deltas_by_split"),
        ("deltas", "intervals"),
    ],
)
def test_every_number_of_the_json_files_is_shown_where_it_belongs(written, part, key):
    """Whichever number changes, the report changes: it leaves none out."""
    found = sources()
    for path in _leaves(getattr(found, part)[key]):
        content = copy.deepcopy(getattr(found, part))
        place = content[key]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] += 0.01
        changed = texts(replace(found, **{part: content}))
        assert changed["aggregate_report.md"] != written["aggregate_report.md"], path


def test_reports_do_not_depend_on_times_but_for_the_seconds_they_show():
    slow, fast = sources(seconds=9.0), sources(seconds=1.0)
    differ = {name for name, text in texts(slow).items() if text != texts(fast)[name]}
    assert differ == {"metrics_summary.md"}
    timeless = [
        texts(replace(found, summary=reports.without_times(found.summary)))
        for found in (slow, fast)
    ]
    assert timeless[0] == timeless[1]


def test_a_name_that_is_missing_is_an_error():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="counts_line"):
        render("comparison_summary.txt", {"title": "x", "jobs": []})


def test_a_table_escapes_bars_and_refuses_ragged_rows():
    assert Table(("a", "n"), [("x|y\nz", "1")]).lines == [
        "| a      |   n |",
        "| ------ | --: |",
        "| x\\|y z |   1 |",
    ]
    with pytest.raises(ValueError, match="1 cells in a table of 2"):
        Table(("a", "b"), [("x",)])


def test_loading_the_renderer_does_not_load_jinja():
    module = "fly64_assets.reports.condition.rendering"
    script = f"import sys, {module}; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
