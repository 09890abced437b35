"""Importing this module, first of all, lets a server of steps outlive ^C (``step_servers.py``)."""

from fly64_assets.runs.interrupts import not_heard_by_servers

not_heard_by_servers()
