"""Where the patches lie on the canvas: what is stated, what the patterns say, what is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fly64_assets.errors import InputError
from fly64_assets.ptychography.importing.arrays import POSITIONS
from fly64_assets.ptychography.importing.change_log import ChangeLog
from fly64_assets.ptychography.importing.evidence import Values, probe_factor
from fly64_assets.ptychography.importing.frames import Amplitudes
from fly64_assets.ptychography.importing.orientation import (
    BETTER,
    Comparison,
    Finding,
    compare,
    in_words,
    outside,
    rivals,
    sample_size,
)
from fly64_assets.ptychography.importing.positions import Positions, Way, pixel_size
from fly64_assets.ptychography.importing.questions import STEPS, option
from fly64_assets.ptychography.physics_checks import STANDARD_ERRORS

LARGEST_CANVAS = 1 << 28
"""Pixels of an empty canvas that is made."""
UNTURNED: dict[str, Any] = {"turn": "none", "lag": 0, "conjugate": "none"}
XY0 = "xy0"
"""Patterns turned by 180 degrees about the zero frequency."""
COORDINATES = "xcoords, ycoords"


def stated_way(log: ChangeLog, positions: Positions, side: int) -> Way | None:
    """Read the positions as far as that is stated; ``None`` where their unit is open.

    Turned patterns, a lag and conjugation are applied where they are stated: no part of it.
    """
    size, answers = pixel_size(log, positions, side), log.answers
    if size is None:
        return None
    flip = answers.flip or "none"
    if flip != "none":
        log.need("flip_about")
    about = answers.flip_about if answers.flip_about and flip != "none" else "canvas"
    return Way(answers.axes or "xy", size, answers.origin or "corner", flip, about)


def even_canvas(log: ChangeLog, object_: np.ndarray, side: int) -> np.ndarray:
    """Pad the object to even sides at the far end.

    Raises:
        InputError: it is no larger than a patch, or zero everywhere.
    """
    odd = [length % 2 for length in object_.shape]
    if any(odd):
        before = list(object_.shape)
        object_ = np.pad(object_, [(0, odd[0]), (0, odd[1])], mode="edge")
        reason = "even sides: the last row or column repeated at the far side"
        log.add("objectGuess", "padded", before, list(object_.shape), reason)
    problem = "" if object_.any() else "is zero everywhere"
    if min(object_.shape) <= side:
        problem = f"canvas is {object_.shape}, no larger than N = {side}"
    if problem:
        problem = f"{problem}: which canvas? say --object FILE or --object ones"
        raise log.source.error("objectGuess", problem)
    return object_


def empty_canvas(
    log: ChangeLog, positions: Positions, way: Way, side: int
) -> tuple[np.ndarray, Way]:
    """Make ones about the scan, and say how the positions are then read.

    Where nobody says which coordinate is x, the canvas is square.

    Raises:
        InputError: the positions count from the centre of a canvas that is not there, or are so
            far apart that their unit cannot be px.
    """
    places = way.place(positions.pairs, (0, 0))
    if way.origin == "centre":
        problem = "the canvas' centre is not known of an object that is still to be made"
        raise InputError("--origin", "centre", problem)
    before_the_corner = (places.min(axis=0) < side / 2).any()
    if before_the_corner or way.origin == "scan" or way.flip != "none":
        way = replace(way, origin="scan")
        reach = np.ptp(places, axis=0) + side + 2
    else:
        reach = places.max(axis=0) + side / 2
    if not positions.named and log.answers.axes is None:
        reach = np.full(2, reach.max())
    height, width = (max(side + 2, 2 * int(np.ceil(end / 2))) for end in reach)
    if height * width > LARGEST_CANVAS:
        problem = f"an empty canvas of {height} x {width} px is wanted: "
        problem += "in which unit are the positions? say --pixel-size"
        raise log.source.error(COORDINATES, problem)
    return np.ones((height, width), np.complex64), way


class Placing:
    """How the positions are read, and the questions that the patterns raise about that.

    Args:
        log: asked.
        positions: as in the file.
        canvas: (H, W) of the object in the file, before it was padded.
        object_, probe: complex64.
        amplitudes, values: what was measured.
    """

    def __init__(
        self,
        log: ChangeLog,
        positions: Positions,
        canvas: tuple[int, int],
        object_: np.ndarray,
        probe: np.ndarray,
        amplitudes: Amplitudes,
        values: Values,
    ) -> None:
        self._log, self._canvas, self._object, self._probe = log, canvas, object_, probe
        self._pairs, self._named = positions.pairs, positions.named
        self._scale = values.scale if values.counted else None
        self._sample = amplitudes.sample(sample_size(len(probe)))
        self.mean = float(self._sample[1].mean())
        """Of the sampled amplitudes."""

    def decide(self, way: Way) -> tuple[Way, Finding | None, float]:
        """Say how the positions are read, why, and by what the probe is multiplied.

        An order that nobody stated is decided; what is stated or named is held against the data.
        """
        ordered = self._named or self._log.answers.axes is not None
        own = [replace(way, axes=order) for order in ((way.axes,) if ordered else ("xy", "yx"))]
        fits = self._fitting(own)
        if not fits:
            return self._elsewhere(way), None, 1.0
        compared, factor = self._comparison(fits[0])
        if len(fits) == 2:
            fits = self._which_is_x(compared, fits)
        finding = compare(compared, fits[0], list(rivals(fits[0])), self._log.progress)
        return self._ask_better(finding, fits[0]), finding, factor

    def _comparison(self, way: Way) -> tuple[Comparison, float]:
        """Of the sampled patterns, the probe in their units; and what it was multiplied by."""
        chosen, measured, masked = self._sample
        places = way.place(self._pairs, self._canvas)[chosen]
        factor = probe_factor(self._log.source, measured, masked, places, self._object, self._probe)
        probe = self._probe * factor
        return Comparison(
            self._sample, self._pairs, self._canvas, self._object, probe, self._scale
        ), factor

    def _outside(self, way: Way) -> int:
        places = way.place(self._pairs, self._canvas)
        return outside(places, np.asarray(self._object.shape), len(self._probe))

    def _fitting(self, ways: list[Way]) -> list[Way]:
        return [way for way in ways if not self._outside(way)]

    def _elsewhere(self, own: Way) -> Way:
        """Ask, of patches that leave the canvas, where they are counted from; the likeliest way."""
        origins = ("centre", "corner", "scan") if not self._log.answers.origin else (own.origin,)
        from_there = [replace(own, origin=origin) for origin in origins]
        turned = [other for one in from_there for other in rivals(one)]
        placed = [one for one in turned if one == replace(one, **UNTURNED)]
        fits = self._fitting([o for o in from_there + placed if not self._contradicts(o, own)])
        places = own.place(self._pairs, self._canvas)
        (low_y, low_x), (high_y, high_x) = places.min(axis=0), places.max(axis=0)
        height, width = self._object.shape
        told = (
            f"x {low_x:.6g} to {high_x:.6g}, y {low_y:.6g} to {high_y:.6g}; {self._outside(own)} "
            f"of {len(places)} patches leave the {height} x {width} canvas"
        )
        if not fits:
            guess = "which unit, origin and axes? say --pixel-size, --origin, --axes, or give "
            guess += "another canvas with --object"
            self._log.ask(COORDINATES, "origin", {"origin": "ORIGIN"}, told=told, guess=guess)
            raise self._log.open_questions()
        compared, _ = self._comparison(fits[0])
        finding = compare(compared, fits[0], fits[1:], self._log.progress)
        best = finding.way if finding.clear else fits[0]
        suggested = {"origin": best.origin} if best.origin != own.origin else {}
        suggested |= _apart(best, own)
        say = _said(suggested)
        guess = f"which origin and axes? {say} would fit; or say --origin, --axes, --pixel-size, "
        guess += "or give another canvas with --object"
        if suggested.get("origin") == "centre":
            guess = f"counted from the canvas' centre? say {say} (or --origin scan, --axes, "
            guess += "--pixel-size)"
        self._log.ask(COORDINATES, "origin", suggested, told=told, guess=guess)
        return best

    def _contradicts(self, way: Way, own: Way) -> bool:
        """Whether a way differs from the file's own in what was stated."""
        return bool(_apart(way, own).keys() & self._log.answers.given().keys())

    def _which_is_x(self, compared: Comparison, fits: list[Way]) -> list[Way]:
        """Both orders of two coordinates that nobody named, the right one first."""
        models = [compared.model(way, len(compared)) for way in fits]
        gain, error = compared.preference(*models)
        best = 0 if gain >= 0 else 1
        if abs(gain) < BETTER or abs(gain) < STANDARD_ERRORS * error:
            residuals = [compared.residual(model) for model in models]
            told = f"forward residual {residuals[0]:.3f} with xy, {residuals[1]:.3f} with yx"
            axes = fits[best].axes if np.isfinite(error) else "AXES"
            self._log.ask(POSITIONS, "axes", {"axes": axes}, told=told)
        return [fits[best], fits[1 - best]]

    def _ask_better(self, finding: Finding, own: Way) -> Way:
        """Return the way to go on with; ask where the data speak against the file's own."""
        better, others = finding.better, finding.others
        told = f"forward residual {finding.residual:.3f} as stored"
        if better and self._contradicts(better, own):
            return own
        if better and finding.clear:
            words, take = in_words(better, own), _apart(better, own)
            keep = {name: STEPS[name][1] for name in take if name != "flip_about"}
            if "axes" in keep:
                keep["axes"] = own.axes
            told += f", {others[words]:.3f} so"
            if take.get("flip_frames") == XY0:
                words += " (or object and probe both conjugated)"
            said = {"take": _said(take), "keep": _said(keep)}
            self._log.ask(COORDINATES, "flip", take, words=words, told=told, **said)
            return replace(better, **UNTURNED)
        stated = STEPS.keys() & self._log.answers.given().keys()
        if (better or finding.unrelated) and not stated:
            words, best = next(iter(others.items()), ("nothing else", finding.residual))
            evidence = {"count": len(others), "best": best, "words": words}
            self._log.ask(COORDINATES, "lag", {"lag": 0}, told=told, **evidence)
        return own


def _apart(way: Way, own: Way) -> dict[str, Any]:
    """Field of `Answers` -> what one way states that the other does not."""
    parts = {name: (getattr(way, part), getattr(own, part)) for name, (part, _) in STEPS.items()}
    return {name: one for name, (one, other) in parts.items() if one != other}


def _said(answers: dict[str, Any]) -> str:
    return " ".join(option(name, value) for name, value in answers.items())
