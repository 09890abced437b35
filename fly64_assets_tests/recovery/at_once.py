"""Command lines, clicks, backfills and nights on the same partitions at once, stopped at random.

``python -m fly64_assets_tests.recovery.at_once`` (a part of ``make test-all``). For some minutes
somebody runs ``fly64 run``, clicks on assets and checks in the UI, starts backfills, and the night
begins every minute; commands get signals, runs are terminated. Afterwards one ``fly64 run --all``
has to complete the study, with an undisturbed run's data in every materialization there ever was.
"""

from __future__ import annotations

import argparse
import collections
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from dagster import DagsterRunStatus, RunsFilter

from fly64_assets.errors import InProgress
from fly64_assets.pipeline.partitions import dagster_key
from fly64_assets.pipeline.targets import UNFINISHED, started_by
from fly64_assets.runs.automation import SCHEDULE
from fly64_assets.runs.events import failures_of
from fly64_assets.runs.interrupts import EXIT_CODE
from fly64_assets.study.conditions import conditions_of
from fly64_assets.study.products import ALL_LEVELS, Product
from fly64_assets_tests.conftest import PRODUCTS, TINY
from fly64_assets_tests.recovery.daemon_kinds import processes_of
from fly64_assets_tests.recovery.site import Place, Site, all_materializations
from fly64_assets_tests.recovery.soak import comparable
from fly64_assets_tests.servers import (
    LAUNCH_BACKFILL,
    LAUNCH_RUN,
    REPOSITORIES,
    START_SCHEDULE,
    Ui,
    ui_of,
    wait_for,
)

