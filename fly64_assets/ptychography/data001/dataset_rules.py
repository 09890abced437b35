"""The rules of a DATA-001 file, one by one: what each wants and what a file has instead.

A table of outcomes, never an exception: an unreadable file is one failed row. Rules are evaluated
on memory maps in chunks. What data *physically* show (dose, noise, axes) is ``physics_checks.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.data001 import metadata as meta
from fly64_assets.ptychography.data001 import npz
from fly64_assets.ptychography.data001.npz import ArrayHeader
from fly64_assets.ptychography.data001.rules import RuleOutcome
from fly64_assets.ptychography.forward import extract_patches

DTYPES: dict[str, np.dtype] = {
    "diffraction": np.dtype(np.float32),
    "objectGuess": np.dtype(np.complex64),
    "probeGuess": np.dtype(np.complex64),
    "xcoords": np.dtype(np.float64),
    "ycoords": np.dtype(np.float64),
    "xcoords_start": np.dtype(np.float64),
    "ycoords_start": np.dtype(np.float64),
    "scan_index": np.dtype(np.int64),
    "Y": np.dtype(np.complex64),
}
MEANING = {"diffraction": "amplitude"}
OPTIONAL = ("Y",)
REQUIRED = (*(key for key in DTYPES if key not in OPTIONAL), "_metadata")
PER_FRAME = ("xcoords", "ycoords", "xcoords_start", "ycoords_start", "scan_index")
VIEW_KEYS = ("centre_index", "full_groups", "training_groups")
"""Keys that an overlap view adds to a dataset; any other key is refused."""

# Limits of the format itself (contract, section 2), not of a study.
HIGHEST_AMPLITUDE = 10.0
HIGHEST_TYPICAL_AMPLITUDE = 1.0
COUNT_TOLERANCE = 1e-3
COUNT_RELATIVE_TOLERANCE = 8 * float(np.finfo(np.float32).eps)
PATCH_TOLERANCE = 0.05
PATCHES_COMPARED = 16
PATCH_PADDING_PX = 4


class _Table:
    """Outcomes so far. ``add`` tells whether the rule holds, so that what builds on it can wait."""

    def __init__(self) -> None:
        self.rows: list[RuleOutcome] = []

    def add(self, key: str, rule: str, expected: str, actual: object, ok: bool) -> bool:
        self.rows.append(RuleOutcome(key, rule, expected, str(actual), bool(ok)))
        return bool(ok)

    def holds(self, key: str, *rules: str) -> bool:
        passed = {row.rule for row in self.rows if row.key == key and row.ok}
        return set(rules) <= passed


def structure_outcomes(headers: Mapping[str, ArrayHeader]) -> list[RuleOutcome]:
    """Return the rules that need no values: keys, pickles, dtypes and shapes.

    Args:
        headers: of every array in the file, from `npz.describe_npz`.
    """
    table = _Table()
    _structure(table, headers)
    return table.rows


def _structure(table: _Table, headers: Mapping[str, ArrayHeader]) -> None:
    for key in REQUIRED:
        table.add(key, "key", "the key", "present" if key in headers else "missing", key in headers)
    known = {*REQUIRED, *OPTIONAL, *VIEW_KEYS}
    unknown = sorted(set(headers) - known)
    for key in unknown:
        table.add(key, "key", f"only {', '.join(sorted(known))}", "unknown", False)
    for key in sorted(set(headers) & known):
        pickled = headers[key].dtype.hasobject
        actual = "a pickled object array" if pickled else "plain"
        table.add(key, "content", "no pickled content", actual, not pickled)
    for key, wanted in DTYPES.items():
        if table.holds(key, "content"):
            dtype = headers[key].dtype
            expected = " ".join(filter(None, (wanted.name, MEANING.get(key))))
            table.add(key, "dtype", expected, dtype, dtype == wanted)
    _shapes(table, {key: headers[key] for key in headers if table.holds(key, "content")})


def _shapes(table: _Table, headers: Mapping[str, ArrayHeader]) -> None:
    shapes = {key: header.shape for key, header in headers.items()}
    side = count = None
    if "probeGuess" in shapes:
        shape = shapes["probeGuess"]
        square = len(shape) == 2 and shape[0] == shape[1] > 0 and shape[0] % 2 == 0
        if table.add("probeGuess", "shape", "(N, N), N even", shape, square):
            side = shape[0]
    if "diffraction" in shapes:
        shape = shapes["diffraction"]
        frames_first = (
            len(shape) == 3 and shape[0] > 0 and shape[1] == shape[2] == (side or shape[1])
        )
        actual: object = shape
        if not frames_first and _frames_last(shape, side):
            actual = f"{shape}, (H, W, n) with the frames last"
        wanted = "(n, N, N), frames first" + (f", N = {side} as in probeGuess" if side else "")
        if table.add("diffraction", "shape", wanted, actual, frames_first):
            count, side = shape[0], shape[1]
    if "objectGuess" in shapes:
        shape = shapes["objectGuess"]
        plane = len(shape) == 2 and min(shape) > 0
        if table.add("objectGuess", "shape", "(H, W)", shape, plane):
            even = shape[0] % 2 == 0 and shape[1] % 2 == 0
            table.add("objectGuess", "sides", "even H and W", f"{shape}", even)
            if side:
                larger = f"H and W larger than N = {side}"
                table.add("objectGuess", "size", larger, f"{shape}", min(shape) > side)
    for key in PER_FRAME:
        if key in shapes and count is not None:
            table.add(key, "shape", f"(n,) = ({count},)", shapes[key], shapes[key] == (count,))
    if "Y" in shapes and count is not None:
        wanted_shape = (count, side, side)
        table.add("Y", "shape", f"{wanted_shape}", shapes["Y"], shapes["Y"] == wanted_shape)
    if "_metadata" in headers:
        header = headers["_metadata"]
        text = header.dtype.kind == "U" and header.shape == ()
        actual = f"{header.dtype} of shape {header.shape}"
        table.add("_metadata", "array", "a 0-d unicode array", actual, text)


def _frames_last(shape: tuple[int, ...], side: int | None) -> bool:
    return len(shape) == 3 and shape[0] == shape[1] == (side or shape[0]) and shape[2] != shape[0]


def _values(table: _Table, key: str, array: np.ndarray) -> None:
    """Finite; for diffraction also non-negative and normalised. One pass."""
    broken = negative = 0
    total, highest = 0.0, 0.0
    for chunk in npz.chunks(array):
        finite = np.isfinite(chunk)
        good = bool(finite.all())
        broken += 0 if good else int(chunk.size - finite.sum())
        if key == "diffraction":
            values = chunk if good else chunk[finite]
            negative += int((values < 0).sum())
            total += float(values.sum(dtype=np.float64))
            highest = max(highest, float(values.max(initial=0)))
    table.add(key, "values", "finite values", f"{broken} not finite", broken == 0)
    if key == "diffraction":
        table.add(key, "sign", "values >= 0", f"{negative} negative", negative == 0)
        mean = total / array.size
        table.add(
            key,
            "normalisation",
            f"normalised amplitude: mean < {HIGHEST_TYPICAL_AMPLITUDE:g}, "
            f"maximum < {HIGHEST_AMPLITUDE:g}",
            f"mean {mean:.4g}, maximum {highest:.4g}",
            mean < HIGHEST_TYPICAL_AMPLITUDE and highest < HIGHEST_AMPLITUDE,
        )


def _coordinates(table: _Table, load: Callable[[str], np.ndarray], metadata: Mapping) -> None:
    for axis, key in enumerate(("ycoords", "xcoords")):
        if not table.holds(key, "dtype", "shape"):
            continue
        values = load(key)
        finite = bool(np.isfinite(values).all())
        table.add(key, "values", "finite values", "finite" if finite else "not finite", finite)
        if finite and table.holds("objectGuess", "shape") and table.holds("probeGuess", "shape"):
            half = len(load("probeGuess")) / 2
            highest = load("objectGuess").shape[axis] - half
            actual = f"{values.min():g} to {values.max():g} px"
            inside = bool((values >= half).all() and (values <= highest).all())
            expected = f"every patch inside the object, {half:g} to {highest:g} px"
            table.add(key, "range", expected, actual, inside)
        start = f"{key}_start"
        if finite and table.holds(start, "dtype", "shape"):
            apart = int((load(start) != values).sum())
            errors = _position_errors(metadata)
            expected = f"values equal to {key} unless position errors are simulated"
            table.add(start, "start", expected, f"{apart} different", apart == 0 or errors)


def _position_errors(metadata: Mapping[str, Any]) -> bool:
    if meta.transformations_problem(metadata):
        return False
    records = metadata["transformations"]
    return any(record["parameters"].get("position_errors_px") for record in records)


def _metadata(table: _Table, load: Callable[[str], np.ndarray]) -> dict[str, Any]:
    if not table.holds("_metadata", "array"):
        return {}
    try:
        parsed = json.loads(str(load("_metadata")[()]))
        actual = "JSON object" if isinstance(parsed, dict) else f"a JSON {type(parsed).__name__}"
    except (ValueError, RecursionError) as error:
        parsed, actual = None, f"no JSON: {error}"
    if not table.add("_metadata", "text", "a JSON object", actual, isinstance(parsed, dict)):
        return {}
    version = parsed.get("schema_version")
    known = version == meta.SCHEMA_VERSION and not isinstance(version, bool)
    table.add("_metadata", "schema_version", f"{meta.SCHEMA_VERSION}", repr(version), known)
    side = load("probeGuess").shape[0] if table.holds("probeGuess", "shape") else None
    for rule, expected, problem in (
        (
            "creation",
            "UTC time YYYY-MM-DDTHH:MM:SSZ, program, version, git_commit",
            meta.creation_problem(parsed),
        ),
        (
            "physics",
            f"nphotons, N = {side}, seed, intensity_scale > 0, probe_diameter_px",
            meta.physics_problem(parsed, side),
        ),
        (
            "transformations",
            "a list of {tool, version, time, parameters, inputs as sha256}",
            meta.transformations_problem(parsed),
        ),
    ):
        table.add("_metadata", rule, expected, problem or "complete", not problem)
    if table.holds("_metadata", "transformations"):
        canonical = meta.is_canonical(parsed)
        tools = [str(record["tool"]) for record in parsed["transformations"]]
        expected = f"a first record of {' or '.join(meta.CANONICAL_TOOLS)}"
        table.add("_metadata", "canonical form", expected, f"{tools}", canonical)
    return parsed


def _counts(table: _Table, diffraction: np.ndarray, metadata: Mapping[str, Any]) -> None:
    """Ask that simulated amplitudes are square roots of whole counts."""
    if metadata["transformations"][0]["tool"] != "simulate":
        return
    scale = metadata["physics"]["intensity_scale"]
    worst = 0.0
    for chunk in npz.chunks(diffraction):
        counts = np.square(chunk.astype(np.float64) * scale)
        allowed = COUNT_TOLERANCE + COUNT_RELATIVE_TOLERANCE * counts
        worst = max(worst, float((np.abs(counts - np.rint(counts)) / allowed).max(initial=0)))
    table.add(
        "diffraction",
        "counts",
        "whole counts (diffraction * intensity_scale)**2 of an amplitude",
        "whole" if worst <= 1 else f"off by up to {worst:.3g} times the rounding of float32",
        worst <= 1,
    )


def _true_patches(table: _Table, load: Callable[[str], np.ndarray]) -> None:
    """``Y`` against ``objectGuess`` where it hardly depends on the interpolation."""
    positions = np.stack([load("ycoords"), load("xcoords")], axis=1)
    offsets = np.abs(positions - np.rint(positions)).max(axis=1)
    chosen = np.sort(np.argsort(offsets, kind="stable")[:PATCHES_COMPARED])
    patches = load("Y")
    expected = extract_patches(
        load("objectGuess"), positions[chosen], patches.shape[1], padding_px=PATCH_PADDING_PX
    )
    difference = np.linalg.norm(patches[chosen] - expected) / np.linalg.norm(expected)
    table.add(
        "Y",
        "patches",
        f"patches of objectGuess at the positions, relative difference <= {PATCH_TOLERANCE:g}",
        f"{difference:.3g} apart",
        bool(difference <= PATCH_TOLERANCE),
    )


def _views(table: _Table, headers: Mapping[str, ArrayHeader], load: Callable) -> None:
    for key in VIEW_KEYS:
        if not table.holds(key, "content"):
            continue
        header, dimensions = headers[key], 1 if key == "centre_index" else 2
        form = np.issubdtype(header.dtype, np.int64) and len(header.shape) == dimensions
        actual = f"{header.dtype} {header.shape}"
        expected = f"int64 with {dimensions} dimension{'s' * (dimensions > 1)}"
        if table.add(key, "form", expected, actual, form) and table.holds("diffraction", "shape"):
            count = headers["diffraction"].shape[0]
            values = load(key)
            inside = bool(((values >= 0) & (values < count)).all())
            actual = "in range" if inside else "out of range"
            table.add(key, "index", f"frames 0 to {count - 1}", actual, inside)


def _content(
    table: _Table, headers: Mapping[str, ArrayHeader], load: Callable[[str], np.ndarray]
) -> None:
    metadata = _metadata(table, load)
    for key in ("diffraction", "objectGuess", "probeGuess", "Y"):
        if table.holds(key, "dtype", "shape"):
            _values(table, key, load(key))
    if table.holds("probeGuess", "dtype", "shape", "values"):
        power = float(np.square(np.abs(load("probeGuess")), dtype=np.float64).sum())
        table.add("probeGuess", "power", "a non-zero probe", f"{power:.6g}", power > 0)
    _coordinates(table, load, metadata)
    described = table.holds("_metadata", "canonical form", "physics")
    normalised = ("dtype", "shape", "values", "sign", "normalisation")
    if described and table.holds("diffraction", *normalised):
        _counts(table, load("diffraction"), metadata)
    placed = all(table.holds(key, "values", "range") for key in ("xcoords", "ycoords"))
    if placed and all(table.holds(key, "dtype", "shape", "values") for key in ("Y", "objectGuess")):
        _true_patches(table, load)
    _views(table, headers, load)


def check_data001(path: str | Path) -> list[RuleOutcome]:
    """Hold a file against every rule of DATA-001.

    A rule that builds on a failed one (values of an array of the wrong shape) has no row; on a
    sound file every rule has one. Memory stays bounded for uncompressed files.

    Args:
        path: the NPZ file; anything at all may lie there.

    Returns:
        The table, in the order in which a person would mend the file.
    """
    table = _Table()
    try:
        npz.verify_npz(path)
        headers = npz.describe_npz(path)
        table.add("file", "archive", "an intact NPZ archive", "intact", True)
        opened: dict[str, np.ndarray] = {}

        def load(key: str) -> np.ndarray:
            if key not in opened:
                opened[key] = npz.open_array(path, key)
            return opened[key]

        _structure(table, headers)
        _content(table, headers, load)
    except InputError as error:
        problem = ": ".join(part for part in (error.key, error.problem) if part)
        table.add("file", "archive", "an intact NPZ archive", problem, False)
    except OSError as error:
        problem = f"unreadable ({error.strerror or error})"
        table.add("file", "archive", "an intact NPZ archive", problem, False)
    return table.rows


def failures(rows: list[RuleOutcome]) -> Iterator[RuleOutcome]:
    """Return the rules that do not hold, in order."""
    return (row for row in rows if not row.ok)


def refuse_first(path: str | Path, rows: list[RuleOutcome]) -> None:
    """Raise `InputError` for the first rule that does not hold, if there is one."""
    for row in failures(rows):
        problem = f"{row.rule} is {row.actual}, DATA-001 wants {row.expected}"
        raise InputError(path, row.key, problem)


def require_data001(path: str | Path) -> None:
    """Refuse a file that breaks DATA-001.

    Raises:
        InputError: for the first rule that fails, e.g. ``diffraction: dtype is uint16, DATA-001
            wants float32 amplitude``.
    """
    refuse_first(path, check_data001(path))
