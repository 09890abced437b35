"""Importing this module loads torch and pty-chi, and computes nothing.

For the server that such steps are forked from (``step_servers.py``); nothing else imports it.
"""

from fly64_assets.runs.quiet_import import quiet_import
from fly64_assets.solvers.torch_isolation import start_torch

start_torch()
with quiet_import():
    import ptychi.api.task  # noqa: F401

    import fly64_assets.solvers.ptychi_engines  # noqa: F401
