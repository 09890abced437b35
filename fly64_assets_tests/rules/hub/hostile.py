"""Hubs made to harm whoever verifies them: each a function that edits a copy of a real one.

They are sealed like an untouched hub where that can be done, so that no hash stands in their way.
What each must not do is in ``test_hostile.py``.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from fly64_assets_tests.rules.hub.forging import CRATE, Forgery

DATASET, VIEW = "data/phase_c/DOSE/patched_train.npz", "data/phase_d/DOSE/VIEW/train.npz"
CANVAS = "analysis/DOSE/VIEW/test/reconstructions.npz"
KERAS = "data/phase_e/DOSE/VIEW/Baseline/model.keras"
PLOT = "analysis/DOSE/VIEW/train/comparison_plot.png"
SUMMARY, TABLE = "analysis/metrics_summary.json", "analysis/comparison_statistics.csv"
DIGEST, LOG = "analysis/metrics_digest.md", "cli/phase_g_metrics_summary.log"
MB = 1 << 20
MARK = "hostile code was run"
"""Name of the folder that code in a hub would make in the current folder."""

Hostile = Callable[[Forgery], object]
KINDS: dict[str, tuple[Hostile, bool]] = {}
"""What -> (how it is made, whether it is among the few of ``make test``)."""


def kind(what: str, *, quick: bool = False) -> Callable[[Hostile], Hostile]:
    def register(make: Hostile) -> Hostile:
        KINDS[what] = make, quick
        return make

    return register


def _stated(f: Forgery, template: str, size: int) -> None:
    """Let the crate state a size."""
    path = f.named(template)

    def edit(crate: dict) -> None:
        (entity,) = (entity for entity in crate["@graph"] if entity["@id"] == path)
        entity["contentSize"] = str(size)

    f.json(CRATE, edit)


def _sparse(f: Forgery, template: str, size: int, *, stated: bool = False) -> None:
    f.write(template, b"x")
    os.truncate(f.path(template), size)
    if stated:
        _stated(f, template, size)


# Pictures.


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    found = [b"\x89PNG\r\n\x1a\n"]
    for name, content in chunks:
        found += [struct.pack(">I", len(content)), name, content]
        found.append(struct.pack(">I", zlib.crc32(name + content)))
    return b"".join(found)


def _header(width: int, height: int, depth: int = 8) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 6, 0, 0, 0)


def _zeros(size: int) -> bytes:
    packer, found = zlib.compressobj(1), []
    for _ in range(size // MB):
        found.append(packer.compress(bytes(MB)))
    return b"".join([*found, packer.flush()])


def _picture(what: str, *chunks: Callable[[], tuple[bytes, bytes]], quick: bool = False) -> None:
    @kind(f"a picture {what}", quick=quick)
    def _(f: Forgery) -> None:
        f.write(PLOT, _png(*(make() for make in chunks), (b"IEND", b"")))


_picture(
    "of 30,000 x 30,000 px", lambda: _header(30_000, 30_000), lambda: (b"IDAT", _zeros(900 * MB))
)
_picture("that unpacks on", lambda: _header(200, 200), lambda: (b"IDAT", _zeros(900 * MB)))
_picture("as large as may be", lambda: _header(5_792, 5_792), lambda: (b"IDAT", _zeros(128 * MB)))
_picture(
    "with a text that unpacks to 900 MB",
    lambda: _header(200, 200),
    lambda: (b"zTXt", b"a\0\0" + _zeros(900 * MB)),
)
_picture("that moves", lambda: _header(200, 200), lambda: (b"acTL", bytes(8)))
_picture("of 255 bits", lambda: _header(5_000, 5_000, 255), lambda: (b"IDAT", _zeros(MB)))
_picture(
    "of half a million pieces",
    lambda: _header(200, 200),
    *(lambda: (b"IDAT", b""),) * 500_000,
)

# Archives of arrays.


def _npy(shape: tuple[int, ...], descr: str = "<f8", content: bytes = bytes(64)) -> bytes:
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def _archive(members: dict[str, bytes], packed: str = "") -> bytes:
    """A zip archive, with a packed member of 900 MB of zeros if it has a name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if packed:
        with (
            zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open(packed, "w", force_zip64=True) as member,
        ):
            for _ in range(900):
                member.write(bytes(MB))
    return file.getvalue()


