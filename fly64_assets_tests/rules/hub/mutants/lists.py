"""Edits of what lies in a hub, of its texts, its paths, its times, its logs, its crate."""

from __future__ import annotations

import json
import os
import zlib

import numpy as np

from fly64_assets_tests.rules.hub.forging import CRATE, INVENTORY, Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant

MANIFEST, SUMMARY = "analysis/comparison_manifest.json", "analysis/metrics_summary.json"
DELTAS, DIGEST = "analysis/metrics_delta_summary.json", "analysis/metrics_digest.md"
STOPPED = "2026-01-02T03:04:05Z stopped\n"
LOG = "cli/phase_e_pinn_model.log"
SCORING = "analysis/DOSE/VIEW/test/scoring.json"
CANVAS = "analysis/DOSE/VIEW/test/reconstructions.npz"
PLOT = "analysis/DOSE/VIEW/test/comparison_plot.png"
KERAS = "data/phase_e/DOSE/VIEW/Baseline/model.keras"


def _lines(forgery: Forgery, template: str, edit) -> None:  # noqa: ANN001
    forgery.text(template, lambda text: "".join(edit(text.splitlines(keepends=True))))


# One condition, files, inventory.
add(
    "hub.one_condition",
    "the manifest's filter names another dose",
    lambda f: f.json(MANIFEST, lambda c: c["filters"].update(dose=77)),
)
add(
    "hub.one_condition",
    "the manifest's filter names one split",
    lambda f: f.json(MANIFEST, lambda c: c["filters"].update(split="test")),
)


@mutant("hub.one_condition", "a dataset of another dose lies beside")
def _(f: Forgery) -> None:
    f.write("data/phase_c/dose_77/patched_train.npz", f.read("data/phase_c/DOSE/patched_train.npz"))


@mutant("hub.one_condition", "a folder of another view lies beside")
def _(f: Forgery) -> None:
    f.path("analysis/DOSE/other_view/train").mkdir(parents=True)


add("hub.sizes", "a log of 4 MiB", lambda f: f.write(LOG, "| x\n" * (1 << 20) + "| x\n"))


@mutant("hub.sizes", "an NPZ of 2 MiB more than the crate states", hidden=False)
def _(f: Forgery) -> None:
    f.write(CANVAS, f.read(CANVAS) + bytes(1 << 21))


@mutant("hub.sizes", "a folder fourteen deep")
def _(f: Forgery) -> None:
    (f.root / "/".join("d" * 14)).mkdir(parents=True)


@mutant("hub.no_links", "a report is a link out of the hub")
def _(f: Forgery) -> None:
    f.remove(DIGEST)
    f.path(DIGEST).symlink_to("/etc/hostname")


@mutant("hub.no_links", "a report is a link to another in the hub")
def _(f: Forgery) -> None:
    f.remove(DIGEST)
    f.path(DIGEST).symlink_to("metrics_summary.md")


@mutant("hub.no_links", "a folder is a link")
def _(f: Forgery) -> None:
    (f.root / "cli").rename(f.root / "elsewhere")
    (f.root / "cli").symlink_to("elsewhere")


@mutant("hub.no_links", "a log is a named pipe")
def _(f: Forgery) -> None:
    f.remove(LOG)
    os.mkfifo(f.path(LOG))


add(
    "hub.no_blocker",
    "a blocker lies in the analysis",
    lambda f: f.write("analysis/blocker.log", STOPPED),
)
add(
    "hub.no_blocker",
    "a blocker lies deep",
    lambda f: f.write("analysis/DOSE/VIEW/blocker.log", STOPPED),
)
add("layout.complete", "a log is missing", lambda f: f.remove(LOG))
add(
    "layout.complete",
    "a curve is missing",
    lambda f: f.remove("analysis/DOSE/VIEW/test/PtyChi_frc_curve.csv"),
)
add("layout.complete", "the crate is missing", lambda f: f.remove(CRATE))
add("layout.complete", "the manifest is missing", lambda f: f.remove(MANIFEST))


@mutant("layout.complete", "a file's name has other letters")
def _(f: Forgery) -> None:
    f.path("summary/summary.md").rename(f.path("summary/Summary.md"))


