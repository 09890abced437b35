"""Names that files, texts and pictures share; light, as the command line loads them.

They stand in this room so that the code version of whatever is made with them covers them.
"""

from __future__ import annotations

from fly64_assets.study.model import MODELS

COLUMNS = ("amplitude", "phase")
"""Components of an object, in the order of the columns of files."""
HEADLINES = ("ms_ssim", "mae")
"""Metrics that are aggregated and compared over the arms."""
SUBJECT, *OTHERS = MODELS
"""The published arm that is compared, and those that it is compared with."""
