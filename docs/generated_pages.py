"""Pages that `make docs` makes from what they are about, so that they cannot be out of date.

MkDocs calls `on_files`. The command line is described by click, the study file and the hub's files
by their schemas, the Python API by docstrings; the home page is the README.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from fly64_assets.cli import main
from fly64_assets.documents.schemas import SCHEMAS, Schema

ROOT = Path(__file__).resolve().parent.parent
SPECIMENS = "fly64_assets/study/specimens/README.md"
ROOMS = {
    "study": "The study",
    "ptychography": "The science",
    "solvers": "The solvers",
    "documents": "Documents",
    "reports": "Reports",
    "rules": "Rules",
    "pipeline": "The pipeline",
    "hub": "Hubs",
    "runs": "Runs",
}
"""Folder below ``fly64_assets`` whose modules a page documents -> the page's title."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in ``docs/``."""
    for path, content in _pages():
        files.append(File.generated(config, path, content=content))
    return files


def _pages() -> Iterator[tuple[str, str]]:
    yield "index.md", _home((ROOT / "README.md").read_text("utf-8"))
    yield "specimens.md", (ROOT / SPECIMENS).read_text("utf-8")
    yield "reference/command_line.md", "\n".join(_command_line())
    yield "reference/study_file.md", "\n".join(_study_file(SCHEMAS["study"]))
    yield "reference/hub_files.md", "\n".join(_hub_files())
    for room, title in ROOMS.items():
        modules = "\n\n".join(f"::: {module}" for module in _modules(room))
        yield f"reference/python_{room}.md", f"# {title}\n\n{modules}\n"


def _home(readme: str) -> str:
    """The README with its links as they are from ``docs/``."""
    linked = readme.replace(f"]({SPECIMENS})", "](specimens.md)")
    linked = linked.replace("](docs/schemas)", "](reference/hub_files.md)")
    return linked.replace("](docs/", "](")


def _modules(room: str) -> list[str]:
    found = (ROOT / "fly64_assets" / room).rglob("*.py")
    parts = (path.relative_to(ROOT).with_suffix("").parts for path in found)
    return sorted(".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts)


def _command_line() -> Iterator[str]:
    yield "# The command line\n"
    yield click.Context(main, info_name="fly64").command.help.split("\n\n")[0] + "\n"
    yield from EXIT_CODES
    for name in sorted(main.commands):
        command, parent = main.commands[name], click.Context(main, info_name="fly64")
        context = click.Context(command, info_name=name, parent=parent)
        yield f"## fly64 {name}\n"
        yield f"```text\n{command.get_help(context)}\n```\n"


EXIT_CODES = (
    "| exit code | means |",
    "|--:|---|",
    "| 0 | done |",
    "| 1 | something failed, does not hold, or was not found to be trusted |",
    "| 2 | bad usage or input: one line on standard error says file, key, value and rule |",
    "| 130 | stopped with Ctrl-C or another signal to end; what was finished is kept |",
    "",
    "Results go to standard output, errors to standard error. Colours are shown on a terminal",
    "only; `NO_COLOR=1` turns them off there too. With `--json`, standard output is one JSON",
    "value.\n",
)


def _rule(item: Mapping[str, Any]) -> str:
    """What a schema says of one value, in a few words."""
    if "anyOf" in item:
        return " or ".join(_rule(one) for one in item["anyOf"])
    if "const" in item:
        return f"`{item['const']}`"
    if "enum" in item:
        return ", ".join(f"`{one}`" for one in item["enum"])
    if "$ref" in item:
        return f"see `{item['$ref'].rpartition('/')[2]}`"
    kinds = item.get("type", "any value")
    told = [kinds if isinstance(kinds, str) else " or ".join(kinds)]
    if item.get("type") == "array" and isinstance(item.get("items"), Mapping):
        told = [f"list of {_rule(item['items'])}"]
    for key, sign in BOUNDS.items():
        if key in item:
            told.append(f"{sign} `{item[key]}`" if key == "pattern" else f"{sign} {item[key]}")
    return ", ".join(told)


BOUNDS = {
    "exclusiveMinimum": ">",
    "minimum": "≥",
    "exclusiveMaximum": "<",
    "maximum": "≤",
    "minItems": "at least",
    "pattern": "like",
}


def _rows(properties: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | value | what it is |"
    yield "|---|---|---|"
    for name, item in properties.items():
        rule, text = (part.replace("|", "\\|") for part in (_rule(item), _told(item)))
        yield f"| `{name}` | {rule} | {text} |"
    yield ""


def _told(item: Mapping[str, Any]) -> str:
    return " ".join(item.get("description", "").split()).replace("<", "&lt;")


def _study_file(schema: Schema) -> Iterator[str]:
    content = schema.content()
    yield "# The study file\n"
    yield f"{_told(content)} Its [JSON Schema](../schemas/{schema.file}).\n"
    yield from _rows(content["properties"])
    for name, item in content["$defs"].items():
        yield f"## {name}\n"
        yield f"{_told(item)}\n"
        yield from _rows(item["properties"])


def _hub_files() -> Iterator[str]:
    yield "# The hub's files\n"
    yield (
        "Every JSON file has a JSON Schema (draft 2020-12), every CSV file a Table Schema: "
        "`fly64 schema` lists them, `fly64 schema NAME` prints one.\n"
    )
    for schema in SCHEMAS.values():
        if not schema.paths:
            continue
        content = schema.content()
        yield f"## {schema.name}\n"
        yield f"{_told(content)}\n"
        yield "".join(f"- `{path}`\n" for path in schema.paths)
        yield f"[{schema.file}](../schemas/{schema.file})\n"
        if "fields" in content:
            yield from _columns(content["fields"])
        elif "properties" in content:
            yield from _rows(content["properties"])


def _columns(fields: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "| column | type | what it is |"
    yield "|---|---|---|"
    for field in fields:
        yield f"| `{field['name']}` | {field['type']} | {_told(field)} |"
    yield ""
