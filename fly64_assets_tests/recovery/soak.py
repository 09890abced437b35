"""The soak: a study over doses, views and rounds, its commands killed at random, then compared.

``python -m fly64_assets_tests.recovery.soak`` (``make soak``). Three rounds: the study, the study
with another simulation seed, which makes everything stale, and the study again. In each round
``fly64 run --all`` is started until it has finished, and killed while it is at work, the command
itself or one of its processes. After every kill nothing that was fresh may be gone and nothing may
be called fresh that is not; in the end every data version is an undisturbed run's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fly64_assets.pipeline.process_identity import ProcessIdentity, descendants
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import PROJECT_ROOT
from fly64_assets.study.products import product
from fly64_assets_tests.recovery.site import Place, Site, Standing, false_claims

STUDY = {
    "extends": str(PROJECT_ROOT / "studies" / "demo.yaml"),
    "name": "soak",
    "doses": [500, 1000, 10000],
    "views": {"dense": {"target_overlap": 0.7}, "sparse": {"target_overlap": 0.2}},
    "simulation": {"positions": 400},
    "overlap": {"n_groups": 48},
    "ptychopinn": {"epochs": 2, "samples_per_epoch": 32, "width": 8},
    "baseline": {"epochs": 2, "samples_per_epoch": 128, "width": 8},
    "ptychi": {"epochs": 4, "epochs_per_chunk": 2},
}
"""The demo, smaller in every number that costs time, over 3 doses and 2 views."""
ROUNDS = (42, 43, 42)
"""Simulation seed of each round; the first and the last are the undisturbed run's."""
GAP_S = (2.0, 90.0)
QUOTE_DRIFT = ("check_report", "hub_summary")
"""What repeats the check ``drift``, which compares with the run before: of other seeds in round 3,
of none in the undisturbed run. Instead of their data, their other statuses are compared."""
Statuses = dict[tuple[str | None, str, str], str]


def study_of(seed: int) -> dict:
    return {**STUDY, "seeds": {"simulation": seed, "grouping": 123, "subsampling": 456}}


@dataclass
class Soak:
    """One soak: its study, its random numbers and what has been counted so far."""

    folder: Path
    draw: random.Random
    deadline: float
    kills: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    outright: list[str] = field(default_factory=list)

    def site(self, name: str) -> Site:
        return Site(self.folder / "study.yaml", self.folder / name)

    def write_study(self, seed: int) -> None:
        text = yaml.safe_dump(study_of(seed))
        self.site("").study_file.write_text(text, "utf-8")

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def run(self, site: Site, *, kills: int) -> tuple[int, list[str]]:
        """One ``fly64 run --all``: its exit code, and what was killed, at most ``kills`` times."""
        run = site.start(site.command("run", "--all"), site.results.with_suffix(".log"))
        strike, victims = time.monotonic() + self.draw.uniform(*GAP_S), []
        try:
            while True:
                try:
                    return run.wait(timeout=0.2), victims
                except subprocess.TimeoutExpired:
                    pass
                if time.monotonic() > self.deadline:
                    raise SystemExit("not finished within the time allowed")
                if len(victims) < kills and time.monotonic() > strike:
                    # Not every process is missed: the command may go on, to be hit again.
                    victims += self.strike(run.pid)
                    strike = time.monotonic() + self.draw.uniform(*GAP_S)
        finally:
            run.kill()
            run.wait()

    def strike(self, pid: int) -> list[str]:
        """Kill -9 the command or one of its processes; what it was, [] when it had just ended."""
        worker = ProcessIdentity.of(pid)
        children = descendants(worker) if worker else []
        chosen = self.draw.choice(children) if children and self.draw.random() < 0.5 else pid
        try:
            os.kill(chosen, signal.SIGKILL)
        except ProcessLookupError:
            return []
        return ["the command" if chosen == pid else "one of its processes"]

    def disturbed_round(self, number: int, kills: int, known: dict[Place, str]) -> None:
        site, began, left = self.site("disturbed"), time.monotonic(), kills
        site.results.mkdir(exist_ok=True)
        before: Standing | None = None
        while True:
            code, victims = self.run(site, kills=left)
            left -= len(victims)
            self.kills += victims
            now = site.standing()
            self.judge(before, now, known)
            what = f"killed {', '.join(victims)}" if victims else "undisturbed"
            self.say(f"round {number}: exit {code}, {what}, {len(now.fresh)} fresh")
            if code == 0:
                break
            if not victims:
                self.outright.append(f"round {number}: exit {code} although nothing was killed")
                break
            before = now
        if now.fresh != frozenset(now.made):
            stale = sorted(map(str, set(now.made) - now.fresh))
            self.false.append(f"round {number}: exit 0, and not fresh: {stale}")
        self.say(f"round {number} finished after {time.monotonic() - began:.0f} s")

    def judge(self, before: Standing | None, now: Standing, known: dict[Place, str]) -> None:
        self.false += false_claims(now, known)
        if before is not None:
            self.lost += [f"{place} was fresh" for place in before.fresh - now.fresh]

    def report(self, same: int, different: list[Place]) -> dict:
        return {
            "rounds": len(ROUNDS),
            "kills": len(self.kills),
            "kills_of_the_command": self.kills.count("the command"),
            "outputs_compared": same + len(different),
            "different": [str(place) for place in different],
            "lost": self.lost,
            "falsely_successful": self.false,
            "failed_by_itself": self.outright,
        }


