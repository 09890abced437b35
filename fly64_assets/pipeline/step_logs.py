"""The log of one step as a text file: the platform's events and captured output, nothing typed.

A line is ``<UTC time> <LEVEL> <message>``; what does not begin a message (a further line of one, or
captured output of a library, whose times are its own) begins with ``| ``. Folders of this machine
are named by what they are.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, EventLogEntry

from fly64_assets.pipeline.process import utc_text
from fly64_assets.study.model import PROJECT_ROOT

CONTINUED = "| "


class RunLog:
    """The event log of one run, read once.

    Args:
        instance: where the run is recorded.
        run_id: of the run.
        folders: further absolute folders to name in words: path -> name.
    """

    def __init__(self, instance: DagsterInstance, run_id: str, folders: dict[Path, str]) -> None:
        self.instance, self.run_id = instance, run_id
        self.folders = {
            **folders,
            PROJECT_ROOT: "<project>",
            Path(sys.prefix): "<python>",
            Path(sys.base_prefix): "<python>",
            Path.home(): "<home>",
        }

    @cached_property
    def _entries(self) -> list[EventLogEntry]:
        return list(self.instance.all_logs(self.run_id))

    def text(self, step: str) -> str:
        """Everything that was logged and captured of ``step``, oldest first.

        Raises:
            LookupError: the run has no such step.
        """
        entries = [entry for entry in self._entries if entry.step_key == step]
        if not entries:
            raise LookupError(f"run {self.run_id} has no log of a step {step}")
        lines = []
        for entry in entries:
            first, *rest = (entry.user_message or entry.message or "-").splitlines() or ["-"]
            level = logging.getLevelName(entry.level)
            lines.append(f"{utc_text(entry.timestamp)} {level} {first}")
            lines += [CONTINUED + line for line in rest]
        for name, captured in self._captured(step).items():
            if captured.strip():
                lines.append(f"{utc_text(entries[-1].timestamp)} INFO captured {name}:")
                lines += [CONTINUED + line for line in captured.splitlines()]
        return self._without_folders("\n".join(lines)) + "\n"

    def _captured(self, step: str) -> dict[str, str]:
        manager = self.instance.compute_log_manager
        for entry in self._entries:
            event = entry.dagster_event
            if event is None or event.event_type_value != "LOGS_CAPTURED":
                continue
            captured: Any = event.event_specific_data
            if step in (captured.step_keys or ()):
                key = manager.build_log_key_for_run(self.run_id, captured.file_key)
                data = manager.get_log_data(key)
                streams = {"standard output": data.stdout, "standard error": data.stderr}
                return {n: (raw or b"").decode("utf-8", "replace") for n, raw in streams.items()}
        return {}

    def _without_folders(self, text: str) -> str:
        # The longest first: one folder lies in another.
        for folder in sorted(map(str, self.folders), key=len, reverse=True):
            if folder != os.sep:
                text = text.replace(folder, self.folders[Path(folder)])
        return text
