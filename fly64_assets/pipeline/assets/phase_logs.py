"""The logs of the steps that made a condition, from the runs that the platform recorded."""

from __future__ import annotations

from fly64_assets.errors import NotTrusted
from fly64_assets.pipeline.asset_frame import Outcome, PhaseRun, phase_asset
from fly64_assets.pipeline.io_manager import StoredInput
from fly64_assets.pipeline.step_logs import RunLog
from fly64_assets.study.hashing import digest
from fly64_assets.study.products import log_file


@phase_asset(
    "phase_logs",
    "One log per step of phases C to G: the run's events and what its process printed, as the "
    "platform captured them; times UTC.",
    "text",
)
def make_logs(run: PhaseRun) -> Outcome:
    runs: dict[str, RunLog] = {}
    lines = 0
    for given in run.inputs.values():
        record = given.record
        if not record.step_key:
            raise NotTrusted(f"{record.product.name} was reported by hand: no run and no log of it")
        if record.run_id not in runs:
            folders = {given.store.root.parent: "<study>"}
            runs[record.run_id] = RunLog(run.ledger.instance, record.run_id, folders)
        try:
            text = runs[record.run_id].text(record.step_key)
        except LookupError as lost:
            text = _written_before(run, given, str(lost))
        lines += text.count("\n")
        run.write_text(log_file(record.product), text)
    # A log is times and durations: what it is of is all that can be the same twice.
    versions = {name: given.data_version for name, given in run.inputs.items()}
    return Outcome(digest(versions), {"logs": len(run.inputs), "lines": lines})


def _written_before(run: PhaseRun, given: StoredInput, lost: str) -> str:
    """Return the log of a step whose run is no longer recorded, from the file made of it.

    Raises:
        NotTrusted: there is none of that very making.
    """
    record, before = given.record, run.ledger.latest(run.product, run.condition)
    path = given.store.path(run.product, run.condition, log_file(record.product))
    name = given.store.relative(path)
    file = before.provenance.files.get(name) if before else None
    if (
        before is None
        or file is None
        or given.store.altered({name: file})
        or before.provenance.inputs[record.product.name].files != given.as_input_record().files
    ):
        raise NotTrusted(f"{lost}, and no file of it is left: `fly64 run --force` makes it again")
    return path.read_text("utf-8")
