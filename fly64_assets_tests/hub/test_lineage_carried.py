"""``fly64 lineage`` of a file in no store and no hub: what it carries, what lies beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fly64_assets.cli.lineage_command import lineage
from fly64_assets.ptychography.data001.npz import write_npz
from fly64_assets.study.hashing import sha256_of
from fly64_assets_tests.ptychography.foreign_files import MEASURED, run_import


def call(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(lineage, [str(a) for a in arguments])
    return done.exit_code, done.output


DEEP = "[" * 200_000
BROKEN = {
    '{"transformations": [{"inputs": ["a", "b"]}]}': "transformations[0].inputs: is a list",
    '{"transformations": [{}, {"inputs": 5}]}': "transformations[1].inputs: is a number",
    '{"transformations": [{"inputs": "a"}]}': "transformations[0].inputs: is a text",
    '{"transformations": [{"inputs": {"a": 5}}]}': "inputs['a']: is 5, a sha256 of 64",
    '{"transformations": [{"inputs": {"a": "b"}}]}': "inputs['a']: is 'b', a sha256 of 64",
    '{"transformations": [{"inputs": {"a": null}}]}': "inputs['a']: is null, a sha256 of 64",
    '{"transformations": [5]}': "transformations[0]: is a number, a record is an object",
    '{"transformations": [{"tool": "\\ud800"}]}': "text that is no Unicode",
    '{"transformations": {}}': "carries no transformations of its own",
    '{"transformations": ' + "[" * 500 + "]" * 500 + "}": "nested more than 64 levels",
    DEEP: "nested more than 64 levels",
    "{": "carries no transformations of its own",
}


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:44])
@pytest.mark.parametrize("container", ["json", "npz"])
def test_records_that_are_no_provenance_are_one_line_of_error(tmp_path, text, container):
    path = tmp_path / f"hostile.{container}"
    if container == "npz":
        write_npz(path, {"_metadata": np.array(text)})
    else:
        path.write_text(text, "utf-8")
    for arguments in ((path,), (path, "--json")):
        code, output = call(*arguments)
        (line,) = output.splitlines()
        assert code == 2
        assert line.startswith(f"error: {path}: ") and BROKEN[text] in line


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path):
    source = Path("/proc/self/mem")  # not even root may read its first bytes
    if not source.exists():
        pytest.skip("no /proc here")
    (tmp_path / "closed.json").symlink_to(source)
    code, output = call(tmp_path / "closed.json")
    assert code == 2 and "closed.json: cannot be read: " in output


def test_an_imported_file_is_compared_with_its_source_where_that_lies_beside_it(tmp_path):
    source, imported = tmp_path / "scan.npz", tmp_path / "imported.npz"
    shutil.copyfile(MEASURED, source)
    run_import(source, imported)
    sha256 = sha256_of(source)

    def told(file: Path) -> tuple[int, dict, str]:
        code, output = call(file)
        content = json.loads(call(file, "--json")[1])
        assert content["holds"] is (code == 0)
        return code, content, output

    code, content, text = told(imported)
    assert code == 0 and content["files"] == {"matches": 1}
    assert content["beside"] == [
        {"path": "scan.npz", "sha256": sha256, "state": "matches", "sha256_on_disk": sha256}
    ]
    assert f"| matches  scan.npz  {sha256[:12]}" in text
    last = text.splitlines()[-1]
    assert last == "1 transformation; in no store and no hub; sources beside it: 1 matches"

    with source.open("ab") as file:
        file.write(b"\0")
    code, content, text = told(imported)
    assert code == 1 and content["files"] == {"ALTERED": 1}
    assert f"| ALTERED  scan.npz  {sha256[:12]}, on disk {sha256_of(source)[:12]}" in text

    # Elsewhere, under the source's own name, it is not its own source.
    (tmp_path / "away").mkdir()
    moved = imported.rename(tmp_path / "away" / "scan.npz")
    code, content, text = told(moved)
    assert code == 0 and content["beside"] == []
    assert f"| from scan.npz {sha256[:12]}" in text
    last = text.splitlines()[-1]
    assert last == "1 transformation; in no store and no hub; none of its sources lies beside it"


def test_only_what_lies_beside_a_file_is_compared(tmp_path):
    (tmp_path / "sub").mkdir()
    names = ["../secret", "sub/secret", str(tmp_path / "secret"), "sub", "..", ".", "", "a\0b"]
    for place in (tmp_path, tmp_path / "sub"):
        (place / "secret").write_text("x")
    record = {"tool": "import", "inputs": dict.fromkeys(names, "0" * 64)}
    path = tmp_path / "sub" / "own.json"
    path.write_text(json.dumps({"transformations": [record]}), "utf-8")
    assert json.loads(call(path, "--json")[1])["beside"] == []
    assert call(path)[0] == 0
