"""``fly64 data001``: a dataset file held against its contract."""

from __future__ import annotations

import click

from fly64_assets.cli.options import exit_code


@click.command()
@click.argument("file")
@exit_code
def data001(file: str) -> int:
    """Hold FILE against DATA-001 and show every rule. Exit 2 when one is broken.

    Example: fly64 data001 results/demo/store/data/phase_c/dose_1000/patched_train.npz
    """
    from fly64_assets import console
    from fly64_assets.ptychography.data001 import check_data001, require_data001

    console.show_rules(check_data001(file))
    require_data001(file)
    return 0
