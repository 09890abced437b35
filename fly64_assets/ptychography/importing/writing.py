"""An import from file to file: open, prepare, write aside, hold against DATA-001, move into place.

A failed import leaves nothing behind: all is made in a temporary folder near the target.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset import Dataset, write_dataset
from fly64_assets.ptychography.data001.dataset_rules import check_data001, failures, require_data001
from fly64_assets.ptychography.data001.metadata import Metadata, new_metadata, with_transformation
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.ptychography.importing.change_log import Change, ChangeLog, Progress
from fly64_assets.ptychography.importing.conversion import Conversion
from fly64_assets.ptychography.importing.frames import mapped, patch_blocks
from fly64_assets.ptychography.importing.orientation import Finding
from fly64_assets.ptychography.importing.questions import Answers
from fly64_assets.ptychography.importing.source import open_source, require_file

TOOL = "import"
PROGRAM = "fly64_assets"
SUFFIX = ".npz"
STAGING_PREFIX = ".fly64-import-"


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        changes: everything that was changed, in order.
        rules: every rule of DATA-001 held against the new file; empty where none was written.
        finding: what the comparison of orientations says.
        n_frames, patch_size, canvas_shape: of the new dataset.
    """

    changes: tuple[Change, ...]
    rules: tuple[RuleOutcome, ...]
    finding: Finding | None
    n_frames: int
    patch_size: int
    canvas_shape: tuple[int, int]


def residuals_of(finding: Finding | None) -> dict[str, float] | None:
    """Way to read the file -> forward residual: as imported, and each other that was tried."""
    return None if finding is None else {"as imported": finding.residual, **finding.others}


def refuse_target(source: str | Path, target: str | Path, *, force: bool) -> None:
    """Refuse a target that must not or cannot be written.

    Raises:
        InputError: no ``.npz`` name, the source itself, there already, or below a file.
    """
    source, target = Path(source), Path(target)
    if target.suffix != SUFFIX:
        raise InputError(target, "", f"is no {SUFFIX} name; a DATA-001 file has one")
    there = os.path.exists(target)
    if there and os.path.exists(source) and target.samefile(source):
        raise InputError(target, "", "is the file that is imported; choose another name")
    if not os.path.isdir(folder := _nearest(target)):
        raise InputError(target, "", f"cannot be written: {folder} is no folder")
    if os.path.isdir(target) or (there and not force):
        problem = "is a folder" if os.path.isdir(target) else "exists already; --force replaces it"
        raise InputError(target, "", problem)


def _nearest(target: Path) -> Path:
    """Return the nearest parent that exists, whatever it is."""
    return next(folder for folder in target.absolute().parents if os.path.exists(folder))


def import_file(
    source: str | Path,
    target: str | Path | None,
    answers: Answers,
    *,
    program_version: str,
    git_commit: str | None,
    created: str,
    progress: Progress,
    force: bool = False,
) -> ImportReport:
    """Convert ``source`` to the DATA-001 file ``target``; with ``None`` only say what would change.

    Args:
        source: NPZ or HDF5 file.
        target: file to make; moved into place only once it holds against every rule. Its folder is
            made then as well, where there is none.
        answers: what a person stated.
        program_version: recorded.
        git_commit: recorded.
        created: UTC time, ``YYYY-MM-DDTHH:MM:SSZ``, recorded.
        progress: called after each block of frames.
        force: whether an existing target may be replaced.

    Raises:
        InputError: the source is damaged, cannot become DATA-001, is DATA-001 already, or raises a
            question that nobody answered; or the target may not or cannot be written.
    """
    require_file(source)
    if target is not None:
        refuse_target(source, target, force=force)
    rules: list[RuleOutcome] = []
    with open_source(source) as opened:
        conversion = Conversion(ChangeLog(opened, answers, progress))
        if not conversion.log.changes:
            require_data001(source)
            raise InputError(source, "", "is DATA-001 already: nothing to import, use it as it is")
        if target is not None:
            target = Path(target)
            metadata = _metadata(conversion, program_version, git_commit, created)
            with _staging(target) as folder:
                made = folder / target.name
                _write(conversion, metadata, made)
                rules = check_data001(made)
                for row in failures(rules):
                    problem = f"once imported, {row.rule} is {row.actual}, DATA-001 wants "
                    raise InputError(source, row.key, f"{problem}{row.expected}")
                refuse_target(source, target, force=force)
                target.parent.mkdir(parents=True, exist_ok=True)
                made.replace(target)
    return ImportReport(
        tuple(conversion.log.changes),
        tuple(rules),
        conversion.finding,
        len(conversion.amplitudes.frames),
        len(conversion.probe),
        conversion.object.shape,
    )


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Make a temporary folder beside the target or, where its folder is to be made, above that.

    What the disk refuses is named.
    """
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=_nearest(target)))
        yield folder
    except OSError as error:
        raise InputError(target, "", f"cannot be written: {error.strerror or error}") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _metadata(
    conversion: Conversion, program_version: str, git_commit: str | None, created: str
) -> Metadata:
    """Return the file's own metadata or new ones, with one record more."""
    scale, log = conversion.intensity_scale, conversion.log
    if conversion.metadata is not None:
        base = dict(conversion.metadata)
        base["physics"] = {**base["physics"], "intensity_scale": scale}
    else:
        base = new_metadata(
            created=created,
            program=PROGRAM,
            program_version=program_version,
            git_commit=git_commit,
            nphotons=None,
            patch_size=len(conversion.probe),
            seed=None,
            intensity_scale=scale,
            probe_diameter_px=None,
        )
    told = {
        "source_metadata": conversion.source_metadata,
        "position_errors_px": conversion.position_errors,
    }
    parameters = {
        "changes": [vars(change) for change in log.changes],
        "answers": log.answers.stated(),
        "forward_residuals": residuals_of(conversion.finding),
        **{name: value for name, value in told.items() if value is not None},
    }
    return with_transformation(
        base,
        tool=TOOL,
        version=program_version,
        time=created,
        parameters=parameters,
        inputs=log.inputs,
    )


def _write(conversion: Conversion, metadata: Metadata, made: Path) -> None:
    """Write the file; the frames go through maps of files beside it."""
    folder, side, patches = made.parent, len(conversion.probe), conversion.patches
    frames = mapped(folder / "diffraction.raw", conversion.amplitudes.blocks(), side)
    write_dataset(
        made,
        Dataset(
            diffraction=frames,
            object_guess=conversion.object,
            probe_guess=conversion.probe,
            **conversion.per_frame,
            patches=mapped(folder / "Y.raw", patch_blocks(patches), side) if patches else None,
            metadata=metadata,
            extra=conversion.extra,
        ),
    )
