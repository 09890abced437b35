"""How the bytes of an archive or a picture lie: nothing before, between or behind what is read.

What a reader skips can hold anything. What arrays, weights and pixels must be does not belong here.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LOCAL_HEADER, CENTRAL_HEADER, END_RECORD = 30, 46, 22
"""Bytes of the fixed parts (APPNOTE.TXT of the zip format, sections 4.3.7, 4.3.12, 4.3.16)."""
WRITTEN = (1980, 1, 1, 0, 0, 0)
ZIP64, PADDING = 0x0001, 0xD935
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"pHYs", b"IDAT", b"IEND")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type of a PNG -> samples of a pixel."""
SMALLEST_PICTURE_PX, MOST_PIXELS, MOST_CHUNKS = 100, 1 << 25, 4_096
BLOCK = 1 << 20
"""Bytes of pixels that are unpacked at a time."""


def archive_problems(path: Path) -> Iterator[str]:
    """What of an archive no reader of its members sees.

    Args:
        path: a zip archive; that its members are whole is not judged.

    Raises:
        zipfile.BadZipFile, OSError, struct.error: it is no archive.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        size = file.seek(0, 2)
        if archive.comment:
            yield "has a comment"
        members = sorted(archive.infolist(), key=lambda info: info.header_offset)
        position, directory = 0, 0
        for info in members:
            if info.header_offset != position:
                yield f"has {info.header_offset - position} bytes before {info.filename}"
            name, extra = _local(file, info)
            position = info.header_offset + LOCAL_HEADER + len(name) + len(extra)
            position += info.compress_size
            directory += CENTRAL_HEADER + len(name) + len(info.extra) + len(info.comment)
            yield from _member_problems(info, name, extra)
        if position != archive.start_dir:
            yield f"has {archive.start_dir - position} bytes behind its members"
        if size != archive.start_dir + directory + END_RECORD:
            yield "has bytes in or behind its directory"


def _local(file: IO[bytes], info: zipfile.ZipInfo) -> tuple[bytes, bytes]:
    """Name and extra field of a member's own header."""
    file.seek(info.header_offset)
    lengths = struct.unpack_from("<HH", file.read(LOCAL_HEADER), 26)
    return file.read(lengths[0]), file.read(lengths[1])


def _member_problems(info: zipfile.ZipInfo, name: bytes, extra: bytes) -> Iterator[str]:
    if name.decode("utf-8", "replace") != info.filename:
        yield f"{info.filename} is called {name!r} in its own header"
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ~0x800:
        yield f"{info.filename} is not stored as it is"
    if info.date_time != WRITTEN or info.comment:
        yield f"{info.filename} has a date or a comment"
    if any(not _is_plain(*field) for part in (extra, info.extra) for field in _fields(part)):
        yield f"{info.filename} has an extra field that holds something"


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """(identifier, content) of the parts of an extra field; what is no part has identifier -1."""
    position = 0
    while position + 4 <= len(extra):
        identifier, length = struct.unpack_from("<HH", extra, position)
        yield identifier, extra[position + 4 : position + 4 + length]
        position += 4 + length
    if position != len(extra):
        yield -1, extra[position:]


def _is_plain(identifier: int, content: bytes) -> bool:
    """Whether it is a size, or zeros that align what follows (first two bytes: to what)."""
    if identifier == PADDING:
        return not any(content[2:])
    return identifier == ZIP64 and len(content) in (8, 16)


def picture_problem(content: bytes) -> str:
    """What is wrong with a PNG (W3C PNG specification, section 5); empty when nothing is."""
    if not content.startswith(PNG_SIGNATURE):
        return "is no PNG"
    position, chunks = len(PNG_SIGNATURE), []
    while position < len(content):
        if position + 12 > len(content):
            return "is truncated"
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        if end > len(content):
            return "is truncated"
        name = content[position + 4 : position + 8]
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(content[position + 4 : end - 4]) != checksum:
            return f"chunk {name!r} does not have its checksum"
        if name not in PNG_CHUNKS:
            return f"has a chunk {name!r}, which holds no picture"
        chunks.append((name, content[position + 8 : end - 4]))
        if len(chunks) > MOST_CHUNKS:
            return f"has more than {MOST_CHUNKS:,} chunks"
        position = end
    return _chunks_problem(chunks)


def _chunks_problem(chunks: list[tuple[bytes, bytes]]) -> str:
    names = [name for name, _ in chunks]
    first, last = names.index(b"IDAT") if b"IDAT" in names else 0, names.count(b"IDAT")
    if not names or names[0] != b"IHDR" or names[-1] != b"IEND" or not last:
        return "is truncated"
    if set(names[first : first + last]) != {b"IDAT"} or names[first + last :] != [b"IEND"]:
        return f"has its chunks in another order: {names}"
    if any(names.count(name) > 1 for name in PNG_CHUNKS if name != b"IDAT") or chunks[-1][1]:
        return "has a chunk twice, or an end that holds something"
    if len(chunks[0][1]) != 13 or len(dict(chunks).get(b"pHYs", bytes(9))) != 9:
        return "has a header of another length"
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", chunks[0][1])
    if min(width, height) < SMALLEST_PICTURE_PX:
        return f"is {width} x {height} px"
    if width * height > MOST_PIXELS:
        return f"is {width} x {height} px, more than any picture of a hub"
    if colour not in CHANNELS or depth > 16 or any(methods):
        return f"has colour type {colour}, {depth} bits, methods {methods}"
    return _pixels_problem(
        b"".join(data for name, data in chunks if name == b"IDAT"),
        height * (1 + -(-width * depth * CHANNELS[colour] // 8)),
    )


def _pixels_problem(data: bytes, size: int) -> str:
    """Whether compressed rows are ``size`` bytes, each row with its filter, and nothing else."""
    stream, found = zlib.decompressobj(), 0
    try:
        while not stream.eof and found <= size:
            part = stream.decompress(data, BLOCK)
            found, data = found + len(part), stream.unconsumed_tail
            if not part and not data:
                break  # truncated
    except zlib.error as error:
        return f"cannot be unpacked: {error}"
    if found != size or not stream.eof or stream.unused_data or stream.unconsumed_tail:
        return f"does not unpack to {size} bytes and nothing else"
    return ""
