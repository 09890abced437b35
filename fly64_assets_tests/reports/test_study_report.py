"""The study report: whole, the same bytes for the same study, and honest about what is missing."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from fly64_assets.documents.formatting import UNDEFINED
from fly64_assets.pipeline import blockers
from fly64_assets.pipeline.asset_frame import PhaseRun
from fly64_assets.pipeline.assets.study_report import FILE, make_study_report
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.io_manager import StoredInput
from fly64_assets.reports.condition.costs import COLUMNS, Cost, total_costs
from fly64_assets.reports.study.content import PLOTS, telling_plots
from fly64_assets.reports.study.pictures import Scale, data_uri, ink, shared_scales
from fly64_assets.reports.study.plots import frc_svg, inline_svg
from fly64_assets.reports.study.scores import KEY, NEEDED_KEY, row_key
from fly64_assets.reports.study_tables import REACHED, dose_text
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import MODELS, SPLITS, load_study
from fly64_assets.study.products import LEVELS, product, products_in
from fly64_assets_tests.conftest import TINY, FinishedRun, fly64
from fly64_assets_tests.reports.page_reader import agrees, of_kind, read_page

REPORT = product("study_report")
AT = "1000|dense"


def _text(context) -> str:
    return context.store.path(REPORT, Condition(), FILE).read_text("utf-8")


def _render(context, instance, folder) -> str:
    """The page as a step would make it now, without a run."""
    planner = context.planner(instance)
    store = context.store
    gathered = {
        f"{record.product.name} {at}": StoredInput(record, store)
        for at, records in planner.gathered(REPORT).items()
        for record in records
    }
    inputs = {
        "/".join(key): StoredInput(planner.record(product(*key), Condition()), store)
        for key in REPORT.inputs
    }
    settings = planner.settings(REPORT, Condition())
    folder.mkdir()
    run = PhaseRun(
        product=REPORT,
        condition=Condition(),
        settings=settings,
        inputs=inputs,
        gathered=gathered,
        staging=folder,
        source=folder,
        threads=1,
        log=print,
        planner=planner,
        checkpoint=None,
    )
    make_study_report(run)
    return (folder / FILE).read_text("utf-8")


def test_a_run_ends_with_a_fresh_report_that_its_check_passed(opened):
    context, instance = opened
    verdict = context.planner(instance).verdict(REPORT, Condition())
    assert verdict.state is State.FRESH, str(verdict)
    checks = context.ledger(instance).checks(verdict.record)
    assert [check.name for check in checks] == ["files", "report_is_whole"]
    assert all(check.passed for check in checks), checks


def test_the_same_study_gives_the_same_bytes(opened, tmp_path):
    context, instance = opened
    first = _render(context, instance, tmp_path / "first")
    assert first == _render(context, instance, tmp_path / "second")
    assert first == _text(context)


def _table(context, name, file, columns):
    rows = csv.DictReader(
        io.StringIO(context.store.path(product(name), Condition(), file).read_text("utf-8"))
    )
    return {row_key(row, columns): row for row in rows}


def test_every_score_and_dose_is_its_table_s(opened):
    context, page = opened[0], read_page(_text(opened[0]))
    scores = _table(context, "study_metrics", "study_metrics.csv", KEY)
    assert {key for key, _, _ in of_kind(page, "data-row")} == scores.keys()
    for key, column, text in of_kind(page, "data-row"):
        source = scores[key][column]
        assert agrees(text, source) if source else text == UNDEFINED, (key, column)
    needed = _table(context, "dose_response", "dose_for_quality.csv", NEEDED_KEY)
    shown = list(of_kind(page, "data-needed"))
    assert {key for key, _, _ in shown} == {
        k for k, row in needed.items() if row["split"] == "test"
    }
    for key, column, text in shown:
        row = needed[key]
        if row[REACHED[column]] == "within":
            assert agrees(text, row[column]), (key, column)
        else:
            assert text == dose_text(row, column), (key, column)


def test_every_time_and_sha256_is_its_materialization_s(opened):
    context, instance = opened
    page, planner = read_page(_text(context)), context.planner(instance)
    at = Condition(1000, "dense")
    items = [item for item in products_in(context.study) if item.stage == "score"]
    items += [product(*key) for key in REPORT.inputs]
    records = [planner.record(item, at.restricted_to(item.per)).provenance for item in items]
    made = {f"{one.partition or 'study'} {one.asset}": one for one in records}
    for key, column, text in of_kind(page, "data-made"):
        assert agrees(text, str(getattr(made[key], column))), (key, column)
    files = {path: file.sha256 for one in records for path, file in one.files.items()}
    assert {path: sha256 for path, _, sha256 in of_kind(page, "data-file")} == files


def test_the_page_is_well_formed(opened):
    page = read_page(_text(opened[0]))
    assert page.unbalanced == []
    assert max(page.ids.values()) == 1
    assert page.targets <= page.ids.keys()
    assert page.conditions == {AT: "fresh"}
    # A tenth of what a study of 5 doses x 2 views may have, and half of that to spare.
    assert len(_text(opened[0]).encode()) < 1_000_000


class _Outline(HTMLParser):
    """Levels of the headings, and the pictures without words."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.silent: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        # Those of a comparison are filled by the script, with the words of what they show.
        if tag == "img" and not given.get("alt") and given.get("class") not in ("over", "under"):
            self.silent.append(given.get("id", "?"))
        if tag == "svg" and not given.get("aria-label"):
            self.silent.append("svg")


