"""Scan positions of a foreign file, and the one order in which they become canvas pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.importing.arrays import POSITIONS, cast_and_record, per_frame
from fly64_assets.ptychography.importing.change_log import STATED, ChangeLog
from fly64_assets.ptychography.importing.questions import Answers
from fly64_assets.ptychography.importing.source import Source

LOOKS_LIKE_LENGTHS = 1.0
"""Positions that are all smaller cannot be pixels of a canvas with room for a patch."""
METRES = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("mm", "millimetre", "millimeter"), 1e-3),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 1e-6),
    **dict.fromkeys(("nm", "nanometre", "nanometer"), 1e-9),
}
ENERGY = "entry_1/instrument_1/source_1/energy"
WAVELENGTH = "entry_1/instrument_1/source_1/wavelength"
DETECTOR = "entry_1/instrument_1/detector_1"
CXI = "entry_1/"
"""What is below it has the format's own units: SI."""
PLANCK_TIMES_LIGHT = 1.98644586e-25
ELECTRONVOLT = 1.602176634e-19
ROUND = 1e-3
"""Relative difference of two pixel sizes that are one."""


@dataclass(frozen=True)
class Way:
    """How coordinates of a file become canvas pixels, and which frames they belong to.

    The steps have one order: `axes` says which coordinate is x, `pixel_size` divides, `origin` adds
    the sides of the canvas that belong to x and y, `flip` mirrors. `lag`, `turn` and `conjugate`
    are about frames, patterns, object and probe, and have no part in it.
    """

    axes: Literal["xy", "yx"] = "xy"
    pixel_size: float = 1.0
    origin: Literal["corner", "centre", "scan"] = "corner"
    flip: Literal["none", "x", "y", "xy"] = "none"
    about: Literal["canvas", "scan"] = "canvas"
    lag: int = 0
    turn: str = "none"
    conjugate: Literal["none", "object", "probe", "both"] = "none"

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
        """(n, 2) canvas pixels, y then x.

        Args:
            pairs: (n, 2) coordinates, the first first.
            canvas: (H, W) as in the file.
            scan: where the scan's middle is taken from, if not from ``pairs``.
        """
        scale, offset = self.affine(pairs if scan is None else scan, canvas)
        if self.pixel_size == 1 and (scale == 1).all() and not offset.any():
            return np.ascontiguousarray(self._ordered(pairs))
        return self._ordered(pairs) * scale + offset


