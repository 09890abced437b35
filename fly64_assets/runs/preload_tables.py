# ruff: noqa: F401
"""Importing this module loads what reads arrays and tables, scores and draws; it computes nothing.

For the server that such steps are forked from (``step_servers.py``); nothing else imports it.
"""

from fly64_assets.reports.pyplot import pyplot
from fly64_assets.runs.quiet_import import quiet_import

with quiet_import():
    import pandas
    import PIL.Image
    import skimage.metrics

    pyplot()

    import fly64_assets.ptychography.scoring.comparison
    import fly64_assets.ptychography.scoring.statistics
    import fly64_assets.ptychography.view_metrics
