"""Schemas are those of the code, and a real hub's files and the study files keep to them."""

from __future__ import annotations

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from fly64_assets.documents.schemas import FOLDER, SCHEMAS, schema_of
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.study.model import PROJECT_ROOT, Study
from fly64_assets_tests.conftest import FinishedRun, fly64

STUDY_FILES = {
    "study.yaml": "study",
    "studies/demo.yaml": "study_extending",
}


def _problems(schema: dict[str, Any], content: Any) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(content)
    return [f"{error.json_path}: {error.message}" for error in found]


def _table_problems(schema: dict[str, Any], text: str) -> list[str]:
    """What breaks a Table Schema: names, types, constraints and the key."""
    header, *rows = csv.reader(io.StringIO(text))
    fields = schema["fields"]
    problems = [] if header == [field["name"] for field in fields] else [f"columns {header}"]
    keys = set()
    for number, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        problems += [
            f"line {number}: {field['name']}: {values.get(field['name'])!r}"
            for field in fields
            if not _fits(field, values.get(field["name"], ""))
        ]
        keys.add(tuple(values.get(name) for name in schema["primaryKey"]))
    return problems if len(keys) == len(rows) else [*problems, "a key twice"]


def _fits(field: dict[str, Any], value: str) -> bool:
    constraints = field["constraints"]
    if value == "":
        return not constraints["required"]
    if "enum" in constraints and value not in constraints["enum"]:
        return False
    if field["type"] == "string":
        return True
    try:
        number = int(value) if field["type"] == "integer" else float(value)
    except ValueError:
        return False
    return constraints.get("minimum", number) <= number <= constraints.get("maximum", number)


@pytest.fixture(scope="module")
def hub(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas") / "hub"
    study = ("--study", finished.study_file, "--dose", "1000", "--view", "dense")
    done = fly64("export", *study, "--to", folder, results=finished.results)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_the_stored_schema_is_that_of_the_code(schema):
    """`make schemas` writes them anew."""
    assert (FOLDER / schema.file).read_text("utf-8") == schema.text()
    if not schema.is_table:
        Draft202012Validator.check_schema(schema.content())


def test_nothing_else_lies_beside_them():
    assert {path.name for path in FOLDER.iterdir()} == {one.file for one in SCHEMAS.values()}


def test_every_value_is_described():
    for schema in SCHEMAS.values():
        content = schema.content()
        assert content["description"]
        if schema.is_table:
            assert all(field["description"] for field in content["fields"])
            continue
        for section in (content, *content.get("$defs", {}).values()):
            for name, item in section.get("properties", {}).items():
                assert item.get("description"), f"{schema.name}: {name}"


def test_every_json_and_csv_file_of_a_hub_keeps_to_its_schema(hub):
    seen = set()
    for path in sorted(hub.rglob("*")):
        if path.suffix not in (".json", ".csv"):
            continue
        name = path.relative_to(hub).as_posix()
        schema = schema_of(name)
        assert schema is not None, f"{name} has no schema"
        seen.add(schema.name)
        text = path.read_text("utf-8")
        problems = (
            _table_problems(schema.content(), text)
            if schema.is_table
            else _problems(schema.content(), json.loads(text))
        )
        assert not problems, (name, problems[:5])
    assert seen == {schema.name for schema in SCHEMAS.values() if schema.paths}


def test_metadata_of_datasets_keep_to_their_schema(hub):
    schema = SCHEMAS["data001_metadata"].content()
    for path in (*hub.glob("data/phase_c/*/*.npz"), *hub.glob("data/phase_d/*/*/*.npz")):
        assert not _problems(schema, json.loads(str(read_npz(path)["_metadata"])))


def test_a_key_more_or_less_or_of_another_kind_is_found(hub):
    """In every object at the top of every JSON file."""
    for path in hub.rglob("*.json"):
        schema = schema_of(path.relative_to(hub).as_posix()).content()
        content = json.loads(path.read_text("utf-8"))
        for key in content:
            less = {name: value for name, value in content.items() if name != key}
            assert _problems(schema, less), (path.name, key)
            assert _problems(schema, {**content, key: object()}), (path.name, key)
        assert _problems(schema, {**content, "another": 1}), path.name


def test_a_table_with_another_value_is_found(hub):
    path = next(hub.rglob("comparison_metrics.csv"))
    schema, text = SCHEMAS["comparison_metrics"].content(), path.read_text("utf-8")
    assert not _table_problems(schema, text)
    for old, new in (
        ("model,", "arm,"),
        ("PtyChi,", "Pty-chi,"),
        ("Baseline,mae", "Baseline,mse"),
        (",mae,0", ",mae,x"),
    ):
        assert _table_problems(schema, text.replace(old, new, 1)), old


@pytest.mark.parametrize(("file", "name"), STUDY_FILES.items())
def test_study_files_keep_to_the_schema_that_their_first_line_names(file, name):
    path = PROJECT_ROOT / file
    text = path.read_text("utf-8")
    first = text.splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == FOLDER / SCHEMAS[name].file
    assert not _problems(SCHEMAS[name].content(), yaml.safe_load(text))


def _changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    *sections, key = path.split(".")
    place = changed
    for section in sections:
        place = place[section]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("doses", []),
        ("doses", [500, 500]),
        ("patch_size", 63),
        ("gridsize", 3),
        ("name", "Fly 64"),
        ("seeds.simulation", -1),
        ("views.dense", {"target_overlap": 0.7, "image_fraction": 0.5}),
        ("views.dense", {}),
        ("overlap.probe_diameter_px", "automatic"),
        ("ptychopinn.field.momentum", 1),
        ("ptychi.noise_model", "NONE"),
        ("scoring.frc_threshold", 0.0),
        ("baseline.epochs", None),
        ("ptychi.epoch", 3),
    ],
)
def test_the_schema_refuses_what_the_study_refuses(path, value):
    content = yaml.safe_load((PROJECT_ROOT / "study.yaml").read_text("utf-8"))
    assert _problems(SCHEMAS["study"].content(), _changed(content, path, value))


def test_every_key_of_the_models_is_in_the_schema():
    assert set(SCHEMAS["study"].content()["properties"]) == set(Study.model_fields)