class Positions:
    """Coordinates as the file has them, and start positions.

    Attributes:
        pairs: (n, 2) float64; the first column is ``xcoords`` where ``named``.
        start: the same of the start positions, ``None`` where there are none.
        named: whether the file says which coordinate is x.
        unit: metres a unit, where the file states it; 1 px where it says px.
        pixel_size: of an object pixel in the unit of the positions, where the file settles it.
        position_errors: largest difference from the start positions, where that is kept.
    """

    def __init__(self, source: Source, answers: Answers, log: ChangeLog) -> None:
        self._source, self._answers, self._log = source, answers, log
        self.pairs = np.zeros((0, 2))
        self.start: np.ndarray | None = None
        self.named = True
        self.metres: float | None = None
        self.position_errors: float | None = None

    def read(self, names: dict[str, str], count: int) -> bool:
        """Take coordinates from the file, not yet in pixels; whether there are any.

        Raises:
            InputError: of another length or dtype.
        """
        if POSITIONS in names:
            self._from_one_array(names[POSITIONS], count)
            self._read_unit(names[POSITIONS])
        elif {"xcoords", "ycoords"} <= set(names):
            self.pairs = self._columns(names, count, "xcoords", "ycoords")
            self._read_unit(names["xcoords"])
        else:
            return False
        if ends := [key for key in ("xcoords_start", "ycoords_start") if key in names]:
            start = self._columns({key: names[key] for key in ends}, count, *ends)
            both = self.pairs.copy()
            for column, key in enumerate(("xcoords_start", "ycoords_start")):
                if key in ends:
                    both[:, column] = start[:, ends.index(key)]
            self.start = both
        return True

    def _columns(self, names: dict[str, str], count: int, *keys: str) -> np.ndarray:
        columns = []
        for key in keys:
            values = per_frame(self._source, names[key], key, count, self._log)
            columns.append(cast_and_record(self._source, key, values, self._log))
        return np.stack(columns, axis=1)

    def _from_one_array(self, name: str, count: int) -> None:
        stored = self._source.array(name).squeezed(2)
        shape = stored.shape
        across = len(shape) == 2 and shape[1] == count and shape[0] in (2, 3)
        along = len(shape) == 2 and shape[0] == count and shape[1] in (2, 3)
        if stored.dtype.kind not in "iuf" or not (along or across):
            problem = f"is {stored.dtype} {shape}, real numbers ({count}, 2) are wanted"
            raise InputError(self._source.path, name, problem)
        values = stored.whole()
        if not along:
            values = values.T
            self._log.add(name, "transposed", list(shape), list(values.shape), "one pair a frame")
        if values.shape[1] == 3:
            before = f"z from {values[:, 2].min():.6g} to {values[:, 2].max():.6g}"
            self._log.add(name, "third coordinate dropped", before, None, "along the beam")
        for column, key in enumerate(("xcoords", "ycoords")):
            self._log.add(key, "taken from", f"{name}[:, {column}]", key, "one array held both")
        pairs = np.ascontiguousarray(values[:, :2])
        self.pairs = cast_and_record(self._source, "xcoords", pairs, self._log)
        # The translation of CXI is x, y, z.
        self.named = values.shape[1] == 3

    def _read_unit(self, name: str) -> None:
        unit = self._source.unit(name).strip().lower()
        cxi = name.startswith(CXI) and name.endswith("translation")
        stated = METRES.get(unit, 1.0 if cxi or name.endswith(("_m", "InMeters")) else None)
        self.metres = None if unit in ("px", "pixel", "pixels") else stated

    def keep(self, index: np.ndarray) -> None:
        """Keep these frames only."""
        self.pairs = self.pairs[index]
        self.start = None if self.start is None else self.start[index]

    def pixel_size(self, side: int) -> float | None:
        """Size of an object pixel in the unit of the positions; 1 where that is px.

        ``None`` where it is open; that is a question.
        """
        stated = self._answers.pixel_size
        if stated is not None:
            return stated
        if self.metres is None and np.nanmax(np.abs(self.pairs), initial=0) >= LOOKS_LIKE_LENGTHS:
            return 1.0
        size = self._pixel_of_the_geometry(side)
        if size and self.metres is not None:
            reason = "wavelength * distance / (N * detector pixel), all in the file"
            self._log.add("coordinates", "pixel size found", None, f"{size:.6g} m", reason)
            return size / self.metres
        told = "lengths, by their unit:" if self.metres is not None else "metres, not px?"
        low, high = np.nanmin(self.pairs, axis=0), np.nanmax(self.pairs, axis=0)
        told = f"{low[0]:.6g} to {high[0]:.6g} and {low[1]:.6g} to {high[1]:.6g}: {told}"
        self._log.ask("xcoords, ycoords", "pixel_size", {"pixel_size": "L"}, told=told)
        return None

    def _pixel_of_the_geometry(self, side: int) -> float | None:
        number = self._source.number
        wavelength, energy = number(WAVELENGTH), number(ENERGY)
        if wavelength is None and energy is not None:
            # CXI has joules; what is no X-ray photon in joules is in electronvolts.
            joules = energy if energy < 1e-10 else energy * ELECTRONVOLT
            wavelength = PLANCK_TIMES_LIGHT / joules
        distance = number(f"{DETECTOR}/distance")
        pixels = [number(f"{DETECTOR}/{axis}_pixel_size") for axis in "xy"]
        if wavelength is None or distance is None or None in pixels:
            return None
        if abs(pixels[0] / pixels[1] - 1) > ROUND:
            return None
        return wavelength * distance / (side * pixels[0])

    def values(self, way: Way, canvas: tuple[int, int], reason: str) -> dict[str, np.ndarray]:
        """Coordinates by key, px, every step recorded; start positions too.

        Args:
            way: as stated or found.
            canvas: (H, W) as in the file.
            reason: for the order of the axes, where nobody stated it.
        """
        places = {"": way.place(self.pairs, canvas)}
        if self.start is not None:
            places["_start"] = way.place(self.start, canvas, self.pairs)
        self._record(way, canvas, reason)
        found = {}
        for end, pair in places.items():
            found[f"xcoords{end}"] = np.ascontiguousarray(pair[:, 1])
            found[f"ycoords{end}"] = np.ascontiguousarray(pair[:, 0])
        return self._complete_start(found)

    def _record(self, way: Way, canvas: tuple[int, int], reason: str) -> None:
        if way.axes == "yx":
            why = STATED if self._answers.axes else reason
            self._log.add("xcoords, ycoords", "exchanged", "x, y", "y, x", why)
        if way.pixel_size != 1:
            size = f"an object pixel is {way.pixel_size:.9g} of the file's units"
            self._log.add("coordinates", "divided by the pixel size", "lengths", "px", size)
        if way.origin != "corner":
            _, offset = replace(way, flip="none").affine(self.pairs, canvas)
            after = f"+ (y, x) = ({offset[0]:.9g}, {offset[1]:.9g}) px"
            origin = {"centre": "from the canvas' centre", "scan": "from anywhere"}[way.origin]
            why = STATED if self._answers.origin else "an empty canvas has no origin"
            self._log.add("coordinates", "moved", origin, after, why)
        if way.flip != "none":
            where = {"canvas": "the canvas' centre", "scan": "the middle of the scan"}[way.about]
            _, offset = way.affine(self.pairs, canvas)
            before = f"{' and '.join(way.flip)} against the canvas"
            after = f"(y, x) = ({offset[0]:.9g}, {offset[1]:.9g}) px minus it"
            self._log.add("coordinates", f"mirrored about {where}", before, after, STATED)

    def _complete_start(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Start positions: those of the file, or the positions themselves."""
        for key in ("xcoords", "ycoords"):
            start = f"{key}_start"
            if start not in values:
                values[start] = values[key]
                self._log.add(start, "made", None, f"equal to {key}", "the file has none")
                continue
            if np.array_equal(values[start], values[key]):
                continue
            largest = float(np.nanmax(np.abs(values[start] - values[key])))
            self._log.need("start")
            if self._answers.start is None:
                self._log.ask(start, "start", {"start": "drop"}, key=key, largest=largest)
            if self._answers.start == "keep":
                self.position_errors = max(largest, self.position_errors or 0.0)
            else:
                values[start] = values[key]
                before = f"up to {largest:.3g} px from {key}"
                self._log.add(start, "replaced", before, f"equal to {key}", STATED)
        return values