def comparable(versions: dict[Place, str]) -> dict[Place, str]:
    """Without what depends on how often the study was run."""
    return {place: version for place, version in versions.items() if place[0] not in QUOTE_DRIFT}


def statuses(site: Site) -> Statuses:
    """Condition, asset, check -> status, of every check but ``drift``, as the reports say."""
    found: Statuses = {}
    with site.opened() as (context, _):
        item = product("check_report")
        for dose in context.study.doses:
            for view in context.study.views:
                at = Condition(dose, view)
                path = context.store.path(item, at, "check_report.json")
                for row in json.loads(path.read_text("utf-8"))["checks"]:
                    if row["check"] != "drift":
                        found[str(at), row["asset"], row["check"]] = row["status"]
    return found


@contextmanager
def undisturbed_run(soak: Soak) -> Iterator[Callable[[], dict[Place, str]]]:
    """The study's run that nothing is done to, beside the others; waits for it when asked.

    Yields:
        Data versions of what it has made.
    """
    site = soak.site("undisturbed")
    site.results.mkdir(exist_ok=True)
    file = soak.folder / "undisturbed.yaml"
    file.write_text(yaml.safe_dump(study_of(ROUNDS[0])), "utf-8")
    site = Site(file, site.results)
    run = site.start(site.command("run", "--all"), site.results.with_suffix(".log"))

    def versions() -> dict[Place, str]:
        code = run.wait(max(1.0, soak.deadline - time.monotonic()))
        if code != 0:
            raise SystemExit(f"the undisturbed run ended with exit code {code}")
        return comparable(site.standing().versions())

    try:
        yield versions
    finally:
        run.kill()
        run.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the kills")
    parser.add_argument("--kills", type=int, default=8, help="at most so many in a round")
    parser.add_argument("--minutes", type=float, default=120.0, help="bound of the whole soak")
    parser.add_argument("--folder", type=Path, help="to work in; default: a temporary one")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so end what was started
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        draw, began = random.Random(given.seed), time.monotonic()
        soak = Soak(folder, draw, began + 60 * given.minutes)
        with undisturbed_run(soak) as versions:
            for number, seed in enumerate(ROUNDS, 1):
                known = versions() if number == len(ROUNDS) else {}
                soak.write_study(seed)
                soak.disturbed_round(number, given.kills, known)
            wanted = versions()
        found = comparable(soak.site("disturbed").standing().versions())
        one, other = (statuses(soak.site(name)) for name in ("undisturbed", "disturbed"))
    different = [place for place in wanted if found.get(place) != wanted[place]]
    report = soak.report(len(wanted) - len(different), different)
    checks = [key for key in one | other if one.get(key) != other.get(key)]
    report |= {"checks_compared": len(one), "checks_different": list(map(list, checks))}
    report["seconds"] = round(time.monotonic() - began)
    print(json.dumps(report, indent=2))
    bad = different or checks or soak.lost or soak.false or soak.outright
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
