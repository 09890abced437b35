"""Edits of bytes that no reader of an archive, a picture or a JSON text looks at; of whole logs."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant
from fly64_assets_tests.rules.hub.mutants.lists import CANVAS, KERAS, LOG, PLOT, SUMMARY
from fly64_assets_tests.rules.hub.mutants.solvers import restate_size

HIDDEN = b"something that no reader sees"
BASELINE_LOG = "cli/phase_e_baseline_model.log"
BUNDLE = "data/phase_e/DOSE/VIEW/Baseline/bundle.json"
VIEW = "data/phase_d/DOSE/VIEW/train.npz"


def _rewritten(f: Forgery, path: str, **how: object) -> None:
    """The members of an archive written anew."""
    with zipfile.ZipFile(io.BytesIO(f.read(path))) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            for key, value in how.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    f.write(path, written.getvalue())


def _with_comment(content: bytes) -> bytes:
    written = io.BytesIO(content)
    with zipfile.ZipFile(written, "a") as archive:
        archive.comment = HIDDEN
    return written.getvalue()


def _between(content: bytes) -> bytes:
    """Bytes between two members, the places in the directory put right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        second = sorted(info.header_offset for info in archive.infolist())[1]
        members, start = archive.infolist(), archive.start_dir
    directory = bytearray(content[start:])
    place = 0
    for info in members:
        if info.header_offset >= second:
            moved = (info.header_offset + len(HIDDEN)).to_bytes(4, "little")
            directory[place + 42 : place + 46] = moved
        lengths = [int.from_bytes(directory[place + n : place + n + 2], "little") for n in (28, 30)]
        place += 46 + sum(lengths) + len(info.comment)
    directory[place + 16 : place + 20] = (start + len(HIDDEN)).to_bytes(4, "little")
    return content[:second] + HIDDEN + content[second:start] + bytes(directory)


for check, path in (("npz.nothing_else", CANVAS), ("phase_e.archive", KERAS)):
    for what, edit in {
        "a comment": _with_comment,
        "bytes before the first member": lambda content: HIDDEN + content,
        "bytes between two members": _between,
    }.items():

        def change(f: Forgery, path: str = path, edit: Callable[[bytes], bytes] = edit) -> None:
            f.write(path, edit(f.read(path)))
            restate_size(f)

        add(check, what, change)
for what, how in {
    "members that are compressed": {"compress_type": zipfile.ZIP_DEFLATED},
    "members with a date": {"date_time": (2026, 1, 2, 3, 4, 6)},
    "members with a comment": {"comment": HIDDEN},
    "members with a field more": {"extra": b"\x99\x99" + bytes([len(HIDDEN), 0]) + HIDDEN},
}.items():
    add("npz.nothing_else", what, lambda f, how=how: _rewritten(f, CANVAS, **how))


# Pictures.
def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + checksum


def _in_front_of(mark: bytes, added: bytes) -> Callable[[Forgery], None]:
    def edit(f: Forgery) -> None:
        content = f.read(PLOT)
        place = content.index(mark) - 4
        f.write(PLOT, content[:place] + added + content[place:])

    return edit


TEXT = _chunk(b"tEXt", b"Comment\0" + HIDDEN)
add("pictures.intact", "a comment in a picture", _in_front_of(b"IDAT", TEXT))
add("pictures.intact", "a private chunk", _in_front_of(b"IEND", _chunk(b"prVt", HIDDEN)))
add("pictures.intact", "bytes behind the pixels", _in_front_of(b"IEND", _chunk(b"IDAT", HIDDEN)))
add("pictures.intact", "a picture after its end", lambda f: f.write(PLOT, f.read(PLOT) + TEXT))
add("pictures.intact", "an end that holds something", lambda f: _ended(f))


def _ended(f: Forgery) -> None:
    f.write(PLOT, f.read(PLOT)[:-12] + _chunk(b"IEND", HIDDEN))


# JSON.
add("json.layout", "a blank more", lambda f: f.replace(SUMMARY, '"n_jobs": 2', '"n_jobs":  2'))
add("json.layout", "a zero more", lambda f: f.text(SUMMARY, lambda t: _longer(t)))
add("json.layout", "a letter escaped", lambda f: f.replace(SUMMARY, '"n_jobs"', '"n\\u005fjobs"'))
add(
    "json.layout",
    "all on one line",
    lambda f: f.text(SUMMARY, lambda t: json.dumps(json.loads(t)) + "\n"),
)
add("json.layout", "keys of a bundle in another order", lambda f: f.text(BUNDLE, _turned))
add("json.layout", "metadata with blanks", lambda f: f.arrays(VIEW, _spaced))


def _longer(text: str) -> str:
    return re.sub(r"(\d\.\d+)", r"\g<1>0", text, count=1)


def _turned(text: str) -> str:
    content = json.loads(text)
    return json.dumps(dict(reversed(content.items())), indent=2) + "\n"


def _spaced(arrays: dict[str, np.ndarray]) -> None:
    content = json.loads(str(arrays["_metadata"][()]))
    arrays["_metadata"] = np.array(json.dumps(content, sort_keys=True, indent=1))


# Logs.
@mutant("logs.step", "the logs of two networks exchanged")
def _(f: Forgery) -> None:
    one, other = f.read(LOG), f.read(BASELINE_LOG)
    f.write(LOG, other)
    f.write(BASELINE_LOG, one)


@mutant("logs.step", "the logs of two halves exchanged")
def _(f: Forgery) -> None:
    paths = [f"cli/phase_d_{split}_overlap_view.log" for split in ("train", "test")]
    contents = [f.read(path) for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        f.write(path, content)


def _only(f: Forgery, path: str, message: str) -> None:
    first = f.read(path).decode()[:20]
    f.write(path, f"{first} INFO {message}\n")


add("logs.step", "a usage message", lambda f: _only(f, LOG, "usage: run [-h] [--dose DOSE]"))
add("logs.step", "a line of nothing", lambda f: _only(f, BASELINE_LOG, "ok"))
add(
    "logs.step",
    "a step that did not finish",
    lambda f: f.text(LOG, lambda t: _less(t, "DEBUG Finished execution")),
)
add(
    "logs.step",
    "a step that did not start",
    lambda f: f.text(LOG, lambda t: _less(t, "DEBUG Started execution")),
)
add(
    "logs.step",
    "a step that made nothing",
    lambda f: f.text(LOG, lambda t: _less(t, "DEBUG Materialized value")),
)
add(
    "logs.step",
    "captured output that only looks like it",
    lambda f: f.text(LOG, lambda t: re.sub("^(.*Finished execution)", r"| \1", t, flags=re.M)),
)
add(
    "logs.step",
    "the log of another day's run",
    lambda f: f.text(LOG, lambda t: re.sub(r"^20\d\d", "2020", t, flags=re.M)),
)


def _less(text: str, words: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if words not in line)
