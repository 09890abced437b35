"""What is used of Dagster's insides stands in one module, and is still what Dagster itself has."""

import ast

from dagster import AssetKey
from dagster._core.definitions import data_version
from dagster._core.storage import tags
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from fly64_assets.pipeline import dagster_internals as ours
from fly64_assets.study.model import PROJECT_ROOT

MOST_STATEMENTS = 9


def private_imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.startswith("dagster._"))


def test_one_module_imports_private_names_of_dagster_and_few():
    found = {
        path.name: count
        for path in (PROJECT_ROOT / "fly64_assets").rglob("*.py")
        if (count := len(list(private_imports(path))))
    }
    assert set(found) == {"dagster_internals.py"}
    assert found["dagster_internals.py"] <= MOST_STATEMENTS


def test_words_in_records_are_dagsters():
    for own, dagsters in (
        (ours.BACKFILL_TAG, tags.BACKFILL_ID_TAG),
        (ours.MAX_RETRIES_TAG, tags.MAX_RETRIES_TAG),
        (ours.PARTITION_TAG, tags.PARTITION_NAME_TAG),
        (ours.DIMENSION_TAG, tags.MULTIDIMENSIONAL_PARTITION_PREFIX),
        (ours.RANGE_START_TAG, tags.ASSET_PARTITION_RANGE_START_TAG),
        (ours.RUN_KEY_TAG, tags.RUN_KEY_TAG),
        (ours.DATA_VERSION_TAG, data_version.DATA_VERSION_TAG),
        (ours.DATA_VERSION_GIVEN_TAG, data_version.DATA_VERSION_IS_USER_PROVIDED_TAG),
        (ours.CODE_VERSION_TAG, data_version.CODE_VERSION_TAG),
        (ours.NULL_EVENT, data_version.NULL_EVENT_POINTER),
    ):
        assert own == dagsters
    key = AssetKey(["train", "dataset"])
    assert ours.input_tags("train/dataset", "abc", "7") == {
        data_version.get_input_data_version_tag(key): "abc",
        data_version.get_input_event_pointer_tag(key): "7",
    }


def test_the_table_of_check_evaluations_is_dagsters():
    assert ours.CHECKS.name == AssetCheckExecutionsTable.name
    assert set(ours.CHECKS.c.keys()) <= set(AssetCheckExecutionsTable.c.keys())
