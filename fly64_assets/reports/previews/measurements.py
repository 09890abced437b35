"""What there is to see of phases B to D: the specimen, diffraction and counts, groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fly64_assets.documents.files import read_json
from fly64_assets.reports.figures import style
from fly64_assets.reports.previews import drawing
from fly64_assets.reports.previews.preview import Exhibit, Picture, Subject
from fly64_assets.study.model import OverlapSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fly64_assets.ptychography.data001.dataset import Dataset

BLUE, ORANGE, GREEN, _, LIGHT_BLUE = (colour for colour, _ in style.ARMS)
SAMPLED_FRAMES = 2048
"""Of a dataset, evenly over the scan: counts of a sample look like those of all."""
SHOWN_FRAMES = 6
DARK = 0.1
"""Share of the probe's greatest amplitude below which its phase is not drawn."""
HISTOGRAM_BINS = 40
FEWEST_COUNTS = 0.5
"""Less than one count is shown as none."""


def _centre_of_mass(power: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(power.shape)
    return (
        float((rows * power).sum() / power.sum()),
        float((columns * power).sum() / power.sum()),
    )


def _disc(axis: Axes, centre: tuple[float, float], diameter: float, colour: str, **more) -> None:
    """Draw a circle about (y, x)."""
    from matplotlib.patches import Circle

    more = {"fill": False, "linewidth": 1.2, **more}
    axis.add_patch(Circle((centre[1], centre[0]), diameter / 2, edgecolor=colour, **more))


def _diameter(probe: np.ndarray, overlap: OverlapSettings) -> float:
    from fly64_assets.ptychography.discs import probe_diameter

    if overlap.probe_diameter_px == "auto":
        return probe_diameter(probe, overlap.probe_power_fraction)
    return float(overlap.probe_diameter_px)


def specimen(subject: Subject) -> Exhibit:
    """Object and probe, with the disc that overlap is measured with."""
    from fly64_assets.ptychography.data001.npz import read_npz

    arrays = read_npz(subject.path("specimen.npz"), ["objectGuess", "probeGuess"])
    object_, probe = arrays["objectGuess"], arrays["probeGuess"]
    diameter = _diameter(probe, subject.study.overlap)
    power = np.abs(probe).astype(np.float64) ** 2
    centre = _centre_of_mass(power)

    def draw_object() -> Figure:
        figure, axes = drawing.new_figure(f"{subject.title}: object", 1, 2, (9.5, 4.2))
        drawing.phase_and_amplitude(axes[0], object_)
        return figure

    def draw_probe() -> Figure:
        figure, axes = drawing.new_figure(f"{subject.title}: probe", 1, 2, (9.5, 4.0))
        amplitude = np.abs(probe)
        drawing.image(axes[0][0], amplitude, f"amplitude; disc of {diameter:.1f} px",
                      "square root of the share of the power", colours="magma")  # fmt: skip
        _disc(axes[0][0], centre, diameter, "cyan")
        # The phase of what is dark is noise.
        phase = np.where(amplitude > DARK * amplitude.max(), np.angle(probe), np.nan)
        title = f"phase, where the amplitude is above {DARK * 100:.0f} % of its maximum"
        drawing.image(axes[0][1], phase, title, "rad", colours="twilight",
                      vmin=-np.pi, vmax=np.pi)  # fmt: skip
        _disc(axes[0][1], centre, diameter, "cyan")
        return figure

    height, width = object_.shape
    within = np.hypot(*(np.indices(power.shape) - np.reshape(centre, (2, 1, 1)))) <= diameter / 2
    return Exhibit(
        (
            Picture(
                "object",
                "Phase (rad, mean removed) and amplitude (dimensionless) of the object; canvas px, "
                "x right, y down.",
                draw_object,
            ),
            Picture(
                "probe",
                "Probe at unit power: amplitude and phase (rad); the circle is the disc that "
                "overlap is measured with.",
                draw_probe,
            ),
        ),
        numbers={
            "canvas_height_px": height,
            "canvas_width_px": width,
            "probe_side_px": probe.shape[0],
            "probe_disc_diameter_px": diameter,
            "probe_power_in_disc": float(power[within].sum() / power.sum()),
        },
    )


def _counts(data: Dataset, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Photons of some exposures, and those that the model without noise expects, (n,) each."""
    from fly64_assets.ptychography.data001.npz import release
    from fly64_assets.ptychography.forward import transmitted_power

    scale = data.intensity_scale**2
    parts = np.array_split(index, max(1, len(index) // 256))
    found = np.concatenate(
        [np.square(data.diffraction[part], dtype=np.float64).sum(axis=(1, 2)) for part in parts]
    )
    release(data.diffraction)
    if data.patches is None:
        return found * scale, None
    expected = np.concatenate(
        [
            transmitted_power(np.asarray(data.patches[part]), np.asarray(data.probe_guess))
            for part in parts
        ]
    )
    release(data.patches)
    return found * scale, expected * scale


def _histogram(axis: Axes, counts: np.ndarray, expected: np.ndarray | None, whole: int) -> None:
    from scipy.special import pdtr

    bins = min(HISTOGRAM_BINS, max(5, len(counts) // 8))
    # Bins of whole numbers: others would hold now more of them, now fewer.
    width = max(1, math.ceil((counts.max() - counts.min() + 1) / bins))
    edges = np.arange(np.floor(counts.min()), counts.max() + width + 1, width) - 0.5
    axis.hist(counts, edges, color=LIGHT_BLUE, label=f"{len(counts):,} of {whole:,} exposures")
    if expected is not None:
        below = pdtr(np.maximum(edges, 0)[:, None], expected[None, :]).sum(axis=1)
        middles = (edges[1:] + edges[:-1]) / 2
        axis.plot(
            middles,
            np.diff(below),
            color=ORANGE,
            linewidth=1.4,
            label="Poisson, of each one's own expectation",
        )
    mean = counts.mean()
    axis.axvline(mean, color="black", linestyle="--", linewidth=1, label=f"mean {mean:,.1f}")
    axis.set(xlabel="photons per exposure", ylabel="exposures")
    axis.set_ylim(0, 1.4 * axis.get_ylim()[1])
    axis.legend(loc="upper left")


def dataset(subject: Subject) -> Exhibit:
    """Patterns, photons per exposure against what Poisson expects, positions."""
    from fly64_assets.ptychography.data001.dataset import read_dataset
    from fly64_assets.ptychography.data001.npz import release

    data = read_dataset(subject.path(f"patched_{subject.split}.npz"))
    count = len(data)
    index = np.unique(np.linspace(0, count - 1, min(count, SAMPLED_FRAMES)).astype(int))
    counts, expected = _counts(data, index)

    def draw_patterns() -> Figure:
        columns = SHOWN_FRAMES // 2
        figure, axes = drawing.new_figure(
            f"{subject.title}: diffraction", 2, columns, (3.0 * columns, 5.8), sharex=True,
            sharey=True,
        )  # fmt: skip
        shown = np.linspace(0, count - 1, SHOWN_FRAMES).astype(int)
        frames = np.square(np.asarray(data.diffraction[shown], np.float64) * data.intensity_scale)
        release(data.diffraction)
        low, high = np.log10(FEWEST_COUNTS), np.log10(max(frames.max(), 10.0))
        half = data.patch_size / 2
        extent = (-half - 0.5, half - 0.5, half - 0.5, -half - 0.5)
        for axis, number, frame in zip(axes.flat, shown, frames, strict=True):
            drawn = axis.imshow(
                np.log10(np.maximum(frame, FEWEST_COUNTS)),
                cmap=style.COUNTS_MAP,
                vmin=low,
                vmax=high,
                extent=extent,
                interpolation="nearest",
            )
            axis.set_title(f"exposure {data.scan_index[number]}, {frame.sum():,.0f} photons")
        for axis in axes[-1]:
            axis.set_xlabel("qx (px)")
        for axis in axes[:, 0]:
            axis.set_ylabel("qy (px)")
        bar = figure.colorbar(drawn, ax=axes, label="counts", shrink=0.8)
        decades = range(int(high) + 1)
        bar.set_ticks([low, *decades], labels=["0", *(f"{10**decade:,}" for decade in decades)])
        return figure

    def draw_photons() -> Figure:
        figure, axes = drawing.new_figure(
            f"{subject.title}: photons and positions", 1, 2, (10.0, 4.2)
        )
        _histogram(axes[0][0], counts, expected, count)
        y, x = data.positions_px.T
        axis = axes[0][1]
        marks = axis.scatter(x[index], y[index], c=counts, s=5, cmap=style.PHASE_MAP, linewidths=0)
        axis.figure.colorbar(marks, ax=axis, label="photons per exposure", shrink=0.85)
        height, width = data.object_guess.shape
        axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="x (px)",
                 ylabel="y (px)", title="scan positions on the canvas")  # fmt: skip
        return figure

    deviations = None if expected is None else (counts - expected) / np.sqrt(expected)
    return Exhibit(
        (
            Picture(
                "diffraction",
                "Exposures from the first to the last of the half, counts on a logarithmic "
                "scale; detector px from the zero frequency.",
                draw_patterns,
            ),
            Picture(
                "photons",
                "Photons per exposure, with the Poisson distribution about what each exposure "
                "lets pass without noise; positions in canvas px, x right, y down.",
                draw_photons,
            ),
        ),
        numbers={
            "counts_per_exposure_min": round(counts.min()),
            "counts_per_exposure_max": round(counts.max()),
            **(
                {}
                if deviations is None
                else {"counts_deviation_rms_in_sigma": float(np.sqrt((deviations**2).mean()))}
            ),
        },
    )


def overlap_view(subject: Subject) -> Exhibit:
    """Show the scan, the view's images, group centres with discs, and how much they overlap."""
    from fly64_assets.ptychography.data001.npz import read_npz
    from fly64_assets.ptychography.discs import disc_overlap

    split = str(subject.split)
    names = ["xcoords", "ycoords", "centre_index", "full_groups"]
    view = read_npz(subject.path(f"{split}.npz"), names)
    measured = read_json(subject.path(f"{split}_metrics.json"))
    diameter = measured["probe_diameter_px"]
    positions = np.stack([view["ycoords"], view["xcoords"]], axis=1)
    centres = positions[view["centre_index"]]
    scan = read_npz(subject.input(f"{split}/dataset", f"patched_{split}.npz"),
                    ["xcoords", "ycoords"])  # fmt: skip

    def draw_scan() -> Figure:
        spread = np.ptp(positions, axis=0)
        height = float(np.clip(9.0 * spread[0] / max(spread[1], 1.0) + 1.6, 3.0, 8.0))
        figure, axes = drawing.new_figure(f"{subject.title}: groups", 1, 1, (9.5, height))
        axis = axes[0][0]
        axis.plot(scan["xcoords"], scan["ycoords"], ".", color="0.75", markersize=5,
                  label=f"scan, {len(scan['xcoords']):,} positions")  # fmt: skip
        axis.plot(positions[:, 1], positions[:, 0], ".", color=BLUE, markersize=3,
                  label=f"images of the view, {len(positions):,}")  # fmt: skip
        axis.plot(centres[:, 1], centres[:, 0], "+", color=ORANGE, markersize=6,
                  label=f"group centres, {len(centres):,}")  # fmt: skip
        for centre in centres:
            _disc(axis, tuple(centre), diameter, ORANGE, linewidth=0.4, alpha=0.3)
        middle = centres[np.argmin(((centres - positions.mean(axis=0)) ** 2).sum(axis=1))]
        _disc(axis, tuple(middle), diameter, GREEN, linewidth=2)
        axis.set(aspect="equal", xlabel="x (px)", ylabel="y (px)")
        axis.set_title(f"discs of {diameter:.1f} px about the group centres, one in green")
        axis.autoscale_view()
        axis.invert_yaxis()
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure

    def draw_overlap() -> Figure:
        from scipy.spatial import cKDTree

        figure, axes = drawing.new_figure(f"{subject.title}: overlap", 1, 2, (9.5, 3.4))
        panels = (
            (axes[0][0], "centre and nearest other centre", centres),
            (axes[0][1], "image and nearest other image", positions),
        )
        for axis, title, points in panels:
            if len(points) > 1:
                nearest = cKDTree(points).query(points, k=2)[0][:, 1]
                overlaps = disc_overlap(nearest, diameter)
                axis.hist(overlaps, np.linspace(0, 1, 41), color=LIGHT_BLUE)
                axis.axvline(overlaps.mean(), color="black", linestyle="--", linewidth=1,
                             label=f"mean {overlaps.mean():.3f}")  # fmt: skip
            target = measured["target_overlap"]
            if target is not None and points is centres:
                axis.axvline(target, color=ORANGE, linewidth=1, label=f"target {target:g}")
            axis.set(xlim=(0, 1), xlabel="disc overlap (1: same place)", ylabel="how many",
                     title=title)  # fmt: skip
            axis.legend(loc="upper left")
        return figure

    spacing = measured["centre_spacing_px"]
    return Exhibit(
        (
            Picture(
                "groups",
                "Scan of the half, images of the view, group centres and their overlap discs; "
                "canvas px, x right, y down.",
                draw_scan,
            ),
            Picture(
                "overlap",
                "Overlap of discs (0: apart, 1: same place) of each group centre and of each image "
                "with its nearest other.",
                draw_overlap,
            ),
        ),
        numbers={
            "centre_spacing_mean_px": spacing["mean"],
            "centre_spacing_min_px": spacing["min"],
            "full_group_images": int(view["full_groups"].shape[1]),
        },
    )