def _npz(what: str, make: Callable[[], bytes], *, to: str = CANVAS, quick: bool = False) -> None:
    @kind(f"an NPZ {what}", quick=quick)
    def _(f: Forgery) -> None:
        f.write(to, make())


for _name, _to in (("of a dataset", DATASET), ("of scores", CANVAS)):
    _npz(f"{_name} that says it is 8 TB", lambda: _archive({"truth.npy": _npy((10**12,))}), to=_to)
    _npz(
        f"{_name} that unpacks to 900 MB",
        lambda: _archive({}, "truth.npy"),
        to=_to,
    )
_npz("of 10^15 nothings", lambda: _archive({"truth.npy": _npy((10**15,), "|V0", b"")}))
_npz("of 10^15 empty rows", lambda: _archive({"diffraction.npy": _npy((10**15, 0))}), to=DATASET)
_npz("of brackets", lambda: _archive({"truth.npy": _raw_header(b"(" * 9_000)}))
_npz("of minus signs", lambda: _archive({"truth.npy": _raw_header(b"-" * 9_000 + b"1")}))
_npz("with a header of 100 MB", lambda: _archive({"truth.npy": _raw_header(b" " * 100 * MB)}))
_npz("of 100,000 members", lambda: _archive({f"{n}.npy": b"" for n in range(100_000)}))
_npz("that is no archive", lambda: b"PK\5\6" + b"\xff" * 18)
_npz("with a comment of 60 kB", lambda: _archive({"a.npy": _npy((8,))})[:-2] + b"\x60\xea" * 30_001)


def _raw_header(text: bytes) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


@kind("an NPZ whose directory says 1 TB")
def _(f: Forgery) -> None:
    content = bytearray(_archive({"truth.npy": _npy((1 << 37,))}))
    place = content.index(b"PK\1\2")
    for offset in (20, 24):
        content[place + offset : place + offset + 4] = b"\xff\xff\xff\xf0"
    f.write(CANVAS, bytes(content))


@kind("an NPZ of members that overlap")
def _(f: Forgery) -> None:
    whole = _archive({f"{n:04}.npy": b"" for n in range(200)} | {"z.npy": bytes(20 * MB)})
    content, at = bytearray(whole), whole.index(b"PK\1\2")
    last = whole.rindex(b"PK\1\2")
    while at < last:  # every member is the last one
        content[at + 16 : at + 28], content[at + 42 : at + 46] = (
            content[last + 16 : last + 28],
            content[last + 42 : last + 46],
        )
        at = whole.index(b"PK\1\2", at + 4)
    f.write(CANVAS, bytes(content))


@kind("an NPZ of pickled code")
def _(f: Forgery) -> None:
    class Code:
        def __reduce__(self):  # noqa: ANN204
            return os.mkdir, (MARK,)

    array, file = np.array([Code()], dtype=object), io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    f.write(CANVAS, _archive({"truth.npy": file.getvalue(), "_metadata.npy": file.getvalue()}))


def _many(what: str, template: str, **arrays: Callable[[dict], np.ndarray]) -> None:
    @kind(f"a dataset with {what}")
    def _(f: Forgery) -> None:
        f.arrays(template, lambda found: found.update({k: v(found) for k, v in arrays.items()}))


_coordinates = ("xcoords", "ycoords", "xcoords_start", "ycoords_start")
_many(
    "a million positions",
    VIEW,
    **dict.fromkeys(_coordinates, lambda _: np.linspace(40, 200, 10**6)),
    scan_index=lambda _: np.arange(10**6),
    diffraction=lambda _: np.zeros((10**6, 1, 1), np.float32),
)
_many(
    "300,000 groups of everybody",
    VIEW,
    full_groups=lambda found: np.zeros((300_000, 8), np.int64) + np.arange(8),
    centre_index=lambda _: np.zeros(300_000, np.int64),
    training_groups=lambda _: np.zeros((300_000, 4), np.int64) + np.arange(4),
)
_many("positions at infinity", VIEW, ycoords=lambda found: found["ycoords"] * np.inf)
_many("one position", VIEW, **dict.fromkeys(_coordinates, lambda found: found["xcoords"][:1]))
_many("a probe of 3,000 px", DATASET, probeGuess=lambda _: np.ones((3_000, 3_000), np.complex64))
_many(
    "metadata of 60 MB", DATASET, _metadata=lambda _: np.array('{"a": "' + "x" * (15 * MB) + '"}')
)

