"""Import: a foreign NPZ or HDF5 file, measured or simulated, becomes a DATA-001 NPZ file.

What belongs here is every decision that such a conversion needs, and its record. What is converted
without asking is either stated by the file or settled by its values; all else is a question that
`Answers` answers. The rules of DATA-001 themselves are in ``dataset_rules.py``; the command line
and Dagster do not belong here.
"""

from fly64_assets.ptychography.importing.answers import Answers, Change, OpenQuestions
from fly64_assets.ptychography.importing.conversion import Conversion, prepare
from fly64_assets.ptychography.importing.source import require_file
from fly64_assets.ptychography.importing.writing import (
    ImportReport,
    import_file,
    refuse_target,
    residuals_of,
)

__all__ = [
    "Answers",
    "Change",
    "Conversion",
    "ImportReport",
    "OpenQuestions",
    "import_file",
    "prepare",
    "refuse_target",
    "require_file",
    "residuals_of",
]
