"""``fly64 run`` narrowed to some products, as the UI's own buttons narrow a run.

``python -m fly64_assets_tests.recovery.phase_run NAME,NAME``. All but the choice of products is the
command's own code: the reaper first, the planner, the locks, the executor, what is noted at the
end. Exit code 0 when every run succeeded and the planner calls each product fresh, 1 when not, 2
for an `InputError`. It does not ask whether the store can be written, so that a step meets it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from fly64_assets.cli.options import exit_code
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.freshness import State
from fly64_assets.pipeline.instance import study_instance
from fly64_assets.pipeline.targets import RunRequest
from fly64_assets.runs import runner
from fly64_assets.runs.events import StepEvent
from fly64_assets.study.conditions import Condition


def narrowed(ask: Callable[..., RunRequest | None], names: set[str]):
    """`work.next_request`, of these products only."""

    def narrow(*arguments, **more) -> RunRequest | None:
        request = ask(*arguments, **more)
        if request is None:
            return None
        groups = {item.group for item in request.make if item.name in names}
        make = tuple(
            item
            for item in request.make
            # Both halves of a dataset come from one simulation.
            if item.name in names or item.group == "c_datasets" in groups
        )
        check = tuple(item for item in request.check if item.name in names)
        return replace(request, make=make, check=check) if make or check else None

    return narrow


def tell(request: RunRequest | None, event: StepEvent) -> None:
    print(f"{event.kind} {event.step} {event.text}".rstrip(), flush=True)


@exit_code
def main(names: set[str]) -> int:
    context = StudyContext.load()
    study = context.study
    conditions = [Condition(dose, view) for dose in study.doses for view in study.views]
    runner.next_request = narrowed(runner.next_request, names)
    with study_instance(study, context.study_file) as instance:
        matrix = runner.run_conditions(context, instance, conditions, tell)
        for outcome in matrix.runs:
            for failure in outcome.failures:
                print(f"failed {failure.step}: {failure.text}")
        verdicts = context.planner(instance).survey(conditions)
    unfinished = [v for v in verdicts if v.product.name in names and v.state is not State.FRESH]
    for verdict in unfinished:
        print(f"not finished {verdict}")
    return 0 if not unfinished and all(run.success for run in matrix.runs) else 1


if __name__ == "__main__":
    main(set(sys.argv[1].split(",")))
