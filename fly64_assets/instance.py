"""The Dagster instance of a study: its own folder, made from the project's ``dagster.yaml``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from fly64_assets.errors import InputError
from fly64_assets.store import results_folder
from fly64_assets.study import PROJECT_ROOT, STUDY_VARIABLE, Study


def instance_folder(study: Study) -> Path:
    return results_folder(study) / "dagster"


def prepare_instance(study: Study, study_file: Path) -> Path:
    """Make the study's instance folder and point this process and its children at it.

    Returns:
        The folder, which is also in ``DAGSTER_HOME`` from here on.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = instance_folder(study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings, source = folder / "dagster.yaml", PROJECT_ROOT / "dagster.yaml"
        if not settings.is_file() or settings.read_bytes() != source.read_bytes():
            shutil.copyfile(source, folder / ".dagster.yaml.new")
            os.replace(folder / ".dagster.yaml.new", settings)
    except OSError as error:
        raise InputError(
            folder, "", f"the study's Dagster instance cannot be written: {error.strerror}"
        ) from None
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ[STUDY_VARIABLE] = str(study_file.resolve())
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return folder


@contextmanager
def study_instance(study: Study, study_file: Path) -> Iterator[DagsterInstance]:
    """The study's instance, open."""
    prepare_instance(study, study_file)
    with DagsterInstance.get() as instance:
        yield instance


@contextmanager
def read_only_instance(study: Study) -> Iterator[DagsterInstance]:
    """The study's instance for looking; an empty one in memory where none was made yet."""
    folder = instance_folder(study)
    if not (folder / "dagster.yaml").is_file():
        with DagsterInstance.ephemeral() as instance:
            yield instance
        return
    with DagsterInstance.from_config(str(folder)) as instance:
        yield instance
