"""What each section of a study file may say: types, bounds and a description of every key.

A bound is there because something that reads the value has it, and knows no clear words for it:
float32 arithmetic, a random generator, memory, a network's layers. No model has defaults: every
constant of the platform stands in the study file. The descriptions are what the schema of the study
file shows in an editor, and the documentation in a table. The study as a whole, its consistency and
its reading are in ``model.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fly64_assets.study.cron import cron_problem

LARGEST = 10**12
"""Of any number: its square is a float32, as is that of its inverse."""
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
PositiveNumber = Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]
Weight = Annotated[float, Field(ge=0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=1e-6, le=1 - 1e-6)]
Dose = Annotated[int, Field(gt=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """Strict, immutable and without defaults: an unknown, missing or mistyped key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Seeds(Section):
    """Every random number of the study comes from one of these."""

    simulation: Seed = Field(description="positions and photon noise")
    grouping: Seed = Field(
        description=(
            "training groups; the networks' weights and order; order of pty-chi's mini-batches"
        )
    )
    subsampling: Seed = Field(
        description="the random subset of an image_fraction; blocks of the intervals"
    )


class SimulationSettings(Section):
    """Phase C: the simulated scan."""

    positions: Positive = Field(description="number of scan positions, both halves together")
    margin_px: Weight = Field(
        description="px kept free between an outermost patch and the edge of the canvas"
    )
    shift_padding_px: Annotated[int, Field(ge=0, le=1024)] = Field(
        description="px of context around a patch for its sub-pixel Fourier shift"
    )
    split_guard_px: Weight = Field(
        description="positions nearer than this to the split line, in px, are dropped"
    )


class ViewSettings(Section):
    """A view aims at a target overlap between groups, or keeps a fraction of the images."""

    target_overlap: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description=(
            "mean disc overlap that each group centre has with its nearest other centre, 0 to 1"
        ),
    )
    image_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="part of the images that is kept at random; every kept image is a centre"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> ViewSettings:
        if (self.target_overlap is None) == (self.image_fraction is None):
            raise ValueError("a view gives either target_overlap or image_fraction")
        return self


class OverlapSettings(Section):
    """Phase D: how a view is selected and measured."""

    neighbor_count: Annotated[int, Field(gt=0, le=1000)] = Field(
        description=(
            "K: a full group is a centre and its K nearest neighbours; at least gridsize squared"
        )
    )
    n_groups: Positive = Field(
        description="training groups drawn from the full groups; ignored where gridsize is 1"
    )
    probe_diameter_px: PositiveNumber | Literal["auto"] = Field(
        description=(
            "D, diameter of the overlap discs in px; auto: of the disc, centred on the probe, "
            "that holds probe_power_fraction of its power"
        )
    )
    probe_power_fraction: Fraction = Field(
        description="part of the probe's power that the disc of auto holds"
    )
    overlap_tolerance: Fraction = Field(
        description="how far a view's overlap may lie from its target_overlap"
    )
    min_groups: Annotated[int, Field(ge=2, le=1_000_000)] = Field(
        description="a view with fewer groups is refused before anything runs"
    )
    min_images: Annotated[int, Field(ge=2, le=1_000_000)] = Field(
        description="a view with fewer images is refused before anything runs"
    )


MOST_CHANNELS = 2048
"""Of a U-Net's last level: a layer of so many has 150 MB of weights."""
SMALLEST_FRAME_PX = 12
"""The resampling kernel (`solvers.resampling.TAPS`) takes 4 px from each side of a frame."""


