"""Judging a hub in a process of its own, so that a hostile one harms nobody.

``python -P -m fly64_assets.hub.apart HUB`` prints one JSON list a line: the name of a check
that begins; or the name and the findings of one that ended. Whatever ends the process, what it has
not judged is a failed check that says why. Rules do not belong here.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from threading import Lock
from typing import Any

from fly64_assets.pipeline.environment import settled_environment
from fly64_assets.pipeline.process import thread_limits
from fly64_assets.rules.hub.bounds import limit_process
from fly64_assets.rules.hub.checks import CHECKS, Check, Finding, in_order
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.report import Outcome, Report, run_checks

ENDS = {
    signal.SIGXCPU: "it took more processor time than a hub of the stated size needs",
    signal.SIGALRM: "it took more time than a hub of the stated size needs",
    signal.SIGKILL: "its process was killed",
}
_SPEAKING = Lock()


def verify_hub(root: str | Path, tell: Callable[[Outcome], None] = lambda outcome: None) -> Report:
    """Apply every check to a hub.

    Args:
        root: its folder.
        tell: called with each outcome, in order.

    Raises:
        InputError: there is no hub, see `require_hub`.
    """
    from fly64_assets.rules.hub import require_hub

    root, condition = require_hub(root), (0, "?")
    outcomes: dict[str, Outcome] = {}
    begun: dict[str, None] = {}
    untold = in_order()
    # Without -P a file of the current folder, which may be the hub, could pass for a module.
    command = [sys.executable, "-P", "-m", __name__, str(root)]
    environment = {**settled_environment(), **thread_limits(1), "HDF5_PLUGIN_PRELOAD": "::"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):  # it was ended while it wrote
                break
            name, *rest = json.loads(line)
            if not name:
                condition = tuple(rest)
            elif rest:
                outcomes[name] = Outcome(CHECKS[name], tuple(Finding(*one) for one in rest[0]))
                del begun[name]
            else:
                begun[name] = None
            while untold and untold[0].name in outcomes:
                tell(outcomes[untold.pop(0).name])
    at = f" (at {' or '.join(begun)})" if begun else ""
    missing = (Finding("", "", f"not judged: {_why_it_ended(process.returncode)}{at}"),)
    for one in untold:
        tell(outcomes.setdefault(one.name, Outcome(one, missing)))
    return Report(*condition, tuple(outcomes[one.name] for one in in_order()))


def _why_it_ended(code: int) -> str:
    if code >= 0:
        return f"the process that judges ended with exit code {code}"
    number = signal.Signals(-code)
    return ENDS.get(number, f"the process that judges was ended by {number.name}")


def _say(*content: Any) -> None:
    with _SPEAKING:
        print(json.dumps(content), flush=True)


def _judge(root: Path) -> None:
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    limit_process()
    hub = Hub(root)
    limit_process(hub.stated_bytes)

    def watch(one: Check, outcome: Outcome | None) -> None:
        found = [] if outcome is None else [[astuple(finding) for finding in outcome.findings]]
        _say(one.name, *found)

    _say("", *hub.condition)
    run_checks(hub, watch=watch)


if __name__ == "__main__":
    import fly64_assets.rules.hub  # noqa: F401 - registers the checks

    _judge(Path(sys.argv[1]))
