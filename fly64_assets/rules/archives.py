"""What archives and pictures must be, whatever they hold: whole, of plain members, of a size.

What arrays, weights and pixels must be does not belong here.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

SMALLEST_PICTURE_PX, MOST_PIXELS = 100, 1 << 25


def archive_problems(path: Path) -> Iterator[str]:
    """Say which members of a zip archive are not stored as they are, or are there twice.

    Raises:
        zipfile.BadZipFile, OSError: it is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [info.filename for info in members]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"holds {name} twice"
    for info in members:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            yield f"{info.filename} is not stored as it is"


def picture_problem(content: bytes) -> str:
    """Say what is wrong with a PNG; empty when nothing is. Only so many pixels are unpacked."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"):
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                width, height = image.size
                image.verify()
            if min(width, height) < SMALLEST_PICTURE_PX or width * height > MOST_PIXELS:
                return f"is {width} x {height} px"
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                image.load()
    except Exception as error:  # of many classes; a picture may hold anything
        return f"is no whole PNG: {type(error).__name__}: {error}"
    return ""