# Archives of networks.


def _weights(what: str, fill: Callable[[h5py.File], object], *, quick: bool = False) -> None:
    @kind(f"weights {what}", quick=quick)
    def _(f: Forgery) -> None:
        file = io.BytesIO()
        with h5py.File(file, "w", libver="latest") as weights:
            fill(weights)
        _keras(f, {"model.weights.h5": file.getvalue()})


def _keras(f: Forgery, changed: dict[str, bytes], packed: str = "") -> None:
    with zipfile.ZipFile(f.path(KERAS)) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != packed}
    f.write(KERAS, _archive({**members, **changed}, packed))


def _nested(weights: h5py.File, depth: int) -> None:
    group = weights
    for _ in range(depth):
        group = group.create_group("g")


def _tied(weights: h5py.File) -> None:
    weights["layers/soft"] = h5py.SoftLink("/layers/other")
    weights["layers/other"] = h5py.SoftLink("/layers/soft")
    weights["layers/hard"] = weights["/"]
    weights["layers/outside"] = h5py.ExternalLink("/etc/passwd", "/")


def _elsewhere(weights: h5py.File) -> None:
    outside = [("/etc/passwd", 0, 64)]
    weights.create_dataset("layers/a/vars/0", (16,), "f4", external=outside)


def _made_up(weights: h5py.File) -> None:
    layout = h5py.VirtualLayout((10**12,), "f4")
    layout[:10] = h5py.VirtualSource("/etc/passwd", "a", (10,))
    weights.create_virtual_dataset("layers/a/vars/0", layout)


_weights("of 4 TB that are not there", lambda w: w.create_dataset("a", (10**12,), "f4"), quick=True)
_weights("of 4 TB in pieces", lambda w: w.create_dataset("a", (10**12,), "f4", chunks=(MB,)))
_weights(
    "that unpack to 200 MB",
    lambda w: w.create_dataset("a", data=np.zeros(50 * MB, "f4"), compression=1, chunks=(MB,)),
)
_weights("in another file", _elsewhere)
_weights("from another file", _made_up)
_weights("that lead to each other", _tied)
_weights("5,000 groups deep", lambda w: _nested(w, 5_000))
_weights("of objects", lambda w: w.create_dataset("a", data=["x"] * 9, dtype=h5py.string_dtype()))


@kind("weights of noise")
def _(f: Forgery) -> None:
    with zipfile.ZipFile(f.path(KERAS)) as archive:
        content = bytearray(archive.read("model.weights.h5"))
    draw = np.random.default_rng(1)
    for place in draw.integers(64, 6_000, 300):
        content[place] = draw.integers(256)
    _keras(f, {"model.weights.h5": bytes(content)})


@kind("a network that unpacks to 900 MB")
def _(f: Forgery) -> None:
    _keras(f, {}, "config.json")


