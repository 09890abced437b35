"""Where a file belongs whose lineage is asked for: a study's store, an exported hub, or neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fly64_assets.hub.crate_lineage import HubHome
from fly64_assets.hub.lineage import Home
from fly64_assets.hub.lineage_store import open_store
from fly64_assets.study.hub_layout import RO_CRATE


@contextmanager
def home_of(path: Path) -> Iterator[tuple[Home, str] | None]:
    """Open the store or hub that a file belongs to, with its path there; None for any other file.

    The file itself need not exist: one that is gone has a lineage as well.
    """
    path = Path(os.path.abspath(path))
    for folder in path.parents:
        if os.path.isfile(folder / RO_CRATE):
            yield HubHome(folder), path.relative_to(folder).as_posix()
            return
        store = folder / "store"
        if store in path.parents and (folder / "dagster").is_dir():
            with open_store(folder) as home:
                yield home, path.relative_to(store).as_posix()
            return
    yield None
