"""What the documentation tells people to type works, and the site builds whole and offline."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from fly64_assets.cli import main
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.ptychography.data001.npz import read_npz
from fly64_assets.study.model import PROJECT_ROOT, STUDY_VARIABLE
from fly64_assets_tests.conftest import FinishedRun, fly64
from fly64_assets_tests.documented_commands import (
    Command,
    commands,
    commands_in,
    kind_of,
    parse,
    problem_of,
)
from fly64_assets_tests.ptychography.foreign_files import MEASURED, save

HUB = "hubs/1000_dense"
PLACEHOLDERS = {
    "HUB": HUB,
    "FILE": "scan.npz",
    "OUT.npz": "out.npz",
    "NAME": "study",
    "D": "1000",
    "V": "dense",
    "a,b": "1000",
    "v": "dense",
    "5000": "1000",
    "medium": "dense",
    "mine.yaml": "studies/demo.yaml",
    "more.yaml": "studies/demo.yaml",
}
"""What stands in the pages -> what the tiny study has in its place."""
STUDIES = ("study.yaml", "studies/demo.yaml")


def _mapped(command: Command) -> tuple[str, ...]:
    names = PLACEHOLDERS
    if command.words[1] == "lineage":
        names = {**names, "FILE": f"{HUB}/analysis/metrics_summary.json"}
    return tuple(names.get(word, word) for word in command.words)


ALL = tuple(commands())
RUN = {_mapped(one): one.page for one in reversed(ALL) if kind_of(one) == "run"}
"""What is run -> the first page that says so."""


def test_every_command_is_collected_and_of_a_kind():
    assert len(ALL) > 100 and len(RUN) > 25
    unknown = [f"{one.page}: {one}" for one in ALL if kind_of(one) is None]
    assert not unknown, unknown


def test_every_command_that_is_not_run_exists():
    others = {str(one): one for one in ALL if kind_of(one) not in ("run", None)}
    problems = [f"{one.page}: {one}: {problem_of(one)}" for one in others.values()]
    assert not [line for line in problems if not line.endswith(": None")]


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("`fly64 plna`", "name", "no fly64 plna"),
        ("```\nfly64 ui --prot 3\n```", "parse", "--prot"),
        ("```console\n$ make dmeo\n```", "make", "dmeo"),
        ("```\npython -m fly64_assets_tests.no_such_thing\n```", "module", "no module"),
        ("```\npython -m pip install -e '.[postgrse]'\n```", "module", "postgrse"),
        ("```\nexport FLY46_RESULTS=/data\n```", "system", "FLY46_RESULTS"),
        ("```\nfrobnicate --all\n```", None, "of no kind"),
    ],
)
def test_a_command_that_does_not_exist_is_found(text, kind, problem):
    (command,) = commands_in(text, "page.md")
    assert kind_of(command) == kind
    assert problem in (problem_of(command) or "")


def test_other_languages_hold_no_commands():
    assert not list(commands_in("```yaml\nfly64: 1\n```\n``fly64 x``", "page.md"))


def test_continued_lines_comments_and_pipes():
    text = "```\nfly64 export --dose 1 \\\n  --to HUB   # a comment\nfly64 schema | less\n```"
    assert [str(one) for one in commands_in(text, "")] == [
        "fly64 export --dose 1 --to HUB",
        "fly64 schema",
    ]


@pytest.fixture(scope="module")
def scene(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone in which the documented study is finished: the tiny one."""
    folder = tmp_path_factory.mktemp("clone")
    copy = finished.copy_to(folder / "results")
    (folder / "results" / "demo").symlink_to("tiny")
    for name in STUDIES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(copy.study_file, folder / name)
    study = ("--study", folder / "study.yaml", "--dose", "1000", "--view", "dense")
    done = fly64("export", *study, "--to", folder / HUB, results=folder / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _give_scan(folder: Path, words: tuple[str, ...]) -> None:
    """The foreign file that an import is of, with just the questions that the command answers."""
    if words[1] not in ("import", "data001") or "/" in words[2]:
        return
    for left in (path for end in ("npz", "h5", "cxi") for path in folder.glob(f"*.{end}")):
        left.unlink()
    if words[1] == "data001":
        done = CliRunner().invoke(main, ["import", str(MEASURED), "--to", str(folder / words[2])])
        assert done.exit_code == 0, done.output
        return
    arrays = {key: value for key, value in read_npz(MEASURED).items() if "_start" not in key}
    stated = dict(pairwise(words))
    if stated.get("--origin") == "centre":
        arrays["xcoords"] -= arrays["objectGuess"].shape[1] // 2
        arrays["ycoords"] -= arrays["objectGuess"].shape[0] // 2
    if stated.get("--flip") == "y":
        height = 0 if "--origin" in stated else arrays["objectGuess"].shape[0]
        arrays["ycoords"] = height - arrays["ycoords"]
    if "--values" in stated:
        counts = np.rint(np.square(arrays["diffraction"].astype(float)))
        arrays["diffraction"] = counts.astype(np.uint32)
    if stated.get("--mask") == "found":
        arrays["diffraction"][:, 40:42] = np.iinfo(np.uint32).max
    elif "--mask" in stated:
        arrays[stated["--mask"]] = np.zeros(arrays["diffraction"].shape[1:], np.uint32)
        arrays[stated["--mask"]][40:42] = 1
    if "--object" in stated:
        save(folder / stated["--object"], {"objectGuess": arrays.pop("objectGuess")})
    if "--key" in stated:
        key, name = stated["--key"].split("=")
        arrays[name] = arrays.pop(key)
    save(folder / words[2], arrays, "npz" if words[2].endswith(".npz") else "h5")


@pytest.mark.long
@pytest.mark.parametrize(("words", "page"), RUN.items(), ids=map(" ".join, RUN))
def test_a_documented_command_works(words, page, scene, monkeypatch):
    monkeypatch.chdir(scene)
    monkeypatch.setenv(RESULTS_VARIABLE, str(scene / "results"))
    monkeypatch.setenv(STUDY_VARIABLE, str(scene / "study.yaml"))
    parse(words)
    _give_scan(scene, words)
    if words[1] == "run":  # sends what libraries print elsewhere: wants a process of its own
        done = fly64(*words[1:], results=scene / "results")
        code, told = done.returncode, done.stdout + done.stderr
    else:
        result = CliRunner().invoke(main, list(words[1:]))
        code, told = result.exit_code, result.output
    assert code == 0, f"{page}: {told}"


def _make(folder: Path, python: str) -> subprocess.CompletedProcess:
    shutil.copy(PROJECT_ROOT / "Makefile", folder)
    (folder / "locks").mkdir(exist_ok=True)
    for name in ("pyproject.toml", "locks/dev.txt"):
        (folder / name).touch()
    command = ["make", "demo", f"PYTHON={python}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_make_says_that_there_is_no_python(tmp_path):
    done = _make(tmp_path, "no-such-python")
    assert done.returncode == 2 and "error: there is no no-such-python" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_tries_an_environment_without_pip_again(tmp_path):
    """Debian without ``python3.11-venv`` leaves one behind and says what to install."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'test "$1 $2" = "-m venv" || exit 1\n'
        "mkdir -p .venv/bin && cp python .venv/bin/python\n"
        "echo install python3.11-venv; exit 1\n",
        "utf-8",
    )
    python.chmod(0o755)
    for _ in range(2):
        done = _make(tmp_path, "./python")
        assert done.returncode == 2 and "install python3.11-venv" in done.stdout
    assert not (tmp_path / ".venv/.installed").exists()


class _Addresses(HTMLParser):
    """What a page makes a browser load."""

    LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev"):
            return
        address = given.get(self.LOADED.get(tag, ""))
        if address:
            self.found.append(address)


@pytest.mark.long
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path):
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(site)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        addresses = _Addresses()
        addresses.feed(page.read_text("utf-8"))
        assert not [one for one in addresses.found if re.match(r"(https?:)?//", one)], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text("utf-8")), style.name
    assert (site / "search" / "search_index.json").stat().st_size > 100_000


def test_every_page_is_in_the_navigation_once():
    text = (PROJECT_ROOT / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r"(\S+\.md)$", text, re.MULTILINE)
    assert len(named) == len(set(named))
    here = {
        path.relative_to(PROJECT_ROOT / "docs").as_posix()
        for path in (PROJECT_ROOT / "docs").rglob("*.md")
    }
    assert here <= set(named), here - set(named)
    assert yaml.safe_load(text)["theme"]["font"] is False
