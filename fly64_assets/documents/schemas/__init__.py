"""What the study file and each JSON and CSV file of a hub hold, as schemas that programs can read.

A JSON Schema (draft 2020-12) for each JSON file, a Table Schema for each CSV file. They are the
files in ``docs/schemas``, which a test holds equal to what is made here, and every file of an
exported hub is held against them. What a schema cannot say, such as that a number is the mean of
others, ``fly64 verify`` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fly64_assets.documents.schemas import hub_files, hub_tables, study_file
from fly64_assets.study.model import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "docs" / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Schema:
    """One schema.

    Attributes:
        name: what ``fly64 schema`` calls it.
        build: makes its content.
        paths: the files of a hub that it is of, relative to it; ``{dose}``, ``{view}``, ``{split}``
            and ``{arm}`` stand for one name each.
        about: what it is of, where that is no file of a hub.
    """

    name: str
    build: Callable[[], dict[str, Any]]
    paths: tuple[str, ...] = ()
    about: str = ""

    @property
    def is_table(self) -> bool:
        return bool(self.paths) and all(path.endswith(".csv") for path in self.paths)

    @property
    def file(self) -> str:
        """Its name in ``docs/schemas``."""
        return f"{self.name}.{'table' if self.is_table else 'schema'}.json"

    def content(self) -> dict[str, Any]:
        """As JSON values."""
        built = self.build()
        if self.is_table:
            return built
        return {"$schema": DRAFT, "title": self.name, **built}

    def text(self) -> str:
        """As it is printed and stored."""
        return json.dumps(self.content(), indent=2, ensure_ascii=False) + "\n"

    def is_of(self, path: str) -> bool:
        """Whether it describes the file with this path relative to the hub."""
        return any(re.fullmatch(_pattern(template), path) for template in self.paths)


def _pattern(template: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))


SCHEMAS = {
    schema.name: schema
    for schema in (
        Schema("study", study_file.study, about="a complete study file"),
        Schema("study_extending", study_file.study_extending, about="one that extends another"),
        *(Schema(name, build, paths) for name, build, paths in hub_files.FILES),
        *(Schema(name, build, paths) for name, build, paths in hub_tables.TABLES),
        Schema(
            "data001_metadata", hub_files.data001_metadata, about="_metadata of a DATA-001 file"
        ),
    )
}


def schema_of(path: str) -> Schema | None:
    """Return the schema of a hub's file; None for files that are neither JSON nor CSV."""
    return next((schema for schema in SCHEMAS.values() if schema.is_of(path)), None)
