"""``fly64`` for people, scripts and shells: help, JSON, completion, colours, near names, advice."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from fly64_assets.cli import main
from fly64_assets.cli.options import with_next_step
from fly64_assets.errors import did_you_mean
from fly64_assets.pipeline.instance import INSTANCE_VARIABLE
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.study.model import STUDY_VARIABLE, load_study
from fly64_assets_tests.conftest import fly64
from fly64_assets_tests.ptychography.foreign_files import MEASURED

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WITH_JSON = {
    *("plan", "run", "status", "report", "checks", "lineage"),
    *("export", "verify", "data001", "import", "restore", "clean"),
}
WITHOUT_JSON = {"ui", "schema", "completion"}
"""One serves, one prints JSON always, one prints a script."""


def _invoke(*words: str | Path, **more):
    return CliRunner().invoke(main, [str(word) for word in words], **more)


@pytest.mark.parametrize("name", main.commands)
def test_every_help_shows_an_example_and_what_scripts_can_have(name):
    shown = _invoke(name, "--help").output
    assert "Example" in shown and f"fly64 {name}" in shown.split("Example", 1)[1]
    assert ("--json" in shown) == (name in WITH_JSON)


def test_help_lists_commands_in_order_of_use_and_cuts_nothing():
    shown = _invoke("--help").output
    assert list(main.commands)[:4] == ["plan", "run", "status", "checks"]
    places = [shown.index(f"\n  {name} ") for name in main.commands]
    assert places == sorted(places) and "..." not in shown.split("Commands:")[1]
    assert "study.yaml" in shown and "studies/demo.yaml" in shown


def test_status_of_a_study_of_which_nothing_was_made_says_what_is_next(
    write_study, monkeypatch, tmp_path
):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "results"))
    study = write_study(doses=[1000, 2000])
    shown = _invoke("status", "--study", study)
    assert shown.exit_code == 0 and "nothing of this study was made yet" in shown.output
    shown = _invoke("status", "--study", study, "--dose", "2000")
    assert shown.exit_code == 0 and "nothing of what you asked for was made yet" in shown.output
    assert "--study FILE" in shown.output


def test_a_refused_export_names_the_study(write_study, monkeypatch, tmp_path):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "results"))
    words = ("export", "--dose", "1000", "--view", "dense", "--to", tmp_path / "hub")
    done = _invoke(*words, "--study", write_study())
    assert done.exit_code == 1 and "1000|dense of study tiny is not finished" in done.stderr
    assert done.stderr.endswith("\n  nothing of it was ever made\n")


def test_commands_are_these_and_exit_codes_are_told():
    assert set(main.commands) == WITH_JSON | WITHOUT_JSON
    assert "Exit codes: 0 done; 1 something failed" in _invoke("--help").output


@pytest.fixture
def at(finished, monkeypatch):
    """The finished study as the one of the environment; not to be changed."""
    monkeypatch.setenv(RESULTS_VARIABLE, str(finished.results))
    monkeypatch.setenv(STUDY_VARIABLE, str(finished.study_file))
    return finished


def _json(*words: str | Path, code: int = 0):
    done = _invoke(*words, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_status_as_json(at):
    found = _json("status")
    assert (found["study"], found["runs"], found["orphaned"]) == ("tiny", [], [])
    (condition,) = found["conditions"]
    assert condition["partition"] == "1000|dense" and set(condition["products"]) == {"fresh"}
    assert condition["broken"] == condition["blockers"] == []


def test_status_as_json_tells_what_stopped(at, tmp_path, monkeypatch):
    at.copy_to(tmp_path / "copy")
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "copy"))
    folder = tmp_path / "copy/tiny/store/analysis/dose_1000/dense"
    (folder / "blocker.log").write_text("step: pinn_model\n", "utf-8")
    (folder / "metrics_summary.json").write_text("{}", "utf-8")
    (condition,) = _json("status", code=1)["conditions"]
    assert [one["product"] for one in condition["broken"]] == ["metrics_summary"]
    assert condition["blockers"][0]["text"] == "step: pinn_model\n"


@pytest.mark.long
def test_run_as_json_prints_nothing_else(at):
    """In a process of its own, since what libraries print goes elsewhere while it runs."""
    done = fly64("run", "--all", "--json", results=at.results)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["complete"] and found["comparisons"]["success"] == 2
    assert found["not_started"] == found["not_finished"] == []
    (condition,) = found["conditions"]
    assert set(condition["deltas"]) == {"vs_Baseline", "vs_PtyChi"}


@pytest.mark.long
def test_export_and_verify_as_json(at, tmp_path):
    hub = tmp_path / "hub"
    made = _json("export", "--dose", "1000", "--view", "dense", "--to", hub)
    assert made["outcome"] == "exported" and made["moved_aside"] is None
    assert made["verification"]["n_checks"] == made["verification"]["n_valid"] > 100
    assert _json("verify", hub)["n_valid"] == made["verification"]["n_valid"]


def test_a_dataset_and_an_import_as_json(tmp_path):
    dry = _json("import", MEASURED, "--dry-run")
    assert dry["written"] is None and len(dry["canvas_shape"]) == 2
    made = _json("import", MEASURED, "--to", tmp_path / "new.npz")
    assert made["written"] == str(tmp_path / "new.npz") and made["n_frames"] == 64
    assert all(rule["ok"] for rule in made["rules"])
    assert _json("data001", tmp_path / "new.npz")["ok"]
    broken = _invoke("data001", MEASURED, "--json")
    assert broken.exit_code == 2 and broken.stderr.startswith("error: ")
    assert json.loads(broken.stdout)["ok"] is False


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_of_the_shell(shell):
    done = _invoke("completion", shell)
    assert done.exit_code == 0 and "_FLY64_COMPLETE" in done.stdout
    program = shutil.which(shell)
    if program:
        checked = subprocess.run([program, "-n"], input=done.stdout, text=True, timeout=60)
        assert checked.returncode == 0


def _completed(*words: str, typed: str = "") -> list[str]:
    found = ShellComplete(main, {}, "fly64", "_FLY64_COMPLETE")
    return [item.value for item in found.get_completions(list(words), typed)]


def test_a_shell_completes_commands_options_doses_views_and_schemas(write_study):
    study = str(write_study(doses=[500, 1000]))
    assert _completed(typed="sta") == ["status"]
    assert _completed("plan", typed="--do") == ["--dose"]
    assert _completed("plan", "--study", study, "--dose") == ["500", "1000"]
    assert _completed("plan", "--study", study, "--dose", typed="500,1") == ["500,1000"]
    assert _completed("export", "--study", study, "--view", typed="d") == ["dense"]
    assert _completed("plan", "--study", "none.yaml", "--dose") == []
    assert _completed("schema", typed="metrics_d") == ["metrics_delta_summary"]


def _on_a_terminal(*words: str | Path, **environment: str) -> str:
    """What a command shows where standard output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "fly64_assets.cli", *map(str, words)],
        env={**os.environ, "TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the terminal is closed at the other end
                break
            if not read:
                break
            shown += read
    os.close(ours)
    return shown.decode()


@pytest.mark.long
def test_colours_are_for_a_terminal_and_no_color_is_respected(write_study):
    words = ("status", "--study", write_study())
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", _on_a_terminal(*words, NO_COLOR=""))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", _on_a_terminal(*words, NO_COLOR="1"))
    assert not COLOUR.search(_invoke(*words).output)


