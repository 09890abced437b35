"""The small arrays of a file: which name is which key, object, probe, coordinates, metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import metadata as meta
from fly64_assets.ptychography.data001.dataset_rules import DTYPES, VIEW_KEYS
from fly64_assets.ptychography.importing.casts import cast
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog
from fly64_assets.ptychography.importing.questions import Answers
from fly64_assets.ptychography.importing.source import Source, StoredArray, open_source
from fly64_assets.study.hashing import sha256_of
from fly64_assets.study.json_depth import too_deep

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
KNOWN = (*DTYPES, *VIEW_KEYS, "_metadata", POSITIONS)
ONES = "ones"
OPTION = {"probeGuess": "probe", "objectGuess": "object"}
"""Key -> the field of `Answers` that says where else it comes from."""
OTHERWISE = {"probeGuess": "--probe FILE", "objectGuess": "--object FILE or --object ones"}


def named_keys(source: Source, answers: Answers, log: ChangeLog) -> dict[str, str]:
    """DATA-001 key -> name in the file, for every key that the file has.

    What has no key is dropped; that is recorded.

    Raises:
        InputError: an answer names no key or no array, or two names stand for one key.
    """
    chosen: dict[str, str] = {}
    for key, name in answers.keys.items():
        if key not in KNOWN:
            raise InputError("--key", key, f"is no key; keys are {', '.join(KNOWN)}")
        if other := _stated_instead(key, answers):
            problem = f"{key}={name} was stated, but {other} says where that is to come from"
            raise InputError("--key", "", f"{problem}: leave one out")
        chosen[key] = name.strip("/")
        if list(chosen.values()).count(chosen[key]) > 1:
            raise InputError("--key", name, "stands for two keys")
        if not source.exists(chosen[key]):
            raise source.missing(chosen[key])
    for key in KNOWN:
        candidates: list[str] = []
        for name in (key, *ALIASES.get(key, ())):
            free = source.exists(name) and name not in chosen.values()
            if free and not any(source.same(name, other) for other in candidates):
                candidates.append(name)
        if key in chosen or not candidates or (key == POSITIONS and {"xcoords"} <= set(chosen)):
            continue
        if len(candidates) > 1:
            told, first = f"the file holds {' and '.join(candidates)}: which one?", candidates[0]
            log.ask(
                key, "keys", {"keys": {key: first}}, told=told, key=key, name=first, otherwise=""
            )
        chosen[key] = candidates[0]
    if POSITIONS in chosen and {"xcoords", "ycoords"} <= set(chosen):
        stated = POSITIONS in answers.keys
        for key in ("xcoords", "ycoords") if stated else (POSITIONS,):
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


def _stated_instead(key: str, answers: Answers) -> str:
    """The option that decides of ``key`` whatever array of the file is said to be it, if any."""
    option = OPTION.get(key)
    if option and (file := answers.stated().get(option)):
        return f"--{option} {file}"
    if key in ("xcoords", "ycoords") and POSITIONS in answers.keys:
        return f"--key {POSITIONS}={answers.keys[POSITIONS]}"
    return ""


def ask_for_key(
    source: Source,
    names: dict[str, str],
    key: str,
    log: ChangeLog,
    *,
    otherwise: str = "",
    **instead: Any,
) -> str | None:
    """The name of a key that cannot be done without; asked for where the file has none.

    Goes on with the one array that could be it, if there is one, else without.

    Args:
        otherwise: other options that answer.
        instead: what these are to be set to.
    """
    if key in names:
        return names[key]
    likely = _likely(source, names, key)
    name = likely or "NAME"
    also = f" or {otherwise}" if otherwise else ""
    log.ask(
        key,
        "keys",
        instead if instead and not likely else {"keys": {key: name}},
        told="missing: which array is it?",
        key=key,
        name=name,
        otherwise=f"{also}; the file holds {source.holds()}",
    )
    if likely:
        names[key] = likely
    return likely


def _likely(source: Source, names: Mapping[str, str], key: str) -> str | None:
    """The one array, not yet taken, whose type and dimensions are those of ``key``."""
    kinds = {"diffraction": "uif", "objectGuess": "c", "probeGuess": "c", POSITIONS: "uif"}
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
        }[key]
        if fits and stored.dtype.kind in kinds[key] and name not in names.values():
            found.append(name)
    return found[0] if len(found) == 1 else None


def read_metadata(
    source: Source, names: dict[str, str], log: ChangeLog
) -> tuple[dict[str, Any] | None, str | None]:
    """The file's own metadata if they are those of DATA-001, and any other text as it is.

    Pickled metadata are never unpickled: the member is dropped, its sha256 recorded.
    """
    name = names.pop("_metadata", None)
    if name is None:
        log.add("_metadata", "made", None, "new", "the file has none")
        return None, None
    text = None if source.is_pickled(name) else source.text(name)
    if text is None:
        reason = "pickled objects are never loaded" if source.is_pickled(name) else "is no text"
        log.add("_metadata", "dropped and made anew", source.describe(name), "new", reason)
        return None, None
    parsed = _parsed(text)
    problem = "is no JSON object, or is nested too deep"
    if isinstance(parsed, dict):
        problem = _metadata_problem(parsed)
    if not problem:
        form = source.describe(name).split(", sha256")[0]
        if source.container == "NPZ" and not (form.startswith("<U") and form.endswith(" ()")):
            log.add("_metadata", "decoded", form, "0-d unicode array", "the text is as it was")
        return parsed, None
    reason = f"{problem}; the old text is kept as source_metadata in the import record"
    log.add("_metadata", "made anew", "foreign text", "new", reason)
    return None, text


def _parsed(text: str) -> Any:
    """The value of a JSON text; ``None`` where it is none or could not be copied and written."""
    try:
        parsed = json.loads(text)
        return None if too_deep(parsed) else parsed
    except (ValueError, RecursionError):
        return None


def _metadata_problem(parsed: Mapping[str, Any]) -> str:
    if parsed.get("schema_version") != meta.SCHEMA_VERSION:
        return "has no schema_version 1"
    for name, problem in (
        ("creation", meta.creation_problem(parsed)),
        ("physics", meta.physics_problem(parsed, None)),
        ("transformations", meta.transformations_problem(parsed)),
    ):
        if problem:
            return f"{name} is {problem}"
    return "" if meta.is_canonical(parsed) else "does not begin with a simulate or import record"


def read_plane(key: str, source: Source, name: str, answers: Answers, log: ChangeLog) -> np.ndarray:
    """Object or probe: (H, W) complex, finite, in the file's precision.

    Raises:
        InputError: not complex, of another dimension, or not finite.
    """
    refuse_pickled(source, name)
    stored = source.array(name)
    if stored.dtype.kind != "c":
        problem = f"is {stored.dtype}, not complex: amplitude or phase alone is no transmission"
        raise InputError(source.path, name, problem)
    plane = squeezed(key, stored, 2, log)
    if len(plane.shape) != 2 and (key != "probeGuess" or len(plane.shape) > 4):
        problem = f"shape is {stored.shape}, two dimensions are wanted"
        raise InputError(source.path, name, problem)
    values = plane.whole()
    if values.ndim > 2:
        values = _one_mode(source, name, values, answers, log)
    if not np.isfinite(values).all():
        broken = int((~np.isfinite(values)).sum())
        problem = f"{broken} values are not finite: what stands there? say {OTHERWISE[key]}"
        raise InputError(source.path, name, problem)
    return values


def squeezed(key: str, stored: StoredArray, dimensions: int, log: ChangeLog) -> StoredArray:
    """The array without surplus axes of length 1 at its ends, recorded."""
    changed = stored.squeezed(dimensions)
    if changed.shape != stored.shape:
        before, after = list(stored.shape), list(changed.shape)
        log.add(key, "axes dropped", before, after, "axes of length 1")
    return changed


def _one_mode(
    source: Source, name: str, values: np.ndarray, answers: Answers, log: ChangeLog
) -> np.ndarray:
    """The probe mode that was stated, or with a question the strongest."""
    log.need("probe_mode")
    modes = values.reshape(-1, *values.shape[-2:])
    powers = np.square(np.abs(modes.astype(np.complex128))).sum(axis=(1, 2))
    shares = [f"{100 * power / powers.sum():.0f} % of the power" for power in powers]
    mode, strongest, last = (
        answers.probe_mode,
        int(np.argmax(np.nan_to_num(powers))),
        len(modes) - 1,
    )
    if isinstance(mode, int) and not 0 <= mode <= last:
        problem = f"holds modes 0 to {last}, --probe-mode {mode} is none of them"
        raise InputError(source.path, name, problem)
    if mode is None:
        told = {"count": len(modes), "strongest": strongest, "share": shares[strongest]}
        log.ask(name, "probe_mode", {"probe_mode": "strongest"}, **told, last=last)
    chosen = mode if isinstance(mode, int) else strongest
    part = f"mode {chosen}, {shares[chosen]}"
    log.add("probeGuess", "mode chosen", list(values.shape), part, STATED)
    return modes[chosen]


def refuse_pickled(source: Source, name: str) -> None:
    if source.is_pickled(name):
        raise InputError(source.path, name, "is pickled (an object array), which is never loaded")


def plane_of(
    key: str, source: Source, names: dict[str, str], answers: Answers, log: ChangeLog
) -> tuple[np.ndarray | None, dict[str, str]]:
    """Object or probe, from the file or from the file that an answer names.

    Returns:
        (H, W) complex; ``None`` for a canvas of ones that is still to be made and for a probe that
        is asked for; and name -> sha256 of the other file where there is one.
    """
    option = OPTION[key]
    given: str | None = getattr(answers, option)
    if key == "objectGuess" and given == ONES:
        return None, {}
    if given is None:
        instead = {"probe": "FILE"} if option == "probe" else {"object": ONES}
        name = ask_for_key(source, names, key, log, otherwise=OTHERWISE[key], **instead)
        return (read_plane(key, source, name, answers, log) if name else None), {}
    path = Path(given)
    with open_source(path) as other:
        found = [name for name in (key, *ALIASES[key]) if other.exists(name)]
        if not found:
            raise other.missing(key)
        values = read_plane(key, other, found[0], answers, log)
    before = names.get(key)
    log.add(key, "taken from another file", before, path.name, STATED)
    return values, {path.name: sha256_of(path)}


def per_frame(source: Source, name: str, key: str, count: int, log: ChangeLog) -> np.ndarray:
    """(n,) numbers, as the file has them.

    Raises:
        InputError: not numbers, or not one for each frame.
    """
    refuse_pickled(source, name)
    stored = source.array(name)
    if stored.dtype.kind not in "iuf":
        raise InputError(source.path, name, f"is {stored.dtype}, real numbers are wanted")
    shape = stored.shape
    if shape != (count,):
        if math.prod(shape) != count or max(shape, default=0) != count:
            problem = f"shape is {shape}, one number for each of {count} frames is wanted"
            raise InputError(source.path, name, problem)
        log.add(key, "flattened", list(shape), [count], "axes of length 1")
    return stored.whole().reshape(count)


def cast_and_record(source: Source, key: str, values: np.ndarray, log: ChangeLog) -> np.ndarray:
    """``values`` in the dtype that DATA-001 wants of ``key``; see `casts.cast`."""
    wanted = DTYPES.get(key, np.dtype(np.int64))
    if values.dtype != wanted:
        changed = cast(source.path, key, values, wanted)
        log.add(key, "cast", str(values.dtype), str(wanted), "every value kept to its precision")
        return changed
    return values
