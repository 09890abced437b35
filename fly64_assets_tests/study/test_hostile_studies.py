"""Study files that a person did not mean or somebody else wrote: one line, exit code 2, no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_assets.cli import main
from fly64_assets.cli.display import OUT
from fly64_assets.errors import InputError, harmless
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.ptychography.data001.npz import read_npz, write_npz
from fly64_assets.solvers.resampling import TAPS
from fly64_assets.study.cron import cron_problem
from fly64_assets.study.model import PROJECT_ROOT, STUDY_VARIABLE, Study, load_study, specimen_path
from fly64_assets.study.settings import SMALLEST_FRAME_PX
from fly64_assets.study.yaml_file import LARGEST_BYTES, read_study_yaml
from fly64_assets_tests.conftest import TINY

BASE = PROJECT_ROOT / "study.yaml"
HEAD = f"extends: {BASE}\nname: own\n"
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


def _refused(path: Path, *parts: str, command: str = "plan") -> str:
    """The one line of a command that refuses a study, with exit code 2 and nothing made."""
    before = sorted(path.parent.rglob("*")) if path.parent.is_dir() else []
    done = CliRunner().invoke(main, [command, "--study", str(path)])
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and line.isprintable(), line
    for part in parts:
        assert part in line, line
    assert before == (sorted(path.parent.rglob("*")) if path.parent.is_dir() else [])
    return line


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (HEAD + "doses: [0100]\n", ("doses.0: 0100 begins with 0", "line 3")),
        (f"extends: {BASE}\nname: {'n' * 300}\n", ("name", "64 characters")),
        (HEAD + "doses: [-010]\n", ("doses.0: -010 begins with 0",)),
        (HEAD + "scoring: {max_shift_px: 04.5}\n", ("scoring.max_shift_px: 04.5 begins",)),
        (HEAD + "doses: [1:30]\n", ("doses.0", "'1:30'")),
        (HEAD + "doses: [1_000]\n", ("doses.0", "write 1000")),
        (HEAD + "doses: [0b11]\n", ("doses.0", "'0b11'")),
        (HEAD + "doses: ['1000']\n", ("doses.0", "write 1000")),
        (HEAD + "doses: [true]\n", ("doses.0", "integer")),
        (HEAD + "doses: [2026-12-01]\n", ("doses.0", "'2026-12-01'")),
        (HEAD + "doses: [1e400]\n", ("doses.0", "1e400")),
        (HEAD + "ptychi: {damping: 1e-400}\n", ("ptychi.damping", "1e-400")),
        (HEAD + "ptychi: {damping: .inf}\n", ("ptychi.damping", "finite")),
        (HEAD + "ptychi: {damping: .nan}\n", ("ptychi.damping", "finite")),
        (HEAD + "ptychi: {refine_probe: yes}\n", ("ptychi.refine_probe: true or false", "'yes'")),
        (HEAD + "ptychi: {refine_probe: 1}\n", ("ptychi.refine_probe: true or false",)),
        (HEAD + f"doses: [{'9' * 5000}]\n", ("doses.0: a number of 5,000 characters",)),
        (HEAD + "doses: !!int '0100'\n", ("doses: has the tag", "int")),
        (HEAD + "views: !!python/name:os.system\n", ("views: has the tag", "no tags")),
        (HEAD + "<<: {threads: 1}\n", ("<<: unknown key",)),
        (HEAD + "threads: 1\nthreads: 2\n", ("key 'threads' appears twice", "line 4")),
        (HEAD + "views: {1: {target_overlap: 0.5}}\n", ("views: key 1 is no text",)),
        (HEAD + "? [a]\n: 1\n", ("is no text",)),
        (HEAD + f"views: {'[' * 3000}\n", ("64 levels",)),
        (HEAD + f"views: {'{a: ' * 3000}\n", ("64 levels",)),
        (HEAD + "views: &v {a: *v}\n", ("views: values are nested",)),
        (HEAD + LAUGHS, ("more than 10,000 values",)),
        (HEAD + "threads: *nobody\n", ("undefined alias",)),
        (HEAD + "threads: 1\n---\nthreads: 2\n", ("single document",)),
        (HEAD + "\tthreads: 1\n", ("not valid YAML", "line 3, column 1")),
        (HEAD + "x: " + "y" * LARGEST_BYTES, ("larger than a study file",)),
        (b"\x00\x01\x02", ("not valid YAML",)),
        (HEAD.encode("utf-16-le"), ("not valid YAML",)),
        ("name: caf\xe9\n".encode("latin-1"), ("not valid YAML",)),
        (b"", ("holds no mapping",)),
        (b"\xef\xbb\xbf", ("holds no mapping",)),
        (b"- 1\n", ("holds no mapping",)),
        ("extends: /dev/zero\nname: own\n", ("/dev/zero", "no regular file")),
        ("extends: .\nname: own\n", ("Is a directory",)),
        ('extends: "a\\0b"\nname: own\n', ("extends", "does not exist")),
        (f"extends: {'x' * 5000}\nname: own\n", ("extends",)),
        (HEAD + 'specimen: "a\\0.npz"\n', ("specimen",)),
        (HEAD + f"specimen: {'x' * 5000}.npz\n", ("specimen", "too long")),
        (HEAD + "specimen: ../specimens/labyrinth\n", ("specimen", "labyrinth, siemens_star")),
        (HEAD + '"\\e[31mred\\e[0m\\u202e": 1\n', (r"\x1b[31mred\x1b[0m\u202e: unknown key",)),
        (HEAD + 'views: {"\\r\\n[red]x": 1}\n', (r"\r\n[red]x",)),
        (HEAD + 'specimen: "\\e]0;title\\a"\n', (r"\x1b]0;title\x07",)),
    ],
    ids=lambda value: repr(value)[-40:] if isinstance(value, str | bytes) else "",
)
def test_a_hostile_study_file_is_one_line(tmp_path, content, parts):
    path = tmp_path / "study.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    _refused(path, *parts)


def test_what_is_no_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    _refused(tmp_path / "pipe.yaml", "no regular file")
    _refused(tmp_path / "none.yaml", "does not exist")
    _refused(tmp_path, "Is a directory")
    _refused(tmp_path / os.fsdecode(b"\xff.yaml"), r"\udcff.yaml", "not UTF-8")


def test_chains_end(tmp_path):
    for number in range(1200):
        text = f"extends: {number + 1}.yaml\nname: own\n"
        (tmp_path / f"{number}.yaml").write_text(text, "utf-8")
    (tmp_path / "1200.yaml").write_text(HEAD, "utf-8")
    _refused(tmp_path / "0.yaml", "0.yaml: extends", "16 files")
    assert load_study(tmp_path / "1190.yaml").name == "own"
    (tmp_path / "1200.yaml").write_text("extends: ./1199.yaml\nname: own\n", "utf-8")
    _refused(tmp_path / "1199.yaml", "extends itself")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("100", 100), ("+1", 1), ("-0", 0), ("0x10", 16), ("0o17", 15), ("1e3", 1000)),
        *((".5", 0.5), ("1.", 1.0), ("1.5e-3", 0.0015), ("-2.5E+2", -250.0), ("0.5", 0.5)),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("", None)),
        *(("yes", "yes"), ("on", "on"), ("1_000", "1_000"), ("1:30", "1:30"), ("0b1", "0b1")),
        *(("2026-12-01", "2026-12-01"), ("'0100'", "0100"), ("\"1e3\"", "1e3"), ("=", "=")),
        *(("[a, 1]", ["a", 1]), ("{a: 1}", {"a": 1}), ("&x 1", 1), ("a #b", "a")),
    ],
)  # fmt: skip
def test_values_are_those_of_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "study.yaml"
    for content in (f"key: {text}\n", f"key: {text}\r\n", f"\ufeffkey: {text}\n"):
        path.write_bytes(content.encode())
        found = read_study_yaml(path)["key"]
        assert (found, type(found)) == (value, type(value))
    path.write_text(f"key: {text}\n", "utf-16")
    assert read_study_yaml(path) == {"key": value}


@pytest.mark.parametrize("path", [BASE, PROJECT_ROOT / "studies/demo.yaml"])
def test_the_shipped_studies_read_as_before(path):
    assert read_study_yaml(path) == yaml.safe_load(path.read_text("utf-8"))


def test_a_base_names_one_specimen_whichever_way_it_is_reached(tmp_path):
    """Through a link to the file, a link to its folder, and `..` behind a link."""
    real, other, deep = tmp_path / "real", tmp_path / "other", tmp_path / "real" / "deep"
    for folder in (other, deep):
        folder.mkdir(parents=True)
    for folder in (real, other, tmp_path):
        (folder / "mine.npz").write_bytes(folder.name.encode())
    (real / "base.yaml").write_text(HEAD + "specimen: mine.npz\n", "utf-8")
    (deep / "up.yaml").write_text(HEAD + "specimen: ../mine.npz\n", "utf-8")
    (other / "linked.yaml").symlink_to(real / "base.yaml")
    (other / "folder").symlink_to(deep)
    (other / "hop.yaml").write_text(HEAD + "specimen: folder/../mine.npz\n", "utf-8")
    wanted = (real / "mine.npz").read_bytes()
    bases = ["linked.yaml", "../real/base.yaml", "folder/up.yaml", "folder/../base.yaml"]
    for number, base in enumerate([*bases, "hop.yaml"]):
        child = other / f"child{number}.yaml"
        child.write_text(f"extends: {base}\nname: child\n", "utf-8")
        for file in (child, other / base):
            assert specimen_path(load_study(file), file).read_bytes() == wanted, file
        grandchild = tmp_path / f"grandchild{number}.yaml"
        grandchild.write_text(f"extends: other/{child.name}\nname: grandchild\n", "utf-8")
        found = specimen_path(load_study(grandchild), grandchild)
        assert found.read_bytes() == wanted, base
        assert not Path(load_study(grandchild).specimen).is_absolute()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"baseline": {"frame_px": 50}}, ("baseline: frame_px: 50 is no multiple of", "= 8")),
        ({"ptychopinn": {"frame_px": 8}}, ("ptychopinn: frame_px: 8 is smaller than 12",)),
        ({"seeds": {"grouping": 2**32}}, ("seeds.grouping", "4294967296")),
        ({"seeds": {"simulation": -1}}, ("seeds.simulation", "greater than or equal to 0")),
        ({"doses": [10**20]}, ("doses.0", "1000000000000")),
        ({"views": {"v" * 300: {"target_overlap": 0.7}}}, ("at most 64",)),
        ({"views": {"Dense": {"target_overlap": 0.7}}}, ("'Dense'", "lower-case")),
        ({"automation": {"cron": "0 25 * * *"}}, ("automation: cron: '0 25 * * *'", "hour '25'")),
        ({"automation": {"cron": "0 0 31 4,6 *"}}, ("a day that its months do not have",)),
        ({"automation": {"cron": "@daily"}}, ("five fields",)),
        ({"threads": 10**6}, ("threads", "256")),
        ({"replicates": 10**9}, ("replicates", "20")),
        ({"doses": list(range(1, 1002))}, ("1,001 conditions", "1,000")),
        ({"patch_size": 1024, "simulation": {"positions": 10**6}}, ("simulation.positions", "GiB")),
        ({"scoring": {"ms_ssim_sigma_px": 1e9}}, ("scoring.ms_ssim_sigma_px", "100")),
        ({"scoring": {"max_shift_px": 1e9}}, ("scoring.max_shift_px", "100")),
        ({"overlap": {"neighbor_count": 10**9}}, ("overlap.neighbor_count", "1000")),
        ({"ptychopinn": {"width": 10**6}}, ("ptychopinn.width", "512")),
        ({"baseline": {"width": 512, "depth": 3}}, ("baseline: width: 512", "4,096 channels")),
        ({"ptychopinn": {"loss_reach": 1e9}}, ("ptychopinn.loss_reach", "10")),
        # What only the scan can tell.
        ({"statistics": {"block_px": 200}}, ("views.dense", "statistics", "200 px")),
        (
            {"statistics": {"block_px": 1, "resamples": 100_000}},
            ("views.dense", "statistics", "100,000,000"),
        ),
        ({"overlap": {"probe_diameter_px": 500}}, ("views.dense",)),
        ({"simulation": {"split_guard_px": 1e12}}, ("split_guard_px", "no position")),
        ({"simulation": {"margin_px": 1e12}}, ("margin_px", "no room")),
        ({"overlap": {"n_groups": 1}}, ("views.dense: train: PtychoPINN: 1 groups",)),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)  # fmt: skip
def test_plan_refuses_what_cannot_run(write_study, changes, parts):
    _refused(write_study(**{"name": "tiny", **changes}), *parts)


def test_extremes_that_run_are_planned(write_study):
    study = write_study(
        doses=[1, 10**12],
        seeds=dict.fromkeys(("simulation", "grouping", "subsampling"), 2**32 - 1),
        ptychopinn={**TINY["ptychopinn"], "depth": 1, "frame_px": 12},
        automation={"cron": "*/5 0-23/2 1,15 jan-jun mon-fri"},
    )
    done = CliRunner().invoke(main, ["plan", "--study", str(study)])
    assert (done.exit_code, done.stderr) == (0, "")


def _numbers(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") in ("integer", "number"):
        yield where, schema
    for key, value in schema.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _numbers(each, f"{where}.{key}")


def test_no_number_is_without_bounds():
    found = dict(_numbers(Study.model_json_schema()))
    assert len(found) > 60
    for where, bounds in found.items():
        if {"const", "enum"} & bounds.keys():
            continue
        assert {"maximum", "exclusiveMaximum"} & bounds.keys(), where
        assert {"minimum", "exclusiveMinimum"} & bounds.keys(), where
    assert SMALLEST_FRAME_PX > 2 * TAPS


CRON_PART = st.one_of(
    st.just("*"),
    st.integers(0, 70).map(str),
    st.sampled_from(["*/5", "1-3", "5-2", "2,4", "mon", "jan-mar", "fri-mon", "L", "?", "*/0"]),
)


@given(st.lists(CRON_PART, min_size=4, max_size=6).map(" ".join))
def test_every_cron_expression_of_a_study_is_one_of_dagsters(text):
    if not cron_problem(text):
        assert is_valid_cron_schedule(text)


TEXT = st.text(st.characters(), max_size=30)


@settings(max_examples=50)
@given(
    st.dictionaries(TEXT, st.one_of(TEXT, st.lists(TEXT, max_size=2)), max_size=3), st.booleans()
)
def test_nothing_but_printable_characters_reaches_the_terminal(tmp_path_factory, content, deep):
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    section = {"views": content} if deep else content
    path.write_text(json.dumps({"extends": str(BASE), "name": "own", **section}), "utf-8")
    done = CliRunner().invoke(main, ["plan", "--study", str(path)])
    if done.exit_code:
        (line,) = done.stderr.removesuffix("\n").split("\n")
        assert done.exit_code == 2 and line.isprintable() and len(line) < 3000


@given(TEXT, st.booleans())
def test_harmless_text_is_printable_and_says_the_same(text, lines):
    shown = harmless(text, lines=lines)
    assert all(part.isprintable() for part in (shown.split("\n") if lines else [shown]))
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


def test_long_foreign_text_is_cut_in_a_line():
    assert len(harmless("x" * 10**6)) < 3000 and "characters" in harmless("x" * 10**6)


def test_foreign_text_has_no_power_in_a_plan(specimen, tmp_path):
    """A file's name is foreign: neither control characters nor rich's markup act in it."""
    name = "[red]\x1b[31mx\u202e[link=http:x].npz"
    write_npz(tmp_path / name, specimen)
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "specimen": name}), "utf-8")
    with OUT.capture() as captured:
        done = CliRunner().invoke(main, ["plan", "--study", str(study)])
    shown = captured.get() + done.stdout
    assert done.exit_code == 0, done.stderr
    assert all(line.isprintable() for line in shown.splitlines())
    assert r"specimen [red]\x1b[31mx\u202e[link=http:x].npz" in shown
    done = CliRunner().invoke(main, ["plan", "--study", str(study), "--json"])
    assert done.exit_code == 0 and done.stdout.isascii() and json.loads(done.stdout)


@pytest.fixture
def specimen() -> dict[str, np.ndarray]:
    return read_npz(PROJECT_ROOT / "fly64_assets/study/specimens/labyrinth.npz")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda o: np.zeros_like(o), ("objectGuess", "largest modulus is 0")),
        (lambda o: o * np.complex64(1e30), ("objectGuess", "largest modulus is")),
        (lambda o: o * np.complex64(1e-20), ("objectGuess", "largest modulus is")),
        (lambda o: np.full_like(o, 0.5 + 0.5j), ("objectGuess", "constant in the scored area")),
        (lambda o: np.zeros((9000, 70), np.complex64), ("objectGuess", "8192 px")),
    ],
)
def test_a_specimen_that_shows_nothing_is_refused_by_plan(specimen, tmp_path, change, parts):
    arrays = {**specimen, "objectGuess": change(specimen["objectGuess"])}
    write_npz(tmp_path / "mine.npz", arrays)
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "specimen": "mine.npz"}), "utf-8")
    _refused(study, "mine.npz", *parts)


@pytest.mark.parametrize(
    ("component", "change"),
    [
        ("amplitude", lambda o: np.exp(1j * np.angle(o))),
        ("phase", lambda o: np.abs(o) * np.exp(0.3j)),
    ],
)
def test_plan_says_which_component_has_no_contrast(specimen, tmp_path, component, change):
    changed = change(specimen["objectGuess"]).astype(np.complex64)
    write_npz(tmp_path / "mine.npz", {**specimen, "objectGuess": changed})
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "specimen": "mine.npz"}), "utf-8")
    done = CliRunner().invoke(main, ["plan", "--study", str(study)])
    told = f"\n{component}: constant in the scored area: its scores are not defined\n"
    assert done.exit_code == 0 and told in done.stdout


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        (">&-", 1, "error: standard output: is closed\n"),
        (">/dev/full", 1, "No space left on device"),
        pytest.param("2>&-", 0, "", marks=pytest.mark.long),
        pytest.param("<&-", 0, "", marks=pytest.mark.long),
        pytest.param("| true; exit ${PIPESTATUS[0]}", None, "", marks=pytest.mark.long),
    ],
)
def test_standard_streams_that_are_closed_full_or_gone(redirection, code, told):
    command = f"{sys.executable} -m fly64_assets.cli schema study {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == code or (code is None and done.returncode in (0, 1)), done
    assert told in done.stderr and done.stderr.count("\n") == bool(told)


@pytest.mark.long
def test_letters_that_an_encoding_lacks_are_escaped(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    environment |= {RESULTS_VARIABLE: str(tmp_path), STUDY_VARIABLE: "caf\xe9.yaml"}
    command = [sys.executable, "-m", "fly64_assets.cli", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "caf" in done.stderr


def test_a_name_that_is_wrong_usage_is_harmless_too():
    done = CliRunner().invoke(main, ["pl\x1b[31m"])
    assert done.exit_code == 2 and r"No such command 'pl\x1b[31m'" in done.stderr
    with pytest.raises(InputError):
        load_study("\x1b")
