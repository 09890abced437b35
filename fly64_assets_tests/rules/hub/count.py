"""``python -m fly64_assets_tests.rules.hub.count HUB``: the table of mutants in docs/verify.md.

The tests ask of every mutant whether the check that is meant to find it does. Here every check
looks at every mutant, which takes some minutes, and what else failed is counted.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fly64_assets.rules.hub import CHECKS, Hub, Memory, in_order, run_checks
from fly64_assets_tests.rules.hub.forging import Original
from fly64_assets_tests.rules.hub.mutants import MUTANTS, Mutant


def results(hub: Path) -> list[tuple[Mutant, set[str]]]:
    """Every mutant with the checks that fail on it once it is hidden."""
    original, memory, found = Original(hub), Memory(), []
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory(dir=hub.parent) as folder:
            forgery = original.copy_to(Path(folder) / "hub")
            mutant.edit(forgery)
            if mutant.hidden:
                forgery.reseal()
            copy = Hub(forgery.root, memory, forgery.known_hashes())
            found.append((mutant, {one.check.name for one in run_checks(copy).failed}))
    return found


def main() -> None:
    found = results(Path(sys.argv[1]).resolve())
    print("| check | what must hold | mutants | found | by it alone |\n|---|---|--:|--:|--:|")
    totals = [0, 0, 0]
    for one in in_order():
        own = [by for mutant, by in found if mutant.check == one.name]
        row = [len(own), sum(one.name in by for by in own), sum(by == {one.name} for by in own)]
        totals = [total + number for total, number in zip(totals, row, strict=True)]
        rule = one.rule.replace("|", "\\|")
        print(f"| `{one.name}` | {rule} | {' | '.join(map(str, row))} |")
    print(f"| all {len(CHECKS)} | | {' | '.join(map(str, totals))} |")
    for mutant, by in found:
        if mutant.check not in by:
            print(f"not found: {mutant}; failed: {sorted(by)}")


if __name__ == "__main__":
    main()