for _name, _text in {
    "of 60 MB": b'{"config": "' + b"x" * (60 * MB) + b'"}',
    "of brackets": b'{"config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "of a million values": b'{"config": [' + b"0," * 10**6 + b"0]}",
}.items():
    kind(f"a network's plan {_name}")(
        lambda f, text=_text: _keras(f, {"config.json": text}) or None
    )

# Texts.


def _text(what: str, template: str, content: Callable[[], bytes], *, quick: bool = False) -> None:
    @kind(f"a text {what}", quick=quick)
    def _(f: Forgery) -> None:
        f.write(template, content())


for _template in (SUMMARY, CRATE):
    _of = "of a crate" if _template == CRATE else "of JSON"
    _text(f"{_of} 50,000 levels deep", _template, lambda: b"[" * 50_000 + b"]" * 50_000 + b"\n")
    _text(f"{_of} 900 levels deep", _template, lambda: b'{"a": ' * 900 + b"1" + b"}" * 900 + b"\n")
    _text(f"{_of} of 5,000 digits", _template, lambda: b'{"n_jobs": ' + b"9" * 5_000 + b"}\n")
    _text(f"{_of} of 4,000 digits", _template, lambda: b'{"n_jobs": ' + b"9" * 4_000 + b"}\n")
    _text(f"{_of} of two million lists", _template, lambda: b'{"a": [' + b"[]," * 10**6 + b"1]}\n")
    _text(f"{_of} of 3 MB in a key", _template, lambda: b'{"' + b"x" * 3 * MB + b'": 1}\n')
    _text(
        f"{_of} with 50,000 keys and one twice",
        _template,
        lambda: json.dumps({str(n): 0 for n in range(45_000)}).encode()[:-1] + b', "44999": 1}\n',
    )
    _text(f"{_of} with no number", _template, lambda: b'{"n_jobs": NaN, "jobs": Infinity}\n')
_text("of 4 million empty lines", DIGEST, lambda: b"\n" * (4 * MB - 1))
_text("of a million short lines", DIGEST, lambda: b"a\n" * MB)
_text("of 4 MB in one line", DIGEST, lambda: b"=" * (4 * MB - 1) + b"\n")
_text("of 4 MB of paths", LOG, lambda: b"=" + b"/a" * (2 * MB - 2) + b"\n")
_text("of 4 MB of dots", LOG, lambda: b"../" * MB + b"\n")
_text("of 4 MB of almost times", LOG, lambda: b"1/1/1111" + b" ," * (2 * MB - 9) + b"\n")
_text("of 4 MB of almost times, again", LOG, lambda: b"2026-01-01T00:0" * (MB // 4) + b"\n")
_text("of bars", DIGEST, lambda: (b"|" * 1_000 + b"\n") * 4_000)
_text("of a million columns", TABLE, lambda: b"," * MB + b"\n")
_text("of a million rows", TABLE, lambda: b"1\n" * MB)
_text("of zeros", TABLE, lambda: bytes(MB))
_text("of no UTF-8", TABLE, lambda: b"\xff\xfe" * MB)
_text("that steers the terminal", LOG, lambda: b"\x1b]0;mine\x07\x1b[2J\xc2\x9b31m\n")
kind("a text of 3 GB, as stated")(lambda f: _sparse(f, LOG, 3 << 30, stated=True))
kind("a text of 3 GB")(lambda f: _sparse(f, TABLE, 3 << 30))
kind("a crate of 3 GB", quick=True)(lambda f: _sparse(f, CRATE, 3 << 30))
kind("a dataset of 1 TB")(lambda f: _sparse(f, DATASET, 1 << 40))
kind("a dataset of 1 TB, as stated")(lambda f: _sparse(f, DATASET, 1 << 40, stated=True))
kind("a picture of 3 GB")(lambda f: _sparse(f, PLOT, 3 << 30))


def _crate(what: str, edit: Callable[[dict], object]) -> None:
    kind(f"a crate {what}")(lambda f: f.json(CRATE, edit))


def _settings(section: str, **changes: object) -> Callable[[dict], None]:
    def edit(crate: dict) -> None:
        (entity,) = (item for item in crate["@graph"] if item["@id"] == f"#study/{section}")
        stated = json.loads(entity["value"])
        entity["value"] = json.dumps({**stated, **changes} if isinstance(stated, dict) else changes)

    return edit


def _shared_properties(crate: dict) -> None:
    inputs = [{"@id": f"#i/{n}"} for n in range(15_000)]
    shared = {"@id": "#shared", "@type": "PropertyValue", "name": "a", "value": "b"}
    crate["@graph"].append({**shared, "propertyID": "input_data_version", "valueReference": inputs})
    for number in range(8_000):
        action = {"@id": f"#make/{number}", "@type": "CreateAction"}
        crate["@graph"].append({**action, "additionalProperty": {"@id": "#shared"}})


def _many_parts(crate: dict) -> None:
    root = next(item for item in crate["@graph"] if item["@id"] == "./")
    root["hasPart"] = [{"@id": str(number)} for number in range(45_000)]


def _many_files(crate: dict) -> None:
    for number in range(20_000):
        size = {"@type": "File", "contentSize": "9" * 15}
        crate["@graph"].append({"@id": f"f/{number}", **size})


_crate("of 20,000 files more, 10^15 bytes each", _many_files)
_crate("whose hub has 45,000 parts", _many_parts)
_crate("of 8,000 steps with 15,000 inputs", _shared_properties)
_crate("that asks for 10^9 resamples", _settings("statistics", resamples=10**9))
_crate("that asks for 10^7 resamples", _settings("statistics", resamples=10**7))
_crate("that asks for blocks of 0 px", _settings("statistics", block_px=0))
_crate("that asks for 10^9 replicates", _settings("replicates", replicates=10**9))
_crate("that shifts 10^9 px", _settings("scoring", max_shift_px=1e9))
_crate("of entities that are none", lambda crate: crate.update({"@graph": [1, None, [], "x"]}))
_crate(
    "that describes /etc/passwd", lambda crate: crate["@graph"][5].update({"@id": "/etc/passwd"})
)
_crate("that describes a file above", lambda crate: crate["@graph"][5].update({"@id": "../../x"}))


@kind("a network of 10^6 levels")
def _(f: Forgery) -> None:
    def deeper(bundle: dict) -> None:
        bundle["settings"].update(depth=10**6, width=10**6)

    f.json(KERAS.replace("model.keras", "bundle.json"), deeper)


@kind("metadata that pad by 10^9 px")
def _(f: Forgery) -> None:
    def pad(metadata: dict) -> None:
        metadata["transformations"][0]["parameters"]["shift_padding_px"] = 10**9

    f.metadata(DATASET, pad)


@kind("metadata that ask for 10^9 neighbours")
def _(f: Forgery) -> None:
    def widen(metadata: dict) -> None:
        metadata["transformations"][-1]["parameters"]["overlap"]["neighbor_count"] = 10**9

    f.metadata(VIEW, widen)


# The tree.


@kind("1,500 folders in one another", quick=True)
def _(f: Forgery) -> None:
    here = os.getcwd()
    os.chdir(f.root)
    for _ in range(1_500):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)


@kind("20,000 files")
def _(f: Forgery) -> None:
    for number in range(20_000):
        (f.root / f"cli/{number}").touch()


@kind("names that steer the terminal", quick=True)
def _(f: Forgery) -> None:
    for name in (b"\x1b[2J", b"a\nb", b"\xff\xfe", b"x" * 255, "\u202e\u2066".encode(), b"\x9b31m"):
        with open(os.fsencode(f.root) + b"/cli/" + name, "wb") as file:
            file.write(b"1\n")


@kind("links everywhere")
def _(f: Forgery) -> None:
    f.remove(LOG)
    f.path(LOG).symlink_to("/dev/zero")
    f.remove(DATASET)
    f.path(DATASET).symlink_to("/dev/zero")
    f.remove(PLOT)
    f.path(PLOT).symlink_to(f.path(PLOT))
    (f.root / "analysis/up").symlink_to(f.root)


@kind("a crate that is /dev/zero")
def _(f: Forgery) -> None:
    f.remove(CRATE)
    f.path(CRATE).symlink_to("/dev/zero")


@kind("pipes, sockets and devices")
def _(f: Forgery) -> None:
    f.remove(LOG)
    os.mkfifo(f.path(LOG))
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(f.root)
        one.bind("cli/socket")
        os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(f.root / "cli/zero", 0o20666, os.makedev(1, 5))


@kind("a report that is a folder, and links where it is written")
def _(f: Forgery) -> None:
    (f.root / "analysis/verification_report.json").mkdir()
    for pid in range(1, 300):
        (f.root / f"analysis/.verification_report.json.{pid}").symlink_to(f.root.parent / "pwned")


@kind("modules that Python would import", quick=True)
def _(f: Forgery) -> None:
    code = f"import os\nos.makedirs({MARK!r}, exist_ok=True)\n"
    for name in ("json", "numpy", "sitecustomize", "h5py", "fly64_assets"):
        (f.root / f"{name}.py").write_text(code)


def make(what: str, forgery: Forgery) -> Path:
    """A hostile hub, sealed where its files can be read."""
    edit, _ = KINDS[what]
    edit(forgery)
    if not any(part in what for part in ("3 GB", "1 TB", "folders", "files", "names", "/dev/zero")):
        forgery.reseal()
    return forgery.root
