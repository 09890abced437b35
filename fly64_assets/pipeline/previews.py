"""Exhibits of a product for the web UI: drawn, kept as files beside the store, put in metadata.

Pictures lie in ``results/<study>/pictures/<asset>/<partition>/NAME.png``; the event log holds links
to them, which the study's own web server answers. They belong to no product: nothing reads them, no
fingerprint or hash covers them, and losing them loses nothing. What cannot be drawn is a warning in
the step's log, never a failure.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from fly64_assets.pipeline.store import Store, served_address
from fly64_assets.reports.previews.preview import Exhibit, Picture, StoredPicture, Subject, Table
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import Study
from fly64_assets.study.products import Product

Warn = Callable[[str], None]
PICTURES = "pictures"
"""Metadata key of the folder that the pictures lie in."""


@dataclass(frozen=True)
class Drawn:
    """A picture as it goes out: a PNG, or the name of the product's own file."""

    name: str
    caption: str
    file: str
    content: bytes | None = None


def title_of(product: Product, condition: Condition) -> str:
    """Return what a product is and of which condition: ``test/dataset, 1,000 photons``."""
    parts = [product.name]
    parts += [] if condition.dose is None else [f"{condition.dose:,d} photons per exposure"]
    parts += [] if condition.view is None else [condition.view]
    return ", ".join(parts)


def draw(subject: Subject, product: Product, warn: Warn) -> tuple[Exhibit, list[Drawn]]:
    """Return what there is to see of a product, its pictures drawn; empty where nothing is.

    Args:
        subject: see `Subject`.
        product: row of the catalogue.
        warn: told of everything that could not be drawn, with the reason.
    """
    # It loads numpy, which reads its number of threads then: not before a step has set it.
    from fly64_assets.reports.previews.by_product import exhibitor_of

    exhibitor = exhibitor_of(product)
    if exhibitor is None:
        return Exhibit(), []
    try:
        exhibit = exhibitor(subject)
    except Exception as error:  # whatever it was: a result is worth more than its picture
        warn(f"nothing of {product.name} is shown: {type(error).__name__}: {error}")
        return Exhibit(), []
    drawn = []
    for picture in exhibit.pictures:
        try:
            drawn.append(_drawn(picture))
        except Exception as error:
            warn(f"picture {picture.name} was not drawn: {type(error).__name__}: {error}")
    return exhibit, drawn


def _drawn(picture: Picture | StoredPicture) -> Drawn:
    from fly64_assets.reports.previews import drawing

    if isinstance(picture, StoredPicture):
        return Drawn(picture.name, picture.caption, picture.file)
    content = drawing.png(picture.draw)
    return Drawn(picture.name, picture.caption, f"{picture.name}.png", content)


def keep(store: Store, product: Product, condition: Condition, drawn: list[Drawn]) -> None:
    """Put the pictures into place, each whole; older ones that are none any more, go.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = store.pictures_folder(product, condition)
    wanted = {picture.file: picture.content for picture in drawn if picture.content is not None}
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in wanted.items():
        unfinished = folder / f".{name}.{os.getpid()}"
        try:
            unfinished.write_bytes(content)
            unfinished.replace(folder / name)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
    for path in folder.glob("*.png"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def exhibited(
    study: Study,
    store: Store,
    product: Product,
    condition: Condition,
    path: Callable[[str], Path],
    given: Callable[[str, str], Path],
    warn: Warn,
) -> tuple[dict[str, Any], Callable[[], None]]:
    """Return the metadata that show a product, and what puts its pictures into place.

    Args:
        path: where one of the product's files lies now, by name.
        given: where a file of an input lies: asset name, file name.
        warn: as of `draw`.

    Returns:
        Metadata by name, and a function that keeps the pictures; it warns instead of failing.
    """
    title = title_of(product, condition)
    subject = Subject(study, product.split, title, path, given, product.arm)
    exhibit, drawn = draw(subject, product, warn)
    folder, results = store.pictures_folder(product, condition), store.root.parent
    # In the order in which one looks.
    metadata: dict[str, Any] = {}
    for picture in drawn:
        owned = store.folder(product, condition) if picture.content is None else folder
        metadata[picture.name] = _linked(picture, (owned / picture.file).relative_to(results))
    if any(picture.content is not None for picture in drawn):
        metadata[PICTURES] = MetadataValue.path(folder.relative_to(results).as_posix())
    metadata |= {name: table_value(table) for name, table in exhibit.tables.items()}
    metadata |= {
        name: MetadataValue.int(value) if isinstance(value, int) else MetadataValue.float(value)
        for name, value in exhibit.numbers.items()
        if math.isfinite(value)
    }

    def keep_pictures() -> None:
        try:
            keep(store, product, condition, drawn)
        except OSError as error:
            warn(f"pictures of {product.name} were not kept: {error.strerror}")

    return metadata, keep_pictures


def _linked(picture: Drawn, file: Path) -> MetadataValue:
    """Return the picture as Markdown, with its caption and where it lies in the results folder."""
    path = file.as_posix()
    shown = f"![{picture.name}]({served_address(path)})"
    return MetadataValue.md(f"{shown}\n\n{picture.caption} File: `{path}`.")


def table_value(table: Table) -> MetadataValue:
    """Return a table with the kinds of its columns, so that the UI sorts numbers as numbers."""
    schema = TableSchema([TableColumn(name, kind) for name, kind in table.columns.items()])
    records = [TableRecord({name: row[name] for name in table.columns}) for row in table.rows]
    return MetadataValue.table(records, schema=schema)
