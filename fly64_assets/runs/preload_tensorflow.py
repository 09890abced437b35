"""Importing this module loads TensorFlow and what its steps need, and computes nothing.

For the server that such steps are forked from (``step_servers.py``); nothing else imports it.
"""

import fly64_assets.runs.preload_tables  # noqa: F401
from fly64_assets.runs.quiet_import import quiet_import
from fly64_assets.solvers.tensorflow_runtime import settle_environment

settle_environment()
with quiet_import():
    import fly64_assets.solvers.losses
    import fly64_assets.solvers.networks
    import fly64_assets.solvers.refinement
    import fly64_assets.solvers.training  # noqa: F401