def test_headings_descend_step_by_step_and_every_picture_has_words(opened):
    outline = _Outline()
    outline.feed(_text(opened[0]))
    assert outline.levels[0] == 1 and outline.levels.count(1) == 1
    steps = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(after - before <= 1 for before, after in steps)
    assert outline.silent == []


def test_every_arm_is_pictured_with_its_errors_in_both_halves(opened):
    page = read_page(_text(opened[0]))
    for split in SPLITS:
        for kind in ("phase", "amplitude", "phase_error", "amplitude_error"):
            names = MODELS if kind.endswith("error") else ("truth", *MODELS)
            assert {f"c-1000-dense-{split}-{kind}-{name}" for name in names} <= page.ids.keys()


def test_costs_are_those_of_the_condition_s_summary(opened):
    context, _ = opened
    shown = read_page(_text(context)).shown
    item = product("hub_summary")
    lines = context.store.path(item, Condition(1000, "dense"), "summary.md").read_text("utf-8")
    _, lines = lines.split("## What each arm cost")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines()]
    summary = {row[0]: row[1:] for row in rows if row and row[0] in MODELS}
    for where in (AT, "all"):  # the only condition is all of them
        for model in MODELS:
            cells = [shown["data-cost", f"{where}|{model}", column] for column in COLUMNS]
            assert [text for (text,) in cells] == summary[model]


def test_costs_of_all_conditions_are_added_up():
    network = Cost("A", 10, 64, 2, 3.5, {"train": 1.0, "test": 2.0})
    solver = Cost("B", None, None, 4, None, {"train": 8.0, "test": 9.0})
    added, solved = total_costs([[network, solver], [network, solver]])
    assert added == Cost("A", 10, 128, 4, 7.0, {"train": 2.0, "test": 4.0})
    assert solved == Cost("B", None, None, 8, None, {"train": 16.0, "test": 18.0})
    assert total_costs([]) == []


def test_curves_are_drawn_where_there_is_more_than_a_point(opened):
    assert "Curves over doses and views appear here" in _text(opened[0])
    rows = [{"dose": dose, "view": view} for dose in ("1000", "2000") for view in ("dense", "b")]
    assert telling_plots(rows) == list(PLOTS)
    assert telling_plots(rows[::2]) == ["quality_by_dose", "quality_by_photons"]
    assert telling_plots(rows[:2]) == ["quality_by_photons", "quality_by_overlap"]
    assert telling_plots(rows[:1]) == telling_plots([]) == []


def test_the_study_file_in_it_is_the_study(opened, tmp_path):
    context, instance = opened
    found = re.search(r'<pre id="study-file"><code>(.*?)</code>', _text(context), re.S)
    assert found is not None
    file = tmp_path / "again.yaml"
    file.write_text(found[1].replace("&#39;", "'").replace("&#34;", '"'), "utf-8")
    assert load_study(file) == context.study
    assert context.planner(instance).study_sha256 in _text(context)


@pytest.fixture
def altered(finished, tmp_path, monkeypatch):
    """A copy of the finished study with other settings, open."""
    copy = finished.copy_to(tmp_path / "results")

    def change(**changes):
        file = tmp_path / "changed.yaml"
        file.write_text(yaml.safe_dump({**TINY, **changes}), "utf-8")
        return FinishedRun(file, copy.results, copy.run).context(monkeypatch)

    return change


