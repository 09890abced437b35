"""Values that are no photons, and frames that were never written: found, named, masked, dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from fly64_assets.errors import InputError
from fly64_assets.ptychography.importing.change_log import ChangeLog
from fly64_assets.ptychography.importing.frames import FEW, HALF, Frames, Mask, Statistics
from fly64_assets.ptychography.importing.questions import is_file
from fly64_assets.ptychography.importing.source import Source, open_source
from fly64_assets.study.hashing import sha256_of

MASKS = (
    "mask",
    "pixel_mask",
    "entry_1/instrument_1/detector_1/mask",
    "entry_1/data_1/mask",
    "entry_1/image_1/mask",
    "entry/instrument/detector/pixel_mask",
    "entry/instrument/detector/detectorSpecific/pixel_mask",
)
"""Where a file says which pixels count nothing: 0 is good (CXI, NeXus)."""
INVERSE = "not:"
FOUND, NONE = "found", "none"
LIT = 1e4
"""Counts, over all frames, on both sides of a pixel that has none: no beam is so dark between."""
WIDEST_GAP = 8
STUCK_FRAMES = 32
STUCK_SHARE = 0.05
FAR_ABOVE = 30.0
"""Mean counts of a frame from which on an empty one, or two equal ones, do not come by chance."""


def find_mask(log: ChangeLog, frames: Frames) -> tuple[Mask, Statistics]:
    """Decide what is masked, as stated or as a question suggests; and what else the frames hold.

    Raises:
        InputError: a mask that was stated is none, marks most pixels, or is of no use.
    """
    stated = log.answers.mask
    mask = Mask(_stated_pixels(log, frames.side), infinite=NONE not in stated)
    if NONE in stated:
        return mask, Statistics(frames, mask)
    unused = [] if stated else list(_masks_of_the_file(log.source, frames.side))
    for name in unused:
        mask.pixels |= _read(log.source, name)
    found = Statistics(frames, mask)
    if named := _mask_values(found, mask, frames):
        found = Statistics(frames, mask)
    pixels = _mask_pixels(found, mask, len(frames))
    usual = len(set(found.broken) - set(found.lost)) > HALF * len(frames)
    mask.infinite = bool(found.broken) and (FOUND in stated or usual)
    if mask.infinite:
        named.append(f"{found.infinite} that are not finite")
    named += pixels
    if FOUND in stated and not named:
        problem = f"{FOUND} was stated, but every value may be a count: leave it out"
        raise InputError("--mask", "", problem)
    if (named or unused) and FOUND not in stated:
        suggested = [*unused, *([FOUND] if named else [])]
        told = [f"values that are no photons: {', '.join(named)}"] if named else []
        told += [f"{' and '.join(unused)} marks bad pixels"] if unused else []
        options = " ".join(f"--mask {name}" for name in suggested)
        masks = {"mask": (*stated, *suggested)}
        log.ask("diffraction", "mask", masks, told="; ".join(told), options=options)
    return mask, Statistics(frames, mask) if pixels else found


def _mask_values(found: Statistics, mask: Mask, frames: Frames) -> list[str]:
    """Mask the numbers that stand for no counts, and name them."""
    named, dtype = [], frames.stored.dtype
    for mark, count in found.marks.items():
        # The largest count of a good file may be such a number by chance: once, and not alone.
        limit = dtype.kind in "iu" and mark == float(np.iinfo(dtype).max)
        if limit or mark > 2 * found.below_marks or count > FEW:
            mask.values += (mark,)
            named.append(f"{count} of {mark:.10g}")
    if found.negative and len(found.negatives) <= FEW:
        mask.negative = True
        which = ", ".join(f"{value:g}" for value in sorted(found.negatives))
        named.append(f"{found.negative} of {which}")
    return named


def _mask_pixels(found: Statistics, mask: Mask, count: int) -> list[str]:
    """Mask the pixels that count nothing in any frame, and say how many these are."""
    if not found.largest:
        return []
    good = ~mask.pixels
    stuck = (found.low == found.high) & (found.high > 0) & good
    stuck &= count >= STUCK_FRAMES and stuck.mean() <= STUCK_SHARE
    dark = (found.high == 0) & _enclosed(found.counts() >= LIT) & good & ~found.touched
    mask.pixels |= stuck | dark
    kinds = ((stuck, "pixels that never change"), (dark, "dark pixels between lit ones"))
    return [f"{int(pixels.sum())} {words}" for pixels, words in kinds if pixels.any()]


def _enclosed(lit: np.ndarray) -> np.ndarray:
    """Mark what is lit within `WIDEST_GAP` on both sides, along the row or along the column."""

    def near(axis: int, side: int) -> np.ndarray:
        half = WIDEST_GAP // 2
        return ndimage.maximum_filter1d(
            lit, WIDEST_GAP + 1, axis, mode="constant", origin=side * half
        )

    return np.logical_or(*(near(axis, 1) & near(axis, -1) for axis in (0, 1)))


def _stated_pixels(log: ChangeLog, side: int) -> np.ndarray:
    """Read the masks that answers name, (N, N) bool."""
    stated = log.answers.mask
    if NONE in stated and len(stated) > 1:
        raise InputError("--mask", NONE, "was stated beside other masks: leave one out")
    pixels = np.zeros((side, side), bool)
    for name in (name for name in stated if name not in (FOUND, NONE)):
        plain = name.removeprefix(INVERSE)
        if is_file(plain):
            with open_source(plain) as other:
                held = [*filter(other.exists, MASKS), *other.names, "mask"][0]
                marked = _read(other, name.replace(plain, held))
            log.inputs[Path(plain).name] = sha256_of(plain)
        else:
            marked = _read(log.source, name)
        if marked.shape != pixels.shape:
            problem = f"shape is {marked.shape}, the patterns are {side} x {side}"
            raise log.source.error(plain, problem)
        if marked.mean() > HALF:
            other_way = plain if name != plain else INVERSE + plain
            problem = f"marks {100 * marked.mean():.0f} % of the pixels: are these the good ones? "
            raise log.source.error(plain, f"{problem}say --mask {other_way}")
        pixels |= marked
        reason = f"--mask {Path(plain).name if is_file(plain) else name}"
        log.add("diffraction", "pixels masked", None, int(marked.sum()), reason)
    return pixels


def _read(source: Source, name: str) -> np.ndarray:
    """Read a mask, bool; after `INVERSE` what is 0 is bad."""
    stored = source.array(name.removeprefix(INVERSE).strip("/")).squeezed(2)
    if len(stored.shape) != 2 or stored.dtype.kind not in "biuf":
        problem = f"is {stored.dtype} {stored.shape}; one mask (N, N) for all frames is wanted"
        raise source.error(name.removeprefix(INVERSE), problem)
    return (stored.whole() != 0) ^ name.startswith(INVERSE)


def _masks_of_the_file(source: Source, side: int) -> Iterator[str]:
    """Name the masks that lie in the file, fit and mark something."""
    held: list[str] = []
    for name in MASKS:
        if not source.exists(name) or any(source.same(name, one) for one in held):
            continue
        try:
            marked = _read(source, name)
        except InputError:
            continue  # whatever it is, no mask of these patterns
        if marked.shape == (side, side) and marked.any():
            held.append(name)
            if not marked.all():
                yield name if marked.mean() <= HALF else INVERSE + name


def bad_frames(
    log: ChangeLog, frames: Frames, found: Statistics, mask: Mask, pairs: np.ndarray | None
) -> np.ndarray:
    """Return the numbers of frames to leave out: not finite, empty, or there before.

    Args:
        log: asked, where it was not stated what to do.
        frames, found, mask: of `find_mask`.
        pairs: (n, 2) positions in whatever unit, ``None`` where they are not known.
    """
    adrift = [] if pairs is None else np.flatnonzero(~np.isfinite(pairs).all(axis=1)).tolist()
    broken = sorted({*(found.lost if mask.infinite else found.broken), *adrift})
    kinds = {"hold values that are not finite": broken}
    lit = len(frames) - len(found.empty) - len(found.lost)
    if found.largest and float(found.counts().sum()) >= FAR_ABOVE * lit:
        kinds["hold no light"] = found.empty
        kinds["equal an earlier one that was taken elsewhere"] = [
            number
            for number, first in found.repeated.items()
            if pairs is None or not np.array_equal(pairs[number], pairs[first])
        ]
    bad = sorted({number for numbers in kinds.values() for number in numbers})
    if not bad:
        return np.zeros(0, np.intp)
    log.need("bad_frames")
    told = ", ".join(
        f"{len(numbers)} of {len(frames)} frames, the first {min(numbers)}, {kind}"
        for kind, numbers in kinds.items()
        if numbers
    )
    choice = log.answers.bad_frames
    if choice == "keep" and broken:
        problem = f"keep was stated, but {told}: only drop, or --mask {FOUND}, can be"
        raise InputError("--bad-frames", "", problem)
    if choice is None:
        otherwise = "" if broken else ", or --bad-frames keep"
        if found.broken and not adrift:
            otherwise = f", or --mask {FOUND} to mask what is not finite"
        key = "xcoords, ycoords" if adrift and not found.broken else "diffraction"
        suggested = {"bad_frames": "drop"}
        log.ask(key, "bad_frames", suggested, told=told, otherwise=otherwise)
    return np.asarray([] if choice == "keep" else bad, np.intp)
