"""Scan positions of a foreign file: units, origin and axes, in canvas pixels at the end."""

from __future__ import annotations

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.importing.answers import STATED, Answers, ChangeLog
from fly64_assets.ptychography.importing.arrays import (
    POSITIONS,
    cast_and_record,
    per_frame,
    require_key,
)
from fly64_assets.ptychography.importing.source import Source

LOOKS_LIKE_LENGTHS = 1.0
"""Positions that are all smaller cannot be pixels of a canvas with room for a patch."""


class Positions:
    """Coordinates by key, float64 (n,), and whether their order is known.

    Attributes:
        values: ``xcoords``, ``ycoords``, ``xcoords_start``, ``ycoords_start``.
        named: whether the file or an answer says which coordinate is x.
        position_errors: largest difference from the start positions, where that is kept.
    """

    def __init__(self, source: Source, answers: Answers, log: ChangeLog) -> None:
        self._source, self._answers, self._log = source, answers, log
        self.values: dict[str, np.ndarray] = {}
        self.named = True
        self.position_errors: float | None = None

    def read(self, names: dict[str, str], count: int) -> None:
        """Take coordinates from the file, not yet in pixels.

        Raises:
            InputError: missing, of another length or dtype.
        """
        if POSITIONS in names:
            self._from_pairs(names[POSITIONS], count)
        else:
            for key in ("xcoords", "ycoords"):
                name = require_key(self._source, names, key, f"--key {POSITIONS}=NAME")
                values = per_frame(self._source, name, key, count, self._log)
                self.values[key] = cast_and_record(self._source, key, values, self._log)
        for key in ("xcoords_start", "ycoords_start"):
            if key in names:
                values = per_frame(self._source, names[key], key, count, self._log)
                self.values[key] = cast_and_record(self._source, key, values, self._log)
        if self._answers.axes == "yx":
            self.swap(STATED)

    def _from_pairs(self, name: str, count: int) -> None:
        stored = self._source.array(name)
        if stored.shape != (count, 2) or stored.dtype.kind not in "iuf":
            problem = f"is {stored.dtype} {stored.shape}, real numbers ({count}, 2) are wanted"
            raise InputError(self._source.path, name, problem)
        values = stored[...]
        for column, key in enumerate(("xcoords", "ycoords")):
            self._log.add(key, "taken from", f"{name}[:, {column}]", key, "one array held both")
            pair = np.ascontiguousarray(values[:, column])
            self.values[key] = cast_and_record(self._source, key, pair, self._log)
        self.named = self._answers.axes is not None

    def swap(self, reason: str) -> None:
        """Exchange x and y."""
        for end in ("", "_start"):
            x, y = f"xcoords{end}", f"ycoords{end}"
            pair = {x: self.values.get(y), y: self.values.get(x)}
            if pair[x] is None and pair[y] is None:
                continue
            for key, values in pair.items():
                self.values.pop(key, None)
                if values is not None:
                    self.values[key] = values
            self._log.add(f"{x}, {y}", "exchanged", "x, y", "y, x", reason)
        self.named = True

    def broken(self) -> np.ndarray:
        """Numbers of the frames whose coordinates are not finite."""
        finite = np.all([np.isfinite(values) for values in self.values.values()], axis=0)
        return np.flatnonzero(~finite)

    def keep(self, index: np.ndarray) -> None:
        """Keep these frames only."""
        self.values = {key: values[index] for key, values in self.values.items()}

    def to_pixels(self, canvas: tuple[int, int] | None) -> None:
        """Divide by the pixel size and move the origin, as stated.

        Args:
            canvas: (H, W) of the object in the file; ``None`` where it is still to be made.
        """
        size, origin = self._answers.pixel_size, self._answers.origin
        if size is not None:
            self._scale(size)
        if origin == "centre":
            if canvas is None:
                problem = "the canvas' centre is not known of an object that is still to be made"
                raise InputError("--origin", "centre", problem)
            self._move(canvas)

    def _scale(self, size: float) -> None:
        for key in list(self.values):
            self.values[key] = self.values[key] / size
        reason = f"{STATED}: --pixel-size {size:g}"
        self._log.add("coordinates", "divided by the pixel size", "lengths", "px", reason)

    def _move(self, canvas: tuple[int, int]) -> None:
        offsets = {"y": canvas[0] // 2, "x": canvas[1] // 2}
        for key in list(self.values):
            self.values[key] = self.values[key] + offsets[key[0]]
        after = f"+ (y, x) = ({offsets['y']}, {offsets['x']}) px"
        self._log.add("coordinates", "moved", "from the canvas' centre", after, STATED)

    def complete_start(self) -> None:
        """Start positions: those of the file, or the positions themselves.

        Raises:
            InputError: they differ and nobody said what that means.
        """
        for key in ("xcoords", "ycoords"):
            start, values = f"{key}_start", self.values[key]
            found = self.values.get(start)
            if found is None:
                self.values[start] = values
                self._log.add(start, "made", None, f"equal to {key}", "the file has none")
            elif not np.array_equal(found, values):
                self._differing(start, key, float(np.abs(found - values).max()))

    def _differing(self, start: str, key: str, largest: float) -> None:
        self._log.need("start")
        choice = self._answers.start
        if choice is None:
            problem = f"differs from {key} by up to {largest:.3g} px: simulated position errors? "
            problem += "say --start keep, or --start drop to use the positions alone"
            raise InputError(self._source.path, start, problem)
        if choice == "keep":
            self.position_errors = max(largest, self.position_errors or 0.0)
        else:
            self.values[start] = self.values[key]
            before = f"up to {largest:.3g} px from {key}"
            self._log.add(start, "replaced", before, f"equal to {key}", STATED)

    @property
    def positions_px(self) -> np.ndarray:
        """(n, 2) float64, y then x."""
        return np.stack([self.values["ycoords"], self.values["xcoords"]], axis=1)

    def _outside(self, canvas: tuple[int, int], side: int) -> int:
        positions, half = self.positions_px, side / 2
        highest = np.asarray(canvas) - half
        return int((~((positions >= half) & (positions <= highest)).all(axis=1)).sum())

    def inside(self, canvas: tuple[int, int], side: int) -> bool:
        """Whether every patch lies inside a canvas of (H, W)."""
        return self._outside(canvas, side) == 0

    def require_inside(self, canvas: tuple[int, int], side: int) -> None:
        """Refuse patches that leave the canvas, with the question that this raises."""
        outside = self._outside(canvas, side)
        if not outside:
            return
        positions = self.positions_px
        (low_y, low_x), (high_y, high_x) = positions.min(axis=0), positions.max(axis=0)
        where = (
            f"x {low_x:.6g} to {high_x:.6g}, y {low_y:.6g} to {high_y:.6g}; {outside} of "
            f"{len(positions)} patches leave the {canvas[0]} x {canvas[1]} canvas"
        )
        small = np.abs(positions).max() < LOOKS_LIKE_LENGTHS
        if self._answers.pixel_size is None and small:
            question = "metres, not px? say --pixel-size, an object pixel in the same unit"
        elif self._answers.origin is None and (positions < 0).any():
            question = (
                "counted from the canvas' centre? say --origin centre (or --axes yx, --pixel-size)"
            )
        else:
            question = (
                "which unit, origin and axes? say --pixel-size, --origin, --axes, or give another "
                "canvas with --object"
            )
        raise InputError(self._source.path, "xcoords, ycoords", f"{where}: {question}")