add("layout.nothing_else", "a file more", lambda f: f.write("analysis/notes.txt", "mine\n"))
add("layout.nothing_else", "a hidden file", lambda f: f.write("cli/.phase.log.swp", "mine\n"))
add("layout.nothing_else", "an empty folder", lambda f: (f.root / "tmp").mkdir())
add("layout.not_empty", "a log of 0 bytes", lambda f: f.write(LOG, ""))
add("layout.not_empty", "a bundle of 0 bytes", lambda f: f.write(KERAS, ""))
add("layout.not_empty", "an NPZ of 0 bytes", lambda f: f.write(CANVAS, b""))
add("inventory.complete", "a line is missing", lambda f: f.replace(INVENTORY, f"{LOG}\n", ""))
add("inventory.complete", "a line too much", lambda f: f.text(INVENTORY, lambda t: t + "zzz.txt\n"))
add(
    "inventory.complete",
    "it lists itself",
    lambda f: _lines(f, INVENTORY, lambda rows: sorted([*rows, f"{INVENTORY}\n"])),
)
add("inventory.complete", "an absolute path", lambda f: f.replace(INVENTORY, LOG, f"/{LOG}"))
add(
    "inventory.complete", "a backslash", lambda f: f.replace(INVENTORY, LOG, LOG.replace("/", "\\"))
)
add(
    "inventory.sorted",
    "two lines swapped",
    lambda f: _lines(f, INVENTORY, lambda rows: [rows[1], rows[0], *rows[2:]]),
)
add(
    "inventory.sorted",
    "a line twice",
    lambda f: _lines(f, INVENTORY, lambda rows: [rows[0], *rows]),
)

# Texts.
BOM = b"\xef\xbb\xbf"
for name in (DIGEST, SUMMARY, "analysis/DOSE/VIEW/test/comparison_metrics.csv", LOG):
    short = name.rpartition("/")[2]
    add("text.utf8", f"a byte order mark in {short}", lambda f, n=name: f.write(n, BOM + f.read(n)))
    add(
        "text.lf",
        f"CRLF in {short}",
        lambda f, n=name: f.write(n, f.read(n).replace(b"\n", b"\r\n")),
    )
    add("text.lf", f"no LF at the end of {short}", lambda f, n=name: f.write(n, f.read(n)[:-1]))
add("text.utf8", "a byte of latin-1 in a log", lambda f: f.write(LOG, f.read(LOG) + b"| \xb5m\n"))
add(
    "text.lf",
    "one CR in the middle of a captured line",
    lambda f: f.write(LOG, f.read(LOG) + b"| 10 %\r20 %\n"),
)
add(
    "json.valid",
    "NaN",
    lambda f: f.text(
        SCORING, lambda t: t.replace('"phase_offset_rad": ', '"phase_offset_rad": NaN, "x": ', 1)
    ),
)
add("json.valid", "a number beyond all", lambda f: f.replace(SUMMARY, "{", '{"n": 1e999,'))
add("json.valid", "a key twice", lambda f: f.replace(SUMMARY, "{", '{"n_failed": 3,'))
add("json.valid", "a list", lambda f: f.write("analysis/check_report.json", "[]\n"))
add("json.valid", "cut off", lambda f: f.write(MANIFEST, f.read(MANIFEST)[:-40] + b"\n"))
add(
    "json.valid",
    "nested without end",
    lambda f: f.write(SCORING, '{"a":' * 9000 + "1" + "}" * 9000 + "\n"),
)

# Paths.
add(
    "paths.relative",
    "an absolute path in a log",
    lambda f: _lines(
        f, LOG, lambda rows: [rows[0][:-1] + " in /home/me/results/store\n", *rows[1:]]
    ),
)
add(
    "paths.relative",
    "a home folder in a log",
    lambda f: _lines(f, LOG, lambda rows: [rows[0][:-1] + " in ~/results\n", *rows[1:]]),
)
add(
    "paths.relative",
    "a drive letter in a report",
    lambda f: f.replace(DIGEST, "Relative to the hub.", "In C:\\hubs\\mine."),
)
add(
    "paths.relative",
    "a file address in a report",
    lambda f: f.replace(DIGEST, "Relative to the hub.", "See file:///hubs/mine."),
)
add(
    "paths.relative",
    "an absolute checkpoint",
    lambda f: f.json(MANIFEST, lambda c: c["jobs"][0].update(pinn_checkpoint="/store/model.keras")),
)
add(
    "paths.relative",
    "a path that climbs out",
    lambda f: f.json(
        MANIFEST, lambda c: c["jobs"][0].update(pinn_checkpoint="../../other/model.keras")
    ),
)
add(
    "paths.exist",
    "a checkpoint that is not there",
    lambda f: f.json(
        MANIFEST, lambda c: c["jobs"][0].update(pinn_checkpoint="data/phase_e/model.keras")
    ),
)
add(
    "paths.exist",
    "a path that climbs out and in",
    lambda f: f.json(
        MANIFEST,
        lambda c: c["jobs"][0].update(phase_c_npz="data/../" + c["jobs"][0]["phase_c_npz"]),
    ),
)
add(
    "paths.exist",
    "a log path with backslashes",
    lambda f: f.json(
        "data/phase_f/reconstruction_manifest.json",
        lambda c: c["execution_results"][0].update(log_path="cli\\x.log"),
    ),
)
add(
    "paths.exist",
    "a path that is a number",
    lambda f: f.json(SUMMARY, lambda c: c["jobs"][0].update(metrics_csv=7)),
)

