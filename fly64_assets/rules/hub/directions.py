"""The check that no text contradicts a metric's direction."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.checks import Finding, check
from fly64_assets.rules.hub.reading import Hub

DIRECTIONS = {name: "higher" for name in ("MS-SSIM", "SSIM", "PSNR", "FRC", "FRC50")}
DIRECTIONS |= {"MAE": "lower", "MSE": "lower"}
NEXT_METRIC = re.compile(r" (MS-SSIM|SSIM|PSNR|FRC50|FRC|MAE|MSE)\b")
CLAIM = re.compile(
    r"(?P<metric>MS-SSIM|SSIM|PSNR|FRC50|FRC|MAE|MSE)"
    r"|(?P<claim>(?:higher|lower)(?= is better)"
    r"|(?:positive|negative)(?=[^.;:]*\b(?:favours|better|favour)\b))"
)


@check("reports.direction", "analysis/*.{{md,txt}}", "no text contradicts a metric's direction")
def direction(hub: Hub) -> Iterator[Finding]:
    for path in hub.text_files:
        if not path.endswith((".md", ".txt")) or path == contract.INVENTORY:
            continue
        for number, line in enumerate(hub.lines(path), start=1):
            metric = None
            for found in CLAIM.finditer(line):
                if found["metric"]:
                    metric = found["metric"]
                    continue
                claim = found["claim"]
                meant = {"positive": "higher", "negative": "lower"}.get(claim, claim)
                about = NEXT_METRIC.match(line, found.end())
                name = about[1] if about else metric
                if name and DIRECTIONS[name] != meant:
                    yield Finding(path, f"line {number}", f"{claim!r} is wrong for {name}")
