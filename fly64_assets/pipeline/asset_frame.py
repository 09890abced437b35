"""The frame around every asset: inputs opened, files staged, progress told, provenance attached.

A phase's module gives bodies, ``body(run) -> Outcome``, each under `phase_asset` with the words for
the UI; this module turns them into Dagster assets with the keys, partitions, code version and
inputs that the catalogue states. A body sees the settings of its product and nothing else of the
study, so a fingerprint cannot miss one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetOut,
    AssetsDefinition,
    DataVersion,
    MultiToSingleDimensionPartitionMapping,
    Output,
    multi_asset,
)
from pydantic import BaseModel

from fly64_assets.documents import files
from fly64_assets.errors import NotTrusted
from fly64_assets.pipeline.accelerator import limit_device, require_device
from fly64_assets.pipeline.checkpoints import StoredCheckpoint
from fly64_assets.pipeline.context import StudyContext
from fly64_assets.pipeline.conventions import description
from fly64_assets.pipeline.freshness import Planner, input_version
from fly64_assets.pipeline.io_manager import Staged, StoredInput
from fly64_assets.pipeline.partitions import partitions_definition
from fly64_assets.pipeline.process import (
    end_with_parent,
    limit_threads,
    program_version,
    utc_now,
)
from fly64_assets.pipeline.progress import reporter
from fly64_assets.pipeline.records import Ledger
from fly64_assets.solvers.interface import ProgressCallback
from fly64_assets.study.arms import ARMS
from fly64_assets.study.conditions import Condition
from fly64_assets.study.model import specimen_path
from fly64_assets.study.products import (
    BY_KEY,
    Key,
    Product,
    collects_in,
    files_in,
    inputs_in,
    products_in,
)

Section = TypeVar("Section", bound=BaseModel)
SOLVER_POOL = "solver"
"""One step at a time of those that compute with all of the study's threads, or with the GPU."""
OWNERS = ("team:ptychography",)
PATTERN_UNITS = ("pattern", "patterns", "exposures")
"""Units of progress that are diffraction patterns."""


