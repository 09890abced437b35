"""``python -m fly64_assets.cli``: the same as ``fly64``."""

from fly64_assets.cli import main

main(prog_name="fly64")