STUDY = {**TINY, "doses": [1000, 2000], "automation": {"cron": "* * * * *", "tries": 3}}
GAP_S = (1.0, 15.0)
COMMANDS = 3
"""``fly64 run`` at once, at most."""
LISTENS_S = 5.0
"""A signal that meets a program before it listens ends it as it ends any other."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TERMINATE = """
mutation Terminate($runId: String!) { terminateRun(runId: $runId) { __typename } }
"""
STOP_SCHEDULE = """
mutation Stop($id: String!) { stopRunningSchedule(id: $id) { __typename } }
"""
SCHEDULE_ID = """
query Id($selector: ScheduleSelector!) {
  scheduleOrError(scheduleSelector: $selector) { ... on Schedule { scheduleState { id } } }
}
"""


@dataclass
class Crowd:
    """Everybody who works on one study at once, and what came of it."""

    site: Site
    ui: Ui
    draw: random.Random
    commands: list[tuple[subprocess.Popen, Path, float]] = field(default_factory=list)
    done: collections.Counter = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    signalled: set[int] = field(default_factory=set)

    @property
    def repository(self) -> dict[str, str]:
        (node,) = self.ui.ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
        location = node["location"]["name"]
        return {"repositoryName": node["name"], "repositoryLocationName": location}

    def act(self) -> None:
        """Do one thing at random."""
        actions = [self.run, self.run, self.click, self.backfill, self.check_all]
        actions += [self.signal, self.signal, self.terminate]
        action = self.draw.choice(actions)
        self.done[action.__name__] += action()

    def run(self) -> int:
        """``fly64 run``, in a terminal of its own."""
        self.look()
        if len(self.commands) >= COMMANDS:
            return 0
        which = self.draw.choice([("--all",), ("--dose", "1000"), ("--dose", "2000")])
        command = self.site.command("run", *which)
        log = self.site.results.parent / f"command-{self.done['run']}.log"
        with log.open("wb") as output:
            run = subprocess.Popen(
                command,
                env=self.site.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.commands.append((run, log, time.monotonic()))
        return 1

    def look(self, *, wait: float = 0.0) -> None:
        """Judge the commands that have ended: with 0, with 130 when asked to, or with a reason."""
        left = []
        for run, log, begun in self.commands:
            try:
                code = run.wait(wait or 0.01)
            except subprocess.TimeoutExpired:
                left.append((run, log, begun))
                continue
            told = log.read_text("utf-8", "replace")
            asked = run.pid in self.signalled
            self.done[f"command ended with {code}{' after a signal' if asked else ''}"] += 1
            if (code == EXIT_CODE) is not asked and not (asked and code in (0, 1)):
                self.wrong.append(f"{log.name}: exit code {code}: {told[-300:]}")
            if "Traceback" in told:
                self.wrong.append(f"{log.name}: {told[-600:]}")
            if code == 1 and not asked:
                said = [one for one in told.splitlines() if one.startswith(("left", "failed"))]
                self.done.update(said)
        self.commands = left

    def signal(self) -> int:
        """Ctrl-C, a hang-up or an end, of a command or of all of its processes; once or twice."""
        self.look()
        if not self.commands:
            return 0
        run, _, begun = self.draw.choice(self.commands)
        send, number = self.draw.choice([os.kill, os.killpg]), self.draw.choice(SIGNALS)
        if time.monotonic() < begun + LISTENS_S:
            return 0
        self.signalled.add(run.pid)
        for _ in range(self.draw.choice([1, 1, 2])):
            with suppress(ProcessLookupError):
                send(run.pid, number)
            time.sleep(self.draw.choice([0.0, 0.3]))
        return 1

    def launch(self, assets: list[Product], checks: list[Product], partition) -> int:
        """What the UI's buttons launch: assets of a partition, or checks of none."""
        tags = [] if partition is None else [{"key": "dagster/partition", "value": str(partition)}]
        chosen = [
            {"assetKey": {"path": list(item.key)}, "name": name}
            for item in checks
            for name in item.checks
        ]
        params = {
            "mode": "default",
            "executionMetadata": {"tags": tags},
            "runConfigData": "{}",
            "selector": {
                **self.repository,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": list(item.key)} for item in assets],
                "assetCheckSelection": chosen,
            },
        }
        answer = self.ui.ask(LAUNCH_RUN, executionParams=params)["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            self.wrong.append(f"launch: {answer}")
        return 1

    def click(self) -> int:
        """Materialize one level of one partition, or one of its assets."""
        with self.site.opened() as (context, _):
            level = self.draw.choice(ALL_LEVELS)
            items = list(level.products_in(context.study))
            at = self.draw.choice(conditions_of(context.study, level.per))
        chosen = items if self.draw.random() < 0.5 else [self.draw.choice(items)]
        if any(item.key[-1] == "dataset" for item in chosen):
            chosen = [item for item in PRODUCTS if item.key[-1] == "dataset"]
        return self.launch(chosen, [], dagster_key(at))

    def check_all(self) -> int:
        """Press "Execute all" on the Checks tab of an asset."""
        item = self.draw.choice([item for item in PRODUCTS if item.checks])
        return self.launch([], [item], None)

    def backfill(self) -> int:
        """Everything of conditions for one dose or both, or their datasets."""
        per, keys = self.draw.choice(
            [("dose", ["1000"]), ("dose", ["1000", "2000"]), ("condition", ["1000|dense"])]
        )
        of = [item for item in PRODUCTS if item.per == per and item.stage == "score"]
        params = {
            "tags": [],
            "assetSelection": [{"path": list(item.key)} for item in of],
            "partitionNames": keys,
            "fromFailure": False,
        }
        answer = self.ui.ask(LAUNCH_BACKFILL, backfillParams=params)["launchPartitionBackfill"]
        if answer["__typename"] != "LaunchBackfillSuccess":
            self.wrong.append(f"backfill: {answer}")
        return 1

    def terminate(self) -> int:
        """The button Terminate, of a run at work or in the queue."""
        with self.site.opened() as (_, instance):
            runs = instance.get_run_ids(RunsFilter(statuses=list(UNFINISHED)))
        if not runs:
            return 0
        self.ui.ask(TERMINATE, runId=self.draw.choice(runs))
        return 1

    def switch(self, *, on: bool) -> None:
        selector = {**self.repository, "scheduleName": SCHEDULE}
        if on:
            self.ui.ask(START_SCHEDULE, selector=selector)
            return
        found = self.ui.ask(SCHEDULE_ID, selector=selector)["scheduleOrError"]
        self.ui.ask(STOP_SCHEDULE, id=found["scheduleState"]["id"])

    def is_quiet(self) -> bool:
        with self.site.opened() as (_, instance):
            return not instance.get_run_ids(RunsFilter(statuses=list(UNFINISHED)))


def reasons(site: Site) -> collections.Counter:
    """Who started the runs that failed, and what they say."""
    found: collections.Counter = collections.Counter()
    with site.opened() as (_, instance):
        for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE])):
            who = started_by(run).split()[1]
            for failure in failures_of(instance, run)[:1]:
                found[f"{who}: {failure.step}: {failure.error}: {failure.text[:160]}"] += 1
    return found