@dataclass(frozen=True)
class Outcome:
    """What a body says of one product that it staged.

    Attributes:
        data_version: sha256 of the content without times, host and versions.
        metadata: what to show beside the provenance.
    """

    data_version: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PhaseRun:
    """What a body works with.

    ``threads`` is for work whose result does not depend on it; a solver, whose result does, finds
    its threads in ``settings``, which the fingerprint covers. ``checkpoint`` is what an interrupted
    run of the same fingerprint left; it goes when the product is in place. ``gathered`` holds the
    inputs of every fresh condition, where the product is made of all of them. ``inputs`` are
    vouched for; of a product that only reports on their checks they are what there is of them.
    """

    product: Product
    condition: Condition
    settings: Mapping[str, Any]
    inputs: Mapping[str, StoredInput]
    gathered: Mapping[str, StoredInput]
    staging: Path
    source: Path
    threads: int
    log: Callable[[str], None]
    planner: Planner
    checkpoint: StoredCheckpoint

    @property
    def split(self) -> str:
        """The half that the product is of, where it is of one."""
        return str(self.product.split)

    @property
    def arm(self) -> Any:
        """The row of `ARMS` that the product is of, where it is of one."""
        return next(arm for arm in ARMS if arm.name == self.product.arm)

    @property
    def ledger(self) -> Ledger:
        return self.planner.ledger

    def gathered_from(self, condition: str, *key: str) -> StoredInput:
        """One condition's product, of a product that is made of all of them."""
        return self.gathered[f"{'/'.join(key)} {condition}"]

    def input(self, *key: str) -> StoredInput:
        return self.inputs["/".join(key)]

    def write_text(self, name: str, text: str) -> None:
        """Stage a text file."""
        files.write_text(self.staging / name, text)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Stage a JSON file."""
        files.write_json(self.staging / name, content)

    def input_hashes(self) -> dict[str, str]:
        """``<asset>/<file>`` -> sha256 of every input file."""
        merged: dict[str, str] = {}
        for given in self.inputs.values():
            merged |= given.sha256_by_name()
        return merged

    def made_from(
        self, metadata: Mapping[str, Any], tool: str, **parameters: Any
    ) -> dict[str, Any]:
        """Return an input's DATA-001 metadata with this making as one transformation more.

        Args:
            metadata: of the input.
            tool: what is done.
            parameters: beside the settings that this product reads.
        """
        from fly64_assets.ptychography.data001.metadata import with_transformation

        return with_transformation(
            metadata,
            tool=tool,
            version=program_version(),
            time=utc_now(),
            parameters={**parameters, **self.settings},
            inputs=self.input_hashes(),
        )

    def section(self, name: str, kind: type[Section]) -> Section:
        """Return a typed section of the study, from the settings that this product reads."""
        return kind.model_validate(self.settings[name])

    def progress(self, label: str) -> ProgressCallback:
        """Return a callback that tells the event log how far ``label`` is, and how long yet."""
        return reporter(label, self.log, patterns_in=self._patterns_in)

    def _patterns_in(self, unit: str) -> int | None:
        """Diffraction patterns in a unit of progress: an epoch goes through its one view."""
        if unit in PATTERN_UNITS:
            return 1
        views = [given for given in self.inputs.values() if given.record.product.group == "d_views"]
        images = views[0].record.figures.get("n_images_kept") if len(views) == 1 else None
        return int(images) if images is not None and unit.startswith("epoch") else None


Body = Callable[[PhaseRun], Outcome | Mapping[Key, Outcome]]


def _mapping(first: Product, key: Key) -> MultiToSingleDimensionPartitionMapping | None:
    narrowed = first.per == "condition" and BY_KEY[key].per == "dose"
    return MultiToSingleDimensionPartitionMapping("dose") if narrowed else None


def _inputs(first: Product, keys: tuple[Key, ...]) -> dict[str, AssetIn]:
    return {
        "_".join(key): AssetIn(AssetKey(key), partition_mapping=_mapping(first, key))
        for key in keys
    }


def _deps(first: Product, keys: tuple[Key, ...]) -> list[AssetDep]:
    """Return what is shown as upstream, and not handed to the step by Dagster."""
    return [AssetDep(AssetKey(key), partition_mapping=_mapping(first, key)) for key in keys]


def _output_name(product: Product) -> str:
    return "_".join(product.key)


@dataclass(frozen=True)
class PhaseAsset:
    """A body, and what the UI says of the products that it makes.

    Attributes:
        body: makes the files of a product (of all of them, where ``together``) in ``run.staging``.
        name: last part of their keys, ``*`` for any arm's.
        about: what a product is, with ``{split}``, ``{Split}``, ``{arm}`` (its name), ``{how}`` (it
            works) and ``{arms}`` (of the study); the units and axes of its phase are added.
        kinds: tags of the technology, shown on the asset.
        solver: whether the step computes with all of the study's threads, or the GPU, and so waits
            for the pool; any other has one thread.
        together: whether one computation makes all of the products, equal in partitioning, inputs
            and settings; each has one of its own otherwise.
    """

    body: Body
    name: str
    about: str
    kinds: frozenset[str]
    solver: bool = False
    together: bool = False

    def __call__(self, run: PhaseRun) -> Outcome | Mapping[Key, Outcome]:
        return self.body(run)

    def build(self, context: StudyContext) -> list[AssetsDefinition]:
        """Its Dagster assets in a study."""
        items = tuple(p for p in products_in(context.study) if fnmatch(p.key[-1], self.name))
        steps = [items] if self.together else [(item,) for item in items]
        return [_asset(context, products, self) for products in steps]

    def described(self, item: Product, arms: Sequence[str]) -> str:
        """Return what one of its products is."""
        arm = next((arm for arm in ARMS if arm.name == item.arm), None)
        return self.about.format(
            split=item.split,
            Split=str(item.split).capitalize(),
            arm=arm and arm.name,
            how=arm and arm.about,
            arms=", ".join(arms),
        )


def phase_asset(
    name: str, about: str, *kinds: str, solver: bool = False, together: bool = False
) -> Callable[[Body], PhaseAsset]:
    """Make a body an asset of the products with this name; see `PhaseAsset`."""
    return lambda body: PhaseAsset(body, name, about, frozenset(kinds), solver, together)


def _asset(
    context: StudyContext, products: tuple[Product, ...], made: PhaseAsset
) -> AssetsDefinition:
    first = products[0]
    keys, collected = inputs_in(first, context.study), collects_in(first, context.study)
    # Whose checks alone are read need not be sound.
    loaded, shown = ((), keys) if first.depends_on_checks else (keys, collected)
    name = "_".join(first.key) if len(products) == 1 else "_and_".join(map(_output_name, products))

    @multi_asset(
        name=name,
        ins=_inputs(first, loaded),
        outs={
            _output_name(product): AssetOut(
                key=AssetKey(product.key),
                description=description(
                    product, made.described(product, context.study.arms), context.study
                ),
                group_name=product.group,
                code_version=product.code_version,
                owners=OWNERS,
                kinds=set(made.kinds),
                metadata={
                    "folder": product.folder,
                    "files": list(files_in(product, context.study)),
                },
            )
            for product in products
        },
        deps=_deps(first, shown),
        partitions_def=partitions_definition(context.study, first.per),
        pool=SOLVER_POOL if made.solver else None,
    )
    def compute(context_: AssetExecutionContext, **inputs: StoredInput) -> Iterator[Output]:
        started = time.monotonic()
        if made.solver:
            require_device(context.study.device, context.study_file)
        end_with_parent()
        limit_threads(context.study.threads if made.solver else 1)
        limit_device(context.study.device if made.solver else "cpu")
        key = context_.partition_key if context_.has_partition_key else None
        condition = Condition.from_partition_key(key)
        planner = context.planner(context_.instance)
        reported = planner.reported(first, condition) if first.depends_on_checks else []
        given = [*inputs.values(), *(StoredInput(record, context.store) for record in reported)]
        # In the order of the catalogue, in which people read them.
        by_key = {one.record.product.key: one for one in given}
        by_name = {"/".join(key): by_key[key] for key in keys if key in by_key}
        with context.store.staging(f"{name}-{condition}") as staging:
            versions = {
                name: input_version(first, given.record.provenance)
                for name, given in by_name.items()
            }
            settings = planner.settings(first, condition)
            gathered = {
                f"{record.product.name} {at}": StoredInput(
                    planner.trusted(record.product, at), context.store
                )
                for at, records in (planner.gathered(first) if first.collects else {}).items()
                for record in records
            }
            if first.collects and not gathered:
                raise NotTrusted(f"{first.name}: no condition is finished yet: `fly64 run` first")
            checkpoint = StoredCheckpoint(
                context.store.checkpoint_folder(first, condition),
                planner.fingerprint(first, condition, versions, settings),
                context_.log.info,
            )
            run = PhaseRun(
                first,
                condition,
                settings,
                by_name,
                gathered,
                staging,
                specimen_path(context.study, context.study_file),
                context.study.threads,
                context_.log.info,
                planner,
                checkpoint,
            )
            told = made(run)
            outcomes = {first.key: told} if isinstance(told, Outcome) else told
            for product in products:
                outcome = outcomes[product.key]
                staged = Staged(
                    product,
                    condition,
                    staging,
                    outcome.data_version,
                    by_name,
                    gathered,
                    settings,
                    started,
                    checkpoint.spent.seconds,
                    outcome.metadata,
                )
                yield Output(
                    staged,
                    output_name=_output_name(product),
                    data_version=DataVersion(outcome.data_version),
                )
            # Here every product lies in its place and is recorded.
            checkpoint.remove()

    return compute