def test_no_color_is_for_what_click_prints_too(at, monkeypatch):
    file = at.results / "tiny/store/analysis/dose_1000/dense/metrics_summary.json"
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOUR.search(_invoke("lineage", file, color=True).output)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(_invoke("lineage", file, color=True).output)


@pytest.mark.parametrize(
    ("typed", "known", "near"),
    [
        ("dens", ["dense", "sparse"], "dense"),
        ("Sparse", ["dense", "sparse"], "sparse"),
        ("1e3", ["500", "1000", "10000"], "1000"),
        ("3000", ["500", "1000", "10000"], "1000"),
        ("nan", ["500", "1000"], None),
        ("medium", ["dense", "sparse"], None),
        ("ptychi", ["PtychoPINN", "PtyChi"], "PtyChi"),
    ],
)
def test_near_names(typed, known, near):
    assert did_you_mean(typed, known) == (f"; did you mean {near!r}?" if near else "")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("plan", "--dose", "1001"), "did you mean '1000'?"),
        (("plan", "--view", "dens"), "did you mean 'dense'?"),
        (("statsu",), "Did you mean 'status'?"),
        (("plan", "--dos", "1000"), "Did you mean '--dose'?"),
        (("schema", "metric_summary"), "did you mean 'metrics_summary'?"),
        (("completion", "bsh"), "'bash'"),
    ],
)
def test_an_unknown_name_on_the_command_line_suggests_the_nearest(
    words, near, write_study, monkeypatch
):
    monkeypatch.setenv(STUDY_VARIABLE, str(write_study()))
    done = _invoke(*words)
    assert done.exit_code == 2 and near in done.stderr


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ({"ptychi": {"epoch": 3}}, "ptychi.epoch: unknown key; did you mean 'epochs'?"),
        ({"ptychopinn": {"field": {"round": 3}}}, "unknown key; did you mean 'rounds'?"),
        ({"dose": [1000]}, "dose: unknown key; did you mean 'doses'?"),
        ({"dose": [1000], "ptychi": {"epoch": 3}}, "(and also "),
        ({"arms": ["PtychoPINN", "Baseline", "Ptychi"]}, "did you mean 'PtyChi'?"),
    ],
)
def test_an_unknown_name_in_a_study_file_suggests_the_nearest(change, near, write_study):
    done = _invoke("plan", "--study", write_study(**change))
    assert done.exit_code == 2 and near in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("plan", "--dose", "x"), "next: see `fly64 plan --help`"),
        (("lineage", "none.json"), "next: see `fly64 lineage --help`"),
        (("data001", "none.npz"), "next: mend the path"),
        (("plan", "--study", "none.yaml"), "none.yaml: does not exist; next: mend what names it"),
        (("import", "scan.npz"), "does not exist"),
        (("verify", "no_hub"), "made by `fly64 export`"),
        (("schema", "nothing"), "`fly64 schema` lists them"),
        (("export", "--dose", "1000", "--view", "dense", "--to", "hub"), "`fly64 run` first"),
        (("run",), "--dose and --view, or --all"),
    ],
)
def test_an_error_says_what_to_do_next(words, advice, write_study, monkeypatch, tmp_path):
    monkeypatch.setenv(STUDY_VARIABLE, str(write_study()))
    monkeypatch.chdir(tmp_path)
    done = _invoke(*words)
    assert done.exit_code in (1, 2) and advice in done.stderr, done.stderr


