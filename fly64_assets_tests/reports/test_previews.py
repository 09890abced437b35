"""What the web UI shows of each product: all of it drawn on a real run, linked, and to no harm."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest
from dagster import MarkdownMetadataValue, TableMetadataValue
from dagster._serdes import serialize_value
from PIL import Image

from fly64_assets.pipeline import previews as exhibition
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.store import Store
from fly64_assets.reports.previews import by_product as exhibitors
from fly64_assets.reports.previews import drawing
from fly64_assets.reports.previews.preview import Exhibit, Picture, Subject, Table
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import Product, product
from fly64_assets_tests.conftest import PRODUCTS

AT = Condition(1000, "dense")
LARGEST_METADATA = 80_000
"""Characters of what the event log keeps of a materialization, several times over."""
PICTURES = {
    "specimen": {"object", "probe"},
    "dataset": {"diffraction", "photons"},
    "overlap_view": {"groups", "overlap"},
    "pinn_model": {"training"},
    "baseline_model": {"training"},
    "pinn_replicates": {"replicates"},
    "baseline_replicates": {"replicates"},
    "ptychi_reconstruction": {"reconstruction"},
    "comparison": {"comparison_plot", "frc_curves"},
    "comparison_statistics": {"differences"},
    "heatmaps": {"ms_ssim_heatmap", "correlation_heatmap"},
    "study_metrics": {"quality_by_condition"},
    "dose_response": {"quality_by_dose", "quality_by_photons", "quality_by_overlap"},
}
"""By the last part of the asset's key, as the UI shows them."""
OWN_FILES = {"comparison_plot", *PICTURES["heatmaps"], *PICTURES["dose_response"]}
"""Pictures that are files of their product, not drawn for the UI."""
NUMBERS = {
    "specimen": {"canvas_height_px", "probe_disc_diameter_px"},
    "dataset": {"mean_counts", "counts_deviation_rms_in_sigma"},
    "overlap_view": {"n_images_kept", "n_centres", "centre_spacing_mean_px", "total_photons"},
    "pinn_model": {"final_loss", "best_validation_loss", "best_epoch", "training_seconds"},
    "pinn_replicates": {"further_trainings", "best_validation_loss_mean"},
    "ptychi_reconstruction": {"first_loss", "final_loss", "computation_time_s"},
    "comparison": {"PtychoPINN ms_ssim phase", "Baseline psnr amplitude", "PtyChi frc50 phase"},
}
TABLES = {
    "pinn_replicates": "trainings",
    "comparison": "scores",
    "comparison_statistics": "scores_with_intervals",
    "metrics_summary": "scores",
    "metrics_delta_summary": "deltas_table",
    "check_report": "checks",
    "study_metrics": "headline_scores",
}


@pytest.fixture
def shown(finished, monkeypatch):
    """The latest metadata of every product of the finished run, and its context."""
    context = finished.context(monkeypatch)
    with study_instance(context.study, context.study_file) as instance:
        ledger = context.ledger(instance)
        found = {}
        for item in PRODUCTS:
            record = ledger.latest(item, AT.restricted_to(item.per))
            events = instance.all_logs(record.run_id)
            made = [
                event.asset_materialization
                for event in events
                if event.asset_materialization is not None
                and tuple(event.asset_materialization.asset_key.path) == item.key
            ]
            warnings = [event.user_message for event in events if event.level == logging.WARNING]
            found[item.name] = (made[-1].metadata, warnings)
        yield context, found


def _expected(table, item: Product):
    return table.get(item.key[-1], table.get(item.name))


def _address(shown: MarkdownMetadataValue) -> str:
    return shown.md_str.split("](", 1)[1].split(")", 1)[0]


def test_every_picture_of_a_real_run_is_a_file_and_a_link_to_it(shown):
    context, found = shown
    results = context.store.root.parent
    for item in PRODUCTS:
        metadata, warnings = found[item.name]
        assert not [text for text in warnings if "drawn" in text or "shown" in text], warnings
        pictures = {
            name: value
            for name, value in metadata.items()
            if isinstance(value, MarkdownMetadataValue) and value.md_str.startswith("![")
        }
        assert set(pictures) == (_expected(PICTURES, item) or set()), item.name
        drawn = set(pictures) - OWN_FILES
        at = AT.restricted_to(item.per)
        folder = context.store.pictures_folder(item, at)
        assert {path.stem for path in folder.glob("*.png")} == drawn
        if drawn:
            assert results / metadata[exhibition.PICTURES].value == folder
        for name, value in pictures.items():
            file = results / _address(value).removeprefix("/fly64/")
            owned = context.store.folder(item, at)
            assert file == (folder if name in drawn else owned) / f"{name}.png"
            assert f"File: `{file.relative_to(results)}`" in value.md_str
            with Image.open(file) as whole:
                assert whole.format == "PNG" and whole.width > 600
                assert len(whole.convert("L").getcolors()) > 20
                assert "Software" not in whole.info


