"""What the web UI's server hands out of a study's folders, and what it never does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from fly64_assets.pipeline.store import served_address
from fly64_assets.reports.study.page import _environment
from fly64_assets.runs.servers.served_files import LOCKED, report_policy, routes

SECRET = b"secret"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A folder of results with what may be read, what may not, and ways from one to the other."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    files = {
        "store/study/study_report.html": b"<p>report</p>",
        "store/study/other.html": b"<script>1</script>",
        "store/a b/100%|x.png": b"png",
        "pictures/test.comparison/1000_dense/look.svg": b"<svg/>",
        **{f"store/x/file{kind}": b"1" for kind in (".json", ".csv", ".txt", ".log", ".md")},
        **{f"store/x/file{kind}": b"1" for kind in (".npz", ".pdf", ".keras", ".parquet", "")},
        **{
            f"store/{hidden}/x/file.txt": SECRET
            for hidden in (".staging", ".locks", ".checkpoints")
        },
        "store/x/.hidden.txt": SECRET,
        "dagster/history/runs.db": SECRET,
        "pictures.txt": SECRET,
        "storehouse/file.txt": SECRET,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    links = {"out.txt": "../../dagster/history/runs.db", "up": "../..", "hid.txt": ".hidden.txt"}
    for name, target in {**links, "ring": "ring", "dev": "/dev/zero"}.items():
        (folder / "store/x" / name).symlink_to(target)
    (folder / "store/x/within.txt").symlink_to("file.txt")
    os.mkfifo(folder / "store/x/pipe")
    return folder


def ask(results: Path, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, of a path as it stands in a request."""
    app, sent = Starlette(routes=routes(results)), []
    scope = {"type": "http", "method": method, "path": unquote(path), "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": [], "http_version": "1.1", "root_path": ""}

    async def receive():
        return await asyncio.Event().wait()  # the other side stays

    async def send(message):
        sent.append(message)

    asyncio.run(app({**scope, "scheme": "http", "server": ("127.0.0.1", 3000)}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(one.get("body", b"") for one in sent[1:])


@pytest.mark.parametrize(
    "name, kind",
    [
        ("file.json", "application/json"),
        ("file.csv", "text/csv; charset=utf-8"),
        *((f"file{one}", "text/plain; charset=utf-8") for one in (".txt", ".log", ".md")),
        ("within.txt", "text/plain; charset=utf-8"),
        ("file.pdf", "application/pdf"),
        *((f"file{one}", "application/octet-stream") for one in (".npz", ".keras", "")),
    ],
)
def test_a_file_of_the_store_is_what_it_is_and_can_do_nothing(results, name, kind):
    status, headers, body = ask(results, served_address(f"store/x/{name}"))
    assert (status, body) == (200, b"1")
    assert headers["content-type"] == kind
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == LOCKED and "sandbox" in LOCKED
    shown = kind.startswith("text/") or kind == "application/json"
    assert ("attachment" in headers.get("content-disposition", "")) is not shown


def test_pictures_and_names_that_need_escaping(results):
    for path, kind in {
        "pictures/test.comparison/1000_dense/look.svg": "image/svg+xml",
        "store/a b/100%|x.png": "image/png",
    }.items():
        status, headers, body = ask(results, served_address(path))
        assert (status, body) == (200, (results / path).read_bytes())
        assert headers["content-type"] == kind and headers["content-security-policy"] == LOCKED


def test_the_report_runs_its_own_script_alone(results):
    status, headers, _ = ask(results, "/fly64/report")
    assert status == 307
    status, headers, _ = ask(results, headers["location"])
    policy = headers["content-security-policy"]
    assert status == 200 and policy == report_policy()
    assert "unsafe-inline" not in re.search("script-src[^;]*", policy)[0]
    assert "default-src 'none'" in policy and "allow-same-origin" not in policy
    other = ask(results, served_address("store/study/other.html"))[1]
    assert other["content-security-policy"] == LOCKED


def test_the_reports_script_is_the_one_that_the_policy_names():
    """Of the template as it is rendered; the browser's test sees it run."""
    template = _environment().get_template("study_report.html.j2")
    source, _, _ = _environment().loader.get_source(_environment(), "study_report.html.j2")
    assert source.count("<script") == 1
    tail = _environment().from_string(source[source.index("<script>") :])
    script = re.search("<script>(.*)</script>", tail.render(), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert template and f"'sha256-{digest}'" in report_policy()


OUT = [
    *(f"store/{hidden}/x/file.txt" for hidden in (".staging", ".locks", ".checkpoints")),
    *(f"store/x/{name}" for name in (".hidden.txt", "hid.txt", "out.txt", "ring", "dev", "pipe")),
    "store/x/up/dagster/history/runs.db",
    "store/x/up/store/x/.hidden.txt",
    "store/",
    "store/x",
    "store/x/none.txt",
    "pictures.txt",
    "pictures/",
    "dagster/history/runs.db",
    "store/" + "a" * 5000,
    "store/x/file.txt%00.png",
    "store/x/file.txt/more",
    "store//etc/passwd",
]
CLIMBS = (
    "..",
    "%2e%2e",
    "%2E.",
    "..%2f",
    "%2e%2e%2f",
    "..%5c",
    "%252e%252e",
    "x/../..",
    "./..",
    "/..",
)
OUT += [f"store/{up}/{to}" for up in CLIMBS for to in ("dagster/history/runs.db", "pictures.txt")]
OUT += [f"store/{up}house/file.txt" for up in ("..%2fstore", "x/../../store")]


@pytest.mark.parametrize("path", OUT)
def test_nothing_else_is_handed_out(results, path):
    status, _, body = ask(results, f"/fly64/{path}")
    assert status == 404 and SECRET not in body, path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_written(results, method):
    assert ask(results, "/fly64/store/x/file.txt", method)[0] == 405


def test_before_the_first_result_there_is_nothing(tmp_path):
    assert ask(tmp_path / "none", "/fly64/store/x/file.txt")[0] == 404


PARTS = [".", "..", "x", "up", "store", "dagster", "history", "runs.db", ".locks", "file.txt", ""]
PARTS += ["%2e%2e", "%2f", "%5c", "~", "pictures", "within.txt", ".hidden.txt", "%00", "out.txt"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["store", "pictures"]), st.lists(st.sampled_from(PARTS), max_size=7))
def test_no_path_leads_out(results, folder, parts):
    status, _, body = ask(results, f"/fly64/{folder}/" + "/".join(parts))
    assert SECRET not in body and status in (200, 404)