class TrainingSettings(Section):
    """What both networks share."""

    epochs: Positive = Field(description="training epochs")
    batch_size: Positive = Field(description="losses (PtychoPINN) or images (Baseline) in one step")
    samples_per_epoch: Positive = Field(
        description=(
            "losses (PtychoPINN) or images (Baseline) in an epoch, whatever the number of groups"
        )
    )
    learning_rate: PositiveNumber = Field(
        description="Adam's, at the start; cosine decay from there"
    )
    final_rate_fraction: Annotated[float, Field(ge=1e-6, le=1)] = Field(
        description="the last learning rate as a part of the first"
    )
    clip_norm: PositiveNumber = Field(description="largest norm of the gradient")
    validation_fraction: Annotated[float, Field(ge=1e-6, lt=0.5)] = Field(
        description="part of the train view held out to choose the best epoch"
    )
    width: Annotated[int, Field(ge=4, le=512)] = Field(
        description="channels of the U-Net's first level"
    )
    depth: Annotated[int, Field(ge=1, le=5)] = Field(
        description="levels of the U-Net below the first"
    )
    frame_px: Annotated[int, Field(gt=0, le=1024)] = Field(
        description=(
            "S, side in px of the frame that the network predicts: a multiple of 2^(depth + 1), "
            "at least 12, at most patch_size"
        )
    )
    weight_averaging: Fraction = Field(
        description="momentum of the running mean of the weights that is kept"
    )
    regularisation: PositiveNumber = Field(
        description="of the back-projection, as a fraction of the brightest illumination"
    )

    @model_validator(mode="after")
    def _fits_memory(self) -> TrainingSettings:
        if (channels := self.width * 2**self.depth) > MOST_CHANNELS:
            raise ValueError(
                f"width: {self.width} doubles with each of {self.depth} levels to {channels:,} "
                f"channels; {MOST_CHANNELS:,} is the most"
            )
        return self

    @model_validator(mode="after")
    def _frame_halves(self) -> TrainingSettings:
        step = 2 ** (self.depth + 1)
        if self.frame_px % step:
            raise ValueError(
                f"frame_px: {self.frame_px} is no multiple of 2^(depth + 1) = {step}, by which "
                "the network's levels halve it"
            )
        if self.frame_px < SMALLEST_FRAME_PX:
            raise ValueError(
                f"frame_px: {self.frame_px} is smaller than {SMALLEST_FRAME_PX}: the resampling "
                "of a frame to its position leaves nothing of it"
            )
        return self


class BaselineSettings(TrainingSettings):
    """The supervised network."""

    amplitude_limit: PositiveNumber = Field(description="largest amplitude of the object")
    loss_smoothing: PositiveNumber = Field(
        description="modulus below which the loss counts a difference by its square"
    )
    new_exposures: Annotated[float, Field(ge=0, le=1)] = Field(
        description="part of the images shown whose true patch is turned and exposed anew"
    )