# Times.
add(
    "times.utc",
    "a local time with its offset",
    lambda f: f.json(
        DELTAS, lambda c: c.update(generated_at=c["generated_at"].replace("Z", "+01:00"))
    ),
)
add(
    "times.utc",
    "a time without Z",
    lambda f: f.json(DELTAS, lambda c: c.update(generated_at=c["generated_at"][:-1])),
)
add(
    "times.utc",
    "fractions of seconds",
    lambda f: f.json(
        DELTAS, lambda c: c.update(generated_at=c["generated_at"].replace("Z", ".5Z"))
    ),
)
add(
    "times.utc",
    "a 13th month",
    lambda f: f.json(DELTAS, lambda c: c.update(generated_at="2026-13-01T00:00:00Z")),
)
add(
    "times.utc",
    "a time to come",
    lambda f: f.json(DELTAS, lambda c: c.update(generated_at="2999-01-01T00:00:00Z")),
)
add(
    "times.utc",
    "a number for a time",
    lambda f: f.json(DELTAS, lambda c: c.update(generated_at=1700000000)),
)
add(
    "times.utc",
    "a local time inside a log's line",
    lambda f: _lines(
        f, LOG, lambda rows: [rows[0][:-1] + " since 2026-01-02 03:04:05\n", *rows[1:]]
    ),
)
add(
    "times.utc",
    "a German time in a report",
    lambda f: f.replace(DIGEST, "Relative to the hub.", "Made 2.1.2026, 03:04 Uhr."),
)
add(
    "times.order",
    "deltas from before the solvers ran",
    lambda f: f.json(
        CRATE,
        lambda c: _entity(c, "#make/metrics_delta_summary").update(endTime="2020-01-01T00:00:00Z"),
    ),
)
add(
    "times.order",
    "a delta time after its step's end",
    lambda f: f.json(DELTAS, lambda c: c.update(generated_at=_later(f))),
)
add(
    "times.order",
    "a reconstruction from before its view",
    lambda f: f.arrays(
        "data/phase_f/DOSE/VIEW/test/ptychi_reconstruction.npz",
        lambda a: a.update(timestamp=np.array("2020-01-01T00:00:00Z")),
    ),
)
add(
    "logs.lines",
    "a line without a time",
    lambda f: _lines(f, LOG, lambda rows: [rows[0], "done\n", *rows[1:]]),
)
add(
    "logs.lines",
    "a local time at a line's start",
    lambda f: _lines(
        f, LOG, lambda rows: [rows[0].replace("T", " ", 1).replace("Z", "", 1), *rows[1:]]
    ),
)
add(
    "logs.lines", "an empty line", lambda f: _lines(f, LOG, lambda rows: [rows[0], "\n", *rows[1:]])
)
add("logs.lines", "captured output alone", lambda f: f.write(LOG, "| done\n"))
add("logs.lines", "a usage message for a log", lambda f: f.write(LOG, "usage: run [-h]\n"))
add("logs.order", "the last of a log's times comes first", lambda f: _lines(f, LOG, _last_first))


def _last_first(rows: list[str]) -> list[str]:
    last = max(number for number, row in enumerate(rows) if not row.startswith("| "))
    return [rows[last], *rows[:last], *rows[last + 1 :]]


def _later(forgery: Forgery) -> str:
    """A time after the end of the step that made the deltas, by the crate."""
    end = _entity(json.loads(forgery.read(CRATE)), "#make/metrics_delta_summary")["endTime"]
    return end[:11] + "23:59:59Z"


def _entity(crate: dict, identifier: str) -> dict:
    return next(entity for entity in crate["@graph"] if entity["@id"] == identifier)


# Archives and pictures.
def _pickled(f: Forgery) -> None:
    with f.path(CANVAS).open("rb") as file:
        arrays = dict(np.load(file))
    path = f.path(CANVAS)
    path.unlink()
    np.savez(path, **{**arrays, "truth": np.array([{}], dtype=object)})