def test_no_materialization_fills_the_event_log(shown):
    _, found = shown
    sizes = {name: len(serialize_value(dict(metadata))) for name, (metadata, _) in found.items()}
    large = {name: size for name, size in sizes.items() if size > LARGEST_METADATA}
    assert not large and sum(sizes.values()) < 10 * LARGEST_METADATA, sizes


def test_numbers_are_numbers_and_tables_tables(shown):
    _, found = shown
    for item in PRODUCTS:
        metadata, _ = found[item.name]
        for name in _expected(NUMBERS, item) or ():
            assert isinstance(metadata[name].value, int | float), (item.name, name)
        name = _expected(TABLES, item)
        if name is not None:
            table = metadata[name]
            assert isinstance(table, TableMetadataValue) and table.records
            numeric = [c.name for c in table.schema.columns if c.type in ("float", "int")]
            for record in table.records:
                values = [record.data[column] for column in numeric]
                assert all(v is None or isinstance(v, int | float) for v in values)


def test_the_deltas_are_those_of_the_file(shown):
    context, found = shown
    metadata, _ = found["metrics_delta_summary"]
    rows = {
        (r.data["split"], r.data["minus"], r.data["metric"], r.data["component"]): r.data
        for r in metadata["deltas_table"].records
    }
    assert len(rows) == 3 * 2 * 2 * 2
    headline = rows["both", "PtyChi", "MAE", "phase"]
    assert headline["delta"] == metadata["mae vs_PtyChi phase"].value
    assert headline["better"] == "lower" and headline["unit"] == "rad"
    of_test = rows["test", "Baseline", "MS-SSIM", "phase"]
    assert of_test["low"] <= of_test["high"]


def _subject(context: StudyContext, item: Product) -> Subject:
    def given(asset: str, file: str) -> Path:
        other = product(*asset.split("/"))
        return context.store.path(other, AT.restricted_to(other.per), file)

    at = AT.restricted_to(item.per)
    return Subject(
        context.study,
        item.split,
        exhibition.title_of(item, at),
        lambda file: context.store.path(item, at, file),
        given,
        item.arm,
    )


@pytest.mark.parametrize("key", [("specimen",), ("test", "dataset"), ("pinn_model",)])
def test_the_same_files_give_the_same_bytes(finished, monkeypatch, key):
    context, item = finished.context(monkeypatch), product(*key)
    _, drawn = exhibition.draw(_subject(context, item), item, pytest.fail)
    folder = context.store.pictures_folder(item, AT.restricted_to(item.per))
    assert drawn
    for picture in drawn:
        assert picture.content == (folder / picture.file).read_bytes()


def test_what_cannot_be_drawn_is_told_and_takes_nothing_with_it(tmp_path, monkeypatch):
    def good():
        figure, axes = drawing.new_figure("t", 1, 1, (3, 2))
        axes[0][0].plot([1, 2])
        return figure

    def bad():
        raise ZeroDivisionError("no photons")

    def exhibitor(_: Subject) -> Exhibit:
        return Exhibit((Picture("bad", "c", bad), Picture("good", "c", good)), {}, {"n": 2})

    item, store, told = product("specimen"), Store(tmp_path / "store"), []
    monkeypatch.setitem(exhibitors.BY_NAME, "specimen", exhibitor)
    study = StudyContext.load().study

    def show():
        return exhibition.exhibited(
            study, store, item, Condition(), Path, lambda *_: Path(), told.append
        )

    metadata, keep = show()
    assert set(metadata) == {"n", "good", exhibition.PICTURES}
    assert told == ["picture bad was not drawn: ZeroDivisionError: no photons"]
    keep()
    folder = tmp_path / "pictures" / "specimen"
    assert [path.name for path in folder.iterdir()] == ["good.png"]

    # One of before that is none any more goes; nothing else is touched.
    (folder / "old.png").touch()
    keep()
    assert [path.name for path in folder.iterdir()] == ["good.png"]

    told.clear()
    (folder / "good.png").unlink()
    folder.rmdir()
    folder.touch()
    keep()
    assert told == ["pictures of specimen were not kept: File exists"]

    told.clear()
    monkeypatch.setitem(exhibitors.BY_NAME, "specimen", lambda _: bad())
    metadata, keep = show()
    keep()
    assert metadata == {} and told == [
        "nothing of specimen is shown: ZeroDivisionError: no photons"
    ]


def test_cells_without_a_number_are_empty():
    value = exhibition.table_value(Table({"a": "float", "b": "string"}, [{"a": None, "b": "x"}]))
    assert value.records[0].data == {"a": None, "b": "x"}


def test_exhibits_know_nothing_of_dagster():
    for path in Path(exhibitors.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.startswith("dagster")], path.name
