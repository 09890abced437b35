"""Scan positions of a foreign file, and the one order in which they become canvas pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import constants

from fly64_assets.ptychography.importing.arrays import (
    PAIR,
    POSITIONS,
    cast_and_record,
    per_frame,
)
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog
from fly64_assets.ptychography.importing.source import Source

LOOKS_LIKE_LENGTHS = 1.0
"""Positions that are all smaller cannot be pixels of a canvas with room for a patch."""
METRES = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("mm", "millimetre", "millimeter"), 1e-3),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 1e-6),
    **dict.fromkeys(("nm", "nanometre", "nanometer"), 1e-9),
}
BEAM = "entry_1/instrument_1/source_1"
DETECTOR = "entry_1/instrument_1/detector_1"
CXI = "entry_1/"
"""What is below it has the format's own units: SI."""
ROUND = 1e-3
"""Relative difference of two pixel sizes that are one."""


@dataclass(frozen=True)
class Way:
    """How coordinates of a file become canvas pixels, and which frames they belong to.

    Every field is one of the choices of its row of `questions.QUESTIONS`.

    The steps have one order: `axes` says which coordinate is x, `pixel_size` divides, `origin` adds
    the sides of the canvas that belong to x and y, `flip` mirrors. `lag`, `turn` and `conjugate`
    are about frames, patterns, object and probe, and have no part in it.
    """

    axes: str = "xy"
    pixel_size: float = 1.0
    origin: str = "corner"
    flip: str = "none"
    about: str = "canvas"
    lag: int = 0
    turn: str = "none"
    conjugate: str = "none"

    def affine(self, pairs: np.ndarray, canvas: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset, each (y, x), of a scan on a canvas.

        Args:
            pairs: (n, 2) coordinates, the first first.
            canvas: (H, W) as in the file, before it is padded.
        """
        places = self._ordered(pairs) / self.pixel_size
        middle = (np.nanmin(places, axis=0) + np.nanmax(places, axis=0)) / 2
        sides = np.asarray(canvas, np.float64)
        offset = {"corner": 0 * sides, "centre": sides // 2, "scan": sides // 2 - middle}
        moved = offset[self.origin]
        # From a corner the canvas is mirrored with what lies on it, from its centre about that.
        span = sides if self.origin == "corner" else 2 * (sides // 2)
        if self.about == "scan":
            span = 2 * (middle + moved)
        against = np.array(["y" in self.flip, "x" in self.flip])
        sign = np.where(against, -1.0, 1.0)
        return sign / self.pixel_size, np.where(against, span - moved, moved)

    def _ordered(self, pairs: np.ndarray) -> np.ndarray:
        return pairs[:, ::-1] if self.axes == "xy" else pairs

    def place(
        self, pairs: np.ndarray, canvas: tuple[int, int], scan: np.ndarray | None = None
    ) -> np.ndarray:
        """Convert to (n, 2) canvas pixels, y then x.

        Args:
            pairs: (n, 2) coordinates, the first first.
            canvas: (H, W) as in the file.
            scan: where the scan's middle is taken from, if not from ``pairs``.
        """
        scale, offset = self.affine(pairs if scan is None else scan, canvas)
        if self.pixel_size == 1 and (scale == 1).all() and not offset.any():
            return np.ascontiguousarray(self._ordered(pairs))
        return self._ordered(pairs) * scale + offset


@dataclass
class Positions:
    """Coordinates as the file has them, and start positions.

    Attributes:
        pairs: (n, 2) float64; the first column is ``xcoords`` where ``named``.
        named: whether the file says which coordinate is x.
        metres: a unit of them, where the file states that.
        start: the same of the start positions, ``None`` where there are none.
    """

    pairs: np.ndarray
    named: bool
    metres: float | None
    start: np.ndarray | None = None

    def keep(self, index: np.ndarray) -> None:
        """Keep these frames only."""
        self.pairs = self.pairs[index]
        self.start = None if self.start is None else self.start[index]


def read_positions(log: ChangeLog, names: dict[str, str], count: int) -> Positions:
    """Take coordinates from the file, not yet in pixels.

    Args:
        log: of every step.
        names: of `arrays.named_keys`; both coordinates, or one array of them, are there.
        count: of frames.

    Raises:
        InputError: of another length or dtype.
    """
    if POSITIONS in names:
        name = names[POSITIONS]
        pairs, named = _one_array(log, name, count)
    else:
        name, named = names["xcoords"], True
        pairs = np.stack([per_frame(log, names[key], key, count) for key in PAIR], axis=1)
    unit = log.source.unit(name).strip().lower()
    si = name.startswith(CXI) and name.endswith("translation")
    si |= name.endswith(("_m", "InMeters"))
    metres = METRES.get(unit, 1.0 if si and unit not in ("px", "pixel", "pixels") else None)
    found = Positions(pairs, named, metres)
    for column, key in enumerate(f"{key}_start" for key in PAIR):
        if key in names:
            found.start = pairs.copy() if found.start is None else found.start
            found.start[:, column] = per_frame(log, names[key], key, count)
    return found


def _one_array(log: ChangeLog, name: str, count: int) -> tuple[np.ndarray, bool]:
    """Both coordinates, (n, 2), and whether their order is known: CXI's translation is x, y, z."""
    stored = log.source.array(name).squeezed(2)
    shape = stored.shape
    across = len(shape) == 2 and shape[1] == count and shape[0] in (2, 3)
    along = len(shape) == 2 and shape[0] == count and shape[1] in (2, 3)
    if stored.dtype.kind not in "iuf" or not (along or across):
        problem = f"is {stored.dtype} {shape}, real numbers ({count}, 2) are wanted"
        raise log.source.error(name, problem)
    values = stored.whole()
    if not along:
        values = values.T
        log.add(name, "transposed", list(shape), list(values.shape), "one pair a frame")
    named = values.shape[1] == 3
    if named:
        before = f"z from {values[:, 2].min():.6g} to {values[:, 2].max():.6g}"
        log.add(name, "third coordinate dropped", before, None, "along the beam")
    for column, key in enumerate(PAIR):
        log.add(key, "taken from", f"{name}[:, {column}]", key, "one array held both")
    return cast_and_record(log, "xcoords", np.ascontiguousarray(values[:, :2])), named


def pixel_size(log: ChangeLog, positions: Positions, side: int) -> float | None:
    """Size of an object pixel in the unit of the positions; 1 where that is px.

    ``None`` where it is open; that is a question.
    """
    if log.answers.pixel_size is not None:
        return log.answers.pixel_size
    pairs, metres = positions.pairs, positions.metres
    if metres is None and np.nanmax(np.abs(pairs), initial=0) >= LOOKS_LIKE_LENGTHS:
        return 1.0
    size = _pixel_of_the_geometry(log.source, side)
    if size and metres is not None:
        reason = "wavelength * distance / (N * detector pixel), all in the file"
        log.add("coordinates", "pixel size found", None, f"{size:.6g} m", reason)
        return size / metres
    told = "lengths, by their unit:" if metres is not None else "metres, not px?"
    low, high = np.nanmin(pairs, axis=0), np.nanmax(pairs, axis=0)
    told = f"{low[0]:.6g} to {high[0]:.6g} and {low[1]:.6g} to {high[1]:.6g}: {told}"
    log.ask("xcoords, ycoords", "pixel_size", {"pixel_size": "L"}, told=told)
    return None


def _pixel_of_the_geometry(source: Source, side: int) -> float | None:
    wavelength, energy = source.number(f"{BEAM}/wavelength"), source.number(f"{BEAM}/energy")
    if wavelength is None and energy is not None:
        # CXI has joules; what is no X-ray photon in joules is in electronvolts.
        joules = energy if energy < 1e-10 else energy * constants.electron_volt
        wavelength = constants.h * constants.c / joules
    distance = source.number(f"{DETECTOR}/distance")
    pixels = [source.number(f"{DETECTOR}/{axis}_pixel_size") for axis in "xy"]
    if not (wavelength and distance and pixels[0] and pixels[1]):
        return None
    if abs(pixels[0] / pixels[1] - 1) > ROUND:
        return None
    return wavelength * distance / (side * pixels[0])


def coordinates(
    log: ChangeLog, positions: Positions, way: Way, canvas: tuple[int, int], reason: str
) -> tuple[dict[str, np.ndarray], float | None]:
    """Convert coordinates and start positions to px, every step recorded.

    Args:
        log: of every step.
        positions: as in the file.
        way: as stated or found.
        canvas: (H, W) as in the file.
        reason: for the order of the axes, where nobody stated it.

    Returns:
        Coordinates by key; and by how much the start positions differ, where that is kept.
    """
    pairs, start = positions.pairs, positions.start
    _record(log, way, pairs, canvas, reason)
    place = way.place(pairs, canvas)
    started = place if start is None else way.place(start, canvas, pairs)
    found, errors = {}, None
    for column, key in enumerate(PAIR, 1):
        found[key] = np.ascontiguousarray(place[:, -column])
        values = np.ascontiguousarray(started[:, -column])
        if start is None:
            log.add(f"{key}_start", "made", None, f"equal to {key}", "the file has none")
        elif not np.array_equal(values, found[key]):
            largest = float(np.nanmax(np.abs(values - found[key])))
            log.need("start")
            if log.answers.start is None:
                log.ask(f"{key}_start", "start", {"start": "drop"}, key=key, largest=largest)
            if log.answers.start == "keep":
                errors = max(largest, errors or 0.0)
            else:
                values = found[key]
                before = f"up to {largest:.3g} px from {key}"
                log.add(f"{key}_start", "replaced", before, f"equal to {key}", STATED)
        found[f"{key}_start"] = values
    return found, errors


def _record(
    log: ChangeLog, way: Way, pairs: np.ndarray, canvas: tuple[int, int], reason: str
) -> None:
    if way.axes == "yx":
        why = STATED if log.answers.axes else reason
        log.add("xcoords, ycoords", "exchanged", "x, y", "y, x", why)
    if way.pixel_size != 1:
        size = f"an object pixel is {way.pixel_size:.9g} of the file's units"
        log.add("coordinates", "divided by the pixel size", "lengths", "px", size)
    if way.origin != "corner":
        _, offset = replace(way, flip="none").affine(pairs, canvas)
        after = f"+ (y, x) = ({offset[0]:.9g}, {offset[1]:.9g}) px"
        origin = {"centre": "from the canvas' centre", "scan": "from anywhere"}[way.origin]
        why = STATED if log.answers.origin else "an empty canvas has no origin"
        log.add("coordinates", "moved", origin, after, why)
    if way.flip != "none":
        where = {"canvas": "the canvas' centre", "scan": "the middle of the scan"}[way.about]
        _, offset = way.affine(pairs, canvas)
        before = f"{' and '.join(way.flip)} against the canvas"
        after = f"(y, x) = ({offset[0]:.9g}, {offset[1]:.9g}) px minus it"
        log.add("coordinates", f"mirrored about {where}", before, after, STATED)
