"""What a comparison's log says of each network, and of the scores. No rule stands here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fly64_assets.rules.files import Files

FILE = "comparison.log"
TIME = len("YYYY-MM-DDTHH:MM:SSZ ")
STITCHED = re.compile(
    r"([\w-]+): (\d+) patches stitched in (\d+\.\d\d) s, (\d+\.\d\d) CPU s, \d+\.\d % of the "
    r"scored pixels outside every patch's central \d+ px"
)


def lines(comparison: Files) -> list[str]:
    """Return its lines without their times."""
    return [line[TIME:] for line in comparison.text(FILE).splitlines()]


def stitched(comparison: Files) -> Iterator[tuple[str, int, float, float]]:
    """Yield each network with its number of patches, seconds, and CPU-seconds."""
    for line in lines(comparison):
        if found := STITCHED.fullmatch(line):
            name, patches, seconds, cpu_seconds = found.groups()
            yield name, int(patches), float(seconds), float(cpu_seconds)


def cpu_seconds(comparison: Files) -> dict[str, float]:
    """Return network -> CPU-seconds of its reconstruction of a half."""
    return {name: spent for name, _, _, spent in stitched(comparison)}
