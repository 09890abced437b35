"""What a page of another origin can do to the study whose UI runs: nothing; and the served report.

The page does in a real browser what any page may try while somebody has it open. That it would
have worked is seen with Dagster's own web server, on a copy.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from dagster import DagsterInstance

from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.pipeline.records import Record
from fly64_assets.pipeline.store import RESULTS_VARIABLE, results_folder
from fly64_assets_tests.browser import page_of
from fly64_assets_tests.conftest import PRODUCTS, copy_results
from fly64_assets_tests.in_browser.test_web_ui import (  # noqa: F401
    AT,
    Served,
    results_of_the_served_study,
    served,
)
from fly64_assets_tests.servers import free_port, wait_for

pytestmark = pytest.mark.browser

WIPE = """mutation {wipeAssets(assetPartitionRanges: [{assetKey: {path: ["specimen"]}}])
    {__typename}}"""
PAGE = """<!doctype html><title>trying</title><body>
<iframe name="inner"></iframe><iframe name="other"></iframe>
<script>
const origin = ORIGIN, wipe = WIPE, body = JSON.stringify({query: wipe});
const get = origin + "/graphql?query=" + encodeURIComponent(wipe);
const settled = [], tried = {};
const note = (name, promise) => settled.push(promise.then(
    value => { tried[name] = "" + value; }, error => { tried[name] = "refused: " + error; }));
const loaded = element => new Promise(done => {
    element.onload = element.onerror = event => done(event.type);
    document.body.append(element);
});
const made = (tag, more) => Object.assign(document.createElement(tag), more);
note("picture", loaded(made("img", {src: get})));
note("script", loaded(made("script", {src: get})));
note("style", loaded(made("link", {rel: "stylesheet", href: get})));
note("frame", loaded(made("iframe", {src: get})));
for (const [enctype, target] of [["application/x-www-form-urlencoded", "inner"],
                                 ["text/plain", "other"]]) {
    const form = made("form", {method: "post", action: get, enctype, target});
    form.append(made("input", {name: body.slice(0, -1) + ', "x": "', value: '"}'}));
    document.body.append(form);
    form.submit();
}
const post = {method: "POST", body, credentials: "include"};
const json = {headers: {"Content-Type": "application/json"}};
note("fetch", fetch(origin + "/graphql", {...post, ...json}).then(one => one.text()));
note("fetch with GET", fetch(get).then(one => one.text()));
note("fetch without CORS", fetch(origin + "/graphql", {...post, mode: "no-cors"}));
note("fetch without CORS, GET", fetch(get, {mode: "no-cors"}));
note("report", fetch(origin + "/report_asset_materialization/specimen",
    {method: "POST", mode: "no-cors"}));
note("report as JSON",
    fetch(origin + "/report_asset_materialization/specimen", {...post, ...json}));
navigator.sendBeacon(get, body);
note("socket", new Promise(done => {
    const socket = new WebSocket(origin.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => {
        socket.send(JSON.stringify({type: "connection_init"}));
        socket.send(JSON.stringify({type: "start", id: "1", payload: {query: wipe}}));
        setTimeout(() => done("opened"), 500);
    };
    socket.onerror = () => done("closed");
}));
Promise.all(settled).then(() => setTimeout(() => {
    document.title = "done";
    window.tried = tried;
}, 1500));
</script>"""


@contextmanager
def page_elsewhere(origin: str) -> Iterator[str]:
    """The page's address, on another port of this machine."""
    content = PAGE.replace("ORIGIN", json.dumps(origin)).replace("WIPE", json.dumps(WIPE)).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def let_it_try(browser, origin: str) -> dict[str, str]:
    """Open the page and wait until it has tried everything: what came of each."""
    with page_elsewhere(origin) as address, page_of(browser, timeout_s=60) as page:
        page.goto(address)
        page.wait_for_function("document.title == 'done'")
        return page.evaluate("tried")


def records(context, instance: DagsterInstance) -> dict[tuple[str, ...], Record | None]:
    ledger = context.ledger(instance)
    return {item.key: ledger.latest(item, AT.restricted_to(item.per)) for item in PRODUCTS}


@contextmanager
def dagsters_own(folder: Path) -> Iterator[str]:
    """`dagster-webserver` of an instance, as Dagster ships it: its origin."""
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "--empty-workspace", "-p", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "DAGSTER_HOME": str(folder)}, cwd=folder)

    def is_ready() -> bool:
        try:
            return urlopen(f"http://127.0.0.1:{port}/server_info", timeout=10).status == 200
        except OSError:
            return False

    try:
        wait_for("dagster-webserver", is_ready, 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_a_page_of_another_origin_changes_nothing(served, browser):  # noqa: F811
    before = records(served.context, served.instance)
    assert before["specimen",] is not None
    tried = let_it_try(browser, served.ui.origin)
    assert records(served.context, served.instance) == before
    assert tried["socket"] == "closed" and tried["picture"] == "error"
    for name in ("fetch", "fetch with GET", "report as JSON"):
        assert tried[name].startswith("refused: "), tried[name]
    # And a page of the UI itself may, by the same means.
    answer = served.ui.ask(WIPE.replace("specimen", "nothing_of_the_kind"))
    assert answer["wipeAssets"]["__typename"]


def test_the_same_page_wipes_records_where_nothing_is_guarded(
    served,  # noqa: F811
    browser,
    tmp_path,
    monkeypatch,
):
    results = served.context.store.root.parent.parent
    copy_results(results, tmp_path / "copy")
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "copy"))
    study = served.context.study
    with dagsters_own(results_folder(study) / "dagster") as origin:
        with read_only_instance(study) as instance:
            assert records(served.context, instance)["specimen",] is not None
        let_it_try(browser, origin)
        with read_only_instance(study) as instance:
            assert records(served.context, instance)["specimen",] is None


def test_the_served_report_works_and_asks_for_nothing(served, page):  # noqa: F811
    page.goto(served.address("/fly64/report"))
    assert page.url.endswith("/fly64/" + quote("store/study/study_report.html"))
    box = page.locator("section.compare").first
    box.wait_for()  # its script has shown it
    box.locator("input[type=range]").fill("25")
    divided = "stage => stage.style.getPropertyValue('--at')"
    assert box.locator(".stage").evaluate(divided) == "25%"
    assert page.evaluate("window.origin") == "null"
    assert all(one.startswith((served.ui.origin, "data:")) for one in page.seen.requests)