class FieldSettings(Section):
    """How PtychoPINN estimates the object of a whole view before and between network passes."""

    rounds: Positive = Field(
        description="network passes in a reconstruction; between two, the estimate is improved"
    )
    first_steps: Positive = Field(description="gradient steps from a constant object")
    further_steps: Positive = Field(description="gradient steps between two passes")
    step: PositiveNumber = Field(
        description="size of a gradient step, in units of the inverse curvature"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(description="of the steps")
    patterns_per_pixel: PositiveNumber = Field(
        description="of the patterns that one step looks at, about so many light a pixel"
    )
    first_smoothness_counts: Weight = Field(
        description=(
            "weight, in counts, of the prior that the change be smooth, from a constant object"
        )
    )
    further_smoothness_counts: Weight = Field(description="the same after a pass")
    spacing_px: PositiveNumber = Field(
        description=(
            "least distance in px of the positions at which a pass predicts between two rounds"
        )
    )
    folds: Annotated[int, Field(gt=0, le=100)] = Field(
        description="estimates that the network is trained on, each without a part of the patterns"
    )
    least_share: Fraction = Field(description="part of the patterns that the first of them sees")
    most_share: Fraction = Field(description="part of the patterns that the last of them sees")


class PtychoPINNSettings(TrainingSettings):
    """The physics-informed network."""

    loss_group_size: Annotated[int, Field(gt=0, le=1000)] = Field(
        description="patterns that one prediction has to explain"
    )
    loss_neighbours: Annotated[int, Field(gt=0, le=1000)] = Field(
        description="nearest images that they are drawn from; at least loss_group_size - 1"
    )
    loss_reach: Annotated[float, Field(ge=1e-6, le=10)] = Field(
        description=(
            "how far from the group's first position a loss looks for them, as a fraction of the "
            "probe's diameter"
        )
    )
    misfit_floor_counts: PositiveNumber = Field(
        description="counts per pixel below which a misfit is damped"
    )
    loss_floor_counts: PositiveNumber = Field(
        description="counts per pixel added to the expectation in the loss"
    )
    field: FieldSettings = Field(description="the physics estimate that the network refines")

    @model_validator(mode="after")
    def _enough_neighbours(self) -> PtychoPINNSettings:
        if self.loss_neighbours < self.loss_group_size - 1:
            raise ValueError(
                f"loss_neighbours is {self.loss_neighbours}; a loss group of "
                f"{self.loss_group_size} patches needs at least {self.loss_group_size - 1}"
            )
        return self


class IterativeSettings(Section):
    """What iterative solvers have in common. Nothing here depends on the truth."""

    epochs: Annotated[int, Field(gt=0, le=100)] = Field(description="passes over the images")
    epochs_per_chunk: Positive = Field(
        description="progress is reported, and a checkpoint kept, after each chunk of epochs"
    )
    batch_fraction: Annotated[float, Field(ge=1e-6, le=1)] = Field(
        description="part of the view's images in one mini-batch"
    )
    batch_limit: Positive = Field(
        description=(
            "images in one mini-batch at most; to spread one over the scan (UNIFORM) takes "
            "pty-chi a time that grows with the square of it, for each image"
        )
    )
    batching: Literal["UNIFORM", "RANDOM", "COMPACT"] = Field(
        description="how pty-chi chooses a mini-batch"
    )
    refine_probe: bool = Field(
        description="whether the probe is optimised together with the object"
    )
    refine_from: Annotated[float, Field(ge=0, le=1)] = Field(
        description=(
            "part of the epochs after which a probe that is refined begins to move; from the "
            "first on, when the object is still 1, it takes up the object's scattering"
        )
    )
    total_variation: Weight = Field(
        description=(
            "weight of the total-variation step after each epoch times the photons per pixel that "
            "the object received, so that one value fits all doses and overlaps; 0 leaves the "
            "step out"
        )
    )


class PtyChiSettings(IterativeSettings):
    """The published iterative solver, pty-chi's LSQML."""

    engine: Literal["LSQML"] = Field(description="the solver's name in pty-chi")
    noise_model: Literal["POISSON", "GAUSSIAN"] = Field(
        description="likelihood of the counts that is maximised"
    )
    damping: PositiveNumber = Field(
        description=(
            "of the object's preconditioner, as a fraction of its largest value: the larger, the "
            "less a weakly illuminated pixel moves"
        )
    )


class EpieSettings(IterativeSettings):
    """The extended ptychographic iterative engine (ePIE), of pty-chi too."""

    engine: Literal["EPIE"] = Field(description="the solver's name in pty-chi")
    object_step: Annotated[float, Field(ge=1e-6, le=2)] = Field(
        description=(
            "alpha of the object's update; updates of a mini-batch are added up, so that the more "
            "its images overlap, the smaller it must be"
        )
    )
    probe_step: Annotated[float, Field(ge=1e-6, le=2)] = Field(
        description="alpha of the probe's update, if it is refined"
    )


class ScoringSettings(Section):
    """Phase G: how a reconstruction is held against the truth."""

    ms_ssim_sigma_px: Annotated[float, Field(ge=0, le=100)] = Field(
        description=(
            "sigma in px of the Gaussian pre-smoothing of amplitude and phase before MS-SSIM"
        )
    )
    frc_threshold: Fraction = Field(description="Fourier ring correlation whose frequency is frc50")
    stitch_crop_px: Positive = Field(
        description=(
            "M: side in px of the central part of a network's patch that is trusted first; at "
            "most patch_size"
        )
    )
    max_shift_px: Annotated[float, Field(gt=0, le=100)] = Field(
        description="a larger registration shift, in px, is not applied"
    )
    reference_ms_ssim: bool = Field(
        description="whether to add a row: the published study's own MS-SSIM"
    )


class StatisticsSettings(Section):
    """How sure a score is said to be."""

    block_px: Positive = Field(
        description=(
            "side in px of the square blocks that the scored area is resampled in; errors nearer "
            "to each other than this count as one"
        )
    )
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        description="how many times the area is put together anew from such blocks"
    )
    confidence: Fraction = Field(description="of the intervals")


class DoseResponseSettings(Section):
    """What is asked of the study as a whole."""

    quality_levels: Annotated[tuple[Fraction, ...], Field(max_length=100)] = Field(
        description="MS-SSIM values: from which dose on does each arm reach them?"
    )


class AutomationSettings(Section):
    """What is done while nobody looks (``docs/automation.md``)."""

    cron: str = Field(
        description="cron expression, in UTC: when the nightly completion of the study begins"
    )
    tries: Annotated[int, Field(gt=0, le=100)] = Field(
        description=(
            "of one partition in one night; only a run whose process ended from outside is tried "
            "again"
        )
    )

    @model_validator(mode="after")
    def _cron_comes_round(self) -> AutomationSettings:
        if problem := cron_problem(self.cron):
            raise ValueError(f"cron: {self.cron!r} {problem}")
        return self
