"""The web UI as its user has it: `fly64 ui` of a finished study, clicked through in a browser.

What a click did is read from the records of the study, not from the page alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus

from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.instance import read_only_instance
from fly64_assets.pipeline.records import Record
from fly64_assets.pipeline.store import RESULTS_VARIABLE
from fly64_assets.pipeline.targets import CHECK_JOBS, JOBS
from fly64_assets.runs.automation import SCHEDULE
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import FILES, Product, product
from fly64_assets_tests.conftest import PRODUCTS, TINY
from fly64_assets_tests.servers import LAUNCH_RUN, REPOSITORIES, SCHEDULES, Ui, ui_of, wait_for

pytestmark = pytest.mark.browser

AT, NEW = Condition(1000, "dense"), Condition(1000, "half")
VIEWS = {"dense": {"target_overlap": 0.7}, "half": {"target_overlap": 0.5}}
"""A second view, so that there is something to choose; nothing of it is made yet."""
NEVER = {"cron": "0 0 29 2 *"}
"""The schedule is switched on in a test, and never due."""
RUN_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class Served:
    """A finished study that the tests may change, its UI, and its records to read."""

    ui: Ui
    context: StudyContext
    instance: DagsterInstance

    def address(self, path: str) -> str:
        return f"{self.ui.origin}{path}"

    def latest(self, item: Product, condition: Condition) -> Record | None:
        return self.context.ledger(self.instance).latest(item, condition)

    def ended(self, run_id: str) -> DagsterRunStatus:
        """How a run ended, waited for."""

        def status() -> DagsterRunStatus | None:
            run = self.instance.get_run_by_id(run_id)
            return run.status if run and run.is_finished else None

        return wait_for(f"run {run_id}", status, RUN_TIMEOUT_S)

    @property
    def repository(self) -> dict[str, str]:
        (node,) = self.ui.ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
        return {
            "repositoryName": node["name"],
            "repositoryLocationName": node["location"]["name"],
        }

    def schedule_is(self, status: str) -> bool:
        found = self.ui.ask(SCHEDULES, repository=self.repository)["schedulesOrError"]["results"]
        return [one["scheduleState"]["status"] for one in found] == [status]

    def evaluate(self, item: Product, check: str, condition: Condition) -> DagsterRunStatus:
        """Run one check of one partition anew, by the web UI's own interface.

        Its button is for checks without partitions only.
        """
        params = {
            "mode": "default",
            "executionMetadata": {
                "tags": [{"key": "dagster/partition", "value": condition.partition_key}]
            },
            "runConfigData": "{}",
            "selector": {
                **self.repository,
                "pipelineName": CHECK_JOBS["condition"],
                "assetSelection": [],
                "assetCheckSelection": [{"assetKey": {"path": list(item.key)}, "name": check}],
            },
        }
        answer = self.ui.ask(LAUNCH_RUN, executionParams=params)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return self.ended(answer["run"]["runId"])


@pytest.fixture(scope="module")
def served(browser, finished, tmp_path_factory) -> Iterator[Served]:
    """Asks for the browser first: without one nothing is started."""
    folder = tmp_path_factory.mktemp("served")
    file, results = folder / "study.yaml", folder / "results"
    file.write_text(yaml.safe_dump({**TINY, "views": VIEWS, "automation": NEVER}), "utf-8")
    finished.copy_to(results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RESULTS_VARIABLE, str(results))
        context = StudyContext.load(file)
        with ui_of(file, results) as ui, read_only_instance(context.study) as instance:
            yield Served(ui, context, instance)


@pytest.fixture(autouse=True)
def results_of_the_served_study(served, private_results, monkeypatch) -> None:
    monkeypatch.setenv(RESULTS_VARIABLE, str(served.context.store.root.parent.parent))


def no_complaint(page) -> None:
    """None of the UI's own notices of an error is on the page."""
    for words in ("Unexpected error", "An unexpected error", "Something went wrong"):
        assert not page.get_by_text(words).count(), words
    assert not page.locator(".bp5-toast.bp5-intent-danger").count()


def test_starting_tells_nothing_that_the_user_could_not_act_on(served):
    said = (served.context.store.root.parent.parent / "ui.log").read_text("utf-8")
    for words in ("superseded", "will not be used to configure Dagster", "Traceback"):
        assert words not in said


def test_the_graph_shows_every_group(served, page):
    page.goto(served.address("/asset-groups"))
    for group in sorted({item.group for item in PRODUCTS}):
        # In the list and in the graph; what the page measures texts with is not to be seen.
        page.get_by_text(group, exact=True).filter(visible=True).nth(1).wait_for()
    no_complaint(page)


