"""The notice on the study report's page when what it says does not hold any more.

The page lies in the store and is opened without any command; it cannot know. So every command that
finds that it does not hold covers it with the reason, and uncovers it when it does again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from html import escape

from dagster import DagsterInstance

from fly64_assets.errors import InputError, NotTrusted
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import Planner, State
from fly64_assets.pipeline.records import Record
from fly64_assets.pipeline.store import not_as_kept, write_whole
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import product

PRODUCT = product("study_report")
MARK = "\n<!-- this report does not hold any more -->\n"
"""Where the notice begins, behind the page as it was made."""
NOTICE = (
    "{mark}<style>body > :not(#notice) {{ display: none !important }}</style>"
    '<div id="notice" role="alert"><h1>This report does not hold any more</h1><p>{reason}</p>'
    "<p><code>fly64 report</code> makes it again, once <code>fly64 run</code> has mended what it "
    "is about.</p></div>\n"
)
"""Hides all that stands before it."""


def settled_planner(context: StudyContext, instance: DagsterInstance) -> Planner:
    """Return a planner for a command that shows how things stand, with the page as it says.

    Where the results cannot be written the page stays as it is; the command's answer is the same.
    """
    planner = context.planner(instance)
    verdict = planner.verdict(PRODUCT, Condition())
    with contextlib.suppress(OSError, InputError, NotTrusted, UnicodeDecodeError):
        if verdict.record is not None and verdict.must_run and _settle(planner, verdict.record):
            return context.planner(instance)
    return planner


def _settle(planner: Planner, record: Record) -> bool:
    """Cover or uncover the page; whether it is as it was made again, and was not."""
    store, ledger = planner.ledger.store, planner.ledger
    path = store.path(PRODUCT, Condition(), PRODUCT.files[0])
    if not_as_kept(store.root, store.relative(path)) is not None:
        return False
    text = path.read_bytes().decode("utf-8")
    page, covered, _ = text.partition(MARK)
    written = record.provenance.files[store.relative(path)].sha256
    whole = hashlib.sha256(page.encode()).hexdigest() == written
    reason = _misleads(planner, record, whole=whole)
    wanted = page + NOTICE.format(mark=MARK, reason=escape(reason)) if reason else page
    if wanted == text or not os.access(path.parent, os.W_OK):
        return False
    # As the step that makes the page locks it, which may have made another one by now.
    with store.lock(f"{PRODUCT.name}-{Condition()}", PRODUCT.name):
        if ledger.latest(PRODUCT, Condition()) == record:
            write_whole(path, wanted)
    return bool(covered) and not reason


def _misleads(planner: Planner, record: Record, *, whole: bool) -> str:
    """Return what the page shows as finished and is not so any more; empty where all is.

    A page that lacks a dose that was added since, or is not of the newest code, misleads nobody.
    """
    verdict = planner.verdict(PRODUCT, Condition())
    inputs = (planner.verdict(*each) for each in planner.inputs_of(PRODUCT, Condition()))
    altered = any(each.state is State.ALTERED for each in inputs)
    then = record.provenance.settings.get("conditions", {})
    now = {str(at): planner.standing(at) for at in planner.conditions}
    shown = [at for at, standing in then.items() if standing["state"] == State.FRESH]
    changed = any(now.get(at) != then[at] for at in shown)
    failed = verdict.state is State.FAILED
    return verdict.reason if failed or changed or altered or not whole else ""