add("npz.no_pickle", "a pickled array", _pickled)
add("npz.no_pickle", "a pickle instead of an archive", lambda f: f.write(CANVAS, b"\x80\x04N."))
add("npz.intact", "an NPZ cut short", lambda f: f.write(CANVAS, f.read(CANVAS)[:-1000]))
add(
    "npz.intact",
    "an NPZ cut in half",
    lambda f: f.write(CANVAS, f.read(CANVAS)[: len(f.read(CANVAS)) // 2]),
)


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


add(
    "npz.intact",
    "one bit flipped in an array",
    lambda f: f.write(CANVAS, _flipped(f.read(CANVAS), 100_000)),
)
add("pictures.intact", "a picture cut short", lambda f: f.write(PLOT, f.read(PLOT)[:-20]))
add(
    "pictures.intact",
    "one bit flipped in a picture",
    lambda f: f.write(PLOT, _flipped(f.read(PLOT), 5000)),
)
add("pictures.intact", "a text for a picture", lambda f: f.write(PLOT, "no picture\n"))


@mutant("pictures.intact", "a picture of 1 x 1 px")
def _(f: Forgery) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + checksum

    header = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    f.write(PLOT, b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


# The crate.
def _crate(identifier: str, **changes: object):  # noqa: ANN202
    return lambda f: f.json(CRATE, lambda c: _entity(c, identifier).update(changes))


add(
    "crate.hashes",
    "one bit of a picture's pixels",
    lambda f: f.write(PLOT, _flipped(f.read(PLOT), 5000)),
    hidden=False,
)
add(
    "crate.hashes",
    "a log with a line more",
    lambda f: f.write(LOG, f.read(LOG) + b"| more\n"),
    hidden=False,
)
add(
    "crate.hashes",
    "another hash in the crate",
    _crate("summary/summary.md", sha256="0" * 64),
    hidden=False,
)
add(
    "crate.hashes",
    "another size in the crate",
    _crate("summary/summary.md", contentSize="1"),
    hidden=False,
)
add(
    "crate.complete",
    "a file that the crate does not know",
    lambda f: f.write("analysis/notes.txt", "mine\n"),
    hidden=False,
)
add("crate.complete", "a file of the crate is gone", lambda f: f.remove(LOG), hidden=False)
add("crate.self_digest", "the crate was edited", _crate("./", keywords="none"), hidden=False)
add(
    "crate.self_digest",
    "a seed in the crate was edited",
    lambda f: f.text(CRATE, lambda t: t.replace('"value": 123', '"value": 124', 1)),
    hidden=False,
)
add(
    "crate.rules",
    "no licence",
    lambda f: f.json(CRATE, lambda c: _entity(c, "./").pop("license") and None),
)
add(
    "crate.rules",
    "a file that no step made",
    lambda f: f.json(CRATE, lambda c: _entity(c, "#make/phase_manifests").update(result=[])),
)
add(
    "crate.rules", "another time of publication", _crate("./", datePublished="2020-01-01T00:00:00Z")
)


add("crate.settings", "threads of another study", _crate("#study/threads", value="16"))
add("crate.settings", "doses without this one", _crate("#study/doses", value="[77]"))
add(
    "crate.condition",
    "the crate is of another dose",
    _crate("./", name="tiny: 77 photons per exposure, dense view"),
)
add(
    "crate.condition",
    "a step of another partition",
    _crate("#make/pinn_model/partition", value="77|dense"),
)


def _bundle(edit):  # noqa: ANN001, ANN202
    return lambda f: f.json("data/phase_e/DOSE/VIEW/Baseline/bundle.json", edit)


add(
    "phase_e.bundle",
    "trained with another TensorFlow",
    _bundle(lambda c: c["frameworks"].update(tensorflow="1.15.0")),
)
add(
    "phase_e.provenance",
    "trained by another version",
    _bundle(lambda c: c["transformations"][-1].update(version="9.9")),
)

# The stored report.
REPORT = "analysis/verification_report.json"


def _report(edit) -> object:  # noqa: ANN001
    def write(f: Forgery) -> None:
        from fly64_assets.rules.hub import Hub, run_checks, write_report

        found = run_checks(Hub(f.root), ["hub.no_links", "layout.not_empty"])
        write_report(f.root, found.to_json("2026-01-01T00:00:00Z"))
        f.json(REPORT, edit)

    return write


add(
    "verification_report.unedited",
    "a check of the report set to failed",
    _report(lambda c: c["checks"][0].update(ok=False)),
    hidden=False,
)
add(
    "verification_report.unedited",
    "another number of checks",
    _report(lambda c: c.update(n_checks=1)),
    hidden=False,
)
add(
    "verification_report.unedited",
    "no digest",
    _report(lambda c: c.pop("digest") and None),
    hidden=False,
)
add(
    "verification_report.unedited", "no JSON", lambda f: f.write(REPORT, "all well\n"), hidden=False
)