def test_a_plan_tells_once_what_holds_for_several_doses(write_study, monkeypatch, tmp_path):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "results"))
    done = _invoke("plan", "--study", write_study(doses=[500, 1000]))
    assert done.exit_code == 0, done.stderr
    assert "\n1000: 2 missing, the same as 500\n" in done.stdout
    assert "\n1000|dense: 21 missing, the same as 500|dense\n" in done.stdout
    told = [line.split()[1] for line in done.stdout.splitlines() if "(never made)" in line]
    views = {place for place in told if "|" in place}
    assert views == {f"500|{view}" for view in load_study(write_study()).views}
    assert len(told) == 4 + 2 + 21 * len(views), "each that differs is told product by product"


def test_a_bad_study_file_says_where_its_rules_are(write_study):
    done = _invoke("plan", "--study", write_study(patch_size=63))
    assert "patch_size" not in done.stderr.split("next:")[1]
    assert done.stderr.endswith(
        "; next: mend the file; `fly64 schema study` says what each key may hold\n"
    )


@pytest.mark.parametrize(
    ("variable", "named", "advice"),
    [
        (INSTANCE_VARIABLE, "nowhere.yaml", "set FLY64_INSTANCE to others; docs/postgres.md"),
        (STUDY_VARIABLE, "nowhere.yaml", "mend what names it: --study, FLY64_STUDY"),
        (RESULTS_VARIABLE, "a_file.yaml", "set FLY64_RESULTS to another folder"),
    ],
)
def test_what_is_no_study_file_has_advice_of_its_own(
    variable, named, advice, write_study, monkeypatch, tmp_path
):
    monkeypatch.setenv(STUDY_VARIABLE, str(write_study()))
    (tmp_path / "a_file.yaml").touch()
    monkeypatch.setenv(variable, str(tmp_path / named))
    done = _invoke("run", "--all")
    assert done.exit_code == 2 and "schema study" not in done.stderr, done.stderr
    assert advice in done.stderr.split("; next: ")[1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"doses": 1000}, "doses: a list is wanted, such as [1, 2], got 1000"),
        ({"doses": ["1_000"]}, "doses.0: Input should be a valid integer, got '1_000'; to YAML"),
        ({"ptychopinn": {"learning_rate": "0.001"}}, "to YAML that is text: write 0.001"),
        ({"views": {"dense": 0.7}}, "views.dense: a section is wanted: keys with their values"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_words_of_yaml(change, told, write_study):
    done = _invoke("plan", "--study", write_study(**change))
    assert done.exit_code == 2 and told in done.stderr, done.stderr


def test_a_study_that_extends_a_missing_one_names_both(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: none.yaml\nname: mine\n", "utf-8")
    done = _invoke("plan", "--study", tmp_path / "mine.yaml")
    assert done.exit_code == 2
    assert "mine.yaml: extends: 'none.yaml' does not exist; it is relative to" in done.stderr


def test_an_infeasible_view_says_what_to_change(write_study):
    done = _invoke("plan", "--study", write_study(overlap={"min_groups": 500}))
    assert done.exit_code == 2 and "next: change the view" in done.stderr, done.stderr


def test_advice_is_not_given_twice():
    assert with_next_step("x: `fly64 run` first", "y") == "x: `fly64 run` first"
    assert with_next_step("x: use --force", "y") == "x: use --force"
    assert with_next_step("x; or move z aside to begin anew", "y").endswith("anew")
    assert with_next_step("x", "y") == "x; next: y"