def test_missing_and_failed_conditions_are_in_it_with_the_reason(altered, tmp_path):
    views = {view: {"target_overlap": 0.7} for view in ("dense", "b")}
    context = altered(doses=[1000, 2000], views=views)
    stopped = [blockers.Stop("pinn_model", "ValueError: <loss> is nan", "dagster/log")]
    blockers.write(context.store, LEVELS[2], Condition(2000, "dense"), "run", stopped)
    with study_instance(context.study, context.study_file) as instance:
        text = _render(context, instance, tmp_path / "page")
    page = read_page(text)
    assert page.conditions == {
        AT: "fresh",
        "1000|b": "missing",
        "2000|dense": "failed",
        "2000|b": "missing",
    }
    assert page.unbalanced == [] and page.targets <= page.ids.keys()
    read = " ".join(page.texts)
    assert "1 of 4 conditions" in read
    assert "in pinn_model (ValueError: <loss> is nan)" in read
    assert "train/overlap_view is missing: never made" in read
    assert "<loss>" not in text  # escaped


def test_a_stale_condition_says_why(altered):
    context = altered(scoring={"ms_ssim_sigma_px": 2.0})
    with study_instance(context.study, context.study_file) as instance:
        planner = context.planner(instance)
        standing = planner.standing(Condition(1000, "dense"))
        verdict = planner.verdict(REPORT, Condition())
    assert standing["state"] == "stale" and "ms_ssim_sigma_px: 1.0 -> 2.0" in standing["reason"]
    assert verdict.state is State.STALE


@pytest.mark.long
def test_the_command_prints_where_it_lies_and_makes_nothing_twice(finished):
    done = fly64("report", "--study", finished.study_file, results=finished.results)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("tiny/store/study/study_report.html")
    asked = ("report", "--study", finished.study_file, "--json")
    told = json.loads(fly64(*asked, results=finished.results).stdout)
    assert told["state"] == "fresh" and len(told["sha256"]) == 64
    assert told["conditions"][AT]["state"] == "fresh"


@pytest.mark.long
def test_a_study_without_a_finished_condition_has_none_and_says_so(write_study, tmp_path):
    study = write_study(name="nothing")
    done = fly64("report", "--study", study, results=tmp_path / "none")
    assert done.returncode == 1 and "no condition is finished, `fly64 run` first" in done.stderr
    assert not (tmp_path / "none").exists()
    assert fly64("report", "--study", tmp_path / "gone", results=tmp_path).returncode == 2


def test_a_picture_holds_its_values_on_the_scale():
    scale = Scale("phase", "phase", "rad", -1.0, 1.0, "viridis")
    uri = data_uri(np.array([[-5.0, -1.0], [1.0, 0.0]]), scale)
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    pixels = ["#" + bytes(image.getpixel((x, y))).hex() for y in (0, 1) for x in (0, 1)]
    assert pixels[0] == pixels[1] == scale.colour(0)
    assert pixels[2] == scale.colour(1) and pixels[3] == scale.colour(0.5)
    assert scale.ticks == ["-1.00 rad", "0.00 rad", "1.00 rad"]


def test_scales_span_every_truth():
    pairs = [
        (np.array([[0.0, 1.0]]), np.array([[0.5, 1.0]])),
        (np.array([[-2.0]]), np.ones((1, 1))),
    ]
    scales = shared_scales(pairs)
    assert (scales["phase"].low, scales["phase"].high) == (-2.0, 1.0)
    assert scales["phase_error"].low == -scales["phase_error"].high


def _luminance(colour: str) -> float:
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_text_on_a_coloured_cell_has_the_contrast_that_wcag_asks_for():
    scale = Scale("quality", "q", "", 0.0, 1.0, "cividis")
    for at in np.linspace(0, 1, 64):
        paper = scale.colour(at)
        light, dark = sorted((_luminance(paper), _luminance(ink(paper))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_plots_share_a_page_and_its_theme():
    curve = {
        "frequency_nyquist": [0.1, 0.5, 1.0],
        "phase": [1.0, 0.6, 0.1],
        "amplitude": [1.0, 0.7, 0.2],
    }
    source = frc_svg({"PtychoPINN": curve, "Baseline": curve}, 0.5)
    one, two = (inline_svg(source, name, "words") for name in ("a", "b"))
    page = read_page(f"<body>{one}{two}</body>")
    assert max(page.ids.values()) == 1 and page.targets <= page.ids.keys()
    assert page.unbalanced == []
    assert "currentColor" in one and "var(--arm-0)" in one and "#0072b2" not in one
    assert "metadata" not in one and "#000000" not in one
    assert source == frc_svg({"PtychoPINN": curve, "Baseline": curve}, 0.5)


@pytest.mark.parametrize(
    ("shown", "source", "same"),
    [
        ("0.8834", "0.883449", True),
        ("0.8834", "0.883461", False),
        ("-0.0000", "-0.00001", True),
        ("1,171,578", "1171578.2", True),
        ("-", "0.1", False),
        ("0.1", "", False),
    ],
)
def test_a_shown_number_is_its_sources_to_the_digits_that_it_shows(shown, source, same):
    assert agrees(shown, source) is same
