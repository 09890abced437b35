"""The small arrays of a file: which name is which key, object, probe, one number a frame."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001.dataset_rules import DTYPES, VIEW_KEYS
from fly64_assets.ptychography.importing.casts import cast
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog
from fly64_assets.ptychography.importing.questions import Answers
from fly64_assets.ptychography.importing.source import Source, StoredArray, open_source
from fly64_assets.study.hashing import sha256_of

ALIASES = {
    "diffraction": (
        "diff3d",
        "dp",
        "data",
        "entry_1/data_1/data",
        "entry_1/instrument_1/detector_1/data",
        "entry/data/data",
        "entry/instrument/detector/data",
    ),
    "objectGuess": ("object", "obj", "psi"),
    "probeGuess": (
        "probe",
        "entry_1/instrument_1/source_1/probe",
        "entry_1/instrument_1/source_1/illumination",
    ),
    "xcoords": ("probe_position_x_m", "positionXInMeters", "scanXInMeters"),
    "ycoords": ("probe_position_y_m", "positionYInMeters", "scanYInMeters"),
    "scan_index": ("positionIndex", "scanIndex"),
    "_metadata": ("metadata",),
    "positions": (
        "scan",
        "entry_1/data_1/translation",
        "entry_1/sample_1/geometry_1/translation",
        "entry_1/sample_1/geometry/translation",
        "entry_1/instrument_1/detector_1/translation",
    ),
}
"""Other names of the same, in legacy files, CXI, NeXus, pty-chi, ptychodus and tike."""
POSITIONS = "positions"
"""A key of foreign files only: (n, 2) or (n, 3) coordinates in one array."""
PAIR = ("xcoords", "ycoords")
KNOWN = (*DTYPES, *VIEW_KEYS, "_metadata", POSITIONS)
ONES = "ones"
OPTION = {"probeGuess": "probe", "objectGuess": "object"}
"""Key -> the field of `Answers` that says where else it comes from."""
OTHERWISE = {"probeGuess": "--probe FILE", "objectGuess": "--object FILE or --object ones"}


def named_keys(log: ChangeLog) -> dict[str, str]:
    """Find the name in the file of every DATA-001 key that the file has; drop the rest, recorded.

    Raises:
        InputError: an answer names no key or no array, or two names stand for one key.
    """
    source, answers = log.source, log.answers
    chosen = _stated_names(source, answers)
    for key in KNOWN:
        candidates: list[str] = []
        for name in (key, *ALIASES.get(key, ())):
            free = source.exists(name) and name not in chosen.values()
            if free and not any(source.same(name, other) for other in candidates):
                candidates.append(name)
        if key in chosen or not candidates or (key == POSITIONS and "xcoords" in chosen):
            continue
        if len(candidates) > 1:
            told, first = f"the file holds {' and '.join(candidates)}: which one?", candidates[0]
            log.ask(
                key, "keys", {"keys": {key: first}}, told=told, key=key, name=first, otherwise=""
            )
        chosen[key] = candidates[0]
    if {POSITIONS, *PAIR} <= set(chosen):
        for key in PAIR if POSITIONS in answers.keys else (POSITIONS,):
            del chosen[key]
    for key, name in chosen.items():
        if name != key and key != POSITIONS:
            reason = STATED if key in answers.keys else "another name of the same"
            log.add(key, "renamed", name, key, reason)
    for name in source.names:
        if name not in chosen.values():
            log.add(name, "dropped", source.describe(name), None, "DATA-001 has no such key")
    if attributes := source.attributes():
        log.add("file", "attributes dropped", attributes, None, "DATA-001 has none")
    return chosen


def _stated_names(source: Source, answers: Answers) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for key, name in answers.keys.items():
        if key not in KNOWN:
            raise InputError("--key", key, f"is no key; keys are {', '.join(KNOWN)}")
        instead = ""
        if file := answers.stated().get(OPTION.get(key, "")):
            instead = f"--{OPTION[key]} {file}"
        elif key in PAIR and POSITIONS in answers.keys:
            instead = f"--key {POSITIONS}={answers.keys[POSITIONS]}"
        if instead:
            problem = f"{key}={name} was stated, but {instead} says where that is to come from"
            raise InputError("--key", "", f"{problem}: leave one out")
        name = name.strip("/")
        if name in chosen.values():
            raise InputError("--key", answers.keys[key], "stands for two keys")
        if not source.exists(name):
            raise source.missing(name)
        chosen[key] = name
    return chosen


def ask_for_key(
    log: ChangeLog, names: dict[str, str], key: str, *, otherwise: str = "", **instead: Any
) -> str | None:
    """Name the array of a key that cannot be done without; ask where the file has none.

    Goes on with the one array that could be it, if there is one, else without.

    Args:
        log: asked.
        names: of `named_keys`; an array that could be it is added.
        key: wanted.
        otherwise: other options that answer.
        instead: what these are to be set to.
    """
    if key not in names:
        likely = _likely(log.source, names, key)
        name = likely or "NAME"
        also = f" or {otherwise}" if otherwise else ""
        log.ask(
            key,
            "keys",
            instead if instead and not likely else {"keys": {key: name}},
            told="missing: which array is it?",
            key=key,
            name=name,
            otherwise=f"{also}; the file holds {log.source.holds()}",
        )
        if likely:
            names[key] = likely
    return names.get(key)


def _likely(source: Source, names: dict[str, str], key: str) -> str | None:
    """Find the one array, not yet taken, whose type and dimensions are those of ``key``."""
    found = []
    for name in source.names:
        try:
            stored = source.array(name)
        except InputError:
            continue
        shape = stored.squeezed(2).shape
        fits = {
            "diffraction": len(shape) == 3 and len(set(shape)) <= 2,
            "objectGuess": len(shape) == 2,
            "probeGuess": len(shape) == 2 and shape[0] == shape[1],
            POSITIONS: len(shape) == 2 and min(shape) in (2, 3) and max(shape) > 3,
        }
        kind = "c" if key in OPTION else "uif"
        if fits.get(key) and stored.dtype.kind in kind and name not in names.values():
            found.append(name)
    return found[0] if len(found) == 1 else None


def open_numbers(source: Source, name: str, kinds: str, problem: str) -> StoredArray:
    """Open an array whose dtype is of these kinds.

    Raises:
        InputError: it is pickled, or of another kind: ``problem``.
    """
    if source.is_pickled(name):
        raise source.error(name, "is pickled (an object array), which is never loaded")
    stored = source.array(name)
    if stored.dtype.kind not in kinds:
        raise source.error(name, f"is {stored.dtype}, {problem}")
    return stored


def squeezed(key: str, stored: StoredArray, dimensions: int, log: ChangeLog) -> StoredArray:
    """Drop surplus axes of length 1 at both ends, recorded."""
    changed = stored.squeezed(dimensions)
    if changed.shape != stored.shape:
        before, after = list(stored.shape), list(changed.shape)
        log.add(key, "axes dropped", before, after, "axes of length 1")
    return changed


def read_plane(log: ChangeLog, names: dict[str, str], key: str) -> np.ndarray | None:
    """Read object or probe from the file, or from the file that an answer names.

    Returns:
        (H, W) complex, finite, in the file's precision; ``None`` for a canvas of ones that is still
        to be made and for a plane that is asked for.

    Raises:
        InputError: not complex, of another dimension, or not finite.
    """
    option = OPTION[key]
    given: str | None = getattr(log.answers, option)
    if key == "objectGuess" and given == ONES:
        return None
    if given is None:
        instead = {"probe": "FILE"} if option == "probe" else {"object": ONES}
        name = ask_for_key(log, names, key, otherwise=OTHERWISE[key], **instead)
        return _plane(log, log.source, name, key) if name else None
    path = Path(given)
    with open_source(path) as other:
        found = [name for name in (key, *ALIASES[key]) if other.exists(name)]
        if not found:
            raise other.missing(key)
        values = _plane(log, other, found[0], key)
    log.add(key, "taken from another file", names.get(key), path.name, STATED)
    log.inputs[path.name] = sha256_of(path)
    return values


def _plane(log: ChangeLog, source: Source, name: str, key: str) -> np.ndarray:
    problem = "not complex: amplitude or phase alone is no transmission"
    stored = open_numbers(source, name, "c", problem)
    plane = squeezed(key, stored, 2, log)
    if len(plane.shape) != 2 and (key != "probeGuess" or len(plane.shape) > 4):
        raise source.error(name, f"shape is {stored.shape}, two dimensions are wanted")
    values = plane.whole()
    if values.ndim > 2:
        values = _one_mode(log, source, name, values)
    if not np.isfinite(values).all():
        broken = int((~np.isfinite(values)).sum())
        problem = f"{broken} values are not finite: what stands there? say {OTHERWISE[key]}"
        raise source.error(name, problem)
    return values


def _one_mode(log: ChangeLog, source: Source, name: str, values: np.ndarray) -> np.ndarray:
    """Choose the probe mode that was stated, or with a question the strongest."""
    log.need("probe_mode")
    modes = values.reshape(-1, *values.shape[-2:])
    powers = np.square(np.abs(modes.astype(np.complex128))).sum(axis=(1, 2))
    shares = [f"{100 * power / powers.sum():.0f} % of the power" for power in powers]
    strongest, last, mode = int(np.argmax(np.nan_to_num(powers))), len(modes) - 1, None
    if isinstance(log.answers.probe_mode, int):
        mode = log.answers.probe_mode
        if not 0 <= mode <= last:
            problem = f"holds modes 0 to {last}, --probe-mode {mode} is none of them"
            raise source.error(name, problem)
    elif log.answers.probe_mode is None:
        told = {"count": len(modes), "strongest": strongest, "share": shares[strongest]}
        log.ask(name, "probe_mode", {"probe_mode": "strongest"}, **told, last=last)
    chosen = strongest if mode is None else mode
    part = f"mode {chosen}, {shares[chosen]}"
    log.add("probeGuess", "mode chosen", list(values.shape), part, STATED)
    return modes[chosen]


def per_frame(log: ChangeLog, name: str, key: str, count: int) -> np.ndarray:
    """Read (n,) numbers in the dtype of DATA-001.

    Raises:
        InputError: not numbers, not one for each frame, or a value that no cast keeps.
    """
    stored = open_numbers(log.source, name, "iuf", "real numbers are wanted")
    shape = stored.shape
    if shape != (count,):
        if math.prod(shape) != count or max(shape, default=0) != count:
            problem = f"shape is {shape}, one number for each of {count} frames is wanted"
            raise log.source.error(name, problem)
        log.add(key, "flattened", list(shape), [count], "axes of length 1")
    return cast_and_record(log, key, stored.whole().reshape(count))


def cast_and_record(log: ChangeLog, key: str, values: np.ndarray) -> np.ndarray:
    """Cast to the dtype that DATA-001 wants of ``key``; see `casts.cast`."""
    wanted = DTYPES.get(key, np.dtype(np.int64))
    if values.dtype == wanted:
        return values
    changed = cast(log.source.path, key, values, wanted)
    record_cast(log, key, values.dtype)
    return changed


def record_cast(log: ChangeLog, key: str, dtype: np.dtype) -> None:
    """Note a cast from ``dtype``, if there is one."""
    wanted = DTYPES.get(key, np.dtype(np.int64))
    if dtype != wanted:
        log.add(key, "cast", str(dtype), wanted.name, "every value kept to its precision")
