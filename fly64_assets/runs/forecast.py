"""What a run would do: every product that it would make or check, on how much, for how long.

Computed from the planner's verdicts, the views' counts and the times of earlier materializations;
nothing is touched. Showing it is the console's.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from dagster import AssetKey, AssetRecordsFilter

from fly64_assets.pipeline.freshness import Planner, State, Verdict, input_version
from fly64_assets.pipeline.records import PROVENANCE
from fly64_assets.pipeline.targets import Cell, next_request
from fly64_assets.pipeline.view_preview import ViewCounts
from fly64_assets.study.conditions import Condition
from fly64_assets.study.products import ALL_LEVELS, Level, Product

PAST_RUNS = 30
"""So many of a product's latest materializations are asked for their time."""


class Action(StrEnum):
    MAKE = "make"
    CHECK = "check"
    MAKE_IF_CHANGED = "make if changed"
    SKIP = "skip"


@dataclass(frozen=True)
class Planned:
    """One product in one condition.

    Attributes:
        verdict: what the planner says of it now.
        action: what a run would do. "make if changed": only if what an earlier run makes of its
            inputs comes out different from what it was made from.
        images: diffraction patterns that it is made from or holds; None where there are none.
        groups: training groups; None for what forms none.
        seconds: what to expect, see `Forecast`; None where nothing is known.
    """

    verdict: Verdict
    action: Action
    images: int | None
    groups: int | None
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "product": verdict.product.name,
            "partition": verdict.condition.partition_key,
            "action": str(self.action),
            "state": str(verdict.state),
            "reason": verdict.reason,
            "images": self.images,
            "groups": self.groups,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }


class Forecast:
    """What `fly64 run` would do for some conditions.

    The time of a product is the median over its earlier materializations, those of the same view
    where there are any: what a step costs follows from the view's number of images and not from
    the dose. Checks and the start of processes are not in it.

    Args:
        planner: one look at the study.
        conditions: the asked cells of the matrix.
        counts: view -> split -> what the view will hold.
        scan: split -> positions of the split's half of the scan.
    """

    def __init__(
        self,
        planner: Planner,
        conditions: Iterable[Condition],
        counts: Mapping[str, Mapping[str, ViewCounts]],
        scan: Mapping[str, int],
    ) -> None:
        self._planner, self._counts, self._scan = planner, counts, scan
        self._actions: dict[tuple[Product, Condition], Action] = {}
        self._times: dict[Product, list[tuple[Condition, float]]] = {}
        cells = {Cell.of(level, at): None for at in conditions for level in ALL_LEVELS}
        # Level by level, as they are run, and within a level as the conditions were asked for.
        ordered = [cell for level in ALL_LEVELS for cell in cells if cell.level == level]
        self.planned = [planned for cell in ordered for planned in self._plan(cell)]

    def _plan(self, cell: Cell) -> list[Planned]:
        request = next_request(self._planner, cell.condition, cell.level)
        made = set(request.make) if request else set()
        checked = set(request.check) if request else set()
        found = []
        for item in cell.level.products_in(self._planner.study):
            verdict = self._planner.verdict(item, cell.condition)
            # What is only checked first may leave something to make: the checks decide.
            if item in checked:
                action = Action.CHECK
            elif item in made or verdict.must_run:
                action = self._make(cell.level, verdict)
            else:
                action = Action.SKIP
            self._actions[item, cell.condition] = action
            images, groups = self._size(item, cell.condition)
            seconds = self._expected_seconds(item, cell.condition)
            found.append(Planned(verdict, action, images, groups, seconds))
        return found

    def _make(self, level: Level, verdict: Verdict) -> Action:
        """Whether a product is made for certain, or only if its inputs come out different."""
        item, condition = verdict.product, verdict.condition
        if verdict.record is None or not self._stands_but_for_its_inputs(verdict):
            return Action.MAKE
        for upstream, at in self._planner.inputs_of(item, condition):
            remade = self._actions.get((upstream, at)) is Action.MAKE
            # One run makes all that was asked of it; it does not look again in between.
            if remade and (upstream in level.products or item.depends_on_bytes):
                return Action.MAKE
        return Action.MAKE_IF_CHANGED

    def _stands_but_for_its_inputs(self, verdict: Verdict) -> bool:
        """Whether the record would be fresh if what it was made from were made again unchanged."""
        record, planner, item = verdict.record, self._planner, verdict.product
        assert record is not None
        if verdict.state is not State.STALE or planner.ledger.altered(record):
            return False
        versions = {}
        for upstream, at in planner.inputs_of(item, verdict.condition):
            made = planner.record(upstream, at)
            if made is None:
                return False
            versions[upstream.name] = input_version(item, made.provenance)
        expected = planner.fingerprint(item, verdict.condition, versions)
        checks = planner.ledger.checks(record)
        return record.provenance.fingerprint == expected and not any(c.failed for c in checks)

    def _size(self, item: Product, condition: Condition) -> tuple[int | None, int | None]:
        """Images and training groups of one product."""
        if item.per == "study" or item.group == "g_reports":
            return None, None
        if item.per == "dose":
            return self._scan[str(item.split)], None
        counts = self._counts[str(condition.view)]
        if item.group == "e_models":
            groups = counts["train"].n_training_groups if item.key == ("pinn_model",) else None
            return counts["train"].n_images, groups
        if item.split is None:
            return None, None
        split = counts[item.split]
        return split.n_images, split.n_training_groups if item.group == "d_views" else None

    def _expected_seconds(self, item: Product, condition: Condition) -> float | None:
        if item not in self._times:
            self._times[item] = self._past(item)
        times = self._times[item]
        alike = [seconds for at, seconds in times if at.view == condition.view]
        chosen = alike or [seconds for _, seconds in times]
        return statistics.median(chosen) if chosen else None

    def _past(self, item: Product) -> list[tuple[Condition, float]]:
        found = self._planner.ledger.instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(item.key)), limit=PAST_RUNS
        ).records
        times = []
        for record in found:
            made = record.asset_materialization
            carried = made.metadata.get(PROVENANCE) if made else None
            if carried is not None:
                condition = Condition.from_partition_key(record.partition_key)
                times.append((condition, float(cast(Any, carried.value)["seconds"])))
        return times

    def those(self, *actions: Action) -> list[Planned]:
        return [planned for planned in self.planned if planned.action in actions]

    def seconds(self, *actions: Action) -> tuple[float, int]:
        """Return the seconds of those actions one after the other, and how many are unknown.

        What one computation makes together (both halves of a dataset) is counted once.
        """
        total, unknown = 0.0, 0
        together: dict[tuple[str, Condition], float] = {}
        for planned in self.those(*actions):
            if planned.seconds is None:
                unknown += 1
            elif planned.verdict.product.group == "c_datasets":
                key = (planned.verdict.product.group, planned.verdict.condition)
                together[key] = max(together.get(key, 0.0), planned.seconds)
            else:
                total += planned.seconds
        return total + sum(together.values()), unknown

    def to_json(self) -> dict[str, Any]:
        """Totals, what would run, what is skipped and why."""
        seconds, unknown = self.seconds(Action.MAKE)
        perhaps, _ = self.seconds(Action.MAKE_IF_CHANGED)
        return {
            "totals": {
                **{
                    str(action).replace(" ", "_"): len(self.those(action))
                    for action in (Action.MAKE, Action.CHECK, Action.MAKE_IF_CHANGED, Action.SKIP)
                },
                "seconds": round(seconds, 1),
                "seconds_if_changed": round(perhaps, 1),
                "without_estimate": unknown,
            },
            "products": [planned.to_json() for planned in self.planned],
        }