def launch(page) -> str:
    """Press what launches one run; its beginning, as the notice says it."""
    page.get_by_role("button", name="Launch 1 run").click()
    notice = page.get_by_text("Launched run")
    notice.wait_for()
    return notice.inner_text().split()[2]


def run_of(served: Served, start: str) -> str:
    (run_id,) = [one for one in served.instance.get_run_ids() if one.startswith(start)]
    return run_id


def test_a_dose_and_a_view_are_chosen_and_made_by_clicking(served, page):
    item = product("train", "overlap_view")
    assert served.latest(item, NEW) is None
    old = served.latest(item, AT)
    page.goto(served.address("/assets/train/overlap_view"))
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    for key in (str(NEW.dose), NEW.view):
        dialog.get_by_text("Select a partition or create one").first.click()
        page.get_by_role("menuitem").filter(has_text=key).last.click()
        page.keyboard.press("Tab")
        dialog.get_by_text("Launch runs to materialize").click()
    dialog.get_by_text("1 partition", exact=True).wait_for()
    run_id = run_of(served, launch(page))
    assert served.ended(run_id) is DagsterRunStatus.SUCCESS
    made = served.latest(item, NEW)
    assert made is not None and made.run_id == run_id
    assert all((served.context.store.root / path).is_file() for path in made.provenance.files)
    assert served.latest(item, AT) == old
    page.goto(served.address(f"/assets/train/overlap_view?partition={NEW.partition_key}"))
    page.get_by_text(NEW.partition_key).first.wait_for()
    page.goto(served.address(f"/runs/{run_id}"))
    page.get_by_text("Success", exact=True).first.wait_for()
    no_complaint(page)


def test_a_check_that_passed_fails_after_the_file_was_altered(served, page):
    item, check = product("test", "ptychi_reconstruction"), FILES
    address = served.address(f"/assets/test/ptychi_reconstruction?view=checks&checkDetail={check}")
    page.goto(address)
    page.get_by_text("Passed", exact=True).first.wait_for()
    shown = page.get_by_text("Succeeded", exact=True)
    shown.first.wait_for()
    assert shown.count() == len(item.checks)
    path = served.context.store.path(item, AT, "ptychi_reconstruction.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    served.evaluate(item, check, AT)
    states = served.context.ledger(served.instance).checks(served.latest(item, AT))
    assert [one.name for one in states if not one.passed] == [check]
    page.goto(address)
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.get_by_role("tab", name="Partitions").last.click()
    for words in ("Failed (1)", "Missing (1)", "Passed (0)"):
        page.get_by_text(words, exact=True).wait_for()
    no_complaint(page)


def test_the_timeline_shows_runs_of_the_command_line(served, page):
    page.goto(served.address("/timeline"))
    for name in JOBS.values():
        page.get_by_role("link", name=name).first.wait_for()
    no_complaint(page)


def test_execute_all_evaluates_the_checks_of_what_was_made(served, page):
    item = product("train", "overlap_view")
    before = set(served.instance.get_run_ids())
    page.goto(served.address("/assets/train/overlap_view?view=checks"))
    page.get_by_text("One evaluation a partition").first.wait_for()
    page.get_by_role("button", name="Execute all").click()

    def begun() -> set[str]:
        return set(served.instance.get_run_ids()) - before

    (run_id,) = wait_for("its run", begun, RUN_TIMEOUT_S)
    assert served.ended(run_id) is DagsterRunStatus.SUCCESS
    states = served.context.ledger(served.instance).checks(served.latest(item, AT))
    assert all(one.passed for one in states) and len(states) == len(item.checks)
    no_complaint(page)


def test_the_schedule_is_switched_on_by_its_switch(served, page):
    from playwright.sync_api import expect

    page.goto(served.address("/automation"))
    name = page.get_by_text(SCHEDULE, exact=True)
    name.wait_for()
    row = name.locator("xpath=ancestor::*[count(.//input[@type='checkbox'])=2][1]")
    switch = row.locator("input[type=checkbox]").last
    for before, after in (("STOPPED", "RUNNING"), ("RUNNING", "STOPPED")):
        assert served.schedule_is(before) and switch.is_checked() is (before == "RUNNING")
        switch.locator("xpath=ancestor::label").click()  # the input itself is not to be seen
        wait_for(f"the schedule to be {after}", partial(served.schedule_is, after), 30)
        expect(switch).to_be_checked(checked=after == "RUNNING")
    no_complaint(page)


def test_a_materialization_shows_its_picture(served, page):
    page.goto(served.address("/assets/test/comparison"))
    # Markdown of less than 1,000 characters is shown at once.
    picture = page.locator("img[src^='/fly64/']").first
    picture.wait_for()
    width, height = picture.evaluate("one => [one.naturalWidth, one.naturalHeight]")
    assert width >= 400 and height >= 200
    no_complaint(page)
