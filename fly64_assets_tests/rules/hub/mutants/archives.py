"""Edits of the members of archives, of the layout of JSON, of whole logs."""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile

import numpy as np

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add, mutant
from fly64_assets_tests.rules.hub.mutants.lists import CANVAS, LOG, SUMMARY

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


def _twice(f: Forgery, path: str) -> None:
    """A member is there twice."""
    written = io.BytesIO(f.read(path))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(written, "a") as archive:
        first = archive.infolist()[0]
        archive.writestr(zipfile.ZipInfo(first.filename), archive.read(first))
    f.write(path, written.getvalue())


add("npz.nothing_else", "an array twice", lambda f: _twice(f, CANVAS))
add(
    "npz.nothing_else",
    "members that are compressed",
    lambda f: _rewritten(f, CANVAS, compress_type=zipfile.ZIP_DEFLATED),
)


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