def locks_held(store: Path) -> list[str]:
    held = []
    for path in sorted((store / ".locks").iterdir()):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path.name)
    return held


@contextmanager
def crowd_at(site: Site, draw: random.Random) -> Iterator[Crowd]:
    with ui_of(site.study_file, site.results) as ui:
        crowd = Crowd(site, ui, draw)
        try:
            yield crowd
        finally:
            for run, _, _ in crowd.commands:
                with suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
                run.wait()


def play(site: Site, known: dict[Place, str], seed: int, minutes: float) -> dict:
    """All at once for some minutes, then the judgement: what was done, and what was wrong."""
    end = time.monotonic() + 60 * minutes
    with crowd_at(site, random.Random(seed)) as crowd:
        crowd.switch(on=True)
        while time.monotonic() < end:
            crowd.act()
            time.sleep(crowd.draw.uniform(*GAP_S))
        crowd.switch(on=False)
        wait_for("the commands", lambda: crowd.look() or not crowd.commands, 1800)
        wait_for("the runs", crowd.is_quiet, 3600, interval=5)
    wrong = crowd.wrong
    last = subprocess.run(
        site.command("run", "--all"), env=site.environment(), capture_output=True, text=True
    )
    if last.returncode:
        wrong.append(f"the last run: exit code {last.returncode}: {last.stdout[-2000:]}")
    status = subprocess.run(
        site.command("status"), env=site.environment(), capture_output=True, text=True
    )
    if status.returncode:
        wrong.append(f"status: {status.stdout}")
    standing = site.standing()
    if standing.fresh != set(standing.made):
        wrong.append(f"not fresh: {sorted(map(str, set(standing.made) - standing.fresh))}")
    with site.opened() as (_, instance):
        every = all_materializations(instance)
    made = collections.Counter(place for place, _ in every)
    for place, one in every:
        if known.get(place, one.data_version) != one.data_version:
            wrong.append(f"{place} of run {one.run_id[:8]} has other data than the undisturbed run")
    wrong += [f"process {pid} is left" for pid in processes_of(site)]
    wrong += [f"{name} is held" for name in locks_held(site.store)]
    return {
        "seed": seed,
        "done": dict(crowd.done),
        "materializations": sum(made.values()),
        "of_places": len(made),
        "failures": dict(reasons(site).most_common()),
        "refused": InProgress.__name__,
        "wrong": wrong,
    }


def prepare(folder: Path) -> tuple[Site, dict[Place, str]]:
    """The study to play with, and an undisturbed run's data versions of it."""
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY), "utf-8")
    undisturbed = Site(file, folder / "undisturbed")
    undisturbed.results.mkdir(exist_ok=True)
    subprocess.run(
        undisturbed.command("run", "--all"),
        env=undisturbed.environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return Site(file, folder / "results"), comparable(undisturbed.standing().versions())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="at-once-") as folder:
        site, known = prepare(Path(folder))
        report = play(site, known, given.seed, given.minutes)
    print(json.dumps(report, indent=2))
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
